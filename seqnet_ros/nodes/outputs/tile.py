"""The tile of a collection that the robot is in, as a topic."""

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import String

from seqnet_ros.maps.collection.collection_file import Tile

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class TilePublisher:
    """Publishes the name of the tile on ``~/tile``, latched, only when it changes.

    Args:
        node: the publishing node; nothing is sent while it is not active.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._publisher = node.create_lifecycle_publisher(String, '~/tile', _LATCHED)
        self._sent = ''
        self.tile: Tile | None = None

    def update(self, tile: Tile | None) -> None:
        """Publish the name of a tile if it has changed; '' where the robot is in no tile."""
        self.tile = tile
        name = '' if tile is None else tile.name
        if name != self._sent and self._publisher.is_activated:
            self._sent = name
            self._publisher.publish(String(data=name))
