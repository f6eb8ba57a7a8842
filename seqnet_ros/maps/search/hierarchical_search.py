"""Hierarchical place search: sequence descriptors first, then frames of the best few."""

from dataclasses import dataclass

import numpy as np
import torch

from seqnet_ros.config.engine import MatchingConfig
from seqnet_ros.maps.place_map import Places
from seqnet_ros.maps.search.sequence_matching import SequenceMatcher, searched_speeds
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.aggregators import describe_frames


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

    def __init__(self, model: PlaceModel, places: Places, config: MatchingConfig) -> None:
        """Search ``places`` with the settings of ``config``."""
        self._model = model
        self._places = places
        self._config = config
        self._matcher = SequenceMatcher(
            places.matching_frames, places.stretches, searched_speeds(config))

    def search(self, window: np.ndarray, expected_speed: float = 1.0,
               excluded: tuple[int, int] | None = None,
               projected: np.ndarray | None = None,
               described: np.ndarray | None = None) -> Ranking:
        """Rank the distinct places for a window.

        Args:
            window: float32 ``[L, D]``, oldest first, frames as `PlaceModel.prepare` returns them; L
                is that of the map.
            expected_speed: query speed relative to the map, known from earlier matches.
            excluded: half-open range of places that may not be answered; it is left out before
                the best are taken.
            projected: float32 ``[L, D'']``, the window as the model's projection describes it,
                where that was done before.
            described: float32 ``[D']``, the sequence descriptor of the window in either direction,
                where that is known.
        """
        if self._model.projection is None:
            compared = window
        elif projected is None:
            compared = describe_frames(self._model.projection, window)
        else:
            compared = projected
        rankings = [
            self._one_direction(window, compared, described, reverse, expected_speed, excluded)
            for reverse in ((False, True) if self._config.reverse else (False,))]
        columns = [np.concatenate(column) for column in zip(*rankings, strict=True)]
        costs = columns.pop()
        order = np.argsort(costs, kind='stable')
        order = order[np.isfinite(costs[order]) & np.isfinite(columns[2][order])]
        chosen = order[self._distinct(columns[0][order])]
        return Ranking(*(column[chosen] for column in columns))

    def _one_direction(
        self, window: np.ndarray, compared: np.ndarray, described: np.ndarray | None, reverse: bool,
        expected_speed: float, excluded: tuple[int, int] | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        wanted = self._config.top_k
        spare = 0 if excluded is None else excluded[1] - excluded[0] + len(window)
        query = described
        if query is None:
            query = self._sequence_descriptor(window[::-1] if reverse else window)
        distances, places = self._places.index.search(query, wanted + spare)
        if reverse:
            # A map window ends where the robot was first when it drives the other way.
            places = np.maximum(places - len(window) + 1, self._places.stretches(places)[0])
        if excluded is not None:
            allowed = (places < excluded[0]) | (places >= excluded[1])
            distances, places = distances[allowed][:wanted], places[allowed][:wanted]
        found = self._matcher.match(compared, places, reverse, expected_speed)
        speeds = -found.speeds if reverse else found.speeds
        return places, distances, found.distances, speeds, found.costs

    def _sequence_descriptor(self, window: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            frames = torch.from_numpy(np.ascontiguousarray(window))[None]
            return self._model.aggregator(frames)[0].numpy()

    def _distinct(self, places: np.ndarray) -> list[int]:
        """Return the positions that stay when near places are merged into the better one.

        Near in the order of the map or in space: a street driven twice is one place.
        """
        positions = self._places.positions[places]
        merge_m = self._config.merge_frames * self._places.step_m
        kept: list[int] = []
        for row, place in enumerate(places):
            gaps = np.linalg.norm(positions[kept] - positions[row], axis=1)
            steps = np.abs(places[kept] - place)
            if not np.any((gaps <= merge_m) | (steps <= self._config.merge_frames)):
                kept.append(row)
                # The margin test needs a second place, however few are reported.
                if len(kept) == max(self._config.candidates, 2):
                    break
        return kept


def relative_margin(ranking: Ranking) -> float:
    """Return how much farther the next distinct place is than the best; infinite without one."""
    distances = ranking.sequence_distances
    if len(distances) < 2:
        return float('inf')
    return margin_between(float(distances[0]), float(distances[1]))


def margin_between(best: float, rival: float) -> float:
    """Return how much farther a rival is than the best, relative to the best."""
    return (rival - best) / max(best, 1e-9)
