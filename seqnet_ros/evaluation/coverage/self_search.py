"""The places of a map, searched in the map as a robot would search them.

A robot is switched on at a place and drives on along the map; the place filter follows it, without
any belief at first, until a place is accepted. What it sees are the frames of the map. Each is left
out of the map when it is looked for: it is no nearer than the places before and after it, so that
sensor noise and bare walls, which no two frames share, do not count as places.

Changing the frames beside that, by mixtures of others or by noise in each value, was tried: it made
the way until a robot is found longer everywhere, but foretold no better where a later drive is
found.

Where a map is so sparse that a place hardly looks like the next one, leaving a frame out hides its
place, and a robot is not found although a later drive would be.
"""

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.evaluation.coverage.coverage import (
    Coverage,
    Run,
    Start,
    choose_starts,
    route_of,
    spots_of,
    start_before,
)
from seqnet_ros.localization.filter_decision import decide
from seqnet_ros.localization.result import Reason
from seqnet_ros.maps.filter_calibration import calibrate_filter
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.states import frame_distances, state_space
from seqnet_ros.pipelines.progress import Bars, no_bar
from seqnet_ros.place_filter.place_filter import Hypothesis, PlaceFilter, Step
from seqnet_ros.place_filter.state_space import StateGroup

_COMPARABLE = 0.1
"""Mass of a place that may be taken for the true one."""
_COMPARED = 5
_LEAST_CONTRAST = 3.5
"""Of successive places. The search foretells later drives on maps from 4.1 (Gardens Point, the
town), and does not on those up to 2.8 (Nordland in 64 x 32 pixels, a corridor)."""
_SPARSE = ('successive places look little alike, as where they are far apart: what is called blind '
           'may be found by a later drive (--against)')


def search_itself(place_map: PlaceMap, within: float, engine: EngineConfig | None = None,
                  bars: Bars = no_bar) -> Coverage:
    """Say where on a map robots are found, by searching the map in itself.

    Args:
        place_map: the map.
        within: distance after which a robot should be found, meters; frames without poses.
        engine: the settings of the place filter; None takes the map's.
        bars: shows progress.
    """
    engine = engine or place_map.manifest.engine
    known = place_map.manifest.filter_calibration
    if known is None or known.settings != engine.filter:
        place_map = place_map.with_filter_calibration(calibrate_filter(place_map, engine.filter))
    search = _SelfSearch(place_map, engine)
    route = route_of(place_map.positions, place_map.segment_starts)
    starts = choose_starts(route, place_map.segment_starts, within)
    with bars('searching', len(starts)) as progress:
        spots = spots_of(starts, route, np.arange(len(place_map)), search.run, progress)
    sparse = place_map.scene_change.contrast < _LEAST_CONTRAST
    return Coverage(place_map, 'the map itself', within, spots, _SPARSE if sparse else '')


class _SelfSearch:
    """Searches stretches of a map in the map."""

    def __init__(self, place_map: PlaceMap, engine: EngineConfig) -> None:
        assert place_map.manifest.filter_calibration is not None
        self._map, self._engine = place_map, engine
        self._bias = place_map.manifest.filter_calibration.bias
        self._space = state_space([place_map])
        self._states = StateGroup(self._space, np.arange(len(place_map)))
        self._frames = np.asarray(place_map.matching_frames)

    def run(self, start: Start) -> Run:
        """Return what becomes of a robot that is switched on."""
        place_filter = PlaceFilter(self._space, self._engine.filter, biases=[self._bias])
        posed, poses = self._map.manifest.has_poses, self._map.poses
        rival = None
        for after, place in enumerate(range(start.first, start.end), 1):
            place_filter.predict(
                Step.between(poses[max(place - 1, start.first)], poses[place]) if posed else Step())
            place_filter.update(self._distances(place))
            hypotheses = place_filter.hypotheses(_COMPARED)
            near = self._states.near(place, self._engine.filter.tolerance)
            elsewhere = [one for one in hypotheses if not near[one.state]]
            rival = self._where_alike(elsewhere, after)
            if hypotheses and decide(place_filter, hypotheses, self._engine) is Reason.ACCEPTED:
                return Run(after, None) if near[hypotheses[0].state] else Run(None, rival)
        return Run(None, rival)

    def _where_alike(self, elsewhere: list[Hypothesis], after: int) -> int | None:
        """Return the start that looks like the true one, if another place holds much belief."""
        best = max(elsewhere, key=lambda one: one.mass, default=None)
        if best is None or best.mass < _COMPARABLE:
            return None
        return start_before(best.state, after, self._map.segment_starts)

    def _distances(self, place: int) -> np.ndarray:
        """Return the distances of a frame to all places, as if its own were not on the map."""
        distances = frame_distances(self._frames, self._frames[place])
        starts = self._map.segment_starts
        beside = [other for other in (place - 1, place + 1)
                  if 0 <= other < len(starts) and starts[other] == starts[place]]
        distances[place] = distances[beside].max() if beside else np.median(distances)
        return distances
