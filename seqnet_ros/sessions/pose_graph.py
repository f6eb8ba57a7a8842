"""The poses of drives, from their odometry and from where they were found.

A pose graph: odometry links successive keyframes of a drive, and matches say where some of them
are, in the frame of a map or relative to a keyframe of another drive. Wrong matches are switched
off by graduated non-convexity (Yang, Antonante, Tzoumas and Carlone, RA-L 2020), which needs no
good initial guess of which ones they are; GTSAM solves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from seqnet_ros.core.errors import InputError

_ODOMETRY_M = 0.02
"""Least standard deviation of a step."""
_TURN_PER_M = np.deg2rad(0.3)
_LEVEL = np.deg2rad(1.0)
_BREAK_M = 100.0
"""Standard deviation of the way across a break of the drive."""
_AHEAD_M, _BESIDE_M = 0.3, 0.5
"""Standard deviations of the offset of a drive from the line of another in the same street. On a
single bend, odometry that is too long and a lane further outside look alike: they decide there."""
_CONFIDENCE = 0.99
_KEPT = 0.5


@dataclass(frozen=True)
class Drive:
    """What a drive knows of itself.

    Attributes:
        poses: float64 ``[N, 7]``, odometry, meters.
        linked: whether odometry goes on from each pose to the next, bool ``[N - 1]``.
        drift: error of odometry, as a share of the distance.
    """

    poses: np.ndarray
    linked: np.ndarray
    drift: float

    def scaled(self, scale: float) -> 'Drive':
        """Return the drive with distances multiplied by a scale."""
        return replace(self, poses=self.poses * np.r_[[scale] * 3, [1.0] * 4])


@dataclass(frozen=True)
class Sightings:
    """Where some poses were found. Poses are numbered through all drives.

    Attributes:
        keyframes: which poses were found, int64 ``[M]``.
        seen_from: the poses relative to which they were found, int64 ``[M]``; -1 for the frame of
            the map.
        lines: for a pose in the frame of the map that was found by looks, the stretch of the map on
            whose line it is, int64 ``[M]``; -1 for a pose that was measured.
        poses: where, float64 ``[M, 7]``, meters.
        deviations: standard deviations of these poses about their axes x, y and z, then along
            them, float64 ``[M, 6]``, radians and meters.
    """

    keyframes: np.ndarray
    seen_from: np.ndarray
    lines: np.ndarray
    poses: np.ndarray
    deviations: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> 'Sightings':
        """Return some of them."""
        return Sightings(self.keyframes[chosen], self.seen_from[chosen], self.lines[chosen],
                         self.poses[chosen], self.deviations[chosen])


@dataclass(frozen=True)
class Solution:
    """The solved graph.

    Attributes:
        poses: float64 ``[N, 7]``, of all drives, in the frame of the map, meters.
        kept: which of the sightings agree, bool ``[M]``; the others were switched off.
    """

    poses: np.ndarray
    kept: np.ndarray


def solve(drives: Sequence[Drive], initial: np.ndarray, sightings: Sightings) -> Solution:
    """Find the poses that odometry and most of the sightings agree with.

    Args:
        drives: the drives.
        initial: first guess of their poses in the frame of the map, ``[N, 7]``.
        sightings: where some of these were found.

    Raises:
        InputError: GTSAM is not installed.
    """
    gtsam = require_gtsam()
    graph = _odometry(gtsam, drives)
    steps = int(graph.size())
    _add_sightings(gtsam, graph, sightings)
    parameters = gtsam.GncLMParams(gtsam.LevenbergMarquardtParams())
    parameters.setLossType(gtsam.GncLossType.TLS)
    parameters.setKnownInliers(list(range(steps)))
    optimizer = gtsam.GncLMOptimizer(graph, _values(gtsam, initial), parameters)
    optimizer.setInlierCostThresholdsAtProbability(_CONFIDENCE)
    solved = optimizer.optimize()
    return Solution(_poses(solved, len(initial)),
                    np.asarray(optimizer.getWeights())[steps:] > _KEPT)


def refine(drives: Sequence[Drive], initial: np.ndarray,
           sightings: Sightings) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """Find the poses that odometry and all of the sightings agree with.

    A drive is not on the line of the map but some way beside it, and what looks alike is a little
    ahead or behind: this offset from each stretch of the map is found with the poses, since
    odometry tells it wherever the route turns.

    Arguments and errors are those of `solve`.

    Returns:
        The poses ``[N, 7]``, and for each stretch of the map on whose line the drives were found
        where that is for the robot: ahead, to the left and above, float64 ``[3]``, meters.
    """
    gtsam = require_gtsam()
    graph, values = _odometry(gtsam, drives), _values(gtsam, initial)
    measured = sightings.lines < 0
    _add_sightings(gtsam, graph, sightings[measured])
    offsets = {line: gtsam.symbol('o', line)
               for line in np.unique(sightings.lines[~measured]).tolist()}
    for offset in offsets.values():
        values.insert(offset, np.zeros(3))
        graph.add(gtsam.PriorFactorPoint3(offset, np.zeros(3), gtsam.noiseModel.Diagonal.Sigmas(
            np.array([_AHEAD_M, _BESIDE_M, 0.01]))))
    on_lines = sightings[~measured]
    for number, line, pose, deviation in zip(
            on_lines.keyframes.tolist(), on_lines.lines.tolist(), on_lines.poses,
            on_lines.deviations, strict=True):
        found = _pose3(gtsam, pose)
        turn = found.rotation().matrix()
        graph.add(gtsam.PoseRotationPrior3D(
            number, found, gtsam.noiseModel.Diagonal.Sigmas(deviation[:3])))
        # The factor of an antenna beside the robot, whose lever arm is not known.
        graph.add(gtsam.GPSFactorArmCalib(
            number, offsets[line], found.translation(), gtsam.noiseModel.Gaussian.Covariance(
                turn @ np.diag(deviation[3:] ** 2) @ turn.T)))
    solved = gtsam.LevenbergMarquardtOptimizer(graph, values).optimize()
    return (_poses(solved, len(initial)),
            {line: solved.atPoint3(offset) for line, offset in offsets.items()})


def _odometry(gtsam: Any, drives: Sequence[Drive]) -> Any:
    """Return a graph of the steps of all drives."""
    graph = gtsam.NonlinearFactorGraph()
    first = 0
    for drive in drives:
        own = [_pose3(gtsam, pose) for pose in drive.poses]
        for number, (before, after) in enumerate(pairwise(own)):
            step = before.between(after)
            noise = _odometry_noise(float(np.linalg.norm(step.translation())),
                                    bool(drive.linked[number]), drive.drift)
            graph.add(gtsam.BetweenFactorPose3(
                first + number, first + number + 1, step,
                gtsam.noiseModel.Diagonal.Sigmas(noise)))
        first += len(own)
    return graph


def _add_sightings(gtsam: Any, graph: Any, sightings: Sightings) -> None:
    for number, place, pose, deviation in zip(
            sightings.keyframes.tolist(), sightings.seen_from.tolist(), sightings.poses,
            sightings.deviations, strict=True):
        noise = gtsam.noiseModel.Diagonal.Sigmas(deviation)
        measured = _pose3(gtsam, pose)
        graph.add(gtsam.PriorFactorPose3(number, measured, noise) if place < 0 else
                  gtsam.BetweenFactorPose3(place, number, measured, noise))


def _values(gtsam: Any, poses: np.ndarray) -> Any:
    values = gtsam.Values()
    for number, pose in enumerate(poses):
        values.insert(number, _pose3(gtsam, pose))
    return values


def _poses(values: Any, count: int) -> np.ndarray:
    return np.array([_pose(values.atPose3(number)) for number in range(count)])


def _odometry_noise(step_m: float, linked: bool, drift: float) -> np.ndarray:
    """Return the standard deviations of a step: about x, y and z, then along them."""
    turn = np.hypot(_TURN_PER_M * step_m, np.deg2rad(0.05))
    way = np.hypot(_ODOMETRY_M, drift * step_m)
    if not linked:
        turn, way = np.pi, _BREAK_M
    return np.array([_LEVEL, _LEVEL, turn, way, way, way])


def require_gtsam() -> Any:
    """Return GTSAM.

    Raises:
        InputError: it is not installed.
    """
    try:
        import gtsam
    except ImportError as error:
        raise InputError('sessions are aligned by GTSAM, which is not installed; run `pip install '
                         'gtsam`') from error
    return gtsam


def _pose3(gtsam: Any, pose: np.ndarray) -> Any:
    x, y, z, qx, qy, qz, qw = pose.tolist()
    return gtsam.Pose3(gtsam.Rot3.Quaternion(qw, qx, qy, qz), np.array([x, y, z]))


def _pose(pose3: Any) -> np.ndarray:
    turn = pose3.rotation().toQuaternion()
    return np.array([*pose3.translation(), turn.x(), turn.y(), turn.z(), turn.w()])
