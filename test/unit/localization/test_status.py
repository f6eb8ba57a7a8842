"""The status over successive results, and the pose that odometry carries."""

import numpy as np
import pytest

from seqnet_ros.core.carried_pose import CarriedPose
from seqnet_ros.core.poses import make_pose, pose_from_matrix, pose_matrix
from seqnet_ros.localization.result import Candidate, MatchResult, Reason
from seqnet_ros.localization.status import State, StatusTracker

SECOND = 10**9


def result(reason: Reason, second: int = 0, off_map: float | None = 0.1) -> MatchResult:
    best = Candidate(4, 0, make_pose(4.0, 0.0), 0.1, 0.1, 0.9, 'town')
    return MatchResult(second, second * SECOND, 0, (best,), reason, off_map=off_map)


# Carried poses.


def test_a_pose_is_carried_along_the_way_of_odometry():
    drift = make_pose(3.0, -2.0, yaw=0.7)
    start, end = make_pose(1.0, 2.0, yaw=0.3), make_pose(4.0, 6.0, yaw=-0.2)
    from_map = np.linalg.inv(pose_matrix(drift))
    odometry = [pose_from_matrix(from_map @ pose_matrix(pose))
                for pose in (start, make_pose(4.0, 2.0), end)]
    carried = CarriedPose(start, odometry[0])
    assert carried.pose == pytest.approx(start)
    assert carried.distance_m == 0
    carried.move(odometry[1])
    carried.move(odometry[2])
    assert carried.pose == pytest.approx(end)
    assert carried.distance_m == pytest.approx(7.0)
    assert carried.moved_m == pytest.approx(5.0)


def test_odometry_that_failed_carries_nothing_any_more():
    for odometry in (None, make_pose(0, 0)):
        carried = CarriedPose(make_pose(0, 0), odometry)
        carried.move(None)
        carried.move(make_pose(1, 0))
        assert carried.pose is None
        assert np.isnan(carried.distance_m)
        assert np.isnan(carried.moved_m)


# Status.


def test_a_robot_is_tracked_while_odometry_carries_it_and_then_lost():
    tracker = StatusTracker(5.0)
    assert tracker.status.state is State.CONVERGING
    assert tracker.note(0, make_pose(0, 0), result(Reason.CONVERGING)).state is State.CONVERGING
    status = tracker.note(SECOND, make_pose(1, 0), result(Reason.ACCEPTED, 1))
    assert (status.state, status.map_id) == (State.TRACKING, 'town')
    assert (status.off_map, status.probability) == (0.1, 0.9)
    assert (status.seconds_since_match, status.distance_since_match) == (0.0, 0.0)
    for x in range(2, 7):
        status = tracker.note(x * SECOND, make_pose(x, 0), result(Reason.AMBIGUOUS, x))
        assert status.state is State.TRACKING
    assert (status.seconds_since_match, status.distance_since_match) == (5.0, 5.0)
    assert tracker.note(7 * SECOND, make_pose(7, 0), None).state is State.LOST
    off = tracker.note(8 * SECOND, make_pose(8, 0), result(Reason.OFF_MAP, 8))
    assert off.state is State.OFF_MAP
    assert tracker.note(
        9 * SECOND, make_pose(9, 0), result(Reason.ACCEPTED, 9)).state is State.TRACKING


def test_without_odometry_the_newest_keyframe_decides():
    tracker = StatusTracker(5.0)
    assert tracker.note(0, None, result(Reason.ACCEPTED)).state is State.TRACKING
    assert tracker.note(1, None, None).state is State.TRACKING
    assert tracker.note(2, None, result(Reason.STATIONARY)).state is State.TRACKING
    status = tracker.note(SECOND, None, result(Reason.TOO_FAR, 1, off_map=None))
    assert status.state is State.LOST
    assert np.isnan([status.off_map, status.probability, status.distance_since_match]).all()
    assert status.seconds_since_match == 1.0


def test_odometry_carries_nothing_over_a_break():
    tracker = StatusTracker(5.0)
    tracker.note(0, make_pose(0, 0), result(Reason.ACCEPTED))
    status = tracker.note(SECOND, make_pose(1, 0), result(Reason.CONVERGING, 1), broken=True)
    assert status.state is State.LOST
    assert np.isnan(status.distance_since_match)
    tracker.note(2 * SECOND, make_pose(0, 0), result(Reason.ACCEPTED, 2))
    # A recording that starts again has not found anything yet.
    status = tracker.note(SECOND, make_pose(0, 0), result(Reason.CONVERGING, 1), broken=True)
    assert status.state is State.CONVERGING
    assert np.isnan(status.seconds_since_match)
