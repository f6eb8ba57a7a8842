"""Read the object arrays of NumPy files, and torch files of them, without running code in them.

NumPy stores an array of Python objects as a pickle, and a pickle may call anything. Here, each name
in the pickle is replaced by a stand-in of this module, and any other name is an error, so the
result is plain data and arrays of numbers.
"""

import io
import math
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.core.errors import InputError, shortened
from seqnet_ros.core.files import require_file

_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')
_BUILTINS = ('__builtin__', 'builtins')
_OBJECTS = 'O'
_NUMBERS = 'biuf'
_PUTS = ('PUT', 'BINPUT', 'LONG_BINPUT')
_MAX_VALUES = 20_000_000


def read_object_array(content: bytes, shape: tuple[int, ...], origin: str) -> np.ndarray:
    """Rebuild an object array from the pickle behind the header of a ``.npy`` file.

    Args:
        content: what follows the header.
        shape: the shape that the header states.
        origin: what to call the array in an error.

    Returns:
        The array; its elements are numbers, text, None, tuples, lists, dictionaries and arrays of
        these.

    Raises:
        InputError: the pickle is damaged, refers to anything else, or has another shape.
    """
    found = load_plain(content, origin)
    if not isinstance(found, np.ndarray) or found.shape != shape:
        what = list(found.shape) if isinstance(found, np.ndarray) else type(found).__name__
        raise InputError(f'{origin} holds {what}, expected an array of shape {list(shape)}')
    return found


def read_plain_torch(path: str | PathLike[str]) -> Any:
    """Read a torch file that holds plain data and NumPy arrays instead of tensors.

    Returns:
        Numbers, text, None, tuples, lists, dictionaries and arrays of these.

    Raises:
        InputError: the file is missing or damaged, is not a torch file, or refers to anything else.
    """
    file = Path(path)
    with torch_archive(file) as archive:
        content = archive.read_member('data.pkl')
    return load_plain(content, str(file))


class TorchArchive:
    """The members of a torch file, a zip archive without compression.

    Raises:
        InputError: it is another archive.
    """

    def __init__(self, archive: zipfile.ZipFile, file: Path) -> None:
        self._archive, self._file = archive, file
        inside = [name for name in archive.namelist() if name.endswith('/data.pkl')]
        if len(inside) != 1:
            raise InputError(f'{file} is a zip archive, but not a torch file: it has '
                             f'{len(inside)} data.pkl, expected 1')
        self._folder = inside[0].removesuffix('data.pkl')

    def size(self, name: str) -> int:
        """Return the number of bytes of a member."""
        return self._member(name).file_size

    def read_member(self, name: str) -> bytes:
        """Return a member."""
        return self._archive.read(self._member(name))

    def read_into(self, name: str, target: memoryview) -> None:
        """Read a member into a buffer of its size."""
        with self._archive.open(self._member(name)) as opened:
            member: Any = opened
            done = 0
            while count := member.readinto(target[done:]):
                done += count
            # Reading past the end compares the checksum.
            if done != len(target) or member.read(1):
                raise InputError(f'{self._file} has a member {name} of another size than stated')

    def _member(self, name: str) -> zipfile.ZipInfo:
        try:
            found = self._archive.getinfo(self._folder + name)
        except KeyError:
            raise InputError(f'{self._file} is not a whole torch file: {shortened(name)} is '
                             'missing') from None
        if found.compress_type != zipfile.ZIP_STORED:
            raise InputError(f'{self._file} is compressed, expected a file as torch writes it')
        return found


@contextmanager
def torch_archive(path: Path) -> Iterator[TorchArchive]:
    """Open a torch file; errors of reading it within the block become `InputError`.

    Raises:
        InputError: it is missing, damaged or not a torch file.
    """
    require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield TorchArchive(archive, path)
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or shortened(error)}') from error
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, NotImplementedError,
            zlib.error) as error:
        raise InputError(f'{path} is not a whole torch file: {shortened(error)}') from error


def load_plain(content: bytes, origin: str, stand_ins: Mapping[tuple[str, str], Any] | None = None,
               find_outside: Callable[[Any], Any] | None = None,
               also: tuple[type, ...] = ()) -> Any:
    """Read a pickle of plain data.

    Args:
        content: the pickle, which ends where it says.
        origin: what to call it in an error.
        stand_ins: what replaces further names of the pickle, by module and name.
        find_outside: returns what a persistent id stands for; None refuses them.
        also: types of values that stand-ins make, and that count as plain data.

    Raises:
        InputError: the pickle is damaged, too large, or refers to anything else.
    """
    try:
        pickle_size(content)
        unpickler = _PlainUnpickler(content, origin, {**_STAND_INS, **(stand_ins or {})},
                                    find_outside)
        return _Plain(also).value_of(unpickler.load())
    except InputError:
        raise
    # A damaged or hostile pickle may raise nearly anything, but only from the readers below.
    except Exception as error:
        raise InputError(f'{origin} is damaged: {shortened(error)}') from error


def pickle_size(content: bytes | memoryview) -> int:
    """Return the length of the pickle that some bytes begin with.

    Raises:
        InputError: it numbers more values than it has; a reader would make room for them.
        ValueError: it is damaged.
    """
    stream = io.BytesIO(content)
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name in _PUTS and argument is not None and int(argument) > len(content):
            raise InputError(f'a pickle of {len(content)} bytes numbers {argument} values')
    return stream.tell()


class _DType:
    """Stands in for ``numpy.dtype``: keeps kind and size, and of its state the byte order."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        kind, size = str(code)[:1], str(code)[1:]
        if kind not in _NUMBERS + _OBJECTS or not size.isdecimal():
            raise InputError(f'an array has the type {code!r}, expected numbers')
        self.is_object = kind == _OBJECTS
        self.dtype = np.dtype(object if self.is_object else str(code))

    def __setstate__(self, state: Any) -> None:
        if state[1] in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for ``numpy.ndarray``, which is rebuilt from its shape, type and content."""

    array: np.ndarray

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, _DType):
            raise InputError(f'an array has the type {kind!r}, expected numbers')
        if kind.is_object:
            flat = np.empty(len(content), dtype=object)
            for index, element in enumerate(content):
                flat[index] = _Plain().value_of(element)
        else:
            flat = np.frombuffer(content, dtype=kind.dtype)
        if len(flat) != math.prod(shape):
            raise InputError(f'an array holds {len(flat)} elements, expected {list(shape)}')
        self.array = flat.reshape(shape, order='F' if fortran else 'C')


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(kind: _DType, content: bytes) -> float | int | bool:
    if not isinstance(kind, _DType) or kind.is_object:
        raise InputError('a number of another type is refused, expected a plain one')
    return np.frombuffer(content, dtype=kind.dtype)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    """Rebuild bytes, which old pickles hold as text."""
    if encoding not in ('latin1', 'latin-1'):
        raise InputError(f'bytes as text in {encoding!r} are refused, expected latin1')
    return text.encode('latin1')


def _no_bytes() -> bytes:
    return b''


_STAND_INS: dict[tuple[str, str], Any] = {
    ('numpy', 'ndarray'): _Array,
    ('numpy', 'dtype'): _DType,
    **{(module, '_reconstruct'): _reconstruct for module in _MODULES},
    **{(module, 'scalar'): _scalar for module in _MODULES},
    ('_codecs', 'encode'): _encode,
    **{(module, 'bytes'): _no_bytes for module in _BUILTINS},
}


class _PlainUnpickler(pickle.Unpickler):
    """Finds nothing but the stand-ins."""

    def __init__(self, content: bytes, origin: str, stand_ins: Mapping[tuple[str, str], Any],
                 find_outside: Callable[[Any], Any] | None) -> None:
        super().__init__(io.BytesIO(content))
        self._origin, self._stand_ins, self._find_outside = origin, stand_ins, find_outside

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name.

        Raises:
            InputError: the name is not one that plain data needs.
        """
        if (module, name) not in self._stand_ins:
            raise InputError(f'{self._origin} refers to {shortened(f"{module}.{name}")}, which is '
                             'refused: expected arrays of numbers')
        return self._stand_ins[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to things outside the file, unless these are its own parts."""
        if self._find_outside is None:
            raise InputError(f'{self._origin} refers to something outside the file')
        return self._find_outside(pid)


class _Plain:
    """Replaces stand-ins by the data they represent; what is shared stays shared.

    Lists in lists can stand for billions of values, which the first function that prints them
    would visit: their number is limited.
    """

    def __init__(self, also: tuple[type, ...] = ()) -> None:
        self._also = also
        self._done: dict[int, tuple[Any, int]] = {}
        self._kept: list[Any] = []  # an id belongs to its object only while that lives

    def value_of(self, value: Any) -> Any:
        """Return the plain data.

        Raises:
            InputError: there is something else, a value contains itself, or there are too many.
        """
        return self._convert(value)[0]

    def _convert(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, _Array):
            return value.array, 1
        if not isinstance(value, (dict, list, tuple)):
            if value is None or isinstance(value, (bool, int, float, str, bytes, np.ndarray,
                                                   *self._also)):
                return value, 1
            raise InputError(f'a {type(value).__name__} is refused, expected plain data')
        if id(value) in self._done:
            found = self._done[id(value)]
            if found[1] < 0:
                raise InputError('a value contains itself')
            return found
        self._kept.append(value)
        self._done[id(value)] = None, -1
        if isinstance(value, dict):
            pairs = [(self._convert(key), self._convert(one)) for key, one in value.items()]
            size = 1 + sum(key[1] + one[1] for key, one in pairs)
            result: Any = {key[0]: one[0] for key, one in pairs}
        else:
            parts = [self._convert(one) for one in value]
            size = 1 + sum(one[1] for one in parts)
            result = type(value)(one[0] for one in parts)
        if size > _MAX_VALUES:
            raise InputError(f'lists stand for more than {_MAX_VALUES} values')
        self._done[id(value)] = result, size
        return result, size
