"""The transform from the map to odometry: REP-105, from the engine's pose to /tf."""

import sys
import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from node_harness import (
    TOWN_EVERY,
    change_state,
    deliver,
    eventually,
    localizing,
    render,
    settle,
    wait_for_odometry,
)

from seqnet_ros.core.poses import make_pose, pose_from_matrix, pose_matrix

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytestmark = pytest.mark.requires_ros
needs_tf2 = pytest.mark.skipif(find_spec('tf2_msgs') is None, reason='tf2_msgs is not installed')

DRIFT = make_pose(3.0, -2.0, 0.5, yaw=0.7)
"""Where odometry's origin is in the map."""
TOLERANCE_S = 0.5


def pose_of(transform: Any) -> np.ndarray:
    where, turn = transform.translation, transform.rotation
    return np.array([where.x, where.y, where.z, turn.x, turn.y, turn.z, turn.w])


def pose_in(message: Any) -> np.ndarray:
    where, turn = message.position, message.orientation
    return np.array([where.x, where.y, where.z, turn.x, turn.y, turn.z, turn.w])


def test_the_transform_leads_from_the_map_by_odometry_to_the_robot():
    from seqnet_ros.nodes.outputs.map_to_odom import map_to_odom

    in_odom = make_pose(5, 1, yaw=-0.4)
    in_map = pose_from_matrix(pose_matrix(DRIFT) @ pose_matrix(in_odom))
    assert map_to_odom(in_map, in_odom) == pytest.approx(DRIFT)


@needs_tf2
def test_map_to_odom_puts_the_robot_where_the_place_is(town_map):
    from tf2_msgs.msg import TFMessage

    drive = render(seed=2, count=30, lateral_offset=0.3)
    from_map = np.linalg.inv(pose_matrix(DRIFT))
    in_odom = {stamp_ns: pose_from_matrix(from_map @ pose_matrix(pose))
               for stamp_ns, _, pose in drive}
    heard: list[tuple[float, Any]] = []
    with localizing(map=str(town_map), publish_tf=True, tf_tolerance_s=TOLERANCE_S,
                    **TOWN_EVERY) as (node, peer):
        peer.node.create_subscription(
            TFMessage, '/tf', lambda message: heard.append((time.time(), message)), 100)
        eventually(lambda: node.count_subscribers('/tf'), 'a subscription')
        time.sleep(0.2)
        assert not heard, 'nothing is known yet'
        for stamp_ns, image, _ in drive:
            peer.move(in_odom[stamp_ns], stamp_ns)
            wait_for_odometry(node, stamp_ns)
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        settle(node)
        eventually(lambda: peer.poses and len(peer.matches) == len(drive), 'accepted poses')
        heard.clear()
        eventually(lambda: len(heard) >= 5, 'more and more transforms')

        for arrived, message in heard:
            (transform,) = message.transforms
            assert (transform.header.frame_id, transform.child_frame_id) == ('map', 'odom')
            stamp = transform.header.stamp.sec + transform.header.stamp.nanosec * 1e-9
            assert stamp == pytest.approx(arrived + TOLERANCE_S, abs=0.4)
        last = peer.poses[-1]
        stamp_ns = last.header.stamp.sec * 10**9 + last.header.stamp.nanosec
        found = pose_matrix(pose_of(heard[-1][1].transforms[0].transform))
        robot = pose_from_matrix(found @ pose_matrix(in_odom[stamp_ns]))
        assert robot == pytest.approx(pose_in(last.pose.pose), abs=1e-6)
        # The robot was placed well, so odometry's origin is near where it is.
        truth = next(pose for stamp, _, pose in drive if stamp == stamp_ns)
        assert np.linalg.norm(robot[:2] - truth[:2]) < 3.0

        assert change_state(peer, 'localizer', 'deactivate')
        time.sleep(0.2)
        heard.clear()
        time.sleep(0.3)
        assert not heard
        assert node.count_publishers('/tf') == 0


@needs_tf2
def test_the_odometry_frame_can_be_named(town_map):
    from tf2_msgs.msg import TFMessage

    drive = render(seed=2, count=30, lateral_offset=0.3)
    frames: set[tuple[str, str]] = set()

    def note(message: Any) -> None:
        frames.update((item.header.frame_id, item.child_frame_id) for item in message.transforms)

    with localizing(map=str(town_map), publish_tf=True, map_frame='town', odom_frame='wheels',
                    **TOWN_EVERY) as (node, peer):
        peer.node.create_subscription(TFMessage, '/tf', note, 100)
        for stamp_ns, image, pose in drive:
            peer.move(pose, stamp_ns)
            wait_for_odometry(node, stamp_ns)
            deliver(node, lambda stamp_ns=stamp_ns, image=image: peer.show(image, stamp_ns))
        eventually(lambda: frames, 'a transform')
        assert frames == {('town', 'wheels')}


def test_without_tf2_msgs_the_node_says_what_it_lacks(town_map, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_msgs', None)  # as if it were not installed
    with localizing(start=False, map=str(town_map), publish_tf=True) as (node, _):
        assert not node.start()
        assert node.phase == 'inactive'
    assert ('publish_tf needs the package tf2_msgs, which is not installed'
            in capfd.readouterr().err)
