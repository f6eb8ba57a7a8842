"""The SQLite files of rosbag2, also those of a recorder that was killed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.recordings.bag_storage import StoredTopic, reason

# In SQLite, any column may hold values of any type.
_TOPICS = ("SELECT id, name, type, serialization_format FROM topics WHERE typeof(id) = 'integer' "
           "AND typeof(name) = 'text' AND typeof(type) = 'text' "
           "AND typeof(serialization_format) = 'text'")
_WHOLE = "typeof(timestamp) = 'integer' AND typeof(data) = 'blob'"
_REPAIR = '`sqlite3 FILE .recover` may find more'


class SqliteStorage:
    """A ``.db3`` file, see `seqnet_ros.datasets.recordings.bag_storage.Storage`.

    The newest messages of a recorder that was killed are in the ``-wal`` beside the file. They are
    read from there; neither file is written.
    """

    def __init__(self, file: Path) -> None:
        """List the topics and count their messages.

        Raises:
            InputError: the file is not a bag, or its topics cannot be read.
        """
        self.file = file
        self.problem = ''
        self._sound = True
        try:
            with closing(self._connect()) as database:
                rows = database.execute(_TOPICS).fetchall()
                counts, times = self._count(database)
        except sqlite3.Error as error:
            raise InputError(
                f'bag {file} cannot be read, it may be damaged or truncated: {reason(error)}'
            ) from error
        self._ids: dict[tuple[str, str], list[int]] = {}
        for number, name, kind, _ in rows:
            self._ids.setdefault((name, kind), []).append(number)
        encodings = {(name, kind): encoding for _, name, kind, encoding in rows}
        self.topics = [
            StoredTopic(*key, encodings[key], sum(counts.get(number, 0) for number in numbers))
            for key, numbers in self._ids.items()]
        self.start_ns = None if times is None else times[0]
        self.end_ns = None if times is None else times[1]

    def messages(self, topic: StoredTopic) -> Iterator[tuple[int, bytes]]:
        """Yield the messages of a topic, see `Storage.messages`."""
        numbers = self._ids[topic[:2]]
        # Damage also concerns the index by time: such a file is read in the order it was written.
        order = 'ORDER BY timestamp' if self._sound else 'ORDER BY id'
        marks = ', '.join('?' * len(numbers))
        with closing(self._connect()) as database:
            try:
                yield from database.execute(
                    f'SELECT timestamp, data FROM messages WHERE topic_id IN ({marks}) '
                    f'AND {_WHOLE} {order}',
                    numbers)
            except sqlite3.Error as error:
                raise InputError(
                    f'{self.file} cannot be read further, it may be damaged or truncated: '
                    f'{reason(error)}; {_REPAIR}') from error

    def _connect(self) -> sqlite3.Connection:
        location = self.file.absolute().as_uri()
        if _has_log(self.file):
            # Without locks and with the log's index in memory, so that nothing is written beside
            # the file: recordings also lie on read-only disks.
            database = sqlite3.connect(f'{location}?mode=ro&vfs=unix-none', uri=True)
            database.execute('PRAGMA locking_mode = EXCLUSIVE')
        else:
            database = sqlite3.connect(f'{location}?immutable=1', uri=True)
        # Otherwise SQLite refuses a file that is shorter than its header states.
        database.execute('PRAGMA writable_schema = ON')
        return database

    def _count(self, database: sqlite3.Connection,
               ) -> tuple[dict[int, int], tuple[int, int] | None]:
        """Return the number of messages by topic, and the times of the first and last of all."""
        try:
            rows = database.execute('SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) '
                                    f'FROM messages WHERE {_WHOLE} GROUP BY topic_id').fetchall()
        except sqlite3.DatabaseError as error:
            self._sound = False
            return self._count_intact(database, error)
        if not rows:
            return {}, None
        return ({row[0]: row[1] for row in rows},
                (min(row[2] for row in rows), max(row[3] for row in rows)))

    def _count_intact(self, database: sqlite3.Connection, damage: sqlite3.Error,
                      ) -> tuple[dict[int, int], tuple[int, int] | None]:
        counts: dict[int, int] = {}
        stamps: list[int] = []
        try:
            # The content is read too: where it is missing, the message is.
            for number, stamp, _ in database.execute(
                    f'SELECT topic_id, timestamp, data FROM messages WHERE {_WHOLE} ORDER BY id'):
                counts[number] = counts.get(number, 0) + 1
                stamps = [min([stamp, *stamps]), max([stamp, *stamps])]
        except sqlite3.DatabaseError as error:
            damage = error
        found = sum(counts.values())
        self.problem = (f'{self.file.name} is damaged or cut short after {found} messages '
                        f'({reason(damage)}): these are read; {_REPAIR}')
        return counts, (stamps[0], stamps[1]) if stamps else None


def _has_log(file: Path) -> bool:
    log = file.with_name(f'{file.name}-wal')
    return log.exists() and log.stat().st_size > 0
