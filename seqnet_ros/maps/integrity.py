"""Checks that a memory-mapped map still matches its manifest.

A large map is not read when it is opened. Its blocks are compared with their checksums when a
search first touches them, and all of them in the background. Files that another program changes
under the open map are noticed by their size and time of change before they are read: reading
a mapped file beyond its end would kill the process. Where the file system has leases, a program
that cuts or overwrites such a file waits until the search that is going on has ended.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from seqnet_ros.core.errors import MapChangedError, MapCorruptError, MapError
from seqnet_ros.maps.file_record import BLOCK_BYTES, FileRecord

_IDLE_S = 5.0
"""A search that began this long ago has ended."""
_LOOK_EVERY_S = 0.25
_verifying = threading.Lock()
"""Held while a block is verified in the background: of several maps, one uses the disk."""

_logger = logging.getLogger(__name__)


class MappedFile:
    """A large file of an open map.

    Args:
        name: path of the file, for messages.
        file: the open file.
        record: its entry in the manifest.

    Raises:
        MapCorruptError: it has another size.
    """

    def __init__(self, name: str, file: BinaryIO, record: FileRecord) -> None:
        self.name = name
        self._file = file
        self._record = record
        self._state = self._current_state()
        self._is_changed = False
        self._is_leased = self._take_lease()
        self._verified = [False] * max(-(-record.bytes // BLOCK_BYTES), 1)
        if self._state[0] != record.bytes:
            raise MapCorruptError(
                f'{name} is {self._state[0]} bytes long, expected {record.bytes} bytes')

    def _current_state(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns

    def _take_lease(self) -> bool:
        """Let programs that write to the file wait; return False where that is not possible."""
        try:
            # The kernel's usual signal would end the process; this one is ignored.
            fcntl.fcntl(self._file, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self._file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except (OSError, AttributeError):
            return False
        return True

    def yield_to_writers(self) -> None:
        """Let a program that waits write to the file; to be called while nothing reads it."""
        if self._is_leased and fcntl.fcntl(self._file, fcntl.F_GETLEASE) == fcntl.F_UNLCK:
            self._is_leased = False
            self._is_changed = True
            with contextlib.suppress(OSError):  # the kernel takes it back after a while
                fcntl.fcntl(self._file, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def check_unchanged(self) -> None:
        """Check that the file was not modified since it was opened.

        Raises:
            MapChangedError: it was modified, or is about to be.
        """
        if self._is_changed or self._current_state() != self._state:
            raise MapChangedError(f'{self.name} was changed by another program while the map was '
                                  'in use: the map is no longer searched, load it again')

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes ``start`` to ``stop`` of the file, without its mapping.

        Raises:
            MapChangedError: the file became shorter.
        """
        content = os.pread(self._file.fileno(), stop - start, start)
        if len(content) != stop - start:
            self.check_unchanged()
            raise MapCorruptError(f'{self.name} cannot be read')
        return content

    def read_into(self, start: int, rows: np.ndarray) -> None:
        """Fill an array with the bytes from ``start`` on, without the mapping of the file.

        Raises:
            MapError: the file became shorter.
        """
        if os.preadv(self._file.fileno(), [rows.data], start) != rows.nbytes:
            self.check_unchanged()
            raise MapCorruptError(f'{self.name} cannot be read')

    def verify(self, start: int, stop: int) -> None:
        """Compare the blocks that hold bytes ``start`` to ``stop`` with their checksums, once.

        Does nothing for maps of earlier versions, which have one checksum for the whole file.

        Raises:
            MapError: a block was altered.
        """
        if not self._record.blocks and self._record.bytes > BLOCK_BYTES:
            return
        for number in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
            if not self._verified[number]:
                self._verify_block(number)

    def _verify_block(self, number: int) -> None:
        start = number * BLOCK_BYTES
        content = self.read(start, min(start + BLOCK_BYTES, self._record.bytes))
        expected = self._record.blocks[number] if self._record.blocks else self._record.sha256
        if hashlib.sha256(content).hexdigest() != expected:
            self.check_unchanged()
            raise MapCorruptError(f'{self.name} was modified: its checksum does not match')
        self._verified[number] = True

    def verify_all(self) -> Iterator[None]:
        """Compare the whole file with its checksums, one block after each ``next``.

        Raises:
            MapError: it was altered.
        """
        if self._record.blocks or self._record.bytes <= BLOCK_BYTES:
            for number, done in enumerate(self._verified):
                if not done:
                    self._verify_block(number)
                yield
            return
        digest = hashlib.sha256()
        for start in range(0, self._record.bytes, BLOCK_BYTES):
            digest.update(self.read(start, min(start + BLOCK_BYTES, self._record.bytes)))
            yield
        if digest.hexdigest() != self._record.sha256:
            self.check_unchanged()
            raise MapCorruptError(f'{self.name} was modified: its checksum does not match')


class MapIntegrity:
    """Watches the memory-mapped files of an open map."""

    def __init__(self, files: dict[str, MappedFile]) -> None:
        """Watch files by their names in the map."""
        self._files = files
        self._failure: MapError | None = None
        self._background: threading.Thread | None = None
        self._starting = threading.Lock()
        self._checked_s = 0.0
        self._closed = False
        threading.Thread(target=_let_writers_in, args=(weakref.ref(self),), daemon=True,
                         name='map leases').start()

    def check(self) -> None:
        """Check that the map can still be used; to be called before and after every search.

        The first call starts the verification of all files in the background, unless
        `verify_ahead` did.

        Raises:
            MapChangedError: another program has written to a file.
            MapCorruptError: a block that was compared with its checksum differs.
        """
        if self._failure is not None:
            raise self._failure
        self._checked_s = time.monotonic()
        self._yield_to_writers()
        for file in self._files.values():
            file.check_unchanged()
        self.verify_ahead()

    def verify_ahead(self) -> None:
        """Start the verification of all files in the background, for a map soon to be searched.

        It reads all of them, so that no search waits for the disk afterwards, as long as the system
        has memory for them.
        """
        with self._starting:
            if self._background is None:
                self._background = threading.Thread(
                    target=self._verify_in_background, name='map verification', daemon=True)
                self._background.start()

    def close(self) -> None:
        """End the verification in the background, of a map that is no longer searched."""
        self._closed = True

    def _yield_to_writers(self) -> None:
        for file in self._files.values():
            file.yield_to_writers()

    def yield_when_idle(self) -> None:
        """Let a program that waits write to a file, if no search has begun for a while."""
        if time.monotonic() - self._checked_s > _IDLE_S:
            self._yield_to_writers()

    def read_rows(self, name: str, array: np.memmap, numbers: np.ndarray) -> np.ndarray:
        """Return some rows of a mapped array, read from its file.

        Its mapping would make the system read, and count as memory of the process, much more than
        is asked for.

        Args:
            name: the file.
            array: its mapping, ``[N, D]``.
            numbers: the rows, ascending, int ``[K]``.

        Raises:
            MapError: the file became shorter.
        """
        rows = np.empty((len(numbers), *array.shape[1:]), array.dtype)
        begin = np.flatnonzero(np.diff(numbers, prepend=-2) != 1)  # of runs of successive rows
        starts = array.offset + numbers[begin] * array.strides[0]
        for start, part in zip(starts.tolist(), np.split(rows, begin[1:]), strict=False):
            self._files[name].read_into(start, part)
        return rows

    def verify(self, name: str, start: int, stop: int) -> None:
        """Compare what holds bytes ``start`` to ``stop`` of a file with its checksums.

        Raises:
            MapError: it was altered.
        """
        if name in self._files:
            self._files[name].verify(start, stop)

    def verify_all(self) -> None:
        """Compare all files with their checksums.

        Raises:
            MapError: one was altered; the message names it.
        """
        for file in self._files.values():
            for _ in file.verify_all():
                pass

    def wait(self, timeout_s: float) -> bool:
        """Wait for the verification in the background; return whether it has ended."""
        if self._background is not None:
            self._background.join(timeout_s)
        return self._background is not None and not self._background.is_alive()

    def _verify_in_background(self) -> None:
        try:
            for file in self._files.values():
                for _ in _in_turn(file.verify_all()):
                    if self._closed:
                        return
        except MapError as error:
            _logger.error('%s', error)
            self._failure = error
        except OSError as error:
            self._failure = MapCorruptError(f'{file.name} cannot be read: {error.strerror}')
            _logger.error('%s', self._failure)


def _in_turn(blocks: Iterator[None]) -> Iterator[None]:
    """Take one block after the other, half of the time at most: the robot has other work."""
    while True:
        with _verifying:
            started = time.monotonic()
            try:
                next(blocks)
            except StopIteration:
                return
        time.sleep(time.monotonic() - started)
        yield


def _let_writers_in(integrity: 'weakref.ref[MapIntegrity]') -> None:
    """Yield to writers while nothing is searched, as long as the map is open."""
    while (watched := integrity()) is not None:
        watched.yield_when_idle()
        del watched
        time.sleep(_LOOK_EVERY_S)
