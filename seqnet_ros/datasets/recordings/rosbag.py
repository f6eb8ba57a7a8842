"""Bags of ROS 1 and ROS 2 as recordings, read without ROS.

Messages are read with the standard definitions of their types, not with those in the bag: bags
before ROS 2 Iron hold none, and one malformed custom type would make the whole bag unreadable.
The types used here have had the same fields in every release.
"""

import heapq
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from seqnet_ros.core.documents import read_yaml
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint, geodetic_to_enu
from seqnet_ros.core.images import image_from_compressed, image_from_raw
from seqnet_ros.core.poses import Trajectory, check_pose, make_trajectory, poses_from_positions
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_ros.datasets.recordings.image_folder import natural_key
from seqnet_ros.datasets.recordings.transforms import Transform, follow_transforms

RAW_IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (RAW_IMAGE, COMPRESSED_IMAGE)
NAV_SAT_FIX = 'sensor_msgs/msg/NavSatFix'
TRANSFORMS = 'tf2_msgs/msg/TFMessage'
_POSE_NAMES = {
    'nav_msgs/msg/Odometry': 'odometry',
    'geometry_msgs/msg/PoseStamped': 'poses',
    'geometry_msgs/msg/PoseWithCovarianceStamped': 'poses',
    NAV_SAT_FIX: 'GPS',
    TRANSFORMS: 'transforms',
}
POSE_TYPES = tuple(_POSE_NAMES)
"""Message types that poses are read from, in order of preference."""

STORAGE_SUFFIXES = ('.mcap', '.db3')
BAG_SUFFIXES = ('.bag', *STORAGE_SUFFIXES)
_STATIC = '_static'
_METADATA = 'metadata.yaml'
REORDER_WINDOW = 8
"""Maximum number of images that may arrive out of order between camera and recorder."""


class Topic(NamedTuple):
    """A topic of a bag."""

    name: str
    type: str
    messages: int

    def __str__(self) -> str:
        """Return the topic, human-readable."""
        return f'{self.name} ({self.type.replace("/msg/", "/")}, {self.messages} messages)'


class _Message(NamedTuple):
    """An undecoded message; ``stamp_ns`` is the header's where it has one."""

    stamp_ns: int
    number: int
    topic: Topic
    content: bytes


class Bag:
    """A bag's topics and messages, whatever kind of bag it is."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Read the bag's index.

        Args:
            path: a rosbag2 folder, with or without its ``metadata.yaml``; a single ``.mcap`` or
                ``.db3`` file; or a ROS 1 ``.bag``.

        Raises:
            InputError: the bag is missing, damaged, cut short or of another kind.
        """
        self.path = Path(path)
        self._files = _find_files(self.path)
        self._is_ros1 = self.path.is_file() and self.path.suffix == '.bag'
        topics: dict[tuple[str, str], int] = {}
        spans = []
        for file in self._files:
            with self._open(file) as reader:
                for connection in reader.connections:
                    key = connection.topic, connection.msgtype
                    topics[key] = topics.get(key, 0) + connection.msgcount
                spans.append((reader.start_time, reader.end_time))
        self.topics = [Topic(*key, count) for key, count in sorted(topics.items())]
        self.duration_ns = max(max(end for _, end in spans) - min(start for start, _ in spans), 0)

    def topics_of(self, types: Iterable[str]) -> list[Topic]:
        """Return the topics of some message types."""
        wanted = set(types)
        return [topic for topic in self.topics if topic.type in wanted]

    def messages(self, topic: Topic) -> Iterator[_Message]:
        """Yield a topic's messages as the recorder received them, one in memory at a time.

        Raises:
            InputError: the bag is damaged; the message names the place.
        """
        number = 0
        for file in self._files:
            with self._open(file, f' after {number} of {topic.messages} messages on {topic.name}'
                            if number else '') as reader:
                connections = [connection for connection in reader.connections
                               if (connection.topic, connection.msgtype) == topic[:2]]
                if not connections:
                    continue
                for received_ns, content in self._read(reader, connections, topic, number):
                    stamp_ns = self._header_stamp(content) or received_ns
                    yield _Message(stamp_ns, number, topic, content)
                    number += 1

    def _read(self, reader: Any, connections: Sequence[Connection], topic: Topic,
              number: int) -> Iterator[tuple[int, bytes]]:
        messages = reader.messages(connections)
        while True:
            with self._explain(f' at message {number} of {topic.messages} on {topic.name}'):
                found = next(messages, None)
            if found is None:
                return
            yield found[1], found[2]
            number += 1

    def decode(self, message: _Message) -> Any:
        """Return a message's fields; image data is a view of the message's bytes.

        Raises:
            InputError: the content does not fit the type.
        """
        kind = message.topic.type
        with self._explain(f' at message {message.number} on {message.topic.name}'):
            store = _typestore(self._is_ros1)
            if self._is_ros1:
                return store.deserialize_ros1(message.content, kind)
            return store.deserialize_cdr(message.content, kind)

    def _header_stamp(self, content: bytes) -> int:
        """Return the stamp of the header every message used here starts with, 0 if unset."""
        if len(content) < 12:
            return 0
        # ROS 1: uint32 seq before the stamp. CDR: four bytes that tell the byte order.
        order = '<' if self._is_ros1 or content[1] & 1 else '>'
        seconds, nanoseconds = struct.unpack_from(f'{order}iI', content, 4)
        return int(seconds * 10**9 + nanoseconds)

    @contextmanager
    def _open(self, file: Path, where: str = '') -> Iterator[Any]:
        with self._explain(where, file):
            if (file / _METADATA).is_file():
                read_yaml(file / _METADATA)  # the bag's reader sets no limits
            reader = Ros1Reader(file) if self._is_ros1 else Ros2Reader(file)
            reader.open()
        try:
            yield reader
        finally:
            reader.close()

    @contextmanager
    def _explain(self, where: str, file: Path | None = None) -> Iterator[None]:
        """Turn whatever the reader's parsers raise on damaged input into an `InputError`."""
        try:
            yield
        except Exception as error:
            reason = str(error).strip().rstrip('.') or type(error).__name__
            raise InputError(
                f'bag {file or self.path} cannot be read{where}, it may be damaged or truncated: '
                f'{reason}') from error


@cache
def _typestore(is_ros1: bool) -> Typestore:
    store = get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.LATEST)
    if TRANSFORMS not in store.types:
        store.register(get_types_from_msg('geometry_msgs/TransformStamped[] transforms',
                                          TRANSFORMS))
    return store


def is_bag(path: Path) -> bool:
    """Return whether a path looks like a bag, by its ending or by the files in the folder."""
    if path.is_dir():
        return (path / _METADATA).exists() or bool(_storage_files(path))
    return path.suffix in BAG_SUFFIXES


def _storage_files(folder: Path) -> list[Path]:
    files = [file for file in folder.iterdir() if file.suffix in STORAGE_SUFFIXES]
    return sorted(files, key=lambda file: natural_key(file.name))


def _find_files(path: Path) -> list[Path]:
    """Return what to open: the bag itself, or its parts where the recorder left no metadata."""
    if not path.exists():
        raise InputError(f'bag {path} does not exist')
    if path.is_file():
        if path.suffix not in BAG_SUFFIXES:
            raise InputError(
                f'bag {path} ends in {path.suffix!r}, expected {", ".join(BAG_SUFFIXES)}')
        if not path.stat().st_size:
            raise InputError(f'bag {path} is an empty file')
        return [path]
    files = [path] if (path / _METADATA).exists() else _storage_files(path)
    if not files:
        raise InputError(f'bag {path} holds neither metadata.yaml nor .mcap or .db3 files')
    return files


class BagSource:
    """A `FrameSource` of one image topic.

    Poses are added by `seqnet_ros.datasets.recordings.open_recording`.
    """

    pose_origin = 'none'

    def __init__(self, bag: Bag, topic: str | None = None) -> None:
        """Choose the topic.

        Args:
            bag: the bag.
            topic: raw or compressed images; None where the bag has one image topic only.

        Raises:
            InputError: the topic is unknown, empty or not of images, or there are several; the
                message lists the image topics.
        """
        self.bag = bag
        self.topic = _choose_topic(bag, bag.topics_of(IMAGE_TYPES), topic, 'image')
        self.name = str(bag.path)

    def __len__(self) -> int:
        """Return the number of images."""
        return self.topic.messages

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images in the order of their stamps; few are in memory at any time."""
        for index, message in enumerate(_in_stamp_order(self.bag.messages(self.topic))):
            yield Frame(index, message.stamp_ns, partial(self._decode, message),
                        name=f'{self.topic.name} #{message.number}')

    def stamp_range(self) -> tuple[int, int]:
        """Return the first stamp and an estimate of the last, nanoseconds.

        Raises:
            InputError: the bag is damaged, or holds no image although its index says so.
        """
        frame = next(iter(self), None)
        if frame is None:
            raise InputError(f'bag {self.bag.path} holds no message on {self.topic.name}, but its '
                             f'index states {self.topic.messages}')
        first = frame.stamp_ns
        return first, first + self.bag.duration_ns

    def _decode(self, message: _Message) -> np.ndarray:
        fields = self.bag.decode(message)
        try:
            if message.topic.type == COMPRESSED_IMAGE:
                return image_from_compressed(fields.data, fields.format)
            return image_from_raw(fields.data, fields.height, fields.width, fields.encoding,
                                  fields.step, bool(fields.is_bigendian))
        except InputError as error:
            raise InputError(
                f'bag {self.bag.path}, {self.topic.name} message {message.number}: {error}'
            ) from error


def _choose_topic(bag: Bag, choices: list[Topic], wanted: str | None, what: str) -> Topic:
    filled = [topic for topic in choices if topic.messages]
    listed = ', '.join(map(str, choices)) or 'none'
    if wanted is not None:
        named = [topic for topic in choices if topic.name == wanted]
        if not named:
            raise InputError(
                f'bag {bag.path} has no {what} topic {wanted}; {what} topics found: {listed}')
        filled = [topic for topic in named if topic.messages]
        if not filled:
            raise InputError(f'bag {bag.path} holds no message on {wanted}')
    if not filled:
        others = ', '.join(topic.name for topic in bag.topics) or 'none'
        raise InputError(
            f'bag {bag.path} holds no {what}s; {what} topics found: {listed}; all topics: {others}')
    if len(filled) > 1:
        raise InputError(
            f'bag {bag.path} has {len(filled)} {what} topics, specify one of: {listed}')
    return filled[0]


def _in_stamp_order(messages: Iterable[_Message]) -> Iterator[_Message]:
    """Sort messages that arrived out of order, holding `REORDER_WINDOW` at most."""
    held: list[_Message] = []
    latest = None
    for message in messages:
        if latest is not None and message.stamp_ns < latest:
            # The clock went back, e.g. a bag of a looped simulation: two runs, not messages out of
            # order.
            yield from sorted(held)
            held.clear()
        heapq.heappush(held, message)
        if len(held) > REORDER_WINDOW:
            first = heapq.heappop(held)
            latest = first.stamp_ns
            yield first
    yield from sorted(held)


def read_bag_poses(bag: Bag, topic: str | None = None, datum: GeoPoint | None = None,
                   usable: Callable[[Trajectory], bool] = lambda _: True) -> Trajectory | None:
    """Read the poses of a bag.

    Args:
        bag: the bag.
        topic: of one of `POSE_TYPES`; None tries all of them in that order, by name within a type.
        datum: the origin of GPS positions; None takes the first fix.
        usable: returns whether a trajectory can be used, if no topic is named.

    Returns:
        None where no topic is named and the bag has no usable one.

    Raises:
        InputError: the named topic is unknown or empty, or a pose is not finite; the message names
            topic and number of the message.
    """
    if topic is not None:
        chosen = _choose_topic(bag, bag.topics_of(POSE_TYPES), topic, 'pose')
        return _read_trajectory(bag, chosen, datum)
    choices = [choice for choice in bag.topics_of(POSE_TYPES)
               if choice.messages and not choice.name.endswith(_STATIC)]
    for choice in sorted(choices, key=lambda found: POSE_TYPES.index(found.type)):
        trajectory = _read_trajectory(bag, choice, datum)
        if trajectory is not None and usable(trajectory):
            return trajectory
    return None


def _read_trajectory(bag: Bag, topic: Topic, datum: GeoPoint | None) -> Trajectory | None:
    origin = f'{_POSE_NAMES[topic.type]} on {topic.name}'
    if topic.type == NAV_SAT_FIX:
        return _read_fixes(bag, topic, origin, datum)
    if topic.type == TRANSFORMS:
        return follow_transforms(_read_transforms(bag, topic), origin)
    stamps, poses = [], []
    for message in bag.messages(topic):
        pose = bag.decode(message).pose
        # Odometry and PoseWithCovarianceStamped wrap the pose once more.
        pose = getattr(pose, 'pose', pose)
        p, q = pose.position, pose.orientation
        stamps.append(message.stamp_ns)
        poses.append(check_pose([p.x, p.y, p.z, q.x, q.y, q.z, q.w],
                                f'bag {bag.path}, {topic.name} message {message.number}'))
    return make_trajectory(stamps, poses, origin)


def _read_fixes(bag: Bag, topic: Topic, origin: str, datum: GeoPoint | None) -> Trajectory | None:
    stamps, fixes = [], []
    for message in bag.messages(topic):
        fix = bag.decode(message)
        if fix.status.status < 0 or not np.isfinite([fix.latitude, fix.longitude]).all():
            continue
        stamps.append(message.stamp_ns)
        fixes.append(_Fix(fix.latitude, fix.longitude, fix.altitude))
    if not fixes:
        return None
    earth = np.array(fixes, dtype=np.float64)
    earth[:, 2] = _fill_gaps(earth[:, 2])
    datum = datum or GeoPoint(*map(float, earth[0]))
    positions = geodetic_to_enu(earth[:, 0], earth[:, 1], earth[:, 2], datum)
    order = np.argsort(stamps, kind='stable')
    return make_trajectory(np.array(stamps)[order], poses_from_positions(positions[order]),
                           f'{origin}, east and north of {datum}', datum)


def _read_transforms(bag: Bag, topic: Topic) -> Iterator[Transform]:
    """Yield the transforms of a topic and of the static one beside it."""
    static = [found for found in bag.topics_of([TRANSFORMS]) if found.name == topic.name + _STATIC]
    for source in (*static, topic):
        for message in bag.messages(source):
            for found in bag.decode(message).transforms:
                t, q = found.transform.translation, found.transform.rotation
                pose = check_pose([t.x, t.y, t.z, q.x, q.y, q.z, q.w],
                                  f'bag {bag.path}, {source.name} message {message.number}')
                stamp_ns = found.header.stamp.sec * 10**9 + found.header.stamp.nanosec
                yield Transform(found.header.frame_id.strip('/'), found.child_frame_id.strip('/'),
                                int(stamp_ns), pose, source is not topic)


class _Fix(NamedTuple):
    latitude: float
    longitude: float
    altitude: float


def _fill_gaps(values: np.ndarray) -> np.ndarray:
    """Interpolate what is not finite: a two-dimensional fix has no altitude."""
    known = np.flatnonzero(np.isfinite(values))
    if not known.size:
        return np.zeros_like(values)
    return np.interp(np.arange(len(values)), known, values[known])
