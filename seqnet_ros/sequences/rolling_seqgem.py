"""SeqGeM of a window that moves on by one frame, without looking at the whole window."""

import math
from typing import Protocol

import numpy as np
from torch import Tensor

from seqnet_ros.core.normalize import normalize_rows


class PowerMean(Protocol):
    """The part of a `SeqGeM` that is used here."""

    @property
    def p(self) -> Tensor: ...  # noqa: D102

    @property
    def eps(self) -> float: ...  # noqa: D102

    @property
    def normalise(self) -> bool: ...  # noqa: D102


class RollingSeqGeM:
    """The SeqGeM descriptor of the newest frames of a drive.

    Nothing is ever subtracted, so errors do not pile up: the window is the end of one block of
    ``length`` frames and the beginning of the next, and the sums over all ends of a block are made
    in one pass when it is full (van Herk, Pattern Recognition Letters 1992, for running maxima).
    A frame costs two additions on average, whatever the length. Sums are kept as float64
    logarithms, which hold any power of any value.

    Args:
        module: the aggregator.
        length: frames of the window.
        dim: length D of a frame descriptor.
    """

    def __init__(self, module: PowerMean, length: int, dim: int) -> None:
        self._p = float(module.p.detach())
        self._eps = module.eps
        self._normalise = module.normalise
        self._block = np.empty((length, dim))
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self._filled = 0
        self._beginning = np.full(self._block.shape[1], -np.inf)
        self._ends: np.ndarray | None = None

    def push(self, frame: np.ndarray) -> np.ndarray:
        """Add a frame, ``[D]``.

        Returns:
            float32 ``[D]``, the descriptor of the last ``length`` frames, or of all while there
            are fewer.
        """
        length = len(self._block)
        if self._filled == length:
            self._ends = np.logaddexp.accumulate(self._block[::-1])[::-1]
            self._beginning.fill(-np.inf)
            self._filled = 0
        powers = self._p * np.log(np.maximum(frame, self._eps, dtype=np.float64))
        self._block[self._filled] = powers
        self._filled += 1
        np.logaddexp(self._beginning, powers, out=self._beginning)
        total, count = self._beginning, self._filled
        if self._ends is not None:
            count = length
            if self._filled < length:
                total = np.logaddexp(total, self._ends[self._filled])
        pooled = np.exp((total - math.log(count)) / self._p).astype(np.float32)
        return normalize_rows(pooled) if self._normalise else pooled
