"""The core's log lines in the ROS log."""

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger


class _ToRos(logging.Handler):
    def __init__(self, logger: RcutilsLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        # One line for each severity: rclpy forbids a line of code to change its severity.
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


def forward_logs(logger: RcutilsLogger) -> None:
    """Send what the package logs through Python's logging to a node's logger."""
    package = logging.getLogger('seqnet_ros')
    package.setLevel(logging.INFO)
    package.addHandler(_ToRos(logger))
    package.propagate = False
