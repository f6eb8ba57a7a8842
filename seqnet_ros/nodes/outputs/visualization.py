"""Debug images and markers, published only while they have subscribers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from seqnet_ros.core.images import View, first_image
from seqnet_ros.localization.result import MatchResult
from seqnet_ros.nodes.conversions import image_to_message
from seqnet_ros.nodes.outputs.debug_image import compose

_LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class CachedImage:
    """Decodes an image once, for the engine and for the debug image.

    Args:
        read: decodes it.
    """

    def __init__(self, read: Callable[[], View]) -> None:
        self._read = read
        self.view: View | None = None

    def __call__(self) -> View:
        """Return the image."""
        if self.view is None:
            self.view = self._read()
        return self.view


class VisualizationPublisher:
    """Publishes ``~/debug_image``, ``~/markers`` and, latched, ``~/map_markers``.

    Args:
        node: the publishing node; nothing is sent while it is not active.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._image = node.create_lifecycle_publisher(Image, '~/debug_image', 1)
        self._markers = node.create_lifecycle_publisher(MarkerArray, '~/markers', 10)
        self._map = node.create_lifecycle_publisher(MarkerArray, '~/map_markers', _LATCHED)

    def publish_debug_image(self, read: CachedImage, frame_id: str, result: MatchResult,
                            picture: Callable[[], np.ndarray | None]) -> None:
        """Publish the newest image next to the best place, if there are subscribers.

        Args:
            read: the newest image; it is decoded here only where the engine did not need to.
            frame_id: the camera's frame.
            result: result for it.
            picture: returns the picture of the best place, or None.
        """
        if not _wanted(self._image):
            return
        match = None if result.best is None else picture()
        image = compose(first_image(read()), match, result)
        self._image.publish(image_to_message(image, result.stamp_ns, frame_id))

    def publish_markers(self, make: Callable[[], MarkerArray]) -> None:
        """Publish the result of ``make`` if there are subscribers."""
        if _wanted(self._markers):
            self._markers.publish(make())

    def publish_map(self, markers: MarkerArray) -> None:
        """Publish the markers of a map; later subscribers receive them, too."""
        self._map.publish(markers)


def _wanted(publisher: Any) -> bool:
    return publisher.is_activated and publisher.get_subscription_count() > 0
