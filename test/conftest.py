"""What all tests share: an isolated ROS domain, bounded threads, and the data beside the checkout.

Everything set in the environment here is set before torch, rclpy or a message is imported.
"""

import os
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / 'shared'
pytest_plugins = [
    'jist_training', 'milvus_server', 'seqnet_training', 'town_tiles', 'weight_server']


def _claim_ros_domain() -> tuple[int, socket.socket]:
    """Return a ROS domain that no other test process of this machine uses, and what holds it.

    The domain is held by a bound port: it is free again when the process ends, however it ends.
    """
    # Domains above 101 would collide with the system's ephemeral ports.
    for offset in range(100):
        domain = 1 + (os.getpid() + offset) % 100
        holder = socket.socket()
        try:
            holder.bind(('127.0.0.1', 27400 + domain))
        except OSError:
            holder.close()
            continue
        return domain, holder
    raise RuntimeError('all 100 ROS domains for tests are in use on this machine')


_domain, _domain_holder = _claim_ros_domain()
os.environ['ROS_DOMAIN_ID'] = str(_domain)
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
if os.environ.get('ROS_DISTRO') == 'humble':  # which does not know the discovery range yet
    os.environ['ROS_LOCALHOST_ONLY'] = '1'
# A wrong type in a message field is then a Python error instead of the end of the process.
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
os.environ['MPLBACKEND'] = 'Agg'
if 'PYTEST_XDIST_WORKER' in os.environ:
    os.environ['OMP_NUM_THREADS'] = '1'


def pytest_configure() -> None:
    """Make property tests repeatable and independent of the machine's speed."""
    if find_spec('hypothesis'):
        import hypothesis

        hypothesis.settings.register_profile(
            'repeatable', derandomize=True, deadline=None, database=None)
        hypothesis.settings.load_profile('repeatable')


def _missing_for_ros() -> str | None:
    """Return what a test with ROS lacks here; None when it can run."""
    if find_spec('rclpy') is None:
        return 'rclpy is not installed'
    if find_spec('seqnet_ros.msg') is None:
        return 'the messages of seqnet_ros are not built or not on PYTHONPATH'
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `requires_ros` where ROS or the messages are absent."""
    missing = _missing_for_ros()
    if missing is None:
        return
    for item in items:
        if item.get_closest_marker('requires_ros'):
            item.add_marker(pytest.mark.skip(reason=f'{missing}; see `make setup`'))


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f'{path} is absent')
    return path


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """Directory of the real image sequences and structs."""
    return _shared('data')


@pytest.fixture(scope='session')
def shared_golden() -> Path:
    """Directory of reference inputs and outputs of the original projects."""
    return _shared('golden')


@pytest.fixture(scope='session')
def shared_weights() -> Path:
    """Directory of trained weights."""
    return _shared('weights')


# The nodes' town; what it needs is imported when it is asked for.


@pytest.fixture(scope='session')
def first_drive() -> list:
    """Stamp, image and pose of fifty frames of a drive through a rendered town."""
    from node_harness import render

    return render(seed=1, count=50)


@pytest.fixture(scope='session')
def second_drive() -> list:
    """Thirty frames of a second drive along the same way."""
    from node_harness import render

    return render(seed=2, count=30, lateral_offset=0.3)


@pytest.fixture(scope='session')
def town_map(first_drive: list, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of every image of the first drive, with pictures."""
    from node_harness import with_keyframes

    from seqnet_ros.maps.map_writer import save_map
    from seqnet_ros.maps.mapper import Mapper
    from seqnet_ros.models.place_model import load_model

    model = load_model('hog', device='cpu')
    mapper = Mapper(model, with_keyframes(model, every='1'), keep_images=True)
    for stamp_ns, image, pose in first_drive:
        mapper.push(image, stamp_ns, pose)
    path = tmp_path_factory.mktemp('maps') / 'town'
    save_map(mapper.finish('first drive', 'exact'), path)
    return path


@pytest.fixture
def log(capfd: pytest.CaptureFixture) -> Any:
    """What the nodes of a test wrote to the console."""
    from node_harness import Log

    return Log(capfd)
