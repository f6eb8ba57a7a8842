"""Are memory, handles, threads and latency of a node flat?"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes

WARM_UP = 0.4
"""Share of a run before it counts: buffers, caches and the allocator fill up."""
FEWEST_IMAGES = 3000
"""A shorter run says nothing: the pages that the allocator takes and gives back outweigh it."""
BOUND_MIB = 8.0
"""Most that may be added in 10,000 images, MiB. One image of 57 KB in 70 that is never let go adds
as much; so do 840 bytes for every image, less than a result message has."""
GROWTH_MIB = 16.0
"""Most that may be added in the whole counted part of a run, MiB."""
SLOWER = 2.0
"""Most that the 99th percentile of the latency in the last quarter may be of that in the first."""
_BLOCKS = 40
_CONFIDENCE = 0.95
_MIB = 2**20


@dataclass(frozen=True)
class Sample:
    """The state of a node at one time.

    Attributes:
        seconds: since the node became active.
        images: processed so far.
        resident: memory, bytes.
        handles: open file descriptors.
        threads: of the process.
    """

    seconds: float
    images: int
    resident: int
    handles: int
    threads: int


@dataclass(frozen=True)
class Trend:
    """A slope with the limits of its 95 % confidence interval, and the span that it is of."""

    slope: float
    low: float
    high: float
    span: float

    def per(self, unit: float) -> 'Trend':
        """Return the slope over ``unit`` in place of 1."""
        return Trend(self.slope * unit, self.low * unit, self.high * unit, self.span / unit)

    def __str__(self) -> str:
        """Return the slope and its interval."""
        return f'{self.slope:+.2f} ({self.low:+.2f} to {self.high:+.2f})'


def trend(positions: np.ndarray, values: np.ndarray) -> Trend | None:
    """Return how fast values change.

    Samples that follow one another are alike, so that an interval of all of them would be too
    narrow: the slope is that of the medians of 40 successive blocks, and the median over all pairs
    of them (Theil and Sen). Single jumps of the allocator do not move it.

    Args:
        positions: where the values were taken ``[N]``, rising.
        values: the values ``[N]``.

    Returns:
        The slope, or None where there are fewer than three blocks.
    """
    blocks = [block for block in np.array_split(np.arange(len(positions)), _BLOCKS) if len(block)]
    x = np.array([np.median(positions[block]) for block in blocks])
    y = np.array([np.median(values[block]) for block in blocks])
    if len(np.unique(x)) < 3:
        return None
    slope, _, low, high = theilslopes(y, x, _CONFIDENCE)
    return Trend(float(slope), float(low), float(high), float(x[-1] - x[0]))


def memory_trend(samples: list[Sample]) -> Trend | None:
    """Return how fast memory grows after the warm-up, MiB in 10,000 images.

    Returns:
        The slope, or None where there are too few images for one.
    """
    if not samples or samples[-1].images < FEWEST_IMAGES:
        return None
    counted = [item for item in samples if item.images >= WARM_UP * samples[-1].images]
    found = trend(np.array([item.images for item in counted], dtype=np.float64),
                  np.array([item.resident for item in counted]) / _MIB)
    return None if found is None else found.per(10_000)


def hourly_trend(samples: list[Sample], field: str) -> Trend | None:
    """Return how fast a field of the samples grows after the warm-up, in an hour; None as above."""
    if not samples or samples[-1].images < FEWEST_IMAGES:
        return None
    counted = [item for item in samples if item.images >= WARM_UP * samples[-1].images]
    found = trend(np.array([item.seconds for item in counted]),
                  np.array([getattr(item, field) for item in counted], dtype=np.float64))
    return None if found is None else found.per(3600)


def grows(found: Trend, most: float) -> bool:
    """Return whether something grows beyond doubt, by more than a bound over the span."""
    return found.low > 0 and found.slope * found.span > most


def quarters(times_s: np.ndarray, latencies_s: np.ndarray, percent: float) -> list[float]:
    """Return a percentile of the latency in each quarter of a run, seconds.

    Args:
        times_s: when the results arrived ``[N]``, rising.
        latencies_s: from sending an image to its result ``[N]``.
        percent: which percentile.
    """
    limits = np.linspace(times_s[0], times_s[-1], 5)
    numbers = np.clip(np.searchsorted(limits, times_s, side='right') - 1, 0, 3)
    return [float(np.percentile(latencies_s[numbers == number], percent))
            for number in range(4) if (numbers == number).any()]
