"""The documentation as a site: it builds without a warning, and needs no network."""

import importlib
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import seqnet_ros
from seqnet_ros.config.engine import RULES, MatchingConfig
from seqnet_ros.config.model import AGGREGATORS, DESCRIPTORS
from seqnet_ros.core.poses import Trajectory
from seqnet_ros.datasets.recordings.pose_files import FramePoses, read_poses

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    """The built site."""
    if find_spec('mkdocs') is None or find_spec('material') is None:
        pytest.skip("mkdocs-material is not installed; it is in the extra 'docs'")
    folder = tmp_path_factory.mktemp('site')
    done = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', folder], cwd=ROOT,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_the_navigation_is_there(site):
    pages = {'index', 'first_map', 'own_robot', 'models', 'evaluation', 'tuning', 'figures',
             'seqnet', 'jist', 'nodes', 'cli', 'map_format', 'architecture',
             'reference/messages', 'reference/parameters', 'reference/components',
             'reference/python', 'notebooks/own_images', 'notebooks/compare_models'}
    missing = [page for page in pages if not (site / f'{page}.html').is_file()]
    assert missing == []


def test_columns_of_pose_files_are_read(tmp_path):
    page = (ROOT / 'docs' / 'datasets.md').read_text()
    table = page[page.index('Columns of a CSV file'):].split('\n\n')[1]
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in table.splitlines()[2:]]
    names = {row[0]: re.findall(r'`([a-z_]+)`', row[1]) for row in rows}

    def read(columns: dict[str, str]) -> Trajectory | FramePoses:
        file = tmp_path / 'poses.csv'
        file.write_text(f'{",".join(columns)}\n{",".join(columns.values())}\n')
        return read_poses(file)

    plane = {'x': '1', 'y': '2'}
    for name in names['x']:
        assert read({name: '1', 'y': '2'}).poses['0'][0] == 1
    for name in names['y']:
        assert read({'x': '1', name: '2'}).poses['0'][1] == 2
    for name in names['z']:
        assert read({**plane, name: '3'}).poses['0'][2] == 3
    for name in names['image']:
        assert list(read({**plane, name: '7'}).poses) == ['7']
    for name in names['time'][:4]:
        for unit in ('', *names['time'][4:]):
            assert read({name + unit: '5', **plane}).stamps_ns[0] > 0
    assert read({**plane, 'yaw': '3.14159265'}).poses['0'][5] == pytest.approx(1)
    for name in names['latitude']:
        assert read({name: '48', 'lon': '9'}).datum is not None
    for name in names['longitude']:
        assert read({'lat': '48', name: '9'}).datum is not None
    for name in names['altitude']:
        assert read({'lat': '48', 'lon': '9', name: '20'}).datum.altitude == 20


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob('*.html'):
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*src="([^"]+)"', page.read_text())
        loaded += re.findall(r'<link[^>]*rel="(?:stylesheet|icon|preconnect)"[^>]*href="([^"]+)"',
                             page.read_text())
        assert not [address for address in loaded if '//' in address], page


def test_messages_and_parameters_are_those_of_the_code(site):
    messages = (site / 'reference' / 'messages.html').read_text()
    for file in (*ROOT.glob('msg/*.msg'), *ROOT.glob('srv/*.srv')):
        assert f'{file.stem} (' in messages
        for line in file.read_text().splitlines():
            field = re.match(r'[A-Za-z0-9_/\[\]]+ +([A-Za-z0-9_]+)', line)
            if field and not line.startswith('#'):
                assert field[1] in messages
    parameters = (site / 'reference' / 'parameters.html').read_text()
    for name in MatchingConfig.model_fields:
        assert f'matching.{name}' in parameters
    assert 'silence_after_s' in parameters
    assert 'truth_patience_s' in parameters


def test_components_are_those_of_the_registries(site):
    components = (site / 'reference' / 'components.html').read_text()
    for registry in (DESCRIPTORS, AGGREGATORS, RULES):
        for name in registry.items(plugins=False):
            assert name in components


def test_python_is_documented_as_its_docstrings_say(site):
    page = (site / 'reference' / 'python.html').read_text()
    for name in seqnet_ros.__all__:
        assert f'seqnet_ros.{name}' in page
    assert 'a Pillow image, an array' in page
    assert 'Localizer.push' in page


def test_the_page_of_the_command_line_is_current(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools')
    cli_page = importlib.import_module('cli_page')
    assert (ROOT / 'docs' / 'cli.md').read_text() == cli_page.cli_page(), (
        'the commands have changed: run `make docs` and commit docs/cli.md')


def test_features_name_tests_that_exist():
    table = (ROOT / 'docs' / 'features.md').read_text()
    rows = [line for line in table.splitlines() if re.match(r'\| \d+ \|', line)]
    assert [int(row.split('|')[1]) for row in rows] == list(range(1, 33))
    named = re.findall(r'`([\w/]*test_\w+\.py)(?:::(\w+))?`', table)
    assert len(named) > 40
    for file, test in named:
        assert f'def {test}' in (ROOT / 'test' / file).read_text(), f'{file}::{test}'
    for row in rows:
        assert bool(re.search(r'`[\w/]*test_', row)) == ('| yes |' in row), row
