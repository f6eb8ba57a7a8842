"""Conversion of messages to the types of the core and back.

Every scalar that goes into a message passes through ``float()`` or ``int()``: a NumPy scalar in
a field ends the process inside C code.
"""

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, PoseWithCovarianceStamped, Quaternion
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import check_pose
from seqnet_ros.localization.result import Candidate, LoopResult, MatchResult, Reason
from seqnet_ros.msg import LoopClosure, PlaceCandidate, PlaceMatch
from seqnet_ros.sequences.keyframes import NANOSECONDS

_UNKNOWN_M2 = 1e6
"""Variance of a translation of which only the direction is known, square meters."""
_DIRECTION_RAD2 = float(np.deg2rad(2.0) ** 2)
"""Variance of the rotation that an essential matrix gives, square radians."""


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


def pose_from_message(message: Pose, what: str = 'pose') -> np.ndarray:
    """Return a pose message as ``[7]``.

    Args:
        message: the pose.
        what: what to call it in an error.

    Raises:
        InputError: a number is not finite, or the quaternion is zero.
    """
    position, rotation = message.position, message.orientation
    return check_pose([position.x, position.y, position.z,
                       rotation.x, rotation.y, rotation.z, rotation.w], what)


def pose_from_odometry(message: Odometry) -> np.ndarray:
    """Return the pose ``[7]`` of an odometry message.

    Raises:
        InputError: a number is not finite, or the quaternion is zero.
    """
    return pose_from_message(message.pose.pose, 'odometry pose')


def image_reader(message: Image | CompressedImage,
                 max_pixels: int | None = None) -> Callable[[], np.ndarray]:
    """Return a function that decodes an image message to RGB uint8 ``[H, W, 3]``.

    The function raises ``InputError`` if the image cannot be used or has more than ``max_pixels``.
    """
    # Nodes without images convert messages, too, and do without OpenCV.
    from seqnet_ros.core.images import image_from_compressed
    from seqnet_ros.nodes.raw_images import image_from_message

    if isinstance(message, CompressedImage):
        return lambda: image_from_compressed(message.data, message.format, max_pixels)
    return lambda: image_from_message(message, max_pixels)


def image_to_message(image: np.ndarray, stamp_ns: int, frame_id: str) -> Image:
    """Return an RGB uint8 ``[H, W, 3]`` image as a message."""
    height, width, _ = image.shape
    message = Image(height=int(height), width=int(width), encoding='rgb8', step=3 * int(width))
    message.header = Header(stamp=stamp_from_ns(stamp_ns), frame_id=frame_id)
    message.data = array('B', np.ascontiguousarray(image).tobytes())
    return message


def match_to_message(result: MatchResult, frame_id: str, map_id: str, map_frame: str,
                     robot_id: str = '') -> PlaceMatch:
    """Return a result as a message, stamped with the newest image of its sequence.

    Args:
        result: result for an image.
        frame_id: the camera's frame.
        map_id: the map searched, where no candidate says so.
        map_frame: frame of the poses of the places.
        robot_id: name of the robot.
    """
    best = result.best
    message: Any = PlaceMatch(
        header=Header(stamp=stamp_from_ns(result.stamp_ns), frame_id=frame_id),
        robot_id=robot_id, sequence_start=stamp_from_ns(result.sequence_start_ns),
        map_id=map_id if best is None else best.map_id or map_id, map_frame_id=map_frame,
        candidates=[_candidate_to_message(candidate, map_id) for candidate in result.candidates],
        accepted=bool(result.accepted), reason=int(result.reason),
        off_map=np.nan if result.off_map is None else float(result.off_map),
        has_pose=result.pose is not None, describe_seconds=float(result.describe_seconds),
        match_seconds=float(result.match_seconds))
    if result.pose is not None:
        message.pose = pose_to_message(result.pose)
    return message


def _candidate_to_message(candidate: Candidate, map_id: str) -> PlaceCandidate:
    return PlaceCandidate(
        map_id=candidate.map_id or map_id, inliers=int(candidate.inliers),
        place_id=int(candidate.place_id), stamp=stamp_from_ns(candidate.stamp_ns),
        pose=pose_to_message(candidate.pose),
        descriptor_distance=float(candidate.descriptor_distance),
        sequence_distance=float(candidate.sequence_distance), score=float(candidate.score))


def match_from_message(message: PlaceMatch) -> MatchResult:
    """Return the result that a message was made of.

    Its number, the relative poses and the covariance of its position are lost.

    Raises:
        InputError: a number is not finite, or the message contradicts itself.
    """
    try:
        reason = Reason(message.reason)
    except ValueError:
        raise InputError(f'a match has the reason {message.reason}, expected one of '
                         f'{", ".join(str(int(item)) for item in Reason)}') from None
    candidates = tuple(map(_candidate_from_message, message.candidates))
    if bool(message.accepted) != (reason is Reason.ACCEPTED):
        raise InputError(f'a match is {"" if message.accepted else "not "}accepted, but its '
                         f'reason is {reason.name}')
    if message.accepted and not candidates:
        raise InputError('a match is accepted, but has no candidates')
    if np.isinf(message.off_map):
        raise InputError(f'a match has the probability {message.off_map} of being off the map, '
                         'expected one from 0 to 1')
    return MatchResult(
        0, stamp_to_ns(message.header.stamp), stamp_to_ns(message.sequence_start), candidates,
        reason, float(message.describe_seconds), float(message.match_seconds),
        None if np.isnan(message.off_map) else float(message.off_map),
        pose_from_message(message.pose, 'pose of a match') if message.has_pose else None)


def _candidate_from_message(message: PlaceCandidate) -> Candidate:
    numbers = (message.descriptor_distance, message.sequence_distance, message.score)
    if not np.isfinite(numbers).all():
        raise InputError(f'a candidate has the distances and score {numbers}, expected finite '
                         'numbers')
    return Candidate(
        place_id=int(message.place_id), stamp_ns=stamp_to_ns(message.stamp),
        pose=pose_from_message(message.pose, 'pose of a candidate'),
        descriptor_distance=float(message.descriptor_distance),
        sequence_distance=float(message.sequence_distance), score=float(message.score),
        map_id=str(message.map_id), inliers=int(message.inliers))


def loop_to_message(result: LoopResult, frame_id: str, map_id: str, base_frame: str,
                    robot_id: str = '') -> LoopClosure:
    """Return a loop, accepted or rejected, as a message; the result must have a candidate.

    Args:
        result: result for an image.
        frame_id: the camera's frame.
        map_id: name of the drive that both places are of.
        base_frame: the robot's frame, which relative poses are of.
        robot_id: name of the robot.
    """
    assert result.best is not None
    assert result.place_id is not None
    best: Candidate = result.best
    message: Any = LoopClosure(
        header=Header(stamp=stamp_from_ns(result.stamp_ns), frame_id=frame_id),
        robot_id=robot_id, reason=int(result.reason), map_id=map_id, child_frame_id=base_frame,
        from_id=int(best.place_id), from_stamp=stamp_from_ns(best.stamp_ns),
        to_id=int(result.place_id), to_stamp=stamp_from_ns(result.stamp_ns),
        score=float(best.score), inliers=int(best.inliers))
    if best.relative_pose is not None:
        covariance = best.relative_covariance
        if covariance is None:
            covariance = np.diag([_UNKNOWN_M2] * 3 + [_DIRECTION_RAD2] * 3)
        message.has_relative_pose = True
        message.is_metric = bool(best.relative_is_metric)
        message.relative_pose.pose = pose_to_message(best.relative_pose)
        message.relative_pose.covariance = [float(value) for value in covariance.ravel()]
    return message


def pose_with_covariance(pose: np.ndarray, covariance: np.ndarray, stamp_ns: int,
                         frame_id: str) -> PoseWithCovarianceStamped:
    """Return a pose ``[7]`` with its covariance ``[6, 6]`` as a message."""
    message: Any = PoseWithCovarianceStamped()
    message.header = Header(stamp=stamp_from_ns(stamp_ns), frame_id=frame_id)
    message.pose.pose = pose_to_message(pose)
    message.pose.covariance = [float(value) for value in covariance.ravel()]
    return message
