"""Pose of the robot between the places of the map, from the belief."""

from dataclasses import dataclass

import numpy as np

from seqnet_ros.core.poses import interpolate_pose

_LEAST_SPACING_SHARE = 1 / np.sqrt(12)
"""Standard deviation of a position that is only known to lie within one spacing."""


@dataclass(frozen=True)
class PoseEstimate:
    """Where the robot is.

    Attributes:
        pose: ``[7]``, on the line through the places, meters.
        position_covariance: float64 ``[3, 3]``, square meters.
    """

    pose: np.ndarray
    position_covariance: np.ndarray


def estimate_pose(mass: np.ndarray, poses: np.ndarray, first: int) -> PoseEstimate:
    """Return mean and covariance over successive places of one stretch.

    The mean is taken along the stretch, so that it lies on the route; places of another pass or of
    another hypothesis take no part.

    Args:
        mass: probabilities of successive places, ``[K]``, not all zero.
        poses: float64 ``[N, 7]``, poses of all places.
        first: number of the first of these places.
    """
    weights = mass / mass.sum()
    along = float(weights @ np.arange(len(mass)))
    before = min(int(along), len(mass) - 1)
    after = min(before + 1, len(mass) - 1)
    pose = interpolate_pose(poses[first + before], poses[first + after], along - before)
    apart = poses[first:first + len(mass), :3] - pose[:3]
    spacing = float(np.median(np.linalg.norm(
        np.diff(poses[first:first + len(mass), :3], axis=0), axis=1))) if len(mass) > 1 else 0.0
    floor = (_LEAST_SPACING_SHARE * spacing) ** 2
    return PoseEstimate(pose, (weights * apart.T) @ apart + floor * np.eye(3))
