"""One camera's topic: finds its transport and reliability, counts what is lost, comes back."""

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image

from seqnet_ros.nodes.error_log import IntervalLog
from seqnet_ros.nodes.fast_dds import driver_line
from seqnet_ros.nodes.inputs.qos import describe_qos, mismatches, publisher_names
from seqnet_ros.nodes.inputs.subscription_events import (
    SubscriptionEventCallbacks,
    UnsupportedEventTypeError,
)
from seqnet_ros.nodes.settings import NodeSettings

IMAGE_TOPIC = 'image'
LOST_SHARE = 0.02
"""Share of lost images that is worth a warning."""
_COMPRESSED = '/compressed'
_JUDGED_OVER = 10
"""Images, lost ones included, over which losses are judged."""
_LONGEST_RETRY_S = 60.0
_SUSPENDED_S = 2.0
"""A process that does not look for this long was suspended."""
_RELIABILITY = {'best_effort': ReliabilityPolicy.BEST_EFFORT,
                'reliable': ReliabilityPolicy.RELIABLE}


def topic_of(node: Node, transport: str, camera: int = 0) -> str:
    """Return the full name of a camera's image topic: ``image``, ``image_1``, ``image_2``, ...

    As with image_transport, remapping ``image`` moves the compressed topic along.
    """
    base = node.resolve_topic_name(IMAGE_TOPIC if camera == 0 else f'{IMAGE_TOPIC}_{camera}')
    base = base.removesuffix(_COMPRESSED)
    return f'{base}{_COMPRESSED}' if transport == 'compressed' else base


class ImageTopic:
    """Subscribes to the images of one camera until closed.

    Args:
        node: the subscribing node.
        settings: transport, quality of service and how long a silence is normal.
        camera: number of the camera.
        deliver: takes each message, on the executor's thread.

    Attributes:
        transport: in use, 'raw' or 'compressed'.
        reliability: in use, 'best_effort' or 'reliable'.
        received: messages that arrived.
        lost: messages that the middleware reports as lost on the way.
        missed: messages lost while the process was suspended, not counted in ``lost``.
        renewed: how often the subscription was made again because nothing came.
    """

    def __init__(self, node: Node, settings: NodeSettings, camera: int,
                 deliver: Callable[[Image | CompressedImage], None]) -> None:
        self._node = node
        self._settings = settings
        self._camera = camera
        self._deliver = deliver
        self._log = IntervalLog(node.get_logger())
        self.received = self.lost = self.missed = self.renewed = 0
        self._judged = (0, 0)
        self._looked_s = time.monotonic()
        self._settled_s = 0.0
        automatic = settings.image_reliability == 'auto'
        self.reliability: str = 'best_effort' if automatic else settings.image_reliability
        automatic = settings.image_transport == 'auto'
        self.transport: str = 'raw' if automatic else settings.image_transport
        self._delivers = False
        if automatic:
            self._find_transport()
        self._subscription: Any = None
        self._subscribe()

    def _subscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        compressed = self.transport == 'compressed'
        self.qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=self._settings.image_queue_depth,
            reliability=_RELIABILITY[self.reliability])
        topic = topic_of(self._node, self.transport, self._camera)
        events: dict[str, Any] = {
            'incompatible_qos': self._warn_of_qos, 'message_lost': self._note_lost}

        def subscribe() -> Any:
            return self._node.create_subscription(
                CompressedImage if compressed else Image, topic, self._receive, self.qos,
                event_callbacks=SubscriptionEventCallbacks(**events))

        try:
            self._subscription = subscribe()
        except UnsupportedEventTypeError:  # not every middleware reports what it loses
            del events['message_lost']
            self._subscription = subscribe()
        self.name: str = self._subscription.topic_name  # remapping may have moved it once more
        self._delivers = False
        self._quiet_since_s = time.monotonic()
        self._retry_s = float(self._settings.silence_after_s)

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    @property
    def publishers(self) -> list[str]:
        """Names of the nodes that publish on the topic."""
        return publisher_names(self._node, self.name)

    @property
    def trouble(self) -> str:
        """The problem of the topic in one sentence, empty without a problem."""
        names = self.publishers
        if len(names) > 1:
            return (f'{len(names)} publishers on {self.name}: {", ".join(names)}; expected one, '
                    'because the images of two cameras become one drive')
        return ''

    def look(self) -> None:
        """Follow what publishers do and what is lost; called about twice a second."""
        if self._just_suspended():
            self._settled_s = time.monotonic() + _SUSPENDED_S
        self._looked_s = time.monotonic()
        if trouble := self.trouble:
            self._log.warning('publishers', trouble)
        if self._settings.image_transport == 'auto' and self._find_transport():
            self._subscribe()
            self._log.info('transport', f'listening to {self.name}, which is published')
        self._judge_losses()
        self._renew_if_quiet()

    def _find_transport(self) -> bool:
        """Choose the transport that is published, raw before compressed; return if it is new.

        One that delivers is kept: publishers of both may be discovered one after the other.
        """
        count = self._node.count_publishers
        published = [transport for transport in ('raw', 'compressed')
                     if count(topic_of(self._node, transport, self._camera))]
        if (not published or published[0] == self.transport
                or (self.transport in published and self._delivers)):
            return False
        self.transport = published[0]
        return True

    def _judge_losses(self) -> None:
        received, lost = self.received - self._judged[0], self.lost - self._judged[1]
        if received + lost < _JUDGED_OVER:
            return
        self._judged = (self.received, self.lost)
        if lost < LOST_SHARE * (received + lost):
            return
        what = (f'{lost} of {received + lost} images on {self.name} were lost between camera and '
                'node')
        if (self._settings.image_reliability == 'auto' and self.reliability == 'best_effort'
                and self._all_offer_reliable()):
            self.reliability = 'reliable'
            self._subscribe()
            self._log.warning('fallback', f'{what}: subscribed again with reliable. {self.cure}')
        else:
            self._log.warning('lost', f'{what}. {self.cure}')

    @property
    def cure(self) -> str:
        """Advice against lost images, one sentence."""
        if self.transport == 'compressed':
            return 'Lower the rate of the camera or check the network'
        if 'fastrtps' not in get_rmw_implementation_identifier():
            return 'Raise the receive buffers of the network, or use compressed images'
        return (f'Start the camera driver in a shell with `{driver_line()}`, or use compressed '
                'images')

    def _all_offer_reliable(self) -> bool:
        offers = self._node.get_publishers_info_by_topic(self.name)
        return bool(offers) and all(
            item.qos_profile.reliability == ReliabilityPolicy.RELIABLE for item in offers)

    def _renew_if_quiet(self) -> None:
        """Subscribe again where publishers exist but nothing comes, as after a suspension."""
        if time.monotonic() - self._quiet_since_s < self._retry_s:
            return
        self._quiet_since_s = time.monotonic()
        if self._node.count_publishers(self.name) and not mismatches(
                self._node, self.name, self.qos):
            retry_s = min(2 * self._retry_s, max(_LONGEST_RETRY_S, self._retry_s))
            self._subscribe()
            self._retry_s = retry_s
            self.renewed += 1
            self._log.info('renewed', f'subscribed to {self.name} again: it has a publisher, but '
                           f'nothing came ({describe_qos(self.qos)})')

    def _receive(self, message: Image | CompressedImage) -> None:
        self.received += 1
        self._delivers = True
        self._quiet_since_s = time.monotonic()
        self._retry_s = float(self._settings.silence_after_s)
        self._deliver(message)

    def _note_lost(self, event: Any) -> None:
        if self._just_suspended() or time.monotonic() < self._settled_s:
            self.missed += event.total_count_change
        else:
            self.lost += event.total_count_change

    def _just_suspended(self) -> bool:
        return time.monotonic() - self._looked_s > _SUSPENDED_S

    def _warn_of_qos(self, _: Any) -> None:
        """Report at once, not only after a silence."""
        for mismatch in mismatches(self._node, self.name, self.qos):
            self._log.warning(
                mismatch, f'{self.name}: {mismatch}; set image_reliability to best_effort')
