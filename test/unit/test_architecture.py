"""The order of the layers, and that only the nodes know ROS."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lint_imports(directory: Path) -> subprocess.CompletedProcess:
    """Run import-linter on the package in `directory` with its pyproject.toml."""
    code = 'import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())'
    return subprocess.run(
        [sys.executable, '-c', code, '--no-cache'], cwd=directory, capture_output=True, text=True,
        env={'PYTHONPATH': str(directory), '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'})


def copy_with(directory: Path, files: dict[str, str]) -> None:
    """Make a package of empty modules and `files` in `directory`, under the real contracts."""
    (directory / 'pyproject.toml').write_text((ROOT / 'pyproject.toml').read_text())
    for name in ('__init__', 'cli/__init__', 'nodes/__init__', 'localization/__init__',
                 'maps/__init__', 'training/__init__', 'training/jist', 'training/seqnet',
                 'maps/mapper', 'maps/search', 'evaluation/metrics', 'evaluation/replay',
                 'core/__init__', 'core/errors', 'config/__init__', 'evaluation/__init__'):
        path = directory / 'seqnet_ros' / f'{name}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('')
    for name, text in files.items():
        (directory / 'seqnet_ros' / name).write_text(text)


def test_the_contracts_hold():
    pytest.importorskip('importlinter')
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    contracts = (ROOT / 'pyproject.toml').read_text().count('[[tool.importlinter.contracts]]')
    assert f'{contracts} kept, 0 broken' in done.stdout


@pytest.mark.parametrize(('module', 'text'), [
    ('maps/__init__.py', 'from seqnet_ros import localization\n'),
    ('localization/__init__.py', 'import rclpy\n'),
    ('config/__init__.py', 'from sensor_msgs.msg import Image\n'),
    ('cli/__init__.py', 'from seqnet_ros import nodes\n'),
    ('training/seqnet.py', 'from seqnet_ros.training import jist\n'),
    ('maps/search.py', 'from seqnet_ros.maps import mapper\n'),
    ('evaluation/metrics.py', 'from seqnet_ros.evaluation import replay\n'),
    ('cli/__init__.py', 'def render():\n    import seqnet_town\n'),
])
def test_a_forbidden_import_is_noticed(tmp_path, module, text):
    pytest.importorskip('importlinter')
    copy_with(tmp_path, {module: text})
    done = lint_imports(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert '1 broken' in done.stdout


def test_the_nodes_may_import_ros_and_the_core(tmp_path):
    pytest.importorskip('importlinter')
    copy_with(tmp_path,
              {'nodes/__init__.py': 'import rclpy\nfrom seqnet_ros import localization\n'})
    assert lint_imports(tmp_path).returncode == 0


def imported_modules(path: Path) -> set[str]:
    """Return the dotted names of everything a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f'{node.module}.{alias.name}' for alias in node.names)
    return names


def test_no_messages_outside_the_nodes():
    """import-linter cannot see the generated modules, and knows other messages only by name."""
    package = ROOT / 'seqnet_ros'
    for path in package.rglob('*.py'):
        if 'nodes' in path.relative_to(package).parts:
            continue
        for name in imported_modules(path):
            assert not name.startswith(('seqnet_ros.msg', 'seqnet_ros.srv')), path
            assert not name.split('.')[0].endswith(('_msgs', '_srvs')), path
