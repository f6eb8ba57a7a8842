"""Maps of a fleet on a real Milvus server: push, pull, search, copies, a server that vanishes."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from milvus_server import MilvusServer, running_server
from refusal import refusal
from vector_maps import PLACES, vector_map, vector_model, views

from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.core.errors import FleetError
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.maps.collection.collection_file import read_collection
from seqnet_ros.maps.collection.creation import create_collection, find_maps
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.fleet.address import CERTIFICATE, CREDENTIALS
from seqnet_ros.maps.fleet.directory import TileEntry
from seqnet_ros.maps.fleet.fleet_collection import FleetCollection
from seqnet_ros.maps.fleet.pull import pull
from seqnet_ros.maps.fleet.push import Pushed, push, read_directory
from seqnet_ros.maps.fleet.region import parse_region
from seqnet_ros.maps.fleet.server import FleetServer, where
from seqnet_ros.maps.fleet.store import Store
from seqnet_ros.maps.index import ExactIndex
from seqnet_ros.maps.map_reader import open_map, verify_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.pipelines.progress import no_bar

MODEL = vector_model()
DATUM = GeoPoint(48.5, 9.1, 300.0)
TILES = 3


@pytest.fixture(scope='module')
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of three tiles in a row, in one frame with a place on the earth."""
    folder = tmp_path_factory.mktemp('maps')
    for number in range(TILES):
        save_map(vector_map(MODEL, number, 1000.0 * number, datum=DATUM), folder / f't{number}')
    create_collection(folder, find_maps([folder]), areas={'t2': 'attic'})
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / 'store').mkdir()
    return Store(str(tmp_path / 'store'))


@pytest.fixture
def server(milvus: MilvusServer, request: pytest.FixtureRequest) -> Iterator[FleetServer]:
    """A connection to a map of this test's own."""
    name = ''.join(one if one.isalnum() else '_' for one in request.node.name)
    connected = FleetServer(milvus.address(name))
    yield connected
    connected.close()


def put(path: Path, server: FleetServer, store: Store, **options: str) -> Pushed:
    return push(path, server, store, bars=no_bar, **options)


def robot(server: FleetServer, store: Store, tmp_path: Path, **settings: object) -> FleetCollection:
    return FleetCollection(server.address, FleetConfig(**{
        'store': store.where, 'cache': str(tmp_path / 'cache'), 'check_every_s': 0.2, **settings}))


def eventually(holds: Callable[[], bool], what: str, patience_s: float = 20.0) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, f'{what} did not happen'
        time.sleep(0.05)


def test_what_is_pushed_is_pulled(maps, server, store, tmp_path):
    pushed = put(maps, server, store, session='monday')
    assert pushed.tiles == ('t0', 't1', 't2')
    assert pushed.places == TILES * PLACES
    pull(read_directory(server), store, tmp_path / 'copy')
    before, after = read_collection(maps), read_collection(tmp_path / 'copy')
    assert after.tiles == before.tiles  # ids, frames, areas, extents
    for tile in after.tiles:
        assert verify_map(tmp_path / 'copy' / tile.name).map_id == tile.map_id
    MapCollection(tmp_path / 'copy').close()
    assert {entry.session for entry in pushed.directory.entries} == {'monday'}
    again = put(maps, server, store, session='monday')
    assert (again.tiles, len(again.unchanged)) == ((), TILES)
    assert sum(server.count_places(f't{number}') for number in range(TILES)) == TILES * PLACES


def test_a_part_is_pulled_by_region_tile_and_session(maps, server, store, tmp_path):
    put(maps / 't0', server, store, session='monday')
    put(maps / 't1', server, store, session='tuesday')
    put(maps / 't2', server, store, name='top "floor"', session='tuesday')
    directory = read_directory(server)

    def names(**part: object) -> list[str]:
        return [entry.tile.name for entry in directory.select(**part).entries]

    assert names() == ['t0', 't1', 'top "floor"']
    assert names(region=parse_region('xy:1050,10,990,-10')) == ['t1']
    # 0.01 degrees of longitude are 738 m here.
    assert names(region=parse_region('geo:48.49,9.09,48.51,9.11')) == ['t0']
    assert names(sessions=['tuesday']) == ['t1', 'top "floor"']
    assert names(tiles=['top "floor"'], sessions=['tuesday']) == ['top "floor"']
    pull(directory.select(tiles=['top "floor"']), store, tmp_path / 'copy')
    assert [tile.name for tile in read_collection(tmp_path / 'copy').tiles] == ['top "floor"']
    assert 'no tile' in refusal(lambda: directory.select(parse_region('xy:0,500,10,600')))
    assert 'there is no tile t9' in refusal(lambda: directory.select(tiles=['t9']))


def test_the_server_finds_what_faiss_finds(server, store, tmp_path):
    model = vector_model(64)
    save_map(vector_map(model, 1, places=6000), tmp_path / 'long')
    save_map(vector_map(model, 2, x=9000), tmp_path / 'other')
    put(tmp_path / 'other', server, store, session='b')
    put(tmp_path / 'long', server, store, session='a')
    sequences = np.asarray(open_map(tmp_path / 'long').sequences)
    noise = np.random.default_rng(5).standard_normal((50, sequences.shape[1]))
    queries = (sequences[::120] + 0.02 * noise).astype(np.float32)
    hits = server.search(queries, 10, where(session='a'))
    found = 0
    for query, hit in zip(queries, hits, strict=True):
        distances, places = ExactIndex(sequences).search(query, 10)
        assert set(hit.tiles) == {'long'}
        found += len(set(places.tolist()) & set(hit.places.tolist()))
        np.testing.assert_allclose(hit.distances[0], distances[0], rtol=1e-3)
    assert found >= 0.98 * 10 * len(queries)
    box = server.search(queries[:1], 100, where(box=(100, -1, 119, 1), tiles=['long']))[0]
    assert sorted(box.places.tolist()) == list(range(100, 120))
    assert server.search(queries[:1], 5, where(fingerprint='another'))[0].tiles == []


def test_disk_index(server, store, tmp_path):
    save_map(vector_map(MODEL, 1, places=400), tmp_path / 'disk')
    put(tmp_path / 'disk', server, store, index='DISKANN')
    assert server.index_kind() == 'DISKANN'
    sequences = np.asarray(open_map(tmp_path / 'disk').sequences)
    assert [hit.places[0] for hit in server.search(sequences[[10, 300]], 3)] == [10, 300]


def test_a_tile_is_replaced_as_a_whole(maps, server, store, tmp_path):
    put(maps, server, store)
    save_map(vector_map(MODEL, 7, x=1000, places=PLACES + 10, datum=DATUM), tmp_path / 'new')
    seen: list[set[int]] = []
    ended = threading.Event()
    reader = FleetServer(server.address)

    def read() -> None:
        while not ended.is_set():
            seen.append({entry.tile.places for entry in read_directory(reader).entries
                         if entry.tile.name == 't1'})

    thread = threading.Thread(target=read)
    thread.start()
    try:
        old = server.versions()['t1']
        put(tmp_path / 'new', server, store, name='t1')
        eventually(lambda: seen[-1] == {PLACES + 10}, 'the new version')
    finally:
        ended.set()
        thread.join()
        reader.close()
    assert set.union(*seen) == {PLACES, PLACES + 10}
    assert all(len(found) == 1 for found in seen)
    assert server.versions()['t1'] > old
    assert server.count_places('t1') == PLACES + 10
    assert server.count_places('t1', old) == 0


def test_a_push_that_breaks_off_leaves_the_old_version(maps, server, store, tmp_path, monkeypatch):
    put(maps / 't1', server, store)
    save_map(vector_map(MODEL, 7, x=1000), tmp_path / 'new')

    def cut(*_: object) -> None:
        raise FleetError('the line was cut')

    with monkeypatch.context() as patch:
        patch.setattr(server, 'add_entry', cut)
        assert refusal(lambda: put(tmp_path / 'new', server, store, name='t1')) == (
            'the line was cut')
    assert server.count_places('t1') == 2 * PLACES
    entry = read_directory(server).first
    assert entry.tile.map_id == open_map(maps / 't1').manifest.map_id
    put(tmp_path / 'new', server, store, name='t1')
    assert server.count_places('t1') == PLACES


def test_what_does_not_fit_is_refused_and_changes_nothing(maps, server, store, tmp_path):
    put(maps / 't0', server, store)
    other = vector_model(length=5)
    save_map(vector_map(other, 1), tmp_path / 'other')
    save_map(vector_map(vector_model(16), 1), tmp_path / 'foreign')
    for path in ('other', 'foreign'):
        assert 'was made with another model' in refusal(
            lambda path=path: put(tmp_path / path, server, store)) or path == 'other'
    assert 'the same map' in refusal(lambda: put(maps / 't0', server, store, name='twin'))
    assert 'cannot name a tile' in refusal(lambda: put(maps / 't1', server, store, name='../up'))
    assert [entry.tile.name for entry in read_directory(server).entries] == ['t0']
    assert server.count_places('twin') == 0


def test_archives_are_read_from_the_named_store_only(maps, server, store, tmp_path):
    put(maps / 't0', server, store)
    directory = read_directory(server)
    (tmp_path / 'empty').mkdir()
    assert 'has no readable file' in refusal(
        lambda: pull(directory, Store(str(tmp_path / 'empty')), tmp_path / 'copy'))
    archive = Path(store.where) / f'{directory.first.archive.sha256}.zip'
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert 'is damaged' in refusal(lambda: pull(directory, store, tmp_path / 'copy2'))
    for bad in ('', 'http://127.0.0.1/x', 's3://bucket'):
        assert refusal(lambda bad=bad: Store(bad))
    assert 'cannot be written to' in refusal(
        lambda: put(maps / 't1', server, Store('https://127.0.0.1/x')))


def test_an_entry_that_names_another_map_is_refused(maps, server, store, tmp_path):
    put(maps / 't0', server, store)
    entry = read_directory(server).first
    tile = entry.tile.model_copy(update={'map_id': 'b' * 64})
    server.add_entry(TileEntry.model_validate(
        {**entry.model_dump(), 'version': entry.version + 1, 'tile': tile.model_dump()}))
    assert 'but the server names bbb' in refusal(
        lambda: pull(read_directory(server), store, tmp_path / 'copy'))


def test_no_map_on_the_server(server, store, tmp_path):
    assert 'there is no map at milvus://127.0.0.1' in refusal(lambda: read_directory(server))
    assert 'there is no map' in refusal(lambda: robot(server, store, tmp_path))


def test_a_robot_fetches_the_tiles_that_it_needs(maps, server, store, tmp_path):
    put(maps, server, store)
    collection = robot(server, store, tmp_path)
    try:
        assert collection.tiles_here == 0
        assert len(collection.open(0)) == PLACES
        assert collection.ready((0, 2)) == (0,)
        eventually(lambda: collection.ready((0, 2)) == (0, 2), 'fetching tile 2')
        assert collection.tiles_here == 2
        drive = np.asarray(open_map(maps / 't1').sequences)[20:60]
        assert collection.rank(drive, None, False)[0] == 1
        assert collection.rank(drive, (0, 2), False)[0] in (0, 2)
    finally:
        collection.close()


def test_only_the_region_of_a_robot(maps, server, store, tmp_path):
    put(maps, server, store)
    collection = robot(server, store, tmp_path, region='xy:900,-5,2100,5')
    try:
        assert [tile.name for tile in collection.tiles] == ['t1', 't2']
    finally:
        collection.close()
    assert 'no tile' in refusal(
        lambda: robot(server, store, tmp_path, region='geo:10,10,11,11'))


def test_copies_give_way_to_newer_ones(maps, server, store, tmp_path):
    put(maps, server, store)
    size = max(entry.tile.bytes for entry in read_directory(server).entries)
    collection = robot(server, store, tmp_path, cache_mb=1)
    try:
        collection._cache._limit = 2 * size + 100
        collection.open(0)
        collection.use_preparation(lambda found: found)  # closes tile 0
        collection.open(1)
        collection.use((1,))
        collection.open(2)
        assert collection.tiles_here == 2
        assert collection.ready((1, 2)) == (1, 2)
    finally:
        collection.close()


def test_a_damaged_copy_is_fetched_again(maps, server, store, tmp_path):
    put(maps, server, store)
    collection = robot(server, store, tmp_path)
    try:
        collection.open(0)
        collection.use_preparation(lambda found: found)
        damaged = collection.path_of(0) / 'manifest.json'
        damaged.write_text('{}')
        assert refusal(lambda: collection.open(0))
        assert len(collection.open(0)) == PLACES
    finally:
        collection.close()


def test_the_server_is_killed_and_comes_back(maps, milvus_python, tmp_path, store, caplog):
    own = next(running := running_server(milvus_python, tmp_path / 'server'))
    server = FleetServer(own.address('fleet'), 5.0)
    try:
        put(maps, server, store)
        collection = robot(server, store, tmp_path, timeout_s=0.5)
        drive = np.asarray(open_map(maps / 't2').sequences)[20:60]
        try:
            collection.open(0)
            own.kill()
            assert collection.rank(drive, None, False)[0] == 2  # by the summary
            eventually(lambda: not collection.watch.is_there, 'noticing that it is away')
            started = time.monotonic()
            assert collection.rank(drive, None, False)[0] == 2
            assert time.monotonic() - started < 0.2  # it does not ask a server that is away
            assert collection.ready((0, 2)) == (0,)
            eventually(lambda: collection.ready((2,)) == (2,), 'the store is still there')
            assert collection.watch.away_s > 0
        finally:
            collection.close()
        again = robot(server, store, tmp_path)
        assert not again.watch.is_there
        assert again.tiles_here == 2
        assert 'no copy of' in refusal(
            lambda: robot(server, store, tmp_path, cache=str(tmp_path / 'nothing')))
        own.start()
        eventually(lambda: again.watch.is_there, 'the server being back', 100)
        assert again.rank(drive, None, False)[0] == 2
        assert read_directory(server).versions.keys() == {'t0', 't1', 't2'}
        again.close()
        told = [record.getMessage() for record in caplog.records]
        assert sum('going on with the' in line for line in told) == 2  # once for each robot
        assert sum('answers again after' in line for line in told) == 1
    finally:
        server.close()
        running.close()


def test_a_newer_tile_is_noticed(maps, server, store, tmp_path):
    put(maps, server, store)
    collection = robot(server, store, tmp_path)
    try:
        save_map(vector_map(MODEL, 9, x=1000), tmp_path / 'new')
        put(tmp_path / 'new', server, store, name='t1')
        eventually(lambda: collection.watch.replaced == 1, 'noticing the newer tile')
        assert collection.open(1).manifest.map_id == open_map(maps / 't1').manifest.map_id
    finally:
        collection.close()
    again = robot(server, store, tmp_path)
    try:
        assert again.open(1).manifest.map_id == open_map(tmp_path / 'new').manifest.map_id
        assert again.watch.replaced == 0
    finally:
        again.close()


def test_many_read_while_one_writes(maps, server, store, tmp_path):
    put(maps, server, store)
    collection = robot(server, store, tmp_path)
    queries = views(2)[10:50]
    failures: list[BaseException] = []

    def ask() -> None:
        own = FleetServer(server.address)
        try:
            for start in range(0, 30, 2):
                found = own.search(queries[start:start + 8], 5)
                assert all(len(hits.tiles) == 5 for hits in found)
        except BaseException as error:
            failures.append(error)
        finally:
            own.close()

    readers = [threading.Thread(target=ask) for _ in range(4)]
    try:
        for thread in readers:
            thread.start()
        for number in range(3):
            save_map(vector_map(MODEL, 20 + number, x=5000.0 + 200 * number),
                     tmp_path / f'more{number}')
            put(tmp_path / f'more{number}', server, store)
    finally:
        for thread in readers:
            thread.join()
        collection.close()
    assert not failures
    assert len(read_directory(server).entries) == TILES + 3


@pytest.fixture(scope='module')
def guarded(milvus_python: Path,
            tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MilvusServer, Path]]:
    """A server with users and TLS, and its certificate."""
    if shutil.which('openssl') is None:
        pytest.skip('openssl, which makes the certificate, is not installed')
    folder = tmp_path_factory.mktemp('guarded')
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj',
         '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout',
         folder / 'server.key', '-out', folder / 'server.pem'], check=True, capture_output=True)
    running = running_server(
        milvus_python, folder / 'data', authorization_enabled='true', tls_mode='1',
        server_pem_path=str(folder / 'server.pem'), server_key_path=str(folder / 'server.key'))
    yield next(running), folder / 'server.pem'
    running.close()


def test_users_and_tls(guarded, maps, store, tmp_path, monkeypatch):
    milvus, certificate = guarded
    monkeypatch.setenv(CERTIFICATE, str(certificate))

    def ask(tls: bool) -> str:
        server = FleetServer(milvus.address('fleet', tls=tls), 5.0)
        try:
            return refusal(lambda: read_directory(server))
        finally:
            server.close()

    monkeypatch.setenv(CREDENTIALS, 'root:Milvus')
    assert 'there is no map' in ask(tls=True)
    server = FleetServer(milvus.address('fleet', tls=True))
    put(maps / 't0', server, store)
    pull(read_directory(server), store, tmp_path / 'copy')
    server.close()
    assert 'does not answer' in ask(tls=False)
    monkeypatch.setenv(CREDENTIALS, 'root:wr0ng')
    told = ask(tls=True)
    assert 'refuses user root' in told
    assert 'wr0ng' not in told
    monkeypatch.delenv(CREDENTIALS)
    assert 'refuses access without a user' in ask(tls=True)
    monkeypatch.setenv(CREDENTIALS, 'root:Milvus')
    monkeypatch.delenv(CERTIFICATE)
    assert 'cannot be reached with TLS' in ask(tls=True)  # nobody vouches for it


def test_tls_to_a_server_without(milvus):
    server = FleetServer(milvus.address('fleet', tls=True), 5.0)
    try:
        assert 'cannot be reached with TLS' in refusal(lambda: read_directory(server))
    finally:
        server.close()
