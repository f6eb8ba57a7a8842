"""Where on the earth the robot is, for maps that know where they are."""

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import NavSatFix
from std_msgs.msg import Header

from seqnet_ros.core.geodesy import GeoPoint, enu_to_geodetic

try:
    from geographic_msgs.msg import GeoPoseWithCovarianceStamped
except ImportError:  # part of the package geographic_msgs, which few installations have
    GeoPoseWithCovarianceStamped = None


class GeoPosePublisher:
    """Publishes ``~/fix`` and, where geographic_msgs is installed, ``~/geo_pose``.

    Both say the same as ``~/pose``, in degrees and meters above the WGS-84 ellipsoid. Covariances
    are in square meters along east, north and up.

    Args:
        node: the publishing node; nothing is sent while it is not active.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._fixes = node.create_lifecycle_publisher(NavSatFix, '~/fix', 10)
        self._poses: Any = None
        if GeoPoseWithCovarianceStamped is not None:
            self._poses = node.create_lifecycle_publisher(
                GeoPoseWithCovarianceStamped, '~/geo_pose', 10)

    def publish(self, pose: PoseWithCovarianceStamped, datum: GeoPoint, robot_frame: str) -> None:
        """Publish a pose.

        Args:
            pose: in the frame of the map.
            datum: where on the earth that frame begins; its axes lead east, north and up.
            robot_frame: frame of the robot, to which the position belongs.
        """
        position = pose.pose.pose.position
        latitude, longitude, altitude = enu_to_geodetic(
            np.array([[position.x, position.y, position.z]]), datum)[0].tolist()
        self._fixes.publish(_fix(pose, latitude, longitude, altitude, robot_frame))
        if self._poses is not None:
            message = GeoPoseWithCovarianceStamped(header=pose.header)
            point = message.pose.pose.position
            point.latitude, point.longitude, point.altitude = latitude, longitude, altitude
            message.pose.pose.orientation = pose.pose.pose.orientation
            message.pose.covariance = pose.pose.covariance
            self._poses.publish(message)


def _fix(pose: PoseWithCovarianceStamped, latitude: float, longitude: float, altitude: float,
         robot_frame: str) -> NavSatFix:
    message: Any = NavSatFix(header=Header(stamp=pose.header.stamp, frame_id=robot_frame),
                             latitude=latitude, longitude=longitude, altitude=altitude)
    covariance = np.reshape(pose.pose.covariance, (6, 6))[:3, :3]
    message.position_covariance = covariance.ravel().tolist()
    message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_KNOWN
    message.status.status = message.status.STATUS_FIX
    return message
