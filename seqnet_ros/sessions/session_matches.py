"""Where the keyframes of a drive are found on a map."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.models.precomputed_model import with_precomputed


@dataclass(frozen=True)
class SessionMatches:
    """Accepted matches of a drive.

    Attributes:
        keyframes: numbers of the keyframes that were accepted, ascending, int64 ``[M]``.
        poses: where they are in the frame of the map, float64 ``[M, 7]``, meters.
        variances: of the position along the route, float64 ``[M]``, square meters.
    """

    keyframes: np.ndarray
    poses: np.ndarray
    variances: np.ndarray

    def __len__(self) -> int:
        """Return the number of matches."""
        return len(self.keyframes)


def find_matches(place_map: PlaceMap, session: Mapper,
                 progress: Callable[[int], None] = lambda done: None) -> SessionMatches:
    """Localize the keyframes of a drive in a map, with the place filter and odometry.

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
    numbers, poses, variances = [], [], []
    for number in range(len(session)):
        place = session[number]
        result = localizer.push(place.descriptor, place.stamp_ns, place.pose)
        if result is not None and result.accepted:
            assert result.pose is not None
            assert result.position_covariance is not None
            numbers.append(number)
            poses.append(result.pose)
            variances.append(float(np.linalg.eigvalsh(result.position_covariance)[-1]))
        progress(number + 1)
    return SessionMatches(np.array(numbers, dtype=np.int64), np.array(poses).reshape(-1, 7),
                          np.array(variances))


def _model_of_descriptors(model: PlaceModel) -> PlaceModel:
    if model.config.cameras > 1:
        raise InputError(f'model {model.config.name} has {model.config.cameras} cameras, expected '
                         'one to align sessions')
    return with_precomputed(
        replace(model, engine=model.engine.model_copy(update={'geometry': None})))
