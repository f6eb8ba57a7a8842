"""Logging of recurring errors: errors are counted, repeated lines are left out."""

import time
import traceback
from collections.abc import Callable, Hashable

from rclpy.impl.rcutils_logger import RcutilsLogger

from seqnet_ros.core.errors import SeqnetRosError

INTERVAL_S = 10.0
"""Minimum time between two lines about one cause."""


class IntervalLog:
    """Logs a line about each cause at most once in an interval, and counts those left out.

    Args:
        logger: of the node.
        now_s: returns the time, seconds.
    """

    def __init__(self, logger: RcutilsLogger, now_s: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._now_s = now_s
        self._left_out: dict[Hashable, int] = {}
        self._logged_s: dict[Hashable, float] = {}

    # One line of code for each severity: rclpy forbids a line to change its severity.

    def info(self, cause: Hashable, text: str) -> None:
        """Log a line about a cause."""
        if (line := self._line(cause, text)) is not None:
            self._logger.info(line)

    def warning(self, cause: Hashable, text: str) -> None:
        """Log a warning about a cause."""
        if (line := self._line(cause, text)) is not None:
            self._logger.warning(line)

    def error(self, cause: Hashable, text: str) -> None:
        """Log an error about a cause."""
        if (line := self._line(cause, text)) is not None:
            self._logger.error(line)

    def _line(self, cause: Hashable, text: str) -> str | None:
        """Return the line to log; None where it is left out."""
        now_s = self._now_s()
        if cause in self._logged_s and now_s - self._logged_s[cause] < INTERVAL_S:
            self._left_out[cause] = self._left_out.get(cause, 0) + 1
            return None
        self._logged_s[cause] = now_s
        count = self._left_out.pop(cause, 0)
        lines = 'line' if count == 1 else 'lines'
        return f'{text} ({count} similar {lines} left out)' if count else text


class ErrorLog:
    """Counts errors and logs the first of each kind, so that a bad camera does not fill a disk.

    A kind is an error class and the line that raised it: the text may hold numbers that change
    with every message.

    Args:
        logger: of the node.
        what: what cannot be used, with its article, as in 'an image'.
        every_kind: log the first of each kind; otherwise the first of all.

    Attributes:
        unusable: errors caused by the input.
        failures: errors that should not happen.
        last_error: the newest error, one sentence.
    """

    def __init__(self, logger: RcutilsLogger, what: str, every_kind: bool = True) -> None:
        self._logger = logger
        self._what = what
        self._every_kind = every_kind
        self.reset()

    def reset(self) -> None:
        """Count from zero, and log the first of each kind again."""
        self._seen: set[tuple[type, str, int]] = set()
        self.unusable = 0
        self.failures = 0
        self.last_error = ''

    def add(self, error: Exception) -> None:
        """Count an error; log it when it is the first of its kind."""
        expected = isinstance(error, SeqnetRosError)
        if expected:
            self.unusable += 1
        else:
            self.failures += 1
        self.last_error = describe_error(error)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        kind = (type(error), frame.filename, frame.lineno or 0)
        if expected and not self._every_kind:
            kind = (SeqnetRosError, '', 0)
        if kind in self._seen:
            return
        self._seen.add(kind)
        if expected:
            self._logger.error(f'ignored {self._what}: {error}; further ones of this kind are only '
                               'counted in /diagnostics')
        else:
            details = ''.join(traceback.format_exception(error)).rstrip()
            self._logger.error(f'{self._what} failed; further failures of this kind are only '
                               f'counted in /diagnostics:\n{details}')


def describe_error(error: BaseException) -> str:
    """Return the text of an error, or its class where it has none."""
    return str(error) or type(error).__name__
