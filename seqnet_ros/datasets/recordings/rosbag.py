"""Bags of ROS 1 and ROS 2 as recordings, read without ROS.

Messages are read with the standard definitions of their types, not with those in the bag: bags
before ROS 2 Iron hold none, and one malformed custom type would make the whole bag unreadable.
The types used here have had the same fields in every release.
"""

import heapq
import logging
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import image_from_compressed, image_from_raw
from seqnet_ros.core.stamp_order import StampOrder
from seqnet_ros.datasets.recordings.bag_files import find_files, is_packed, open_storages
from seqnet_ros.datasets.recordings.bag_storage import CDR, ROS1, reason
from seqnet_ros.datasets.recordings.decompression import decompress_message
from seqnet_ros.datasets.recordings.frames import Frame

RAW_IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (RAW_IMAGE, COMPRESSED_IMAGE)
NAV_SAT_FIX = 'sensor_msgs/msg/NavSatFix'
TRANSFORM_TYPES = ('tf2_msgs/msg/TFMessage', 'tf/msg/tfMessage')
"""The second is that of ROS 1 before tf2."""
POSE_NAMES = {
    'nav_msgs/msg/Odometry': 'odometry',
    'geometry_msgs/msg/PoseStamped': 'poses',
    'geometry_msgs/msg/PoseWithCovarianceStamped': 'poses',
    NAV_SAT_FIX: 'GPS',
    **dict.fromkeys(TRANSFORM_TYPES, 'transforms'),
}
POSE_TYPES = tuple(POSE_NAMES)
"""Message types that poses are read from, in order of preference."""
REORDER_WINDOW = 8
"""Maximum number of images that may arrive out of order between camera and recorder."""

_logger = logging.getLogger(__name__)


class Topic(NamedTuple):
    """A topic of a bag."""

    name: str
    type: str
    messages: int

    def __str__(self) -> str:
        """Return the topic, human-readable."""
        return f'{self.name} ({self.type.replace("/msg/", "/")}, {self.messages} messages)'


class BagMessage(NamedTuple):
    """An undecoded message.

    Attributes:
        stamp_ns: of its header; the time it was received where the header has none.
        number: position among the messages of its topic.
        topic: its topic.
        content: its bytes.
        received_ns: when the recorder received it.
        encoding: of the content.
    """

    stamp_ns: int
    number: int
    topic: Topic
    content: bytes
    received_ns: int
    encoding: str


class Bag:
    """A bag's topics and messages, whatever kind of bag it is.

    What is missing of a bag that is damaged or cut short is logged once; the rest is read.

    Attributes:
        path: the bag.
        topics: its topics, by name.
        duration_ns: from the first to the last message of all.
        problems: what is missing, as far as is known; more may be found while reading.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Read the bag's index.

        Args:
            path: a rosbag2 folder, with or without its ``metadata.yaml``; a single ``.mcap`` or
                ``.db3`` file, which may be compressed (``.zstd``); a ROS 1 ``.bag``, or a folder
                with the parts of one.

        Raises:
            InputError: the bag is missing, of another kind, or nothing of it can be read.
        """
        self.path = Path(path)
        files = find_files(self.path)
        self._scratch = _make_scratch() if any(map(is_packed, files.parts)) else None
        self._storages, refused = open_storages(
            files.parts, None if self._scratch is None else Path(self._scratch.name))
        topics: dict[tuple[str, str], int] = {}
        for storage in self._storages:
            for found in storage.topics:
                key = found.name, found.type
                topics[key] = topics.get(key, 0) + found.messages
        self.topics = [Topic(*key, count) for key, count in sorted(topics.items())]
        starts = [found.start_ns for found in self._storages if found.start_ns is not None]
        ends = [found.end_ns for found in self._storages if found.end_ns is not None]
        self.duration_ns = max(ends) - min(starts) if starts and ends else 0
        self.problems: list[str] = []
        for problem in (*files.problems, *refused, *filter(None, (
                storage.problem for storage in self._storages)), *self._lacking(files.counted)):
            self._tell(problem)

    def topics_of(self, types: Iterable[str]) -> list[Topic]:
        """Return the topics of some message types."""
        wanted = set(types)
        return [topic for topic in self.topics if topic.type in wanted]

    def messages(self, topic: Topic) -> Iterator[BagMessage]:
        """Yield a topic's messages as the recorder received them, one in memory at a time.

        A file that cannot be read to its end is left there; what is missing is logged.
        """
        number = 0
        for storage in self._storages:
            for found in storage.topics:
                if (found.name, found.type) != topic[:2] or not found.messages:
                    continue
                try:
                    for received_ns, content in storage.messages(found):
                        yield self._message(topic, number, received_ns, content, found.encoding)
                        number += 1
                except InputError as error:
                    self._tell(f'{error}; {number} of {topic.messages} messages on {topic.name} '
                               'came before')

    def decode(self, message: BagMessage) -> Any:
        """Return a message's fields; image data is a view of the message's bytes.

        Raises:
            InputError: the content does not fit the type.
        """
        where = (f'bag {self.path} cannot be read at message {message.number} on '
                 f'{message.topic.name}')
        kind, encoding = message.topic.type, message.encoding
        if encoding not in (CDR, ROS1):
            raise InputError(f'{where}: it is encoded as {encoding}, expected {CDR} or {ROS1}')
        store = _typestore(encoding == ROS1)
        try:
            if encoding == ROS1:
                return store.deserialize_ros1(message.content, kind)
            return store.deserialize_cdr(message.content, kind)
        except Exception as error:  # whatever the parsers of the library raise on damage
            raise InputError(f'{where}, it may be damaged or truncated: {reason(error)}') from error

    def _message(self, topic: Topic, number: int, received_ns: int, content: bytes,
                 encoding: str) -> BagMessage:
        content = decompress_message(content)
        stamp_ns = _header_stamp(content, encoding) or received_ns
        return BagMessage(stamp_ns, number, topic, content, received_ns, encoding)

    def _lacking(self, counted: Mapping[tuple[str, str], int]) -> Iterator[str]:
        """Yield a message for each topic of which the recorder counted more than there is."""
        present = {topic[:2]: topic.messages for topic in self.topics}
        for key, count in counted.items():
            found = present.get(key, 0)
            if found < count and (key[1] in IMAGE_TYPES or key[1] in POSE_TYPES):
                yield (f'bag {self.path}: {count - found} of {count} messages on {key[0]} are '
                       'missing, its metadata.yaml counts them but its files do not hold them')

    def _tell(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            _logger.warning('%s', problem)


def _make_scratch() -> 'TemporaryDirectory[str]':
    """Return a folder to decompress into, which goes with the object."""
    try:
        return TemporaryDirectory(prefix='seqnet_ros_bag_')
    except OSError as error:
        raise InputError('there is no folder for temporary files to decompress the bag into: '
                         f'{error}; set TMPDIR') from error


def _header_stamp(content: bytes, encoding: str) -> int:
    """Return the stamp of the header every message used here starts with, 0 if unset."""
    if len(content) < 12:
        return 0
    # ROS 1: uint32 seq before the stamp. CDR: four bytes that tell the byte order.
    order = '<' if encoding == ROS1 or content[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', content, 4)
    return int(seconds * 10**9 + nanoseconds)


@cache
def _typestore(is_ros1: bool) -> Typestore:
    store = get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.LATEST)
    for kind in TRANSFORM_TYPES:
        if kind not in store.types:
            store.register(get_types_from_msg('geometry_msgs/TransformStamped[] transforms', kind))
    return store


class BagSource:
    """A `FrameSource` of one image topic.

    Poses are added by `seqnet_ros.datasets.recordings.open_recording`.
    """

    pose_origin = 'none'
    timed = True

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
        self.topic = choose_topic(bag, bag.topics_of(IMAGE_TYPES), topic, 'image')
        self.name = str(bag.path)
        self.problems = bag.problems

    def __len__(self) -> int:
        """Return the number of images."""
        return self.topic.messages

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images in the order of their stamps; few are in memory at any time."""
        order = StampOrder(f'{self.bag.path}, {self.topic.name}')
        messages = (message._replace(stamp_ns=order.correct(message.stamp_ns))
                    for message in self.bag.messages(self.topic))
        for index, message in enumerate(_in_stamp_order(messages)):
            yield Frame(index, message.stamp_ns, partial(self._decode, message),
                        name=f'{self.topic.name} #{message.number}')

    def stamp_range(self) -> tuple[int, int]:
        """Return the first stamp and an estimate of the last, nanoseconds."""
        first = next(iter(self), None)
        if first is None:
            raise InputError(f'bag {self.bag.path} holds no image on {self.topic.name} that can be '
                             'read')
        return first.stamp_ns, first.stamp_ns + self.bag.duration_ns

    def _decode(self, message: BagMessage) -> np.ndarray:
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


def choose_topic(bag: Bag, choices: list[Topic], wanted: str | None, what: str) -> Topic:
    """Return the topic that is wanted, or the only one that holds messages.

    Args:
        bag: the bag.
        choices: its topics of a kind.
        wanted: the name of one of them; None where there is only one.
        what: what they hold, for messages.

    Raises:
        InputError: there is none, or several; the message lists them.
    """
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
        others = ', '.join(map(str, bag.topics)) or 'none'
        raise InputError(
            f'bag {bag.path} holds no {what}s; {what} topics found: {listed}; all topics: {others}')
    if len(filled) > 1:
        raise InputError(
            f'bag {bag.path} has {len(filled)} {what} topics, specify one of: {listed}')
    return filled[0]


def _in_stamp_order(messages: Iterable[BagMessage]) -> Iterator[BagMessage]:
    """Sort messages that arrived out of order, holding `REORDER_WINDOW` at most."""
    held: list[BagMessage] = []
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
