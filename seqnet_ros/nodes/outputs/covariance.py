"""Covariance of a reported pose."""

import numpy as np

from seqnet_ros.core.poses import angle_between, distance, pose_from_matrix, pose_matrix
from seqnet_ros.localization.result import Candidate
from seqnet_ros.maps.place_map import PlaceMap

POSITION_FLOOR_M = 0.1
ANGLE_FLOOR_RAD = np.deg2rad(5.0)
NEAR_SPACINGS = 10.0
"""Candidates within this many spacings of the best are on the same stretch of road."""


def pose_covariance(place_map: PlaceMap, candidates: tuple[Candidate, ...],
                    any_heading: bool = False) -> np.ndarray:
    """Return the covariance ``[6, 6]`` (x, y, z, rotations about x, y, z) of the best candidate.

    A match cannot be finer than the map, and says nothing about the offset across the road, so
    with the spacing ``s`` to the neighboring places and the candidates ``i`` near the best::

        variance of x, y, z  =  0.1^2 + s^2 + sum(score_i * distance_i^2) / sum(score_i)   [m^2]
        variance of yaw      =  (5 deg)^2 + a^2 + sum(score_i * angle_i^2) / sum(score_i)

    where ``a`` is the turn to the neighboring places. Roll and pitch have the variance of yaw. Near
    are candidates within ten spacings; acceptance handles rivals farther away.

    Args:
        place_map: the map of the candidates.
        candidates: best first, at least one.
        any_heading: the robot may drive against the direction of the map, so that its yaw is
            unknown: its deviation is then pi.
    """
    best = candidates[0]
    spacing, turn = _neighbour_steps(place_map, best.place_id)
    reach = NEAR_SPACINGS * max(spacing, POSITION_FLOOR_M)
    near = [item for item in candidates if distance(item.pose, best.pose) <= reach]
    weights = np.array([item.score for item in near]) + 1e-9
    distances = np.array([distance(item.pose, best.pose) for item in near])
    angles = np.array([angle_between(item.pose, best.pose) for item in near])
    position = POSITION_FLOOR_M**2 + spacing**2 + np.average(distances**2, weights=weights)
    angle = ANGLE_FLOOR_RAD**2 + turn**2 + np.average(angles**2, weights=weights)
    yaw = np.pi**2 if any_heading else angle
    return np.diag([position, position, position, angle, angle, yaw])


def metric_pose(candidate: Candidate) -> tuple[np.ndarray, np.ndarray]:
    """Return the pose ``[7]`` in the map and its covariance that the geometric check measured.

    Args:
        candidate: with a metric relative pose.
    """
    assert candidate.relative_pose is not None
    assert candidate.relative_covariance is not None
    place = pose_matrix(candidate.pose)
    pose = pose_from_matrix(place @ pose_matrix(candidate.relative_pose))
    # Both halves of the covariance are along the axes of the place, and turn with it.
    turn = np.kron(np.eye(2), place[:3, :3])
    return pose, turn @ candidate.relative_covariance @ turn.T


def _neighbour_steps(place_map: PlaceMap, place: int) -> tuple[float, float]:
    """Return the larger distance (m) and turn (rad) to the places before and after."""
    starts = place_map.segment_starts
    neighbours = [other for other in (place - 1, place + 1)
                  if 0 <= other < len(place_map) and starts[other] == starts[place]]
    here = place_map.poses[place]
    return (max((distance(here, place_map.poses[other]) for other in neighbours), default=0.0),
            max((angle_between(here, place_map.poses[other]) for other in neighbours),
                default=0.0))
