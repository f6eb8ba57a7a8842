"""Putting maps on a server: their places, their archives, and then their entries."""

import io
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqnet_ros.core.array_files import map_npy
from seqnet_ros.core.errors import FleetError, InputError
from seqnet_ros.core.geodesy import enu_to_latlon
from seqnet_ros.maps.collection.collection_file import Tile, is_collection, read_collection
from seqnet_ros.maps.collection.creation import describe_tile
from seqnet_ros.maps.collection.map_collection import check_tile
from seqnet_ros.maps.collection.summary import Axes, centered
from seqnet_ros.maps.fleet.directory import Directory, StoredFile, TileEntry
from seqnet_ros.maps.fleet.server import FleetServer, IndexKind, PlaceRows
from seqnet_ros.maps.fleet.store import Store
from seqnet_ros.maps.map_archive import export_map
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.place_map import PlaceMap

_ARRAY, _ARCHIVE = '.npy', '.zip'
_FLUSHED_PLACES = 10_000
"""After so many places the server is to build its index; it collects fewer by itself."""

Bars = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


class Pushed(NamedTuple):
    """What was put on a server.

    Attributes:
        tiles: names of the tiles that were written.
        unchanged: names of those that were there already.
        places: number of places written.
        directory: all tiles of the map.
    """

    tiles: tuple[str, ...]
    unchanged: tuple[str, ...]
    places: int
    directory: Directory


@dataclass(frozen=True)
class _Site:
    """The map on the server before a push; no directory if it is new."""

    directory: Directory | None
    axes: Axes
    stored_axes: StoredFile


@dataclass(frozen=True)
class _Source:
    """A map on disk that becomes a tile."""

    name: str
    path: Path
    area: str = ''
    frame: str = ''


def push(path: Path, server: FleetServer, store: Store, *, name: str = '', session: str = '',
         index: IndexKind = 'HNSW', shards: int = 1, with_weights: bool = False,
         bars: Bars) -> Pushed:
    """Put a map, or all tiles of a collection, on a server.

    A tile that is there already is replaced: readers see the old version or the new one, never
    both or a part. What breaks off leaves the old version valid; the next push removes the rest.

    Args:
        path: folder of the map or the collection.
        server: where to.
        store: where the archives go, a folder.
        name: name of the tile; '' is the name of the folder. Tiles of a collection keep theirs.
        session: the drive, or the time, that the maps are from; '' is the name of the recording of
            each.
        index: kind of the index, where the map is new on the server.
        shards: channels that its places are written to, where it is new there.
        with_weights: whether archives contain the weights of the model.
        bars: shows progress.

    Raises:
        MapModelMismatchError: the map on the server was made with another model.
        MapError: a map cannot be read, or the server refuses or does not answer.
        InputError: the store cannot be written, or a name is invalid.
    """
    store.check_writable()
    sources = _sources(path, name)
    site = _begin(path, sources, server, store, index, shards)
    directory = site.directory
    written: list[Tile] = []
    unchanged: list[str] = []
    for source in sources:
        place_map = open_map(source.path)
        entry = _describe(place_map, source, site, store, session, with_weights)
        before = None if directory is None else directory.find(source.name)
        if before is not None and _same(before, entry):
            unchanged.append(source.name)
            continue
        version = max(entry.version, 0 if before is None else before.version + 1)
        entry = entry.model_copy(update={'version': version})
        _with(() if directory is None else directory.entries, entry, server)
        with bars(source.name, len(place_map)) as progress:
            server.insert_places(entry, _rows(place_map, entry.tile), progress)
        directory = _with(server.entries(), entry, server)  # others push, too
        server.add_entry(entry)
        server.remove_before(source.name, directory.versions[source.name])
        written.append(entry.tile)
    places = sum(tile.places for tile in written)
    if places >= _FLUSHED_PLACES:
        server.flush()
    assert directory is not None  # there is a source at least
    return Pushed(tuple(tile.name for tile in written), tuple(unchanged), places, directory)


def read_directory(server: FleetServer) -> Directory:
    """Read the tiles of a map.

    Raises:
        FleetError: there is none, the server refuses or does not answer, or the tiles do not fit
            together.
        MapModelMismatchError: they were made with different models.
    """
    return Directory.of(server.entries(), str(server.address))


def _known(server: FleetServer) -> Directory | None:
    """Return the tiles of a map; None where there is none, or no push to it was completed."""
    entries = list(server.entries()) if server.exists() else []
    return Directory.of(entries, str(server.address)) if entries else None


def read_axes(directory: Directory, store: Store) -> Axes:
    """Read what the rows of all tiles are projected on.

    Raises:
        FleetError: the store lacks the file, or it does not fit.
    """
    array = read_array(directory.first.axes, store)
    if (array.dtype != np.float32 or array.ndim != 2 or array.shape[1] != directory.first.dim
            or len(array) < 2 or not np.isfinite(array).all()):
        raise FleetError(f'the axes of {directory.where} are {array.dtype} {list(array.shape)}, '
                         f'expected finite float32 rows of {directory.first.dim} values')
    return Axes.of_array(array)


def read_array(file: StoredFile, store: Store) -> np.ndarray:
    """Read an array of the store.

    Raises:
        FleetError: it is missing or damaged.
    """
    with tempfile.TemporaryDirectory(prefix='seqnet_ros-') as folder:
        target = Path(folder) / f'array{_ARRAY}'
        store.get(file, _ARRAY, target)
        try:
            return np.array(map_npy(target))
        except InputError as error:
            raise FleetError(str(error)) from error


def _sources(path: Path, name: str) -> list[_Source]:
    if not is_collection(path):
        return [_Source(name or Path(path).resolve().name, path)]
    if name:
        raise InputError(f'{path} is a collection, whose tiles have names: found the name {name!r}')
    manifest = read_collection(path)
    for tile in manifest.tiles:
        check_tile(tile, open_map(path / tile.name).manifest, manifest)
    return [_Source(tile.name, path / tile.name, tile.area, tile.frame) for tile in manifest.tiles]


def _begin(path: Path, sources: list[_Source], server: FleetServer, store: Store,
           index: IndexKind, shards: int) -> _Site:
    """Read what is on the server, or make an empty map there."""
    directory = _known(server)
    first = open_map(sources[0].path)
    if directory is not None:
        directory.check_model(first.manifest.fingerprint, str(path))
        return _Site(directory, read_axes(directory, store), directory.first.axes)
    axes = _fit(path, sources)
    if not server.exists():
        server.create(first.sequences.shape[1], index, shards)
    return _Site(None, axes, store.add(lambda target: _save(target, axes.to_array()), _ARRAY))


def _fit(path: Path, sources: list[_Source]) -> Axes:
    """Return the axes of a map that is new on the server."""
    if is_collection(path):
        return Axes.of_array(np.array(map_npy(path / read_collection(path).summary.axes_name)))
    place_map = open_map(sources[0].path)
    rows, mean = centered(place_map.sequences, place_map.segment_starts)
    return Axes.fit(rows, mean[None])


def _describe(place_map: PlaceMap, source: _Source, site: _Site, store: Store, session: str,
              with_weights: bool) -> TileEntry:
    """Store the files of a tile, and return its entry."""
    manifest = place_map.manifest
    rows = site.axes.encode(centered(place_map.sequences, place_map.segment_starts)[0])
    try:
        tile = describe_tile(place_map, source.path, source.name, area=source.area,
                             frame=source.frame, rows=rows.shape[1])
    except ValueError as error:
        raise InputError(f'{source.name!r} cannot name a tile: {error}') from error
    return TileEntry(
        version=time.time_ns(), tile=tile, session=session or manifest.source,
        model=manifest.model.name, fingerprint=manifest.fingerprint,
        dim=place_map.sequences.shape[1], sequence_length=manifest.sequence_length,
        spacing=manifest.spacing, axes=site.stored_axes,
        archive=store.add(lambda target: export_map(
            source.path, target, with_weights=with_weights), _ARCHIVE),
        rows=store.add(lambda target: _save(target, rows), _ARRAY), store=store.where)


def _with(others: Iterable[TileEntry], entry: TileEntry, server: FleetServer) -> Directory:
    """Return the map once it has this version of a tile; raise where it could not be read then."""
    return Directory.of((*others, entry), str(server.address))


def _same(before: TileEntry, entry: TileEntry) -> bool:
    return before == entry.model_copy(update={'version': before.version, 'store': before.store})


def _rows(place_map: PlaceMap, tile: Tile) -> PlaceRows:
    datum = None if tile.datum is None else tile.datum.point
    positions = place_map.positions
    return PlaceRows(place_map.sequences, positions,
                     None if datum is None else enu_to_latlon(positions, datum))


def _save(target: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    target.write_bytes(buffer.getvalue())
