"""Sequence matching: compare a window with the map frame by frame, along diagonals.

SeqSLAM (Milford and Wyeth, ICRA 2012) searches straight lines through the matrix of frame
distances, one for each ratio of speeds; the second stage of HVPR (Garg and Milford, RA-L 2021,
section III-C) does so for the candidates of a first stage only.
"""

from dataclasses import dataclass

import numpy as np

from seqnet_ros.config import MatchingConfig

SPEED_COST = 0.5
"""What the ends of the searched range of speeds cost, in deviations of frame distances.

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
    speeds = np.exp(np.linspace(low, high, config.speed_steps))
    if config.speed_steps > 1 and low <= 0 <= high:
        speeds[np.argmin(np.abs(np.log(speeds)))] = 1.0
    return speeds


class SequenceMatcher:
    """Matches windows of query frames with places of one map.

    Args:
        frames: float32 ``[N, D]``, L2-normalised map descriptors (may be memory-mapped).
        segment_starts: int ``[N]``, first place of each place's unbroken stretch.
        segment_ends: int ``[N]``, one past its last place.
        speeds: speeds to search, query relative to map.
    """

    def __init__(self, frames: np.ndarray, segment_starts: np.ndarray,
                 segment_ends: np.ndarray, speeds: np.ndarray) -> None:
        self._frames = frames
        self._starts = segment_starts
        self._ends = segment_ends
        self._speeds = speeds
        self._log_speeds = np.log(speeds)
        self._prior = SPEED_COST / max(float((self._log_speeds ** 2).max()), 1e-9)

    def match(self, window: np.ndarray, places: np.ndarray, reverse: bool = False,
              expected_speed: float = 1.0) -> Diagonals:
        """Compare a window with places.

        Args:
            window: float32 ``[L, D]``, L2-normalised, oldest first.
            places: int ``[K]``, where the newest frame of the window may be.
            reverse: the query drives against the direction of the map.
            expected_speed: ratio of speeds that costs nothing.
        """
        length = len(window)
        age = np.arange(length - 1, -1, -1)
        steps = np.rint(np.outer(self._speeds, age)).astype(np.int64)
        steps = steps if reverse else -steps
        rows = places[:, None, None] + steps
        rows = np.clip(rows, self._starts[places][:, None, None],
                       self._ends[places][:, None, None] - 1)
        needed, position = np.unique(rows, return_inverse=True)
        cosines = np.asarray(self._frames[needed]) @ window.T
        frame_distances = np.sqrt(np.maximum(2 - 2 * cosines, 0))
        lines = frame_distances[position.reshape(rows.shape), np.arange(length)].mean(axis=2)
        prior = self._prior * (self._log_speeds - np.log(expected_speed)) ** 2
        costs = lines + (prior * frame_distances.std()).astype(np.float32)
        best = costs.argmin(axis=1)
        row = np.arange(len(places))
        return Diagonals(lines[row, best], costs[row, best], self._speeds[best])
