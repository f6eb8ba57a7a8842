"""What a disk may hold when the power fails during a save.

A `Recorder` watches a folder while code runs: at each line of the package it compares the folder
with what it was before, and notes the differences and every ``fsync`` in their order. The content
of a file is safe after ``fsync`` of the file, an entry of a directory after ``fsync`` of the
directory; of all else, `after_power_loss` keeps any part. This is less than file systems with a
journal promise.
"""

import os
import random
import sys
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NamedTuple

_OUR_CODE = '/seqnet_ros/'

Entries = dict[str, int]


class _Written(NamedTuple):
    """The content of a file changed."""

    inode: int
    content: bytes


class _Renamed(NamedTuple):
    """Entries of directories changed, in one step: names by directory, None where gone."""

    changes: dict[int, dict[str, int | None]]


class _Synced(NamedTuple):
    """A file or directory was synced."""

    inode: int


class Recorder:
    """Notes what happens in a folder while the block runs."""

    def __init__(self, folder: Path) -> None:
        self.root = folder.stat().st_ino
        self.events: list[Any] = []
        self._folder = folder
        self._stamps: dict[int, tuple[int, int]] = {}
        self.directories: dict[int, Entries] = {}
        self.files: dict[int, bytes] = {}
        self.known_directories: set[int] = set()
        self._scan()
        # The state before the block is safe.
        self.start_directories = {inode: dict(names) for inode, names in self.directories.items()}
        self.start_files = dict(self.files)

    def __enter__(self) -> 'Recorder':
        self._fsync = os.fsync

        def fsync(descriptor: Any) -> None:
            self._note()
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            self._fsync(number)
            self.events.append(_Synced(os.fstat(number).st_ino))

        os.fsync = fsync
        sys.settrace(self._trace)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        sys.settrace(None)
        os.fsync = self._fsync
        self._note()

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if _OUR_CODE not in frame.f_code.co_filename:
            return None
        if '/maps/map_' in frame.f_code.co_filename:
            self._note()
        return self._trace

    def _note(self) -> None:
        """Note the differences since the last time."""
        before = {inode: dict(names) for inode, names in self.directories.items()}
        known = dict(self.files)
        self._scan()
        for inode, content in self.files.items():
            if known.get(inode) != content:
                self.events.append(_Written(inode, content))
        changes: dict[int, dict[str, int | None]] = {}
        for inode in before.keys() | self.directories.keys():
            old, new = before.get(inode, {}), self.directories.get(inode, {})
            different = {name: new.get(name) for name in old.keys() | new.keys()
                         if old.get(name) != new.get(name)}
            if different:
                changes[inode] = different
        if changes:
            self.events.append(_Renamed(changes))

    def _scan(self) -> None:
        self.directories = {}
        seen = {}
        for place, _, names in os.walk(self._folder):
            inode = os.stat(place).st_ino  # noqa: PTH116
            entries = {entry.name: entry.inode() for entry in os.scandir(place)}
            self.directories[inode] = entries
            self.known_directories.add(inode)
            for name in names:
                path = Path(place, name)
                status = path.stat()
                stamp = status.st_size, status.st_mtime_ns
                number = status.st_ino
                if self._stamps.get(number) == stamp and number in self.files:
                    seen[number] = self.files[number]
                else:
                    seen[number] = path.read_bytes()
                self._stamps[number] = stamp
        self.files = seen


def after_power_loss(recorder: Recorder, target: Path, chance: random.Random) -> int:
    """Write what the disk may hold after a power failure at any moment; return the moment."""
    moment = chance.randrange(len(recorder.events) + 1)
    files = dict(recorder.start_files)
    directories = {inode: dict(names) for inode, names in recorder.start_directories.items()}
    pending_files: dict[int, bytes] = {}
    pending_names: dict[int, list[dict[str, int | None]]] = {}

    def apply(inode: int, changes: dict[str, int | None]) -> None:
        names = directories.setdefault(inode, {})
        for name, found in changes.items():
            if found is None:
                names.pop(name, None)
            else:
                names[name] = found

    for event in recorder.events[:moment]:
        if isinstance(event, _Written):
            pending_files[event.inode] = event.content
        elif isinstance(event, _Renamed):
            for inode, changes in event.changes.items():
                pending_names.setdefault(inode, []).append(changes)
        elif event.inode in pending_files:
            files[event.inode] = pending_files.pop(event.inode)
        else:
            for changes in pending_names.pop(event.inode, []):
                apply(event.inode, changes)
    for inode, content in pending_files.items():
        kept = chance.choice((0, 0, len(content), chance.randrange(len(content) + 1)))
        files[inode] = content[:kept]
    for inode, series in pending_names.items():
        # Changes of one directory reach the disk in their order.
        for changes in series[:chance.randrange(len(series) + 1)]:
            apply(inode, changes)
    for inode in recorder.known_directories:
        directories.setdefault(inode, {})
    _write(recorder.root, target, files, directories)
    return moment


def _write(inode: int, target: Path, files: dict[int, bytes],
           directories: dict[int, Entries]) -> None:
    target.mkdir(parents=True)
    for name, found in directories.get(inode, {}).items():
        if found in directories:
            _write(found, target / name, files, directories)
        else:
            (target / name).write_bytes(files.get(found, b''))
