"""The nodes and launch files use only what the rclpy, launch and launch_ros of Humble have.

The names of Humble are in test/fixtures/humble_api.yaml; newer wheels cannot show what it lacks.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
API = yaml.safe_load((ROOT / 'test' / 'fixtures' / 'humble_api.yaml').read_text())
SOURCES = sorted([*(ROOT / 'seqnet_ros' / 'nodes').rglob('*.py'), *(ROOT / 'launch').glob('*.py'),
                  ROOT / 'scripts' / 'node'])
PACKAGES = ('rclpy', 'launch', 'launch_ros')


def imports(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Yield (module, name, line) of what is imported from ROS's Python packages.

    Left out is a ``try`` that falls back to another import; the fallback is yielded.
    """
    for item in ast.iter_child_nodes(tree):
        if isinstance(item, ast.Try) and any(
                isinstance(handler.type, ast.Name) and handler.type.id == 'ImportError'
                for handler in item.handlers):
            for handler in item.handlers:
                yield from imports(handler)
        elif isinstance(item, ast.ImportFrom) and item.module and not item.level:
            if item.module.split('.')[0] in PACKAGES:
                yield from ((item.module, alias.name, item.lineno) for alias in item.names)
        elif isinstance(item, ast.Import):
            for alias in item.names:
                if alias.name.split('.')[0] in PACKAGES:
                    yield alias.name, '', item.lineno
        else:
            yield from imports(item)


def lacking_imports(text: str) -> list[str]:
    """Return what a source imports that Humble lacks."""
    return [f'line {line}: {module}.{name}' for module, name, line in imports(ast.parse(text))
            if module not in API['modules'] or (name and name not in API['modules'][module])]


def lacking_attributes(text: str, newer: set[str]) -> list[str]:
    """Return the attributes a source uses that only newer classes have.

    A name for which the source asks `hasattr` is known to be absent somewhere.
    """
    tree = ast.parse(text)
    asked = {call.args[1].value for call in ast.walk(tree)
             if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
             and call.func.id == 'hasattr' and isinstance(call.args[1], ast.Constant)}
    return [f'line {item.lineno}: {item.attr}' for item in ast.walk(tree)
            if isinstance(item, ast.Attribute) and item.attr in newer - asked]


def lacking_parameters(text: str) -> list[str]:
    """Return the keyword arguments that functions of Humble do not take."""
    return [f'line {call.lineno}: {name}({keyword.arg}=)'
            for call in ast.walk(ast.parse(text)) if isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and (name := call.func.attr) in API['parameters']
            for keyword in call.keywords
            if keyword.arg and keyword.arg not in API['parameters'][name]]


def newer_attributes() -> set[str]:
    """Return the public attributes of the classes of this installation that Humble's lack."""
    known = set().union(*API['classes'].values())
    newer: set[str] = set()
    for path in API['classes']:
        module, name = path.rsplit('.', 1)
        kind: Any = getattr(import_module(module), name)
        newer.update(item for item in dir(kind) if not item.startswith('_'))
    return newer - known


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_humble_has_what_is_imported_and_passed(path):
    text = path.read_text()
    assert lacking_imports(text) == []
    assert lacking_parameters(text) == []


@pytest.mark.requires_ros
def test_the_classes_of_humble_have_what_is_used():
    newer = newer_attributes()
    assert 'add_post_set_parameters_callback' in newer
    found = {str(path): lacking for path in SOURCES
             if (lacking := lacking_attributes(path.read_text(), newer))}
    assert found == {}


def test_what_humble_lacks_is_found():
    assert lacking_imports('from rclpy.event_handler import SubscriptionEventCallbacks\n') == [
        'line 1: rclpy.event_handler.SubscriptionEventCallbacks']
    assert lacking_imports('from launch.substitutions import StringJoinSubstitution as S\n')
    assert not lacking_imports('try:\n    import rclpy.event_handler\nexcept ImportError:\n'
                               '    import rclpy.qos_event\n')
    assert lacking_attributes('node.add_post_set_parameters_callback(f)\n',
                              {'add_post_set_parameters_callback'})
    assert lacking_parameters('self.create_timer(1.0, f, autostart=False)\n') == [
        'line 1: create_timer(autostart=)']


@pytest.mark.requires_ros
def test_images_are_subscribed_to_without_the_modules_that_humble_lacks():
    """A module of the name that Humble has stands in for it, over the classes of this rclpy."""
    code = ('import sys, rclpy.node, rclpy.event_handler as real\n'
            "sys.modules['rclpy.qos_event'] = real\n"
            "sys.modules['rclpy.event_handler'] = None\n"
            'from seqnet_ros.nodes.inputs import image_topic\n'
            'print(image_topic.SubscriptionEventCallbacks.__name__)\n')
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == 'SubscriptionEventCallbacks', done.stderr


@pytest.mark.requires_ros
def test_a_line_is_logged_with_the_arguments_that_humble_and_jazzy_take(monkeypatch):
    from rclpy.impl.rcutils_logger import RcutilsLogger

    from seqnet_ros.nodes.ros_logging import PrintableLogger

    newer = RcutilsLogger.log
    logged = []

    def log(self: Any, message: str, severity: Any, **keywords: Any) -> bool:
        logged.append(message)
        return newer(self, message, severity, **keywords)

    monkeypatch.setattr(RcutilsLogger, 'log', log)
    assert PrintableLogger('of_humble').info('a line', throttle_duration_sec=1.0)
    assert logged == ['a line']
