"""Detects, explains and reports the silence of a topic, and its end."""

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

_PERIOD_S = 0.2


class SilenceWatch:
    """Warns when messages stop arriving, at increasing intervals, and reports when they resume.

    Runs on steady time: simulated time stops when it is not published.

    Args:
        node: the logging node.
        silence_after_s: returns how long a silence is normal, seconds.
        last_arrival_s: returns when the last message came, on the monotonic clock; None before the
            first.
        explain: returns a message about a silence of this many seconds and its possible cause.
        resumed: the line to log when messages resume.
    """

    def __init__(self, node: Node, silence_after_s: Callable[[], float],
                 last_arrival_s: Callable[[], float | None], explain: Callable[[float], str],
                 resumed: str) -> None:
        self._node = node
        self._silence_after_s = silence_after_s
        self._last_arrival_s = last_arrival_s
        self._explain = explain
        self._resumed = resumed
        self._since_s = time.monotonic()
        self._warned_s = 0.0
        self._timer = node.create_timer(
            _PERIOD_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop watching."""
        self._node.destroy_timer(self._timer)

    @property
    def silence_s(self) -> float:
        """Seconds since the last message, or since the start."""
        return time.monotonic() - (self._last_arrival_s() or self._since_s)

    @property
    def warning(self) -> str:
        """One sentence about a silence that lasts too long, empty otherwise."""
        silence_s = self.silence_s
        return self._explain(silence_s) if silence_s >= self._silence_after_s() else ''

    def _check(self) -> None:
        silence_s = self.silence_s
        if silence_s < self._silence_after_s():
            if self._warned_s:
                self._node.get_logger().info(self._resumed)
            self._warned_s = 0.0
        elif not self._warned_s or silence_s >= 2 * self._warned_s:
            self._warned_s = silence_s
            self._node.get_logger().warning(self._explain(silence_s))
