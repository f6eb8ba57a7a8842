"""The poses of a drive, from its odometry and from where it was found on a map.

A pose graph: odometry links successive keyframes, and matches say where some of them are. Wrong
matches are switched off by graduated non-convexity (Yang, Antonante, Tzoumas and Carlone, RA-L
2020), which needs no good initial guess of which ones they are; GTSAM solves it.
"""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Solution:
    """The solved graph.

    Attributes:
        poses: float64 ``[N, 7]``, in the frame of the map, meters.
        kept: which of the matches agree, bool ``[M]``; the others were switched off.
    """

    poses: np.ndarray
    kept: np.ndarray


def solve(drive: Drive, initial: np.ndarray, keyframes: np.ndarray, found: np.ndarray,
          deviations: np.ndarray) -> Solution:
    """Find the poses that odometry and most of the matches agree with.

    Args:
        drive: the drive.
        initial: first guess of the poses in the frame of the map, ``[N, 7]``.
        keyframes: which poses were found on the map, int ``[M]``.
        found: where, float64 ``[M, 7]``.
        deviations: standard deviations of these poses about their axes x, y and z, then along
            them, float64 ``[M, 6]``, radians and meters.

    Raises:
        InputError: GTSAM is not installed.
    """
    gtsam = require_gtsam()
    graph = _graph(gtsam, drive, keyframes, found, deviations)
    parameters = gtsam.GncLMParams(gtsam.LevenbergMarquardtParams())
    parameters.setLossType(gtsam.GncLossType.TLS)
    steps = len(drive.poses) - 1
    parameters.setKnownInliers(list(range(steps)))
    optimizer = gtsam.GncLMOptimizer(graph, _values(gtsam, initial), parameters)
    optimizer.setInlierCostThresholdsAtProbability(_CONFIDENCE)
    solved = optimizer.optimize()
    return Solution(_poses(solved, len(drive.poses)),
                    np.asarray(optimizer.getWeights())[steps:] > _KEPT)


def refine(drive: Drive, initial: np.ndarray, keyframes: np.ndarray, found: np.ndarray,
           deviations: np.ndarray) -> np.ndarray:
    """Find the poses that odometry and all of the matches agree with, ``[N, 7]``.

    Arguments and errors are those of `solve`.
    """
    gtsam = require_gtsam()
    optimizer = gtsam.LevenbergMarquardtOptimizer(
        _graph(gtsam, drive, keyframes, found, deviations), _values(gtsam, initial))
    return _poses(optimizer.optimize(), len(drive.poses))


def _graph(gtsam: Any, drive: Drive, keyframes: np.ndarray, found: np.ndarray,
           deviations: np.ndarray) -> Any:
    """Return the factors: those of odometry first, then those of the matches."""
    graph = gtsam.NonlinearFactorGraph()
    own = [_pose3(gtsam, pose) for pose in drive.poses]
    for number, (before, after) in enumerate(pairwise(own)):
        step = before.between(after)
        noise = _odometry_noise(float(np.linalg.norm(step.translation())),
                                bool(drive.linked[number]), drive.drift)
        graph.add(gtsam.BetweenFactorPose3(
            number, number + 1, step, gtsam.noiseModel.Diagonal.Sigmas(noise)))
    for number, pose, noise in zip(keyframes.tolist(), found, deviations, strict=True):
        graph.add(gtsam.PriorFactorPose3(
            number, _pose3(gtsam, pose), gtsam.noiseModel.Diagonal.Sigmas(noise)))
    return graph


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
