"""Silence is told: which topic, with which quality of service, and who publishes there."""

import time
from collections.abc import Callable

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from seqnet_ros.nodes.inputs.image_input import ImageInput, topic_of
from seqnet_ros.nodes.inputs.qos import describe_qos, mismatches

_PERIOD_S = 0.2


class Heartbeat:
    """Warns when images stay away, less and less often, and tells when they are back.

    Runs on steady time: simulated time stands still when nobody publishes it.

    Args:
        node: whose log and topics they are.
        images: what to watch.
        silence_after_s: returns how long to wait, seconds.
    """

    def __init__(self, node: Node, images: ImageInput,
                 silence_after_s: Callable[[], float]) -> None:
        self._node = node
        self._images = images
        self._silence_after_s = silence_after_s
        self._since_s = time.monotonic()
        self._warned_s = 0.0
        self._timer = node.create_timer(
            _PERIOD_S, self._check, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop watching."""
        self._node.destroy_timer(self._timer)

    @property
    def silence_s(self) -> float:
        """Seconds since the last image, or since the start."""
        return time.monotonic() - (self._images.last_arrival_s or self._since_s)

    @property
    def silent(self) -> bool:
        """True when images have stayed away too long."""
        return self.silence_s >= self._silence_after_s()

    def _check(self) -> None:
        silence = self.silence_s
        if not self.silent:
            if self._warned_s:
                self._node.get_logger().info(f'images arrive on {self._images.topic} again')
            self._warned_s = 0.0
        elif not self._warned_s or silence >= 2 * self._warned_s:
            self._warned_s = silence
            self._node.get_logger().warning(self.explain())

    def explain(self) -> str:
        """Return one sentence about the silence and what may be its cause."""
        images = self._images
        if images.apart(self._silence_after_s()):
            return (f'images come on {images.topic}, but for {self.silence_s:.1f} s none of one '
                    f'moment: their stamps are more than {images.sync_s:g} s apart (camera_sync_s)')
        counts = [(topic, self._node.count_publishers(topic)) for topic in images.topics]
        text = (f'no images on {images.topic} for {self.silence_s:.1f} s '
                f'({describe_qos(images.qos)}, depth {images.qos.depth}): '
                + ', '.join(_count(count, 'publisher') + (f' on {topic}' if len(counts) > 1 else '')
                            for topic, count in counts))
        refused = [phrase for topic in images.topics
                   for phrase in mismatches(self._node, topic, images.qos)]
        if refused:
            text += f'; {"; ".join(refused)}: set image_reliability to best_effort'
        return text + ('' if any(count for _, count in counts) else self._elsewhere())

    def _elsewhere(self) -> str:
        other = 'raw' if self._images.transport == 'compressed' else 'compressed'
        topic = topic_of(self._node, other)
        count = self._node.count_publishers(topic)
        if not count:
            return ''
        return (f', but {_count(count, "publisher")} on {topic}: '
                f'set image_transport to {other}')


def _count(number: int, what: str) -> str:
    return f'{number} {what}' + ('' if number == 1 else 's')
