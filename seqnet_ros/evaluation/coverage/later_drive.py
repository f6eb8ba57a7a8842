"""The places of a map, searched by a later drive: the honest measure of its coverage."""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import same_heading
from seqnet_ros.evaluation.coverage.coverage import (
    MOST_STARTS,
    Coverage,
    Run,
    Start,
    choose_starts,
    route_of,
    spots_of,
    start_before,
)
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.result import MatchResult, Reason
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.states import state_space
from seqnet_ros.models.precomputed_model import with_precomputed
from seqnet_ros.pipelines.progress import Bars, no_bar
from seqnet_ros.place_filter.state_space import StateGroup

_REACH_M = 5.0
_CANDIDATES = 8
NOWHERE = -1


def search_drive(place_map: PlaceMap, drive: Mapper, places: np.ndarray, asked: str, within: float,
                 most: int = MOST_STARTS, bars: Bars = no_bar) -> Coverage:
    """Say where on a map robots are found that are switched on during a later drive.

    Args:
        place_map: the map.
        drive: the keyframes of the drive, with odometry if it has any.
        places: the place that each keyframe shows, or `NOWHERE`, int ``[N]``.
        asked: name of the drive.
        within: distance after which a robot should be found, meters; frames without poses.
        most: about as many robots at most.
        bars: shows progress.

    Raises:
        MapModelMismatchError: the map was made with another model.
        InputError: no keyframe shows a place of the map.
    """
    search = _DriveSearch(place_map, drive, places)
    keyframes = [drive[number] for number in range(len(drive))]
    ways = np.array([keyframe.segment_start for keyframe in keyframes])
    route = route_of(np.array([keyframe.pose[:3] for keyframe in keyframes]), ways)
    starts = [start for start in choose_starts(route, ways, within, most)
              if NOWHERE not in (places[start.first], places[start.last])]
    if not starts:
        raise InputError(f'{asked} shows no place of the map, expected a drive along it')
    with bars('searching', len(starts)) as progress:
        spots = spots_of(starts, route, places, search.run, progress)
    return Coverage(place_map, asked, within, spots)


def places_shown(place_map: PlaceMap, poses: np.ndarray) -> np.ndarray:
    """Return the nearest place with about the same heading for each pose, or `NOWHERE`.

    Args:
        place_map: a map with poses.
        poses: in the frame of the map, float64 ``[N, 7]``.

    Returns:
        int64 ``[N]``.
    """
    nearest = min(_CANDIDATES, len(place_map))
    apart, found = cKDTree(place_map.positions).query(poses[:, :3], k=np.arange(1, nearest + 1))
    aligned = same_heading(place_map.poses[found, 3:], poses[:, None, 3:])
    apart = np.where(aligned, apart, np.inf)
    best = apart.argmin(axis=1)
    rows = np.arange(len(poses))
    return np.where(apart[rows, best] <= _REACH_M, found[rows, best], NOWHERE)


class _DriveSearch:
    """Starts localizers along a drive."""

    def __init__(self, place_map: PlaceMap, drive: Mapper, places: np.ndarray) -> None:
        self._model = with_precomputed(replace(
            drive.model, engine=drive.model.engine.model_copy(update={'geometry': None})))
        self._engine = place_map.manifest.preset.with_settings({
            'keyframes.every': '1', 'keyframes.min_change': '0',
            'localization.method': 'filter'}).engine.model_copy(update={'geometry': None})
        self._map, self._drive, self._places = place_map, drive, places
        self._states = StateGroup(state_space([place_map]), np.arange(len(place_map)))

    def run(self, start: Start) -> Run:
        """Return what becomes of a robot that is switched on."""
        localizer = Localizer(self._model, self._map, self._engine)
        rival = None
        for after, number in enumerate(range(start.first, start.end), 1):
            keyframe = self._drive[number]
            result = localizer.push(keyframe.descriptor, keyframe.stamp_ns,
                                    keyframe.pose if self._drive.posed else None)
            if result is None or result.best is None:
                continue
            near = self._near(number)
            rival = self._where_alike(result, near, after)
            if result.accepted:
                return Run(after, None) if near[result.best.place_id] else Run(None, rival)
        return Run(None, rival)

    def _near(self, number: int) -> np.ndarray:
        place = int(self._places[number])
        if place == NOWHERE:
            return np.zeros(len(self._map), dtype=bool)
        return self._states.near(place, self._engine.filter.tolerance)

    def _where_alike(self, result: MatchResult, near: np.ndarray, after: int) -> int | None:
        """Return the start that looks like the true one, where two places compete or one won."""
        if result.reason not in (Reason.AMBIGUOUS, Reason.ACCEPTED):
            return None
        elsewhere = [one.place_id for one in result.candidates if not near[one.place_id]]
        return start_before(
            elsewhere[0], after, self._map.segment_starts) if elsewhere else None
