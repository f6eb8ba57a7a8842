"""The access-control policy says what the nodes do, no more and no less."""

import gc
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqnet_ros.nodes.__main__ import NODES

ROOT = Path(__file__).resolve().parents[2]
POLICY = ROOT / 'config' / 'sros2' / 'policy.xml'
RULES = {'publish': 'publisher', 'subscribe': 'subscriber', 'reply': 'service',
         'request': 'client'}
SEVERAL_CAMERAS = '/image_*'
PATIENCE_S = 20.0


def allowed(node: str) -> dict[str, set[str]]:
    """Return the full names that the policy allows a node, by kind."""
    profile = ET.parse(POLICY).find(f".//enclave[@path='/seqnet_ros/{node}']/profiles/profile")
    assert profile is not None
    assert profile.attrib == {'ns': '/', 'node': node}
    names: dict[str, set[str]] = {kind: set() for kind in RULES.values()}
    for rule in profile:
        ((word, verdict),) = rule.attrib.items()
        assert verdict == 'ALLOW'
        for item in rule:
            assert item.tag == rule.tag.removesuffix('s')
            name = str(item.text)
            full = name.replace('~', f'/{node}') if name.startswith('~') else name
            names[RULES[word]].add(full if full.startswith('/') else f'/{full}')
    return names


def made(node: Any) -> dict[str, set[str]]:
    """Return the full names of what a node itself knows that it has, by kind."""
    return {'publisher': {item.topic_name for item in node.publishers},
            'subscriber': {item.topic_name for item in node.subscriptions},
            'service': {item.service_name for item in node.services},
            'client': {item.service_name for item in node.clients}}


def used(make: Callable[..., Any], start: bool, **parameters: Any) -> dict[str, set[str]]:
    """Return the full names of what a running node has, by kind."""
    import rclpy
    from rclpy.parameter import Parameter

    gc.collect()  # a lifecycle node of the same name stays registered until it is collected
    context = rclpy.Context()
    rclpy.init(context=context)
    node: Any = make(context=context, parameter_overrides=[
        Parameter(key, value=value) for key, value in parameters.items()])
    try:
        if start:
            assert node.start()
        known = made(node)
        names: dict[str, set[str]] = {}
        unchanged_since = deadline = time.monotonic()
        deadline += PATIENCE_S
        # The graph follows what was made, and holds more: what rcl makes for each node.
        while (time.monotonic() - unchanged_since < 0.5
               or any(known[kind] - names[kind] for kind in known)):
            assert time.monotonic() < deadline, (known, names)
            now = {kind: {name for name, _ in getattr(
                node, f'get_{kind}_names_and_types_by_node')(node.get_name(), '/')}
                for kind in RULES.values()}
            if now != names:
                names, unchanged_since = now, time.monotonic()
            time.sleep(0.02)
        return names
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def check(node: str, variants: list[dict[str, set[str]]],
          absent: set[str] | None = None) -> None:
    absent = set() if absent is None else absent
    if find_spec('type_description_interfaces') is None:  # Humble
        absent.add(f'/{node}/get_type_description')
    for kind, policy in allowed(node).items():
        real = set().union(*(names[kind] for names in variants))
        cameras = {name for name in real if fnmatchcase(name, SEVERAL_CAMERAS)}
        expected = real - cameras
        if cameras:
            expected.add(SEVERAL_CAMERAS)
        assert policy - absent == expected, f'{kind}s of {node}'


@pytest.fixture
def with_geometry(tmp_path: Path) -> str:
    """A model of two cameras that checks the geometry of matches."""
    content = yaml.safe_load((ROOT / 'models' / 'hog.yaml').read_text())
    path = tmp_path / 'two-cameras.yaml'
    path.write_text(yaml.safe_dump({**content, 'geometry': {}, 'cameras': 2}))
    return str(path)


@pytest.mark.requires_ros
@pytest.mark.parametrize('name', ['localizer', 'mapper', 'loop_closer'])
def test_lifecycle_nodes_may_do_what_they_do(name, with_geometry):
    from seqnet_ros.nodes.localizer_node import LocalizerNode
    from seqnet_ros.nodes.loop_closer_node import LoopCloserNode
    from seqnet_ros.nodes.mapper_node import MapperNode

    make = {'localizer': LocalizerNode, 'mapper': MapperNode, 'loop_closer': LoopCloserNode}[name]
    cameras: dict[str, Any] = {} if name == 'localizer' else {'cameras': 2}
    absent = set()
    more = {'publish_initial_pose': True} if name == 'localizer' else {}
    if name == 'localizer' and find_spec('tf2_msgs') is None:
        absent.add('/tf')
    elif name == 'localizer':
        more['publish_tf'] = True
    check(name, [
        used(make, True, model='hog', use_sim_time=True, **more),
        used(make, True, model='hog', image_transport='compressed'),
        used(make, True, model=with_geometry, **cameras)], absent)


@pytest.mark.requires_ros
def test_the_bridge_to_rtabmap_may_do_what_it_does():
    pytest.importorskip('rtabmap_msgs', reason='rtabmap_msgs is not installed')
    from seqnet_ros.nodes.bridges.rtabmap_node import RtabmapBridgeNode

    check('rtabmap_bridge', [
        used(RtabmapBridgeNode, False, use_sim_time=True, base_frame='base_link')])


@pytest.mark.requires_ros
def test_the_bridge_to_pose_graphs_may_do_what_it_does():
    pytest.importorskip('pose_graph_tools_msgs', reason='pose_graph_tools_msgs is not installed')
    from seqnet_ros.nodes.bridges.pose_graph_node import PoseGraphBridgeNode

    check('pose_graph_bridge', [
        used(PoseGraphBridgeNode, False, use_sim_time=True, include_rejected=True)])


@pytest.mark.requires_ros
def test_the_bridge_to_map_servers_may_do_what_it_does():
    pytest.importorskip('nav2_msgs', reason='nav2_msgs is not installed')
    from seqnet_ros.nodes.bridges.map_server_node import MapServerBridgeNode

    check('map_server_bridge', [
        used(MapServerBridgeNode, False, use_sim_time=True, grids='hall=hall.yaml')])


@pytest.mark.requires_ros
def test_the_evaluator_may_do_what_it_does(town_map):
    from seqnet_ros.nodes.evaluator_node import EvaluatorNode

    check('evaluator', [used(EvaluatorNode, False, use_sim_time=True, map=str(town_map))])


@pytest.mark.requires_ros
def test_the_bag_player_may_do_what_it_does():
    from seqnet_ros.nodes.bag_player import BagPlayerNode

    check('bag_player', [used(BagPlayerNode, False, use_sim_time=True, bag='somewhere')])


def test_every_executable_has_an_enclave():
    paths = {item.get('path') for item in ET.parse(POLICY).iter('enclave')}
    assert paths == {f'/seqnet_ros/{name}' for name in NODES}


def test_the_policy_follows_the_schema_of_sros2():
    """sros2 turns it into permissions of the middleware, all of them."""
    policy = pytest.importorskip('sros2.policy', reason='sros2 is not installed')
    etree = pytest.importorskip('lxml.etree', reason='lxml is not installed')
    schema = etree.parse(str(policy.get_policy_schema('policy.xsd')))
    # The schema takes xml:base from the network; this policy has none.
    for item in [*schema.iterfind('{*}import'), *schema.iterfind('.//{*}attribute[@ref]')]:
        item.getparent().remove(item)
    tree = etree.parse(str(POLICY))
    etree.XMLSchema(schema).assertValid(tree)
    template = str(policy.get_transport_template('dds', 'permissions.xsl'))
    permissions = etree.XSLT(etree.parse(template))(tree)
    subscribed = {item.text for item in permissions.iterfind('.//subscribe/topics/topic')}
    published = {item.text for item in permissions.iterfind('.//publish/topics/topic')}
    assert {'rt/image/compressed', 'rq/localizer/load_mapRequest', 'rr/add_linkReply'} <= subscribed
    assert {'rt/localizer/pose', 'rr/localizer/load_mapReply', 'rq/add_linkRequest'} <= published
