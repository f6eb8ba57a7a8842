"""Distribution of wrong matches on a map, the basis of the acceptance threshold.

Windows of the map itself are searched in the rest of the map. Every match at another place is
wrong; a correct match must be nearer than such matches usually are.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from seqnet_ros.config.engine import MatchingConfig
from seqnet_ros.maps.place_map import Calibration, Located, PlaceMap
from seqnet_ros.maps.search.hierarchical_search import HierarchicalSearch, Ranking, relative_margin
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.windows import trailing_windows

RUNS = 10
RUN_LENGTH = 40
_ALIKE_M = 100.0
_ALIKE_OF_ROUTE = 0.1
"""Views along a street remain similar for a long distance; places within this distance, or this
share of a shorter route, are excluded from the calibration."""


def calibrate(
        model: PlaceModel, place_map: PlaceMap, matching: MatchingConfig) -> Calibration:
    """Search sequences of a map in the rest of that map, and measure the wrong matches."""
    length = place_map.manifest.sequence_length
    windows = trailing_windows(place_map.segment_starts, length)
    search = HierarchicalSearch(model, place_map, matching)
    alike_m = similar_distance_m(place_map.manifest.route_length_m)
    reach = max(2 * length + matching.merge_frames,
                round(alike_m / place_map.step_m) if place_map.step_m else 0)
    samples = []
    for query in _sampled_places(len(place_map)):
        window = windows[query]
        projected = None if place_map.projected is None else place_map.projected[window]
        found = search.search(place_map.frames[window], projected=projected,
                              excluded=(query - reach, query + reach + 1))
        wrong = drop_near_places(found, place_map, query, alike_m)
        if len(wrong.places):
            samples.append(sample_of(query, wrong))
    return calibration_of(length, matching, samples)


class Sample(NamedTuple):
    """A search that ended at a wrong place."""

    query: int
    place: int
    distance: float
    margin: float


def sample_of(query: int, wrong: Ranking) -> Sample:
    """Return the sample of a search that found wrong places only."""
    return Sample(query, int(wrong.places[0]), round(float(wrong.sequence_distances[0]), 6),
                  round(min(relative_margin(wrong), 1.0), 6))


def calibration_of(
        length: int, matching: MatchingConfig, samples: Collection[Sample]) -> Calibration:
    """Return the calibration that samples of wrong matches give."""
    queries, places, distances, margins = zip(*samples, strict=True) if samples else ((),) * 4
    return Calibration(sequence_length=length, matching=matching, queries=queries,
                       places=places, distances=distances, margins=margins)


def similar_distance_m(route_length_m: float) -> float:
    """Return the distance along a route over which views remain similar, meters."""
    return min(_ALIKE_M, _ALIKE_OF_ROUTE * route_length_m)


def _sampled_places(count: int) -> list[int]:
    """Return all places of a small map, else runs of successive ones spread over it."""
    if count <= RUNS * RUN_LENGTH:
        return list(range(count))
    starts = np.linspace(0, count - RUN_LENGTH, RUNS).astype(int)
    return [int(start) + step for start in starts for step in range(RUN_LENGTH)]


def drop_near_places(ranking: Ranking, places: Located, query: int, alike_m: float) -> Ranking:
    """Exclude places that the drive revisits: matching them is not wrong."""
    apart = np.linalg.norm(
        places.positions[ranking.places] - places.positions[query], axis=1)
    far = apart > alike_m
    return Ranking(ranking.places[far], ranking.descriptor_distances[far],
                   ranking.sequence_distances[far], ranking.speeds[far])
