"""Play a bag over DDS in real time and collect the answers of the localizer."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from seqnet_ros.msg import PlaceCandidate, PlaceMatch

from demo.errors import DemoError

MATCH_TOPIC = '/localizer/place_match'
STARTING_S = 90.0
SETTLING_S = 2.0
_CLOCK_PERIOD_S = 0.01


@dataclass(frozen=True)
class Answer:
    """Response of the node to one image.

    Attributes:
        stamp_ns: stamp of the image.
        message: what was published.
        latency_s: wall time from publishing the image to receiving the answer.
    """

    stamp_ns: int
    message: PlaceMatch
    latency_s: float

    @property
    def poses(self) -> np.ndarray:
        """Poses ``[K, 7]`` of the candidates, best first, meters."""
        return np.array([_pose(candidate) for candidate in self.message.candidates]).reshape(-1, 7)


def _pose(candidate: PlaceCandidate) -> list[float]:
    position, rotation = candidate.pose.position, candidate.pose.orientation
    return [position.x, position.y, position.z, rotation.x, rotation.y, rotation.z, rotation.w]


class Player:
    """Publishes the messages of a bag as they were recorded, and ``/clock``.

    Args:
        node: publishes and listens.
        bag: the bag's folder.
        image_topic: the bag's image topic, whose answers are awaited.
    """

    def __init__(self, node: Node, bag: Path, image_topic: str) -> None:
        self._node = node
        self._bag = bag
        self._image_topic = image_topic
        self._sent: dict[int, float] = {}
        self._received: list[tuple[float, PlaceMatch]] = []
        self._clock = self._node.create_publisher(Clock, '/clock', 10)
        with AnyReader([bag]) as reader:
            self._publishers = {
                connection.topic: self._publish_as(connection.topic, connection.msgtype)
                for connection in reader.connections}
        self._node.create_subscription(PlaceMatch, MATCH_TOPIC, self._receive, 100)

    def _publish_as(self, topic: str, kind: str) -> Publisher:
        package, _, name = kind.split('/')
        message = getattr(import_module(f'{package}.msg'), name)
        return self._node.create_publisher(message, topic, qos_profile_sensor_data)

    def _receive(self, message: PlaceMatch) -> None:
        self._received.append((time.monotonic(), message))

    def wait_for_listener(self, check: Callable[[], None]) -> None:
        """Wait until a node subscribes to the images and publishes matches.

        Args:
            check: called repeatedly; raises when waiting is useless.

        Raises:
            DemoError: no node appeared in time.
        """
        deadline = time.monotonic() + STARTING_S
        images = self._publishers[self._image_topic]
        while not (images.get_subscription_count() and self._node.count_publishers(MATCH_TOPIC)):
            check()
            if time.monotonic() > deadline:
                raise DemoError(f'no node subscribed to {self._image_topic} and published '
                                f'{MATCH_TOPIC} within {STARTING_S:g} s')
            time.sleep(0.1)
        time.sleep(0.5)  # both ends have to discover each other

    def play(self, progress: Callable[[float], None]) -> list[Answer]:
        """Publish everything at its time; return the answers in the order of their stamps.

        Args:
            progress: called with the seconds played.
        """
        with AnyReader([self._bag]) as reader:
            first = reader.start_time
            started = time.monotonic()
            for connection, recorded_ns, content in reader.messages():
                self._run_clock(first, started, (recorded_ns - first) / 1e9)
                if connection.topic == self._image_topic:
                    # The recorder stamps a message with the time of its image.
                    self._sent[recorded_ns] = time.monotonic()
                self._publishers[connection.topic].publish(bytes(content))
                progress((recorded_ns - first) / 1e9)
        time.sleep(SETTLING_S)
        return sorted(map(self._answer, *zip(*self._received, strict=True)),
                      key=lambda answer: answer.stamp_ns) if self._received else []

    def _run_clock(self, first_ns: int, started: float, until_s: float) -> None:
        """Publish the simulated time until it is ``until_s`` seconds into the bag."""
        while True:
            played = min(time.monotonic() - started, until_s)
            now = first_ns + int(played * 1e9)
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(now, 10**9)
            self._clock.publish(message)
            if played >= until_s:
                return
            time.sleep(min(_CLOCK_PERIOD_S, until_s - played))

    def _answer(self, received: float, message: PlaceMatch) -> Answer:
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        return Answer(stamp_ns, message, received - self._sent[stamp_ns])


def play_to_listener(bag: Path, image_topic: str, check: Callable[[], None],
                     progress: Callable[[float], None]) -> list[Answer]:
    """Play a bag to the localizer and return its answers.

    Args:
        bag: the bag's folder.
        image_topic: its image topic.
        check: raises when the localizer has ended.
        progress: called with the seconds played.

    Raises:
        DemoError: no node subscribes.
    """
    rclpy.init()
    node = rclpy.create_node('player')
    player = Player(node, bag, image_topic)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    spinning = Thread(target=_spin, args=(executor,), daemon=True)
    spinning.start()
    try:
        player.wait_for_listener(check)
        return player.play(progress)
    finally:
        executor.shutdown()
        spinning.join()
        node.destroy_node()
        rclpy.try_shutdown()


def _spin(executor: Any) -> None:
    with suppress(ExternalShutdownException):
        executor.spin()
