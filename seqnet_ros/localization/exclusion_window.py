"""Exclusion of recent places by time, number of keyframes and distance traveled."""

from collections import deque
from typing import NamedTuple

import numpy as np

from seqnet_ros.config.engine import LoopConfig
from seqnet_ros.sequences.keyframes import NANOSECONDS


class _Age(NamedTuple):
    elapsed_ns: int
    travelled_m: float


class ExclusionWindow:
    """Tells which places of a drive are old enough to close a loop.

    Age only grows, and older places were seen before younger ones: what is old enough stays so, and
    it is always the first places of the drive. Time and way are added up from place to place, but
    not across breaks, so that stamps that go back and poses that jump make nothing older.
    """

    def __init__(self, config: LoopConfig) -> None:
        """Start without places."""
        self._config = config
        self._now = _Age(0, 0.0)
        self._travelled: list[float] = []
        self._young: deque[_Age] = deque()
        self._last: tuple[int, np.ndarray] | None = None

    def add(self, stamp_ns: int, position: np.ndarray | None, broken: bool) -> int:
        """Note the newest place; return how many places are old enough for it.

        Args:
            stamp_ns: when it was seen.
            position: where odometry says it is, ``[3]``, meters; None without odometry.
            broken: it starts a new stretch.
        """
        here = np.zeros(3) if position is None else position
        if self._last is not None and not broken:
            elapsed = max(stamp_ns - self._last[0], 0)
            way = float(np.linalg.norm(here - self._last[1]))
            self._now = _Age(self._now.elapsed_ns + elapsed, self._now.travelled_m + way)
        self._last = stamp_ns, here
        self._young.append(self._now)
        self._travelled.append(self._now.travelled_m)
        while self._young and self._is_old(self._young[0], len(self._young) - 1,
                                           position is not None):
            self._young.popleft()
        return len(self._travelled) - len(self._young)

    def _is_old(self, age: _Age, frames: int, located: bool) -> bool:
        config, now = self._config, self._now
        return (frames >= config.exclude_frames
                and now.elapsed_ns - age.elapsed_ns >= config.exclude_s * NANOSECONDS
                and (not located or now.travelled_m - age.travelled_m >= config.exclude_m))

    def way_back_m(self, place: int) -> float:
        """Return how far the robot has traveled since it saw a place, meters."""
        return self._now.travelled_m - self._travelled[place]
