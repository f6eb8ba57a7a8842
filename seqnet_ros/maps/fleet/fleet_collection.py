"""A map on a server as a collection: tiles are fetched when they are needed, and kept."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.core.errors import (
    FleetAwayError,
    FleetError,
    InputError,
    MapCorruptError,
    SeqnetRosError,
)
from seqnet_ros.maps.collection.map_collection import MapCollection, Prepare
from seqnet_ros.maps.fleet.address import FleetAddress
from seqnet_ros.maps.fleet.directory import Directory
from seqnet_ros.maps.fleet.push import read_directory
from seqnet_ros.maps.fleet.region import parse_region
from seqnet_ros.maps.fleet.server import FleetServer
from seqnet_ros.maps.fleet.server_watch import ServerWatch
from seqnet_ros.maps.fleet.store import Store
from seqnet_ros.maps.fleet.tile_cache import TileCache
from seqnet_ros.maps.fleet.tile_search import order_tiles
from seqnet_ros.maps.place_map import MapManifest, PlaceMap

_logger = logging.getLogger(__name__)

_RETRY_S = 10.0
"""Time after which a tile that could not be fetched is tried again."""


class CopiedCollection(MapCollection):
    """Copies of the tiles of a map on a server, which do without it; all of them are here.

    Args:
        cache: the folder with the copies.
        directory: the tiles.
        config: the limits of open tiles.

    Raises:
        MapError: the summary of the tiles cannot be read.
    """

    def __init__(self, cache: TileCache, directory: Directory, config: CollectionConfig) -> None:
        self._cache = cache
        self._directory = directory
        super().__init__(cache.folder, config, manifest=cache.manifest)

    def path_of(self, number: int) -> Path:
        """Return the folder of the map that a tile is."""
        return self._cache.path_of(self._directory.entries[number])

    def reopen(self) -> 'CopiedCollection':
        """Return the same tiles for a further engine."""
        return CopiedCollection(self._cache, self._directory, self.config)


class FleetCollection(MapCollection):
    """The tiles of a map on a server, or of a part of it.

    What was copied before is used at once. Without the server, the tiles that are here are searched
    and the summary tells them apart; a robot never waits for it.

    Args:
        address: where the map is.
        fleet: which part of it, and how it is reached.
        config: the limits of open tiles.
        prepare: makes an opened tile ready to be searched.
        waits: for recordings, in which no image comes too late: the server must be there at the
            start, and a tile is fetched before it is searched. What is found does not depend on
            how long that takes.

    Raises:
        FleetError: the server refuses; or it does not answer, and nothing was copied before or the
            collection waits.
        MapError: tiles cannot be used.
        InputError: no tile is in the region or of the session, or the cache cannot be written.
    """

    def __init__(self, address: FleetAddress, fleet: FleetConfig,
                 config: CollectionConfig | None = None, prepare: Prepare | None = None, *,
                 waits: bool = False) -> None:
        self._store = Store(fleet.store)
        self._waits = waits
        self._server = FleetServer(address, fleet.timeout_s)
        self._cache = TileCache(address, fleet)
        try:
            self._directory, away = self._read(address, fleet)
            super().__init__(self._cache.folder, config, prepare, self._cache.manifest)
        except BaseException:
            self._server.close()
            raise
        self.watch = ServerWatch(self._server, fleet.check_every_s, away,
                                 self._directory.versions, self._directory.first.dim,
                                 self._count_here)
        self._fetcher = ThreadPoolExecutor(1, 'tile fetcher')
        self._fetching: dict[int, Future[None]] = {}
        self._failed: dict[int, float] = {}
        self._fetch_lock = threading.Lock()
        self._closed = False

    @property
    def first(self) -> int:
        """The tile to begin with: one that is here, if any is and nobody waits."""
        if self._waits:
            return super().first
        here = (number for number, entry in enumerate(self._directory.entries)
                if self._cache.has(entry))
        return next(here, 0)

    @property
    def tiles_here(self) -> int:
        """Number of tiles that were copied."""
        return self._count_here()

    def read_first(self) -> tuple[MapManifest, Path]:
        """Return what `MapCollection.read_first` does; the tile is fetched if it is not here."""
        self._fetch(self.first)
        return super().read_first()

    def path_of(self, number: int) -> Path:
        """Return the folder of the map that a tile is."""
        return self._cache.path_of(self._directory.entries[number])

    def open(self, number: int) -> PlaceMap:
        """Return a tile, as `MapCollection.open`; it is fetched first if it is not here."""
        self._fetch(number)
        self._cache.touch(self._directory.entries[number])
        return super().open(number)

    def fetch_all(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Copy all tiles.

        Args:
            progress: told how many tiles are here.

        Raises:
            MapError: one cannot be fetched.
            InputError: there is no room for all of them.
        """
        for number in range(len(self.tiles)):
            self._fetch(number)
            progress(number + 1)
        if self.tiles_here < len(self.tiles):
            size = sum(tile.bytes for tile in self.tiles)
            raise InputError(f'the {len(self.tiles)} tiles of {self._server.address} take '
                             f'{size / 1e6:.0f} MB, expected fleet.cache_mb above that, or a '
                             'region or session with fewer tiles')

    def reopen(self) -> 'CopiedCollection':
        """Return the tiles as they were copied, without the server: see `fetch_all`."""
        return CopiedCollection(self._cache, self._directory, self.config)

    def ready(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Return which of these tiles are here, and begin to fetch the others, or wait for them."""
        if self._waits:
            for number in numbers:
                if not self._is_here(number) and self._may_try(number):
                    self._try_fetching(number)
        return self._here(numbers)

    def prefetch(self, numbers: Iterable[int]) -> None:
        """Begin to open tiles that will be needed soon, and to fetch those that are not here."""
        super().prefetch(self._here(numbers))

    def rank(self, sequences: np.ndarray, among: Sequence[int] | None,
             reverse: bool) -> list[int]:
        """Return the tiles, best first, for the newest sequences of a drive.

        The summary names the first one, and the server the second one: the first that it finds
        among its places, where it is there.
        """
        ranked = super().rank(sequences, among, reverse)
        if not self.watch.is_there:
            return ranked
        names = [self.tiles[number].name for number in ranked]
        try:
            found = order_tiles(self._server, sequences, self.manifest.fingerprint,
                                names if among is not None else ())
        except FleetError as error:
            self.watch.note_failure(error)
            return ranked
        best = next((name for name in found if name in names), names[0])
        second = ranked[names.index(best)]
        return [ranked[0], *(number for number in dict.fromkeys([second, *ranked])
                             if number != ranked[0])]

    def close(self) -> None:
        """Close all tiles, end the threads and leave the server."""
        self._closed = True
        self.watch.close()
        self._fetcher.shutdown(cancel_futures=True)
        super().close()
        self._server.close()

    def _read(self, address: FleetAddress, fleet: FleetConfig,
              ) -> tuple[Directory, FleetAwayError | None]:
        """Return the tiles, and why they are those that were known before."""
        known = self._cache.read()
        try:
            directory = read_directory(self._server).select(
                parse_region(fleet.region) if fleet.region else None, (),
                (fleet.session,) if fleet.session else ())
            self._cache.note(directory, self._store)
            self._server.index_kind()  # so that no image waits for it
        except FleetAwayError as error:
            if self._waits:
                raise FleetAwayError(
                    f'{error}; a recording is searched with the newest tiles, and with copies only '
                    'in a collection that `seqnet_ros map pull` made') from error
            if known is None:
                raise FleetAwayError(
                    f'{error}; no copy of {address} is in {self._cache.folder} to go on with'
                ) from error
            return known, error
        return directory, None

    def _read_tile(self, number: int, prepare: Prepare) -> PlaceMap:
        try:
            return super()._read_tile(number, prepare)
        except MapCorruptError:
            self._cache.remove(self._directory.entries[number])  # it is fetched again
            raise

    def _count_here(self) -> int:
        return self._cache.count(self._directory.entries)

    def _fetch(self, number: int) -> None:
        """Copy a tile unless it is here."""
        entry = self._directory.entries[number]
        if self._cache.has(entry):
            return
        with self._fetch_lock:
            if not self._cache.has(entry):
                started = time.monotonic()
                self._cache.fetch(entry, self._store, [
                    self.path_of(one) for one in self.open_tiles])
                _logger.info('fetched tile %s in %.1f s', entry.tile.name,
                             time.monotonic() - started)

    def _is_here(self, number: int) -> bool:
        return self._cache.has(self._directory.entries[number])

    def _here(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """Return which of these tiles are here, and begin to fetch the others."""
        here = []
        for number in numbers:
            if self._is_here(number):
                here.append(number)
            else:
                self._fetch_later(number)
        return tuple(here)

    def _may_try(self, number: int) -> bool:
        """Return whether fetching a tile did not fail a moment ago."""
        return time.monotonic() - self._failed.get(number, -np.inf) >= _RETRY_S

    def _fetch_later(self, number: int) -> None:
        running = self._fetching.get(number)
        if (self._closed or (running is not None and not running.done())
                or not self._may_try(number)):
            return
        self._fetching[number] = self._fetcher.submit(self._try_fetching, number)

    def _try_fetching(self, number: int) -> None:
        try:
            self._fetch(number)
            self._failed.pop(number, None)
        except SeqnetRosError as error:
            if number not in self._failed:
                _logger.warning('tile %s cannot be fetched: %s', self._name(number), error)
            self._failed[number] = time.monotonic()

    def _name(self, number: int) -> str:
        return self.tiles[number].name


def open_collection(place: Path | FleetAddress, fleet: FleetConfig,
                    config: CollectionConfig | None = None, *,
                    waits: bool = False) -> MapCollection:
    """Open the tiles of a collection, in a folder or on a server.

    Args:
        place: the folder, or the address.
        fleet: which part of a map on a server, and how it is reached.
        config: the limits of open tiles.
        waits: see `FleetCollection`.

    Raises:
        MapError: as `MapCollection`; of a server as `FleetCollection`.
        InputError: as `FleetCollection`.
    """
    if isinstance(place, FleetAddress):
        return FleetCollection(place, fleet, config, waits=waits)
    return MapCollection(place, config)


def first_map(address: FleetAddress, fleet: FleetConfig) -> tuple[MapManifest, Path]:
    """Return the manifest of the first tile of a map on a server, and where its copy is.

    Raises:
        MapError: as `FleetCollection`.
        InputError: as `FleetCollection`.
    """
    collection = FleetCollection(address, fleet)
    try:
        return collection.read_first()
    finally:
        collection.close()
