"""Install seqnet_ros beside a ROS 2 installation: ``make robot``.

One way for Ubuntu 22.04 and 24.04, x86-64 and ARM64. Debian and Ubuntu refuse `pip install` outside
of a virtual environment, and a plain one breaks what ROS 2 was built for, NumPy foremost. So this
makes a virtual environment that sees the packages of the system, installs into it what they lack,
within the limits that they set, and builds the package with its Python: `ros2 run` and
`ros2 launch` find the nodes, and the shell the command `seqnet_ros`, without activating anything.

Each step is checked before the next one. What was done is listed at the end and kept in the virtual
environment, where ``--uninstall`` (`make robot-uninstall`) finds it.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from python_environment import (
    PythonEnvironment,
    SetupError,
    check_compiler,
    check_disk_space,
    check_python,
    distribution,
    last_line,
    requirements_of_project,
    say,
)

ROOT = Path(__file__).resolve().parent.parent
VENV_NAME = '.venv-seqnet_ros'  # colcon does not look into hidden folders
OUTSIDE_WORKSPACE = Path('~/seqnet_ros_ws')
PACKAGE = 'seqnet_ros'
RECORD = 'installation.json'
DISTRIBUTIONS = ('humble', 'jazzy', 'kilted')
NEEDED_GB = 10.0  # PyTorch with CUDA takes most of it, unpacked and while downloading
NEEDED_WITHOUT_TORCH_GB = 2.0
JETSON = Path('/etc/nv_tegra_release')
OLDEST_TORCH = (2, 4)
BUILD_TOOLS = ('colcon-common-extensions', 'catkin_pkg')

CHECK_PACKAGES = """
import cv2, faiss, numpy, pydantic, torch, torchvision, typer
import numpy as np
image = np.zeros((64, 64, 3), np.uint8)
assert cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).shape == (64, 64)
index = faiss.IndexFlatL2(4)
index.add(np.eye(4, dtype=np.float32))
assert index.search(np.eye(4, dtype=np.float32), 1)[1].ravel().tolist() == [0, 1, 2, 3]
assert torch.from_numpy(np.ones(3, np.float32)).numpy().sum() == 3
for name in (numpy, cv2, faiss, torch, torchvision, pydantic):
    print(name.__name__, name.__version__, 'from', name.__file__.split('/' + name.__name__)[0])
"""
"""Arrays go from NumPy to each compiled package and back; its lines say what comes from where."""


def main() -> int:
    """Install or uninstall; return the exit status."""
    arguments = parse_arguments()
    workspace = arguments.workspace or default_workspace()
    try:
        if arguments.uninstall:
            uninstall(workspace)
        else:
            install(workspace)
    except SetupError as error:
        print(f'Stopped: {error}', file=sys.stderr)
        return 1
    return 0


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description='Install seqnet_ros beside a ROS 2 installation.')
    parser.add_argument(
        '--workspace', type=lambda text: Path(text).expanduser().resolve(),
        help='colcon workspace to build in; default: the one whose src folder has this checkout, '
             f'else {OUTSIDE_WORKSPACE}')
    parser.add_argument('--uninstall', action='store_true', help='remove what was installed')
    return parser.parse_args()


def default_workspace() -> Path:
    """Return the colcon workspace that this checkout is in, or a folder of its own."""
    if 'src' in (parent.name for parent in ROOT.parents):
        return next(parent.parent for parent in ROOT.parents if parent.name == 'src')
    return OUTSIDE_WORKSPACE.expanduser()


def install(workspace: Path) -> None:
    """Install step by step, and check each."""
    started = time.monotonic()
    distro = check_ros()
    if workspace.is_relative_to(ROOT):
        raise SetupError(f'the workspace {workspace} is inside the package {ROOT}; CMake needs it '
                         'outside: name another one with --workspace.')
    workspace.mkdir(parents=True, exist_ok=True)
    venv = workspace / VENV_NAME
    environment = PythonEnvironment(venv, sees_system=True)
    check_disk_space(
        workspace, NEEDED_WITHOUT_TORCH_GB if environment.has_own_torch() else NEEDED_GB)
    say(f'1. ROS 2 {distro}, Python {platform.python_version()}, {platform.machine()}: found.')

    if not environment.works():
        environment.create()
    record = {'workspace': str(workspace), 'folders': [str(venv)]}
    write_record(venv, record)
    numpy = environment.numpy_version()
    say(f'2. Virtual environment {venv}: ready; it sees NumPy {numpy} of the system.'
        if numpy else f'2. Virtual environment {venv}: ready; the system has no NumPy.')

    install_packages(environment)
    versions = check_packages(environment, numpy)
    say('3. Python packages: installed, and they work together:')
    say('   ' + '\n   '.join(versions))

    record['folders'] += [str(workspace / part / PACKAGE) for part in ('build', 'install')]
    write_record(venv, record)
    build(environment, workspace)
    check_build(environment, workspace)
    say(f'4. Package: built in {workspace}; `ros2 run {PACKAGE} localizer` and the command '
        f'`{PACKAGE}` start.')

    say(f'Done in {time.monotonic() - started:.0f} s. This was made, and the setup files of '
        f'colcon in {workspace / "install"}; nothing else was changed:')
    say('   ' + '\n   '.join(record['folders']))
    say('Remove it with `make robot-uninstall`. Next:\n'
        f'   source {workspace / "install" / "setup.bash"}\n'
        f'   {PACKAGE} doctor')


def check_ros() -> str:
    """Return the ROS 2 distribution that is sourced.

    Raises:
        SetupError: there is none, or this Python is not that of the distribution.
    """
    distro = os.environ.get('ROS_DISTRO')
    if not distro:
        found = sorted(path.parent.name for path in Path('/opt/ros').glob('*/setup.bash'))
        raise SetupError(
            'no ROS 2 is sourced (ROS_DISTRO is not set); '
            + (f'run `source /opt/ros/{found[-1]}/setup.bash` first.' if found else
               'install ROS 2 and source its setup file first.'))
    if distro not in DISTRIBUTIONS:
        say(f'ROS 2 {distro} was found; {", ".join(DISTRIBUTIONS)} are those that were looked at.')
    check_python()
    check_compiler(os.environ.get('CXX'))
    probe = subprocess.run([sys.executable, '-c', 'import rclpy'], capture_output=True, text=True)
    if probe.returncode != 0:
        raise SetupError(
            f'{sys.executable} (Python {platform.python_version()}) cannot import rclpy of '
            f'{distro} ({last_line(probe.stderr)}); name the Python of the distribution: '
            '`make robot PYTHON=/usr/bin/python3`.')
    return distro


def install_packages(environment: PythonEnvironment) -> None:
    """Install what pyproject.toml requires and the system lacks."""
    requirements = requirements_of_project(environment, ROOT / 'pyproject.toml', set())
    torch = torch_of_system(environment)
    if torch:
        # Never replaced: on a Jetson, that of PyPI has no use of the GPU.
        requirements = [line for line in requirements if distribution(line) != 'torch']
        requirements.append(f'torch=={torch}')
    elif JETSON.is_file() and not environment.has_own_torch():
        raise SetupError(
            'this is a Jetson without a torch of at least '
            f'{".".join(map(str, OLDEST_TORCH))}; install the one that NVIDIA publishes for its '
            'JetPack, and torchvision with it, then run this again: that of PyPI would not use '
            'the GPU.')
    say('Installing Python packages'
        + ('.' if torch or environment.has_own_torch() else ' (PyTorch is large): some minutes.'))
    if not environment.provides_module('colcon') or not environment.provides_module('catkin_pkg'):
        requirements += BUILD_TOOLS
    environment.install('setuptools>=70.1,<80')  # colcon wants less than 80
    environment.install_requirements(requirements)


def torch_of_system(environment: PythonEnvironment) -> str:
    """Return the version of a torch outside the environment that can be used; empty without."""
    if environment.has_own_torch():
        return ''
    version = environment.version_of('torch')
    numbers = tuple(int(part) for part in version.split('+')[0].split('.')[:2] if part.isdigit())
    return version if numbers >= OLDEST_TORCH and not environment.torch_trouble() else ''


def check_packages(environment: PythonEnvironment, numpy_before: str) -> list[str]:
    """Return a line about each compiled package.

    Raises:
        SetupError: they do not work together, or NumPy is of another major version than the one
            that the packages of the system were built for.
    """
    done = environment.probe(CHECK_PACKAGES)
    if done.returncode != 0:
        raise SetupError(f'the Python packages do not work together: {last_line(done.stderr)}')
    numpy = environment.numpy_version()
    if numpy_before and numpy.split('.')[0] != numpy_before.split('.')[0]:
        raise SetupError(f'NumPy is {numpy} now, but what ROS 2 brings was built for '
                         f'{numpy_before}.')
    if environment.provides_module('cv_bridge'):
        environment.output('from cv_bridge import CvBridge; import numpy as np;'
                           'CvBridge().cv2_to_imgmsg(np.zeros((4, 4, 3), np.uint8), "rgb8")')
    return done.stdout.strip().splitlines()


def build(environment: PythonEnvironment, workspace: Path) -> None:
    """Build the package with colcon and the Python of the environment."""
    say('Building the package with colcon (up to a minute).')
    log = environment.path / 'colcon.log'
    command = [
        str(environment.python), '-m', 'colcon',
        '--log-base', str(environment.path / 'colcon'), 'build',
        '--base-paths', str(ROOT), '--packages-select', PACKAGE,
        '--build-base', str(workspace / 'build'), '--install-base', str(workspace / 'install'),
        '--cmake-clean-cache',  # it may name the Python of an earlier build
        '--cmake-args', f'-DPython3_EXECUTABLE={environment.python}', '-DBUILD_TESTING=OFF']
    with log.open('w') as output:
        done = subprocess.run(command, cwd=workspace, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        print(''.join(log.read_text(errors='replace').splitlines(keepends=True)[-40:]),
              file=sys.stderr)
        raise SetupError(f'colcon could not build the package; the whole output is in {log}.')


def check_build(environment: PythonEnvironment, workspace: Path) -> None:
    """Raise SetupError when a new shell that sources the workspace cannot use the package."""
    setup = shlex.quote(str(workspace / 'install' / 'setup.sh'))
    python = shlex.quote(str(environment.python))
    node = shlex.quote(str(workspace / 'install' / PACKAGE / 'lib' / PACKAGE / 'localizer'))
    checks = {
        'the command seqnet_ros does not start': f'{PACKAGE} --version',
        'the messages cannot be imported':
            f'{python} -c "from {PACKAGE}.msg import PlaceMatch; PlaceMatch()"',
        'ROS 2 does not find the package':
            f'{python} -c "from ament_index_python.packages import get_package_prefix as find;'
            f"find('{PACKAGE}')\"",
        'the nodes would not run in the virtual environment':
            f'head -n 1 {node} | grep -qxF "#!{environment.python}"',
    }
    for trouble, command in checks.items():
        done = subprocess.run(['/bin/sh', '-c', f'. {setup}; {command}'], cwd='/',
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise SetupError(f'{trouble}: {last_line(done.stderr)}')


def uninstall(workspace: Path) -> None:
    """Remove the folders that an installation made."""
    path = workspace / VENV_NAME / RECORD
    if not path.is_file():
        raise SetupError(f'nothing is installed: {path} is absent.')
    folders = json.loads(path.read_text())['folders']
    for folder in reversed(folders):  # the environment, which holds the record, goes last
        shutil.rmtree(folder, ignore_errors=True)
        say(f'Removed {folder}')
    for name in ('build', 'install'):  # what colcon leaves there when the last package is gone
        folder = workspace / name
        if folder.is_dir() and not any(item.is_dir() for item in folder.iterdir()):
            shutil.rmtree(folder)
            say(f'Removed {folder}, which has no package any more')


def write_record(venv: Path, record: dict) -> None:
    """Keep what the installation makes, so that it can be removed, however far it came."""
    (venv / RECORD).write_text(json.dumps(record, indent=2) + '\n')


if __name__ == '__main__':
    sys.exit(main())
