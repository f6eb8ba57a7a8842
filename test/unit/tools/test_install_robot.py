"""The installation beside ROS 2: what is refused, and what is kept of the system."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def install_robot(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    return import_module('install_robot')


@pytest.fixture
def python_environment(monkeypatch):
    """What it shares with the setup of a checkout."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    return import_module('python_environment')


def run_script(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / 'tools' / 'install_robot.py', *arguments],
        env={'PATH': '/usr/bin:/bin', '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1', **environment},
        capture_output=True, text=True, timeout=60)


def test_without_ros_it_says_what_to_source(tmp_path):
    done = run_script('--workspace', str(tmp_path / 'ws'))
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1
    assert 'Stopped: no ROS 2 is sourced' in done.stderr
    assert not (tmp_path / 'ws').exists()


def test_a_python_without_rclpy_is_refused(tmp_path):
    """As that of pyenv or conda in front of the system's."""
    (tmp_path / 'rclpy.py').write_text("raise ModuleNotFoundError('rclpy._rclpy_pybind11')\n")
    done = run_script('--workspace', str(tmp_path / 'ws'), ROS_DISTRO='humble',
                      PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert 'cannot import rclpy of humble' in done.stderr
    assert 'make robot PYTHON=/usr/bin/python3' in done.stderr


def test_uninstalling_removes_what_was_made_and_nothing_else(tmp_path):
    venv = tmp_path / '.venv-seqnet_ros'
    for folder in (venv, tmp_path / 'build' / 'seqnet_ros', tmp_path / 'install' / 'seqnet_ros',
                   tmp_path / 'install' / 'other', tmp_path / 'src'):
        folder.mkdir(parents=True)
    (venv / 'installation.json').write_text(json.dumps({'folders': [
        str(venv), str(tmp_path / 'build' / 'seqnet_ros'),
        str(tmp_path / 'install' / 'seqnet_ros')]}))
    done = run_script('--uninstall', '--workspace', str(tmp_path))
    assert done.returncode == 0, done.stderr
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*')}
    assert left == {'src', 'install', 'install/other'}
    done = run_script('--uninstall', '--workspace', str(tmp_path))
    assert done.returncode == 1
    assert 'nothing is installed' in done.stderr


def test_the_workspace_is_the_one_around_the_checkout(install_robot, monkeypatch, tmp_path):
    monkeypatch.setattr(install_robot, 'ROOT', tmp_path / 'ws' / 'src' / 'nav' / 'seqnet_ros')
    assert install_robot.default_workspace() == tmp_path / 'ws'
    monkeypatch.setattr(install_robot, 'ROOT', Path('/opt/seqnet_ros'))
    assert install_robot.default_workspace() == Path('~/seqnet_ros_ws').expanduser()


class FakeEnvironment:
    """An environment whose system has some versions."""

    def __init__(self, versions: dict[str, str], trouble: str = '') -> None:
        self.versions, self.trouble = versions, trouble

    def has_own_torch(self) -> bool:
        return False

    def version_of(self, name: str) -> str:
        return self.versions.get(name, '')

    def torch_trouble(self) -> str:
        return self.trouble


@pytest.mark.parametrize(('versions', 'trouble', 'kept'), [
    ({}, '', ''),
    ({'torch': '1.13.0a0'}, '', ''),
    ({'torch': '2.3.1'}, '', ''),
    ({'torch': '2.5.0a0+872d972e41.nv24.8'}, '', '2.5.0a0+872d972e41.nv24.8'),
    ({'torch': '2.6.0'}, 'operator torchvision::nms does not exist', '')])
def test_a_torch_of_the_system_that_works_is_kept(install_robot, versions, trouble, kept):
    """As on a Jetson, where that of PyPI would not use the GPU."""
    assert install_robot.torch_of_system(FakeEnvironment(versions, trouble)) == kept


def test_limits_keep_the_numpy_and_the_message_generator_of_ros(python_environment, monkeypatch):
    environment = python_environment.PythonEnvironment(Path('/nowhere'), sees_system=True)
    monkeypatch.setattr(environment, 'numpy_version', lambda: '1.21.5')
    monkeypatch.setattr(environment, 'version_of', lambda name: {'empy': '3.3.4'}[name])
    assert environment.limits() == ('pytest<8.4', 'numpy<2', 'empy<4')
    monkeypatch.setattr(environment, 'numpy_version', lambda: '2.2.4')
    monkeypatch.setattr(environment, 'version_of', lambda name: '4.2')
    assert environment.limits() == ('pytest<8.4', 'numpy<3')
    own = python_environment.PythonEnvironment(Path('/nowhere'), sees_system=False)
    assert own.limits() == ()


def test_a_pair_of_torch_that_does_not_fit_is_installed_again(python_environment, monkeypatch):
    environment = python_environment.PythonEnvironment(Path('/nowhere'), sees_system=True)
    installed: list[tuple[str, ...]] = []
    troubles = iter(['operator torchvision::nms does not exist', ''])
    monkeypatch.setattr(environment, 'torch_trouble', lambda: next(troubles))
    monkeypatch.setattr(environment, 'install', lambda *words: installed.append(words))
    environment.match_torch(['torch>=2.4', 'torchvision>=0.19'], ('numpy<2',))
    assert installed == [('--ignore-installed', 'torch>=2.4', 'torchvision>=0.19', 'numpy<2')]
    monkeypatch.setattr(environment, 'torch_trouble', lambda: 'undefined symbol')
    with pytest.raises(python_environment.SetupError, match='undefined symbol'):
        environment.match_torch(['torch>=2.4'], ())


def test_requirements_come_from_the_project(python_environment, tmp_path):
    project = tmp_path / 'pyproject.toml'
    project.write_text("[project]\ndependencies = ['numpy', 'faiss-cpu>=1.11']\n"
                       "[project.optional-dependencies]\ndev = ['ruff']\nros = ['cmake']\n")
    environment = python_environment.PythonEnvironment(tmp_path, sees_system=False)
    environment.python = Path(sys.executable)
    assert python_environment.requirements_of_project(environment, project, {'dev'}) == [
        'numpy', 'faiss-cpu>=1.11', 'ruff']
