"""Logging to ROS: lines of the core are forwarded, control characters are escaped."""

import logging
from typing import Any

from rclpy.impl import rcutils_logger
from rclpy.impl.rcutils_logger import RcutilsLogger

from seqnet_ros.core.printable import printable
from seqnet_ros.nodes.error_log import IntervalLog

# rclpy tells log calls apart by the first file on the stack that is not listed here.
rcutils_logger._internal_callers.append(__file__)


class PrintableLogger(RcutilsLogger):
    """Escapes control characters, which names, frames and messages may hold."""

    def log(self, message: str, severity: Any, *rest: Any, **keywords: Any) -> bool:
        """Log a message; what else it takes differs between distributions."""
        return bool(super().log(printable(str(message), lines=True), severity, *rest, **keywords))


class PrintableLogs:
    """Mixed into a node, before its class: its logger is a `PrintableLogger`."""

    _printable_logger: PrintableLogger | None = None

    def get_logger(self) -> Any:
        """Return the logger of the node."""
        inner = super().get_logger()  # type: ignore[misc]
        if self._printable_logger is None or self._printable_logger.name != inner.name:
            self._printable_logger = PrintableLogger(inner.name)
        return self._printable_logger


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
