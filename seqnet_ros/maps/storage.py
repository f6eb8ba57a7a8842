"""Maps on disk: a directory of plain ``.npy`` files and a manifest with their checksums.

Saving writes a temporary directory beside the target, syncs it and renames it into place: a
reader sees the old map or the new one, never half of either.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from seqnet_ros.config.settings import describe_validation_error
from seqnet_ros.errors import (
    MapCorruptError,
    MapError,
    MapModelMismatchError,
    MapNotFoundError,
    MapWriteError,
)
from seqnet_ros.maps.index import CoarseIndex, ExactIndex, HnswIndex
from seqnet_ros.maps.keyframe_features import KeyframeFeatures, KeyframeImages
from seqnet_ros.maps.place_map import (
    FORMATS,
    MapManifest,
    PlaceMap,
    array_names,
    check_arrays,
    optional_array_names,
)
from seqnet_ros.place_model import PlaceModel

MANIFEST = 'manifest.json'
INDEX = 'index.faiss'
VERIFY_ON_OPEN_BYTES = 64 << 20
"""Checksums of maps up to this size are verified whenever they are opened."""


def save_map(place_map: PlaceMap, path: Path) -> None:
    """Write a map, replacing the one that may lie there.

    Raises:
        MapWriteError: the disk is full or not writable, another process is saving a map there, or
            something that is not a map lies at the path; whatever was there is untouched.
    """
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file():
        raise MapWriteError(f'{path} exists and is not a map: nothing was written')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MapWriteError(f'{path.parent} cannot be written: {error.strerror}') from error
    try:
        if _sweep_unfinished(path):
            raise MapWriteError(f'{path} is being saved by another process: nothing was written')
        with _staging(path) as staging:
            _write_files(place_map, staging)
            staging.chmod(0o755)
            _replace(staging, path)
    except (OSError, RuntimeError) as error:
        what = getattr(error, 'strerror', None) or error
        raise MapWriteError(f'{path} was not saved: {what}') from error


@contextlib.contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """Make a locked directory beside the target; it is gone afterwards, renamed or removed."""
    staging = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', suffix='.part', dir=path.parent))
    lock = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield staging
    finally:
        os.close(lock)
        shutil.rmtree(staging, ignore_errors=True)


def _write_files(place_map: PlaceMap, directory: Path) -> None:
    for name, array in place_map.arrays().items():
        _write_array(directory / f'{name}.npy', array)
    if isinstance(place_map.index, HnswIndex):
        place_map.index.save(directory / INDEX)
        _sync(directory / INDEX)
    files = {entry.name: {'bytes': entry.stat().st_size, 'sha256': _sha256(entry)}
             for entry in sorted(directory.iterdir())}
    document: dict[str, Any] = {
        'manifest': place_map.manifest.model_dump(mode='json'), 'files': files}
    document['sha256'] = _document_digest(document)
    text = json.dumps(document, indent=1, sort_keys=True) + '\n'
    (directory / MANIFEST).write_text(text, encoding='utf-8')
    _sync(directory / MANIFEST)
    _sync(directory)


def _write_array(path: Path, array: np.ndarray) -> None:
    """Write what ``np.save`` writes; that one can miss an error in the last block it flushes."""
    array = np.ascontiguousarray(array)
    with path.open('wb') as file:
        np.lib.format.write_array_header_1_0(
            file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.reshape(-1).view(np.uint8).data)
    _sync(path)


def _replace(staging: Path, path: Path) -> None:
    """Put the finished directory in place of the old one; POSIX cannot swap in one step."""
    old = None
    if path.exists():
        old = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', suffix='.old', dir=path.parent))
        path.rename(old / 'map')
    try:
        staging.rename(path)
    except OSError:
        if old is not None:
            (old / 'map').rename(path)
        raise
    _sync(path.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _sweep_unfinished(path: Path) -> bool:
    """Clear up after saves that were killed; return whether one is still going on.

    A map that such a save had moved aside comes back.
    """
    for part in _leftovers(path, 'part'):
        try:
            lock = os.open(part, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(part, ignore_errors=True)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
    for old in _leftovers(path, 'old'):
        if not path.exists() and (old / 'map' / MANIFEST).is_file():
            (old / 'map').rename(path)
        shutil.rmtree(old, ignore_errors=True)
    return False


def _leftovers(path: Path, suffix: str) -> list[Path]:
    """Return the temporary directories of this very map, not of one with a longer name."""
    name = re.compile(rf'\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.{suffix}')
    return [entry for entry in path.parent.iterdir() if name.fullmatch(entry.name)]


def open_map(path: Path, model: PlaceModel | None = None, verify: bool | None = None) -> PlaceMap:
    """Open a map read-only and memory-mapped.

    Args:
        path: directory of the map.
        model: refuse a map that was made with another model than this one.
        verify: compare all checksums; by default only for maps of up to 64 MiB. Sizes are
            always checked.

    Raises:
        MapNotFoundError: no map lies there.
        MapCorruptError: a file is missing, truncated or altered, or the format is unknown.
        MapModelMismatchError: the map was made with another model.
    """
    path = Path(path)
    manifest, files = read_manifest(path)
    if model is not None:
        check_model(manifest, model, path)
    total = 0
    for name, expected in files.items():
        size = (path / name).stat().st_size if (path / name).is_file() else None
        if size != expected['bytes']:
            found = 'missing' if size is None else f'{size} bytes long'
            raise MapCorruptError(f'{path / name} is {found}, expected {expected["bytes"]} bytes')
        total += expected['bytes']
    if verify or (verify is None and total <= VERIFY_ON_OPEN_BYTES):
        _verify_checksums(path, files)
    arrays = {name: _open_array(path / f'{name}.npy') for name in array_names(manifest.model)}
    try:
        check_arrays(manifest, arrays)
        features, images = _open_optional(manifest, path)
    except MapError as error:
        raise MapCorruptError(f'{path}: {error}') from error
    index: CoarseIndex = ExactIndex(arrays['sequences'])
    if INDEX in files:
        index = HnswIndex.open(path / INDEX, arrays['sequences'])
    return PlaceMap(manifest, index=index, features=features, images=images, **arrays)


def _open_optional(manifest: MapManifest,
                   path: Path) -> tuple[KeyframeFeatures | None, KeyframeImages | None]:
    arrays = {name: _open_array(path / f'{name}.npy') for name in optional_array_names(manifest)}
    features, images = None, None
    if manifest.features is not None:
        features = KeyframeFeatures.of_arrays(arrays)
        features.check(manifest.places, manifest.features.features)
    if manifest.images:
        images = KeyframeImages.of_arrays(arrays)
        images.check(manifest.places)
    return features, images


def verify_map(path: Path) -> MapManifest:
    """Check everything about a map: files, checksums, shapes, values; return its manifest.

    Raises:
        MapError: what is wrong, see `open_map`.
    """
    place_map = open_map(path, verify=True)
    for name in array_names(place_map.manifest.model):
        array = getattr(place_map, name)
        block = 65536
        for start in range(0, len(array), block):
            if not np.isfinite(array[start: start + block]).all():
                raise MapCorruptError(f'{path}: {name} holds values that are not finite')
    try:
        for part in (place_map.features, place_map.images):
            if part is not None:
                part.check_values()
    except MapError as error:
        raise MapCorruptError(f'{path}: {error}') from error
    return place_map.manifest


def read_manifest(path: Path) -> tuple[MapManifest, dict[str, dict]]:
    """Read what a map says of itself, and its files' sizes and checksums.

    Raises:
        MapNotFoundError: no map lies there.
        MapCorruptError: the manifest is damaged or of an unknown format.
    """
    path = Path(path)
    _recover(path)
    file = path / MANIFEST
    if not file.is_file():
        found = 'a directory without manifest.json' if path.is_dir() else (
            'a file' if path.exists() else 'nothing')
        raise MapNotFoundError(f'no map at {path}: found {found}, expected the directory of a map')
    try:
        document = json.loads(file.read_text(encoding='utf-8'))
        version = document['manifest']['format_version']
        if version not in FORMATS:
            raise MapCorruptError(f'{path} has map format {version}, this version reads '
                                  f'{", ".join(map(str, FORMATS))}')
        if document['sha256'] != _document_digest(document):
            raise MapCorruptError(f'{file} was altered: its checksum does not fit its content')
        files = document['files']
        manifest = MapManifest.model_validate(document['manifest'])
        names = array_names(manifest.model) + optional_array_names(manifest)
        if not {f'{name}.npy' for name in names} <= set(files):
            raise MapCorruptError(f'{file} does not list all files of a map')
        return manifest, files
    except ValidationError as error:
        raise MapCorruptError(f'{file}: {describe_validation_error(error)}') from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MapCorruptError(f'{file} is damaged: {error}') from error


def _recover(path: Path) -> None:
    """A save killed between its two renames leaves the old map aside: put it back."""
    if not path.exists() and path.parent.is_dir():
        with contextlib.suppress(OSError):
            _sweep_unfinished(path)


def check_model(manifest: MapManifest, model: PlaceModel, name: Path | str) -> None:
    """Refuse a map made with another model.

    Raises:
        MapModelMismatchError: the fingerprints differ; the message has both names.
    """
    if manifest.fingerprint != model.fingerprint:
        raise MapModelMismatchError(
            f'{name} was made with model {manifest.model.name!r} '
            f'({manifest.fingerprint[:8]}), but the model in use is {model.config.name!r} '
            f'({model.fingerprint[:8]})')


def _verify_checksums(path: Path, files: dict[str, dict]) -> None:
    for name, expected in files.items():
        if _sha256(path / name) != expected['sha256']:
            raise MapCorruptError(f'{path / name} was altered: its checksum does not fit')


def _open_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode='r', allow_pickle=False)
    except (OSError, ValueError) as error:
        raise MapCorruptError(f'{path} is not a readable array: {error}') from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open('rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise MapCorruptError(f'{path} cannot be read: {error.strerror}') from error
    return digest.hexdigest()


def _document_digest(document: dict) -> str:
    content = {key: document[key] for key in ('manifest', 'files')}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
