"""Where the keyframes of a drive are found on a map."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import pose_from_matrix, pose_matrix
from seqnet_ros.localization.geometry.geometric_check import GeometricCheck
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.result import MatchResult
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.models.precomputed_model import with_precomputed

_ALONG = 0.35
"""Of the standard deviation of the belief: its mean is nearer to the robot than it is wide. Towns 2
and 3, at dusk and by night: 0.4 m where the belief has 1.3 m."""
_LATERAL_M = 0.7
"""Two drives go along the same lane, seldom on the same line."""
_VERTICAL_M = 1.0
_HEADING = np.deg2rad(8.0)
_WEAVING_M, _WEAVING = 0.4, np.deg2rad(2.0)
"""What is left of both where a drive keeps its distance from the line of the other. Towns 2 and 3:
at most 0.25 m and 2 degrees; a robot that gives way needs more."""
_MEASURED_M = 0.2
"""Least standard deviation of a position by landmarks, whose places are known by odometry."""
_MEASURED_TURN = np.deg2rad(1.0)


@dataclass(frozen=True)
class SessionMatches:
    """Accepted matches of a drive.

    Attributes:
        keyframes: numbers of the keyframes that were accepted, ascending, int64 ``[M]``.
        places: the places of the map that they show, int64 ``[M]``.
        poses: where they are in the frame of the map, float64 ``[M, 7]``, meters.
        deviations: standard deviations of these poses about their axes x, y and z, then along
            them, float64 ``[M, 6]``, radians and meters.
        measured: whether a pose was measured by landmarks, bool ``[M]``; otherwise it is that of a
            place, or between places.
    """

    keyframes: np.ndarray
    places: np.ndarray
    poses: np.ndarray
    deviations: np.ndarray
    measured: np.ndarray

    def __len__(self) -> int:
        """Return the number of matches."""
        return len(self.keyframes)

    def moved(self, offsets_m: np.ndarray) -> 'SessionMatches':
        """Return the matches with poses moved ahead, to the left and up, ``[M, 3]``, meters."""
        moved = self.poses.copy()
        moved[:, :3] += Rotation.from_quat(moved[:, 3:]).apply(offsets_m)
        return replace(self, poses=moved)

    def beside_the_line(self) -> np.ndarray:
        """Return the deviations from a drive at a fixed distance from that of the map, ``[M, 6]``.

        Those of measured poses stay as they are.
        """
        within = np.minimum(self.deviations, [*[_WEAVING] * 3, np.inf, _WEAVING_M, np.inf])
        return np.where(self.measured[:, None], self.deviations, within)


def find_matches(place_map: PlaceMap, session: Mapper,
                 progress: Callable[[int], None] = lambda done: None) -> SessionMatches:
    """Localize the keyframes of a drive in a map, with the place filter and odometry.

    Where both keep local features and know their cameras, poses are measured by landmarks.

    Args:
        place_map: the map.
        session: the drive, with poses of its own odometry.
        progress: called with the number of keyframes done.

    Raises:
        InputError: the model describes several cameras as one place.
        MapModelMismatchError: the map was made with another model.
    """
    model = _model_of_descriptors(session.model)
    engine = place_map.manifest.preset.with_settings({
        'keyframes.every': '1', 'keyframes.min_change': '0',
        'localization.method': 'filter'}).engine.model_copy(update={'geometry': None})
    localizer = Localizer(model, place_map, engine)
    check = _geometric_check(place_map, session)
    numbers, places, poses, deviations, measured = [], [], [], [], []
    for number in range(len(session)):
        seen = session[number]
        result = localizer.push(seen.descriptor, seen.stamp_ns, seen.pose)
        if result is not None and result.accepted:
            assert result.best is not None
            place = result.best.place_id
            by_landmarks = (None if check is None else
                            _measure(check, session, number, place_map, place))
            pose, deviation = by_landmarks or _estimate(result)
            numbers.append(number)
            places.append(place)
            poses.append(pose)
            deviations.append(deviation)
            measured.append(by_landmarks is not None)
        progress(number + 1)
    return SessionMatches(
        np.array(numbers, dtype=np.int64), np.array(places, dtype=np.int64),
        np.array(poses).reshape(-1, 7), np.array(deviations).reshape(-1, 6),
        np.array(measured, dtype=bool))


def _estimate(result: MatchResult) -> tuple[np.ndarray, np.ndarray]:
    """Return the pose along the places of the map, ``[7]``, and its deviations ``[6]``."""
    assert result.pose is not None
    assert result.position_covariance is not None
    along = _ALONG * np.sqrt(np.linalg.eigvalsh(result.position_covariance)[-1])
    return result.pose, np.array([_HEADING, _HEADING, _HEADING, along, _LATERAL_M, _VERTICAL_M])


def _geometric_check(place_map: PlaceMap, session: Mapper) -> GeometricCheck | None:
    """Return what measures poses; None where features or cameras are missing."""
    geometry = session.engine.geometry
    kept = place_map.manifest.features
    if (geometry is None or kept is None or kept.features != geometry.features
            or session.camera is None or place_map.manifest.camera is None):
        return None
    return GeometricCheck.of_map(geometry, session.camera, place_map)


def _measure(check: GeometricCheck, session: Mapper, number: int, place_map: PlaceMap,
             place: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the pose by the landmarks of a place, ``[7]``, and its deviations ``[6]``."""
    found = check.verify(session.features(number), place)
    if not found.relative_is_metric:
        return None
    assert found.relative_pose is not None
    assert found.relative_covariance is not None
    relative = pose_matrix(found.relative_pose)
    turn = np.kron(np.eye(2), relative[:3, :3])  # from the axes of the place to those of the robot
    variances = np.diag(turn.T @ found.relative_covariance @ turn)
    deviations = np.sqrt(np.r_[variances[3:], variances[:3]])
    return (pose_from_matrix(pose_matrix(place_map.poses[place]) @ relative),
            np.maximum(deviations, np.r_[[_MEASURED_TURN] * 3, [_MEASURED_M] * 3]))


def _model_of_descriptors(model: PlaceModel) -> PlaceModel:
    if model.config.cameras > 1:
        raise InputError(f'model {model.config.name} has {model.config.cameras} cameras, expected '
                         'one to align sessions')
    return with_precomputed(
        replace(model, engine=model.engine.model_copy(update={'geometry': None})))
