"""NumPy's ``.npy`` and ``.npz`` files of any origin, read within limits and without running code.

A header of a few bytes may state any shape, and a zip archive may expand a thousandfold: an array
is read only if the file holds as many bytes as its header states.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Collection
from os import PathLike
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from seqnet_ros.core.errors import InputError, shortened
from seqnet_ros.core.files import read_limited, require_file
from seqnet_ros.core.safe_pickle import read_object_array

_MAX_EXPANSION = 50
_ALWAYS_ALLOWED_BYTES = 256 << 20
_MAX_MEMBERS = 10_000
_MAX_OBJECT_BYTES = 64 << 20
_MAX_DIMENSIONS = 32


def save_array(file: IO[bytes], array: np.ndarray) -> None:
    """Write an array of numbers as ``.npy``.

    `numpy.save` can miss an error in the last block that it flushes, such as that the disk is full.

    Raises:
        OSError: it cannot be written.
    """
    array = np.ascontiguousarray(array)
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
    file.write(array.reshape(-1).view(np.uint8).data)


def read_npz(path: str | PathLike[str], objects: bool = False,
             names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file.

    Args:
        path: the file.
        objects: read object arrays, too, where they hold plain data.
        names: the arrays to read; None reads all.

    Returns:
        Arrays by name.

    Raises:
        InputError: the file is missing or damaged, expands too much, lacks an array, or an array
            cannot be read without running code.
    """
    file = Path(path)
    require_file(file)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_expansion(members, file)
            found = {member.filename.removesuffix('.npy'): _parse(
                archive.read(member), f'{file}: {shortened(member.filename)}', objects)
                for member in members
                if names is None or member.filename.removesuffix('.npy') in names}
    except OSError as error:
        raise InputError(f'{file} cannot be read: {error.strerror or shortened(error)}') from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError,
            NotImplementedError) as error:
        raise InputError(f'{file} is not a whole .npz file: {shortened(error)}') from error
    missing = sorted(set(names or ()) - set(found))
    if missing:
        raise InputError(f'{file} lacks the array {missing[0]}')
    return found


def read_npy(path: str | PathLike[str], objects: bool = False) -> np.ndarray:
    """Read the array of an ``.npy`` file.

    Args:
        path: the file.
        objects: read an object array, too, where it holds plain data; otherwise only numbers.

    Raises:
        InputError: the file is missing or damaged, or holds anything else.
    """
    require_file(path)
    if objects and _holds_objects(Path(path)):
        return _parse(read_limited(path, _MAX_OBJECT_BYTES), str(path), objects=True)
    # Mapping compares the shape with the size of the file before anything is allocated.
    return np.array(map_npy(path))


def _holds_objects(file: Path) -> bool:
    try:
        with file.open('rb') as stream:
            return read_header(stream, str(file))[2].hasobject
    except OSError as error:
        raise InputError(f'{file} cannot be read: {error.strerror or shortened(error)}') from error


def map_npy(path: str | PathLike[str]) -> np.ndarray:
    """Map the array of numbers of an ``.npy`` file into memory, read-only, without reading it.

    Raises:
        InputError: the file is missing, truncated, or holds anything else.
    """
    file = Path(path)
    require_file(file)
    try:
        return np.lib.format.open_memmap(file, mode='r')
    except OSError as error:
        raise InputError(f'{file} cannot be read: {error.strerror or shortened(error)}') from error
    # NumPy parses the header with Python's tokenizer and parser, which raise nearly anything.
    except Exception as error:
        raise InputError(f'{file} is not a whole .npy file of numbers: '
                         f'{shortened(error)}') from error


def read_header(file: BinaryIO, what: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an ``.npy`` file: shape, whether in Fortran order, and type.

    Args:
        file: the file, at its beginning; the values follow where it is left.
        what: what to call it in an error.

    Raises:
        InputError: the header is damaged.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = (np.lib.format.read_array_header_1_0 if version == (1, 0)
                else np.lib.format.read_array_header_2_0)
        shape, fortran, dtype = read(file)
        if len(shape) > _MAX_DIMENSIONS or any(length < 0 for length in shape):
            raise ValueError('its shape is impossible')
    # NumPy parses the header with Python's tokenizer and parser, which raise nearly anything.
    except Exception as error:
        raise InputError(f'{what} is no array: {shortened(error)}') from error
    return shape, fortran, dtype


def _check_expansion(members: list[zipfile.ZipInfo], file: Path) -> None:
    total = sum(member.file_size for member in members)
    most = max(_ALWAYS_ALLOWED_BYTES, _MAX_EXPANSION * file.stat().st_size)
    if len(members) > _MAX_MEMBERS or total > most:
        raise InputError(f'{file} holds {len(members)} arrays of {total} bytes, expected at most '
                         f'{_MAX_MEMBERS} of {most}')


def _parse(content: bytes, what: str, objects: bool) -> np.ndarray:
    stream = io.BytesIO(content)
    shape, fortran, dtype = read_header(stream, what)
    rest = content[stream.tell():]
    if dtype.hasobject:
        if not objects or len(rest) > _MAX_OBJECT_BYTES:
            raise InputError(f'{what} holds Python objects, expected numbers')
        return read_object_array(rest, shape, what)
    if len(rest) != math.prod(shape) * dtype.itemsize:
        raise InputError(f'{what} holds {len(rest)} bytes, expected {dtype} {list(shape)[:8]}')
    array = np.frombuffer(rest, dtype).copy()
    return array.reshape(shape, order='F' if fortran else 'C')
