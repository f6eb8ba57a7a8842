"""Record of images and requests sent to a node."""

import time
from bisect import bisect_right, insort

from seqnet_ros.core.poses import NANOSECONDS, RESTART_S

UNSTAMPED_LAG_S = 60.0


class SentImages:
    """The stamps of all images sent, with the time of the last sending of each."""

    def __init__(self) -> None:
        self._times_s: dict[int, list[float]] = {}
        self._stamps_ns: list[int] = []
        self._unstamped_ns: int | None = None

    def note(self, stamp_ns: int) -> None:
        """Note an image that is sent now; 0 is one without a stamp."""
        if stamp_ns:
            if stamp_ns not in self._times_s:
                insort(self._stamps_ns, stamp_ns)
            self._times_s.setdefault(stamp_ns, []).append(time.monotonic())
        elif self._unstamped_ns is None:
            self._unstamped_ns = time.time_ns()

    def sent_s(self, stamp_ns: int, arrived_s: float) -> float | None:
        """Return when an image was sent whose result arrived at a time; None where it was not.

        An image without stamp gets that of its arrival, so that it may have been sent long before.
        One whose stamp goes back a little may get a corrected stamp, near others that were sent.
        """
        times = self._times_s.get(stamp_ns, self._times_near(stamp_ns))
        if times is not None:
            before = bisect_right(times, arrived_s)
            return times[before - 1] if before else None
        if self._unstamped_ns is not None and self._unstamped_ns <= stamp_ns <= time.time_ns():
            return arrived_s - UNSTAMPED_LAG_S
        return None

    def _times_near(self, stamp_ns: int) -> list[float] | None:
        """Return the times of the nearest stamp before; None where it is too far back."""
        before = bisect_right(self._stamps_ns, stamp_ns)
        if not before or stamp_ns - self._stamps_ns[before - 1] >= RESTART_S * NANOSECONDS:
            return None
        return self._times_s[self._stamps_ns[before - 1]]

    def __contains__(self, stamp_ns: int) -> bool:
        """Return whether an image of that stamp was sent."""
        return self.sent_s(stamp_ns, float('inf')) is not None


class SearchedMaps:
    """Maps that may have been searched at a time."""

    def __init__(self, maps: set[str]) -> None:
        self._changes: list[tuple[float, frozenset[str]]] = [(float('-inf'), frozenset(maps))]

    @property
    def now(self) -> frozenset[str]:
        """The maps that may be searched now."""
        return self._changes[-1][1]

    def may_become(self, maps: set[str] | frozenset[str]) -> None:
        """Note that the node is asked to search these maps: it searches these or those before."""
        self._changes.append((time.monotonic(), self.now | maps))

    def became(self, maps: set[str] | frozenset[str]) -> None:
        """Note that the node has said that it searches these maps."""
        self._changes.append((time.monotonic(), frozenset(maps)))

    def between(self, start_s: float, end_s: float) -> frozenset[str]:
        """Return the maps that may have been searched at some time of a span."""
        times = [time_s for time_s, _ in self._changes]
        first = bisect_right(times, start_s) - 1
        last = bisect_right(times, end_s)
        return frozenset().union(*(maps for _, maps in self._changes[first:last]))
