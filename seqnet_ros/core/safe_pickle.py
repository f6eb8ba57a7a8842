"""Read the object arrays of NumPy files, and torch files of them, without running code in them.

NumPy stores an array of Python objects as a pickle, and a pickle may call anything. Here, each name
in the pickle is replaced by a stand-in of this module, and any other name is an error, so the
result is plain data and arrays of numbers.
"""

import io
import math
import pickle
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.core.errors import InputError

_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')
_BUILTINS = ('__builtin__', 'builtins')
_OBJECTS = 'O'
_NUMBERS = 'biuf'


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
    found = _load(content, origin)
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
    try:
        with zipfile.ZipFile(file) as archive:
            inside = [name for name in archive.namelist() if name.endswith('/data.pkl')]
            if len(inside) != 1:
                raise InputError(f'{file} is a zip archive, but not a torch file: it has '
                                 f'{len(inside)} data.pkl, expected 1')
            content = archive.read(inside[0])
    except (OSError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise InputError(f'{file} is not a whole torch file: {error}') from error
    return _load(content, str(file))


def _load(content: bytes, origin: str) -> Any:
    try:
        return _plain(_PlainUnpickler(io.BytesIO(content), origin).load())
    except InputError:
        raise
    # A damaged or hostile pickle may raise nearly anything, but only from the readers below.
    except Exception as error:
        raise InputError(f'{origin} is damaged: {error or type(error).__name__}') from error


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
                flat[index] = _plain(element)
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

    def __init__(self, file: io.BytesIO, origin: str) -> None:
        super().__init__(file)
        self._origin = origin

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a name.

        Raises:
            InputError: the name is not one that arrays of numbers need.
        """
        if (module, name) not in _STAND_INS:
            raise InputError(f'{self._origin} refers to {module}.{name}, which is refused: '
                             'expected arrays of numbers')
        return _STAND_INS[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to things outside the file."""
        raise InputError(f'{self._origin} refers to {pid!r} outside the file')


def _plain(value: Any) -> Any:
    """Replace stand-ins by the data they represent."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {_plain(key): _plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(element) for element in value)
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.ndarray)):
        return value
    raise InputError(f'a {type(value).__name__} is refused, expected plain data')
