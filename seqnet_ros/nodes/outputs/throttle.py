"""Something that is worth saying once in a while."""

STATIONARY_EVERY_NS = 1_000_000_000
"""Interval at which a stationary robot is reported, in image time."""


class Throttle:
    """Lets a thing pass once in a while of image time, and when time goes back.

    Args:
        every_ns: the while, nanoseconds.
    """

    def __init__(self, every_ns: int) -> None:
        self._every_ns = every_ns
        self._last_ns: int | None = None

    def due(self, stamp_ns: int) -> bool:
        """Return whether it is time again; the time counts from there, if so."""
        if self._last_ns is not None and 0 <= stamp_ns - self._last_ns < self._every_ns:
            return False
        self._last_ns = stamp_ns
        return True

    def reset(self) -> None:
        """Let the next one pass."""
        self._last_ns = None
