"""What all bridges to other systems share."""

import time
from collections.abc import Callable
from importlib.util import find_spec

from pydantic import Field
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from seqnet_ros.config.settings import Settings
from seqnet_ros.core.errors import SeqnetRosError
from seqnet_ros.nodes.settings import AT_START

_PERIOD_S = 0.1


class MissingPackageError(SeqnetRosError):
    """The messages of the system that a bridge forwards to are not installed."""


class BridgeSettings(Settings):
    """Parameters of every bridge."""

    diagnostics_period_s: float = Field(
        1.0, ge=0.1, le=60, json_schema_extra=AT_START,
        description='Period of the reports on /diagnostics, s of wall time.')


def require_package(node: str, package: str) -> None:
    """Check that the package whose messages a node needs is installed.

    Raises:
        MissingPackageError: it is not.
    """
    if find_spec(package) is None:
        raise MissingPackageError(
            f'{node} needs the package {package}, which is not installed or not sourced')


def call_often(node: Node, look: Callable[[], None]) -> None:
    """Call a function ten times a second of wall time."""
    node.create_timer(_PERIOD_S, look, clock=Clock(clock_type=ClockType.STEADY_TIME))


def now_s() -> float:
    """Return the time by which bridges wait, in seconds: simulated time may stand still."""
    return time.monotonic()
