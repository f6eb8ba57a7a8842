"""Measuring times, and the limits of the machine."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Spread of a number of measurements, in seconds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> 'Timing':
        """Summarize measurements: median, 10th and 90th percentile."""
        low, median, high = np.percentile(list(seconds), (10, 50, 90))
        return cls(float(median), float(low), float(high))

    def __str__(self) -> str:
        """Return ``median (low .. high) ms``."""
        digits = 3 if self.median < 0.001 else 2 if self.median < 0.01 else 1
        median, low, high = (f'{value * 1e3:.{digits}f}'
                             for value in (self.median, self.low, self.high))
        return f'{median} ({low} .. {high})'


def time_calls(call: Callable[[Any], Any], arguments: Iterable[Any]) -> Timing:
    """Time ``call`` once for each argument; the first one warms up and does not count."""
    seconds = []
    for argument in arguments:
        started = time.perf_counter()
        call(argument)
        seconds.append(time.perf_counter() - started)
    return Timing.of(seconds[1:] or seconds)


def alternate(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time calls by turns, so that a busy machine slows all alike; return seconds by name."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    return seconds


def measure_bandwidth(size: int) -> float:
    """Return the bytes per second at which one core reads this many bytes in order, at best.

    The cache reads faster than the memory, so the rate depends on the size.
    """
    data = np.ones(max(size, 1 << 20) // 4, dtype=np.float32)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        data.max()
        seconds.append(time.perf_counter() - started)
    return data.nbytes / min(seconds)
