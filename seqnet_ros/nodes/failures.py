"""Errors of the image pipeline: each kind is logged once, all are counted."""

import traceback

from rclpy.impl.rcutils_logger import RcutilsLogger

from seqnet_ros.errors import SeqnetRosError
from seqnet_ros.nodes.statistics import Statistics


class FailureLog:
    """Counts errors and logs the first of each kind, so that a bad camera does not fill a disk.

    A kind is an error class and the line that raised it: the text may hold numbers that change
    with every image.
    """

    def __init__(self, logger: RcutilsLogger, statistics: Statistics) -> None:
        self._logger = logger
        self._statistics = statistics
        self._seen: set[tuple[type, str, int]] = set()

    def note(self, error: Exception) -> None:
        """Count an error; log it when it is the first of its kind."""
        expected = isinstance(error, SeqnetRosError)
        if expected:
            self._statistics.unusable += 1
        else:
            self._statistics.failures += 1
        self._statistics.last_error = str(error) or type(error).__name__
        frame = traceback.extract_tb(error.__traceback__)[-1]
        kind = (type(error), frame.filename, frame.lineno or 0)
        if kind in self._seen:
            return
        self._seen.add(kind)
        if expected:
            self._logger.error(f'an image was left out: {error}; more of this kind are counted '
                               'in /diagnostics only')
        else:
            details = ''.join(traceback.format_exception(error)).rstrip()
            self._logger.error(f'an image failed; more of this kind are counted in /diagnostics '
                               f'only:\n{details}')
