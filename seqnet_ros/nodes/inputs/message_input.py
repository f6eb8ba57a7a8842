"""Messages of a topic that are checked when they arrive: how many, and how many are unusable."""

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

from seqnet_ros.core.errors import InputError
from seqnet_ros.nodes.error_log import ErrorLog
from seqnet_ros.nodes.inputs.qos import describe_count, mismatches


class MessageInput:
    """Subscribes to a topic, and counts and logs what cannot be used.

    Args:
        node: the subscribing node.
        kind: type of the messages.
        topic: its name.
        qos: quality of service of the subscription.
        what: what a message holds, as in 'loop closure'.
        use: takes a message; raises `InputError` where it cannot be used.
        errors: counts these errors; its own if none is given.

    Attributes:
        received: messages that arrived.
        errors: messages that could not be used.
        trouble: why the newest message could not be used, empty where it could.
        last_arrival_s: when it came, on the monotonic clock; None before the first.
    """

    def __init__(self, node: Node, kind: type, topic: str, qos: QoSProfile, what: str,
                 use: Callable[[Any], None], errors: ErrorLog | None = None) -> None:
        self._node, self._qos, self._what, self._use = node, qos, what, use
        self.topic = node.resolve_topic_name(topic)
        self.received = 0
        self.errors = errors or ErrorLog(node.get_logger(), f'a {what}')
        self.trouble = ''
        self.last_arrival_s: float | None = None
        node.create_subscription(kind, topic, self._receive, qos)

    def reset(self) -> None:
        """Count from zero."""
        self.received = 0
        self.errors.reset()
        self.trouble = ''

    def explain_silence(self, silence_s: float) -> str:
        """Return a message about a silence and its possible cause."""
        publishers = self._node.count_publishers(self.topic)
        text = (f'no {self._what} on {self.topic} for {silence_s:.0f} s: '
                f'{describe_count(publishers)}')
        return '; '.join([text, *mismatches(self._node, self.topic, self._qos)])

    def _receive(self, message: Any) -> None:
        self.last_arrival_s = time.monotonic()
        self.received += 1
        try:
            self._use(message)
        except InputError as error:
            self.errors.add(error)
            self.trouble = self.errors.last_error
        else:
            self.trouble = ''
