"""Temporary files of a save in progress, and recovery after a killed save.

A save writes to ``.NAME.XXXXXXXX.part``. A map that is kept or set aside is ``.NAME.XXXXXXXX.old``
for a moment. The next reader or writer handles what a killed save leaves: it removes ``.part``
directories; it moves an ``.old`` directory back if there is no map, and keeps it as ``NAME~1``
otherwise.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from seqnet_ros.core.errors import MapWriteError

PART, OLD = '.part', '.old'
_LOCK_TIMEOUT_S = 60.0


@contextlib.contextmanager
def locked_folder(folder: Path, timeout_s: float = _LOCK_TIMEOUT_S) -> Iterator[None]:
    """Let one process at a time move maps in a folder.

    Raises:
        MapWriteError: another process holds the folder for longer.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise MapWriteError(
                        f'{folder} is locked by another process that saves a map there') from None
                time.sleep(0.005)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def staging_directory(path: Path) -> Iterator[Path]:
    """Make a directory beside a map to write its successor to; it is gone afterwards."""
    with locked_folder(path.parent):
        remove_unfinished_saves(path)
        staging = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', suffix=PART, dir=path.parent))
        lock = os.open(staging, os.O_RDONLY)
        # Tells others that this save is alive.
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield staging
    finally:
        os.close(lock)
        shutil.rmtree(staging, ignore_errors=True)


def next_backup(path: Path) -> Path:
    """Return the first of ``NAME~1``, ``NAME~2``, ... that does not exist."""
    number = 1
    while os.path.lexists(backup := path.with_name(f'{path.name}~{number}')):
        number += 1
    return backup


def restore_interrupted_save(path: Path) -> None:
    """Put a map back that a killed save had set aside; does nothing if there is a map."""
    if not os.path.lexists(path) and path.parent.is_dir():
        # Also on media that cannot be written to, and while others save.
        with contextlib.suppress(OSError, MapWriteError), locked_folder(path.parent, 1.0):
            if not os.path.lexists(path):
                remove_unfinished_saves(path)


def remove_unfinished_saves(path: Path) -> None:
    """Clear up after saves of this map that were killed; the folder must be locked."""
    for old in _leftovers(path, OLD):
        # Earlier versions put the map one directory deeper.
        deeper = old / 'map'
        (deeper if deeper.is_dir() else old).rename(
            next_backup(path) if os.path.lexists(path) else path)
        shutil.rmtree(old, ignore_errors=True)
    for part in _leftovers(path, PART):
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(part, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(part, ignore_errors=True)
            except BlockingIOError:
                pass  # another process is writing it
            finally:
                os.close(lock)


def _leftovers(path: Path, suffix: str) -> list[Path]:
    """Return the temporary directories of this very map, not of one with a longer name."""
    name = re.compile(rf'\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(suffix)}')
    return [entry for entry in path.parent.iterdir() if name.fullmatch(entry.name)]
