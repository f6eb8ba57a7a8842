"""Hierarchical place search: sequence descriptors first, then frames of the best few."""

from dataclasses import dataclass

import numpy as np
import torch

from seqnet_ros.config import MatchingConfig
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.matching.sequence_matching import SequenceMatcher, searched_speeds
from seqnet_ros.place_model import PlaceModel


@dataclass(frozen=True)
class Ranking:
    """Distinct places for one window, best first; all arrays ``[K]``.

    Attributes:
        places: map frame where the newest query frame is.
        descriptor_distances: L2 distance of the sequence descriptors.
        sequence_distances: mean L2 distance of the frame descriptors along the best line.
        speeds: speed of that line, negative where the query drives the other way.
    """

    places: np.ndarray
    descriptor_distances: np.ndarray
    sequence_distances: np.ndarray
    speeds: np.ndarray


class HierarchicalSearch:
    """Finds the places of a map that a window of frames may show."""

    def __init__(self, model: PlaceModel, place_map: PlaceMap, config: MatchingConfig) -> None:
        """Search ``place_map`` with the settings of ``config``."""
        self._model = model
        self._map = place_map
        self._config = config
        self._ends = place_map.segment_ends()
        self._matcher = SequenceMatcher(
            place_map.frames, place_map.segment_starts, self._ends, searched_speeds(config))

    def search(self, window: np.ndarray, expected_speed: float = 1.0,
               excluded: tuple[int, int] | None = None) -> Ranking:
        """Rank the distinct places for a window.

        Args:
            window: float32 ``[L, D]``, centred and L2-normalised, oldest first; L is that of the
                map.
            expected_speed: query speed relative to the map, known from earlier matches.
            excluded: half-open range of places that may not be answered.
        """
        rankings = [self._one_direction(window, False, expected_speed, excluded)]
        if self._config.reverse:
            rankings.append(self._one_direction(window, True, expected_speed, excluded))
        columns = [np.concatenate(column) for column in zip(*rankings, strict=True)]
        costs = columns.pop()
        order = np.argsort(costs, kind='stable')
        distinct = self._distinct(columns[0][order])
        chosen = order[distinct]
        return Ranking(*(column[chosen] for column in columns))

    def _one_direction(
        self, window: np.ndarray, reverse: bool, expected_speed: float,
        excluded: tuple[int, int] | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        wanted = self._config.top_k
        spare = 0 if excluded is None else excluded[1] - excluded[0]
        query = self._sequence_descriptor(window[::-1] if reverse else window)
        distances, places = self._map.index.search(query, wanted + spare)
        if excluded is not None:
            allowed = (places < excluded[0]) | (places >= excluded[1])
            distances, places = distances[allowed][:wanted], places[allowed][:wanted]
        if reverse:
            # A map window ends where the robot was first when it drives the other way.
            places = np.maximum(places - len(window) + 1, self._map.segment_starts[places])
        found = self._matcher.match(window, places, reverse, expected_speed)
        speeds = -found.speeds if reverse else found.speeds
        return places, distances, found.distances, speeds, found.costs

    def _sequence_descriptor(self, window: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            frames = torch.from_numpy(np.ascontiguousarray(window))[None]
            return self._model.aggregator(frames)[0].numpy()

    def _distinct(self, places: np.ndarray) -> list[int]:
        """Return the positions that stay when near places are merged into the better one."""
        kept: list[int] = []
        for position, place in enumerate(places):
            if all(abs(place - places[other]) > self._config.merge_frames for other in kept):
                kept.append(position)
                if len(kept) == self._config.candidates:
                    break
        return kept
