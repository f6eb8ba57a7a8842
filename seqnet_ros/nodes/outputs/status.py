"""Whether the robot is localized, as a topic."""

from collections.abc import Callable
from dataclasses import replace

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from seqnet_ros.localization.status import State, Status
from seqnet_ros.msg import LocalizationStatus
from seqnet_ros.nodes.conversions import stamp_from_ns

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_PERIOD_S = 0.5


class StatusPublisher:
    """Publishes ``~/status``, latched, when the state changes and every half second.

    Args:
        node: the publishing node; nothing is sent while it is not active.
        status: returns the status by the images so far; None while no map is loaded.
        silent: returns whether no images arrive.
    """

    def __init__(self, node: LifecycleNode, status: Callable[[], Status | None],
                 silent: Callable[[], bool]) -> None:
        self._status = status
        self._silent = silent
        self._frame_id = ''
        self._state: State | None = None
        self._publisher = node.create_lifecycle_publisher(LocalizationStatus, '~/status', _LATCHED)
        # Steady time: simulated time stops when it is not published.
        self._timer = node.create_timer(
            _PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def start(self, frame_id: str) -> None:
        """Begin; the status is of a robot in this frame."""
        self._frame_id = frame_id
        self._state = None

    def stop(self) -> None:
        """Publish that there is no input, while that can still be sent."""
        self._send(replace(self._status() or Status(), state=State.NO_INPUT))

    def update(self) -> None:
        """Publish the status if the state has changed and the node is active."""
        if not self._publisher.is_activated:
            return
        status = self._current()
        if status.state is not self._state:
            self._send(status)

    def _current(self) -> Status:
        status = self._status()
        if status is None:
            return Status(State.NO_MAP)
        return replace(status, state=State.NO_INPUT) if self._silent() else status

    def _publish(self) -> None:
        if self._publisher.is_activated:
            self._send(self._current())

    def _send(self, status: Status) -> None:
        self._state = status.state
        self._publisher.publish(LocalizationStatus(
            header=Header(stamp=stamp_from_ns(status.stamp_ns), frame_id=self._frame_id),
            state=int(status.state), map_id=status.map_id, off_map=float(status.off_map),
            probability=float(status.probability),
            seconds_since_match=float(status.seconds_since_match),
            distance_since_match=float(status.distance_since_match)))
