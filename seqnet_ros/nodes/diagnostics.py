"""Reports on /diagnostics, as plain messages: diagnostic_updater is not needed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node


class Level(Enum):
    """State of a node; the values are those of ``diagnostic_msgs/DiagnosticStatus``."""

    OK = DiagnosticStatus.OK
    WARN = DiagnosticStatus.WARN
    ERROR = DiagnosticStatus.ERROR


@dataclass
class Report:
    """State of a node: level, message, hardware and details.

    The hardware is that which the node depends on: the camera, where there is one. A name ends
    with the unit in parentheses where the value is a number with one.
    """

    level: Level = Level.OK
    message: str = ''
    hardware_id: str = ''
    values: dict[str, object] = field(default_factory=dict)


def status_name(node: str) -> str:
    """Return the name of the report of a node, by its full name."""
    return f'{node.lstrip("/")}: place recognition'


class DiagnosticsReporter:
    """Publishes a node's report periodically, on steady time, in every lifecycle state.

    Args:
        node: the reporting node.
        period_s: seconds between reports.
        parts: each adds its details to the report, in this order, and raises the level or
            replaces the message where something is wrong.
    """

    def __init__(self, node: Node, period_s: float, *parts: Callable[[Report], None]) -> None:
        self._node = node
        self._parts = parts
        # Not a lifecycle publisher: that a node is not active is worth a report.
        self._publisher = Node.create_publisher(node, DiagnosticArray, '/diagnostics', 10)
        self._timer = node.create_timer(
            period_s, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def report(self) -> Report:
        """Return the current report."""
        report = Report()
        for add in self._parts:
            add(report)
        return report

    def publish(self) -> None:
        """Publish the current report."""
        report = self.report()
        status = DiagnosticStatus(
            level=report.level.value, message=report.message,
            name=status_name(self._node.get_fully_qualified_name()),
            hardware_id=report.hardware_id,
            values=[KeyValue(key=key, value=str(value)) for key, value in report.values.items()])
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
