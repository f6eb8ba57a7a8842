"""Two robots on one machine: real nodes in two namespaces that do not disturb each other."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from node_harness import PATIENCE_S, TOWN_EVERY, deliver, eventually, listeners, raw_message, render

from seqnet_ros.maps.map_reader import open_map

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')
pytestmark = pytest.mark.requires_ros

ROBOTS = ('robot1', 'robot2')


class Robot:
    """A robot's nodes, its camera, and what is heard from it."""

    def __init__(self, name: str, context: Any, peer: Any, maps: Path, map_path: Path) -> None:
        from nav_msgs.msg import Odometry
        from rclpy.parameter import Parameter
        from sensor_msgs.msg import Image
        from seqnet_ros.msg import PlaceMatch

        from seqnet_ros.nodes.localizer_node import LocalizerNode
        from seqnet_ros.nodes.loop_closer_node import LoopCloserNode
        from seqnet_ros.nodes.mapper_node import MapperNode

        def values(**parameters: Any) -> list[Any]:
            return [Parameter(key, value=value) for key, value in {
                'silence_after_s': 60.0, **parameters}.items()]

        self.map = maps / name
        self.localizer = LocalizerNode(
            context=context, namespace=name,
            parameter_overrides=values(map=str(map_path), **TOWN_EVERY))
        self.mapper = MapperNode(
            context=context, namespace=name,
            parameter_overrides=values(
                model='hog', map=str(self.map), use_odometry=False, **TOWN_EVERY))
        self.loop_closer = LoopCloserNode(
            context=context, namespace=name,
            parameter_overrides=values(model='hog', **TOWN_EVERY))
        self.nodes = (self.localizer, self.mapper, self.loop_closer)
        self.camera = peer.create_publisher(Image, f'/{name}/image', 10)
        self.odometry = peer.create_publisher(Odometry, f'/{name}/odometry', 10)
        self.matches: list[Any] = []
        self.peer = peer
        self.name = name
        peer.create_subscription(
            PlaceMatch, f'/{name}/localizer/place_match', self.matches.append, 100)

    def start(self) -> None:
        for node in self.nodes:
            assert node.start()
        eventually(lambda: self.camera.get_subscription_count() == len(self.nodes),
                   'a subscription of every node')
        eventually(lambda: listeners(self.localizer, '~/place_match'), 'a listener')

    def see(self, image: Any, stamp_ns: int) -> None:
        """Show an image to all nodes of this robot, and wait until all have worked on it."""
        before = [node.pipeline.statistics.processed for node in self.nodes]
        deliver(self.localizer, lambda: self.camera.publish(raw_message(image, stamp_ns)))
        eventually(lambda: all(node.pipeline.statistics.processed > count for node, count in zip(
            self.nodes, before, strict=True)), 'all nodes have seen it')

    def call(self, kind: Any, service: str, **fields: Any) -> Any:
        client = self.peer.create_client(kind, f'/{self.name}/{service}')
        assert client.wait_for_service(PATIENCE_S)
        future = client.call_async(kind.Request(**fields))
        eventually(future.done, f'an answer of {service}')
        self.peer.destroy_client(client)
        return future.result()


@contextmanager
def robots(maps: Path, map_path: Path) -> Iterator[tuple[Robot, ...]]:
    from rclpy.executors import SingleThreadedExecutor

    gc.collect()
    context = rclpy.Context()
    rclpy.init(context=context)
    peer = rclpy.create_node('peer', context=context)
    made = tuple(Robot(name, context, peer, maps, map_path) for name in ROBOTS)
    members = [peer, *(node for robot in made for node in robot.nodes)]
    executors = []
    for member in members:
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(member)
        executors.append(executor)
    threads = [threading.Thread(target=executor.spin, daemon=True) for executor in executors]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        for executor in executors:
            executor.shutdown()
        for thread in threads:
            thread.join(PATIENCE_S)
        for member in members:
            member.destroy_node()
        rclpy.shutdown(context=context)


def test_two_robots_do_not_disturb_each_other(town_map, tmp_path):
    from seqnet_ros.srv import SaveMap
    from std_srvs.srv import Trigger

    drives = {'robot1': render(seed=2, count=25, lateral_offset=0.3),
              'robot2': render(seed=3, count=12)}
    with robots(tmp_path, town_map) as (first, second):
        for robot in (first, second):
            robot.start()
        for stamp_ns, image, _ in drives['robot1'][:12]:
            first.see(image, stamp_ns)
        assert [node.pipeline.statistics.received for node in second.nodes] == [0, 0, 0]
        assert not second.matches

        # Interleaved, with stamps that go back from one robot to the other.
        for own, other in zip(drives['robot1'][12:24], drives['robot2'], strict=True):
            first.see(own[1], own[0])
            second.see(other[1], other[0])
        eventually(lambda: len(first.matches) == 24, 'all results of the first')
        eventually(lambda: len(second.matches) == 12, 'all results of the second')
        assert any(match.accepted for match in first.matches)
        stamps = [match.header.stamp.sec * 10**9 + match.header.stamp.nanosec
                  for match in first.matches]
        assert stamps == [item[0] for item in drives['robot1'][:24]]

        # Services act on one robot alone.
        assert second.call(Trigger, 'localizer/pause').success
        assert first.call(Trigger, 'mapper/clear').success
        stamp_ns, image, _ = drives['robot1'][24]
        first.see(image, stamp_ns)
        eventually(lambda: len(first.matches) == 25, 'a result of the first, not paused')
        assert second.localizer.pipeline.paused
        assert not first.localizer.pipeline.paused
        assert first.call(SaveMap, 'mapper/save_map').result == 0
        assert second.call(SaveMap, 'mapper/save_map').result == 0
    assert len(open_map(tmp_path / 'robot1')) == 1
    assert len(open_map(tmp_path / 'robot2')) == 12


def test_names_of_two_robots_meet_in_shared_topics_only(town_map, tmp_path):
    """What both have is absolute on purpose; diagnostics tell the robots apart by name."""
    from diagnostic_msgs.msg import DiagnosticArray

    with robots(tmp_path, town_map) as (first, second):
        seen: set[str] = set()
        first.peer.create_subscription(
            DiagnosticArray, '/diagnostics',
            lambda message: seen.update(item.name for item in message.status), 10)
        for robot in (first, second):
            robot.start()
        names = {robot.name: {
            name for node in robot.nodes
            for kind in ('publisher', 'subscriber', 'service')
            for name, _ in getattr(node, f'get_{kind}_names_and_types_by_node')(
                node.get_name(), f'/{robot.name}')} for robot in (first, second)}
        assert names['robot1'] & names['robot2'] == {
            '/diagnostics', '/parameter_events', '/rosout'}
        eventually(lambda: len(seen) == 6, 'reports of all nodes')
        assert seen == {f'{robot}/{node}: place recognition' for robot in ROBOTS
                        for node in ('localizer', 'mapper', 'loop_closer')}
