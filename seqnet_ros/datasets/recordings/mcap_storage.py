"""MCAP files as every recorder writes them, also without index or cut short."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader as IndexedReader

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.recordings.bag_storage import StoredTopic, reason
from seqnet_ros.datasets.recordings.decompression import decompress_start

_MAGIC = b'\x89MCAP0\r\n'
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06
_WANTED = (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK)
_PREFIX = struct.Struct('<BQ')
_MESSAGE_HEADER = struct.Struct('<HIQQ')
_REPAIR = '`mcap recover` writes a sound file of the same messages'


class McapStorage:
    """An ``.mcap`` file, see `seqnet_ros.datasets.recordings.bag_storage.Storage`.

    The index of a file leads to the messages of a topic. Where it is missing or wrong, the file is
    read from its beginning, record by record.
    """

    def __init__(self, file: Path) -> None:
        """Read the index, or count the messages of a file without one.

        Raises:
            InputError: the file is no MCAP file, or no message of it can be read.
        """
        self.file = file
        self.problem = ''
        self._indexed = True
        try:
            with IndexedReader(file) as reader:
                counts: dict[StoredTopic, int] = {}
                for connection in reader.connections:
                    topic = _topic_of_connection(connection)
                    counts[topic] = counts.get(topic, 0) + connection.msgcount
                filled = reader.message_count > 0
                self.start_ns = reader.start_time if filled else None
                self.end_ns = reader.end_time - 1 if filled else None
        except Exception:  # whatever the parsers of the library raise on damage
            self._indexed = False
            counts = self._count()
        else:
            if not filled:  # or the index counts nothing
                self._indexed = False
                counts.update(self._count())
        self.topics = [key._replace(messages=count) for key, count in counts.items()]

    def messages(self, topic: StoredTopic) -> Iterator[tuple[int, bytes]]:
        """Yield the messages of a topic, see `Storage.messages`."""
        key = topic._replace(messages=0)
        delivered, latest = 0, -1
        if self._indexed:
            try:
                with IndexedReader(self.file) as reader:
                    connections = [connection for connection in reader.connections
                                   if _topic_of_connection(connection) == key]
                    for _, received_ns, content in reader.messages(connections):
                        delivered, latest = delivered + 1, received_ns
                        yield received_ns, content
            except Exception:  # read on without the index
                pass
            if delivered >= topic.messages:
                return
        scan = _Scan(self.file)
        for found, received_ns, content in scan.messages():
            if found == key and received_ns > latest:
                delivered += 1
                yield received_ns, content
        if delivered < topic.messages:
            raise InputError(
                f'{self.file} is damaged: {topic.messages - delivered} of {topic.messages} '
                f'messages on {topic.name} cannot be read ({scan.damage or "they are missing"})')

    def _count(self) -> dict[StoredTopic, int]:
        scan = _Scan(self.file)
        counts: dict[StoredTopic, int] = {}
        self.start_ns = self.end_ns = None
        for topic, received_ns, _ in scan.messages():
            counts[topic] = counts.get(topic, 0) + 1
            self.start_ns = min(received_ns, self.start_ns or received_ns)
            self.end_ns = max(received_ns, self.end_ns or received_ns)
        if scan.damage:
            if not counts:
                raise InputError(f'bag {self.file} cannot be read, it may be damaged or truncated: '
                                 f'the file {scan.damage} and holds no intact message')
            self.problem = (f'{self.file.name} {scan.damage}: the {sum(counts.values())} messages '
                            f'that are intact are read; {_REPAIR}')
        return counts or dict.fromkeys(scan.channels.values(), 0)


def _topic_of(name: str, kind: str, encoding: str) -> StoredTopic:
    if kind.count('/') == 1:  # ROS 1 has no folder in the names of its types
        kind = kind.replace('/', '/msg/')
    return StoredTopic(name, kind, encoding, 0)


def _topic_of_connection(connection: Connection) -> StoredTopic:
    encoding = getattr(connection.ext, 'serialization_format', '')
    return _topic_of(connection.topic, connection.msgtype, encoding)


class _Scan:
    """Reads a file from its beginning; stops where it ends early, skips chunks that are damaged.

    Attributes:
        channels: topics by number, complete after the last message.
        damage: what is missing, empty where nothing is.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._schemas: dict[int, str] = {}
        self.channels: dict[int, StoredTopic] = {}
        self.damage = ''

    def messages(self) -> Iterator[tuple[StoredTopic, int, bytes]]:
        """Yield topic, time received (ns) and content, in the order of the file."""
        with self._file.open('rb') as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                self.damage = 'does not begin as an MCAP file'
                return
            for opcode, body in self._records(stream):
                if opcode == _CHUNK:
                    yield from self._chunk(body)
                else:
                    yield from self._record(opcode, body)

    def _records(self, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
        size = self._file.stat().st_size
        while True:
            prefix = stream.read(_PREFIX.size)
            if len(prefix) < _PREFIX.size:
                self.damage = self.damage or 'is cut short'
                return
            opcode, length = _PREFIX.unpack(prefix)
            if opcode == _FOOTER:
                return
            left = size - stream.tell()
            if length > left:
                self.damage = self.damage or (
                    f'is cut short: its last record holds {left} of {length} bytes')
            if opcode in _WANTED and (length <= left or opcode == _CHUNK):
                yield opcode, stream.read(min(length, left))
            elif length <= left:
                stream.seek(length, 1)
            if length > left:
                return

    def _chunk(self, body: bytes) -> Iterator[tuple[StoredTopic, int, bytes]]:
        try:
            size, _, name_length = struct.unpack_from('<QII', body, 16)
            compression = body[32:32 + name_length].decode()
            records = decompress_start(body[40 + name_length:], compression, size)
        except (struct.error, UnicodeDecodeError) as error:
            self.damage = self.damage or f'holds a damaged chunk: {reason(error)}'
            return
        except InputError as error:
            self.damage = self.damage or str(error)
            return
        at = 0
        while at + _PREFIX.size <= len(records):
            opcode, length = _PREFIX.unpack_from(records, at)
            at += _PREFIX.size
            if at + length > len(records):
                break
            yield from self._record(opcode, records[at:at + length])
            at += length
        if at != size:
            self.damage = self.damage or 'holds a damaged chunk'

    def _record(self, opcode: int, body: bytes) -> Iterator[tuple[StoredTopic, int, bytes]]:
        try:
            if opcode == _SCHEMA:
                self._schemas[struct.unpack_from('<H', body)[0]] = _text(body, 2)[0]
            elif opcode == _CHANNEL:
                number, schema = struct.unpack_from('<HH', body)
                topic, at = _text(body, 4)
                encoding, _ = _text(body, at)
                self.channels[number] = _topic_of(topic, self._schemas.get(schema, ''), encoding)
            elif opcode == _MESSAGE:
                number, _, received_ns, _ = _MESSAGE_HEADER.unpack_from(body)
                if number in self.channels:
                    yield self.channels[number], received_ns, body[_MESSAGE_HEADER.size:]
        except (struct.error, UnicodeDecodeError) as error:
            self.damage = self.damage or f'holds a damaged record: {reason(error)}'


def _text(body: bytes, at: int) -> tuple[str, int]:
    """Return the text at an offset, and the offset behind it."""
    length, = struct.unpack_from('<I', body, at)
    end = at + 4 + length
    return body[at + 4:end].decode(), end
