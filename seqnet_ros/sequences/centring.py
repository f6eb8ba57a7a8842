"""Centering: what all images of a drive have in common does not depend on the place.

Subtracting each traverse's own mean descriptor before the L2 normalization removes light,
season and camera. A map knows its whole traverse; a robot knows only its past.
"""

import numpy as np

from seqnet_ros.core.normalize import normalize_rows


def centre(frames: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """Return ``frames - mean``, L2-normalized (``[..., D]``); only normalized without a mean."""
    return normalize_rows(frames if mean is None else frames - mean)


class RunningMean:
    """Mean descriptor of the frames seen so far, starting from a prior (the map's mean)."""

    def __init__(self, prior: np.ndarray, prior_frames: float = 20.0) -> None:
        """Start from ``prior`` ``[D]``, which weighs as much as ``prior_frames`` frames."""
        self._sum = prior.astype(np.float64) * prior_frames
        self._count = prior_frames

    def add(self, frame: np.ndarray) -> None:
        """Add a frame descriptor ``[D]``."""
        self._sum += frame
        self._count += 1

    @property
    def value(self) -> np.ndarray:
        """The mean, float32 ``[D]``."""
        return (self._sum / self._count).astype(np.float32)
