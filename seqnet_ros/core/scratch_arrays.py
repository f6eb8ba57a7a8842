"""Arrays that are too large for memory, in temporary files without a name.

Small ones are in memory. The files are in the folder that ``TMPDIR`` names, else in ``/tmp``; where
that is a file system in memory, set ``TMPDIR`` to one on a disk.
"""

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from seqnet_ros.core.errors import InputError

IN_MEMORY_BYTES = 64 << 20
"""Arrays up to this size are in memory."""
_BLOCK_BYTES = 16 << 20


def scratch_array(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """Return a new array to be filled, in memory or in a temporary file that vanishes with it.

    Raises:
        InputError: the temporary file cannot be made.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix='seqnet_ros-') as file:
            # Room is taken now: a full disk would end the program when the array is filled.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, 'r+', shape=shape)
    except OSError as error:
        raise InputError(f'{size} bytes cannot be kept in a temporary file in '
                         f'{tempfile.gettempdir()}: {error.strerror or error}; set TMPDIR to '
                         'another folder') from error


def row_blocks(array: np.ndarray) -> Iterator[slice]:
    """Yield slices of successive rows of a two-dimensional array, of a few megabytes each."""
    step = max(1, _BLOCK_BYTES // max(array.strides[0], 1))
    for start in range(0, len(array), step):
        yield slice(start, min(start + step, len(array)))


def joined_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the rows ``[N + M, D]`` of two arrays as a new one."""
    joined = scratch_array((len(first) + len(second), *first.shape[1:]), first.dtype)
    joined[:len(first)] = first
    joined[len(first):] = second
    return joined


class GrowingRows:
    """Vectors that are collected one by one, in memory at first, then in a temporary file."""

    def __init__(self) -> None:
        self._count = 0
        self._room = np.empty((0, 0), np.float32)

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    def __getitem__(self, row: int) -> np.ndarray:
        """Return a row ``[D]``; -1 is the newest."""
        return self.array[row]

    def append(self, row: np.ndarray) -> None:
        """Add a row ``[D]``, which is copied.

        Raises:
            InputError: it has another length than the first, or the temporary file cannot grow.
        """
        if not self._count:
            self._room = np.empty((0, len(row)), np.float32)
        if len(row) != self._room.shape[1]:
            raise InputError(f'found a vector of {len(row)} values, expected '
                             f'{self._room.shape[1]}')
        if self._count == len(self._room):
            # Files grow by less: they would be copied, and hold, twice as much as is needed.
            more = max(16, self._count // 2)
            room = scratch_array((self._count + more, len(row)))
            for block in row_blocks(self._room):
                room[block] = self._room[block]
            self._room = room
        self._room[self._count] = row
        self._count += 1

    @property
    def array(self) -> np.ndarray:
        """The rows so far, float32 ``[N, D]``, a view."""
        return self._room[:self._count]
