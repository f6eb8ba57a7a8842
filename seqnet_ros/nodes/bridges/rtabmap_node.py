"""The bridge to rtabmap: loop closures become links of its graph, poses its global poses."""

from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped, Quaternion, Transform, Vector3
from nav_msgs.msg import Odometry
from pydantic import Field
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from seqnet_ros.core.errors import InputError
from seqnet_ros.nodes.bridges.bridge import BridgeSettings, call_often, now_s, require_package
from seqnet_ros.nodes.bridges.closure_input import CLOSURE_TOPIC, ClosureInput
from seqnet_ros.nodes.bridges.loop_closure import Closure
from seqnet_ros.nodes.bridges.rtabmap_links import (
    GraphLink,
    GraphNodes,
    LinkLimits,
    LinkQueue,
    make_drive_buffer,
)
from seqnet_ros.nodes.conversions import pose_from_odometry, stamp_to_ns
from seqnet_ros.nodes.diagnostics import DiagnosticsReporter, Level, Report
from seqnet_ros.nodes.error_log import IntervalLog
from seqnet_ros.nodes.inputs.odometry_subscriber import ODOMETRY_TOPIC
from seqnet_ros.nodes.name_watch import NameWatch
from seqnet_ros.nodes.parameters import declare_settings
from seqnet_ros.nodes.ros_logging import PrintableLogs
from seqnet_ros.nodes.run import run_plain

NAME = 'rtabmap_bridge'
PACKAGE = 'rtabmap_msgs'
INFO_TOPIC = 'info'
GRAPH_TOPIC = 'mapGraph'
SERVICE = 'add_link'
POSE_TOPIC = 'pose'
GLOBAL_POSE_TOPIC = 'global_pose'
USER_CLOSURE = 4
"""``rtabmap::Link::kUserClosure``; the message has no constants."""


class RtabmapBridgeSettings(BridgeSettings):
    """Parameters of the rtabmap bridge."""

    max_offset_s: float = Field(
        1.0, gt=0, le=60,
        description="Maximum time between a frame and rtabmap's node, s, if odometry gives the "
                    'motion between them.')
    max_offset_without_odometry_s: float = Field(
        0.02, ge=0, le=60, description='The same without odometry, s.')
    timeout_s: float = Field(
        10.0, gt=0, le=3600,
        description='Maximum time a loop closure waits for its nodes, s of wall time.')
    use_odometry: bool = Field(
        True, description="Subscribe to 'odometry', the odometry that rtabmap uses.")
    base_frame: str = Field(
        '', description="Republish accepted poses from 'pose' on 'global_pose' in this frame, "
                        "which is rtabmap's frame_id; '' disables this.")


class RtabmapBridgeNode(PrintableLogs, Node):
    """Calls ``add_link`` for every loop closure with a metric pose.

    Args:
        options: as for `rclpy.node.Node`.

    Raises:
        MissingPackageError: rtabmap_msgs is not installed.
        InputError: values of parameters contradict each other.
        rclpy.exceptions.ParameterException: a value of a parameter is rejected.

    Attributes:
        closures: the loop closures that arrive.
        nodes: of rtabmap's graph.
        odometry: of the drive.
        links: closures on their way to links.
    """

    def __init__(self, **options: Any) -> None:
        require_package(NAME, PACKAGE)
        super().__init__(NAME, **options)
        NameWatch(self)
        from rtabmap_msgs.msg import Info, Link, MapGraph
        from rtabmap_msgs.srv import AddLink

        self._settings = settings = declare_settings(self, RtabmapBridgeSettings())
        self._link_message: Any = Link
        self._request: Any = AddLink.Request
        self.nodes = GraphNodes()
        self.odometry = make_drive_buffer()
        self.links = LinkQueue(self.nodes, self.odometry, LinkLimits(
            settings.max_offset_s, settings.max_offset_without_odometry_s, settings.timeout_s))
        self._outbox: list[GraphLink] = []
        self._sent = 0
        self._needless = 0
        self._in_graph: frozenset[tuple[int, int]] = frozenset()
        self._service_missing = False
        self._log = IntervalLog(self.get_logger())
        self._client: Any = self.create_client(AddLink, SERVICE)
        self._service = self.resolve_service_name(SERVICE)
        self.create_subscription(Info, INFO_TOPIC, self._on_info, 100)
        # rtabmap offers its graph transient local or volatile: this requests a policy compatible
        # with both.
        self.create_subscription(MapGraph, GRAPH_TOPIC, self._on_graph, 1)
        if settings.use_odometry:
            self.create_subscription(
                Odometry, ODOMETRY_TOPIC, self._on_odometry,
                QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT))
        if settings.base_frame:
            self._global_poses = self.create_publisher(
                PoseWithCovarianceStamped, GLOBAL_POSE_TOPIC, 10)
            self.create_subscription(PoseWithCovarianceStamped, POSE_TOPIC, self._on_pose, 10)
        self.closures = ClosureInput(self)
        self.closures.subscribe(CLOSURE_TOPIC, self._on_closure)
        call_often(self, self._send_links)
        self.diagnostics = DiagnosticsReporter(
            self, settings.diagnostics_period_s, self.closures.report, self._report)

    # Inputs.

    def _on_closure(self, closure: Closure) -> None:
        if not self.links.add(closure, now_s()) and (
                self.links.counts['without a metric pose'] == 1):
            self.get_logger().warning(
                'a loop closure without a metric pose gives no link; further ones are only counted '
                'in /diagnostics')

    def _on_info(self, message: Any) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if message.ref_id > 0 and stamp_ns:
            self.nodes.add(int(message.ref_id), stamp_ns)

    def _on_graph(self, message: Any) -> None:
        self.nodes.keep(message.poses_id, stamp_to_ns(message.header.stamp))
        self._in_graph = frozenset(
            (min(link.from_id, link.to_id), max(link.from_id, link.to_id))
            for link in message.links if link.type == USER_CLOSURE)

    def _on_odometry(self, message: Odometry) -> None:
        try:
            self.odometry.add(stamp_to_ns(message.header.stamp), pose_from_odometry(message))
        except InputError as error:
            self.get_logger().warning(f'ignored odometry: {error}', once=True)

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        # rtabmap interprets the frame as that of the sensor whose pose it is, not as the map's.
        message.header.frame_id = self._settings.base_frame
        self._global_poses.publish(message)

    # Output.

    def _send_links(self) -> None:
        """Send the links whose nodes are known."""
        links, dropped = self.links.take(now_s())
        for item in dropped:
            self._log.warning('dropped', 'dropped a loop closure after '
                              f'{self._settings.timeout_s:g} s: {item.reason}')
        self._outbox += links
        if not self._outbox:
            return
        if not self._client.service_is_ready():
            if not self._service_missing:
                self.get_logger().warning(
                    f'{len(self._outbox)} links wait for the service {self._service}, which is not '
                    'available')
            self._service_missing = True
            return
        self._service_missing = False
        for link in self._outbox:
            self._send(link)
        self._outbox.clear()

    def _send(self, link: GraphLink) -> None:
        """Send a link unless rtabmap, which keeps one for two nodes, has it; it may reject one."""
        if (link.from_id, link.to_id) in self._in_graph:
            self._needless += 1
            return
        self._client.call_async(self._request(link=self._to_message(link)))
        self._sent += 1
        self.get_logger().info(f'sent link {link.from_id} -> {link.to_id}')

    def _to_message(self, link: GraphLink) -> Any:
        x, y, z, qx, qy, qz, qw = (float(value) for value in link.pose)
        return self._link_message(
            from_id=int(link.from_id), to_id=int(link.to_id), type=USER_CLOSURE,
            transform=Transform(translation=Vector3(x=x, y=y, z=z),
                                rotation=Quaternion(x=qx, y=qy, z=qz, w=qw)),
            information=[float(value) for value in link.information.ravel()])

    def _report(self, report: Report) -> None:
        counts = self.links.counts
        report.values.update({
            'nodes of rtabmap known': len(self.nodes),
            'odometry poses kept': len(self.odometry),
            'loop closures waiting for nodes': len(self.links),
            'loop closures without a metric pose': counts['without a metric pose'],
            'loop closures dropped': counts['dropped'],
            'links waiting for the service': len(self._outbox),
            'links sent': self._sent,
            'links not sent again': self._needless,
            "user closures in rtabmap's graph": len(self._in_graph),
        })
        if self._service_missing:
            report.level = Level.WARN
            report.message = f'the service {self._service} is not available'


def main() -> None:
    """Run the node until it is interrupted."""
    run_plain(RtabmapBridgeNode)
