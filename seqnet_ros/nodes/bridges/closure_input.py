"""What nodes that hand loop closures to a SLAM system have in common."""

import time
from importlib.util import find_spec
from typing import Any

import numpy as np
from pydantic import Field
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from seqnet_ros.config.settings import Settings
from seqnet_ros.errors import InputError, SeqnetRosError
from seqnet_ros.msg import LoopClosure
from seqnet_ros.nodes.bridges.closure import Closure
from seqnet_ros.nodes.conversions import pose_from_message, stamp_to_ns
from seqnet_ros.nodes.diagnostics import Diagnostics, Level, Report
from seqnet_ros.nodes.parameters import declare_settings
from seqnet_ros.nodes.settings import AT_START

CLOSURE_TOPIC = 'loop_closure'
REJECTED_TOPIC = 'rejected_loop_closure'
CLOSURE_QOS = QoSProfile(depth=100)
_PERIOD_S = 0.1


class MissingPackageError(SeqnetRosError):
    """The messages of the system that a bridge leads to are not installed."""


class BridgeSettings(Settings):
    """What every bridge has."""

    diagnostics_period_s: float = Field(
        1.0, ge=0.1, le=60, json_schema_extra=AT_START,
        description='Time between two reports on /diagnostics, s of wall time.')


class BridgeNode(Node):
    """Takes ``loop_closure`` and looks, ten times a second of wall time, for what can be handed on.

    Args:
        name: of the node.
        package: whose messages it needs.
        settings: its parameters with their defaults; they are set at the start only.
        options: as of `rclpy.node.Node`.

    Raises:
        MissingPackageError: the package is not installed.
        InputError: values of parameters do not go together.
        rclpy.exceptions.ParameterException: a value of a parameter is refused.
    """

    def __init__(self, name: str, package: str, settings: BridgeSettings, **options: Any) -> None:
        if find_spec(package) is None:
            raise MissingPackageError(
                f'{name} needs the package {package}, which is not installed or not sourced')
        super().__init__(name, **options)
        self.settings: Any = declare_settings(self, settings)
        self.received = 0
        self.unusable = 0
        self._last_error = ''
        self.listen(CLOSURE_TOPIC, self.on_closure)
        self.create_timer(_PERIOD_S, self.look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._diagnostics = Diagnostics(self, self.settings.diagnostics_period_s, self.report)

    def listen(self, topic: str, use: Any) -> None:
        """Give the closures of a topic to a function; what cannot be used is told and left out."""
        def receive(message: LoopClosure) -> None:
            self.received += 1
            try:
                use(closure_from_message(message), message)
            except InputError as error:
                self.unusable += 1
                self._last_error = str(error)
                self.get_logger().warning(f'a loop closure is left out: {error}')

        self.create_subscription(LoopClosure, topic, receive, CLOSURE_QOS)

    # What the bridges fill in.

    def on_closure(self, closure: Closure, message: LoopClosure) -> None:
        """Take in a closure that is believed."""
        raise NotImplementedError

    def look(self) -> None:
        """Hand on what can be handed on."""
        raise NotImplementedError

    def report(self) -> Report:
        """Return the state of the node."""
        report = Report(Level.OK, 'running', {
            'loop closures received': self.received,
            'loop closures unusable': self.unusable,
            'last error': self._last_error})
        if self.unusable:
            report.level, report.message = Level.WARN, self._last_error
        return report


def now_s() -> float:
    """Return the time by which bridges wait, in seconds: simulated time may stand still."""
    return time.monotonic()


def closure_from_message(message: LoopClosure) -> Closure:
    """Return what a pose graph needs of a loop closure.

    Raises:
        InputError: its stamps are not in order, or its pose or covariance is not finite.
    """
    older, newer = stamp_to_ns(message.from_stamp), stamp_to_ns(message.to_stamp)
    if not 0 < older < newer:
        raise InputError(f'its stamps are {older} ns and {newer} ns, expected the older frame '
                         'before the newer one')
    if not (message.has_relative_pose and message.is_metric):
        return Closure(older, newer)
    covariance = np.array(message.relative_pose.covariance).reshape(6, 6)
    if not np.isfinite(covariance).all():
        raise InputError('its covariance is not finite')
    pose = pose_from_message(message.relative_pose.pose, 'relative pose')
    return Closure(older, newer, pose, covariance)
