"""File names with fields between ``@``: reads millions of them without a loop.

``@0544331.01@4172775.04@10@S@...@.jpg`` has the fields 1 to 14 between its marks; field 0, before
the first mark, is empty. Marks and commas in the names of folders mean nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fsdecode, fsencode
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError

_MARK, _SLASH, _NEWLINE, _RETURN = b'@/\n\r'
_BLOCK_BYTES = 64 << 20
_BLOCK_NAMES = 1 << 18
_MOST_CHARACTERS = 256


@dataclass(frozen=True, eq=False)
class AtSignNames:
    """A list of relative paths, kept as the bytes of one text.

    Attributes:
        text: uint8 ``[B]``, may be memory-mapped.
        starts: int64 ``[N]``, where each path begins.
        ends: int64 ``[N]``, one past its last byte.
        example: what a name should look like, for errors.
    """

    text: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    example: str

    @classmethod
    def of(cls, paths: Sequence[str], example: str) -> 'AtSignNames':
        """Wrap a list of paths."""
        encoded = [fsencode(path) for path in paths]
        lengths = np.array([len(path) for path in encoded], dtype=np.int64)
        ends = lengths.cumsum()
        return cls(np.frombuffer(b''.join(encoded), dtype=np.uint8), ends - lengths, ends, example)

    @classmethod
    def read(cls, path: str | PathLike[str], example: str, prefix: str = '') -> 'AtSignNames':
        """Map a list with a path in each line into memory.

        Args:
            path: the list.
            example: what a name should look like, for errors.
            prefix: only paths that begin with it are kept.

        Raises:
            InputError: the list cannot be read or has no matching path.
        """
        file = Path(path)
        try:
            empty = file.stat().st_size == 0
            text = np.empty(0, np.uint8) if empty else np.memmap(file, dtype=np.uint8, mode='r')
        except (OSError, ValueError) as error:
            raise InputError(f'{file} cannot be read: {error}') from error
        names = cls(text, *_lines(text), example)
        if prefix:
            names = names.take(np.flatnonzero(names.begin_with(prefix)))
        if not len(names):
            wanted = f'paths that begin with {prefix}' if prefix else 'a path in each line'
            raise InputError(f'{file} names no image, expected {wanted}')
        return names

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self.starts)

    def __getitem__(self, index: int) -> str:
        """Return one path."""
        return fsdecode(self.text[self.starts[index]: self.ends[index]].tobytes())

    def take(self, rows: np.ndarray) -> 'AtSignNames':
        """Return some of the names, in ascending rows; the text is shared."""
        return AtSignNames(self.text, self.starts[rows], self.ends[rows], self.example)

    def begin_with(self, prefix: str) -> np.ndarray:
        """Return bool ``[N]``: the path begins with ``prefix``."""
        wanted = np.frombuffer(fsencode(prefix), dtype=np.uint8)
        found = np.zeros(len(self), dtype=bool)
        long_enough = np.flatnonzero(self.ends - self.starts >= len(wanted))
        for start in range(0, len(long_enough), _BLOCK_NAMES):
            rows = long_enough[start: start + _BLOCK_NAMES]
            bytes_ = self.text[self.starts[rows, None] + np.arange(len(wanted))]
            found[rows] = (bytes_ == wanted).all(axis=1)
        return found

    def field_counts(self) -> np.ndarray:
        """Return int64 ``[N]``, the marks in each file name: the number of its last field."""
        return np.concatenate([np.empty(0, np.int64), *(block.counts for block in self._blocks())])

    def texts(self, field: int) -> np.ndarray:
        """Return one field of every name as bytes ``[N]``; empty where it is missing."""
        parts = [block.texts(field) for block in self._blocks()]
        return np.concatenate(parts) if parts else np.empty(0, 'S1')

    def numbers(self, fields: Mapping[str, int]) -> dict[str, np.ndarray]:
        """Read fields that hold numbers.

        Args:
            fields: number of each field, by its name in messages.

        Returns:
            float64 ``[N]`` for each of them.

        Raises:
            InputError: a field is missing or is not a finite number; the message names it.
        """
        found: dict[str, list[np.ndarray]] = {name: [] for name in fields}
        for block in self._blocks():
            for name, field in fields.items():
                found[name].append(self._numbers(block, name, field))
        return {name: np.concatenate([np.empty(0), *parts]) for name, parts in found.items()}

    def _numbers(self, block: '_Block', name: str, field: int) -> np.ndarray:
        texts = block.texts(field)
        empty = np.flatnonzero(texts == b'')
        if empty.size:
            raise InputError(f'image {self[block.first + int(empty[0])]} has no {name} (field '
                             f'{field} between the @), expected a name like {self.example}')
        try:
            values = texts.astype(np.float64)
        except ValueError:
            values = np.array([_to_number(text) for text in texts])
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            row = int(wrong[0])
            raise InputError(f'image {self[block.first + row]} has the {name} '
                             f'{fsdecode(texts[row])!r}, expected a number')
        return values

    def _blocks(self) -> Iterator['_Block']:
        """Yield successive names; the text between their first and last byte is scanned once."""
        start = 0
        while start < len(self):
            limit = self.starts[start] + _BLOCK_BYTES
            end = start + int(np.searchsorted(self.starts[start: start + _BLOCK_NAMES], limit))
            end = max(end, start + 1)
            yield _Block.scan(self.text, start, self.starts[start:end], self.ends[start:end])
            start = end


@dataclass(frozen=True, eq=False)
class _Block:
    """The marks of some successive names.

    Attributes:
        first: row of the first name.
        text: uint8, the bytes of these names and what is between them.
        marks: where the marks are in it, and its end.
        begins: int64 ``[n]``, row in ``marks`` of the first mark of each file name.
        counts: int64 ``[n]``, marks of each file name.
    """

    first: int
    text: np.ndarray
    marks: np.ndarray
    begins: np.ndarray
    counts: np.ndarray

    @classmethod
    def scan(cls, text: np.ndarray, first: int, starts: np.ndarray, ends: np.ndarray) -> '_Block':
        offset = starts[0]
        text = np.asarray(text[offset: ends[-1]])
        starts, ends = starts - offset, ends - offset
        marks = np.flatnonzero(text == _MARK)
        slashes = np.concatenate([[-1], np.flatnonzero(text == _SLASH)])
        file_names = np.maximum(slashes[np.searchsorted(slashes, ends) - 1] + 1, starts)
        begins = np.searchsorted(marks, file_names)
        counts = np.searchsorted(marks, ends) - begins
        return cls(first, text, np.append(marks, len(text)), begins, counts)

    def texts(self, field: int) -> np.ndarray:
        """Return a field of each name as bytes; empty where no mark closes it."""
        present = self.counts > field
        opening = np.where(present, self.begins + field - 1, len(self.marks) - 1)
        begin = self.marks[opening] + 1
        length = np.where(present, self.marks[np.minimum(opening + 1, len(self.marks) - 1)] - begin,
                          0)
        width = int(np.clip(length.max(), 1, _MOST_CHARACTERS))
        column = np.arange(width)
        inside = column < length[:, None]
        bytes_ = self.text[np.where(inside, begin[:, None] + column, 0)]
        bytes_[~inside] = 0
        return bytes_.view(f'S{width}')[:, 0]


def _lines(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the lines that are not empty start and end, without their line ends."""
    breaks = [start + np.flatnonzero(text[start: start + _BLOCK_BYTES] == _NEWLINE)
              for start in range(0, len(text), _BLOCK_BYTES)]
    ends = np.concatenate([np.empty(0, np.int64), *breaks, [len(text)]]).astype(np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    full = ends > starts
    starts, ends = starts[full], ends[full]
    ends = ends - (text[ends - 1] == _RETURN)
    full = ends > starts
    return starts[full], ends[full]


def _to_number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
