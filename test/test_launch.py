"""Launch files and parameter files: what they start exists, what they set is declared."""

import ast
import importlib.util
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FILES = {'localization': 'localizer', 'mapping': 'mapper'}
ARGUMENTS = {'namespace', 'params_file', 'model', 'map', 'image_topic', 'odometry_topic',
             'use_sim_time', 'autostart', 'log_level'}


def test_every_argument_is_described():
    tree = ast.parse((ROOT / 'seqnet_ros' / 'nodes' / 'launching.py').read_text())
    declared = {
        call.args[0].value for call in ast.walk(tree) if isinstance(call, ast.Call)
        and getattr(call.func, 'id', '') == 'DeclareLaunchArgument'
        and any(keyword.arg == 'description' for keyword in call.keywords)}
    assert declared == ARGUMENTS


@pytest.mark.parametrize(('file', 'node'), FILES.items())
def test_launch_files_start_what_exists(file, node):
    tree = ast.parse((ROOT / 'launch' / f'{file}.launch.py').read_text())
    words = {item.value for item in ast.walk(tree) if isinstance(item, ast.Constant)}
    assert node in words
    assert (ROOT / 'scripts' / node).is_file()
    assert (ROOT / 'config' / f'{node}.yaml').is_file()


@pytest.mark.parametrize('file', FILES)
def test_launch_files_run(file):
    pytest.importorskip('launch_ros', reason='launch_ros is not installed')
    path = ROOT / 'launch' / f'{file}.launch.py'
    spec = importlib.util.spec_from_file_location(file, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    description = module.generate_launch_description()
    assert {item.name for item in description.get_launch_arguments()} == ARGUMENTS


@pytest.mark.requires_ros
@pytest.mark.parametrize('node', FILES.values())
def test_parameter_files_hold_the_defaults(node):
    from seqnet_ros.nodes.settings import LocalizerSettings, MapperSettings

    settings = {'localizer': LocalizerSettings(), 'mapper': MapperSettings()}[node]
    content = yaml.safe_load((ROOT / 'config' / f'{node}.yaml').read_text())
    assert content == {'/**': {'ros__parameters': settings.model_dump()}}
