"""An open collection: its tiles are opened when they are needed, and closed when they are not."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.core.array_files import map_npy
from seqnet_ros.core.errors import InputError, MapChangedError, MapCorruptError, MapNotFoundError
from seqnet_ros.maps.collection.collection_file import CollectionManifest, Tile, read_collection
from seqnet_ros.maps.collection.summary import BLOCK_DIM, STRETCH, Axes, Summary
from seqnet_ros.maps.collection.tile_boxes import TileBoxes
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.index import LateIndex
from seqnet_ros.maps.manifest_file import MANIFEST
from seqnet_ros.maps.map_reader import IN_MEMORY_BYTES, open_map, read_manifest
from seqnet_ros.maps.place_map import MapManifest, PlaceMap

Prepare = Callable[[PlaceMap], PlaceMap]


class MapCollection:
    """The tiles of a collection.

    Tiles are opened by one background thread. The settings limit how many are open at a time; the
    least recently used one is closed. `open`, `prefetch` and `close` may be called from any thread.

    Args:
        folder: the folder of the collection.
        config: the limits.
        prepare: makes an opened tile ready to be searched; runs on the thread.
        manifest: what the collection holds; None for ``collection.json`` in the folder, all of
            whose maps must be there.

    Raises:
        MapError: the collection cannot be read, or a map of it is missing.
    """

    def __init__(self, folder: Path, config: CollectionConfig | None = None,
                 prepare: Prepare | None = None,
                 manifest: CollectionManifest | None = None) -> None:
        self.folder = Path(folder)
        self.config = config or CollectionConfig()
        self.manifest = manifest or read_collection(self.folder)
        if manifest is None:
            self._check_maps()
        self.summary = open_summary(self.folder, self.manifest)
        self.boxes = TileBoxes(self.tiles)
        self._prepare: Prepare = prepare or _unchanged
        self._open: OrderedDict[int, Future[PlaceMap]] = OrderedDict()
        self._used: frozenset[int] = frozenset()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, 'tile loader')
        self._numbers = {tile.map_id: number for number, tile in enumerate(self.tiles)}

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """The tiles; other methods refer to them by their index in this tuple."""
        return self.manifest.tiles

    @property
    def frames(self) -> dict[str, str]:
        """Name of the coordinate frame of each tile, by the id of its map."""
        return {tile.map_id: tile.frame for tile in self.tiles}

    @property
    def first(self) -> int:
        """The tile to begin with."""
        return 0

    def path_of(self, number: int) -> Path:
        """Return the folder of the map of a tile."""
        return self.folder / self.tiles[number].name

    def read_first(self) -> tuple[MapManifest, Path]:
        """Return the manifest of the first tile, and where its map is.

        Raises:
            MapError: it cannot be read.
        """
        return read_manifest(self.path_of(self.first))[0], self.path_of(self.first)

    def reopen(self) -> 'MapCollection':
        """Return the same tiles for a further engine, which opens and closes them by itself."""
        return MapCollection(self.folder, self.config, manifest=self.manifest)

    def ready(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Return which of these tiles can be opened now, in the same order."""
        return tuple(numbers)

    def rank(self, sequences: np.ndarray, among: Sequence[int] | None,
             reverse: bool) -> list[int]:
        """Return the tiles, best first, for the newest sequences of a drive: `Summary.rank`."""
        return self.summary.rank(sequences, among, reverse)[0].tolist()

    def number_of(self, map_id: str) -> int:
        """Return the number of the tile with this map id."""
        return self._numbers[map_id]

    def use_preparation(self, prepare: Prepare, keep: Collection[int] = ()) -> None:
        """Prepare tiles in another way from now on; open tiles are closed, except those to keep."""
        with self._lock:
            self._prepare = prepare
            for number in set(self._open) - set(keep):
                self._drop(number)

    def open(self, number: int) -> PlaceMap:
        """Return a tile, ready to be searched, as soon as it is.

        Raises:
            MapError: it cannot be used, or is not the one that the collection was made with.
        """
        future = self._request(number)
        try:
            return future.result()
        except BaseException:
            with self._lock:  # the next call tries again
                if self._open.get(number) is future:
                    del self._open[number]
            raise

    def prefetch(self, numbers: Iterable[int]) -> None:
        """Begin to open tiles that will be needed soon."""
        for number in numbers:
            self._request(number)

    def use(self, numbers: Collection[int]) -> None:
        """Keep these tiles open until others are used."""
        with self._lock:
            self._used = frozenset(numbers)
            self._close_unused()

    @property
    def open_tiles(self) -> list[int]:
        """Tiles that are open or about to be, least recently used first."""
        with self._lock:
            return list(self._open)

    def close(self) -> None:
        """Close all tiles and end the thread."""
        self._thread.shutdown(cancel_futures=True)
        with self._lock:
            for number in list(self._open):
                self._drop(number)

    def _check_maps(self) -> None:
        for number, tile in enumerate(self.tiles):
            if not (self.path_of(number) / MANIFEST).is_file():
                raise MapNotFoundError(
                    f'tile {tile.name} of the collection {self.folder} is missing, expected a map '
                    f'at {self.path_of(number)}')

    def _request(self, number: int) -> 'Future[PlaceMap]':
        with self._lock:
            if number not in self._open:
                self._open[number] = self._thread.submit(self._read_tile, number, self._prepare)
            self._open.move_to_end(number)
            self._close_unused(number)
            return self._open[number]

    def _close_unused(self, newest: int = -1) -> None:
        """Close the least recently used tiles beyond the limits; the lock is held."""
        for number in list(self._open):
            size = sum(self.tiles[other].bytes for other in self._open)
            if len(self._open) <= self.config.open_tiles and size <= self.config.open_mb * 10**6:
                return
            if number not in self._used and number != newest:
                self._drop(number)

    def _drop(self, number: int) -> None:
        """Close a tile; its memory is returned once nobody searches it."""
        future = self._open.pop(number)
        if not future.cancel() and future.done() and future.exception() is None:
            integrity = future.result().integrity
            if integrity is not None:
                integrity.close()

    def _read_tile(self, number: int, prepare: Prepare) -> PlaceMap:
        tile = self.tiles[number]
        place_map = open_map(self.path_of(number), late_index=True)
        check_tile(tile, place_map.manifest, self.manifest)
        if place_map.integrity is not None:
            place_map.integrity.verify_ahead()
        prepared = prepare(place_map)
        if isinstance(prepared.index, LateIndex):
            prepared = replace(
                prepared, entries=self.summary.index_of(number, prepared.segment_starts))
        # What the filter asks of a map takes a while, and would hold up a keyframe. To measure the
        # change of scene, places all over the map would be read.
        vars(prepared)['scene_change'] = tile.to_scene()
        _ = prepared.turns, prepared.mean_step_m, prepared.step_m, prepared.position_tree
        if isinstance(prepared.matching_frames, np.memmap):
            _ = prepared.sampled_frames
        return prepared


def check_tile(tile: Tile, found: MapManifest, collection: CollectionManifest) -> None:
    """Check that a map is the one that a collection was made with.

    Raises:
        MapChangedError: it is another map.
    """
    if found.map_id != tile.map_id or found.fingerprint != collection.fingerprint:
        raise MapChangedError(
            f'tile {tile.name} is map {found.map_id}, but the collection was made with '
            f'{tile.map_id}: run `seqnet_ros map collection create --overwrite` again')


def open_summary(folder: Path, manifest: CollectionManifest, verify: bool = False) -> Summary:
    """Open the summary of a collection.

    A large summary is memory-mapped and compared with its checksum only on request.

    Raises:
        MapCorruptError: a file is missing, or has another size, shape or content.
    """
    files = manifest.summary
    if files.stretch != STRETCH:
        raise MapCorruptError(f'the summary of {folder} has rows of {files.stretch} places, this '
                              f'version reads those of {STRETCH}')
    arrays = []
    for name, record in ((files.rows_name, files.rows), (files.axes_name, files.axes)):
        file = folder / name
        if not file.is_file():
            raise MapCorruptError(f'{file} is missing')
        size = file.stat().st_size
        if size != record.bytes:
            raise MapCorruptError(f'{file} is {size} bytes long, expected {record.bytes} bytes')
        if (verify or size <= IN_MEMORY_BYTES) and FileRecord.of_file(file) != record:
            raise MapCorruptError(f'{file} was modified: its checksum does not match')
        try:
            arrays.append(map_npy(file))
        except InputError as error:
            raise MapCorruptError(str(error)) from error
    rows, axes = arrays
    count = sum(tile.rows for tile in manifest.tiles)
    known = Axes.of_array(np.array(axes)) if axes.ndim == 2 and len(axes) > 1 else None
    if (rows.dtype != np.int8 or axes.dtype != np.float32 or known is None
            or rows.shape != (known.blocks, count, BLOCK_DIM) or not np.isfinite(axes).all()):
        raise MapCorruptError(f'the summary of {folder} is {rows.dtype} {list(rows.shape)} with '
                              f'axes {axes.dtype} {list(axes.shape)}, expected int8 rows for '
                              f'{count} stretches and finite float32 axes')
    return Summary(rows, [tile.rows for tile in manifest.tiles], known)


def _unchanged(place_map: PlaceMap) -> PlaceMap:
    return place_map
