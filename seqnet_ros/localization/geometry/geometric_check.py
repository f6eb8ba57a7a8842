"""The geometric check: could the camera have seen the place from another pose?

Different places may look alike; dozens of points that agree on one camera motion are rarely a
coincidence. A check costs a feature extraction, so only matches that would be accepted are checked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from seqnet_ros.config.engine import GeometryConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import MapError
from seqnet_ros.core.poses import pose_from_matrix, pose_matrix
from seqnet_ros.descriptors.local_features import LocalFeatureExtractor, LocalFeatures
from seqnet_ros.localization.geometry.epipolar import Model, Motion, fit_two_views, recover_motion
from seqnet_ros.localization.geometry.feature_matching import match_features
from seqnet_ros.localization.geometry.landmarks import MetricPose, Sighting, locate, triangulate
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.place_map import PlaceMap

_MIN_BASELINE_M = 0.2
_PLACES_LOOKED_AT = 50
_POSE_ERROR = 2.0
"""Maximum error of a feature in thresholds, relative to the poses of the map, which come from
odometry."""
_NOISE_PX = {'sift': 1.0, 'orb': 2.0}
"""Of a feature's coordinates: ORB's corners lie on the grid of an image shrunk up to 3.6 times."""
_WIDEST_TANGENT = 4.0
"""Rays beyond 76 degrees are ignored, because the resolution of the image plane decreases there."""
_AGREEING_TURN_DEG, _AGREEING_DIRECTION_DEG = 3.0, 30.0


class PlaceView(NamedTuple):
    """One image: its features, the camera and the robot's pose ``[7]``, where they are known."""

    features: LocalFeatures
    camera: CameraModel | None = None
    pose: np.ndarray | None = None


@dataclass(frozen=True)
class GeometryResult:
    """Result of the geometric check of two images.

    Attributes:
        matches: features matched by appearance.
        inliers: matches that agree on one geometry.
        passed: whether there are enough inliers.
        model: the fitted geometric model; '' where there were too few matches to fit one.
        relative_pose: pose ``[7]`` of the query's robot in the robot's frame at the place, ROS
            axes; None where the cameras are not calibrated or the check failed. Its translation
            is in meters where it is metric; else it is the direction in which the *camera* moved,
            of length 1, or zero where that cannot be told.
        relative_covariance: float64 ``[6, 6]`` of a metric pose, order and axes those of
            ``geometry_msgs/PoseWithCovariance``; None where it is not metric.
        relative_is_metric: whether the translation is in meters.
        landmarks: landmarks that a metric pose rests on.
        note: what was found, one sentence.
    """

    matches: int
    inliers: int
    passed: bool
    model: str = ''
    relative_pose: np.ndarray | None = None
    relative_covariance: np.ndarray | None = None
    relative_is_metric: bool = False
    landmarks: int = 0
    note: str = ''


class PlaceViews(Protocol):
    """Places that images can be checked against."""

    def view(self, place: int) -> PlaceView:
        """Return the features, camera and pose of a place."""
        ...

    def neighbours(self, place: int, count: int) -> list[int]:
        """Return up to ``count`` places on each side to triangulate with."""
        ...


class MapViews:
    """The places of a map that keeps local features.

    Raises:
        MapError: the map keeps no features or features of another kind, or has no camera although
            essential matrices are requested.
    """

    def __init__(self, place_map: PlaceMap, config: GeometryConfig) -> None:
        record = place_map.manifest.features
        if place_map.features is None or record is None:
            raise MapError('the map has no local features, which the geometric check needs: build '
                           'it with a model that has geometry settings')
        if record.features != config.features:
            raise MapError(f'the map has {record.features} features, but the geometric check uses '
                           f'{config.features}')
        self._map = place_map
        self._features = place_map.features
        self._camera = place_map.manifest.camera_model
        if config.model == 'essential' and self._camera is None:
            raise MapError('the map has no camera, which essential matrices need: build it with a '
                           'camera calibration')

    def view(self, place: int) -> PlaceView:
        """Return the features, camera and pose of a place."""
        pose = self._map.poses[place] if self._map.manifest.has_poses else None
        return PlaceView(self._features.of(place), self._camera, pose)

    def neighbours(self, place: int, count: int) -> list[int]:
        """Return up to ``count`` places on each side to triangulate with."""
        first, end = self._map.stretches(np.array([place]))
        return choose_neighbours(self._map.positions, place, int(first[0]), int(end[0]), count)


class GeometricCheck:
    """Checks images against places. Not thread-safe.

    Args:
        config: settings of the check.
        camera: the calibrated camera of the query images; None where it is not known.
        views: the places; several checks may share them.
    """

    def __init__(self, config: GeometryConfig, camera: CameraModel | None,
                 views: PlaceViews) -> None:
        self.config = config
        self.camera = camera
        self._views = views
        self._extractor = LocalFeatureExtractor(config)

    @classmethod
    def of_map(cls, config: GeometryConfig, camera: CameraModel | None,
               place_map: PlaceMap) -> 'GeometricCheck':
        """Check images against the places of a map.

        Raises:
            MapError: the map keeps no features or features of another kind, or has no camera
                although essential matrices are requested.
        """
        return cls(config, camera, MapViews(place_map, config))

    def check_image(self, image: np.ndarray) -> None:
        """Refuse an image that the camera cannot have taken.

        Raises:
            InputError: its size does not go with the calibration.
        """
        if self.camera is not None:
            self.camera.for_image(image.shape[1], image.shape[0])

    def extract(self, image: np.ndarray) -> LocalFeatures:
        """Return the features of an RGB uint8 ``[H, W, 3]`` image."""
        return self._extractor.extract(image)

    def verify(self, query: LocalFeatures, place: int) -> GeometryResult:
        """Check a query's features against a place.

        Raises:
            InputError: the size of an image does not go with its camera.
        """
        return compare_views(
            self.config, PlaceView(query, self.camera), self._views.view(place),
            lambda: [self._views.view(near)
                     for near in self._views.neighbours(place, self.config.neighbours)])

    def confirm(self, image: np.ndarray,
                candidates: Sequence[Candidate]) -> tuple[tuple[Candidate, ...], Reason]:
        """Check the best candidates of a match that would be accepted, as `confirm_features`."""
        return self.confirm_features(self.extract(image), candidates)

    def confirm_features(
            self, query: LocalFeatures,
            candidates: Sequence[Candidate]) -> tuple[tuple[Candidate, ...], Reason]:
        """Check the best candidates of a match that would be accepted.

        The first of ``config.candidates`` that passes comes first in what is returned; the others
        keep their order.

        Returns:
            The candidates with what was found, and `Reason.ACCEPTED` or `Reason.GEOMETRY`.
        """
        checked = list(candidates)
        for rank, candidate in enumerate(candidates[:self.config.candidates]):
            found = self.verify(query, candidate.place_id)
            checked[rank] = replace(
                candidate, inliers=found.inliers, relative_pose=found.relative_pose,
                relative_covariance=found.relative_covariance,
                relative_is_metric=found.relative_is_metric)
            if found.passed:
                checked.insert(0, checked.pop(rank))
                return tuple(checked), Reason.ACCEPTED
        return tuple(checked), Reason.GEOMETRY


def choose_neighbours(positions: np.ndarray, place: int, first: int, end: int,
                      count: int) -> list[int]:
    """Return places to triangulate with: on each side up to ``count``, each a step from the last.

    Args:
        positions: float64 ``[N, 3]``, meters.
        place: the place.
        first: first place of its unbroken stretch.
        end: one past the last.
        count: how many on each side.
    """
    chosen = []
    for side in (range(place - 1, max(first, place - _PLACES_LOOKED_AT) - 1, -1),
                 range(place + 1, min(end, place + 1 + _PLACES_LOOKED_AT))):
        last, found = positions[place], 0
        for near in side:
            if found < count and np.linalg.norm(positions[near] - last) >= _MIN_BASELINE_M:
                chosen.append(near)
                last, found = positions[near], found + 1
    return chosen


def compare_views(config: GeometryConfig, query: PlaceView, place: PlaceView,
                  neighbours: Callable[[], Sequence[PlaceView]] | None = None) -> GeometryResult:
    """Check whether two images show one place.

    Args:
        config: settings of the check.
        query: the image in question.
        place: the image of the place.
        neighbours: returns images with poses around the place; only asked where a metric pose can
            come of it.

    Raises:
        InputError: the size of an image does not go with its camera.
    """
    matches = match_features(query.features, place.features, config.ratio)
    calibrated = query.camera is not None and place.camera is not None
    model: Model = config.model if config.model != 'auto' else (
        'essential' if calibrated else 'fundamental')
    if model == 'essential' and not calibrated:
        return GeometryResult(len(matches), 0, False, note='a camera is not calibrated')
    focal = _common_focal(config, query, place)
    seen_query = _positions(config, query, matches[:, 0], calibrated, focal)
    seen_place = _positions(config, place, matches[:, 1], calibrated, focal)
    known = np.isfinite(seen_query).all(axis=1) & np.isfinite(seen_place).all(axis=1)
    matches, seen_query, seen_place = matches[known], seen_query[known], seen_place[known]
    fit = fit_two_views(seen_place, seen_query, model, config.threshold, focal)
    inliers, area = 0, 0.0
    if fit is not None:
        inliers = int(fit.inliers.sum())
        area = min(_spanned(query.features, matches[fit.inliers, 0]),
                   _spanned(place.features, matches[fit.inliers, 1]))
    enough = inliers >= config.min_inliers
    result = GeometryResult(
        len(matches), inliers, enough and (area >= config.min_area or config.min_inliers == 0),
        '' if fit is None else model,
        note=f'{inliers} of {len(matches)} matched features agree')
    if not enough:
        return replace(result, note=f'{result.note}, expected {config.min_inliers}')
    if not result.passed:
        return replace(result, note=f'{result.note} and span {area:.2f} of the image, expected '
                                    f'{config.min_area}')
    if fit is None:
        return result
    if not calibrated or model != 'essential':
        return result
    motion = recover_motion(fit, seen_place, seen_query, config.threshold, focal)
    if neighbours is not None and place.pose is not None:
        metric = _metric_pose(config, query, place, neighbours(), matches[fit.inliers],
                              seen_query[fit.inliers], focal)
        if metric is not None and _motions_agree(metric, motion):
            return _with_metric(result, metric, query, place)
    return _with_motion(result, motion, query, place)


def _spanned(features: LocalFeatures, rows: np.ndarray) -> float:
    """Return the share of an image that some of its features span: that of their convex hull."""
    if len(rows) < 3:
        return 0.0
    hull = cv2.convexHull(np.ascontiguousarray(features.points[rows]))
    return float(cv2.contourArea(hull)) / (features.width * features.height)


def _common_focal(config: GeometryConfig, query: PlaceView, place: PlaceView) -> float:
    """Return the focal length of an ideal camera whose pixels are about those of both images."""
    focals = [view.camera.for_image(view.features.width, view.features.height).focal_length
              * _shrinking(config, view) for view in (query, place) if view.camera is not None]
    return float(np.mean(focals)) if focals else 1.0


def _shrinking(config: GeometryConfig, view: PlaceView) -> float:
    return min(1.0, config.max_width / view.features.width)


def _positions(config: GeometryConfig, view: PlaceView, rows: np.ndarray, calibrated: bool,
               focal: float) -> np.ndarray:
    """Return where features lie in the ideal camera, or in the shrunk image where none is known."""
    points = view.features.points[rows].astype(np.float64)
    if not calibrated or view.camera is None:
        return points * _shrinking(config, view)
    rays = view.camera.for_image(view.features.width, view.features.height).rays(points)
    with np.errstate(invalid='ignore'):
        rays[~(np.linalg.norm(rays, axis=1) <= _WIDEST_TANGENT)] = np.nan
    return rays * focal


def _metric_pose(config: GeometryConfig, query: PlaceView, place: PlaceView,
                 neighbours: Sequence[PlaceView],
                 matches: np.ndarray, seen_query: np.ndarray, focal: float) -> MetricPose | None:
    """Triangulate the matched features of the place with its neighbors and locate the query."""
    assert query.camera is not None
    assert place.camera is not None
    own = place._replace(features=place.features.subset(matches[:, 1]))
    pixels = _positions(config, place, matches[:, 1], True, focal)
    sightings = [sighting for near in neighbours
                 if (sighting := _sight(config, own, near, focal)) is not None]
    threshold = _POSE_ERROR * config.threshold
    noise = _NOISE_PX[config.features]
    landmarks = triangulate(pixels, sightings, focal, threshold, noise)
    return locate(landmarks, seen_query[landmarks.rows], focal, threshold, noise,
                  place.camera.base_from_camera_matrix, query.camera.base_from_camera_matrix)


def _sight(config: GeometryConfig, place: PlaceView, near: PlaceView,
           focal: float) -> Sighting | None:
    """Return where a neighbor has features of the place; None where its pose is not known."""
    if near.camera is None or near.pose is None or place.camera is None or place.pose is None:
        return None
    matches = match_features(place.features, near.features, config.ratio)
    pixels = _positions(config, near, matches[:, 1], True, focal)
    known = np.isfinite(pixels).all(axis=1)
    from_place = (np.linalg.inv(pose_matrix(near.pose) @ near.camera.base_from_camera_matrix)
                  @ pose_matrix(place.pose) @ place.camera.base_from_camera_matrix)
    return Sighting(matches[known, 0], pixels[known], from_place)


def _motions_agree(metric: MetricPose, motion: Motion | None) -> bool:
    """Compare with the essential matrix, which knows nothing of the map's poses."""
    if motion is None:
        return True
    pose = metric.first_from_camera
    turn = Rotation.from_matrix(pose[:3, :3] @ motion.rotation).magnitude()
    if motion.direction is None:
        return bool(np.rad2deg(turn) <= _AGREEING_TURN_DEG)
    direction = -motion.rotation.T @ motion.direction
    along = float(pose[:3, 3] @ direction / max(np.linalg.norm(pose[:3, 3]), 1e-9))
    return bool(np.rad2deg(turn) <= _AGREEING_TURN_DEG
                and along >= np.cos(np.deg2rad(_AGREEING_DIRECTION_DEG)))


def _with_metric(result: GeometryResult, metric: MetricPose, query: PlaceView,
                 place: PlaceView) -> GeometryResult:
    assert query.camera is not None
    assert place.camera is not None
    pose = (place.camera.base_from_camera_matrix @ metric.first_from_camera
            @ np.linalg.inv(query.camera.base_from_camera_matrix))
    return replace(result, relative_pose=pose_from_matrix(pose),
                   relative_covariance=metric.covariance, relative_is_metric=True,
                   landmarks=metric.inliers,
                   note=f'{result.note}; pose in meters by {metric.inliers} landmarks')


def _with_motion(result: GeometryResult, motion: Motion | None, query: PlaceView,
                 place: PlaceView) -> GeometryResult:
    """Add turn and direction, as far as they are known, in the frames of the robots."""
    if motion is None:
        return replace(result, note=f'{result.note}; their motion is ambiguous')
    assert query.camera is not None
    assert place.camera is not None
    first, second = place.camera.base_from_camera_matrix, query.camera.base_from_camera_matrix
    pose = np.eye(4)
    pose[:3, :3] = first[:3, :3] @ motion.rotation.T @ second[:3, :3].T
    note = f'{result.note}; too little parallax ({motion.parallax_deg:.1f} deg) for a direction'
    if motion.direction is not None:
        pose[:3, 3] = first[:3, :3] @ (-motion.rotation.T @ motion.direction)
        note = f'{result.note}; direction without length'
    return replace(result, relative_pose=pose_from_matrix(pose), note=note)
