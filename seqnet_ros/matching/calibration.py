"""What a wrong match looks like on this map: the basis of the acceptance threshold.

Windows of the map itself are searched in the rest of the map. Whatever is found there, at
another place, is wrong; how near such matches come is what a correct match has to beat.
"""

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from seqnet_ros.config.engine import EngineConfig, MatchingConfig
from seqnet_ros.maps.place_map import Calibration, Located, PlaceMap
from seqnet_ros.matching.acceptance import Agreement, relative_margin
from seqnet_ros.matching.retrieval import HierarchicalSearch, Ranking
from seqnet_ros.place_model import PlaceModel
from seqnet_ros.sequences.windows import trailing_windows

_RUNS = 10
_RUN_LENGTH = 40
_NEWS = 10
_ALIKE_M = 100.0
_ALIKE_OF_ROUTE = 0.1
"""Views along a street stay alike for a long way; what lies within this distance, or this share of
a shorter route, says nothing of places elsewhere."""


def calibrate(
        model: PlaceModel, place_map: PlaceMap, matching: MatchingConfig) -> Calibration:
    """Search sequences of a map, of its own length, in the rest of it."""
    length = place_map.manifest.sequence_length
    windows = trailing_windows(place_map.segment_starts, length)
    search = HierarchicalSearch(model, place_map, matching)
    alike_m = _alike_m(place_map.manifest.route_length_m)
    reach = max(2 * length + matching.merge_frames,
                round(alike_m / place_map.step_m) if place_map.step_m else 0)
    samples = []
    for query in _sampled_places(len(place_map)):
        window = windows[query]
        projected = None if place_map.projected is None else place_map.projected[window]
        found = search.search(place_map.frames[window], projected=projected,
                              excluded=(query - reach, query + reach + 1))
        wrong = _elsewhere(found, place_map, query, alike_m)
        if len(wrong.places):
            samples.append(_sample(query, wrong))
    return _calibration(length, matching, samples)


class RunningCalibration:
    """The same for a drive that is not over, learned from its own searches.

    Args:
        engine: the settings of the drive.
    """

    def __init__(self, engine: EngineConfig) -> None:
        self._engine = engine
        self._samples: deque[_Sample] = deque(maxlen=_RUNS * _RUN_LENGTH)
        self._undecided: deque[_Sample] = deque()
        self._news = 0

    def forget(self) -> None:
        """Note a break in the sequence: what is undecided can no longer be told."""
        self._undecided.clear()

    @property
    def due(self) -> bool:
        """Whether enough is new since `calibration` was last asked for."""
        return self._news >= _NEWS

    def calibration(self) -> Calibration:
        """Return what is known by now."""
        self._news = 0
        return _calibration(
            self._engine.sequence.length, self._engine.matching, self._samples)

    def learn_by_position(self, query: int, ranking: Ranking, places: Located) -> None:
        """Learn from a search where odometry tells which places are elsewhere.

        Odometry drifts, but what is far by odometry is hardly ever near.
        """
        length_m = places.step_m * len(places.positions)
        wrong = _elsewhere(ranking, places, query, _alike_m(length_m))
        if len(wrong.places):
            self._take(_sample(query, wrong))

    def learn_by_agreement(self, query: int, ranking: Ranking, agreement: Agreement,
                           on_edge: bool) -> None:
        """Learn from a search without knowing positions.

        What successive sequences agree on is taken for right, and so is what came shortly before;
        the rest for wrong, and so is the youngest place that could be found (``on_edge``).
        """
        if on_edge:
            self._take(_sample(query, ranking))
        elif agreement.reached(ranking.speeds[0] >= 0):
            self._undecided.clear()
        else:
            self._undecided.append(_sample(query, ranking))
            if len(self._undecided) > self._engine.acceptance.agreement_window:
                self._take(self._undecided.popleft())

    def _take(self, sample: '_Sample') -> None:
        self._samples.append(sample)
        self._news += 1


class _Sample(NamedTuple):
    """A search that ended at a wrong place."""

    query: int
    place: int
    distance: float
    margin: float


def _sample(query: int, wrong: Ranking) -> _Sample:
    return _Sample(query, int(wrong.places[0]), round(float(wrong.sequence_distances[0]), 6),
                   round(min(relative_margin(wrong), 1.0), 6))


def _calibration(
        length: int, matching: MatchingConfig, samples: Collection[_Sample]) -> Calibration:
    queries, places, distances, margins = zip(*samples, strict=True) if samples else ((),) * 4
    return Calibration(sequence_length=length, matching=matching, queries=queries,
                       places=places, distances=distances, margins=margins)


def _alike_m(route_length_m: float) -> float:
    return min(_ALIKE_M, _ALIKE_OF_ROUTE * route_length_m)


def _sampled_places(count: int) -> list[int]:
    """Return all places of a small map, else runs of successive ones spread over it."""
    if count <= _RUNS * _RUN_LENGTH:
        return list(range(count))
    starts = np.linspace(0, count - _RUN_LENGTH, _RUNS).astype(int)
    return [int(start) + step for start in starts for step in range(_RUN_LENGTH)]


def _elsewhere(ranking: Ranking, places: Located, query: int, alike_m: float) -> Ranking:
    """Leave out places the drive came past again: finding those is not wrong."""
    apart = np.linalg.norm(
        places.positions[ranking.places] - places.positions[query], axis=1)
    far = apart > alike_m
    return Ranking(ranking.places[far], ranking.descriptor_distances[far],
                   ranking.sequence_distances[far], ranking.speeds[far])
