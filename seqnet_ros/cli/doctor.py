"""``seqnet_ros doctor``: show in one screen what is wrong with an installation."""

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import typer

from seqnet_ros.cli.console import print_table, results

DISTRIBUTIONS = ('humble', 'jazzy', 'kilted')
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
OLDEST_FAISS = (1, 11)
LAST_DOMAIN = 101
"""Above, the ports of ROS 2 collide with those that Linux gives to programs."""
RANGES = ('SUBNET', 'LOCALHOST', 'OFF', 'SYSTEM_DEFAULT')
SHARED_MEMORY = Path('/dev/shm')
SHARED_MEMORY_MB = 128
"""Free, enough for a few raw images of 640x480 for each of a robot's publishers."""
DISK_GB = 2.0
EARLIEST_YEAR = 2024
"""A clock that shows an earlier year was never set, as on boards without a battery."""
PROBE_S = 120
UNSYNCHRONIZED = 5
"""``TIME_ERROR`` of adjtimex(2)."""


class State(Enum):
    """What a check found; the value is shown."""

    OK = 'ok'
    NOTE = 'note'
    WRONG = 'WRONG'


@dataclass(frozen=True)
class Finding:
    """The result of a check: what was found and, where it is not right, what to do."""

    what: str
    state: State
    text: str


def doctor() -> None:
    """Show what this installation consists of and what is wrong with it, in one screen.

    Exits with status 1 if something is wrong. A note is worth knowing, but may be intended, as that
    no ROS 2 is sourced where only the commands are used.
    """
    findings = [finding for check in CHECKS for finding in _guarded(check)]
    print_table(('check', 'state', 'found'), [
        (finding.what, finding.state.value, finding.text) for finding in findings])
    wrong = [finding.what for finding in findings if finding.state is State.WRONG]
    if wrong:
        results.print(f'{len(wrong)} wrong: {", ".join(wrong)}', highlight=False)
        raise typer.Exit(1)
    results.print('nothing wrong', highlight=False)


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    """Run a check; that one cannot run must not hide the others."""
    try:
        return check()
    except OSError as error:
        return [Finding(check.__name__.removeprefix('check_'), State.NOTE, f'not known: {error}')]


def check_ros() -> list[Finding]:
    """Look at the ROS 2 distribution, rclpy and the messages of this package."""
    distro = os.environ.get('ROS_DISTRO', '')
    if find_spec('rclpy') is None:
        found = 'rclpy is not found'
        if distro:
            return [Finding('ROS 2', State.WRONG, f'{distro} is sourced, but {found} by Python '
                            f'{platform.python_version()} ({sys.executable})')]
        return [Finding('ROS 2', State.NOTE, f'none is sourced: {found}, the commands work and the '
                                             'nodes do not')]
    trouble, _ = probe('import rclpy')
    name = distro or 'wheels from PyPI'
    if trouble:
        return [Finding('ROS 2', State.WRONG, f'{name}, but rclpy cannot be imported: {trouble}')]
    known = not distro or distro in DISTRIBUTIONS
    findings = [Finding('ROS 2', State.OK if known else State.NOTE,
                        name if known else f'{name}, expected one of {", ".join(DISTRIBUTIONS)}')]
    trouble, _ = probe('from seqnet_ros.msg import PlaceMatch; PlaceMatch()')
    findings.append(Finding('messages', State.OK, 'built') if not trouble else Finding(
        'messages', State.WRONG, f'those of seqnet_ros cannot be imported ({trouble}): build the '
                                 'workspace and source its install/setup.bash'))
    return findings


def check_python() -> list[Finding]:
    """Look at the version of Python."""
    number = sys.version_info[:2]
    good = OLDEST_PYTHON <= number <= NEWEST_PYTHON
    text = f'{platform.python_version()} on {platform.machine()}, {sys.executable}'
    return [Finding('Python', State.OK if good else State.WRONG, text if good else
                    f'{text}, expected {_dotted(OLDEST_PYTHON)} to {_dotted(NEWEST_PYTHON)}')]


def check_arrays() -> list[Finding]:
    """Hand arrays from NumPy to each compiled package and back.

    Each in a process of its own: a package that was built for another NumPy can end the process.
    """
    numpy_trouble, numpy_version = probe('import numpy; print(numpy.__version__)')
    if numpy_trouble:
        return [Finding('NumPy', State.WRONG, numpy_trouble)]
    return [Finding('NumPy', State.OK, numpy_version),
            *(check_package_with_numpy(what, numpy_version) for what in _ARRAY_PROBES
              if what not in _OPTIONAL or find_spec(what) is not None)]


def check_package_with_numpy(what: str, numpy_version: str) -> Finding:
    """Hand an array to one compiled package, and look at its version."""
    trouble, found = probe(_ARRAY_PROBES[what])
    if trouble:
        return Finding(what, State.WRONG, f'with NumPy {numpy_version}: {trouble}')
    if what == 'faiss' and _numbers(found) < OLDEST_FAISS:
        return Finding(what, State.WRONG, f'{found}, expected {_dotted(OLDEST_FAISS)} or newer')
    if what == 'OpenCV' and _numbers(found) >= (5,):
        return Finding(what, State.WRONG, f'{found}, expected a version below 5, which has HOG')
    return Finding(what, State.OK, found)


_ARRAY_PROBES = {
    'OpenCV': 'import cv2\nimport numpy as np\n'
              'assert cv2.cvtColor(np.zeros((8, 8, 3), np.uint8), 7).shape == (8, 8)\n'
              'cv2.HOGDescriptor\nprint(cv2.__version__)',
    'faiss': 'import faiss\nimport numpy as np\nindex = faiss.IndexFlatL2(4)\n'
             'index.add(np.eye(4, dtype=np.float32))\n'
             'assert index.search(np.eye(4, dtype=np.float32), 1)[1][3, 0] == 3\n'
             'print(faiss.__version__)',
    'torch': 'import torch\nimport numpy as np\nimport torchvision\n'
             'assert torch.from_numpy(np.ones(3, np.float32)).numpy().sum() == 3\n'
             'print(f"{torch.__version__}, torchvision {torchvision.__version__}")',
    'cv_bridge': 'import cv_bridge\nimport numpy as np\n'
                 'cv_bridge.CvBridge().cv2_to_imgmsg(np.zeros((4, 4, 3), np.uint8), "rgb8")\n'
                 'print("converts images")',
}
_OPTIONAL = {'cv_bridge'}


def check_gpu() -> list[Finding]:
    """Look for a GPU, and whether torch can use it."""
    present = (Path('/dev/nvidia0').exists() or Path('/etc/nv_tegra_release').is_file()
               or shutil.which('nvidia-smi') is not None)
    trouble, found = probe(
        'import torch\n'
        'print(torch.cuda.get_device_name() if torch.cuda.is_available() else "")')
    if trouble:
        return []  # reported with torch
    if found:
        return [Finding('GPU', State.OK, found)]
    if present:
        return [Finding('GPU', State.WRONG, 'there is one of NVIDIA, but torch does not see it: '
                                            'a driver too old, or a torch built without CUDA')]
    return [Finding('GPU', State.NOTE, 'none: networks run on the CPU')]


def check_middleware() -> list[Finding]:
    """Look at the middleware that is asked for, and at the settings of Fast DDS."""
    wanted = os.environ.get('RMW_IMPLEMENTATION', '')
    installed = installed_middleware(os.environ)
    if wanted and installed and wanted not in installed:
        return [Finding('RMW', State.WRONG, f'RMW_IMPLEMENTATION is {wanted}, which is not '
                                            f'installed; found {", ".join(installed)}')]
    findings = [Finding('RMW', State.OK, wanted or 'the default one of the distribution')] if (
        wanted or installed) else []
    for name in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        if (path := os.environ.get(name)) and not Path(path).is_file():
            findings.append(Finding('RMW', State.WRONG, f'{name} is {path}, which is no file'))
    return findings


def installed_middleware(environment: Mapping[str, str]) -> list[str]:
    """Return the middlewares that the prefixes of ROS 2 hold."""
    prefixes = filter(None, environment.get('AMENT_PREFIX_PATH', '').split(os.pathsep))
    return sorted({path.name for prefix in prefixes for path in Path(
        prefix, 'share', 'ament_index', 'resource_index', 'rmw_typesupport').glob('*')})


def check_discovery() -> list[Finding]:
    """Look at what decides which other nodes are seen."""
    return [discovery(os.environ)]


def discovery(environment: Mapping[str, str]) -> Finding:
    """Return what the environment says about the discovery of other nodes."""
    distro = environment.get('ROS_DISTRO', '')
    domain = environment.get('ROS_DOMAIN_ID') or '0'
    reach = environment.get('ROS_AUTOMATIC_DISCOVERY_RANGE', '')
    local = environment.get('ROS_LOCALHOST_ONLY', '')
    if not domain.isdigit() or int(domain) > 232:
        return Finding('discovery', State.WRONG,
                       f'ROS_DOMAIN_ID is {domain!r}, expected a number from 0 to {LAST_DOMAIN}')
    if reach and reach.upper() not in RANGES:
        return Finding('discovery', State.WRONG, f'ROS_AUTOMATIC_DISCOVERY_RANGE is {reach!r}, '
                                                 f'expected one of {", ".join(RANGES)}')
    text = f'domain {domain}, ' + (
        f'range {reach.upper()}' if reach else
        'this machine only (ROS_LOCALHOST_ONLY)' if local == '1' else 'the default range')
    if reach.upper() == 'OFF':
        return Finding('discovery', State.WRONG, f'{text}: nodes do not find each other')
    if distro == 'humble' and reach:
        return Finding('discovery', State.NOTE, f'domain {domain}; Humble ignores '
                       'ROS_AUTOMATIC_DISCOVERY_RANGE, use ROS_LOCALHOST_ONLY')
    if int(domain) > LAST_DOMAIN:
        return Finding('discovery', State.NOTE, f'{text}; domains above {LAST_DOMAIN} can collide '
                                                'with ports of other programs')
    return Finding('discovery', State.OK, text)


def check_shared_memory() -> list[Finding]:
    """Look at the memory that the middleware passes images through on one machine."""
    usage = shutil.disk_usage(SHARED_MEMORY)
    total, free = usage.total / 1e6, usage.free / 1e6
    text = f'{free:.0f} of {total:.0f} MB free in {SHARED_MEMORY}'
    if free < SHARED_MEMORY_MB:
        return [Finding('shared memory', State.WRONG,
                        f'{text}, expected {SHARED_MEMORY_MB} MB: images are lost; in a container, '
                        'start it with --ipc=host or --shm-size=512m')]
    return [Finding('shared memory', State.OK, text)]


def check_clock() -> list[Finding]:
    """Look at the year, and ask the kernel whether the clock is synchronized."""
    now = time.gmtime()
    text = time.strftime('%Y-%m-%d %H:%M:%S UTC', now)
    if now.tm_year < EARLIEST_YEAR:
        return [Finding('clock', State.WRONG, f'{text}: it was never set')]
    # struct timex is 208 bytes on 64 bit Linux; zero in its first field only reads.
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    if state == UNSYNCHRONIZED:
        return [Finding('clock', State.NOTE, f'{text}, not synchronized by NTP or PTP: stamps of '
                                             'several machines can differ')]
    return [Finding('clock', State.OK, text)]


def check_disk() -> list[Finding]:
    """Look at the space for maps in the current folder."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    text = f'{free:.1f} GB free in {Path.cwd()}'
    if free < DISK_GB:
        return [Finding('disk', State.WRONG, f'{text}, expected {DISK_GB:g} GB')]
    return [Finding('disk', State.OK, text)]


def check_package() -> list[Finding]:
    """Look at the version of this package and of the libraries for settings and commands."""
    from seqnet_ros import __version__

    found = []
    for name in ('pydantic', 'typer', 'rosbags'):
        try:
            found.append(f'{name} {version(name)}')
        except PackageNotFoundError:
            return [Finding('seqnet_ros', State.WRONG, f'{__version__}, but {name} is missing')]
    return [Finding('seqnet_ros', State.OK, f'{__version__}; {", ".join(found)}')]


CHECKS = (check_package, check_ros, check_python, check_arrays, check_gpu, check_middleware,
          check_discovery, check_shared_memory, check_clock, check_disk)


def probe(code: str) -> tuple[str, str]:
    """Run code in a Python of its own.

    Returns:
        What went wrong, empty if nothing did, and what was printed.
    """
    try:
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                              timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        return f'no answer within {PROBE_S} s', ''
    if done.returncode == 0:
        return '', done.stdout.strip()
    if done.returncode < 0:
        return f'the process was ended by signal {-done.returncode}', ''
    return (done.stderr.strip().splitlines() or ['no message'])[-1], ''


def _numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version."""
    match = re.match(r'\d+(\.\d+)*', text)
    return tuple(int(part) for part in match[0].split('.')) if match else ()


def _dotted(numbers: tuple[int, ...]) -> str:
    return '.'.join(map(str, numbers))
