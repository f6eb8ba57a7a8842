"""The bridge to systems that take edges of pose_graph_tools, such as Kimera and Hydra."""

from typing import Any

from pydantic import Field
from rclpy.node import Node
from std_msgs.msg import Header

from seqnet_ros.nodes.bridges.bridge import BridgeSettings, call_often, now_s, require_package
from seqnet_ros.nodes.bridges.closure_input import (
    CLOSURE_QOS,
    CLOSURE_TOPIC,
    REJECTED_TOPIC,
    ClosureInput,
)
from seqnet_ros.nodes.bridges.delay_queue import DelayQueue
from seqnet_ros.nodes.bridges.loop_closure import Closure
from seqnet_ros.nodes.bridges.pose_graph_edges import GraphEdge, make_edge
from seqnet_ros.nodes.conversions import pose_to_message, stamp_from_ns
from seqnet_ros.nodes.diagnostics import DiagnosticsReporter, Report
from seqnet_ros.nodes.name_watch import NameWatch
from seqnet_ros.nodes.parameters import declare_settings
from seqnet_ros.nodes.ros_logging import PrintableLogs
from seqnet_ros.nodes.run import run_plain

NAME = 'pose_graph_bridge'
PACKAGE = 'pose_graph_tools_msgs'


class PoseGraphBridgeSettings(BridgeSettings):
    """Parameters of the pose graph bridge."""

    robot_id: int = Field(0, ge=0, le=2**31 - 1, description='Robot that both frames are of.')
    delay_s: float = Field(
        0.0, ge=0, le=3600,
        description='Delay of every edge after its closure arrived, s of wall time; for systems '
                    'that add their nodes late and drop edges between unknown nodes.')
    include_rejected: bool = Field(
        False, description='Also publish rejected closures, as REJECTED_LOOPCLOSE.')


class PoseGraphBridgeNode(PrintableLogs, Node):
    """Publishes ``~/pose_graph``: one edge for every loop closure with a metric pose.

    Args:
        options: as for `rclpy.node.Node`.

    Raises:
        MissingPackageError: pose_graph_tools_msgs is not installed.
        InputError: values of parameters contradict each other.
        rclpy.exceptions.ParameterException: a value of a parameter is rejected.
    """

    def __init__(self, **options: Any) -> None:
        require_package(NAME, PACKAGE)
        super().__init__(NAME, **options)
        NameWatch(self)
        from pose_graph_tools_msgs.msg import PoseGraph, PoseGraphEdge

        self._settings = declare_settings(self, PoseGraphBridgeSettings())
        self._graph_message: Any = PoseGraph
        self._edge_message: Any = PoseGraphEdge
        self._edges: DelayQueue[GraphEdge] = DelayQueue(self._settings.delay_s)
        self._published = 0
        self._without_pose = 0
        self._publisher = self.create_publisher(PoseGraph, '~/pose_graph', CLOSURE_QOS)
        self.closures = ClosureInput(self)
        self.closures.subscribe(CLOSURE_TOPIC, lambda closure: self._add(closure, rejected=False))
        if self._settings.include_rejected:
            self.closures.subscribe(
                REJECTED_TOPIC, lambda closure: self._add(closure, rejected=True))
        call_often(self, self._publish_due)
        self.diagnostics = DiagnosticsReporter(
            self, self._settings.diagnostics_period_s, self.closures.report, self._report)

    def _add(self, closure: Closure, rejected: bool) -> None:
        edge = make_edge(closure, rejected)
        if edge is not None:
            self._edges.add(edge, now_s())
            return
        self._without_pose += 1
        if self._without_pose == 1:
            self.get_logger().warning(
                'a loop closure without a metric pose gives no edge; further ones are only counted '
                'in /diagnostics')

    def _publish_due(self) -> None:
        due = self._edges.take(now_s())
        if not due:
            return
        newest = max(edge.key_to for edge in due)
        graph = self._graph_message(header=Header(stamp=stamp_from_ns(newest)),
                                    edges=[self._to_message(edge) for edge in due])
        self._publisher.publish(graph)
        self._published += len(due)

    def _to_message(self, edge: GraphEdge) -> Any:
        kind = self._edge_message
        robot = int(self._settings.robot_id)
        return kind(
            header=Header(stamp=stamp_from_ns(edge.key_to)),
            key_from=int(edge.key_from), key_to=int(edge.key_to),
            robot_from=robot, robot_to=robot,
            type=kind.REJECTED_LOOPCLOSE if edge.rejected else kind.LOOPCLOSE,
            pose=pose_to_message(edge.pose),
            covariance=[float(value) for value in edge.covariance.ravel()])

    def _report(self, report: Report) -> None:
        report.values.update({
            'edges published': self._published,
            'edges waiting': len(self._edges),
            'loop closures without a metric pose': self._without_pose,
        })


def main() -> None:
    """Run the node until it is interrupted."""
    run_plain(PoseGraphBridgeNode)
