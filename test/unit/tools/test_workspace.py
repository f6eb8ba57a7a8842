"""The setup script, the build files and the package's metadata."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest

import seqnet_ros
from seqnet_ros.nodes.__main__ import NODES

ROOT = Path(__file__).resolve().parents[3]
WHEELS = os.environ.get('ROS_WHEELS', 'kilted')
BUILD = 'build' if WHEELS == 'kilted' else f'build-{WHEELS}'
ENV_FILE = ROOT / BUILD / 'env.sh'
DATA_FOLDERS = [name for name in ('config', 'launch', 'models') if (ROOT / name).is_dir()]


@pytest.fixture
def workspace(monkeypatch):
    """The setup script as a module."""
    monkeypatch.syspath_prepend(ROOT / 'tools')
    return import_module('workspace')


@pytest.fixture
def fresh_checkout(tmp_path) -> Path:
    """A checkout without .venv and build."""
    for name in ('tools', 'msg', 'srv'):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ('pyproject.toml', 'setup.py', 'package.xml', 'CMakeLists.txt', 'Makefile'):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run_setup(checkout: Path, python: str = sys.executable, **environment: str):
    """Run the setup script of `checkout` with nothing but `environment`."""
    return subprocess.run([python, checkout / 'tools' / 'workspace.py'], env=environment,
                          capture_output=True, text=True, timeout=60)


def test_a_missing_compiler_is_one_sentence(fresh_checkout, tmp_path):
    done = run_setup(fresh_checkout, PATH=str(tmp_path), _ROS_WHEELS_BOOTSTRAP_COMPLETE='1')
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1
    assert 'Setup stopped: no C++ compiler was found' in done.stderr
    assert 'g++' in done.stderr
    assert not (fresh_checkout / '.venv').exists()


@pytest.mark.parametrize('version', [(3, 9), (3, 14)])
def test_an_unsupported_python_is_refused(workspace, monkeypatch, version):
    monkeypatch.setattr(sys, 'version_info', (*version, 0))
    with pytest.raises(workspace.SetupError, match=rf'Python {version[0]}\.{version[1]} was found'
                                                   r'.*3\.10 to 3\.13 is needed'):
        workspace.check_prerequisites()


def test_too_little_disk_space_is_refused(workspace):
    with pytest.raises(workspace.SetupError, match=r'GB free, but .* GB are needed'):
        workspace.check_disk_space(ROOT, 1e9)
    workspace.check_disk_space(ROOT, 0)


def test_an_unsupported_machine_is_refused(workspace, monkeypatch):
    monkeypatch.delenv('ROS_DISTRO', raising=False)
    monkeypatch.setattr(workspace.platform, 'machine', lambda: 'aarch64')
    with pytest.raises(workspace.SetupError, match=r'Linux aarch64.*source its setup file'):
        workspace.check_prerequisites()


def test_wheels_are_relocated_once(workspace, tmp_path):
    cmake = tmp_path / 'std_msgs' / 'cmake' / 'export.cmake'
    cmake.parent.mkdir(parents=True)
    cmake.write_text(
        'set(a "/opt/python/cp312-cp312/include/python3.12;'
        '/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include")\n')
    built = r'/opt/python/cp3\d+-cp3\d+'
    includes = {
        built + r'/lib/python3\.\d+/site-packages/numpy/_core/include': '/here/numpy',
        built + r'/include/python3\.\d+': '/here/python',
    }
    assert workspace.relocate_wheels(tmp_path, includes) == 1
    assert cmake.read_text() == 'set(a "/here/python;/here/numpy")\n'
    assert workspace.relocate_wheels(tmp_path, includes) == 0


def test_the_stamp_follows_the_content(workspace, tmp_path):
    path = tmp_path / 'PlaceMatch.msg'
    path.write_text('uint8 reason\n')
    before = workspace.digest(['x'], [path])
    assert workspace.digest(['x'], [path]) == before
    path.write_text('uint16 reason\n')
    assert workspace.digest(['x'], [path]) != before
    assert workspace.digest(['y'], [path]) != workspace.digest(['x'], [path])


@pytest.mark.skipif(not ENV_FILE.exists(), reason=f'{BUILD}/env.sh is absent; see `make setup`')
class TestEnvironmentFile:
    """What a user gets from sourcing it."""

    @staticmethod
    def shell(script: str) -> str:
        # A ROS installation has to be sourced first; wheels need nothing from the environment.
        environment = dict(os.environ) if 'ROS_DISTRO' in os.environ else {'PATH': '/usr/bin:/bin'}
        done = subprocess.run(['/bin/sh', '-euc', script], cwd='/', env=environment,
                              capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def test_sourcing_it_again_changes_nothing(self):
        once = self.shell(f'. {ENV_FILE}; env | grep PATH= | sort')
        twice = self.shell(f'. {ENV_FILE}; . {ENV_FILE}; env | grep PATH= | sort')
        assert once == twice
        assert str(ROOT) in once

    def test_the_sources_and_the_messages_are_found(self):
        code = 'import seqnet_ros, seqnet_ros.msg; print(seqnet_ros.__file__)'
        assert self.shell(f'. {ENV_FILE}; python -c "{code}"') == str(
            ROOT / 'seqnet_ros' / '__init__.py')

    def test_ros_tools_find_the_package(self):
        code = ('from ament_index_python.packages import get_package_share_directory as find;'
                "print(find('seqnet_ros'))")
        share = Path(self.shell(f'. {ENV_FILE}; python -c "{code}"'))
        assert (share / 'package.xml').is_file()
        assert sorted(path.name for path in (share / 'models').iterdir()) == sorted(
            path.name for path in (ROOT / 'models').iterdir())
        executables = share.parent.parent / 'lib' / 'seqnet_ros'
        assert {item.name for item in executables.iterdir()} == set(NODES)
        assert all(os.access(executables / name, os.X_OK) for name in NODES)

    def test_executables_run_with_the_python_that_built_them(self):
        """As `ros2 run` starts them: without the virtual environment on PATH."""
        code = ('import sys; from ament_index_python.packages import get_package_prefix as find;'
                "print(find('seqnet_ros'), sys.executable)")
        prefix, python = self.shell(f'. {ENV_FILE}; python -c "{code}"').split()
        for path in (Path(prefix, 'lib', 'seqnet_ros', 'localizer'),
                     Path(prefix, 'bin', 'seqnet_ros')):
            assert path.read_text().splitlines()[0] == f'#!{python}'
        assert self.shell(f'. {ENV_FILE}; export PATH=/usr/bin:/bin; '
                          f'{prefix}/bin/seqnet_ros --version').startswith('seqnet_ros ')


def test_a_plain_install_brings_the_data_files(tmp_path):
    source = tmp_path / 'source'
    ignore = shutil.ignore_patterns('__pycache__', 'build', 'build-*', '*.egg-info')
    for name in ('seqnet_ros', 'seqnet_town', *DATA_FOLDERS):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ('pyproject.toml', 'setup.py', 'package.xml', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-qq', '--no-deps', '--no-build-isolation',
         '--wheel-dir', tmp_path, source], check=True, timeout=120)
    wheel, = tmp_path.glob('seqnet_ros-*.whl')
    names = zipfile.ZipFile(wheel).namelist()
    data = f'seqnet_ros-{seqnet_ros.__version__}.data/data/share/seqnet_ros'
    assert f'{data}/package.xml' in names
    for folder in DATA_FOLDERS:
        for path in (ROOT / folder).rglob('*.*'):
            if '__pycache__' not in path.parts:
                assert f'{data}/{path.relative_to(ROOT)}' in names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / 'seqnet_ros').rglob('*.py')}
    assert modules == {name for name in names if name.endswith('.py') and '.data/' not in name}


def test_versions_agree():
    manifest = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert manifest.findtext('version') == seqnet_ros.__version__


def test_catkin_accepts_the_manifest():
    package = pytest.importorskip('catkin_pkg.package')
    manifest = package.parse_package(str(ROOT))
    assert manifest.name == 'seqnet_ros'
    assert manifest.get_build_type() == 'ament_cmake'
    assert [group.name for group in manifest.member_of_groups] == ['rosidl_interface_packages']


def test_every_executable_is_installed():
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    listed = re.search(r'^foreach\(node ([a-z_\s]+)\)$', cmake, re.MULTILINE)
    assert listed
    assert listed.group(1).split() == list(NODES)
    assert os.access(ROOT / 'scripts' / 'node', os.X_OK)


@pytest.mark.parametrize('arguments', [[], ['navigator'], ['--ros-args']])
def test_a_node_that_is_none_is_refused(arguments):
    done = subprocess.run([sys.executable, '-m', 'seqnet_ros.nodes', *arguments],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1
    assert 'expected the name of a node: bag_player, evaluator, localizer, ' in done.stderr


def test_every_interface_is_generated():
    cmake = (ROOT / 'CMakeLists.txt').read_text()
    listed = set(re.findall(r'^  ((?:msg|srv)/\w+\.\w+)$', cmake, re.MULTILINE))
    present = {str(path.relative_to(ROOT)) for path in
               (*ROOT.glob('msg/*.msg'), *ROOT.glob('srv/*.srv'))}
    assert listed == present
