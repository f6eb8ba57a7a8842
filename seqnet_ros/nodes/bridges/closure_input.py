"""Loop closures from their topics, for the nodes that forward them to a SLAM system."""

from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile

from seqnet_ros.core.errors import InputError
from seqnet_ros.msg import LoopClosure
from seqnet_ros.nodes.bridges.loop_closure import Closure
from seqnet_ros.nodes.conversions import pose_from_message, stamp_to_ns
from seqnet_ros.nodes.diagnostics import Level, Report
from seqnet_ros.nodes.error_log import ErrorLog
from seqnet_ros.nodes.inputs.message_input import MessageInput

CLOSURE_TOPIC = 'loop_closure'
REJECTED_TOPIC = 'rejected_loop_closure'
CLOSURE_QOS = QoSProfile(depth=100)


class ClosureInput:
    """Subscribes to loop closures, and counts the unusable ones.

    Args:
        node: the subscribing node.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._inputs: list[MessageInput] = []
        self._errors = ErrorLog(node.get_logger(), 'a loop closure')

    def subscribe(self, topic: str, use: Callable[[Closure], None]) -> None:
        """Give the closures of a topic to a function."""
        self._inputs.append(MessageInput(
            self._node, LoopClosure, topic, CLOSURE_QOS, 'loop closure',
            lambda message: use(closure_from_message(message)), self._errors))

    @property
    def received(self) -> int:
        """Number of closures received."""
        return sum(item.received for item in self._inputs)

    def report(self, report: Report) -> None:
        """Begin a report with the numbers of closures."""
        errors = self._errors
        report.message = 'running'
        report.values.update({
            'loop closures received': self.received,
            'loop closures unusable': errors.unusable,
            'last error': errors.last_error})
        if errors.unusable:
            report.level, report.message = Level.WARN, errors.last_error


def closure_from_message(message: LoopClosure) -> Closure:
    """Return the part of a loop closure message that a pose graph needs.

    Raises:
        InputError: its stamps are not set or not in order, or its pose or covariance is not
            finite.
    """
    older, newer = stamp_to_ns(message.from_stamp), stamp_to_ns(message.to_stamp)
    if older <= 0:
        raise InputError(f'the stamp of its older frame is {older} ns, expected a time after zero')
    if newer <= older:
        raise InputError(f'its stamps are {older} ns and {newer} ns, expected the older frame '
                         'before the newer one')
    if not (message.has_relative_pose and message.is_metric):
        return Closure(older, newer)
    covariance = np.array(message.relative_pose.covariance).reshape(6, 6)
    if not np.isfinite(covariance).all():
        raise InputError('its covariance is not finite, expected finite numbers')
    pose = pose_from_message(message.relative_pose.pose, 'relative pose')
    return Closure(older, newer, pose, covariance)
