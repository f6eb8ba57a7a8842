"""Calibration of scores: of the matches with a score of 0.9, are nine in ten correct?

Reliability in bins and the expected calibration error (Guo et al., "On calibration of modern neural
networks", ICML 2017, section 2).
"""

from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """Scores against how often they were correct, in bins of equal width; all arrays ``[B]``.

    Attributes:
        counts: matches in each bin.
        scores: their mean score; NaN where a bin is empty.
        right: the share of them that is correct; NaN where a bin is empty.
    """

    counts: np.ndarray
    scores: np.ndarray
    right: np.ndarray

    @property
    def expected_error(self) -> float:
        """Mean difference between score and share, each bin counting as often as it has matches."""
        filled = self.counts > 0
        gaps = np.abs(self.scores - self.right)[filled]
        return float(np.average(gaps, weights=self.counts[filled])) if filled.any() else np.nan


def reliability(scores: np.ndarray, right: np.ndarray, bins: int = BINS) -> Reliability:
    """Sort matches into bins of their score.

    Args:
        scores: float ``[Q]``, 0 to 1; the upper edge of a bin belongs to the next one.
        right: bool ``[Q]``.
        bins: number of bins.
    """
    scores, right = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=bool)
    numbers = np.minimum((scores * bins).astype(np.int64), bins - 1)
    counts = np.bincount(numbers, minlength=bins)
    with np.errstate(invalid='ignore'):
        return Reliability(counts, np.bincount(numbers, scores, bins) / counts,
                           np.bincount(numbers, right, bins) / counts)
