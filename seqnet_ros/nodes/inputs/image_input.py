"""Camera images from topics, raw or compressed, with corrected stamps."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from seqnet_ros.core.images import View, first_image, pixel_limit
from seqnet_ros.core.stamp_order import StampOrder
from seqnet_ros.nodes.conversions import image_reader, stamp_to_ns
from seqnet_ros.nodes.inputs.camera_sync import CameraSync
from seqnet_ros.nodes.inputs.image_topic import ImageTopic, topic_of
from seqnet_ros.nodes.inputs.qos import describe_count, describe_qos, mismatches
from seqnet_ros.nodes.settings import NodeSettings
from seqnet_ros.sequences.keyframes import NANOSECONDS

_LOOK_S = 0.5


@dataclass(frozen=True)
class StampedImage:
    """An image message, not yet decoded; of several cameras one of each.

    Attributes:
        stamp_ns: when it was taken, by the first camera.
        frame_id: the first camera's frame.
        read: decodes it to RGB uint8 ``[H, W, 3]``, or to one such image of each camera; raises
            ``InputError``.
        received_s: when it arrived, on the monotonic clock.
        size: of the data, bytes.
    """

    stamp_ns: int
    frame_id: str
    read: Callable[[], View]
    received_s: float
    size: int = 0


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
        self._settings = settings
        self._max_pixels = pixel_limit(settings.max_image_megapixels)
        self.last_arrival_s: float | None = None
        self.frame_id = ''
        self._arrivals_s = [-math.inf] * cameras
        self._topics = [ImageTopic(node, settings, camera, partial(self._on_image, camera))
                        for camera in range(cameras)]
        self._orders = [StampOrder(topic.name) for topic in self._topics]
        self._timer = node.create_timer(
            _LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _look(self) -> None:
        for topic in self._topics:
            topic.look()

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_timer(self._timer)
        for topic in self._topics:
            topic.close()

    @property
    def topics(self) -> list[str]:
        """The full names of the topics."""
        return [topic.name for topic in self._topics]

    @property
    def topic(self) -> str:
        """The topics, human-readable."""
        return ', '.join(self.topics)

    @property
    def reliability(self) -> str:
        """Reliability in use: 'reliable' only where it is for every camera."""
        kinds = {topic.reliability for topic in self._topics}
        return 'reliable' if kinds == {'reliable'} else 'best_effort'

    @property
    def lost(self) -> int:
        """Messages that the middleware reports as lost on the way."""
        return sum(topic.lost for topic in self._topics)

    @property
    def missed(self) -> int:
        """Messages that came while the process was suspended."""
        return sum(topic.missed for topic in self._topics)

    @property
    def renewed(self) -> int:
        """How often a subscription was made again because nothing came."""
        return sum(topic.renewed for topic in self._topics)

    @property
    def cure(self) -> str:
        """Advice against lost images, one sentence."""
        return self._topics[0].cure

    @property
    def trouble(self) -> str:
        """The problem of the topics in one sentence, empty without a problem."""
        return next(filter(None, (topic.trouble for topic in self._topics)), '')

    @property
    def incomplete(self) -> int:
        """Images of the first camera without images of the other cameras."""
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
        qos = self._topics[0].qos
        text = (f'no images on {self.topic} for {silence_s:.1f} s '
                f'({describe_qos(qos)}, depth {qos.depth}): '
                + ', '.join(describe_count(count) + (f' on {topic}' if len(counts) > 1 else '')
                            for topic, count in counts))
        refused = [phrase for topic in self._topics
                   for phrase in mismatches(self._node, topic.name, topic.qos)]
        if refused:
            text += f'; {"; ".join(refused)}: set image_reliability to best_effort'
        if self.lost:
            text += f'; {self.lost} were lost on the way. {self.cure}'
        return text + ('' if any(count for _, count in counts) else self._other_transport())

    def _other_transport(self) -> str:
        if self._settings.image_transport == 'auto':  # which looks at both
            return ''
        other = 'raw' if self._settings.image_transport == 'compressed' else 'compressed'
        topic = topic_of(self._node, other)
        count = self._node.count_publishers(topic)
        if not count:
            return ''
        return f', but {describe_count(count)} on {topic}: set image_transport to {other}'

    def _on_image(self, camera: int, message: Image | CompressedImage) -> None:
        stamp_ns = self._orders[camera].correct(self._stamp(message, self.topics[camera]))
        image = StampedImage(stamp_ns, message.header.frame_id,
                             image_reader(message, self._max_pixels), time.monotonic(),
                             len(message.data))
        if camera == 0:
            self.frame_id = image.frame_id
        self._arrivals_s[camera] = image.received_s
        if len(self.topics) == 1:
            self._hand_on(image)
        elif moment := self._sync.add(camera, image):
            self._hand_on(replace(moment[0], received_s=image.received_s,
                                  size=sum(item.size for item in moment),
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
