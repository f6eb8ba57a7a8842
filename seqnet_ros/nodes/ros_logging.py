"""The core's log lines in the ROS log."""

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger

from seqnet_ros.nodes.error_log import IntervalLog


class _ToRos(logging.Handler):
    """Passes lines on; of those from one line of code, one in each interval."""

    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger
        self._log = IntervalLog(logger)

    def emit(self, record: logging.LogRecord) -> None:
        text, cause = self.format(record), (record.pathname, record.lineno)
        if record.levelno >= logging.ERROR:
            self._log.error(cause, text)
        elif record.levelno >= logging.WARNING:
            self._log.warning(cause, text)
        elif record.levelno >= logging.INFO:
            self._log.info(cause, text)
        else:
            self._logger.debug(text)


def forward_logs(logger: RcutilsLogger) -> None:
    """Send what the package logs through Python's logging to a node's logger."""
    package = logging.getLogger('seqnet_ros')
    package.setLevel(logging.INFO)
    package.addHandler(_ToRos(logger))
    package.propagate = False
