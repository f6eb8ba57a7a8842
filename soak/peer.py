"""Everybody around the node: camera, odometry, listener and operator."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from seqnet_ros.msg import LoopClosure, PlaceMatch

from seqnet_ros.nodes.conversions import pose_to_message, stamp_from_ns
from soak.errors import SoakError
from soak.sent_images import SentImages

PATIENCE_S = 120.0
_SETTLED_S = 0.3
# Results come faster than on any robot; none may be lost on the way here.
_DEEP = QoSProfile(depth=5000)
_COUNTERS = {'received': 'images received', 'processed': 'images processed',
             'dropped': 'images dropped', 'ignored': 'images ignored while paused',
             'unusable': 'images unusable', 'failures': 'failures',
             'corrected': 'image stamps corrected'}


class Peer:
    """Sends images and odometry to a node, calls its services and keeps what it says.

    Args:
        name: of the node.
        alive: raises where the node has ended.
    """

    def __init__(self, name: str, alive: Callable[[], None]) -> None:
        self._name = name
        self._alive = alive
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('soak', context=self._context)
        self._images = self._node.create_publisher(Image, 'image', 10)
        self._odometry = self._node.create_publisher(Odometry, 'odometry', 50)
        self.sent = SentImages()
        self._last_sent_s = 0.0
        self.matches = self._listen(PlaceMatch, 'place_match')
        self.poses = self._listen(PoseWithCovarianceStamped, 'pose')
        self.closures = self._listen(LoopClosure, 'loop_closure')
        self.rejected = self._listen(LoopClosure, 'rejected_loop_closure')
        self._report: tuple[float, dict[str, str]] = (0.0, {})
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._on_report, 10)
        self._clients: dict[str, Any] = {}
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def settle_messages(self) -> None:
        """Wait until no more results come from a node that has nothing to do."""
        def arrived() -> int:
            return sum(map(len, (self.matches, self.poses, self.closures, self.rejected)))

        before = -1
        while before != (before := arrived()):
            time.sleep(_SETTLED_S)

    def forget_messages(self) -> None:
        """Drop the results so far, so that an endless run does not keep them all."""
        for messages in (self.matches, self.poses, self.closures, self.rejected):
            messages.clear()

    def _listen(self, kind: type, topic: str) -> list[tuple[float, Any]]:
        arrived: list[tuple[float, Any]] = []
        self._node.create_subscription(
            kind, f'{self._name}/{topic}',
            lambda message: arrived.append((time.monotonic(), message)), _DEEP)
        return arrived

    def _on_report(self, message: DiagnosticArray) -> None:
        self._report = time.monotonic(), {
            item.key: item.value for item in message.status[0].values}

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown()
        self._thread.join(PATIENCE_S)
        self._node.destroy_node()
        self._context.try_shutdown()

    # Sending.

    def show(self, message: Image, stamp_ns: int, position: np.ndarray | None = None) -> None:
        """Send an image with a stamp, 0 is none, taken at a position ``[x, y]``."""
        message.header.stamp = stamp_from_ns(stamp_ns)
        message.header.frame_id = self.sent.note(stamp_ns, position)
        self._images.publish(message)
        self._last_sent_s = time.monotonic()

    def move(self, pose: np.ndarray, stamp_ns: int) -> None:
        """Send a pose ``[7]`` of odometry."""
        message = Odometry()
        message.header.stamp = stamp_from_ns(stamp_ns)
        message.pose.pose = pose_to_message(pose)
        self._odometry.publish(message)

    # Waiting.

    def wait_for(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until something happens.

        Raises:
            SoakError: it does not.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            self._alive()
            if time.monotonic() > deadline:
                raise SoakError(f'{what} did not happen within {PATIENCE_S:g} s; the node '
                                f'reports {self._report[1]}')
            time.sleep(0.005)

    def wait_until_active(self) -> None:
        """Wait until the node listens, and its results would arrive."""
        asked_s = time.monotonic()
        self.wait_for(lambda: self._report[0] > asked_s + 0.2 and (
            self._report[1].get('state') == 'active'), 'activation')
        self.wait_for(lambda: self._images.get_subscription_count()
                      and self._odometry.get_subscription_count()
                      and self._node.count_publishers(f'{self._name}/place_match'), 'discovery')
        time.sleep(0.2)  # until the node knows of the listener in turn

    @property
    def counts(self) -> dict[str, int]:
        """The node's counters since its activation, as it last reported them."""
        values = self._report[1]
        return {name: int(values.get(key, 0)) for name, key in _COUNTERS.items()}

    @property
    def places(self) -> int:
        """Number of places of the map or the drive, as the node last reported it."""
        return int(self._report[1].get('map places', 0))

    def settle(self) -> dict[str, int]:
        """Wait until the node has nothing to do; return its counters."""
        before, since_s = self.counts, time.monotonic()

        def idle() -> bool:
            nonlocal before, since_s
            reported_s = self._report[0]
            if self.counts != before or reported_s < self._last_sent_s:
                before, since_s = self.counts, time.monotonic()
            return reported_s > since_s + _SETTLED_S

        self.wait_for(idle, 'rest')
        return before

    # Asking.

    def ask(self, kind: type, service: str, **fields: Any) -> Any:
        """Call a service of the node; return the future of its answer."""
        if service not in self._clients:
            self._clients[service] = self._node.create_client(kind, f'{self._name}/{service}')
        client = self._clients[service]
        if not client.wait_for_service(PATIENCE_S):
            raise SoakError(f'there is no service {service}')
        return client.call_async(kind.Request(**fields))  # type: ignore[attr-defined]

    def answer(self, future: Any, what: str) -> Any:
        """Wait for the answer of a service."""
        self.wait_for(future.done, f'an answer of {what}')
        return future.result()

    def call(self, kind: type, service: str, **fields: Any) -> Any:
        """Call a service of the node and wait for its answer."""
        return self.answer(self.ask(kind, service, **fields), service)

    def change_state(self, transition: str) -> bool:
        """Ask for a transition of the lifecycle; return whether it was made."""
        number = getattr(Transition, f'TRANSITION_{transition.upper()}')
        return bool(self.call(
            ChangeState, 'change_state', transition=Transition(id=number)).success)

    def set_parameter(self, name: str, value: Any) -> str:
        """Set a parameter; return the reason of a refusal."""
        result, = self.call(SetParameters, 'set_parameters', parameters=[
            Parameter(name, value=value).to_parameter_msg()]).results
        return '' if result.successful else result.reason or 'refused without a reason'
