"""Turns of odometry against those of the map."""

import numpy as np
import pytest

from seqnet_ros.core.poses import make_pose
from seqnet_ros.place_filter.turns import turn_between, turn_log_ratios, turns_per_meter


def corner(places: int = 20, bend: int = 10) -> np.ndarray:
    """Return poses one meter apart: east, and from a place on north."""
    return np.stack([make_pose(min(n, bend), max(n - bend, 0), yaw=np.pi / 2 * (n > bend))
                     for n in range(places)])


@pytest.mark.parametrize(('before', 'after', 'turned'), [
    (0.0, 0.5, 0.5), (0.5, 0.0, -0.5), (3.0, -3.0, 2 * np.pi - 6.0), (1.0, 1.0, 0.0)])
def test_a_turn_is_the_change_of_yaw(before, after, turned):
    found = turn_between(make_pose(0, 0, yaw=before), make_pose(5, 2, yaw=after))
    assert found == pytest.approx(turned)


def test_the_map_turns_at_its_corner_only():
    turns = turns_per_meter(corner(), np.zeros(20, int))
    assert np.flatnonzero(np.abs(turns) > 1e-9).tolist() == [11]
    assert turns[11] == pytest.approx(np.pi / 2)


def test_a_new_stretch_is_no_turn():
    starts = np.array([0] * 11 + [11] * 9)
    assert turns_per_meter(corner(), starts) is None


def test_poses_without_headings_say_nothing():
    poses = corner()
    poses[:, 3:] = [0, 0, 0, 1]
    assert turns_per_meter(poses, np.zeros(20, int)) is None


def test_a_turn_contradicts_straight_places_and_none_contradicts_the_corner():
    turns = turns_per_meter(corner(), np.zeros(20, int))
    turning = turn_log_ratios(turns, np.pi / 2, 1.0)
    assert turning[11] == pytest.approx(0.0)
    assert (np.delete(turning, 11) == -2.0).all()
    straight = turn_log_ratios(turns, 0.0, 1.0)
    assert straight[11] == -2.0
    assert (np.delete(straight, 11) == 0.0).all()
