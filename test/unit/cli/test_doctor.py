"""What `seqnet_ros doctor` finds wrong."""

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from command_line import run

from seqnet_ros.cli import doctor
from seqnet_ros.cli.doctor import State

ROOT = Path(__file__).resolve().parents[3]
Usage = namedtuple('Usage', 'total used free')


def states(findings: list[doctor.Finding]) -> dict[str, State]:
    return {finding.what: finding.state for finding in findings}


@pytest.mark.parametrize(('environment', 'state', 'words'), [
    ({}, State.OK, 'domain 0, the default range'),
    ({'ROS_DOMAIN_ID': '25', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}, State.OK,
     'domain 25, range LOCALHOST'),
    ({'ROS_DOMAIN_ID': '300'}, State.WRONG, "'300', expected a number from 0 to 101"),
    ({'ROS_DOMAIN_ID': 'lab'}, State.WRONG, "'lab', expected a number"),
    ({'ROS_DOMAIN_ID': '150'}, State.NOTE, 'domains above 101'),
    ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'HOST'}, State.WRONG, "'HOST', expected one of SUBNET"),
    ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'off'}, State.WRONG, 'do not find each other'),
    ({'ROS_DISTRO': 'humble', 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}, State.NOTE,
     'Humble ignores'),
    ({'ROS_DISTRO': 'humble', 'ROS_LOCALHOST_ONLY': '1'}, State.OK, 'this machine only')])
def test_discovery(environment, state, words):
    finding = doctor.discovery(environment)
    assert finding.state is state
    assert words in finding.text


def test_arrays_of_this_installation_reach_every_package():
    found = states(doctor.check_arrays())
    assert {'NumPy', 'OpenCV', 'faiss', 'torch'} <= set(found)
    assert set(found.values()) == {State.OK}


@pytest.mark.parametrize(('module', 'content', 'words'), [
    ('cv2', "raise ImportError('numpy.core.multiarray failed to import')",
     'numpy.core.multiarray failed to import'),
    ('cv2', 'import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)', 'ended by signal 11')])
def test_a_package_that_was_built_for_another_numpy(module, content, words, tmp_path, monkeypatch):
    (tmp_path / f'{module}.py').write_text(content)
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}{os.pathsep}{os.environ.get("PYTHONPATH", "")}')
    finding = doctor.check_package_with_numpy('OpenCV', '1.26')
    assert finding.state is State.WRONG
    assert words in finding.text


OLD_FAISS = """
import numpy as np
__version__ = '1.7.3'
class IndexFlatL2:
    def __init__(self, dim): pass
    def add(self, rows): pass
    def search(self, rows, k): return rows, np.arange(len(rows))[:, None]
"""
NEW_OPENCV = """
__version__ = '5.0.0'
HOGDescriptor = None
def cvtColor(image, code): return image[..., 0]
"""


@pytest.mark.parametrize(('what', 'module', 'content', 'words'), [
    ('faiss', 'faiss', OLD_FAISS, '1.7.3, expected 1.11 or newer'),
    ('OpenCV', 'cv2', NEW_OPENCV, '5.0.0, expected a version below 5')])
def test_versions_that_are_refused(what, module, content, words, tmp_path, monkeypatch):
    (tmp_path / f'{module}.py').write_text(content)
    monkeypatch.setenv('PYTHONPATH', f'{tmp_path}{os.pathsep}{os.environ.get("PYTHONPATH", "")}')
    finding = doctor.check_package_with_numpy(what, '1.26')
    assert finding.state is State.WRONG
    assert words in finding.text


def test_a_middleware_that_is_not_installed(tmp_path, monkeypatch):
    index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'rmw_typesupport'
    index.mkdir(parents=True)
    (index / 'rmw_fastrtps_cpp').touch()
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_zenoh_cpp')
    finding, = doctor.check_middleware()
    assert finding.state is State.WRONG
    assert 'rmw_zenoh_cpp, which is not installed; found rmw_fastrtps_cpp' in finding.text
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
    assert states(doctor.check_middleware()) == {'RMW': State.OK}
    monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', str(tmp_path / 'absent.xml'))
    assert doctor.check_middleware()[-1].state is State.WRONG


def test_little_memory_and_a_clock_that_was_never_set(monkeypatch):
    monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda _: Usage(64e6, 1e6, 63e6))
    assert states(doctor.check_shared_memory()) == {'shared memory': State.WRONG}
    assert states(doctor.check_disk()) == {'disk': State.WRONG}
    monkeypatch.setattr(doctor.time, 'gmtime', lambda: doctor.time.struct_time(
        (1970, 1, 1, 0, 0, 12, 3, 1, 0)))
    finding, = doctor.check_clock()
    assert finding.state is State.WRONG
    assert 'never set' in finding.text


def test_the_status_says_whether_something_is_wrong(monkeypatch):
    good = doctor.Finding('Python', State.OK, '3.12')
    monkeypatch.setattr(doctor, 'CHECKS', (lambda: [good],))
    result = run('doctor')
    assert result.exit_code == 0
    assert 'nothing wrong' in result.stdout
    bad = doctor.Finding('disk', State.WRONG, '0.1 GB')
    monkeypatch.setattr(doctor, 'CHECKS', (lambda: [good], lambda: [bad]))
    result = run('doctor')
    assert result.exit_code == 1
    assert '1 wrong: disk' in result.stdout


def test_a_check_that_fails_does_not_hide_the_others(monkeypatch):
    def check_clock() -> list[doctor.Finding]:
        raise OSError('no such file')

    monkeypatch.setattr(doctor, 'CHECKS', (check_clock, doctor.check_python))
    result = run('doctor')
    assert 'not known: no such file' in result.stdout
    assert 'Python' in result.stdout


@pytest.mark.requires_ros
def test_ros_of_this_installation():
    assert set(states(doctor.check_ros()).values()) == {State.OK}


def test_ros_that_another_python_has():
    """A distribution is sourced, but its rclpy is for another Python."""
    code = ('from importlib import util\nreal = util.find_spec\n'
            "util.find_spec = lambda name: None if name == 'rclpy' else real(name)\n"
            'from seqnet_ros.cli import doctor\n'
            'print(*[(item.state.value, item.text) for item in doctor.check_ros()])')
    environment = {**os.environ, 'ROS_DISTRO': 'jazzy', 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True,
                          text=True, timeout=60, check=True)
    assert 'WRONG' in done.stdout
    assert 'jazzy is sourced, but rclpy is not found by Python' in done.stdout
