"""Copies of tiles on a robot, and what it last knew of the map that they are from.

A folder of its own for each map and part of it holds ``fleet.json``, the summary of all tiles, and
in ``tiles/`` the maps of those that were needed so far.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.config.settings import Settings
from seqnet_ros.core.array_files import map_npy, save_array
from seqnet_ros.core.documents import parse_json
from seqnet_ros.core.errors import FleetError, InputError, MapError
from seqnet_ros.core.files import explain_write_errors, read_limited, whole_file
from seqnet_ros.maps.collection.collection_file import (
    MOST_TILES,
    CollectionManifest,
    SummaryFiles,
)
from seqnet_ros.maps.collection.summary import BLOCK_DIM, STRETCH
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.fleet.address import FleetAddress
from seqnet_ros.maps.fleet.directory import Directory, TileEntry
from seqnet_ros.maps.fleet.pull import fetch_tile
from seqnet_ros.maps.fleet.push import read_array, read_axes
from seqnet_ros.maps.fleet.store import Store
from seqnet_ros.maps.manifest_file import MANIFEST

_KNOWN = 'fleet.json'
_TILES = 'tiles'
_MAX_BYTES = 256 << 20


class _Known(Settings):
    """The content of ``fleet.json``."""

    where: str
    summary: SummaryFiles
    entries: tuple[TileEntry, ...] = Field(min_length=1, max_length=MOST_TILES)


class TileCache:
    """The folder with copies of one map, or of a part of it.

    Args:
        address: where the map is.
        config: which part, and where copies are.
    """

    def __init__(self, address: FleetAddress, config: FleetConfig) -> None:
        part = f'{address} {config.region} {config.session}'
        self.folder = _base(config) / (
            f'{address.collection}-{hashlib.sha256(part.encode()).hexdigest()[:16]}')
        self._where = str(address)
        self._limit = config.cache_mb * 10**6
        self._known: _Known | None = None

    def path_of(self, entry: TileEntry) -> Path:
        """Return the folder of the map of a tile."""
        # The id is what a server says it is, and no name of a folder.
        return self.folder / _TILES / hashlib.sha256(entry.tile.map_id.encode()).hexdigest()[:32]

    def has(self, entry: TileEntry) -> bool:
        """Return whether a tile is here."""
        return (self.path_of(entry) / MANIFEST).is_file()

    def count(self, entries: Sequence[TileEntry]) -> int:
        """Return how many of these tiles are here."""
        try:
            present = {path.name for path in (self.folder / _TILES).iterdir()}
        except OSError:
            return 0
        return sum(self.path_of(entry).name in present for entry in entries)

    def read(self) -> Directory | None:
        """Return the tiles of the map as they were last; None if they are not known or damaged."""
        file = self.folder / _KNOWN
        try:
            known = _Known.model_validate(
                parse_json(read_limited(file, _MAX_BYTES), str(file)))
            self._known = known
            if self._has_summary(known.summary):
                return Directory.of(known.entries, self._where)
        except (InputError, MapError, ValidationError, ValueError):
            pass
        return None

    def note(self, directory: Directory, store: Store) -> None:
        """Keep what a server says of the tiles, and fetch the summary of those that are new.

        Raises:
            FleetError: the store lacks a file of the summary, or it does not fit.
            InputError: the folder cannot be written.
        """
        if self.read() == directory:
            return
        axes = read_axes(directory, store)
        rows = np.concatenate(
            [self._rows(entry, axes.blocks, store) for entry in directory.entries], axis=1)
        with explain_write_errors(self.folder):
            (self.folder / _TILES).mkdir(parents=True, exist_ok=True)
        files = [_npy(rows), _npy(axes.to_array())]
        records = [FileRecord.of_content(io.BytesIO(content)) for content in files]
        summary = SummaryFiles(stretch=STRETCH, rows=records[0], axes=records[1])
        for content, name in zip(files, (summary.rows_name, summary.axes_name), strict=True):
            with whole_file(self.folder / name) as written:
                written.write(content)
        before, kept = self._known, {entry.rows.sha256 for entry in directory.entries}
        self._known = _Known(where=self._where, summary=summary, entries=directory.entries)
        document = self._known.model_dump(mode='json', exclude_none=True)
        with whole_file(self.folder / _KNOWN) as file:
            file.write(json.dumps(document).encode())
        if before is not None and before.summary.id != summary.id:
            for name in (before.summary.rows_name, before.summary.axes_name):
                (self.folder / name).unlink(missing_ok=True)
        for old in self.folder.glob('rows-*.npy'):
            if old.stem.removeprefix('rows-') not in kept:
                old.unlink(missing_ok=True)

    @property
    def manifest(self) -> CollectionManifest:
        """The tiles as a collection; `read` or `note` comes before it."""
        assert self._known is not None
        first = self._known.entries[0]
        return CollectionManifest(
            model=first.model, fingerprint=first.fingerprint,
            sequence_length=first.sequence_length, spacing=first.spacing,
            summary=self._known.summary, tiles=tuple(entry.tile for entry in self._known.entries))

    def fetch(self, entry: TileEntry, store: Store, keep: Collection[Path]) -> None:
        """Copy a tile, in place of those least recently used where there are too many.

        Args:
            entry: the tile.
            store: where its archive is.
            keep: folders of tiles that are in use.

        Raises:
            FleetError: the store lacks the archive, or it is that of another map.
            MapError: it cannot be used or written.
        """
        path = self.path_of(entry)
        with explain_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not self.has(entry):
                shutil.rmtree(path)
            if not self.has(entry):
                self._make_room(entry.tile.bytes, keep)
                fetch_tile(entry, store, path)

    def touch(self, entry: TileEntry) -> None:
        """Note that a tile is used."""
        try:
            os.utime(self.path_of(entry))
        except OSError:  # of a read-only folder nothing is removed either
            return

    def remove(self, entry: TileEntry) -> None:
        """Remove a tile that is damaged."""
        shutil.rmtree(self.path_of(entry), ignore_errors=True)

    def _make_room(self, wanted: int, keep: Collection[Path]) -> None:
        tiles = [(path.stat().st_mtime, _size(path), path)
                 for path in (self.folder / _TILES).iterdir()
                 if path.is_dir() and not path.name.endswith('.weights')
                 and not path.name.startswith('.')]
        total = wanted + sum(size for _, size, _ in tiles)
        for _, size, path in sorted(tiles):
            if total <= self._limit:
                return
            if path not in keep:
                shutil.rmtree(path, ignore_errors=True)
                shutil.rmtree(path.with_name(f'{path.name}.weights'), ignore_errors=True)
                total -= size

    def _has_summary(self, summary: SummaryFiles) -> bool:
        files = (summary.rows_name, summary.rows), (summary.axes_name, summary.axes)
        return all((self.folder / name).is_file()
                   and (self.folder / name).stat().st_size == record.bytes
                   for name, record in files)

    def _rows(self, entry: TileEntry, blocks: int, store: Store) -> np.ndarray:
        """Return the rows of a tile, int8 ``[B, R, BLOCK_DIM]``; a copy is kept."""
        file = self.folder / f'rows-{entry.rows.sha256}.npy'
        with explain_write_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.stat().st_size != entry.rows.bytes:
            file.unlink(missing_ok=True)
            rows = read_array(entry.rows, store)
            with whole_file(file) as target:
                save_array(target, rows)
        rows = np.array(map_npy(file))
        expected = blocks, entry.tile.rows, BLOCK_DIM
        if rows.dtype != np.int8 or rows.shape != expected:
            raise FleetError(
                f'the summary of tile {entry.tile.name} is {rows.dtype} {list(rows.shape)}, '
                f'expected int8 {list(expected)}')
        return rows


def _base(config: FleetConfig) -> Path:
    if config.cache:
        return Path(config.cache).expanduser()
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(base).expanduser() / 'seqnet_ros' / 'fleet'


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _npy(array: np.ndarray) -> bytes:
    """Return an array as the content of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
