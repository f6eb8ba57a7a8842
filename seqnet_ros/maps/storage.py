"""Maps on disk: a directory of plain ``.npy`` files and a manifest with their checksums.

Saving writes a temporary directory beside the target, syncs it and renames it into place: a
reader sees the old map or the new one, never half of either.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from seqnet_ros.config import describe_validation_error
from seqnet_ros.errors import (
    MapCorruptError,
    MapError,
    MapModelMismatchError,
    MapNotFoundError,
    MapWriteError,
)
from seqnet_ros.maps.index import CoarseIndex, ExactIndex, HnswIndex
from seqnet_ros.maps.place_map import FORMAT_VERSION, MapManifest, PlaceMap, check_arrays
from seqnet_ros.place_model import PlaceModel

MANIFEST = 'manifest.json'
INDEX = 'index.faiss'
ARRAYS = ('frames', 'sequences', 'mean', 'stamps_ns', 'poses', 'segment_starts')
VERIFY_ON_OPEN_BYTES = 64 << 20
"""Checksums of maps up to this size are verified whenever they are opened."""


def save_map(place_map: PlaceMap, path: Path) -> None:
    """Write a map, replacing the one that may lie there.

    Raises:
        MapWriteError: the disk is full or not writable, or something that is not a map lies at
            the path; whatever was there is untouched.
    """
    path = Path(path)
    if path.exists() and not (path / MANIFEST).is_file():
        raise MapWriteError(f'{path} exists and is not a map: nothing was written')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_unfinished(path)
        staging = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', suffix='.part', dir=path.parent))
    except OSError as error:
        raise MapWriteError(f'{path} cannot be written: {error.strerror}') from error
    try:
        _write_files(place_map, staging)
        staging.chmod(0o755)
        _replace(staging, path)
    except (OSError, RuntimeError) as error:
        what = getattr(error, 'strerror', None) or error
        raise MapWriteError(f'{path} was not saved: {what}') from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_files(place_map: PlaceMap, directory: Path) -> None:
    for name in ARRAYS:
        with (directory / f'{name}.npy').open('wb') as file:
            np.save(file, getattr(place_map, name), allow_pickle=False)
            _sync(file.fileno(), file)
    if isinstance(place_map.index, HnswIndex):
        place_map.index.save(directory / INDEX)
    files = {entry.name: {'bytes': entry.stat().st_size, 'sha256': _sha256(entry)}
             for entry in sorted(directory.iterdir())}
    document = {'manifest': place_map.manifest.model_dump(mode='json'), 'files': files}
    document['sha256'] = _document_digest(document)
    with (directory / MANIFEST).open('w', encoding='utf-8') as file:
        json.dump(document, file, indent=1, sort_keys=True)
        file.write('\n')
        _sync(file.fileno(), file)
    _sync_directory(directory)


def _replace(staging: Path, path: Path) -> None:
    """Put the finished directory in place of the old one; POSIX cannot swap in one step."""
    old = None
    if path.exists():
        old = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', suffix='.old', dir=path.parent))
        os.rename(path, old / 'map')
    try:
        os.rename(staging, path)
    except OSError:
        if old is not None:
            os.rename(old / 'map', path)
        raise
    _sync_directory(path.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _sweep_unfinished(path: Path) -> None:
    """Bring back a map that a killed save had moved aside, and remove what it left."""
    for old in path.parent.glob(f'.{path.name}.*.old'):
        if not path.exists() and (old / 'map' / MANIFEST).is_file():
            os.rename(old / 'map', path)
        shutil.rmtree(old, ignore_errors=True)
    for part in path.parent.glob(f'.{path.name}.*.part'):
        shutil.rmtree(part, ignore_errors=True)


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
    arrays = {name: _open_array(path / f'{name}.npy') for name in ARRAYS}
    try:
        check_arrays(manifest, arrays)
    except MapError as error:
        raise MapCorruptError(f'{path}: {error}') from error
    index: CoarseIndex = ExactIndex(arrays['sequences'])
    if INDEX in files:
        index = HnswIndex.open(path / INDEX, manifest.places, manifest.sequence_dim)
    return PlaceMap(manifest, index=index, **arrays)


def verify_map(path: Path) -> MapManifest:
    """Check everything about a map: files, checksums, shapes, values; return its manifest.

    Raises:
        MapError: what is wrong, see `open_map`.
    """
    place_map = open_map(path, verify=True)
    for name in ('frames', 'sequences', 'mean', 'poses'):
        array = getattr(place_map, name)
        block = 65536
        for start in range(0, len(array), block):
            if not np.isfinite(array[start: start + block]).all():
                raise MapCorruptError(f'{path}: {name} holds values that are not finite')
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
        if version != FORMAT_VERSION:
            raise MapCorruptError(
                f'{path} has map format {version}, this version reads {FORMAT_VERSION}')
        if document['sha256'] != _document_digest(document):
            raise MapCorruptError(f'{file} was altered: its checksum does not fit its content')
        files = document['files']
        if not {f'{name}.npy' for name in ARRAYS} <= set(files):
            raise MapCorruptError(f'{file} does not list all files of a map')
        return MapManifest.model_validate(document['manifest']), files
    except ValidationError as error:
        raise MapCorruptError(f'{file}: {describe_validation_error(error)}') from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MapCorruptError(f'{file} is damaged: {error}') from error


def _recover(path: Path) -> None:
    """A save killed between its two renames leaves the old map aside: put it back."""
    if not path.exists() and path.parent.is_dir():
        with contextlib.suppress(OSError):
            _sweep_unfinished(path)


def check_model(manifest: MapManifest, model: PlaceModel, path: Path) -> None:
    """Refuse a map made with another model.

    Raises:
        MapModelMismatchError: the fingerprints differ; the message has both names.
    """
    if manifest.fingerprint != model.fingerprint:
        raise MapModelMismatchError(
            f'{path} was made with model {manifest.model.name!r} '
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
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _document_digest(document: dict) -> str:
    content = {key: document[key] for key in ('manifest', 'files')}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sync(descriptor: int, file: object) -> None:
    file.flush()  # type: ignore[attr-defined]
    os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
