"""Opening maps: everything comes from one directory, held open, and is checked.

Maps of up to 64 MiB are read into memory and compared with their checksums. Larger ones are
memory-mapped: their small files are read and compared at once, the others as `MapIntegrity` says.
"""

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from seqnet_ros.core.array_files import read_header
from seqnet_ros.core.documents import MAX_JSON_BYTES
from seqnet_ros.core.errors import (
    InputError,
    MapCorruptError,
    MapError,
    MapModelMismatchError,
    MapNotFoundError,
)
from seqnet_ros.core.scratch_arrays import row_blocks, scratch_array
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.index import CoarseIndex, ExactIndex, HnswIndex, LateIndex
from seqnet_ros.maps.integrity import MapIntegrity, MappedFile
from seqnet_ros.maps.keyframe_features import KeyframeFeatures, KeyframeImages
from seqnet_ros.maps.manifest_file import (
    COLLECTION,
    INDEX,
    MANIFEST,
    ManifestFile,
    parse_manifest_file,
)
from seqnet_ros.maps.map_checks import check_array, check_descriptors, check_route
from seqnet_ros.maps.map_recovery import restore_interrupted_save
from seqnet_ros.maps.place_map import (
    MapManifest,
    PlaceMap,
    array_names,
    array_shapes,
    check_arrays,
    optional_array_names,
)
from seqnet_ros.maps.stored_values import Encoded, decode, scales_name

if TYPE_CHECKING:  # a map can be read without torch
    from seqnet_ros.models.place_model import PlaceModel

IN_MEMORY_BYTES = 64 << 20
"""Maps up to this size are read into memory, where no other program can change them."""

MAPPED = ('frames', 'sequences', 'projected', 'feature_points', 'feature_descriptors',
          'image_data')
"""Arrays of larger maps that are memory-mapped; the others are small."""

_ATTEMPTS = 50
_CHUNK = 1 << 20


def open_map(path: Path, model: 'PlaceModel | None' = None, verify: bool = False,
             late_index: bool = False) -> PlaceMap:
    """Open a map read-only.

    A map that another process replaces meanwhile is opened as it was before or as it is
    afterwards, never as a mixture.

    Args:
        path: directory of the map.
        model: reject a map that was made with another model.
        verify: compare all checksums and check all values of maps above 64 MiB, too; smaller
            maps are always checked.
        late_index: read the coarse index of a map above 64 MiB when it is searched first.

    Raises:
        MapNotFoundError: there is no map.
        MapCorruptError: a file is missing, truncated or altered, a value is impossible, or the
            format is unknown.
        MapModelMismatchError: the map was made with another model.
    """
    return _read_one_version(Path(path), lambda directory: _open(
        directory, model, verify, late_index))


def verify_map(path: Path) -> MapManifest:
    """Check everything about a map: files, checksums, shapes, values; return its manifest.

    Raises:
        MapError: what is wrong, see `open_map`.
    """
    place_map = open_map(path, verify=True)
    with _naming(path):
        for part in (place_map.features, place_map.images):
            if part is not None:
                part.check_values()
    return place_map.manifest


def read_manifest(path: Path) -> tuple[MapManifest, dict[str, FileRecord]]:
    """Read the manifest of a map, and the sizes and checksums of its files.

    Raises:
        MapNotFoundError: there is no map.
        MapCorruptError: the manifest is damaged or of an unknown format.
    """
    parsed = _read_one_version(Path(path), _Directory.parse_manifest)
    return parsed.manifest, parsed.files


def check_model(manifest: MapManifest, model: 'PlaceModel', name: Path | str) -> None:
    """Check that a map was made with a model.

    Raises:
        MapModelMismatchError: the fingerprints differ; the message has both names.
    """
    if manifest.fingerprint != model.fingerprint:
        raise MapModelMismatchError(
            f'{name} was made with model {manifest.model.name!r} '
            f'({manifest.fingerprint[:8]}), but the model in use is {model.config.name!r} '
            f'({model.fingerprint[:8]})')


class _Directory:
    """The directory of a map, held open, so that its files can be read even if its path changes.

    Raises:
        MapNotFoundError: there is no map.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except (OSError, ValueError) as error:
            # Unlike those of `Path`, these accept names that are too long or hold a NUL.
            found = 'a file' if os.path.exists(path) else 'nothing'  # noqa: PTH110
            if isinstance(error, OSError) and os.path.isdir(path):  # noqa: PTH112
                found = f'a directory that cannot be opened ({error.strerror})'
            raise MapNotFoundError(f'no map at {path}: found {found}, expected the directory of '
                                   'a map') from error
        try:
            self._manifest = self._read_manifest()
        except MapCorruptError:
            os.close(self._descriptor)
            raise
        except FileNotFoundError as error:
            os.close(self._descriptor)
            if (path / COLLECTION).is_file():
                raise MapNotFoundError(f'{path} is a collection of maps, expected one map, such as '
                                       'one of those in it') from error
            raise MapNotFoundError(f'no map at {path}: found a directory without {MANIFEST}, '
                                   'expected the directory of a map') from error

    def __enter__(self) -> '_Directory':
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def parse_manifest(self) -> ManifestFile:
        return parse_manifest_file(self._manifest, self.path)

    def open(self, name: str) -> BinaryIO:
        try:
            return self._open(name)
        except FileNotFoundError as error:
            raise MapCorruptError(f'{self.path / name} is missing') from error
        except OSError as error:
            raise MapCorruptError(
                f'{self.path / name} cannot be read: {error.strerror}') from error

    def _open(self, name: str) -> BinaryIO:
        # A pipe would block, and a device has no end.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC,
                             dir_fd=self._descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(errno.ENOENT, 'not a regular file')
        return os.fdopen(descriptor, 'rb')

    def _read_manifest(self) -> bytes:
        try:
            with self._open(MANIFEST) as file:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_JSON_BYTES:
                    raise MapCorruptError(f'{self.path / MANIFEST} has {size} bytes, expected at '
                                          f'most {MAX_JSON_BYTES}')
                return file.read(size)
        except IsADirectoryError as error:
            raise FileNotFoundError from error

    def is_same(self) -> bool:
        """Return whether the path still leads here and the manifest is the one read first."""
        try:
            return _inode(self.path) == _inode(self._descriptor) and (
                self._read_manifest() == self._manifest)
        except OSError:
            return False

    def was_written_to(self) -> bool:
        """Return whether the manifest was replaced."""
        try:
            return self._read_manifest() != self._manifest
        except FileNotFoundError:
            # A directory that was replaced is removed; what was opened of it is whole.
            return False


_Read = TypeVar('_Read')


def _read_one_version(path: Path, read: Callable[[_Directory], _Read]) -> _Read:
    """Read from a map; again where it was replaced or written to meanwhile."""
    for _ in range(_ATTEMPTS):
        restore_interrupted_save(path)
        before = _inode(path)
        try:
            opened = _Directory(path)
        except MapNotFoundError:
            # Another process may be replacing the map; the new one appears in a moment.
            restore_interrupted_save(path)
            if _inode(path) == before:
                raise
            continue
        with opened as directory:
            try:
                found = read(directory)
            except MapCorruptError:
                if directory.is_same():
                    raise
                continue
            if not directory.was_written_to():
                return found
    raise MapCorruptError(f'{path} was written to each of {_ATTEMPTS} times that it was read')


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the map in errors about its arrays."""
    try:
        yield
    except MapError as error:
        raise MapCorruptError(f'{path}: {error}') from error


def _inode(where: Path | int) -> tuple[int, int] | None:
    """Return what identifies a directory, given by its path or open; None where there is none."""
    try:
        status = os.stat(where)  # noqa: PTH116
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _open(directory: _Directory, model: 'PlaceModel | None', verify: bool,
          late_index: bool) -> PlaceMap:
    parsed = directory.parse_manifest()
    manifest, path = parsed.manifest, directory.path
    if model is not None:
        check_model(manifest, model, path)
    mapped = MAPPED if parsed.total_bytes > IN_MEMORY_BYTES else ()
    watched: dict[str, MappedFile] = {}
    arrays = {}
    encoded: dict[str, tuple[BinaryIO, FileRecord, str]] = {}
    for name in array_names(manifest.model) + optional_array_names(manifest):
        file = directory.open(f'{name}.npy')
        record = parsed.files[f'{name}.npy']
        where = str(path / f'{name}.npy')
        if manifest.stored != 'float32' and name in manifest.descriptors:
            encoded[name] = file, record, where
        elif name in mapped:
            watched[name] = MappedFile(where, file, record)
            arrays[name] = _map_array(file, where)
        else:
            with file:
                arrays[name] = _array_in_memory(_read_whole(file, where, record), where)
    for name, (file, record, where) in encoded.items():
        with file, _naming(path):
            arrays[name] = _decoded(manifest, name, file, record, where,
                                    arrays.get(scales_name(name)))
    with _naming(path):
        check_arrays(manifest, arrays)
        check_route(arrays)
        features, images = _optional_parts(manifest, arrays)
    index = _open_index(directory, parsed, arrays['sequences'], watched if mapped else None,
                        late_index)
    integrity = MapIntegrity(watched) if watched else None
    if verify and integrity is not None:
        integrity.verify_all()
    with _naming(path):
        for name, unit in manifest.descriptors.items():
            if verify or name not in mapped:
                check_descriptors(name, arrays[name], unit)
    required: dict[str, Any] = {name: arrays[name] for name in array_names(manifest.model)}
    return PlaceMap(manifest, index=index, features=features, images=images,
                    integrity=integrity, **required)


def _decoded(manifest: MapManifest, name: str, file: BinaryIO, record: FileRecord, where: str,
             scales: np.ndarray | None) -> np.ndarray:
    """Read descriptors that are stored in fewer bytes, comparing all of them at once."""
    size, digest = os.fstat(file.fileno()).st_size, hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if size != record.bytes or digest.hexdigest() != record.sha256:
        raise MapCorruptError(f'{where} was modified: its checksum does not match')
    file.seek(0)
    values = _map_array(file, where)
    shape, unit = array_shapes(manifest)[name][0], manifest.descriptors[name]
    check_array(name, values, shape, manifest.stored)
    if scales is not None:
        check_array(scales_name(name), scales, shape[:1], 'float32')
    rows = scratch_array(shape)
    for block in row_blocks(rows):
        rows[block] = decode(
            Encoded(values[block], None if scales is None else scales[block]), unit)
    check_descriptors(name, rows, unit)
    return rows


def _optional_parts(manifest: MapManifest, arrays: dict[str, np.ndarray],
                    ) -> tuple[KeyframeFeatures | None, KeyframeImages | None]:
    features, images = None, None
    if manifest.features is not None:
        features = KeyframeFeatures.of_arrays(arrays)
        features.check(manifest.places, manifest.features.features)
    if manifest.images:
        images = KeyframeImages.of_arrays(arrays)
        images.check(manifest.places)
    return features, images


def _open_index(directory: _Directory, parsed: ManifestFile, sequences: np.ndarray,
                watched: dict[str, MappedFile] | None, late: bool) -> CoarseIndex:
    """Open the coarse index; that of a large map is compared with its checksums later."""
    if INDEX not in parsed.files:
        return ExactIndex(sequences)
    where, record = str(directory.path / INDEX), parsed.files[INDEX]
    file = directory.open(INDEX)
    if watched is None:
        _read_whole(file, where, record)
    else:
        watched[INDEX] = MappedFile(where, file, record)
    # The open file, even if its path now leads to another one.
    make = partial(_read_graph, file, sequences, where)
    return LateIndex(make) if late and watched is not None else make()


def _read_graph(file: BinaryIO, sequences: np.ndarray, where: str) -> HnswIndex:
    return HnswIndex.open(Path(f'/proc/self/fd/{file.fileno()}'), sequences, where)


def _read_whole(file: BinaryIO, where: str, record: FileRecord) -> bytes:
    """Read a file that is compared with its checksum at once."""
    # First the size: reading makes room for as many bytes as the manifest states.
    size = os.fstat(file.fileno()).st_size
    content = file.read(size) if size == record.bytes else b''
    if len(content) != record.bytes:
        raise MapCorruptError(f'{where} is {size} bytes long, expected {record.bytes} bytes')
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise MapCorruptError(f'{where} was modified: its checksum does not match')
    return content


def _map_array(file: BinaryIO, where: str) -> np.ndarray:
    shape, dtype, offset = _array_header(file, where)
    try:
        return np.memmap(file, dtype, 'r', offset, shape)
    except (OSError, ValueError, OverflowError) as error:
        raise MapCorruptError(f'{where} is not a readable array: {error}') from error


def _array_in_memory(content: bytes, where: str) -> np.ndarray:
    shape, dtype, offset = _array_header(io.BytesIO(content), where)
    try:
        return np.frombuffer(content, dtype, offset=offset).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise MapCorruptError(f'{where} is not a readable array: {error}') from error


def _array_header(file: BinaryIO, where: str) -> tuple[tuple[int, ...], np.dtype, int]:
    """Read the header of a ``.npy`` file: shape, type and where the values begin."""
    try:
        shape, fortran, dtype = read_header(file, where)
        if dtype.hasobject or fortran or dtype.kind not in 'biufSU':
            raise InputError('expected plain numbers in C order')
    except InputError as error:
        raise MapCorruptError(f'{where} is not a readable array: {error}') from error
    return shape, dtype, file.tell()
