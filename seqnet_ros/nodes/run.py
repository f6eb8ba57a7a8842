"""Running a node as a process."""

import gc
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from seqnet_ros.core.errors import SeqnetRosError
from seqnet_ros.nodes.executor import NodeExecutor
from seqnet_ros.nodes.managed_node import ManagedNode
from seqnet_ros.nodes.ros_logging import forward_logs

REFUSED = 2
_LOOK_EVERY_S = 0.2

AnyNode = TypeVar('AnyNode', bound=Node)


def run(make_node: Callable[[], ManagedNode]) -> None:
    """Make a node, start it where ``autostart`` says so, and spin until interrupted.

    A node that cannot be configured stays, unconfigured, for a corrected parameter and another try.
    Exits with status 2 when a parameter given at the start is rejected, or ROS refuses the node,
    such as without its enclave of SROS2.
    """
    def start(node: ManagedNode) -> None:
        forward_logs(node.get_logger())
        if node.get_parameter('autostart').value and not node.start():
            node.get_logger().fatal('autostart failed: fix the error and configure the node again')

    _run(make_node, start)


def run_plain(make_node: Callable[[], Node]) -> None:
    """Make a node without a lifecycle and spin until interrupted.

    Exits with status 2 where `run` does, or when the node cannot be made.
    """
    _run(make_node, lambda _: None)


def _run(make_node: Callable[[], AnyNode], start: Callable[[AnyNode], None]) -> None:
    # By default, rclpy ends its context at once, and Python raises at any point. This way, a node
    # finishes its current work, saves its map and can still report it.
    try:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # arguments, a file of parameters or an enclave of SROS2
        _refuse(f'ROS refuses what the node is started with: {error}')
    interrupted = note_signals()
    try:
        node = make_node()
    except (ParameterException, SeqnetRosError, NameValidationException) as error:
        rclpy.try_shutdown()
        _refuse(str(error))
    except RuntimeError as error:
        if type(error).__name__ != 'RCLError':  # of the C library, which rclpy does not export
            raise
        rclpy.try_shutdown()
        _refuse(str(error))
    executor = NodeExecutor()
    executor.add_node(node)
    try:
        start(node)
        while not interrupted and rclpy.ok():
            executor.spin_once(timeout_sec=_LOOK_EVERY_S)
    except ExternalShutdownException:
        pass
    finally:
        executor.shutdown()
        node.destroy_node()
        del node, executor  # whose iterator holds the node
        gc.collect()  # a lifecycle node leaves the graph when it is collected
        rclpy.try_shutdown()


def _refuse(reason: str) -> NoReturn:
    """End the process with the reason why there is no node."""
    rclpy.logging.get_logger('seqnet_ros').fatal(' '.join(reason.split()))
    sys.exit(REFUSED)


def note_signals() -> list[int]:
    """Return a list that receives the signals asking the process to end."""
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    return received
