"""Record of images and requests sent to a node."""

import time
from array import array
from bisect import bisect_right

import numpy as np

from seqnet_ros.core.poses import NANOSECONDS, RESTART_S

_PREFIX = 'camera/'
_RECENT = 1000
"""Images sent before another that may be among the newest stamps that the node knows: of those the
node compares the last 20 that arrived, and of images sent in a burst few arrive."""
_CORRECTED_NS = round(2 * RESTART_S * NANOSECONDS)
"""A stamp is corrected by less: it goes back by less than `RESTART_S`, and so much is the longest
period by which the corrected one is after the newest."""


class SentImages:
    """All images sent, by number.

    The frame of an image names its number. Nodes copy the frame into results, so that every result
    says which image it is of, whatever the stamps do.
    """

    def __init__(self) -> None:
        self._stamps_ns = array('q')
        self._times_s = array('d')
        self._positions = array('d')
        self._unstamped_ns: dict[int, int] = {}
        self._known_ns: set[int] = set()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._stamps_ns)

    def note(self, stamp_ns: int, position: np.ndarray | None = None) -> str:
        """Note an image that is sent now; return its frame.

        Args:
            stamp_ns: its stamp; 0 is none.
            position: where it was taken ``[x, y]``, if that is known.
        """
        number = len(self)
        self._stamps_ns.append(stamp_ns)
        self._times_s.append(time.monotonic())
        self._positions.extend((np.nan, np.nan) if position is None else map(float, position))
        if stamp_ns:
            self._known_ns.add(stamp_ns)
        else:
            self._unstamped_ns[number] = time.time_ns()
        return f'{_PREFIX}{number}'

    def find(self, frame_id: str, arrived_s: float) -> int | None:
        """Return the number of the image that a result is of; None where none was sent by then."""
        text = frame_id.removeprefix(_PREFIX)
        number = int(text) if text.isdecimal() and frame_id.startswith(_PREFIX) else len(self)
        if number >= len(self) or self._times_s[number] > arrived_s:
            return None
        return number

    def sent_s(self, number: int) -> float:
        """Return when an image was sent, seconds on the monotonic clock."""
        return self._times_s[number]

    def position(self, number: int) -> np.ndarray:
        """Return where an image was taken ``[x, y]``, NaN where that is not known."""
        return np.array(self._positions[2 * number: 2 * number + 2])

    def may_have(self, number: int, stamp_ns: int) -> bool:
        """Return whether a result of an image may have a stamp.

        It is the image's own stamp. An image without one gets the time of its arrival. One that
        arrived soon after stamps went back may get a corrected one, which is later.
        """
        own_ns = self._stamps_ns[number]
        if not own_ns:
            return self._unstamped_ns[number] <= stamp_ns <= time.time_ns()
        if stamp_ns == own_ns:
            return True
        recent = np.array(self._stamps_ns[max(0, number - _RECENT): number + 1], dtype=np.int64)
        went_back = bool((np.diff(recent) < 0).any())
        return went_back and own_ns < stamp_ns < own_ns + _CORRECTED_NS

    def remember(self, stamp_ns: int) -> None:
        """Note the stamp of a result, which a later result may name."""
        self._known_ns.add(stamp_ns)

    def __contains__(self, stamp_ns: int) -> bool:
        """Return whether a stamp is that of an image sent or of an earlier result."""
        return stamp_ns in self._known_ns


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
