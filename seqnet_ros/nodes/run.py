"""Running a node as a process."""

import sys
from collections.abc import Callable

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from seqnet_ros.nodes.logs import forward_logs
from seqnet_ros.nodes.place_node import PlaceNode

REFUSED = 2


def run(make_node: Callable[[], PlaceNode]) -> None:
    """Make a node, start it where ``autostart`` says so, and spin until interrupted.

    A node that cannot be configured stays, unconfigured, for a corrected parameter and another
    try. Exits with status 2 when a parameter given at the start is refused.
    """
    rclpy.init()
    try:
        node = make_node()
    except ParameterException as error:
        rclpy.logging.get_logger('seqnet_ros').fatal(str(error))
        rclpy.try_shutdown()
        sys.exit(REFUSED)
    forward_logs(node.get_logger())
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        if node.get_parameter('autostart').value and not node.start():
            node.get_logger().fatal('autostart failed: correct what is wrong and configure again')
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
