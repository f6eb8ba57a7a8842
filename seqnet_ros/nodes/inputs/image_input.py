"""Camera images from topics, raw or compressed, with corrected stamps."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from seqnet_ros.core.images import View, first_image, pixel_limit
from seqnet_ros.core.stamp_order import StampOrder
from seqnet_ros.nodes.conversions import image_reader, stamp_to_ns
from seqnet_ros.nodes.inputs.camera_sync import CameraSync
from seqnet_ros.nodes.inputs.qos import describe_count, describe_qos, mismatches
from seqnet_ros.nodes.inputs.subscription_events import SubscriptionEventCallbacks
from seqnet_ros.nodes.settings import NodeSettings
from seqnet_ros.sequences.keyframes import NANOSECONDS

IMAGE_TOPIC = 'image'
_RELIABILITY = {'best_effort': ReliabilityPolicy.BEST_EFFORT,
                'reliable': ReliabilityPolicy.RELIABLE}


@dataclass(frozen=True)
class StampedImage:
    """An image message, not yet decoded; of several cameras one of each.

    Attributes:
        stamp_ns: when it was taken, by the first camera.
        frame_id: the first camera's frame.
        read: decodes it to RGB uint8 ``[H, W, 3]``, or to one such image of each camera; raises
            ``InputError``.
        received_s: when it arrived, on the monotonic clock.
    """

    stamp_ns: int
    frame_id: str
    read: Callable[[], View]
    received_s: float


def topic_of(node: Node, transport: str, camera: int = 0) -> str:
    """Return the full name of a camera's image topic: ``image``, ``image_1``, ``image_2``, ...

    As with image_transport, remapping ``image`` moves the compressed topic along.
    """
    base = node.resolve_topic_name(IMAGE_TOPIC if camera == 0 else f'{IMAGE_TOPIC}_{camera}')
    return f'{base}/compressed' if transport == 'compressed' else base


class ImageInput:
    """Subscribes to images until closed and passes each one on.

    Args:
        node: the subscribing node.
        settings: transport and quality of service.
        cameras: number of cameras; simultaneous images are passed on together.
        deliver: called with every image, on the executor's thread.
    """

    def __init__(self, node: Node, settings: NodeSettings, cameras: int,
                 deliver: Callable[[StampedImage], None]) -> None:
        self._node = node
        self._deliver = deliver
        self._warned: set[str] = set()
        self._sync_s = settings.camera_sync_s
        self._sync = CameraSync(cameras, round(settings.camera_sync_s * NANOSECONDS))
        self._transport = settings.image_transport
        self._max_pixels = pixel_limit(settings.max_image_megapixels)
        self._qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=settings.image_queue_depth,
            reliability=_RELIABILITY[settings.image_reliability])
        self.last_arrival_s: float | None = None
        self._arrivals_s = [-math.inf] * cameras
        kind = CompressedImage if settings.image_transport == 'compressed' else Image
        self._subscriptions = [
            self._subscribe(kind, topic_of(node, self._transport, camera), camera)
            for camera in range(cameras)]
        # Remapping may have moved them once more.
        self.topics = [subscription.topic_name for subscription in self._subscriptions]
        self._orders = [StampOrder(topic) for topic in self.topics]

    def _subscribe(self, kind: type, topic: str, camera: int) -> Any:
        refused = SubscriptionEventCallbacks(incompatible_qos=partial(self._warn_of_qos, topic))
        return self._node.create_subscription(
            kind, topic, partial(self._on_image, camera), self._qos, event_callbacks=refused)

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    @property
    def topic(self) -> str:
        """The topics, human-readable."""
        return ', '.join(self.topics)

    @property
    def incomplete(self) -> int:
        """Images of the first camera without those of the others."""
        return self._sync.incomplete

    @property
    def corrected_stamps(self) -> int:
        """Images whose stamp was replaced because it is before that of the image before."""
        return sum(order.corrected for order in self._orders)

    def explain_silence(self, silence_s: float, recent_s: float) -> str:
        """Return a message about a silence and its possible cause.

        Args:
            silence_s: how long it has lasted.
            recent_s: if every camera sent an image within this time, their stamps do not match.
        """
        if len(self.topics) > 1 and min(self._arrivals_s) > time.monotonic() - recent_s:
            return (f'images arrive on {self.topic}, but none were simultaneous for '
                    f'{silence_s:.1f} s: their stamps differ by more than {self._sync_s:g} s '
                    '(camera_sync_s)')
        counts = [(topic, self._node.count_publishers(topic)) for topic in self.topics]
        text = (f'no images on {self.topic} for {silence_s:.1f} s '
                f'({describe_qos(self._qos)}, depth {self._qos.depth}): '
                + ', '.join(describe_count(count) + (f' on {topic}' if len(counts) > 1 else '')
                            for topic, count in counts))
        refused = [phrase for topic in self.topics
                   for phrase in mismatches(self._node, topic, self._qos)]
        if refused:
            text += f'; {"; ".join(refused)}: set image_reliability to best_effort'
        return text + ('' if any(count for _, count in counts) else self._other_transport())

    def _other_transport(self) -> str:
        other = 'raw' if self._transport == 'compressed' else 'compressed'
        topic = topic_of(self._node, other)
        count = self._node.count_publishers(topic)
        if not count:
            return ''
        return f', but {describe_count(count)} on {topic}: set image_transport to {other}'

    def _on_image(self, camera: int, message: Image | CompressedImage) -> None:
        stamp_ns = self._orders[camera].correct(self._stamp(message, self.topics[camera]))
        image = StampedImage(stamp_ns, message.header.frame_id,
                             image_reader(message, self._max_pixels), time.monotonic())
        self._arrivals_s[camera] = image.received_s
        if len(self.topics) == 1:
            self._hand_on(image)
        elif moment := self._sync.add(camera, image):
            self._hand_on(replace(moment[0], received_s=image.received_s,
                                  read=lambda: tuple(first_image(item.read()) for item in moment)))

    def _hand_on(self, image: StampedImage) -> None:
        self.last_arrival_s = image.received_s
        self._deliver(image)

    def _stamp(self, message: Image | CompressedImage, topic: str) -> int:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns:
            return stamp_ns
        now_ns = int(self._node.get_clock().now().nanoseconds)
        if topic not in self._warned:
            clock = '' if now_ns else (
                " by the system's clock, because use_sim_time is set but nothing publishes /clock")
            self._node.get_logger().warning(
                f'images on {topic} have no stamp: using the time of arrival{clock}')
            self._warned.add(topic)
        return now_ns or time.time_ns()

    def _warn_of_qos(self, topic: str, _: Any) -> None:
        """Report at once, not only after a silence."""
        for mismatch in mismatches(self._node, topic, self._qos):
            self._node.get_logger().warning(
                f'{topic}: {mismatch}; set image_reliability to best_effort')
