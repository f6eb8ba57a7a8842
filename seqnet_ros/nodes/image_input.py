"""Camera images from a topic, raw or compressed, with their stamps put right."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from seqnet_ros.nodes.conversions import image_reader, stamp_to_ns
from seqnet_ros.nodes.settings import NodeSettings

IMAGE_TOPIC = 'image'
_RELIABILITY = {'best_effort': ReliabilityPolicy.BEST_EFFORT,
                'reliable': ReliabilityPolicy.RELIABLE}


@dataclass(frozen=True)
class StampedImage:
    """An image message, not yet decoded.

    Attributes:
        stamp_ns: when it was taken.
        frame_id: the camera's frame.
        read: decodes it to RGB uint8 ``[H, W, 3]``; raises ``InputError``.
        received_s: when it arrived, on the monotonic clock.
    """

    stamp_ns: int
    frame_id: str
    read: Callable[[], np.ndarray]
    received_s: float


def topic_of(node: Node, transport: str) -> str:
    """Return the full name of the image topic.

    As with image_transport, remapping ``image`` moves the compressed topic along.
    """
    base = node.resolve_topic_name(IMAGE_TOPIC)
    return f'{base}/compressed' if transport == 'compressed' else base


class ImageInput:
    """Subscribes to images until closed and hands each one on.

    Args:
        node: who subscribes.
        settings: transport and quality of service.
        deliver: called with every image, on the executor's thread.
    """

    def __init__(self, node: Node, settings: NodeSettings,
                 deliver: Callable[[StampedImage], None]) -> None:
        self._node = node
        self._deliver = deliver
        self._warned = False
        self.transport = settings.image_transport
        self.qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=settings.image_queue_depth,
            reliability=_RELIABILITY[settings.image_reliability])
        self.reliability = settings.image_reliability
        self.topic = topic_of(node, settings.image_transport)
        self.last_arrival_s: float | None = None
        kind = CompressedImage if settings.image_transport == 'compressed' else Image
        self._subscription = node.create_subscription(
            kind, self.topic, self._on_image, self.qos)
        # Remapping may have moved it once more.
        self.topic = self._subscription.topic_name

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.last_arrival_s = time.monotonic()
        self._deliver(StampedImage(self._stamp(message), message.header.frame_id,
                                   image_reader(message), self.last_arrival_s))

    def _stamp(self, message: Image | CompressedImage) -> int:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns:
            return stamp_ns
        if not self._warned:
            self._node.get_logger().warning(
                f'images on {self.topic} have no stamp: the time of arrival is used')
            self._warned = True
        return int(self._node.get_clock().now().nanoseconds)
