"""The layouts for RViz: what they show is what the nodes publish."""

import ast
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAYOUTS = {'localization': 'localizer', 'loop_closure': 'loop_closer'}
TYPES = {'MarkerArray': 'visualization_msgs/msg/MarkerArray',
         'Image': 'sensor_msgs/msg/Image',
         'Marker': 'visualization_msgs/msg/Marker',
         'PoseWithCovariance': 'geometry_msgs/msg/PoseWithCovarianceStamped'}


def layout(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / 'config' / f'{name}.rviz').read_text())


def displays(name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the topics shown: the type of their messages, and the quality of service asked."""
    shown = layout(name)['Visualization Manager']['Displays']
    return {item['Topic']['Value']: (TYPES[item['Class'].split('/')[1]], item['Topic'])
            for item in shown if 'Topic' in item}


def make_node(name: str, context: Any) -> Any:
    from seqnet_ros.nodes.localizer_node import LocalizerNode
    from seqnet_ros.nodes.loop_closer_node import LoopCloserNode

    return {'localizer': LocalizerNode, 'loop_closer': LoopCloserNode}[name](context=context)


@pytest.mark.parametrize('name', LAYOUTS)
def test_layouts_are_well_formed(name):
    manager = layout(name)['Visualization Manager']
    assert manager['Global Options']['Fixed Frame']
    classes = [item['Class'] for item in manager['Displays']]
    assert all(item.startswith('rviz_default_plugins/') for item in classes)
    names = [item['Name'] for item in manager['Displays']]
    assert len(set(names)) == len(names)
    assert all(item['Enabled'] and item['Value'] for item in manager['Displays'])


@pytest.mark.requires_ros
@pytest.mark.parametrize(('name', 'node_name'), LAYOUTS.items())
def test_every_topic_shown_is_published_with_that_type_and_quality(name, node_name):
    import rclpy
    from rclpy.qos import (
        DurabilityPolicy,
        QoSCompatibility,
        QoSProfile,
        ReliabilityPolicy,
        qos_check_compatible,
    )

    context = rclpy.Context()
    rclpy.init(context=context)
    node = make_node(node_name, context)
    try:
        for topic, (kind, asked) in displays(name).items():
            deadline = time.monotonic() + 10
            while not (found := node.get_publishers_info_by_topic(topic)):
                assert time.monotonic() < deadline, f'nobody publishes {topic}'
                time.sleep(0.01)
            assert [item.topic_type for item in found] == [kind]
            profile = QoSProfile(
                depth=asked['Depth'],
                reliability=ReliabilityPolicy[asked['Reliability Policy'].upper()],
                durability=DurabilityPolicy[asked['Durability Policy'].upper().replace(' ', '_')])
            offered = found[0].qos_profile
            assert qos_check_compatible(offered, profile)[0] != QoSCompatibility.ERROR
            # Who comes late sees the map too.
            assert profile.durability == offered.durability
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


@pytest.mark.requires_ros
def test_every_marker_has_its_place_in_a_layout():
    import numpy as np

    from seqnet_ros.localization.result import MatchResult, Reason
    from seqnet_ros.nodes.outputs.markers import (
        belief_markers,
        loop_markers,
        match_markers,
        route_markers,
    )

    line = np.zeros((3, 3))
    nothing = MatchResult(0, 1, 1, (), Reason.BUFFER_FILLING)
    published = {
        '/localizer/map_markers': route_markers([line], 'map', 1).markers,
        '/localizer/markers': match_markers(nothing, 'map').markers,
        '/localizer/belief': belief_markers(np.full(3, 0.3), [line], 'map', 1),
        '/loop_closer/markers': loop_markers(
            line, [(0, 2, True), (0, 1, False)], 'odom', 1).markers}
    shown = {item['Topic']['Value']: set(item['Namespaces'])
             for name in LAYOUTS for item in layout(name)['Visualization Manager']['Displays']
             if 'Namespaces' in item}
    assert shown == {topic: {marker.ns for marker in markers}
                     for topic, markers in published.items()}


@pytest.mark.parametrize(('name', 'launch_file'), [
    ('localization', 'localization'), ('loop_closure', 'slam_loop_closure')])
def test_launch_files_show_these_layouts(name, launch_file):
    """RViz is started with topics moved into a namespace: those of the layouts, all of them."""
    tree = ast.parse((ROOT / 'launch' / f'{launch_file}.launch.py').read_text())
    constants = {item.value for item in ast.walk(tree) if isinstance(item, ast.Constant)}
    assert f'{name}.rviz' in constants
    moved, = [ast.literal_eval(item.value) for item in tree.body if isinstance(item, ast.Assign)
              and ast.unparse(item.targets[0]) == 'SHOWN_TOPICS']
    assert set(moved) == set(displays(name))
