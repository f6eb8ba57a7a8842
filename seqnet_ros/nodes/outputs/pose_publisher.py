"""The robot's pose in the map: as a topic, as an initial pose and as a transform."""

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node

from seqnet_ros.core.carried_pose import CarriedPose
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.localization.result import MatchResult
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.nodes.conversions import pose_with_covariance
from seqnet_ros.nodes.outputs.covariance import carried_covariance, robot_pose
from seqnet_ros.nodes.outputs.geo_pose import GeoPosePublisher
from seqnet_ros.nodes.outputs.map_to_odom import MapToOdom
from seqnet_ros.nodes.settings import LocalizerSettings

INITIAL_POSE_TOPIC = 'initialpose'


class PosePublisher:
    """Publishes ``~/pose`` and, where the settings ask for it, ``initialpose`` and map -> odom.

    Where the map knows its place on the earth, ``~/fix`` and ``~/geo_pose`` say the same.

    With ``carry_pose`` the pose of an accepted match is carried on by odometry until the next.

    Args:
        node: the publishing node; nothing is sent while it is not active.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._settings = LocalizerSettings()
        self._initial_pose_due = False
        self._transform: MapToOdom | None = None
        self._carried: CarriedPose | None = None
        self._covariance = np.zeros((6, 6))
        self._poses = node.create_lifecycle_publisher(PoseWithCovarianceStamped, '~/pose', 10)
        self._geo_poses = GeoPosePublisher(node)
        self._datum: GeoPoint | None = None
        self._initial_poses: Any = None

    def start(self, settings: LocalizerSettings) -> None:
        """Begin with these settings.

        Raises:
            InputError: the transform is to be published, but tf2_msgs is not installed.
        """
        self._settings = settings
        self.expect_initial_pose()
        if settings.publish_initial_pose:
            # Not a lifecycle publisher: made here, it would not be activated with the node.
            self._initial_poses = Node.create_publisher(
                self._node, PoseWithCovarianceStamped, INITIAL_POSE_TOPIC, 1)
        if settings.publish_tf:
            self._transform = MapToOdom(
                self._node, settings.map_frame,
                lambda: float(self._node.get_parameter('tf_tolerance_s').value))

    def stop(self) -> None:
        """Stop publishing the transform and initial poses, and carrying the pose."""
        self._carried = None
        self._initial_pose_due = False
        if self._initial_poses is not None:
            self._node.destroy_publisher(self._initial_poses)
            self._initial_poses = None
        if self._transform is not None:
            self._transform.close()
            self._transform = None

    def expect_initial_pose(self) -> None:
        """Publish the next pose as initial pose too, where the settings ask for that."""
        self._initial_pose_due = self._settings.publish_initial_pose

    def begin_anew(self) -> None:
        """Carry no pose until the next match, which is an initial pose, as after a break."""
        self._carried = None
        self.expect_initial_pose()

    def forget_map(self) -> None:
        """Restart, as when another map is searched."""
        self.begin_anew()
        transform = self._transform
        if transform is not None:
            transform.forget()

    def publish(self, result: MatchResult, place_map: PlaceMap, any_heading: bool,
                odometry: np.ndarray | None, odometry_frame: str) -> None:
        """Publish the pose of an accepted match.

        Args:
            result: the match.
            place_map: the map that its best place is in.
            any_heading: the robot may drive against the direction of the map.
            odometry: pose ``[7]`` by odometry at the same time, None where it is not known.
            odometry_frame: frame of this pose, where the settings name none.
        """
        pose, covariance = robot_pose(result, place_map, any_heading)
        self._carried, self._covariance = CarriedPose(pose, odometry), covariance
        self._datum = place_map.manifest.geo_datum
        message = pose_with_covariance(
            pose, covariance, result.stamp_ns, self._settings.map_frame)
        self._send(message)
        if self._initial_pose_due and self._initial_poses is not None:
            self._initial_poses.publish(message)
            self._initial_pose_due = False
        transform = self._transform
        if transform is not None and odometry is not None:
            transform.correct(pose, odometry, self._settings.odom_frame or odometry_frame)

    def _send(self, message: PoseWithCovarianceStamped) -> None:
        self._poses.publish(message)
        if self._datum is not None:
            self._geo_poses.publish(message, self._datum, self._settings.base_frame)

    def carry(self, odometry: np.ndarray | None, drift: float, stamp_ns: int) -> None:
        """Carry the pose of the last accepted match on to an image, and publish it if asked for.

        Args:
            odometry: pose ``[7]`` by odometry at the time of the image; without one, nothing is
                published until the next accepted match.
            drift: error of odometry as a share of the distance.
            stamp_ns: of the image.
        """
        carried = self._carried
        if carried is None or not self._settings.carry_pose:
            return
        carried.move(odometry)
        pose = carried.pose
        if pose is None or carried.distance_m > self._settings.carry_limit_m:
            self._carried = None
            return
        self._send(pose_with_covariance(
            pose, carried_covariance(self._covariance, carried.distance_m, carried.moved_m, drift),
            stamp_ns, self._settings.map_frame))
