"""Relative geometry of two views of a scene: robust fits to matched features.

Positions are pixels of one ideal pinhole camera that both images are brought to, or of images of
one width where a camera is not known. The fits are OpenCV's MAGSAC++ (Barath et al., CVPR 2020)
with a fixed state of its random numbers: the same input gives the same output.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

Model = Literal['essential', 'fundamental', 'homography']

_SMALLEST_SAMPLE = {'essential': 6, 'fundamental': 8, 'homography': 5}
_ITERATIONS = 5000
_CONFIDENCE = 0.9999
_FAR = 1000.0
_TURNED_ONLY_SHARE = 0.8
_MIN_PARALLAX_DEG = 1.0


@dataclass(frozen=True)
class TwoViewFit:
    """Result of fitting a two-view model to matched features.

    Attributes:
        model: what was fitted.
        inliers: bool ``[M]``, which matches agree.
        matrix: the fitted ``[3, 3]``.
    """

    model: Model
    inliers: np.ndarray
    matrix: np.ndarray


@dataclass(frozen=True)
class Motion:
    """Motion between two calibrated views: ``x_second = rotation @ x_first + translation``.

    Attributes:
        rotation: ``[3, 3]``.
        direction: unit ``[3]`` or None where the views differ by a turn as far as can be seen.
        parallax_deg: median angle between the rays of a match once the turn is taken out.
    """

    rotation: np.ndarray
    direction: np.ndarray | None
    parallax_deg: float


def fit_two_views(first: np.ndarray, second: np.ndarray, model: Model, threshold: float,
                  focal: float = 1.0) -> TwoViewFit | None:
    """Fit a model to matched positions ``[M, 2]``, of which many may be wrong.

    Args:
        first: positions in one view, pixels.
        second: where the other view has them.
        model: what to fit.
        threshold: how far a match may lie off, pixels.
        focal: focal length of the ideal camera with its center at (0, 0); essential matrices only.

    Returns:
        None where there are too few matches, or no model that enough of them agree on.
    """
    if len(first) < _SMALLEST_SAMPLE[model]:
        return None
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    params = magsac(threshold)
    try:
        if model == 'essential':
            camera = np.diag([focal, focal, 1.0])
            matrix, mask = cv2.findEssentialMat(first, second, camera, camera, None, None, params)
        elif model == 'fundamental':
            matrix, mask = cv2.findFundamentalMat(first, second, params)
        else:
            matrix, mask = cv2.findHomography(first, second, params)
    except cv2.error:  # no sample gave a model
        return None
    if matrix is None or matrix.shape != (3, 3) or mask is None or not np.isfinite(matrix).all():
        return None
    return TwoViewFit(model, mask.ravel().astype(bool), matrix)


def magsac(threshold: float) -> cv2.UsacParams:
    """Return how OpenCV fits robustly, with a threshold in pixels."""
    params = cv2.UsacParams()
    params.threshold = threshold
    params.confidence = _CONFIDENCE
    params.maxIterations = _ITERATIONS
    params.score = cv2.SCORE_METHOD_MAGSAC
    params.loMethod = cv2.LOCAL_OPTIM_SIGMA
    params.loIterations = 10
    params.loSampleSize = 50
    params.final_polisher = cv2.MAGSAC
    params.final_polisher_iterations = 3
    params.sampler = cv2.SAMPLING_UNIFORM
    params.neighborsSearch = cv2.NEIGH_GRID
    params.isParallel = False
    params.randomGeneratorState = 0
    return params


def recover_motion(fit: TwoViewFit, first: np.ndarray, second: np.ndarray, threshold: float,
                   focal: float) -> Motion | None:
    """Return the motion behind an essential matrix, as far as the matches determine it.

    Where the camera only turned, or moved little relative to the distance of the scene, essential
    matrices of any direction fit. Then only the rotation is fitted, and the direction is None.

    Args:
        fit: an essential matrix and its inliers.
        first: positions ``[M, 2]`` in one view, pixels of the ideal camera.
        second: where the other view has them.
        threshold: as for the fit, pixels.
        focal: focal length of the ideal camera, pixels.

    Returns:
        None where the points are not in front of both cameras.
    """
    rays_first, rays_second = (_unit_rays(points[fit.inliers] / focal)
                               for points in (first, second))
    turn = _fit_turn(rays_first, rays_second)
    off = _angles(rays_first @ turn.T, rays_second)
    if np.mean(off * focal <= 2 * threshold) >= _TURNED_ONLY_SHARE:
        return Motion(turn, None, float(np.rad2deg(np.median(off))))
    plane = [np.ascontiguousarray(points[fit.inliers] / focal) for points in (first, second)]
    front, rotation, translation, _, _ = cv2.recoverPose(
        fit.matrix, plane[0], plane[1], np.eye(3), distanceThresh=_FAR)
    if front < max(len(rays_first) // 2, 1):
        return None
    parallax = float(np.rad2deg(np.median(_angles(rays_first @ rotation.T, rays_second))))
    direction = translation.ravel() if parallax >= _MIN_PARALLAX_DEG else None
    return Motion(rotation, direction, parallax)


def _unit_rays(plane: np.ndarray) -> np.ndarray:
    rays = np.insert(plane, 2, 1.0, axis=1)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.sum(a * b, axis=1))


def _fit_turn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the rotation from one set of rays to another (Kabsch, 1976), robust to a fifth."""
    used = np.ones(len(first), bool)
    for _ in range(3):
        u, _, vt = np.linalg.svd(second[used].T @ first[used])
        turn = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
        off = _angles(first @ turn.T, second)
        used = off <= np.quantile(off, _TURNED_ONLY_SHARE)
    return turn
