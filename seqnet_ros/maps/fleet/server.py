"""The Milvus server: a collection with the places of all tiles, and one with their directory.

Places are vectors with the fields of `_PLACE_FIELDS`. The directory ``NAME_tiles`` has one row for
each version of a tile. A version is valid once its row is there, and the newest one counts: places
without a row, of a push that broke off, are no part of the map. The directory is read with strong
consistency: a reader sees what was written before. Places are searched with eventual consistency:
those written last may be missing, and no search waits for them.
"""

import json
import logging
import logging.config
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np

from seqnet_ros.core.errors import FleetAwayError, FleetError, InputError, quoted, shortened
from seqnet_ros.maps.fleet.address import FleetAddress
from seqnet_ros.maps.fleet.directory import MAX_ENTRY_BYTES, TileEntry, parse_entry

IndexKind = Literal['HNSW', 'DISKANN']
METRIC = 'L2'
UNKNOWN_DEGREES = -1000.0
"""Latitude and longitude of places whose position on the earth is not known."""

_NAME_BYTES = 1000
_INSERTED_BYTES = 4 << 20
_READ_ROWS = 500
_NEIGHBOURS, _BUILD_BEAM, _SEARCH_BEAM = 24, 200, 384
_INDEX_PARAMS: dict[IndexKind, dict[str, int]] = {
    'HNSW': {'M': _NEIGHBOURS, 'efConstruction': _BUILD_BEAM}, 'DISKANN': {}}
_BEAM_NAMES: dict[IndexKind, str] = {'HNSW': 'ef', 'DISKANN': 'search_list'}
_PLACE_FIELDS = ('tile', 'place', 'version', 'session', 'fingerprint', 'x', 'y', 'z', 'latitude',
                 'longitude')
_NO_COLLECTION = 100
# What errors of the client, of gRPC and of servers say; few have codes of their own.
_ABSENT = ('collection not found',)
_REFUSED = ('unauthenticated', 'auth check failure', 'permission deny')
_WITHOUT_TLS = ('handshake', 'ssl_error', 'certificate', 'wrong_version')
_AWAY = ('unavailable', 'deadline', 'fail connecting', 'timeout', 'not ready', 'closed channel',
         'channel closed', 'cancelled', 'no available', 'node not match', 'channel not',
         'node offline', 'not loaded', 'node not found', 'no connection',
         'should create connect')


class Hits(NamedTuple):
    """What is nearest to one query, nearest first.

    Attributes:
        distances: float32 ``[K]``, L2.
        tiles: names of the tiles, ``[K]``.
        places: int64 ``[K]``, the places in them.
    """

    distances: np.ndarray
    tiles: list[str]
    places: np.ndarray


@dataclass(frozen=True)
class PlaceRows:
    """The places of one tile.

    Attributes:
        descriptors: float32 ``[N, D']``, sequence descriptors (may be memory-mapped).
        positions: float64 ``[N, 3]``, in the frame of the tile, m.
        degrees: float64 ``[N, 2]``, latitude and longitude; None where they are not known.
    """

    descriptors: np.ndarray
    positions: np.ndarray
    degrees: np.ndarray | None


def parse_index(text: str) -> IndexKind:
    """Read the kind of an index.

    Raises:
        InputError: there is none of this name.
    """
    for kind in get_args(IndexKind):
        if text.upper() == kind:
            return cast(IndexKind, kind)
    raise InputError(f'index {quoted(text)} is unknown, expected one of '
                     f'{", ".join(_INDEX_PARAMS)}')


def require_pymilvus() -> Any:
    """Return the client library.

    Raises:
        InputError: it is not installed.
    """
    try:
        with _logging_kept():
            import pymilvus
    except ImportError as error:
        raise InputError('maps on a server need pymilvus, which is not installed; run `pip install '
                         'pymilvus`') from error
    # It logs each error with its stack, also those that are expected and reported here.
    logging.getLogger('pymilvus').setLevel(logging.CRITICAL)
    return pymilvus


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Keep the logging of this process while pymilvus is imported.

    It configures logging when it is imported, and ``dictConfig`` closes all handlers that exist:
    the log files of the program that uses this package.
    """
    configure = logging.config.dictConfig

    def pass_on(config: Any) -> None:
        if 'pymilvus' not in config.get('loggers', {}):  # another thread configures logging
            configure(config)

    logging.config.dictConfig = pass_on
    try:
        yield
    finally:
        logging.config.dictConfig = configure


class FleetServer:
    """A connection to the map of a fleet, made at first use and anew after it broke off.

    May be used from several threads.

    Args:
        address: where the map is.
        timeout_s: how long an answer may take, s, unless a call states it.
    """

    def __init__(self, address: FleetAddress, timeout_s: float = 20.0) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._client: Any = None
        self._lock = threading.Lock()
        self._kind: IndexKind | None = None

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    # The map.

    def exists(self) -> bool:
        """Return whether there is a map at the address.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        return all(self._ask('has_collection', name) for name in (self._places, self._tiles))

    def create(self, dim: int, index: IndexKind, shards: int = 1) -> None:
        """Make an empty map.

        Args:
            dim: length of a sequence descriptor.
            index: HNSW keeps descriptors in memory, DISKANN on disk.
            shards: channels that places are written to, each by one node of a cluster.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        def make(client: Any) -> None:
            with ThreadPoolExecutor(2) as pool:  # each waits some seconds for the server
                made = [pool.submit(self._create_places, client, dim, index, shards),
                        pool.submit(self._create_tiles, client)]
            for one in made:
                one.result()

        self._call(make)

    def drop(self) -> None:
        """Remove the map from the server.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        for name in (self._tiles, self._places):
            self._ask('drop_collection', name)

    def index_kind(self) -> IndexKind:
        """Return the kind of the index over the places.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        if self._kind is None:
            found = self._ask('describe_index', self._places, 'descriptor')
            try:
                self._kind = parse_index(str(found.get('index_type')))
            except InputError as error:
                raise FleetError(f'{self.address}: {error}') from error
        return self._kind

    # The directory.

    def entries(self) -> Iterator[TileEntry]:
        """Yield all versions of all tiles.

        Raises:
            FleetError: there is no map, the server refuses or does not answer.
        """
        for row in self._rows(self._tiles, ['entry']):
            yield parse_entry(row['entry'], str(self.address))

    def versions(self, waits: bool = True) -> dict[str, int]:
        """Return the newest version of each tile, by name.

        Args:
            waits: wait for what was written last; else it may be missing.

        Raises:
            FleetError: there is no map, the server refuses or does not answer.
        """
        newest: dict[str, int] = {}
        for row in self._rows(self._tiles, ['tile', 'version'], waits):
            newest[row['tile']] = max(row['version'], newest.get(row['tile'], 0))
        return newest

    def add_entry(self, entry: TileEntry) -> None:
        """Make a version of a tile valid.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        row = {'key': f'{entry.version}:{entry.archive.sha256[:16]}', 'unused': [0.0, 0.0],
               'tile': entry.tile.name, 'version': entry.version, 'entry': entry.to_text()}
        self._ask('insert', self._tiles, [row])

    def remove_before(self, tile: str, version: int) -> None:
        """Remove the versions of a tile that are older than this one, and their places.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        condition = f'tile == {_quoted(tile)} and version < {version}'
        for name in (self._tiles, self._places):
            self._ask('delete', name, filter=condition)

    # The places.

    def insert_places(self, entry: TileEntry, rows: PlaceRows,
                      progress: Callable[[int], None] = lambda _: None) -> None:
        """Write the places of a version of a tile, and check that all are there.

        Args:
            entry: the version.
            rows: its places.
            progress: told how many are written.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        count = len(rows.descriptors)
        block = max(1, _INSERTED_BYTES // (4 * rows.descriptors.shape[1] + 200))
        for start in range(0, count, block):
            chunk = _documents(entry, rows, start, min(start + block, count))
            self._ask('insert', self._places, chunk)
            progress(min(start + block, count))
        found = self.count_places(entry.tile.name, entry.version)
        if found != count:
            raise FleetError(f'{self.address} holds {found} places of tile {entry.tile.name}, '
                             f'expected the {count} that were written')

    def count_places(self, tile: str, version: int | None = None) -> int:
        """Return how many places of a tile there are.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        condition = f'tile == {_quoted(tile)}'
        if version is not None:
            condition += f' and version == {version}'
        found = self._ask('query', self._places, filter=condition, output_fields=['count(*)'],
                          consistency_level='Strong')
        return int(found[0]['count(*)'])

    def flush(self) -> None:
        """Let the server build the index over what was written.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        self._ask('flush', self._places)

    def indexed_places(self) -> int:
        """Return over how many places the index is built; others are compared one by one.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        found = self._ask('describe_index', self._places, 'descriptor')
        return int(found.get('total_rows', 0)) - int(found.get('pending_index_rows', 0))

    def search(self, queries: np.ndarray, k: int, condition: str = '',
               timeout_s: float | None = None) -> list[Hits]:
        """Find the places nearest to descriptors.

        Args:
            queries: float32 ``[Q, D']``, sequence descriptors.
            k: places wanted of each, at most 1,000.
            condition: which places, as `where` returns it; '' for all.
            timeout_s: how long the answer may take, s.

        Raises:
            FleetError: there is no map, the server refuses or does not answer.
        """
        kind = self.index_kind()
        found = self._ask(
            'search', self._places, data=[row.tolist() for row in queries], limit=k,
            filter=condition, output_fields=['tile', 'place'], anns_field='descriptor',
            search_params={'metric_type': METRIC,
                           'params': {_BEAM_NAMES[kind]: max(_SEARCH_BEAM, k)}},
            consistency_level='Eventually', timeout=timeout_s or self._timeout_s)
        return [_hits(one) for one in found]

    # The client.

    @property
    def _places(self) -> str:
        return self.address.collection

    @property
    def _tiles(self) -> str:
        return f'{self.address.collection}_tiles'

    def _rows(self, name: str, fields: list[str], waits: bool = True) -> Iterator[dict[str, Any]]:
        iterator = self._ask(
            'query_iterator', name, batch_size=_READ_ROWS, output_fields=fields,
            consistency_level='Strong' if waits else 'Eventually', timeout=self._timeout_s)
        try:
            while rows := self._call(lambda _: iterator.next()):
                yield from rows
        finally:
            iterator.close()

    def _ask(self, what: str, name: str, *values: Any, **options: Any) -> Any:
        """Call a method of the client about one of the collections.

        Raises:
            FleetError: the server refuses or does not answer.
        """
        options.setdefault('timeout', self._timeout_s)
        return self._call(lambda client: getattr(client, what)(name, *values, **options))

    def _call(self, ask: Callable[[Any], Any]) -> Any:
        """Ask the server something.

        Raises:
            FleetError: it refuses or does not answer.
        """
        pymilvus = require_pymilvus()
        import grpc

        try:
            with self._lock:
                if self._client is None:
                    self._client = self._connect(pymilvus)
                client = self._client
            return ask(client)
        except (pymilvus.exceptions.MilvusException, grpc.RpcError, grpc.FutureTimeoutError,
                OSError, ValueError) as error:
            explained = explain(error, self.address)
            if isinstance(explained, FleetAwayError):
                self._forget()
            raise explained from error

    def _connect(self, pymilvus: Any) -> Any:
        address = self.address
        # Connections are otherwise shared by address, whatever their encryption.
        options: dict[str, Any] = {'dedicated': True}
        if address.tls and address.certificate:
            options['server_pem_path'] = address.certificate
        return pymilvus.MilvusClient(
            uri=address.url, user=address.user, password=address.password,
            timeout=self._timeout_s, **options)

    def _forget(self) -> None:
        """Connect anew with the next call."""
        try:
            self.close()
        except Exception:  # whatever a broken connection raises, it is let go
            logging.getLogger(__name__).debug('closing %s failed', self.address, exc_info=True)

    def _create_places(self, client: Any, dim: int, index: IndexKind, shards: int) -> None:
        data_type = require_pymilvus().DataType
        text = {'datatype': data_type.VARCHAR, 'max_length': _NAME_BYTES}
        places = client.create_schema(
            auto_id=True, enable_dynamic_field=False,
            description='Places of a map for a fleet, by seqnet_ros')
        places.add_field('id', data_type.INT64, is_primary=True)
        places.add_field('descriptor', data_type.FLOAT_VECTOR, dim=dim)
        kinds = {'place': data_type.INT64, 'version': data_type.INT64}
        for name in _PLACE_FIELDS:
            if name in ('tile', 'session', 'fingerprint'):
                places.add_field(name, **text)
            else:
                places.add_field(name, kinds.get(name, data_type.DOUBLE))
        indexed = client.prepare_index_params()
        indexed.add_index('descriptor', index_type=index, metric_type=METRIC,
                          params=_INDEX_PARAMS[index])
        client.create_collection(
            self._places, schema=places, index_params=indexed, num_shards=shards,
            consistency_level='Eventually', timeout=self._timeout_s)

    def _create_tiles(self, client: Any) -> None:
        data_type = require_pymilvus().DataType
        tiles = client.create_schema(
            auto_id=False, enable_dynamic_field=False,
            description='Tiles of a map for a fleet, by seqnet_ros')
        tiles.add_field('key', data_type.VARCHAR, is_primary=True, max_length=100)
        tiles.add_field('unused', data_type.FLOAT_VECTOR, dim=2)  # every collection has a vector
        tiles.add_field('tile', data_type.VARCHAR, max_length=_NAME_BYTES)
        tiles.add_field('version', data_type.INT64)
        tiles.add_field('entry', data_type.VARCHAR, max_length=MAX_ENTRY_BYTES)
        flat = client.prepare_index_params()
        flat.add_index('unused', index_type='FLAT', metric_type=METRIC)
        client.create_collection(self._tiles, schema=tiles, index_params=flat,
                                 consistency_level='Strong', timeout=self._timeout_s)


def where(*, fingerprint: str = '', tiles: Sequence[str] = (), session: str = '',
          version: int | None = None,
          box: tuple[float, float, float, float] | None = None) -> str:
    """Return a condition for `FleetServer.search`.

    Args:
        fingerprint: of the model; '' for any.
        tiles: names of tiles; none for all.
        session: the session; '' for any.
        version: of the tile; None for any.
        box: smallest x and y and largest x and y, m; None for anywhere.
    """
    parts = []
    if fingerprint:
        parts.append(f'fingerprint == {_quoted(fingerprint)}')
    if tiles:
        parts.append(f'tile in [{", ".join(map(_quoted, tiles))}]')
    if session:
        parts.append(f'session == {_quoted(session)}')
    if version is not None:
        parts.append(f'version == {version}')
    if box is not None:
        left, bottom, right, top = box
        parts.append(f'x >= {left!r} and x <= {right!r} and y >= {bottom!r} and y <= {top!r}')
    return ' and '.join(parts)


def explain(error: BaseException, address: FleetAddress) -> FleetError:
    """Return an error of the client library as one that says what to do."""
    told = ' '.join(_texts(error)).lower()

    def says(phrases: tuple[str, ...]) -> bool:
        return any(phrase in told for phrase in phrases)

    if getattr(error, 'code', None) == _NO_COLLECTION or says(_ABSENT):
        return FleetError(f'there is no map at {address}, expected one that `seqnet_ros map push` '
                          'wrote')
    if says(_REFUSED):
        who = f'user {address.user}' if address.user else 'access without a user'
        return FleetError(f'{address} refuses {who}, expected valid credentials: see '
                          'docs/scale.md')
    if says(_WITHOUT_TLS):
        return FleetError(f'{address} cannot be reached with TLS: its certificate is not valid '
                          'here, or the server is without TLS and the address begins with '
                          'milvus://')
    if says(_AWAY):
        tls = '' if address.tls else ', without TLS; milvuss:// is with TLS'
        return FleetAwayError(f'{address} does not answer, expected a Milvus server at '
                              f'{address.host}:{address.port}{tls}')
    return FleetError(f'{address} answers: {shortened(getattr(error, "message", "") or error)}')


def _texts(error: BaseException | None) -> Iterator[str]:
    """Yield what an error and those that it comes from say."""
    for _ in range(5):
        if error is None:
            return
        code = getattr(error, 'code', '')
        details = getattr(error, 'details', '')
        yield f'{error} {code() if callable(code) else code}'
        yield str(details() if callable(details) else details)
        error = error.__cause__ or error.__context__


def _documents(entry: TileEntry, rows: PlaceRows, start: int, end: int) -> list[dict[str, Any]]:
    """Return places as the client takes them."""
    descriptors = np.asarray(rows.descriptors[start:end], np.float32)
    degrees = (np.full((end - start, 2), UNKNOWN_DEGREES) if rows.degrees is None
               else rows.degrees[start:end]).tolist()
    same = {'tile': entry.tile.name, 'version': entry.version, 'session': entry.session,
            'fingerprint': entry.fingerprint}
    return [{**same, 'descriptor': descriptor, 'place': start + number, 'x': x, 'y': y, 'z': z,
             'latitude': latitude, 'longitude': longitude}
            for number, (descriptor, (x, y, z), (latitude, longitude)) in enumerate(zip(
                descriptors, rows.positions[start:end].tolist(), degrees, strict=True))]


def _hits(found: Any) -> Hits:
    return Hits(np.sqrt(np.maximum([one['distance'] for one in found], 0)).astype(np.float32),
                [one['entity']['tile'] for one in found],
                np.array([one['entity']['place'] for one in found], np.int64))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
