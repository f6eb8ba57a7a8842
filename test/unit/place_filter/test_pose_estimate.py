"""Pose between places."""

import numpy as np
import pytest

from seqnet_ros.core.poses import make_pose
from seqnet_ros.place_filter.pose_estimate import estimate_pose

LINE = np.stack([make_pose(2.0 * n, 0.0) for n in range(10)])


def test_mass_on_two_places_gives_a_pose_between_them():
    found = estimate_pose(np.array([0.25, 0.75]), LINE, 4)
    np.testing.assert_allclose(found.pose[:3], [9.5, 0, 0])
    # Variance of the two places, and that of a position within one spacing of 2 m.
    assert found.position_covariance[0, 0] == pytest.approx(0.25 * 0.75 * 4 + 4 / 12)
    assert found.position_covariance[1, 1] == pytest.approx(4 / 12)


def test_one_place_is_its_own_pose():
    np.testing.assert_allclose(estimate_pose(np.array([0.3]), LINE, 7).pose, LINE[7])


def test_the_mean_stays_on_a_route_that_bends():
    corner = np.stack([make_pose(min(n, 2), max(n - 2, 0)) for n in range(5)])
    pose = estimate_pose(np.full(5, 0.2), corner, 0).pose
    np.testing.assert_allclose(pose[:2], [2, 0])
