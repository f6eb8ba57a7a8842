"""Where a robot can come back onto the map."""

import numpy as np
import pytest

from seqnet_ros.core.carried_pose import CarriedPose
from seqnet_ros.core.poses import make_pose
from seqnet_ros.place_filter.anchor import Anchor
from seqnet_ros.place_filter.state_space import StateSpace


def east(places: int) -> StateSpace:
    poses = np.stack([make_pose(n, 0.0) for n in range(places)])
    return StateSpace((0, places), np.zeros(places, int), poses, (1.0,), (True,))


def carried_to(odometry: np.ndarray) -> Anchor:
    """Return a fix at 20 m, where odometry begins, carried on to a pose of odometry."""
    fix = Anchor(0, CarriedPose(make_pose(20, 0), make_pose(0, 0)))
    fix.carried.move(odometry)
    return fix


def test_odometry_carries_the_fix_in_the_frame_of_the_map():
    # Odometry has an origin and a heading of its own: it drives 10 m along its y axis.
    fix = Anchor(0, CarriedPose(make_pose(20, 0), make_pose(3, 4, yaw=np.pi / 2)))
    fix.carried.move(make_pose(3, 14, yaw=np.pi / 2))
    np.testing.assert_allclose(fix.carried.pose[:3], [30, 0, 0], atol=1e-9)
    assert fix.carried.distance_m == pytest.approx(10.0)


def test_the_robot_comes_back_near_where_odometry_sees_it():
    entry = carried_to(make_pose(30, 0)).entry(east(200))
    assert entry.sum() == pytest.approx(1.0)
    assert entry.argmax() == 50
    assert entry[150] == pytest.approx(0.02 / 200)
    assert entry[45:56].sum() > 0.5


def test_far_from_the_map_only_a_carried_robot_comes_back():
    entry = carried_to(make_pose(0, 500)).entry(east(200))
    assert entry.sum() < 0.3
    assert carried_to(make_pose(0, 100)).entry(east(200)).sum() == pytest.approx(0.02, abs=1e-3)
