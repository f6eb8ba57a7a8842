"""The poses of the robot in a bag: which topic tells them, and what is left out of it."""

import logging
import re
from collections.abc import Callable, Iterator
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint, geodetic_to_enu, is_fix
from seqnet_ros.core.poses import (
    NANOSECONDS,
    Trajectory,
    check_pose,
    make_trajectory,
    poses_from_positions,
)
from seqnet_ros.datasets.recordings.rosbag import (
    NAV_SAT_FIX,
    POSE_NAMES,
    POSE_TYPES,
    TRANSFORM_TYPES,
    Bag,
    BagMessage,
    Topic,
    choose_topic,
)
from seqnet_ros.datasets.recordings.transforms import NoRobotError, Transform, follow_transforms

_STATIC = '_static'
_OTHER_MEANINGS = frozenset((
    'apriltag', 'apriltags', 'aruco', 'click', 'clicked', 'cmd', 'command', 'desired',
    'destination', 'detected', 'detection', 'detections', 'dock', 'docking', 'ee', 'eef',
    'goal', 'goals', 'goto', 'grasp', 'gripper', 'human', 'initial', 'initialpose',
    'interactive', 'landmark', 'landmarks', 'marker', 'markers', 'object', 'objects',
    'obstacle', 'obstacles', 'people', 'person', 'plan', 'planned', 'reference', 'setpoint',
    'tag', 'tags', 'target', 'targets', 'waypoint', 'waypoints'))
"""Words in the names of topics with poses that are not where the robot is, but where it is to go or
where something else is."""
_STREAM_GAP_S = 2.0
"""Poses that come less often, by the median, are single events, not the motion of a robot."""
_LAG_MESSAGES = 50
_LEAST_LAG_S = 1.0
"""Cameras and localization may take this long; more is another clock."""

_logger = logging.getLogger(__name__)


class BagPoses(NamedTuple):
    """What a bag tells about the poses of the robot.

    Attributes:
        trajectory: the poses; None where the bag has none that can be used.
        why: why there are none, human-readable; empty where there are some.
    """

    trajectory: Trajectory | None
    why: str = ''


class _Reading(NamedTuple):
    """The poses of one topic.

    Attributes:
        trajectory: the poses; None where no message holds one.
        origin: human-readable name.
        lag_s: how much later than stamped the messages were recorded, by the median; None for
            transforms, which have a stamp each.
        messages: their number.
        refused: why messages were left out, one reason for each.
    """

    trajectory: Trajectory | None
    origin: str
    lag_s: float | None
    messages: int
    refused: list[str]

    def warn(self) -> None:
        """Log what was left out."""
        if self.refused:
            _logger.warning('%s: left out %d of %d messages that hold no valid pose, the first: %s',
                            self.origin, len(self.refused), self.messages, self.refused[0])


class ImageSpan(NamedTuple):
    """When the images of a bag were taken, nanoseconds, and how much later they were recorded."""

    first_ns: int
    last_ns: int
    lag_s: float


def read_bag_poses(bag: Bag, topic: str | None = None, datum: GeoPoint | None = None,
                   images: ImageSpan | None = None) -> BagPoses:
    """Read the poses of the robot.

    Messages that hold no valid pose, such as the null quaternion of odometry that is lost, are left
    out and counted, as the nodes do.

    Args:
        bag: the bag.
        topic: of one of `POSE_TYPES`. For transforms ``TOPIC:ROBOT`` or ``TOPIC:PARENT:ROBOT`` name
            the frames too. None takes odometry, else poses, else GPS, else transforms, of the
            topics that tell where the robot is.
        datum: the origin of GPS positions; None takes the first fix.
        images: poses at other times are of no use; None for any times.

    Raises:
        InputError: the named topic is unknown or empty, holds no pose, or none at the times of the
            images; or, where none is named, several tell where the robot is.
    """
    if topic is not None:
        reading = _read_named(bag, topic, datum)
        if reading.trajectory is None:
            found = f', the first message: {reading.refused[0]}' if reading.refused else ''
            raise InputError(f'bag {bag.path} has no valid '
                             f'{"fix" if "GPS" in reading.origin else "pose"} on {topic}{found}')
        if images is not None and not _overlaps(reading.trajectory, images):
            raise InputError(f'{_describe_times(reading, images)} of {bag.path}')
        reading.warn()
        _warn_of_clock(reading, images)
        return BagPoses(reading.trajectory)
    reasons = []
    for _, group in groupby(_candidates(bag), key=lambda choice: POSE_NAMES[choice[0].type]):
        usable: list[_Reading] = []
        for choice in group:
            reading = _read(bag, choice, datum)
            if why := _why_unusable(reading, choice[0], images):
                reasons.append(why)
            else:
                usable.append(reading)
        if len(usable) > 1:
            names = ', '.join(reading.origin for reading in usable)
            raise InputError(f'bag {bag.path} has {len(usable)} pose topics, specify one with '
                             f'--pose-topic: {names}')
        if usable:
            usable[0].warn()
            _warn_of_clock(usable[0], images)
            return BagPoses(usable[0].trajectory)
    reasons += [f'{found.name} does not tell where the robot is by its name'
                for found in bag.topics_of(POSE_TYPES) if found.messages and _means_other(found)]
    return BagPoses(None, '; '.join(reasons))


def stamp_lag_s(messages: Iterator[BagMessage]) -> float:
    """Return how much later than stamped the first messages were recorded, by the median."""
    lags = [message.received_ns - message.stamp_ns for message in islice(messages, _LAG_MESSAGES)]
    return float(np.median(lags)) / NANOSECONDS if lags else 0.0


def _candidates(bag: Bag) -> list[list[Topic]]:
    """Return the topics that may tell where the robot is, in order of preference.

    A topic of transforms may have two types; they belong together.
    """
    filled = [found for found in bag.topics_of(POSE_TYPES)
              if found.messages and not found.name.endswith(_STATIC) and not _means_other(found)]
    filled.sort(key=lambda found: (_rank(found), found.name, found.type))
    return [list(group) for _, group in groupby(filled, key=lambda found: (
        _rank(found), found.name, '' if found.type in TRANSFORM_TYPES else found.type))]


def _rank(topic: Topic) -> int:
    return list(dict.fromkeys(POSE_NAMES.values())).index(POSE_NAMES[topic.type])


def _means_other(topic: Topic) -> bool:
    words = re.split(r'[^a-z]+', topic.name.lower())
    return POSE_NAMES[topic.type] == 'poses' and not _OTHER_MEANINGS.isdisjoint(words)


def _why_unusable(reading: _Reading, topic: Topic, images: ImageSpan | None) -> str:
    if reading.trajectory is None:
        found = f': {reading.refused[0]}' if reading.refused else ''
        return f'{reading.origin} holds no valid pose{found}'
    stamps = reading.trajectory.stamps_ns
    if POSE_NAMES[topic.type] == 'poses' and len(stamps) > 1 and (
            float(np.median(np.diff(stamps))) > _STREAM_GAP_S * NANOSECONDS):
        return f'{reading.origin} holds {len(stamps)} single poses, not the motion of a robot'
    if images is not None and not _overlaps(reading.trajectory, images):
        return _describe_times(reading, images)
    return ''


def _overlaps(trajectory: Trajectory, images: ImageSpan) -> bool:
    stamps = trajectory.stamps_ns
    return bool(stamps[0] <= images.last_ns and images.first_ns <= stamps[-1])


def _describe_times(reading: _Reading, images: ImageSpan) -> str:
    assert reading.trajectory is not None
    first, last = int(reading.trajectory.stamps_ns[0]), int(reading.trajectory.stamps_ns[-1])
    text = (f'{reading.origin} covers {first / 1e9:.3f} s to {last / 1e9:.3f} s, which does not '
            f'overlap the images at {images.first_ns / 1e9:.3f} s to {images.last_ns / 1e9:.3f} s')
    return text + (_describe_clock(reading, images) or (
        f', {(first - images.last_ns) / 1e9:.3f} s later' if first > images.last_ns else
        f', {(images.first_ns - last) / 1e9:.3f} s earlier'))


def _describe_clock(reading: _Reading, images: ImageSpan) -> str:
    """Return a phrase about two clocks, judged by when messages were recorded; '' for one clock."""
    if reading.lag_s is None or abs(reading.lag_s - images.lag_s) < _LEAST_LAG_S:
        return ''
    ahead = images.lag_s - reading.lag_s
    return (f': its stamps are of another clock, {abs(ahead):.3f} s '
            f'{"ahead of" if ahead > 0 else "behind"} that of the images')


def _warn_of_clock(reading: _Reading, images: ImageSpan | None) -> None:
    if images is not None and (clock := _describe_clock(reading, images)):
        _logger.warning('%s%s, so that images get poses of another time', reading.origin, clock)


def _read_named(bag: Bag, topic: str, datum: GeoPoint | None) -> _Reading:
    name, *frames = topic.split(':')
    choices = bag.topics_of(POSE_TYPES)
    of_transforms = [found for found in choices
                     if found.name == name and found.type in TRANSFORM_TYPES and found.messages]
    if of_transforms:
        if len(frames) > 2:
            raise InputError(f'the pose topic is {topic}, expected {name}, {name}:ROBOT or '
                             f'{name}:PARENT:ROBOT')
        return _read(bag, of_transforms, datum, frames)
    chosen = choose_topic(bag, choices, name, 'pose')
    if frames:
        raise InputError(f'the pose topic is {topic}, but {name} holds no transforms: frames do '
                         'not apply')
    return _read(bag, [chosen], datum)


def _read(bag: Bag, topics: list[Topic], datum: GeoPoint | None,
          frames: list[str] | None = None) -> _Reading:
    topic = topics[0]
    origin = f'{POSE_NAMES[topic.type]} on {topic.name}'
    refused: list[str] = []
    if topic.type in TRANSFORM_TYPES:
        transforms = _read_transforms(bag, topics, refused)
        trajectory = None
        try:
            trajectory = follow_transforms(transforms, origin, topic.name, frames or [])
        except NoRobotError as error:
            if frames:
                raise
            refused.insert(0, str(error))
        count = sum(found.messages for found in topics)
        return _Reading(trajectory, origin, None, count, refused)
    lag_s = stamp_lag_s(bag.messages(topic))
    read = _read_fixes if topic.type == NAV_SAT_FIX else _read_poses
    trajectory = read(bag, topic, origin, datum, refused)
    return _Reading(trajectory, origin, lag_s, topic.messages, refused)


def _read_poses(bag: Bag, topic: Topic, origin: str, _: GeoPoint | None,
                refused: list[str]) -> Trajectory | None:
    stamps: list[int] = []
    poses: list[np.ndarray] = []
    frames: set[tuple[str, str]] = set()
    for message in bag.messages(topic):
        fields = _decoded(bag, message, refused)
        if fields is None:
            continue
        # Odometry and PoseWithCovarianceStamped wrap the pose once more.
        pose = getattr(fields.pose, 'pose', fields.pose)
        p, q = pose.position, pose.orientation
        checked = _checked([p.x, p.y, p.z, q.x, q.y, q.z, q.w], message, refused)
        if checked is not None:
            stamps.append(message.stamp_ns)
            poses.append(checked)
            frames.add((fields.header.frame_id, getattr(fields, 'child_frame_id', '')))
    for place, what in enumerate(('in the frames', 'of the frames')):
        names = sorted({pair[place].strip('/') for pair in frames} - {''})
        if len(names) > 1:
            raise InputError(f'bag {bag.path}, {origin}: its poses are {what} '
                             f'{" and ".join(names)}, expected one; specify another topic with '
                             '--pose-topic, or a pose file')
    return make_trajectory(stamps, poses, origin) if poses else None


def _read_fixes(bag: Bag, topic: Topic, origin: str, datum: GeoPoint | None,
                refused: list[str]) -> Trajectory | None:
    stamps, fixes = [], []
    for message in bag.messages(topic):
        fix = _decoded(bag, message, refused)
        if fix is None:
            continue
        if fix.status.status < 0 or not is_fix(fix.latitude, fix.longitude):
            refused.append(f'message {message.number} has status {fix.status.status}, latitude '
                           f'{fix.latitude:g} and longitude {fix.longitude:g}')
            continue
        stamps.append(message.stamp_ns)
        fixes.append((fix.latitude, fix.longitude, fix.altitude))
    if not fixes:
        return None
    order = np.argsort(stamps, kind='stable')
    earth = np.array(fixes, dtype=np.float64)[order]
    earth[:, 2] = _fill_gaps(earth[:, 2])
    datum = datum or GeoPoint(*map(float, earth[0]))
    positions = geodetic_to_enu(earth[:, 0], earth[:, 1], earth[:, 2], datum)
    return make_trajectory(np.array(stamps)[order], poses_from_positions(positions),
                           f'{origin}, east and north of {datum}', datum)


def _read_transforms(bag: Bag, topics: list[Topic], refused: list[str]) -> Iterator[Transform]:
    """Yield the transforms of a topic and of the static one beside it."""
    static = [found for found in bag.topics_of(TRANSFORM_TYPES)
              if found.name == topics[0].name + _STATIC]
    for source in (*static, *topics):
        for message in bag.messages(source):
            fields = _decoded(bag, message, refused)
            for found in () if fields is None else fields.transforms:
                t, q = found.transform.translation, found.transform.rotation
                pose = _checked([t.x, t.y, t.z, q.x, q.y, q.z, q.w], message, refused)
                if pose is not None:
                    stamp = found.header.stamp
                    stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
                    yield Transform(
                        found.header.frame_id.strip('/'), found.child_frame_id.strip('/'),
                        int(stamp_ns or message.received_ns), pose, source not in topics)


def _decoded(bag: Bag, message: BagMessage, refused: list[str]) -> Any:
    """Return the fields of a message; None, with a reason in `refused`, for a damaged one."""
    return _or_refused(lambda: bag.decode(message), refused)


def _checked(values: list[float], message: BagMessage, refused: list[str]) -> np.ndarray | None:
    """Return a pose ``[7]``; None, with a reason in `refused`, where it is none."""
    return _or_refused(lambda: check_pose(values, f'message {message.number}'), refused)


def _or_refused(make: Callable[[], Any], refused: list[str]) -> Any:
    try:
        return make()
    except InputError as error:
        refused.append(str(error))
        return None


def _fill_gaps(values: np.ndarray) -> np.ndarray:
    """Interpolate what is not an altitude: a two-dimensional fix has none."""
    known = np.flatnonzero(np.abs(values) < 1e7)
    if not known.size:
        return np.zeros_like(values)
    return np.interp(np.arange(len(values)), known, values[known])
