"""Distances of the newest sequence to the sequences that end at the places of a map."""

import numpy as np

from seqnet_ros.maps.place_map import PlaceMap


class SequenceDistances:
    """Compares sequence descriptors, which need not have unit length.

    Args:
        place_map: the map.
        all_places: all places are going to be compared, so that what they have in common with every
            query is computed once.
    """

    def __init__(self, place_map: PlaceMap, all_places: bool) -> None:
        self._sequences = place_map.sequences
        self._squares = _squares(self._sequences) if all_places else None

    def to(self, described: np.ndarray, places: np.ndarray | None = None) -> np.ndarray:
        """Return the L2 distances, float64 ``[K]``.

        Args:
            described: float32 ``[D']``, the newest sequence.
            places: int ``[K]``; None for all.
        """
        rows = self._sequences if places is None else self._sequences[places]
        squares = self._squares if places is None and self._squares is not None else _squares(rows)
        apart = squares - 2 * (rows @ described).astype(np.float64) + float(described @ described)
        return np.sqrt(np.maximum(apart, 0.0))


def _squares(rows: np.ndarray) -> np.ndarray:
    """Return the squared lengths of rows, float64 ``[K]``."""
    return np.einsum('ij,ij->i', rows, rows).astype(np.float64)
