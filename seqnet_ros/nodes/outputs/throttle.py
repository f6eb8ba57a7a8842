"""Rate limit for reports, in image time."""

STATIONARY_EVERY_NS = 1_000_000_000
"""Interval at which a stationary robot is reported, in image time."""


class Throttle:
    """Allows an event once per interval of image time, and when time goes back.

    Args:
        every_ns: the interval, nanoseconds.
    """

    def __init__(self, every_ns: int) -> None:
        self._every_ns = every_ns
        self._last_ns: int | None = None

    def due(self, stamp_ns: int) -> bool:
        """Return whether an event is due; if so, the interval restarts."""
        if self._last_ns is not None and 0 <= stamp_ns - self._last_ns < self._every_ns:
            return False
        self._last_ns = stamp_ns
        return True

    def reset(self) -> None:
        """Allow the next event."""
        self._last_ns = None
