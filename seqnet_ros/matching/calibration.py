"""What a wrong match looks like on this map: the basis of the acceptance threshold.

Windows of the map itself are searched in the rest of the map. Whatever is found there, at
another place, is wrong; how near such matches come is what a correct match has to beat.
"""

import dataclasses

import numpy as np

from seqnet_ros.config import MatchingConfig
from seqnet_ros.maps.place_map import Calibration, PlaceMap
from seqnet_ros.matching.acceptance import relative_margin
from seqnet_ros.matching.retrieval import HierarchicalSearch, Ranking
from seqnet_ros.place_model import PlaceModel
from seqnet_ros.sequences.windows import trailing_windows

_SAMPLES = 300
_SAME_PLACE_M = 20.0


def calibrate(model: PlaceModel, place_map: PlaceMap, matching: MatchingConfig) -> PlaceMap:
    """Return the map with its calibration for its own sequence length."""
    length = place_map.manifest.sequence_length
    windows = trailing_windows(place_map.segment_starts, length)
    search = HierarchicalSearch(model, place_map, matching)
    reach = 2 * length + matching.merge_frames
    distances, margins = [], []
    count = min(_SAMPLES, len(place_map))
    for place in np.linspace(0, len(place_map) - 1, count).astype(int):
        found = search.search(np.asarray(place_map.frames[windows[place]]),
                              excluded=(int(place) - reach, int(place) + reach + 1))
        wrong = _elsewhere(found, place_map, place)
        if len(wrong.places):
            distances.append(round(float(wrong.sequence_distances[0]), 6))
            margins.append(round(min(relative_margin(wrong), 1.0), 6))
    calibration = Calibration(
        sequence_length=length, distances=tuple(distances), margins=tuple(margins))
    manifest = place_map.manifest.model_copy(update={'calibration': calibration})
    return dataclasses.replace(place_map, manifest=manifest)


def _elsewhere(ranking: Ranking, place_map: PlaceMap, place: int) -> Ranking:
    """Leave out places the drive came past again: finding those is not wrong."""
    apart = np.linalg.norm(
        place_map.poses[ranking.places, :3] - place_map.poses[place, :3], axis=1)
    far = apart > _SAME_PLACE_M
    return Ranking(ranking.places[far], ranking.descriptor_distances[far],
                   ranking.sequence_distances[far], ranking.speeds[far])
