"""Running a node as a process."""

import signal
import sys
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from seqnet_ros.nodes.logs import forward_logs
from seqnet_ros.nodes.place_node import PlaceNode

REFUSED = 2
_LOOK_EVERY_S = 0.2


def run(make_node: Callable[[], PlaceNode]) -> None:
    """Make a node, start it where ``autostart`` says so, and spin until interrupted.

    A node that cannot be configured stays, unconfigured, for a corrected parameter and another
    try. Exits with status 2 when a parameter given at the start is refused.
    """
    # By itself rclpy ends its context at once, and Python raises in the middle of anything. Asked
    # this way a node finishes what it does, saves its map and still can say so.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    interrupted = _note_signals()
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
        while not interrupted and rclpy.ok():
            executor.spin_once(timeout_sec=_LOOK_EVERY_S)
    except ExternalShutdownException:
        pass
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def _note_signals() -> list[int]:
    """Return a list that receives the signals asking the process to end."""
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return received
