"""A reported pose and its covariance."""

import numpy as np

from seqnet_ros.core.poses import angle_between, distance, pose_from_matrix, pose_matrix
from seqnet_ros.localization.result import Candidate, MatchResult
from seqnet_ros.maps.place_map import PlaceMap

POSITION_FLOOR_M = 0.1
ANGLE_FLOOR_RAD = np.deg2rad(5.0)
NEAR_SPACINGS = 10.0
"""Candidates within this many spacings of the best are on the same stretch of road."""
TURNS_OVER_M = 10.0
"""Odometry that is off by a share of the distance turns by as many radians over this distance."""


def robot_pose(result: MatchResult, place_map: PlaceMap,
               any_heading: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the pose ``[7]`` of an accepted match in the map, and its covariance ``[6, 6]``.

    A metric pose of the geometric check comes first, then that between the places which the place
    filter estimates. Its position has the covariance of the estimate and the floor of 0.1 m, for
    the offset across the road; its rotation has that of the place.

    Args:
        result: the match.
        place_map: the map of its best place.
        any_heading: as of `pose_covariance`.
    """
    best = result.best
    assert best is not None
    if best.relative_is_metric:
        return metric_pose(best)
    same_map = tuple(item for item in result.candidates if item.map_id == best.map_id)
    covariance = pose_covariance(place_map, same_map, any_heading)
    if result.pose is None or result.position_covariance is None:
        return best.pose, covariance
    covariance[:3, :3] = result.position_covariance + POSITION_FLOOR_M**2 * np.eye(3)
    return result.pose, covariance


def carried_covariance(covariance: np.ndarray, distance_m: float, moved_m: float,
                       drift: float) -> np.ndarray:
    """Return the covariance ``[6, 6]`` of a pose that odometry has carried on.

    With the way ``d`` since the match and the straight distance ``m`` from it::

        variance of x, y, z   +=  (drift * d)^2 + (variance of yaw) * m^2   [m^2]
        variance of rotation  +=  drift^2 * d / 10 m                        [rad^2]

    where the second term is what a wrong heading of the match does to the position.

    Args:
        covariance: of the match, ``[6, 6]``.
        distance_m: length of the way since then, meters.
        moved_m: straight distance, meters.
        drift: error of odometry as a share of the distance.
    """
    position = (drift * distance_m)**2 + covariance[5, 5] * moved_m**2
    rotation = drift**2 * distance_m / TURNS_OVER_M
    return covariance + np.diag([position] * 3 + [rotation] * 3)


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
