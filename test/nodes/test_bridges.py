"""The bridges over real middleware; their messages are needed, else the tests skip."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from node_harness import PATIENCE_S, each_spinning, eventually, listeners

from seqnet_ros.core.poses import make_pose, relative_pose

rclpy = pytest.importorskip('rclpy', reason='rclpy is not installed')
pytestmark = pytest.mark.requires_ros

ROOT = Path(__file__).resolve().parents[2]
SECOND = 10**9
PACKAGES = {'rtabmap_bridge': 'rtabmap_msgs', 'pose_graph_bridge': 'pose_graph_tools_msgs',
            'map_server_bridge': 'nav2_msgs'}
needs_rtabmap = pytest.mark.skipif(
    find_spec('rtabmap_msgs') is None, reason='rtabmap_msgs is not installed')
needs_nav2 = pytest.mark.skipif(
    find_spec('nav2_msgs') is None, reason='nav2_msgs is not installed')
needs_pose_graph = pytest.mark.skipif(
    find_spec('pose_graph_tools_msgs') is None, reason='pose_graph_tools_msgs is not installed')


def where(t: float) -> np.ndarray:
    """Where the robot is at a time, seconds."""
    return make_pose(10 * np.cos(t / 10), 10 * np.sin(t / 10), yaw=t / 10 + np.pi / 2)


def closure_message(older: float, newer: float, pose: np.ndarray | None = None,
                    metric: bool = True) -> Any:
    from seqnet_ros.msg import LoopClosure

    from seqnet_ros.nodes.conversions import pose_to_message, stamp_from_ns

    message = LoopClosure(map_id='drive', score=0.9, inliers=60)
    message.from_stamp = stamp_from_ns(round(older * SECOND))
    message.to_stamp = message.header.stamp = stamp_from_ns(round(newer * SECOND))
    if pose is not None:
        message.has_relative_pose, message.is_metric = True, metric
        message.relative_pose.pose = pose_to_message(pose)
        message.relative_pose.covariance = [
            float(value) for value in np.diag([0.04, 0.09, 0.16, 0.01, 0.02, 0.03]).ravel()]
    return message


@contextmanager
def bridging(make_node: Callable[..., Any], **parameters: Any) -> Iterator[tuple[Any, Any]]:
    """Run a bridge and a peer, each with an executor of its own."""
    from rclpy.parameter import Parameter

    context = rclpy.Context()
    rclpy.init(context=context)
    peer = rclpy.create_node('peer', context=context)
    node = make_node(context=context, parameter_overrides=[
        Parameter(key, value=value) for key, value in parameters.items()])
    with each_spinning(context, node, peer):
        yield node, peer


def connected(publisher: Any) -> Any:
    eventually(publisher.get_subscription_count, f'a subscription to {publisher.topic_name}')
    return publisher


class Rtabmap:
    """The interface of rtabmap: its topics, its service and its odometry, with nodes at times."""

    def __init__(self, peer: Any, serving: bool = True) -> None:
        from nav_msgs.msg import Odometry
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from rtabmap_msgs.msg import Info, MapGraph

        self.node = peer
        self.links: list[Any] = []
        self.ids: list[int] = []
        self._info = connected(peer.create_publisher(Info, 'info', 1))
        self._graph = connected(peer.create_publisher(
            MapGraph, 'mapGraph',
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)))
        self._odometry = connected(peer.create_publisher(Odometry, 'odometry', 50))
        if serving:
            self.serve()

    def serve(self) -> None:
        from rtabmap_msgs.srv import AddLink

        def add(request: Any, response: Any) -> Any:
            self.links.append(request.link)
            return response

        self.node.create_service(AddLink, 'add_link', add)

    def see(self, bridge: Any, node_id: int, t: float, in_graph: bool = True) -> None:
        """Make a node, as rtabmap tells of it, and wait until the bridge knows."""
        from rtabmap_msgs.msg import Info, MapGraph

        from seqnet_ros.nodes.conversions import stamp_from_ns

        stamp_ns = round(t * SECOND)
        self.ids += [node_id] if in_graph else []
        info, graph = Info(ref_id=node_id), MapGraph(poses_id=self.ids, links=self.links)
        info.header.stamp = graph.header.stamp = stamp_from_ns(stamp_ns)
        self._info.publish(info)
        self._graph.publish(graph)
        eventually(lambda: bridge.nodes.reach(stamp_ns), f'news of node {node_id}')

    def move(self, bridge: Any, start: float, end: float) -> None:
        """Send odometry, and wait until the bridge has it."""
        from nav_msgs.msg import Odometry

        from seqnet_ros.nodes.conversions import pose_to_message, stamp_from_ns

        for t in np.arange(start, end + 1e-6, 0.1):
            message = Odometry()
            message.header.stamp = stamp_from_ns(round(t * SECOND))
            message.pose.pose = pose_to_message(where(t))
            self._odometry.publish(message)
            time.sleep(0.002)
        eventually(lambda: bridge.odometry.at(round(end * SECOND)) is not None, 'odometry')


def details(node: Any) -> dict[str, str]:
    return {key: str(value) for key, value in node.diagnostics.report().values.items()}


@needs_rtabmap
def test_a_loop_closure_becomes_a_link_of_rtabmap(capfd):
    from seqnet_ros.msg import LoopClosure

    from seqnet_ros.nodes.bridges.rtabmap_node import RtabmapBridgeNode

    with bridging(RtabmapBridgeNode, timeout_s=60.0) as (node, peer):
        rtabmap = Rtabmap(peer)
        closures = connected(peer.create_publisher(LoopClosure, 'loop_closure', 10))
        rtabmap.move(node, 5.0, 7.0)
        rtabmap.see(node, 4, 5.8)
        rtabmap.see(node, 5, 6.1, in_graph=False)
        rtabmap.see(node, 6, 6.9)
        rtabmap.move(node, 60.0, 63.0)
        rtabmap.see(node, 60, 61.0)
        # The nearest node to the older frame, 5, was dropped by rtabmap; that of the newer one
        # has not come yet.
        pose = relative_pose(where(6.0), where(62.0))
        closures.publish(closure_message(6.0, 62.0, pose))
        eventually(lambda: len(node.links) == 1, 'a waiting closure')
        time.sleep(0.3)
        assert not rtabmap.links
        rtabmap.see(node, 61, 62.2)
        eventually(lambda: rtabmap.links, 'a link')
        (link,) = rtabmap.links
        assert (link.from_id, link.to_id, link.type) == (4, 61, 4)
        expected = relative_pose(where(5.8), where(62.2))
        moved, turn = link.transform.translation, link.transform.rotation
        assert [moved.x, moved.y, moved.z, turn.x, turn.y, turn.z, turn.w] == pytest.approx(
            expected, abs=2e-3)
        information = np.array(link.information).reshape(6, 6)
        assert information == pytest.approx(information.T)
        assert np.linalg.eigvalsh(np.linalg.inv(information)).max() == pytest.approx(0.16, rel=0.02)
        rtabmap.see(node, 62, 63.0)
        assert details(node)["user closures in rtabmap's graph"] == '1'
        assert details(node)['links sent'] == '1'
        # The next frames lie at the same nodes, which rtabmap has linked by now.
        closures.publish(closure_message(6.02, 62.1, relative_pose(where(6.02), where(62.1))))
        eventually(lambda: details(node)['links not sent again'] == '1', 'a needless link')
        assert len(rtabmap.links) == 1
    assert 'sent link 4 -> 61' in capfd.readouterr().err


@needs_rtabmap
def test_rtabmap_gets_no_link_without_nodes_or_without_a_metric_pose(capfd):
    from seqnet_ros.msg import LoopClosure

    from seqnet_ros.nodes.bridges.rtabmap_node import RtabmapBridgeNode

    with bridging(RtabmapBridgeNode, timeout_s=0.5) as (node, peer):
        rtabmap = Rtabmap(peer)
        closures = connected(peer.create_publisher(LoopClosure, 'loop_closure', 10))
        rtabmap.see(node, 4, 6.0)
        rtabmap.see(node, 60, 62.0)
        direction = make_pose(1, 0)
        for _ in range(2):
            closures.publish(closure_message(6.0, 62.0))
            closures.publish(closure_message(6.0, 62.0, direction, metric=False))
        closures.publish(closure_message(9.0, 62.0, direction))
        broken = closure_message(6.0, 62.0, direction)
        broken.relative_pose.pose.orientation.w = 0.0
        closures.publish(broken)
        closures.publish(closure_message(62.0, 6.0, direction))
        eventually(lambda: node.links.counts['dropped'] == 1, 'a dropped closure')
        eventually(lambda: node.closures.received == 7, 'all closures')
        assert not rtabmap.links
        assert details(node)['loop closures without a metric pose'] == '4'
        assert details(node)['loop closures unusable'] == '2'
    text = capfd.readouterr().err
    assert text.count('without a metric pose gives no link') == 1
    assert text.count('dropped a loop closure after 0.5 s: the nearest node, 4, is 3.000 s from '
                      'the frame at 9.000 s, expected at most 0.02 s without odometry') == 1
    assert 'expected a unit quaternion' in text
    assert 'expected the older frame before the newer one' in text


@pytest.mark.parametrize(('older', 'newer', 'found'), [
    (-5, -3, 'the stamp of its older frame is -5000000000 ns, expected a time after zero'),
    (0, 3, 'the stamp of its older frame is 0 ns, expected a time after zero'),
    (5, 3, 'expected the older frame before the newer one')])
def test_stamps_of_a_closure_are_set_and_in_order(older, newer, found):
    from seqnet_ros.msg import LoopClosure

    from seqnet_ros.core.errors import InputError
    from seqnet_ros.nodes.bridges.closure_input import closure_from_message

    message = LoopClosure()
    message.from_stamp.sec, message.to_stamp.sec = older, newer
    with pytest.raises(InputError, match=found):
        closure_from_message(message)


@needs_rtabmap
def test_links_wait_for_the_service_of_rtabmap(capfd):
    from seqnet_ros.msg import LoopClosure

    from seqnet_ros.nodes.bridges.rtabmap_node import RtabmapBridgeNode
    from seqnet_ros.nodes.diagnostics import Level

    with bridging(RtabmapBridgeNode) as (node, peer):
        rtabmap = Rtabmap(peer, serving=False)
        closures = connected(peer.create_publisher(LoopClosure, 'loop_closure', 10))
        rtabmap.see(node, 4, 6.0)
        rtabmap.see(node, 60, 62.0)
        closures.publish(closure_message(6.0, 62.0, make_pose(1, 0)))
        eventually(lambda: node.diagnostics.report().level is Level.WARN, 'a warning')
        assert 'the service /add_link is not available' in node.diagnostics.report().message
        rtabmap.serve()
        eventually(lambda: rtabmap.links, 'a link')
        assert node.diagnostics.report().level is Level.OK
    assert capfd.readouterr().err.count('which is not available') == 1


@needs_rtabmap
def test_poses_are_handed_on_as_global_poses_of_the_base():
    from geometry_msgs.msg import PoseWithCovarianceStamped

    from seqnet_ros.nodes.bridges.rtabmap_node import RtabmapBridgeNode
    from seqnet_ros.nodes.conversions import pose_with_covariance

    with bridging(RtabmapBridgeNode, base_frame='base_link') as (_, peer):
        got: list[Any] = []
        peer.create_subscription(PoseWithCovarianceStamped, 'global_pose', got.append, 10)
        poses = connected(peer.create_publisher(PoseWithCovarianceStamped, 'pose', 10))
        eventually(lambda: peer.count_publishers('global_pose'), 'discovery')
        sent = pose_with_covariance(where(3), 0.1 * np.eye(6), 3 * SECOND, 'map')
        deadline = time.monotonic() + PATIENCE_S
        while not got and time.monotonic() < deadline:
            poses.publish(sent)
            time.sleep(0.1)
        assert got[0].header.frame_id == 'base_link'
        assert got[0].header.stamp == sent.header.stamp
        assert got[0].pose == sent.pose


@needs_pose_graph
@pytest.mark.parametrize('rejected', [False, True])
def test_loop_closures_become_edges_keyed_by_stamps(rejected, capfd):
    from pose_graph_tools_msgs.msg import PoseGraph, PoseGraphEdge
    from seqnet_ros.msg import LoopClosure

    from seqnet_ros.nodes.bridges.pose_graph_node import PoseGraphBridgeNode

    delay_s = 1.0
    with bridging(PoseGraphBridgeNode, robot_id=3, delay_s=delay_s,
                  include_rejected=rejected) as (node, peer):
        got: list[tuple[float, Any]] = []
        peer.create_subscription(
            PoseGraph, 'pose_graph_bridge/pose_graph',
            lambda message: got.append((time.monotonic(), message)), 10)
        eventually(lambda: listeners(node, '~/pose_graph'), 'a subscription')
        closures = connected(peer.create_publisher(LoopClosure, 'loop_closure', 10))
        refused = peer.create_publisher(LoopClosure, 'rejected_loop_closure', 10)
        if rejected:
            connected(refused)
        pose = relative_pose(where(6.0), where(62.0))
        started = time.monotonic()
        closures.publish(closure_message(6.0, 62.0, pose))
        closures.publish(closure_message(6.0, 62.0))
        refused.publish(closure_message(7.0, 63.0))
        eventually(lambda: sum(len(item.edges) for _, item in got) == 1 + rejected, 'edges')
        assert min(when for when, _ in got) - started >= delay_s
        edges = {edge.type: edge for _, item in got for edge in item.edges}
        edge = edges.pop(PoseGraphEdge.LOOPCLOSE)
        assert (edge.key_from, edge.key_to) == (6 * SECOND, 62 * SECOND)
        assert (edge.robot_from, edge.robot_to) == (3, 3)
        where_to, turn = edge.pose.position, edge.pose.orientation
        assert [where_to.x, where_to.y, where_to.z, turn.x, turn.y, turn.z, turn.w] == (
            pytest.approx(pose))
        assert edge.covariance[0] == pytest.approx(0.04)
        assert (edge.header.stamp.sec, edge.header.stamp.nanosec) == (62, 0)
        if rejected:
            edge = edges.pop(PoseGraphEdge.REJECTED_LOOPCLOSE)
            assert (edge.key_from, edge.key_to) == (7 * SECOND, 63 * SECOND)
            assert edge.covariance[0] == 1e6
        assert not edges
        assert details(node)['edges published'] == str(1 + rejected)
        assert details(node)['loop closures without a metric pose'] == '1'
    assert capfd.readouterr().err.count('without a metric pose gives no edge') == 1


class MapServer:
    """Nav2's map server: it loads grids that exist."""

    def __init__(self, peer: Any, existing: set[str]) -> None:
        from nav2_msgs.srv import LoadMap

        self.asked: list[str] = []
        self._existing = existing
        peer.create_service(LoadMap, 'map_server/load_map', self._load)

    def _load(self, request: Any, response: Any) -> Any:
        self.asked.append(request.map_url)
        response.result = (response.RESULT_SUCCESS if request.map_url in self._existing
                           else response.RESULT_MAP_DOES_NOT_EXIST)
        return response


@needs_nav2
def test_the_map_server_follows_the_tile(capfd):
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from std_msgs.msg import String

    from seqnet_ros.nodes.bridges.map_server_node import MapServerBridgeNode

    grids = 'ground/*=/maps/ground.yaml, first/*=/maps/first.yaml, yard=/maps/none.yaml'
    with bridging(MapServerBridgeNode, grids=grids, retry_s=0.2) as (node, peer):
        tiles = connected(peer.create_publisher(
            String, 'tile', QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)))

        def enter(tile: str) -> None:
            tiles.publish(String(data=tile))
            eventually(lambda: details(node)['tile'] == tile, 'news of the tile')

        enter('ground/x0_y0')
        eventually(lambda: 'is not available' in node.diagnostics.report().message, 'a warning')
        server = MapServer(peer, {'/maps/ground.yaml', '/maps/first.yaml'})
        eventually(lambda: node.loaded == '/maps/ground.yaml', 'a grid, once the server is there')
        enter('ground/x1_y0')
        enter('')
        enter('cellar')
        assert 'no grid is given for tile cellar' in node.diagnostics.report().message
        enter('first/x0_y0')
        eventually(lambda: node.loaded == '/maps/first.yaml', 'the grid of the other floor')
        assert server.asked == ['/maps/ground.yaml', '/maps/first.yaml']
        enter('yard')
        eventually(lambda: server.asked.count('/maps/none.yaml') >= 3, 'further attempts')
        assert 'did not load /maps/none.yaml: result 1' in node.diagnostics.report().message
        enter('first/x0_y0')
        eventually(lambda: details(node)['grid wanted'] == '/maps/first.yaml', 'the grid again')
    printed = capfd.readouterr().err
    assert printed.count('did not load') == 1  # of one kind a line every ten seconds


@pytest.mark.parametrize(('grids', 'problem'), [
    ('', 'expected at least one'), ('hall', "has 'hall', expected 'TILE=FILE'"),
    ('hall=', "has 'hall=', expected 'TILE=FILE'")])
def test_grids_that_are_none_are_refused(grids, problem):
    from seqnet_ros.core.errors import InputError
    from seqnet_ros.nodes.bridges.map_server_node import read_grids

    with pytest.raises(InputError, match=problem):
        read_grids(grids)


@pytest.mark.parametrize(('name', 'package'), PACKAGES.items())
def test_a_bridge_without_its_messages_says_so(name, package):
    as_if_absent = (f"import sys; sys.modules['{package}'] = None;"
                    f"from seqnet_ros.nodes.__main__ import start; start('{name}')")
    done = subprocess.run([sys.executable, '-c', as_if_absent],
                          capture_output=True, text=True, env=dict(os.environ), timeout=PATIENCE_S)
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1
    assert (f'{name} needs the package {package}, which is not installed or not sourced'
            in done.stderr)


def settings(name: str) -> Any:
    from seqnet_ros.nodes.bridges.map_server_node import MapServerBridgeSettings
    from seqnet_ros.nodes.bridges.pose_graph_node import PoseGraphBridgeSettings
    from seqnet_ros.nodes.bridges.rtabmap_node import RtabmapBridgeSettings

    return {'rtabmap_bridge': RtabmapBridgeSettings(),
            'pose_graph_bridge': PoseGraphBridgeSettings(),
            'map_server_bridge': MapServerBridgeSettings()}[name]


@pytest.mark.parametrize('name', PACKAGES)
def test_parameter_files_hold_the_defaults(name):
    content = yaml.safe_load((ROOT / 'config' / f'{name}.yaml').read_text())
    assert content == {'/**': {'ros__parameters': settings(name).model_dump()}}


@pytest.mark.parametrize('name', PACKAGES)
def test_the_documentation_lists_the_parameters(name):
    text = (ROOT / 'docs' / 'slam.md').read_text()
    table = text[text.index(f'| parameter of `{name}`'):].split('\n\n')[0].splitlines()[2:]
    values = settings(name)
    assert set(table) == {
        f'| `{field}` | `{json.dumps(getattr(values, field))}` | {info.description} |'
        for field, info in type(values).model_fields.items()}


def test_a_refused_parameter_ends_a_bridge_with_one_sentence():
    name = next((name for name, package in PACKAGES.items() if find_spec(package)), None)
    if name is None:
        pytest.skip('the messages of no bridge are installed')
    done = subprocess.run(
        [sys.executable, '-m', 'seqnet_ros.nodes', name, '--ros-args',
         '-p', 'diagnostics_period_s:=-1.0'],
        capture_output=True, text=True, env=dict(os.environ), timeout=PATIENCE_S)
    assert done.returncode == 2
    assert 'diagnostics_period_s out of range' in done.stderr
    assert 'Traceback' not in done.stderr
