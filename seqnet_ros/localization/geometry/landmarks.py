"""Landmarks from the poses of a map, and the metric pose of a camera that sees them.

Features of a place are triangulated with places before and after it, between which the map knows
the motion; the pose of another camera follows from where it sees the landmarks (PnP). Errors of
pixels are carried through both steps (Hartley and Zisserman, Multiple View Geometry, 2004,
chapters 5 and 12). Positions in images are pixels of one ideal pinhole camera, center at (0, 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from seqnet_ros.localization.geometry.epipolar import magsac

MIN_LANDMARKS = 12
_MIN_PARALLAX_DEG = 0.5
_STEPS = 5
_HUBER = 2.0
_VAGUEST_DEPTH = 0.25
"""Largest standard deviation of a landmark's depth, relative to it; beyond, errors are lopsided."""
_AGREES = 3.5
"""Landmarks with a larger error than this, in standard deviations, are finally ignored."""
_LARGEST_STD_M = 2.0
_FLOOR_M, _FLOOR_OF_DISTANCE, _FLOOR_DEG = 0.05, 0.02, 0.5
"""Added to the covariance from the pixels: landmarks are only as accurate as the poses of the
map."""


@dataclass(frozen=True)
class Sighting:
    """Positions of a view's points in another view.

    Attributes:
        rows: int ``[K]``, which points.
        pixels: float64 ``[K, 2]``, where the view has them.
        from_first: ``[4, 4]``, from the frame of the first camera to the frame of this one, meters.
    """

    rows: np.ndarray
    pixels: np.ndarray
    from_first: np.ndarray


@dataclass(frozen=True)
class Landmarks:
    """Points in space as a first camera has them.

    Attributes:
        rows: int ``[K]``, which points of the first view.
        positions: float64 ``[K, 3]``, in its optical frame, meters.
        covariances: float64 ``[K, 3, 3]``, square meters.
    """

    rows: np.ndarray
    positions: np.ndarray
    covariances: np.ndarray


@dataclass(frozen=True)
class MetricPose:
    """Metric pose of a camera from its landmarks.

    Attributes:
        first_from_camera: ``[4, 4]``, pose in the frame of the landmarks, meters.
        covariance: ``[6, 6]`` of a pose of the robot, see `locate`.
        inliers: number of landmarks that agree.
    """

    first_from_camera: np.ndarray
    covariance: np.ndarray
    inliers: int


def triangulate(pixels: np.ndarray, sightings: Sequence[Sighting], focal: float,
                threshold: float, noise: float) -> Landmarks:
    """Triangulate points of a view with its neighbors.

    A sighting counts where the point lies in front of both cameras, both see it within the
    threshold, and its rays differ by half a degree; a landmark counts where its depth is known to a
    quarter.

    Args:
        pixels: float64 ``[N, 2]``, the points in the first view.
        sightings: where the neighbors have some of them.
        focal: focal length, pixels.
        threshold: how far a point may lie off, pixels.
        noise: standard deviation of a pixel's coordinates.
    """
    rays = pixels / focal
    inverse_depth, parallax = np.zeros(len(pixels)), np.zeros(len(pixels))
    accepted = []
    for sighting in sightings:
        depth, sine = _depths(rays[sighting.rows], sighting, focal, threshold)
        good = np.isfinite(depth)
        rows = sighting.rows[good]
        accepted.append(Sighting(rows, sighting.pixels[good], sighting.from_first))
        wider = sine[good] > parallax[rows]
        parallax[rows[wider]] = sine[good][wider]
        inverse_depth[rows[wider]] = 1 / depth[good][wider]
    rows = np.flatnonzero(parallax)
    if not len(rows):
        return Landmarks(rows, np.zeros((0, 3)), np.zeros((0, 3, 3)))
    positions = np.insert(rays[rows], 2, 1.0, axis=1) / inverse_depth[rows, None]
    views = [Sighting(np.arange(len(pixels)), pixels, np.eye(4)), *accepted]
    return _refine(rows, positions, views, focal, noise)


def _depths(rays: np.ndarray, sighting: Sighting, focal: float,
            threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return depths along rays ``[K, 2]``, NaN where they are unreliable, and sines of parallax.

    The depth minimizes the error in the sighting: where its point lies on the epipolar line.
    """
    rotation, translation = sighting.from_first[:3, :3], sighting.from_first[:3, 3]
    turned = np.insert(rays, 2, 1.0, axis=1) @ rotation.T
    seen = np.insert(sighting.pixels / focal, 2, 1.0, axis=1)
    # seen x (depth * turned + translation) = 0, least squares.
    a, b = np.cross(seen, turned), np.cross(seen, translation[None])
    with np.errstate(divide='ignore', invalid='ignore'):
        depth = -np.sum(a * b, axis=1) / np.sum(a * a, axis=1)
        positions = depth[:, None] * turned + translation
        off = np.linalg.norm(positions[:, :2] / positions[:, 2:] * focal - sighting.pixels, axis=1)
        sine = np.linalg.norm(np.cross(turned, seen), axis=1) / (
            np.linalg.norm(turned, axis=1) * np.linalg.norm(seen, axis=1))
    good = ((depth > 0) & (positions[:, 2] > 0) & (off <= threshold)
            & (sine >= np.sin(np.deg2rad(_MIN_PARALLAX_DEG))))
    return np.where(good, depth, np.nan), sine


def _refine(rows: np.ndarray, positions: np.ndarray, views: Sequence[Sighting],
            focal: float, noise: float) -> Landmarks:
    """Minimize the squared errors in all views, by Gauss and Newton's steps.

    Points that run away, because their sightings contradict one another, are left out.
    """
    place = np.full(int(max(view.rows.max(initial=0) for view in views)) + 1, -1)
    place[rows] = np.arange(len(rows))
    seen = [(place[view.rows], view) for view in views]
    seen = [(at[at >= 0], Sighting(view.rows[at >= 0], view.pixels[at >= 0], view.from_first))
            for at, view in seen]
    normal = np.zeros((len(rows), 3, 3))
    lost = np.zeros(len(rows), dtype=bool)
    for step in range(_STEPS + 1):
        normal, gradient = np.zeros((len(rows), 3, 3)), np.zeros((len(rows), 3))
        for at, view in seen:
            rotation, translation = view.from_first[:3, :3], view.from_first[:3, 3]
            pixels, by_camera = _project(positions[at] @ rotation.T + translation, focal)
            jacobian = by_camera @ rotation
            np.add.at(normal, at, jacobian.transpose(0, 2, 1) @ jacobian)
            np.add.at(gradient, at, np.einsum('nij,ni->nj', jacobian, view.pixels - pixels))
        with np.errstate(over='ignore', invalid='ignore'):
            singular = np.linalg.det(normal) == 0
        normal[singular], gradient[singular] = np.eye(3), 0.0
        lost |= singular
        if step < _STEPS:
            positions = positions + np.linalg.solve(normal, gradient[..., None])[..., 0]
    covariances = noise**2 * np.linalg.inv(normal)
    depth = positions[:, 2]
    with np.errstate(invalid='ignore'):
        vague = ~(np.sqrt(covariances[:, 2, 2]) <= _VAGUEST_DEPTH * depth)
    good = ~lost & (depth > 0) & np.isfinite(positions).all(axis=1) & ~vague
    return Landmarks(rows[good], positions[good], covariances[good])


def _project(positions: np.ndarray, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels ``[K, 2]`` and their derivatives by the positions ``[K, 2, 3]``."""
    x, y, z = positions.T
    zero = np.zeros_like(z)
    jacobian = focal / z[:, None, None] * np.stack(
        [np.stack([np.ones_like(z), zero, -x / z], axis=1),
         np.stack([zero, np.ones_like(z), -y / z], axis=1)], axis=1)
    return focal * positions[:, :2] / z[:, None], jacobian


def locate(landmarks: Landmarks, pixels: np.ndarray, focal: float, threshold: float,
           noise: float, first_base: np.ndarray,
           base_from_camera: np.ndarray) -> MetricPose | None:
    """Return where a camera is that sees landmarks.

    MAGSAC++ over minimal samples, then least squares weighted by the uncertainty of each
    landmark. The covariance belongs to the robot's pose in the robot's frame at the place, in the
    order and about the axes of ``geometry_msgs/PoseWithCovariance``; it grows where the residuals
    exceed the expected noise.

    Args:
        landmarks: landmarks in the frame of the place's camera.
        pixels: float64 ``[K, 2]``, where the camera has them.
        focal: focal length, pixels.
        threshold: how far a landmark may lie off, pixels.
        noise: standard deviation of a pixel's coordinates.
        first_base: ``[4, 4]``, pose of the place's camera on its robot.
        base_from_camera: ``[4, 4]``, pose of the camera on its robot.

    Returns:
        None where too few landmarks agree, or they leave the position open.
    """
    if len(pixels) < MIN_LANDMARKS:
        return None
    start = _sample(landmarks.positions, pixels, focal, threshold)
    if start is None:
        return None
    transform, agree = start
    if not _enough(agree):
        return None
    positions = landmarks.positions[agree] @ first_base[:3, :3].T + first_base[:3, 3]
    turned = first_base[:3, :3] @ landmarks.covariances[agree] @ first_base[:3, :3].T
    pose = first_base @ np.linalg.inv(transform) @ np.linalg.inv(base_from_camera)
    seen = pixels[agree]
    for _ in range(2):  # the weights, and what agrees, depend a little on the pose
        weights = _weights(pose, positions, turned, base_from_camera, focal, noise)
        pose = _minimise(pose, positions, seen, weights, base_from_camera, focal)
        residuals, jacobian = _whitened(pose, positions, seen, weights, base_from_camera, focal)
        near = np.linalg.norm(residuals.reshape(-1, 2), axis=1) <= _AGREES
        agree[agree] = near
        if not _enough(agree):
            return None
        positions, turned, seen = positions[near], turned[near], seen[near]
    kept = np.repeat(near, 2)
    residuals, jacobian = residuals[kept], jacobian[kept]
    variance = max(1.0, float(residuals @ residuals) / (len(residuals) - 6))
    information = jacobian.T @ jacobian
    if np.linalg.cond(information) > 1e12:
        return None
    covariance = variance * np.linalg.inv(information)
    if np.sqrt(covariance.diagonal()[:3].max()) > _LARGEST_STD_M:
        return None
    floor = _FLOOR_M**2 + (_FLOOR_OF_DISTANCE * np.linalg.norm(pose[:3, 3]))**2
    covariance += np.diag([floor] * 3 + [np.deg2rad(_FLOOR_DEG)**2] * 3)
    first_from_camera = np.linalg.inv(first_base) @ pose @ base_from_camera
    return MetricPose(first_from_camera, (covariance + covariance.T) / 2, int(agree.sum()))


def _enough(agree: np.ndarray) -> bool:
    return int(agree.sum()) >= max(MIN_LANDMARKS, len(agree) / 2)


def _sample(positions: np.ndarray, pixels: np.ndarray, focal: float,
            threshold: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the transform ``[4, 4]`` into the camera and which landmarks agree with it."""
    camera = np.diag([focal, focal, 1.0])
    try:
        done, _, turn, translation, _ = cv2.solvePnPRansac(
            np.ascontiguousarray(positions), np.ascontiguousarray(pixels), camera, None,
            params=magsac(threshold))
    except cv2.error:  # no sample gave a pose
        return None
    if not done or turn is None or not np.isfinite(turn).all():
        return None
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_rotvec(turn.ravel()).as_matrix()
    transform[:3, 3] = translation.ravel()
    seen = positions @ transform[:3, :3].T + transform[:3, 3]
    with np.errstate(divide='ignore', invalid='ignore'):
        off = np.linalg.norm(focal * seen[:, :2] / seen[:, 2:] - pixels, axis=1)
    return transform, (seen[:, 2] > 0) & (off <= threshold)


def _in_camera(pose: np.ndarray, positions: np.ndarray, base_from_camera: np.ndarray,
               focal: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels, and derivatives by the positions and by the robot's pose ``[K, 2, 6]``."""
    to_camera = np.linalg.inv(pose @ base_from_camera)
    pixels, by_camera = _project(positions @ to_camera[:3, :3].T + to_camera[:3, 3], focal)
    by_position = by_camera @ to_camera[:3, :3]
    # Turning the robot about its place by d moves a landmark at r from it by -d x r in its eyes.
    x, y, z = (positions - pose[:3, 3]).T
    zero = np.zeros_like(x)
    lever = np.stack([np.stack([zero, -z, y], 1), np.stack([z, zero, -x], 1),
                      np.stack([-y, x, zero], 1)], axis=1)
    return pixels, by_position, np.concatenate([-by_position, by_position @ lever], axis=2)


def _weights(pose: np.ndarray, positions: np.ndarray, covariances: np.ndarray,
             base_from_camera: np.ndarray, focal: float, noise: float) -> np.ndarray:
    """Return what makes errors of pixels and of landmarks alike, ``[K, 2, 2]``."""
    _, by_position, _ = _in_camera(pose, positions, base_from_camera, focal)
    total = noise**2 * np.eye(2) + by_position @ covariances @ by_position.transpose(0, 2, 1)
    return np.linalg.inv(np.linalg.cholesky(total))


def _whitened(pose: np.ndarray, positions: np.ndarray, seen: np.ndarray, weights: np.ndarray,
              base_from_camera: np.ndarray, focal: float) -> tuple[np.ndarray, np.ndarray]:
    pixels, _, by_pose = _in_camera(pose, positions, base_from_camera, focal)
    residuals = np.einsum('nij,nj->ni', weights, pixels - seen)
    return residuals.ravel(), (weights @ by_pose).reshape(-1, 6)


def _minimise(pose: np.ndarray, positions: np.ndarray, seen: np.ndarray, weights: np.ndarray,
              base_from_camera: np.ndarray, focal: float) -> np.ndarray:
    def moved(step: np.ndarray) -> np.ndarray:
        result = pose.copy()
        result[:3, :3] = Rotation.from_rotvec(step[3:]).as_matrix() @ pose[:3, :3]
        result[:3, 3] += step[:3]
        return result

    def errors(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _whitened(moved(step), positions, seen, weights, base_from_camera, focal)

    found = least_squares(lambda step: errors(step)[0], np.zeros(6), lambda step: errors(step)[1],
                          loss='huber', f_scale=_HUBER, x_scale='jac')
    return moved(found.x)
