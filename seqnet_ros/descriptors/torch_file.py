"""Torch files of plain data and tensors, read without ``torch.load``.

The unpickler of ``torch.load(weights_only=True)`` ran code before torch 2.6 (CVE-2025-32434), which
the robots with the oldest torch cannot install, and had further flaws later. Here, nothing in a
file is called: names are replaced by stand-ins, and a tensor has to lie within its storage.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqnet_ros.core.errors import InputError, shortened
from seqnet_ros.core.files import read_limited, require_file
from seqnet_ros.core.safe_pickle import load_plain, pickle_size, torch_archive

_MAX_LEGACY_BYTES = 4 << 30
_MAGIC = 0x1950a86a20f9469cfc6c
_PROTOCOL = 1001
_DTYPES = {
    'FloatStorage': torch.float32, 'DoubleStorage': torch.float64, 'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16, 'ByteStorage': torch.uint8, 'CharStorage': torch.int8,
    'ShortStorage': torch.int16, 'IntStorage': torch.int32, 'LongStorage': torch.int64,
    'BoolStorage': torch.bool}
_MAX_DIMENSIONS = 16
_LEGACY_PICKLE_BYTES = 64 << 20


def read_torch_file(path: Path) -> Any:
    """Read a torch file of the present format or of that before torch 1.6.

    Returns:
        Tensors on the CPU, numbers, text, None, NumPy arrays, and tuples, lists and dictionaries
        of these.

    Raises:
        InputError: the file is missing or damaged, or refers to anything else.
    """
    require_file(path)
    try:
        with path.open('rb') as file:
            is_archive = file.read(4) == b'PK\x03\x04'
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}') from error
    try:
        return _read_archive(path) if is_archive else _read_legacy(path)
    except (MemoryError, RuntimeError) as error:
        raise InputError(f'{path} cannot be read: {error or "it does not fit into memory"}') \
            from error


class _Storage:
    """Bytes that tensors are views of; the present format has them beside the pickle."""

    def __init__(self, dtype: torch.dtype, numel: int) -> None:
        self.dtype = dtype
        self.data = torch.empty(numel * dtype.itemsize, dtype=torch.uint8)

    @property
    def elements(self) -> Tensor:
        if self.dtype is torch.bool:
            return self.data != 0
        return self.data.view(self.dtype)

    @property
    def buffer(self) -> memoryview:
        return self.data.numpy().data


class _View:
    """Part of a storage, as the format before torch 1.6 knows it."""

    def __init__(self, storage: _Storage, first: int, count: int) -> None:
        if not 0 <= first <= first + count <= storage.data.numel() // storage.dtype.itemsize:
            raise InputError('a view exceeds its storage')
        self._storage, self._first, self._count = storage, first, count

    @property
    def elements(self) -> Tensor:
        return self._storage.elements[self._first:self._first + self._count]


class _LazyTensor:
    """A tensor whose storage may not be read yet."""

    def __init__(self, storage: Any, offset: int, size: tuple[int, ...],
                 stride: tuple[int, ...]) -> None:
        if not isinstance(storage, (_Storage, _View)):
            raise InputError('a tensor has no storage')
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS or not all(
                isinstance(number, int) and number >= 0 for number in numbers):
            raise InputError(f'a tensor has the size {size} and strides {stride}')
        self._storage, self._offset, self._size, self._stride = storage, offset, size, stride

    def resolve(self) -> Tensor:
        """Return the tensor.

        Raises:
            InputError: it exceeds its storage, or repeats its values.
        """
        elements, count = self._storage.elements, math.prod(self._size)
        last = self._offset + sum((size - 1) * stride for size, stride in
                                  zip(self._size, self._stride, strict=True))
        # More values than the storage holds: a few bytes would stand for terabytes.
        if count and (last >= elements.numel() or count > elements.numel()):
            raise InputError(f'a tensor of size {list(self._size)} exceeds its storage of '
                             f'{elements.numel()} values')
        return elements.as_strided(self._size, self._stride, self._offset) if count else (
            torch.empty(self._size, dtype=elements.dtype))


def _read_archive(path: Path) -> Any:
    with torch_archive(path) as archive:
        storages: dict[str, _Storage] = {}

        def find(pid: Any) -> _Storage:
            dtype, key, numel, _ = _parse_storage(pid)
            if key not in storages:
                if archive.size(f'data/{key}') != numel * dtype.itemsize:
                    raise InputError(f'{path} is not a whole torch file: storage {key} has '
                                     f'{archive.size(f"data/{key}")} bytes, expected {numel} of '
                                     f'{dtype}')
                storages[key] = _Storage(dtype, numel)
                if numel:
                    archive.read_into(f'data/{key}', storages[key].buffer)
            elif (storages[key].dtype, len(storages[key].data)) != (dtype, numel * dtype.itemsize):
                raise InputError(f'{path}: storage {key} has two types')
            return storages[key]

        return _resolved(load_plain(archive.read_member('data.pkl'), str(path), _STAND_INS, find,
                                    (_LazyTensor,)))


def _read_legacy(path: Path) -> Any:
    content = memoryview(read_limited(path, _MAX_LEGACY_BYTES))
    position = 0
    storages: dict[str, _Storage] = {}

    def next_value(find: Callable[[Any], Any] | None = None) -> Any:
        nonlocal position
        # Storages follow the pickles: only the pickle is copied.
        rest = content[position:position + _LEGACY_PICKLE_BYTES]
        try:
            size = pickle_size(rest)
        except (ValueError, EOFError, KeyError) as error:
            raise InputError(f'{path} is not a whole torch file') from error
        position += size
        return load_plain(bytes(rest[:size]), str(path), _STAND_INS, find, (_LazyTensor,))

    def find(pid: Any) -> _Storage | _View:
        dtype, key, numel, view = _parse_storage(pid)
        if key not in storages:
            total = sum(len(one.data) for one in storages.values())
            if total + numel * dtype.itemsize > len(content):
                raise InputError(f'{path} is not a whole torch file: storage {shortened(key)} has '
                                 f'{numel} values')
            storages[key] = _Storage(dtype, numel)
        storage = storages[key]
        return storage if view is None else _View(storage, int(view[1]), int(view[2]))

    if next_value() != _MAGIC or next_value() != _PROTOCOL:
        raise InputError(f'{path} is not a torch file, expected one written by torch.save')
    system = next_value()
    if not isinstance(system, dict) or not system.get('little_endian', True):
        raise InputError(f'{path} has an unknown byte order')
    value = next_value(find)
    for key in next_value():
        storage = storages.get(key)
        if storage is None:
            raise InputError(f'{path} has a storage that nothing uses')
        numel = int.from_bytes(content[position:position + 8], 'little')
        end = position + 8 + len(storage.data)
        if numel * storage.dtype.itemsize != len(storage.data) or end > len(content):
            raise InputError(f'{path} is not a whole torch file: storage {key} is cut short')
        storage.buffer[:] = content[position + 8:end]
        position = end
    return _resolved(value)


def _parse_storage(pid: Any) -> tuple[torch.dtype, str, int, Any]:
    """Return the type, key, number of values and view that a persistent id states."""
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != 'storage':
        raise InputError('a torch file refers to something other than a storage')
    _, kind, key, _, numel, *view = pid
    if not isinstance(kind, torch.dtype) or not isinstance(numel, int) or numel < 0:
        raise InputError('a storage has no type or size')
    return kind, str(key), numel, view[0] if view else None


def _resolved(value: Any) -> Any:
    """Replace tensors that could not be made before their storages were read."""
    done: dict[int, Any] = {}

    def resolve(value: Any) -> Any:
        if not isinstance(value, (_LazyTensor, dict, list, tuple)):
            return value
        if id(value) not in done:
            if isinstance(value, _LazyTensor):
                done[id(value)] = value.resolve()
            elif isinstance(value, dict):
                done[id(value)] = {resolve(key): resolve(one) for key, one in value.items()}
            else:
                done[id(value)] = type(value)(resolve(one) for one in value)
        return done[id(value)]

    return resolve(value)


class _PlainDict(dict):
    """Stands in for ``OrderedDict``, whose attributes are dropped, and ``Counter``."""

    def __setstate__(self, state: Any) -> None:
        pass


def _rebuild_tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...],
                    *_: Any) -> _LazyTensor:
    return _LazyTensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(tensor: _LazyTensor, *_: Any) -> _LazyTensor:
    return tensor


def _size(values: tuple[int, ...] = ()) -> tuple[int, ...]:
    return tuple(values)


def _device(*description: Any) -> str:
    return ':'.join(str(part) for part in description)


def _as_list(values: Any = ()) -> list[Any]:
    return list(values)


_STAND_INS: dict[tuple[str, str], Any] = {
    ('torch._utils', '_rebuild_tensor'): _rebuild_tensor,
    ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
    ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
    ('torch', 'Size'): _size,
    ('torch', 'device'): _device,
    ('collections', 'OrderedDict'): _PlainDict,
    ('collections', 'Counter'): _PlainDict,
    ('builtins', 'set'): _as_list,
    ('__builtin__', 'set'): _as_list,
    **{('torch', name): dtype for name, dtype in _DTYPES.items()},
}
