"""MATLAB v5 files of numbers, text, cells and structs, read without trusting a byte of them.

SciPy's reader ends the process on some damaged files. Here, every element must fit into the one
that holds it, and every array needs as many bytes as its dimensions state.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqnet_ros.core.errors import InputError, shortened
from seqnet_ros.core.files import read_limited

MAX_BYTES = 512 << 20
"""Size of a file, at most, and of what a compressed variable expands to."""
_HEADER = 128
_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_NUMBERS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8',
            13: 'u8'}
_TEXT = {1: 'latin-1', 2: 'latin-1', 4: 'utf-16', 16: 'utf-8', 17: 'utf-16', 18: 'utf-32'}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_CLASSES = {6: 'f8', 7: 'f4', 8: 'i1', 9: 'u1', 10: 'i2', 11: 'u2', 12: 'i4', 13: 'u4', 14: 'i8',
            15: 'u8'}
_COMPLEX, _LOGICAL = 0x800, 0x200
_MAX_DEPTH = 16
_MAX_DIMENSIONS = 8


class _UnsupportedError(Exception):
    """A variable of a class that is not read here; the file may hold others."""


class _Element(NamedTuple):
    kind: int
    content: memoryview


def read_mat(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the variables of a file; those of other classes are left out.

    Returns:
        By name: numbers as arrays, text as arrays of rows, cells as object arrays of these, and a
        struct array as the list of its elements, dictionaries by field.

    Raises:
        InputError: the file is missing, damaged, too large, or of another version.
    """
    file = Path(path)
    content = read_limited(file, MAX_BYTES, 'struct')
    try:
        return _Reader(content).variables()
    except (struct.error, ValueError, OverflowError, zlib.error) as error:
        raise InputError(f'struct {file} is not a MATLAB v5 file, or is damaged: '
                         f'{shortened(error)}') from error


class _Reader:
    def __init__(self, content: bytes) -> None:
        if content.startswith(b'MATLAB 7.3'):
            raise ValueError('it is of version 7.3, expected one saved with -v7')
        self._order = {b'IM': '<', b'MI': '>'}.get(content[126:128], '')
        if not self._order:
            raise ValueError(f'it has {len(content)} bytes and no mark of the byte order')
        self._content = memoryview(content)[_HEADER:]
        self._left = MAX_BYTES

    def variables(self) -> dict[str, Any]:
        found = {}
        for element in self._elements(self._content):
            if element.kind == _COMPRESSED:
                element, = self._elements(self._expand(element.content))
            try:
                name, value = self._matrix(element, 0)
            except _UnsupportedError:
                continue
            found[name] = value
        return found

    def _expand(self, content: memoryview) -> memoryview:
        stream = zlib.decompressobj()
        expanded = stream.decompress(content, self._left)
        self._left -= len(expanded)
        if not stream.eof:
            raise ValueError('a compressed variable is cut short or too large')
        return memoryview(expanded)

    def _elements(self, content: memoryview) -> Iterator[_Element]:
        position = 0
        while position < len(content):
            kind, size = struct.unpack_from(f'{self._order}II', content, position)
            if kind >> 16:  # up to four bytes within the tag
                kind, size, start, step = kind & 0xffff, kind >> 16, position + 4, 8
                if size > 4:
                    raise ValueError('a small element has more than four bytes')
            else:
                start = position + 8
                step = 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
            # The padding of the last element may be missing.
            if start + size > len(content):
                raise ValueError(f'an element of {size} bytes exceeds the {len(content) - start} '
                                 'that are left')
            yield _Element(kind, content[start:start + size])
            position += step

    def _matrix(self, element: _Element, depth: int) -> tuple[str, Any]:
        if element.kind != _MATRIX:
            raise ValueError(f'an element has type {element.kind}, expected a matrix')
        if depth > _MAX_DEPTH:
            raise ValueError(f'values are nested more than {_MAX_DEPTH} deep')
        if not element.content:
            return '', np.empty((0, 0))
        parts = self._elements(element.content)
        flags, = self._integers(next(parts, None), _UINT32)[:1]
        kind = flags & 0xff
        if flags & _COMPLEX or kind not in (_CELL, _STRUCT, _CHAR, *_CLASSES):
            raise _UnsupportedError
        shape = self._integers(next(parts, None), _INT32)
        name = self._bytes(next(parts, None)).decode('latin-1')
        if not 2 <= len(shape) <= _MAX_DIMENSIONS or min(shape) < 0:
            raise ValueError(f'a matrix has the dimensions {shape[:_MAX_DIMENSIONS]}')
        if math.prod(shape) > len(element.content):
            raise ValueError(f'a matrix of {math.prod(shape)} values has '
                             f'{len(element.content)} bytes')
        if kind == _CHAR:
            return name, self._text(next(parts, None), shape)
        if kind == _CELL:
            return name, self._cells(parts, shape, depth)
        if kind == _STRUCT:
            return name, self._structs(parts, shape, depth)
        values = self._numbers(next(parts, None), shape).astype(_CLASSES[kind])
        return name, values.astype(bool) if flags & _LOGICAL else values

    def _integers(self, element: _Element | None, kind: int) -> tuple[int, ...]:
        if element is None or element.kind != kind or len(element.content) % 4 or (
                not element.content):
            raise ValueError('a matrix has no valid flags or dimensions')
        code = 'I' if kind == _UINT32 else 'i'
        return struct.unpack(f'{self._order}{len(element.content) // 4}{code}', element.content)

    def _bytes(self, element: _Element | None) -> bytes:
        if element is None or element.kind != _INT8:
            raise ValueError('a matrix has no valid name')
        return bytes(element.content)

    def _numbers(self, element: _Element | None, shape: tuple[int, ...]) -> np.ndarray:
        if element is None or element.kind not in _NUMBERS:
            raise ValueError('a matrix holds no numbers')
        flat = np.frombuffer(element.content, f'{self._order}{_NUMBERS[element.kind]}')
        return flat.reshape(shape, order='F')

    def _text(self, element: _Element | None, shape: tuple[int, ...]) -> np.ndarray:
        if element is None or element.kind not in _TEXT:
            raise ValueError('a text has no characters')
        encoding = _TEXT[element.kind]
        if encoding in ('utf-16', 'utf-32'):
            encoding += '-le' if self._order == '<' else '-be'
        characters = list(bytes(element.content).decode(encoding))
        if len(characters) != math.prod(shape):
            raise ValueError(f'a text has {len(characters)} characters, expected {list(shape)}')
        if not characters:
            return np.empty(0, 'U1')
        rows = np.array(characters).reshape(shape, order='F').reshape(-1, shape[-1])
        return np.array([''.join(row) for row in rows])

    def _cells(self, parts: Iterator[_Element], shape: tuple[int, ...], depth: int) -> np.ndarray:
        cells = np.empty(math.prod(shape), dtype=object)
        for index in range(len(cells)):
            cells[index] = self._inner(next(parts, None), depth)
        return cells.reshape(shape, order='F')

    def _structs(self, parts: Iterator[_Element], shape: tuple[int, ...],
                 depth: int) -> list[dict[str, Any]]:
        length, = self._integers(next(parts, None), _INT32)[:1]
        names = self._bytes(next(parts, None))
        if not 1 <= length <= 256 or len(names) % length:
            raise ValueError('a struct has no valid names of fields')
        fields = [names[start:start + length].partition(b'\0')[0].decode('latin-1')
                  for start in range(0, len(names), length)]
        return [{field: self._inner(next(parts, None), depth) for field in fields}
                for _ in range(math.prod(shape) if fields else 0)]

    def _inner(self, element: _Element | None, depth: int) -> Any:
        if element is None:
            raise ValueError('a value is missing')
        try:
            return self._matrix(element, depth + 1)[1]
        except _UnsupportedError:
            raise ValueError('a value is complex, sparse, a function or an object') from None
