"""Where the robot may be, for RViz."""

from collections.abc import Callable, Sequence

from rclpy.lifecycle import LifecycleNode
from visualization_msgs.msg import Marker


class BeliefPublisher:
    """Publishes ``~/belief`` while it has subscribers.

    Args:
        node: the publishing node; nothing is sent while it is not active.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._publisher = node.create_lifecycle_publisher(Marker, '~/belief', 10)

    def publish(self, make: Callable[[], Sequence[Marker]]) -> None:
        """Publish the results of ``make`` one after the other if there are subscribers."""
        if self._publisher.is_activated and self._publisher.get_subscription_count() > 0:
            for marker in make():
                self._publisher.publish(marker)
