"""Real nodes over real middleware, and who talks to them: a camera, odometry, a listener."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.datasets.frames import Frame
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.matching.localizer import Localizer
from seqnet_ros.matching.result import MatchResult
from seqnet_ros.place_model import PlaceModel
from seqnet_town import OVERCAST, Camera, Drive, Town

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')

PATIENCE_S = 60.0
TOWN_EVERY = {'keyframes.every': '1', 'keyframes.min_change': 0.0}
Shown = tuple[int, np.ndarray, np.ndarray]
"""Stamp, RGB image and pose."""


def eventually(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f'{what} did not happen within {PATIENCE_S} s'
        time.sleep(0.005)


def listeners(node: Any, topic: str) -> int:
    """Return how many subscriptions the publisher of a node has met."""
    name = node.resolve_topic_name(topic)
    publisher, = (item for item in node.publishers if item.topic_name == name)
    return publisher.get_subscription_count()


class Log:
    """What the nodes of this test wrote to the console."""

    def __init__(self, capture: pytest.CaptureFixture) -> None:
        self._capture = capture
        self._text = ''

    def count(self, text: str) -> int:
        self._text += self._capture.readouterr().err
        return self._text.count(text)

    def __contains__(self, text: str) -> bool:
        return self.count(text) > 0


class Peer:
    """A camera, odometry and somebody who listens."""

    def __init__(self, context: Any, name: str) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import PoseWithCovarianceStamped
        from nav_msgs.msg import Odometry
        from sensor_msgs.msg import CompressedImage, Image
        from seqnet_ros.msg import PlaceMatch

        self.node = rclpy.create_node('peer', context=context)
        self.raw = self.node.create_publisher(Image, 'image', 10)
        self.compressed = self.node.create_publisher(CompressedImage, 'image/compressed', 10)
        self.odometry = self.node.create_publisher(Odometry, 'odometry', 50)
        self.matches: list[PlaceMatch] = []
        self.poses: list[PoseWithCovarianceStamped] = []
        self.diagnostics: list[DiagnosticArray] = []
        listen = self.node.create_subscription
        listen(PlaceMatch, f'{name}/place_match', self.matches.append, 100)
        listen(PoseWithCovarianceStamped, f'{name}/pose', self.poses.append, 100)
        listen(DiagnosticArray, '/diagnostics', self.diagnostics.append, 10)

    def listen(self, kind: Any, topic: str, qos: Any = 100) -> list[Any]:
        """Return a list that fills with what arrives on a topic."""
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, qos)
        return received

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        client = self.node.create_client(kind, name)
        assert client.wait_for_service(PATIENCE_S), f'there is no service {name}'
        future = client.call_async(kind.Request(**fields))
        eventually(future.done, f'an answer of {name}')
        self.node.destroy_client(client)
        return future.result()

    def show(self, image: np.ndarray, stamp_ns: int) -> None:
        self.raw.publish(raw_message(image, stamp_ns))

    def move(self, pose: np.ndarray, stamp_ns: int) -> None:
        from nav_msgs.msg import Odometry

        from seqnet_ros.nodes.conversions import pose_to_message, stamp_from_ns

        message = Odometry()
        message.header.stamp = stamp_from_ns(stamp_ns)
        message.pose.pose = pose_to_message(pose)
        self.odometry.publish(message)


def raw_message(image: np.ndarray, stamp_ns: int, encoding: str = 'rgb8') -> Any:
    from sensor_msgs.msg import Image

    from seqnet_ros.nodes.conversions import stamp_from_ns

    height, width, channels = image.shape
    message = Image(height=height, width=width, encoding=encoding, step=width * channels)
    message.header.stamp = stamp_from_ns(stamp_ns)
    message.header.frame_id = 'camera'
    message.data = image.tobytes()
    return message


@contextmanager
def spinning(make_node: Callable[..., Any], name: str, **parameters: Any) -> Iterator[tuple]:
    """Run a node and its peer, each with an executor of its own."""
    from rclpy.parameter import Parameter

    gc.collect()  # a lifecycle node of the same name stays registered until it is collected
    context = rclpy.Context()
    rclpy.init(context=context)
    values = {'silence_after_s': 60.0, **parameters}
    node = make_node(context=context, parameter_overrides=[
        Parameter(key, value=value) for key, value in values.items()])
    peer = Peer(context, name)
    with each_spinning(context, node, peer.node):
        yield node, peer


@contextmanager
def each_spinning(context: Any, *nodes: Any) -> Iterator[None]:
    """Spin nodes, each with an executor of its own, and destroy them with their context."""
    from rclpy.executors import SingleThreadedExecutor

    executors = [SingleThreadedExecutor(context=context) for _ in nodes]
    for executor, node in zip(executors, nodes, strict=True):
        executor.add_node(node)
    threads = [threading.Thread(target=executor.spin, daemon=True) for executor in executors]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for executor in executors:
            executor.shutdown()
        for thread in threads:
            thread.join(PATIENCE_S)
        for node in nodes:
            node.destroy_node()
        rclpy.shutdown(context=context)


@contextmanager
def localizing(start: bool = True, **parameters: Any) -> Iterator[tuple[Any, Peer]]:
    from seqnet_ros.nodes.localizer_node import LocalizerNode

    with spinning(LocalizerNode, 'localizer', **parameters) as (node, peer):
        if start:
            assert node.start()
            eventually(lambda: node.count_publishers('image') and peer.node.count_publishers(
                'localizer/place_match') and listeners(node, '~/place_match')
                and listeners(node, '~/pose'), 'discovery')
        yield node, peer


@contextmanager
def closing_loops(**parameters: Any) -> Iterator[tuple[Any, Peer]]:
    from seqnet_ros.nodes.loop_closer_node import LoopCloserNode

    with spinning(LoopCloserNode, 'loop_closer', **parameters) as (node, peer):
        assert node.start()
        eventually(lambda: node.count_publishers('image') and peer.node.count_publishers(
            'loop_closer/place_match') and listeners(node, '~/place_match'), 'discovery')
        yield node, peer


@contextmanager
def mapping(**parameters: Any) -> Iterator[tuple[Any, Peer]]:
    from seqnet_ros.nodes.mapper_node import MapperNode

    with spinning(MapperNode, 'mapper', **parameters) as (node, peer):
        assert node.start()
        yield node, peer


def deliver(node: Any, publish: Callable[[], None]) -> None:
    """Publish an image and wait until the worker has taken it, so that none is dropped."""
    before = node.pipeline.statistics.processed
    received = node.pipeline.statistics.received
    publish()
    deadline = time.monotonic() + PATIENCE_S
    again = time.monotonic() + 1.0
    while node.pipeline.statistics.processed == before:
        assert time.monotonic() < deadline, 'the node did not take the image'
        if node.pipeline.statistics.received == received and time.monotonic() > again:
            publish()  # best effort: the first image may be lost to discovery
            again = time.monotonic() + 1.0
        time.sleep(0.001)


def show_all(node: Any, peer: Peer, shown: list[Shown]) -> None:
    """Publish images one after the other, each when the one before was taken."""
    for stamp_ns, image, _ in shown:
        deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))


def wait_for_odometry(node: Any, stamp_ns: int) -> None:
    """Wait until the node knows where odometry says the robot was."""
    eventually(lambda: node.pipeline.odometry.at(stamp_ns, 0.0) is not None, 'odometry')


def settle(node: Any) -> None:
    """Wait until the worker is idle."""
    node.pipeline.worker.call(lambda: None)


def render(seed: int, count: int, **drive: Any) -> list[Shown]:
    frames: list[Frame] = list(Drive(Town(seed=7), OVERCAST, Camera(width=160, height=120),
                                     speed=6.0, rate=6.0, seed=seed, length=80.0, **drive))
    return [(frame.stamp_ns, frame.read(), frame.pose) for frame in frames[:count]]


def with_keyframes(model: PlaceModel, **values: Any) -> EngineConfig:
    return model.preset.with_settings({
        'sequence.length': 5,
        **{f'keyframes.{name}': value for name, value in values.items()}}).engine


def offline(model: PlaceModel, path: Path, drive: list[Shown], poses: bool = False,
            **keyframes: Any) -> list[MatchResult]:
    localizer = Localizer(model, open_map(path, model), with_keyframes(model, **keyframes))
    results = [localizer.push(image, stamp_ns, pose if poses else None)
               for stamp_ns, image, pose in drive]
    return [result for result in results if result is not None]


def assert_same(matches: list[Any], expected: list[MatchResult]) -> None:
    assert [message.reason for message in matches] == [int(item.reason) for item in expected]
    for message, result in zip(matches, expected, strict=True):
        stamp = message.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == result.stamp_ns
        assert [item.place_id for item in message.candidates] == [
            item.place_id for item in result.candidates]
        assert [item.sequence_distance for item in message.candidates] == pytest.approx(
            [item.sequence_distance for item in result.candidates], abs=1e-5)
        assert message.accepted == result.accepted


def change_state(peer: Peer, name: str, transition: str) -> bool:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState

    number = getattr(Transition, f'TRANSITION_{transition.upper()}')
    return peer.call(ChangeState, f'{name}/change_state', transition=Transition(id=number)).success


def state(peer: Peer, name: str) -> str:
    from lifecycle_msgs.srv import GetState

    return peer.call(GetState, f'{name}/get_state').current_state.label


def set_parameter(peer: Peer, name: str, value: Any) -> str:
    """Set a parameter as ``ros2 param set`` does; return the reason of a refusal."""
    from rcl_interfaces.srv import SetParameters
    from rclpy.parameter import Parameter

    result, = peer.call(SetParameters, 'localizer/set_parameters', parameters=[
        Parameter(name, value=value).to_parameter_msg()]).results
    assert result.successful != bool(result.reason)
    return result.reason
