"""The files that hold the messages of a bag, one reader for each of their kinds.

A recorder that is killed, a full disk or a pulled stick leave files that are cut short. A reader
gives what is intact of them, and says in `Storage.problem` what is missing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from rosbags.rosbag1 import Reader as Ros1Reader

from seqnet_ros.core.errors import InputError

CDR, ROS1 = 'cdr', 'ros1'
"""Encodings of messages that can be decoded."""


class StoredTopic(NamedTuple):
    """A topic of one file.

    Attributes:
        name: of the topic.
        type: of its messages, such as ``sensor_msgs/msg/Image`` also where ROS 1 recorded them.
        encoding: of its messages; `CDR`, `ROS1`, or one that cannot be decoded.
        messages: their number.
    """

    name: str
    type: str
    encoding: str
    messages: int


class Storage(Protocol):
    """A file of messages.

    Attributes:
        file: the file.
        topics: its topics.
        start_ns: when the first message was received; None where there is none.
        end_ns: when the last message was received.
        problem: what is missing and how to repair it; empty where the file is sound.
    """

    file: Path
    topics: list[StoredTopic]
    start_ns: int | None
    end_ns: int | None
    problem: str

    def messages(self, topic: StoredTopic) -> Iterator[tuple[int, bytes]]:
        """Yield time received (ns) and content of the messages of a topic, one in memory at a time.

        Raises:
            InputError: the rest of the file cannot be read; what came before is intact.
        """
        ...


class Ros1Storage:
    """A ``.bag`` of ROS 1, see `Storage`."""

    problem = ''

    def __init__(self, file: Path) -> None:
        """Read the index.

        Raises:
            InputError: the bag is damaged or was never closed.
        """
        self.file = file
        try:
            with Ros1Reader(file) as reader:
                self.topics = [
                    StoredTopic(found.topic, found.msgtype, ROS1, found.msgcount)
                    for found in reader.connections]
                filled = reader.message_count > 0
                self.start_ns = reader.start_time if filled else None
                self.end_ns = reader.end_time - 1 if filled else None
        except Exception as error:  # whatever the parsers of the library raise on damage
            raise InputError(
                f'bag {file} cannot be read, it may be damaged, truncated or unfinished: '
                f'{reason(error)}; `rosbag reindex` of ROS 1 repairs it') from error

    def messages(self, topic: StoredTopic) -> Iterator[tuple[int, bytes]]:
        """Yield the messages of a topic, see `Storage.messages`."""
        with Ros1Reader(self.file) as reader:
            found = reader.messages([
                connection for connection in reader.connections
                if (connection.topic, connection.msgtype) == topic[:2]])
            for message in until_damage(found, self.file):
                yield message[1], message[2]


def until_damage(messages: Iterator[Any], file: Path) -> Iterator[Any]:
    """Yield the items of a library's reader.

    Raises:
        InputError: in place of whatever the reader raises.
    """
    while True:
        try:
            found = next(messages, None)
        except Exception as error:
            raise InputError(
                f'{file} cannot be read further, it may be damaged or truncated: {reason(error)}'
            ) from error
        if found is None:
            return
        yield found


def reason(error: Exception) -> str:
    """Return the message of an error, or its kind where it has none."""
    return str(error).strip().rstrip('.') or type(error).__name__
