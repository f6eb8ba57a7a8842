"""What the bridges do between messages: nodes by stamp, waiting, links and edges."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from seqnet_ros.core.pose_buffer import PoseBuffer
from seqnet_ros.core.poses import make_pose, pose_from_matrix, pose_matrix, relative_pose
from seqnet_ros.nodes.bridges.delay_queue import DelayQueue
from seqnet_ros.nodes.bridges.loop_closure import Closure
from seqnet_ros.nodes.bridges.pose_graph_edges import UNKNOWN_VARIANCE, make_edge
from seqnet_ros.nodes.bridges.rtabmap_links import (
    GraphNodes,
    LinkLimits,
    LinkQueue,
    make_drive_buffer,
)

SECOND = 10**9
LIMITS = LinkLimits(offset_s=1.0, offset_without_odometry_s=0.02, timeout_s=10.0)
COVARIANCE = np.diag([0.04, 0.09, 0.16, 0.01, 0.02, 0.03])


def turning(stamp_ns: int) -> np.ndarray:
    """Where a robot is that drives a spiral."""
    t = stamp_ns / SECOND
    return make_pose(t * np.cos(t / 5), t * np.sin(t / 5), yaw=t / 3)


def graph(*nodes: tuple[int, float], dropped: tuple[int, ...] = ()) -> GraphNodes:
    made = GraphNodes()
    for node_id, t in nodes:
        made.add(node_id, round(t * SECOND))
    made.keep([node_id for node_id, _ in nodes if node_id not in dropped],
              round(nodes[-1][1] * SECOND))
    return made


def drive(seconds: int, rate: int = 50) -> PoseBuffer:
    log = make_drive_buffer()
    for step in range(seconds * rate + 1):
        stamp_ns = step * SECOND // rate
        log.add(stamp_ns, turning(stamp_ns))
    return log


def closure(older: float, newer: float, pose: np.ndarray | None = None) -> Closure:
    return Closure(round(older * SECOND), round(newer * SECOND),
                   make_pose(0.5, 0.1, yaw=0.2) if pose is None else pose, COVARIANCE)


def test_the_nearest_node_of_the_graph_is_found():
    nodes = graph((1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), dropped=(3,))
    assert nodes.nearest(round(1.4 * SECOND)) == (1, SECOND)
    assert nodes.nearest(round(1.6 * SECOND)) == (2, 2 * SECOND)
    assert nodes.nearest(round(2.9 * SECOND)) == (2, 2 * SECOND)
    assert nodes.nearest(round(3.1 * SECOND)) == (4, 4 * SECOND)
    assert nodes.nearest(99 * SECOND) == (4, 4 * SECOND)
    assert GraphNodes().nearest(0) is None


def test_the_end_of_the_graph_is_known_when_stamp_and_graph_have_come():
    nodes = GraphNodes()
    assert not nodes.reach(0)
    nodes.add(1, 5 * SECOND)
    assert not nodes.reach(5 * SECOND)
    nodes.keep([1], 5 * SECOND)
    assert nodes.reach(5 * SECOND)
    assert not nodes.reach(5 * SECOND + 1)


def test_a_number_used_again_has_the_later_stamp():
    nodes = GraphNodes()
    nodes.add(7, SECOND)
    nodes.add(7, 2 * SECOND)
    nodes.keep([7], 2 * SECOND)
    assert nodes.nearest(SECOND) == (7, 2 * SECOND)


@pytest.mark.parametrize(('node_id', 'stamp_s'), [(1, 9), (5, 2)])
def test_a_graph_begins_anew(node_id, stamp_s):
    nodes = graph((1, 1.0), (2, 2.0), (3, 3.0))
    nodes.add(node_id, stamp_s * SECOND)
    assert len(nodes) == 1


def test_odometry_is_thinned_out_and_interpolated():
    log = drive(20)
    assert len(log) <= 20 * 20 + 1 < 20 * 50
    for stamp_ns in range(0, 20 * SECOND, SECOND // 7):
        assert log.at(stamp_ns) == pytest.approx(turning(stamp_ns), abs=2e-3)
    assert log.at(20 * SECOND) == pytest.approx(turning(20 * SECOND))
    assert log.at(20 * SECOND + 1) is None
    assert log.at(-1) is None


def test_odometry_has_holes_and_begins_anew():
    log = make_drive_buffer()
    for t in (1, 2, 4):
        log.add(t * SECOND, make_pose(t, 0))
    assert log.at(3 * SECOND // 2)[0] == pytest.approx(1.5)
    assert log.at(3 * SECOND) is None
    log.add(SECOND, make_pose(9, 0))
    assert len(log) == 1
    assert log.at(SECOND)[0] == 9


def test_a_closure_at_the_stamps_of_nodes_needs_no_odometry():
    queue = LinkQueue(graph((3, 10.0), (8, 50.0)), make_drive_buffer(), LIMITS)
    assert queue.add(closure(10, 50), now_s=0)
    links, dropped = queue.take(now_s=0)
    assert not dropped
    assert len(queue) == 0
    (link,) = links
    assert (link.from_id, link.to_id) == (3, 8)
    assert link.pose == pytest.approx(make_pose(0.5, 0.1, yaw=0.2))


def test_a_link_is_moved_along_odometry_to_its_nodes():
    """With odometry without error, the link is what odometry says between the nodes."""
    truth = relative_pose(turning(10 * SECOND), turning(18 * SECOND))
    queue = LinkQueue(graph((3, 10.4), (8, 17.7), (9, 19.0)), drive(20), LIMITS)
    queue.add(closure(10, 18, truth), now_s=0)
    ((link,), _) = queue.take(now_s=0)
    assert (link.from_id, link.to_id) == (3, 8)
    expected = relative_pose(turning(round(10.4 * SECOND)), turning(round(17.7 * SECOND)))
    assert link.pose == pytest.approx(expected, abs=5e-3)


def test_the_information_is_that_of_errors_at_the_newer_node():
    """Poses are drawn around the measured one as the message means its covariance."""
    pose = pose_from_matrix(pose_matrix(make_pose(3, -2, 0.5, yaw=1.2))
                            @ pose_matrix(np.array([0, 0, 0, 0.2, 0.1, 0, 0.97468])))
    covariance = 1e-4 * COVARIANCE
    queue = LinkQueue(graph((3, 10.4), (8, 17.2), (9, 19.0)), drive(20), LIMITS)
    queue.add(Closure(10 * SECOND, 18 * SECOND, pose, covariance), now_s=0)
    ((link,), _) = queue.take(now_s=0)

    onward = pose_matrix(relative_pose(turning(18 * SECOND), turning(round(17.2 * SECOND))))
    measured = pose_matrix(pose)
    rng = np.random.default_rng(1)
    draws = rng.multivariate_normal(np.zeros(6), covariance, size=20000)
    true = np.tile(measured, (len(draws), 1, 1))
    true[:, :3, 3] += draws[:, :3]
    true[:, :3, :3] = Rotation.from_rotvec(draws[:, 3:]).as_matrix() @ measured[:3, :3]
    error = np.linalg.inv(measured @ onward) @ true @ onward
    errors = np.hstack([error[:, :3, 3], Rotation.from_matrix(error[:, :3, :3]).as_rotvec()])
    # Whitened by the information, the errors have the identity as their covariance.
    root = np.linalg.cholesky(link.information)
    assert np.cov(errors @ root, rowvar=False) == pytest.approx(np.eye(6), abs=0.06)


def test_a_closure_waits_for_nodes_that_come_late():
    nodes = graph((3, 10.0), (7, 49.5))
    queue = LinkQueue(nodes, drive(60), LIMITS)
    queue.add(closure(10, 50), now_s=100)
    assert queue.take(now_s=105) == ([], [])
    assert len(queue) == 1
    nodes.add(8, round(50.1 * SECOND))
    assert queue.take(now_s=106) == ([], []), 'the graph itself has not come yet'
    nodes.keep([3, 7, 8], round(50.1 * SECOND))
    ((link,), dropped) = queue.take(now_s=107)
    assert link.to_id == 8
    assert not dropped
    assert queue.counts == {'linked': 1, 'dropped': 0}


def test_after_a_while_the_node_before_has_to_do():
    queue = LinkQueue(graph((3, 10.0), (7, 49.5)), drive(60), LIMITS)
    queue.add(closure(10, 50), now_s=100)
    assert queue.take(now_s=109.9) == ([], [])
    ((link,), _) = queue.take(now_s=110)
    assert link.to_id == 7


@pytest.mark.parametrize(('nodes', 'older', 'reason'), [
    (GraphNodes(), 10, 'no nodes yet'),
    (graph((3, 10.0), (8, 40.0)), 10, 'node, 8, is 10.000 s from the frame at 50.000 s'),
    (graph((3, 10.0), (8, 50.0)), 12, 'node, 3, is 2.000 s from the frame at 12.000 s'),
    (graph((8, 50.0)), 49.5, 'both frames are nearest to node 8'),
])
def test_a_closure_without_nodes_is_dropped_with_the_reason(nodes, older, reason):
    queue = LinkQueue(nodes, drive(60), LIMITS)
    queue.add(closure(older, 50), now_s=0)
    assert queue.take(now_s=9.9) == ([], [])
    links, (dropped,) = queue.take(now_s=10)
    assert not links
    assert reason in dropped.reason
    assert len(queue) == 0
    assert queue.counts['dropped'] == 1


def test_without_odometry_a_node_beside_the_frame_will_not_do():
    queue = LinkQueue(graph((3, 10.0), (8, 50.5)), make_drive_buffer(), LIMITS)
    queue.add(closure(10, 50), now_s=0)
    _, (dropped,) = queue.take(now_s=10)
    assert 'expected at most 0.02 s without odometry' in dropped.reason


def test_a_covariance_that_is_none_is_dropped():
    queue = LinkQueue(graph((3, 10.0), (8, 50.0)), make_drive_buffer(), LIMITS)
    queue.add(Closure(10 * SECOND, 50 * SECOND, make_pose(0, 0), np.zeros((6, 6))), now_s=0)
    _, (dropped,) = queue.take(now_s=10)
    assert 'not positive definite' in dropped.reason


def test_a_closure_without_a_metric_pose_makes_no_link():
    queue = LinkQueue(graph((3, 10.0), (8, 50.0)), make_drive_buffer(), LIMITS)
    assert not queue.add(Closure(10 * SECOND, 50 * SECOND), now_s=0)
    assert queue.take(now_s=99) == ([], [])
    assert queue.counts['without a metric pose'] == 1


def test_edges_keep_stamps_pose_and_covariance():
    edge = make_edge(closure(10, 50), rejected=False)
    assert edge is not None
    assert (edge.key_from, edge.key_to) == (10 * SECOND, 50 * SECOND)
    assert edge.pose is not None
    assert not edge.rejected
    assert (edge.covariance == COVARIANCE).all()


def test_only_rejected_edges_may_lack_a_pose():
    bare = Closure(10 * SECOND, 50 * SECOND)
    assert make_edge(bare, rejected=False) is None
    edge = make_edge(bare, rejected=True)
    assert edge is not None
    assert edge.rejected
    assert (np.diag(edge.covariance) == UNKNOWN_VARIANCE).all()


def test_what_is_delayed_comes_in_order_when_it_is_due():
    waiting: DelayQueue[str] = DelayQueue(5.0)
    waiting.add('a', now_s=1)
    waiting.add('b', now_s=3)
    assert waiting.take(now_s=5.9) == []
    assert waiting.take(now_s=6) == ['a']
    assert len(waiting) == 1
    assert waiting.take(now_s=99) == ['b']
