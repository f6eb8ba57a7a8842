"""A virtual environment: make it, install into it, and keep what ROS 2 brings working.

``workspace.py`` (`make setup`) and ``install_robot.py`` (`make robot`) use it. Standard library
only: it runs before anything is installed.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

PYTHON_OLDEST, PYTHON_NEWEST = (3, 10), (3, 13)
COMPILERS = ('c++', 'g++', 'clang++')

# A distribution is not installed where another one (a Debian package, `opencv-python`) already
# provides its module.
MODULE_OF = {'opencv-python-headless': 'cv2'}
TORCH_PAIR = ('torch', 'torchvision')
# launch_testing of the ROS distributions up to Kilted breaks with newer pytest.
ROS_CONSTRAINTS = ('pytest<8.4',)
# Built by Debian and Ubuntu for their own NumPy, and too old for a newer one of the same major
# version: these come with NumPy where NumPy is replaced.
BOUND_TO_NUMPY = ('scipy',)


class SetupError(Exception):
    """The setup cannot continue; the message is for the user."""


class PythonEnvironment:
    """A virtual environment.

    Args:
        path: its folder.
        sees_system: packages of the system, and so those of a ROS installation, are visible in it.
    """

    def __init__(self, path: Path, sees_system: bool) -> None:
        self.path = path
        self.sees_system = sees_system
        self.python = path / 'bin' / 'python'

    def works(self) -> bool:
        """True when it runs, has pip, and sees the system's packages exactly when it should."""
        config = self.path / 'pyvenv.cfg'
        if not (self.python.exists() and config.is_file()):
            return False
        probe = subprocess.run([self.python, '-m', 'pip', '--version'], capture_output=True)
        sees_system = re.search(
            r'include-system-site-packages\s*=\s*true', config.read_text()) is not None
        return probe.returncode == 0 and sees_system == self.sees_system

    def create(self) -> None:
        """Make it anew, with the running Python."""
        say(f'Creating the virtual environment {self.path.name} with Python '
            f'{platform.python_version()}.')
        options = ['--system-site-packages'] if self.sees_system else []
        run([sys.executable, '-m', 'venv', '--clear', *options, str(self.path)],
            failure='the virtual environment could not be created; the message is above.')

    def install(self, *arguments: str) -> None:
        """Run pip; only its errors are shown."""
        run([str(self.python), '-m', 'pip', 'install', '-qq', '--no-input',
             '--disable-pip-version-check', '--no-warn-script-location', *arguments],
            failure='pip could not install the Python packages; its message is above.')

    def output(self, code: str, *flags: str) -> str:
        """Return what `code` prints when run with the Python of the environment."""
        done = self.probe(code, *flags)
        if done.returncode != 0:
            raise SetupError(
                f'the Python packages in {self.path.name} do not work '
                f'({last_line(done.stderr)}); remove it and set up again.')
        return done.stdout.strip()

    def probe(self, code: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """Run `code` with the Python of the environment, whatever comes of it."""
        return subprocess.run(
            [self.python, *flags, '-c', code], cwd=self.path, capture_output=True, text=True)

    # Requirements.

    def install_requirements(self, requirements: list[str]) -> None:
        """Install requirements, within the limits that ROS 2 and the system set.

        A module that another distribution brings is not installed again. torch and torchvision
        come as a pair, and scipy comes with a NumPy that replaces the system's.
        """
        needed = [line for line in requirements if not self.provides(line)]
        limits = self.limits()
        before = self.numpy_version() if self.sees_system else ''
        self.install(*needed, *limits)
        if before and self.numpy_version() != before:
            bound = [line for line in needed if distribution(line) in BOUND_TO_NUMPY]
            self.install('--ignore-installed', '--no-deps', *bound)
        self.match_torch([line for line in needed if distribution(line) in TORCH_PAIR], limits)

    def provides(self, requirement: str) -> bool:
        """True when another distribution in the environment brings the module of a requirement."""
        module = MODULE_OF.get(distribution(requirement))
        return module is not None and self.provides_module(module)

    def provides_module(self, module: str) -> bool:
        """True when a module can be imported."""
        return self.probe(f'import {module}').returncode == 0

    def limits(self) -> tuple[str, ...]:
        """Return constraints that keep the compiled parts of a ROS installation working."""
        if not self.sees_system:
            return ()
        numpy = self.numpy_version()
        generator = self.version_of('empy')
        return (*ROS_CONSTRAINTS, *([f'numpy<{int(numpy.split(".")[0]) + 1}'] if numpy else []),
                *(['empy<4'] if generator.startswith('3.') else []))

    def numpy_version(self) -> str:
        """Return the version of NumPy that is imported, empty without one."""
        return self.probe('import numpy; print(numpy.__version__)').stdout.strip()

    def version_of(self, name: str) -> str:
        """Return the version of a distribution, empty where it is not installed."""
        return self.probe('import importlib.metadata as metadata;'
                          f'print(metadata.version({name!r}))').stdout.strip()

    def match_torch(self, pair: list[str], limits: tuple[str, ...]) -> None:
        """Install torch and torchvision where those that are seen do not fit together.

        One of them can come from the system, as Debian's torchvision, and the other from PyPI.

        Raises:
            SetupError: they do not fit together after that either.
        """
        if not self.torch_trouble():
            return
        say('Installing torch and torchvision again: those that were found do not fit together.')
        self.install('--ignore-installed', *pair, *limits)
        if trouble := self.torch_trouble():
            raise SetupError(
                f'torch and torchvision in {self.path.name} do not work together ({trouble}); '
                'remove it and set up again.')

    def torch_trouble(self) -> str:
        """Return why torch and torchvision cannot be used together; empty where they can."""
        done = self.probe('import torch, torchvision')
        return last_line(done.stderr) if done.returncode else ''

    def has_own_torch(self) -> bool:
        """True when PyTorch, the bulk of the download, is in the environment itself."""
        return any(self.path.glob('lib/python*/site-packages/torch/__init__.py'))


def check_python() -> None:
    """Raise SetupError when the running Python, or what builds the messages, will not do."""
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


def check_compiler(preferred: str | None) -> None:
    """Raise SetupError without a C++ compiler or the headers of Python."""
    if not any(shutil.which(name) for name in (preferred, *COMPILERS) if name):
        raise SetupError(
            f'no C++ compiler was found (looked for {", ".join(COMPILERS)}); on Debian and '
            'Ubuntu it is in the package g++.')
    header = Path(sysconfig.get_paths()['include'], 'Python.h')
    if not header.is_file():
        raise SetupError(
            f'{header} is missing, which the messages are compiled with; on Debian and Ubuntu it '
            'is in the package python3-dev.')


def check_disk_space(folder: Path, needed_gb: float) -> None:
    """Raise SetupError when the disk of `folder` has less than `needed_gb` free."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < needed_gb:
        raise SetupError(
            f'the disk of {folder} has {free_gb:.1f} GB free, but {needed_gb:.1f} GB are needed.')


def requirements_of_project(environment: PythonEnvironment, project: Path,
                            extras: set[str]) -> list[str]:
    """Return what a pyproject.toml requires, with some of its extras.

    Python 3.10 has no tomllib; the pip of an environment with such a Python brings tomli.
    """
    text = environment.output(
        'import json\n'
        'try:\n    import tomllib\n'
        'except ImportError:\n    from pip._vendor import tomli as tomllib\n'
        f'with open({str(project)!r}, "rb") as file:\n'
        '    print(json.dumps(tomllib.load(file)["project"]))', '-I')
    content = json.loads(text)
    return [*content['dependencies'],
            *(line for extra in sorted(extras)
              for line in content['optional-dependencies'][extra])]


def distribution(requirement: str) -> str:
    """Return the name of the distribution that a requirement asks for."""
    return re.split(r'[^A-Za-z0-9_.-]', requirement, maxsplit=1)[0]


def run(command: list[str], failure: str) -> None:
    """Run `command`; raise SetupError with `failure` when it does not succeed."""
    if subprocess.run(command).returncode != 0:
        raise SetupError(failure)


def last_line(text: str) -> str:
    """Return the last line of what a command wrote, which names the error."""
    return (text.strip().splitlines() or ['no message'])[-1]


def dotted(version: tuple[int, ...]) -> str:
    """Return a version as people write it."""
    return '.'.join(map(str, version))


def say(sentence: str) -> None:
    """Tell the user what is going on, at once also when the output is a file."""
    print(sentence, flush=True)
