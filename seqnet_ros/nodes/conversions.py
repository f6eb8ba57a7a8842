"""Messages to the core's types and back.

Every scalar that goes into a message passes through ``float()`` or ``int()``: a NumPy scalar in
a field ends the process inside C code.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseWithCovarianceStamped, Quaternion
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from seqnet_ros.images import image_from_compressed, image_from_raw
from seqnet_ros.matching.result import Candidate, MatchResult
from seqnet_ros.msg import PlaceCandidate, PlaceMatch
from seqnet_ros.poses import check_pose
from seqnet_ros.sequences.keyframes import NANOSECONDS


def stamp_to_ns(stamp: Time) -> int:
    """Return a stamp as integer nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def stamp_from_ns(stamp_ns: int) -> Time:
    """Return integer nanoseconds as a stamp."""
    seconds, rest = divmod(int(stamp_ns), NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def pose_to_message(pose: np.ndarray) -> Pose:
    """Return a pose ``[x, y, z, qx, qy, qz, qw]`` as a message."""
    x, y, z, qx, qy, qz, qw = (float(value) for value in pose)
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def pose_from_odometry(message: Odometry) -> np.ndarray:
    """Return the pose ``[7]`` of an odometry message.

    Raises:
        InputError: a number is not finite, or the quaternion is zero.
    """
    position, rotation = message.pose.pose.position, message.pose.pose.orientation
    return check_pose([position.x, position.y, position.z,
                       rotation.x, rotation.y, rotation.z, rotation.w], 'odometry pose')


def image_reader(message: Image | CompressedImage) -> Callable[[], np.ndarray]:
    """Return what decodes an image message to RGB uint8 ``[H, W, 3]`` when called.

    What is returned raises ``InputError`` where the image cannot be used.
    """
    if isinstance(message, CompressedImage):
        return lambda: image_from_compressed(message.data, message.format)
    return lambda: image_from_raw(message.data, message.height, message.width, message.encoding,
                                  message.step, bool(message.is_bigendian))


def match_to_message(result: MatchResult, frame_id: str, map_id: str) -> PlaceMatch:
    """Return a result as a message, stamped with the newest image of its sequence."""
    return PlaceMatch(
        header=Header(stamp=stamp_from_ns(result.stamp_ns), frame_id=frame_id),
        sequence_start=stamp_from_ns(result.sequence_start_ns), map_id=map_id,
        candidates=[_candidate_to_message(candidate) for candidate in result.candidates],
        accepted=bool(result.accepted), reason=int(result.reason),
        describe_seconds=float(result.describe_seconds),
        match_seconds=float(result.match_seconds))


def _candidate_to_message(candidate: Candidate) -> PlaceCandidate:
    return PlaceCandidate(
        place_id=int(candidate.place_id), stamp=stamp_from_ns(candidate.stamp_ns),
        pose=pose_to_message(candidate.pose),
        descriptor_distance=float(candidate.descriptor_distance),
        sequence_distance=float(candidate.sequence_distance), score=float(candidate.score))


def pose_with_covariance(result: MatchResult, covariance: np.ndarray,
                         frame_id: str) -> PoseWithCovarianceStamped:
    """Return the best place of a result as a pose in the map, with its covariance ``[6, 6]``."""
    assert result.best is not None
    message: Any = PoseWithCovarianceStamped()
    message.header = Header(stamp=stamp_from_ns(result.stamp_ns), frame_id=frame_id)
    message.pose.pose = pose_to_message(result.best.pose)
    message.pose.covariance = [float(value) for value in covariance.ravel()]
    return message
