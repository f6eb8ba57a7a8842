"""The pose at a time while poses still arrive."""

import threading
import time

import numpy as np
import pytest

from seqnet_ros.core.pose_buffer import PoseBuffer
from seqnet_ros.core.poses import make_pose, make_trajectory

SECOND = 10**9
NOW = 1_700_000_000_123_456_789  # a stamp of today, which a float rounds


def filled(buffer: PoseBuffer, *seconds: float) -> PoseBuffer:
    """Add poses that move along x by a metre a second."""
    for second in seconds:
        buffer.add(NOW + round(second * SECOND), make_pose(second, 0.0))
    return buffer


def test_a_buffer_and_a_trajectory_give_the_same_poses():
    rng = np.random.default_rng(0)
    stamps = NOW + np.sort(rng.integers(0, 10 * SECOND, 50))
    poses = [make_pose(*rng.normal(size=3), yaw=rng.uniform(-3, 3)) for _ in stamps]
    buffer, trajectory = PoseBuffer(max_gap_s=0.4), make_trajectory(stamps, poses, 'drive')
    for stamp_ns, pose in zip(stamps.tolist(), poses, strict=True):
        buffer.add(stamp_ns, pose)
    times = [*stamps.tolist(), *(NOW + rng.integers(-SECOND, 11 * SECOND, 300)).tolist()]
    expected = [trajectory.at(stamp_ns, max_gap_s=0.4) for stamp_ns in times]
    assert any(pose is None for pose in expected)
    assert sum(pose is not None for pose in expected) > len(stamps)
    for stamp_ns, pose in zip(times, expected, strict=True):
        np.testing.assert_array_equal(buffer.at(stamp_ns), pose)


def test_the_last_motion_is_extrapolated_as_far_as_allowed():
    buffer = filled(PoseBuffer(max_gap_s=1.0, max_extrapolation_s=0.5), 0.0, 1.0)
    assert buffer.at(NOW + 3 * SECOND // 2)[0] == pytest.approx(1.5)
    assert buffer.at(NOW + 3 * SECOND // 2 + 1) is None
    assert filled(PoseBuffer(1.0), 0.0, 1.0).at(NOW + SECOND + 1) is None
    alone = filled(PoseBuffer(max_gap_s=1.0, max_extrapolation_s=0.5), 0.0)
    assert alone.at(NOW + 1) is None
    apart = filled(PoseBuffer(max_gap_s=1.0, max_extrapolation_s=0.5), 0.0, 1.5)
    assert apart.at(NOW + 8 * SECOND // 5) is None


def test_only_stamps_that_go_back_far_enough_start_it_again():
    buffer = filled(PoseBuffer(max_gap_s=2.0, restart_s=1.0), 0.0, 2.0, 1.5, 1.0)
    assert (len(buffer), buffer.restarts) == (2, 0)
    assert not buffer.goes_back(NOW + SECOND)
    assert buffer.goes_back(NOW + SECOND - 1)
    filled(buffer, 0.5)
    assert (len(buffer), buffer.restarts) == (1, 1)
    assert buffer.newest_ns == NOW + SECOND // 2


@pytest.mark.parametrize('offset_ns', range(0, 256, 15))
def test_a_repeated_stamp_is_no_restart(offset_ns):
    buffer = PoseBuffer(max_gap_s=1.0)
    for x in (0.0, 1.0):
        buffer.add(NOW + offset_ns, make_pose(x, 0.0))
    assert (len(buffer), buffer.restarts) == (1, 0)
    assert buffer.at(NOW + offset_ns)[0] == 0.0


def test_the_oldest_poses_make_room():
    buffer = filled(PoseBuffer(max_gap_s=1.0, max_poses=3), 0.0, 1.0, 2.0, 3.0, 4.0)
    assert len(buffer) == 3
    assert [buffer.covers(NOW + second * SECOND) for second in (1, 2, 4, 5)] == [
        False, True, True, False]
    assert buffer.at(NOW + 5 * SECOND // 2)[0] == pytest.approx(2.5)


def test_poses_between_two_times_exclude_both():
    buffer = filled(PoseBuffer(1.0), 0.0, 1.0, 2.0, 3.0)
    found = buffer.between(NOW, NOW + 3 * SECOND)
    assert [stamp_ns - NOW for stamp_ns, _ in found] == [SECOND, 2 * SECOND]
    assert [pose[0] for _, pose in found] == [1.0, 2.0]
    assert buffer.last_before(NOW + SECOND) == NOW
    assert buffer.last_before(NOW) is None


def test_forgetting_keeps_the_poses_from_a_time_on():
    buffer = filled(PoseBuffer(1.0), 0.0, 1.0, 2.0)
    buffer.forget_before(NOW + SECOND)
    assert len(buffer) == 2
    assert buffer.at(NOW + SECOND)[0] == 1.0
    assert buffer.at(NOW + SECOND - 1) is None


def test_a_pose_that_was_returned_is_a_copy():
    buffer = filled(PoseBuffer(1.0), 0.0)
    buffer.at(NOW)[0] = 5.0
    assert buffer.at(NOW)[0] == 0.0


def test_waiting_ends_when_the_pose_comes_or_patience_runs_out():
    buffer = filled(PoseBuffer(1.0), 0.0, 0.5)
    late = threading.Timer(0.05, filled, (buffer, 0.8))
    late.start()
    assert buffer.at(NOW + 7 * SECOND // 10, patience_s=10.0)[0] == pytest.approx(0.7)
    late.join()
    started = time.monotonic()
    assert buffer.at(NOW + SECOND, patience_s=0.05) is None
    assert 0.04 < time.monotonic() - started < 5.0


def test_poses_are_right_while_another_thread_adds_and_drops():
    buffer = filled(PoseBuffer(max_gap_s=1.0, max_poses=50), 0.0)
    done = threading.Event()

    def add() -> None:
        for step in range(1, 20_000):
            buffer.add(NOW + step * SECOND // 100, make_pose(step / 100, 0.0))
        done.set()

    adding = threading.Thread(target=add)
    adding.start()
    errors = []
    while not done.is_set():
        stamp_ns = buffer.newest_ns - SECOND // 8
        pose = buffer.at(stamp_ns)
        if pose is not None:
            errors.append(abs(pose[0] - (stamp_ns - NOW) / SECOND))
    adding.join()
    assert len(errors) > 10
    assert max(errors) < 1e-6
