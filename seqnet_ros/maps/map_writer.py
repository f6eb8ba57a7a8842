"""Saving maps: a directory of plain ``.npy`` files and a manifest with their checksums.

Saving writes a temporary directory beside the target, syncs it, reads it back and puts it in
place: a reader sees the old map or the new one, never half of either. Only maps are deleted, and
only those that the caller knows of.
"""

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from seqnet_ros.core.array_files import save_array
from seqnet_ros.core.errors import MapConflictError, MapError, MapExistsError, MapWriteError
from seqnet_ros.core.files import is_writable
from seqnet_ros.core.scratch_arrays import row_blocks, scratch_array
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.index import HnswIndex
from seqnet_ros.maps.manifest_file import INDEX, MANIFEST, ManifestFile, parse_manifest_file
from seqnet_ros.maps.map_reader import verify_map
from seqnet_ros.maps.map_recovery import OLD, locked_folder, next_backup, staging_directory
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.stored_values import encode, scales_name

_NAMED_FILES = 3
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM)


def save_map(place_map: PlaceMap, path: Path, *, overwrite: bool = False,
             replaces: str | None = None, backup: bool = True) -> Path | None:
    """Write a map.

    A symbolic link is followed. What is written is read back and verified before it replaces
    anything.

    Args:
        place_map: the map.
        path: its directory; the folder that holds it must exist.
        overwrite: replace an existing map.
        replaces: replace the existing map if it has this id; it is the one that ``place_map``
            extends.
        backup: keep a map that is replaced as ``NAME~1``, or with the next free number.

    Returns:
        Path of the backup of the replaced map; None without a backup.

    Raises:
        MapExistsError: there is a map that must not be replaced.
        MapConflictError: the existing map is not the one to replace.
        MapWriteError: the disk is full or not writable, the folder does not exist, something that
            is not a map is at the path or in the map, or the map is invalid. What was there is
            untouched then.
    """
    return write_map(lambda staging: write_files(place_map, staging), path, overwrite=overwrite,
                     replaces=replaces, backup=backup)


def write_map(write: Callable[[Path], None], path: Path, *, overwrite: bool = False,
              replaces: str | None = None, backup: bool = True) -> Path | None:
    """Put a map in place whose files are written by a function, otherwise as `save_map`.

    Args:
        write: writes all files of the map to an empty directory.
        path: as for `save_map`.
        overwrite: as for `save_map`.
        replaces: as for `save_map`.
        backup: as for `save_map`.

    Returns:
        Path of the backup of the replaced map; None without a backup.

    Raises:
        MapWriteError: as for `save_map`.
    """
    path = _resolve(path)
    try:
        check_target(path, overwrite=overwrite, replaces=replaces)
        with staging_directory(path) as staging:
            write(staging)
            staging.chmod(0o755)
            verify_map(staging)
            with locked_folder(path.parent):
                # Once more: another process may have been faster.
                check_target(path, overwrite=overwrite, replaces=replaces)
                kept = _put_in_place(staging, path, backup)
            _sync(path.parent)
            return kept
    except MapWriteError:
        raise
    except (MapError, OSError, RuntimeError) as error:
        what = getattr(error, 'strerror', None) or error
        raise MapWriteError(f'{path} was not saved: {what}') from error


def check_target(path: Path, *, overwrite: bool = False, replaces: str | None = None) -> None:
    """Check that a map may be saved to a path; so a caller can know before the work is done.

    Args:
        path: as for `save_map`.
        overwrite: as for `save_map`.
        replaces: as for `save_map`.

    Raises:
        MapWriteError: as for `save_map`.
    """
    path = _resolve(path)
    if not path.parent.is_dir():
        raise MapWriteError(f'{path} cannot be written: the folder {path.parent} does not exist')
    if not is_writable(path.parent):
        raise MapWriteError(f'{path} cannot be written: the folder {path.parent} is read-only for '
                            'this user')
    if not os.path.lexists(path):
        return
    found = _existing_map(path)
    if replaces is not None:
        if found.manifest.map_id != replaces:
            raise MapConflictError(
                f'{path} was replaced by another process: found map {found.manifest.map_id}, '
                f'expected {replaces}; nothing was written')
    elif not overwrite:
        raise MapExistsError(f'{path} is a map already, expected a new path, or that it may be '
                             'overwritten or extended; nothing was written')


def _resolve(path: Path) -> Path:
    """Follow symbolic links, so that a link to a map stays one."""
    return Path(os.path.realpath(Path(path)))


def _existing_map(path: Path) -> ManifestFile:
    """Return the manifest of the map at a path that holds the files of a map and nothing else."""
    file = path / MANIFEST
    try:
        if not file.is_file():
            raise MapWriteError(f'{path} exists and is not a map: nothing was written')
        found = parse_manifest_file(file.read_bytes(), path)
        foreign = sorted({entry.name for entry in path.iterdir()} - {MANIFEST, *found.files})
    except MapError as error:
        if isinstance(error, MapWriteError):
            raise
        raise MapWriteError(f'{path} exists and is not a map that can be replaced: {error}; '
                            'nothing was written') from error
    if foreign:
        named = ', '.join(foreign[:_NAMED_FILES])
        more = f' and {len(foreign) - _NAMED_FILES} more' if len(foreign) > _NAMED_FILES else ''
        raise MapWriteError(f'{path} holds files that are not part of the map: {named}{more}; '
                            'move them elsewhere. Nothing was written')
    return found


def write_files(place_map: PlaceMap, directory: Path) -> None:
    """Write the files of a map, with their checksums; `save_map` checks and puts them in place.

    Args:
        place_map: the map; nothing in it is checked.
        directory: an empty directory.

    Raises:
        OSError: a file cannot be written.
        RuntimeError: the index cannot be written.
    """
    stored, units = place_map.manifest.stored, place_map.manifest.descriptors
    for name, array in place_map.arrays().items():
        if stored == 'float32' or name not in units:
            _write_array(directory / f'{name}.npy', array)
            continue
        values = scratch_array(array.shape, stored)
        scales = []
        for block in row_blocks(array):
            encoded = encode(array[block], stored, units[name])
            values[block] = encoded.values
            scales += [] if encoded.scales is None else [encoded.scales]
        _write_array(directory / f'{name}.npy', values)
        if scales:
            _write_array(directory / f'{scales_name(name)}.npy', np.concatenate(scales))
    if isinstance(place_map.index, HnswIndex):
        place_map.index.save(directory / INDEX)
        _sync(directory / INDEX)
    files = {entry.name: FileRecord.of_file(entry) for entry in sorted(directory.iterdir())}
    content = ManifestFile(manifest=place_map.manifest, files=files).to_bytes()
    (directory / MANIFEST).write_bytes(content)
    _sync(directory / MANIFEST)
    _sync(directory)


def _write_array(path: Path, array: np.ndarray) -> None:
    with path.open('wb') as file:
        save_array(file, array)
    _sync(path)


def _put_in_place(staging: Path, path: Path, backup: bool) -> Path | None:
    """Put a finished map in its place; return the path of the backup."""
    if not os.path.lexists(path):
        staging.rename(path)
        return None
    old, kept = staging.with_suffix(OLD), next_backup(path)
    if not backup and _exchange(staging, path):
        return None  # the old map is in the staging directory now, which is removed
    if backup:
        # Under this name, what a killed save leaves is kept.
        staging.rename(old)
        if _exchange(old, path):
            old.rename(kept)
            return kept
        old.rename(staging)
    path.rename(old)
    try:
        staging.rename(path)
    except OSError:
        old.rename(path)
        raise
    old.rename(kept if backup else staging)
    return kept if backup else None


def _exchange(first: Path, second: Path) -> bool:
    """Swap two directories in one step; return False where the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second),
              _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(second))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
