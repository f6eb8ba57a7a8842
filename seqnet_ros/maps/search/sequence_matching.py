"""Sequence matching: compare a window with the map frame by frame, along diagonals.

SeqSLAM (Milford and Wyeth, ICRA 2012) searches straight lines through the matrix of frame
distances, one for each ratio of speeds; the second stage of HVPR (Garg and Milford, RA-L 2021,
section III-C) does so for the candidates of a first stage only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np

from seqnet_ros.config.engine import MatchingConfig
from seqnet_ros.core.errors import InputError
from seqnet_ros.maps.index import one_faiss_thread

_USUAL_RANGE = np.log(1.25)
SPEED_COST = 0.5
"""Cost at the ends of the speed range, in deviations of frame distances.

Along a slanted line a few frames can always be found that fit a little better; without a prior
the newest frame is then placed wrongly."""


@dataclass(frozen=True)
class Diagonals:
    """Distances of a window to places.

    Attributes:
        distances: float32 ``[K]``, mean frame distance along the best line of each place.
        costs: float32 ``[K]``, the same plus the cost of an unexpected speed: what ranks.
        speeds: float ``[K]``, the speed of that line relative to the mapping drive.
    """

    distances: np.ndarray
    costs: np.ndarray
    speeds: np.ndarray


def searched_speeds(config: MatchingConfig) -> np.ndarray:
    """Return the speeds to search, evenly spaced in their logarithm, 1 among them if in range."""
    low, high = np.log(config.min_speed), np.log(config.max_speed)
    if config.speed_steps == 1:
        return np.exp([min(max(0.0, low), high)])
    speeds = np.exp(np.linspace(low, high, config.speed_steps))
    if low <= 0 <= high:
        speeds[np.argmin(np.abs(np.log(speeds)))] = 1.0
    return speeds


class SequenceMatcher:
    """Matches windows of query frames with places of one map.

    Args:
        frames: float32 ``[N, D]``, L2-normalized map descriptors (may be memory-mapped).
        stretches: returns the first and one past the last place of the unbroken stretch that each
            of some places ``[K]`` is on; no line is compared across its ends.
        speeds: speeds to search, query relative to map.
    """

    def __init__(self, frames: np.ndarray,
                 stretches: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
                 speeds: np.ndarray) -> None:
        self._frames = np.ascontiguousarray(frames, dtype=np.float32)
        self._stretches = stretches
        self._speeds = speeds
        self._log_speeds = np.log(speeds)
        self._prior = SPEED_COST / max(float(np.abs(self._log_speeds).max()), _USUAL_RANGE) ** 2

    def match(self, window: np.ndarray, places: np.ndarray, reverse: bool = False,
              expected_speed: float = 1.0) -> Diagonals:
        """Compare a window with places.

        Args:
            window: float32 ``[L, D]``, L2-normalized, oldest first.
            places: int ``[K]``, where the newest frame of the window may be.
            reverse: the query drives against the direction of the map.
            expected_speed: ratio of speeds that costs nothing.
        """
        if len(places) == 0:
            nothing = np.empty(0, dtype=np.float32)
            return Diagonals(nothing, nothing, nothing)
        length = len(window)
        age = np.arange(length - 1, -1, -1)
        steps = np.rint(np.outer(self._speeds, age)).astype(np.int64)
        steps = steps if reverse else -steps
        rows = places[:, None, None] + steps
        first, end = self._stretches(places)
        rows = np.clip(rows, first[:, None, None], end[:, None, None] - 1)
        needed, position = np.unique(rows, return_inverse=True)
        frame_distances = np.sqrt(np.maximum(2 - 2 * self._cosines(needed, window), 0))
        lines = frame_distances[position.reshape(rows.shape), np.arange(length)].mean(axis=2)
        prior = self._prior * (self._log_speeds - np.log(expected_speed)) ** 2
        costs = lines + (prior * frame_distances.std()).astype(np.float32)
        best = costs.argmin(axis=1)
        row = np.arange(len(places))
        return Diagonals(lines[row, best], costs[row, best], self._speeds[best])

    def _cosines(self, places: np.ndarray, window: np.ndarray) -> np.ndarray:
        """Return float32 ``[R, L]``, the products of frames of the map with those of a window.

        The frames are read where they lie, each once; gathering them for a matrix product costs
        more than the products.
        """
        window = np.ascontiguousarray(window, dtype=np.float32)
        length, dim = window.shape
        if dim != self._frames.shape[1]:
            raise InputError(
                f'the window has {dim} values a frame, the map has {self._frames.shape[1]}')
        rows = np.repeat(places, length)
        columns = np.tile(np.arange(length), len(places))
        products = np.empty((len(places), length), dtype=np.float32)
        with one_faiss_thread():
            faiss.pairwise_indexed_inner_product(  # type: ignore[attr-defined]
                dim, products.size, faiss.swig_ptr(window), faiss.swig_ptr(columns),
                faiss.swig_ptr(self._frames), faiss.swig_ptr(rows), faiss.swig_ptr(products))
        return products
