"""The executor of the nodes."""

from rclpy.executors import SingleThreadedExecutor

from seqnet_ros.core.errors import shortened

_UNSENT = 'failed to send response', 'failed to publish'
"""How rclpy begins the errors of messages that the middleware could not send."""
_LOGGED_EVERY_S = 10.0


class NodeExecutor(SingleThreadedExecutor):
    """Runs the callbacks of nodes in one thread, also after a message could not be sent.

    A program that called a service, or listens to a topic, may end or be killed at any time. Fast
    DDS then refuses the response or message, and rclpy raises that out of the callback: one client
    that ends would end the node. The error is logged, and the node serves the others.
    """

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Run the next callback, or wait for one.

        Args:
            timeout_sec: how long to wait, s; None waits until there is one.
        """
        try:
            super().spin_once(timeout_sec)
        except RuntimeError as error:
            if not is_unsent(error):
                raise
            for node in self.get_nodes()[:1]:
                node.get_logger().warning(
                    f'a message was not sent, its receiver may have ended: {shortened(error)}',
                    throttle_duration_sec=_LOGGED_EVERY_S)


def is_unsent(error: RuntimeError) -> bool:
    """Return whether an error says that the middleware could not send a message."""
    # Of the C library; rclpy does not export the type.
    return type(error).__name__ == 'RCLError' and str(error).lower().startswith(_UNSENT)
