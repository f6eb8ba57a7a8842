"""Odometry from its topic: where the robot was when an image was taken."""

from typing import Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from seqnet_ros.core.errors import InputError
from seqnet_ros.nodes.conversions import pose_from_odometry, stamp_to_ns
from seqnet_ros.nodes.inputs.odometry_input import PATIENCE_S, make_odometry_buffer

ODOMETRY_TOPIC = 'odometry'
DEFAULT_FRAME = 'odom'
"""Frame of odometry without a frame_id."""
_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=50,
                  reliability=ReliabilityPolicy.BEST_EFFORT)


class OdometrySubscriber:
    """Keeps recent odometry while it is subscribed to.

    Args:
        node: the subscribing node.

    Attributes:
        frame: the frame that the poses are in.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._buffer = make_odometry_buffer()
        self._subscription: Any = None
        self._refused = False
        self.frame = DEFAULT_FRAME

    def start(self, subscribe: bool) -> None:
        """Discard earlier poses, and subscribe if enabled."""
        self._buffer = make_odometry_buffer()
        if subscribe:
            self._subscription = self._node.create_subscription(
                Odometry, ODOMETRY_TOPIC, self._on_odometry, _QOS)

    def stop(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None

    @property
    def subscribed(self) -> bool:
        """Whether odometry is subscribed to."""
        return self._subscription is not None

    @property
    def topic(self) -> str:
        """The full name of the topic."""
        return self._node.resolve_topic_name(ODOMETRY_TOPIC)

    @property
    def announced(self) -> bool:
        """Whether anybody publishes on the topic that is subscribed to."""
        subscription = self._subscription
        return (subscription is not None
                and self._node.count_publishers(subscription.topic_name) > 0)

    def at(self, stamp_ns: int, patience_s: float = PATIENCE_S) -> np.ndarray | None:
        """Return the pose ``[7]`` at a time, see `PoseBuffer.at`."""
        return self._buffer.at(stamp_ns, patience_s)

    def describe(self) -> str:
        """Return the state of odometry, human-readable."""
        subscription = self._subscription
        if subscription is None:
            return 'off'
        topic, restarts = subscription.topic_name, self._buffer.restarts
        if not len(self._buffer):
            return f'none yet on {topic}'
        return f'on {topic}' + (f', restarted {restarts} times' if restarts else '')

    def _on_odometry(self, message: Odometry) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        try:
            if not stamp_ns:
                raise InputError('its stamp is zero, expected the time of the pose')
            pose = pose_from_odometry(message)
        except InputError as error:
            if not self._refused:
                self._node.get_logger().warning(f'ignored odometry: {error}')
            self._refused = True
            return
        self.frame = message.header.frame_id or DEFAULT_FRAME
        self._buffer.add(stamp_ns, pose)
