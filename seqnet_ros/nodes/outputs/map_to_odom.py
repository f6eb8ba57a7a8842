"""Optional transform from the map to odometry (REP-105)."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import pose_from_matrix, pose_matrix
from seqnet_ros.nodes.conversions import pose_to_message

_PERIOD_S = 0.05


def map_to_odom(map_from_base: np.ndarray, odom_from_base: np.ndarray) -> np.ndarray:
    """Return the pose ``[7]`` of the odometry frame in the map."""
    return pose_from_matrix(
        pose_matrix(map_from_base) @ np.linalg.inv(pose_matrix(odom_from_base)))


class MapToOdom:
    """Publishes map -> odom on ``/tf`` periodically, from the first correction on.

    Args:
        node: the publishing node.
        map_frame: the parent.
        tolerance_s: returns how far ahead the transform is stamped, seconds.

    Raises:
        InputError: tf2_msgs is not installed.
    """

    def __init__(self, node: Node, map_frame: str, tolerance_s: Callable[[], float]) -> None:
        if find_spec('tf2_msgs') is None:
            raise InputError('publish_tf needs the package tf2_msgs, which is not installed')
        from tf2_msgs.msg import TFMessage

        self._node = node
        self._message: Any = TFMessage
        self._map_frame = map_frame
        self._tolerance_s = tolerance_s
        self._transform: TransformStamped | None = None
        # Not a lifecycle publisher: it lives as long as the node is active.
        self._publisher = Node.create_publisher(node, TFMessage, '/tf', 100)
        self._timer = node.create_timer(
            _PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def correct(self, map_from_base: np.ndarray, odom_from_base: np.ndarray,
                odom_frame: str) -> None:
        """Set the pose ``[7]`` of the robot in the map, and by odometry at the same time."""
        pose = pose_to_message(map_to_odom(map_from_base, odom_from_base))
        transform = TransformStamped(child_frame_id=odom_frame)
        transform.header.frame_id = self._map_frame
        where, turn = pose.position, pose.orientation
        transform.transform.translation = Vector3(x=where.x, y=where.y, z=where.z)
        transform.transform.rotation = Quaternion(x=turn.x, y=turn.y, z=turn.z, w=turn.w)
        self._transform = transform

    def forget(self) -> None:
        """Publish nothing until the next correction, as when the map is another."""
        self._transform = None

    def _publish(self) -> None:
        transform = self._transform
        if transform is None:
            return
        ahead = Duration(seconds=self._tolerance_s())
        transform.header.stamp = (self._node.get_clock().now() + ahead).to_msg()
        self._publisher.publish(self._message(transforms=[transform]))
