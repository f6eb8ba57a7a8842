"""Maps of a fleet on a real Milvus server: push, pull, search, copies, a server that vanishes."""

import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

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
from seqnet_ros.maps.fleet.directory import Directory
from seqnet_ros.maps.fleet.fleet_collection import FleetCollection
from seqnet_ros.maps.fleet.pull import pull
from seqnet_ros.maps.fleet.push import Pushed, push, read_directory
from seqnet_ros.maps.fleet.region import parse_region
from seqnet_ros.maps.fleet.server import FleetServer, where
from seqnet_ros.maps.fleet.store import Store
from seqnet_ros.maps.fleet.tile_cache import TileCache
from seqnet_ros.maps.index import ExactIndex
from seqnet_ros.maps.map_reader import open_map, verify_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.pipelines.progress import no_bar

pytestmark = pytest.mark.slow

MODEL = vector_model()
DATUM = GeoPoint(48.5, 9.1, 300.0)
TILES = 3


class Fleet(NamedTuple):
    """A map on a server, and its store."""

    server: FleetServer
    store: Store

    @property
    def directory(self) -> Directory:
        return read_directory(self.server)


@pytest.fixture(scope='module')
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection of three tiles in a row, in one frame with a place on the earth."""
    folder = tmp_path_factory.mktemp('maps')
    for number in range(TILES):
        save_map(vector_map(MODEL, number, 1000.0 * number, datum=DATUM), folder / f't{number}')
    create_collection(folder, find_maps([folder]), areas={'t2': 'attic'})
    return folder


@pytest.fixture(scope='module')
def fleet(milvus: MilvusServer, maps: Path,
          tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The collection on the server; no test changes it."""
    with connected(milvus, 'fleet', tmp_path_factory.mktemp('fleet')) as made:
        put(maps, made, session='monday')
        yield made


@pytest.fixture(scope='module')
def site(milvus: MilvusServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A map that tests change: each puts tiles of its own there."""
    folder = tmp_path_factory.mktemp('site')
    with connected(milvus, 'site', folder) as made:
        save_map(vector_map(MODEL, 50, 50_000.0, datum=DATUM), folder / 'base')
        put(folder / 'base', made, session='monday')
        yield made


@contextmanager
def connected(milvus: MilvusServer, name: str, folder: Path, tls: bool = False) -> Iterator[Fleet]:
    server = FleetServer(milvus.address(name, tls))
    (folder / 'store').mkdir()
    try:
        yield Fleet(server, Store(str(folder / 'store')))
    finally:
        server.close()


def put(path: Path, fleet: Fleet, **options: Any) -> Pushed:
    return push(path, fleet.server, fleet.store, bars=no_bar, **options)


def robot(fleet: Fleet, tmp_path: Path, **settings: object) -> FleetCollection:
    return FleetCollection(fleet.server.address, FleetConfig(**{
        'store': fleet.store.where, 'cache': str(tmp_path / 'cache'), 'check_every_s': 0.2,
        **settings}))


def eventually(holds: Callable[[], bool], what: str, patience_s: float = 20.0) -> None:
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, f'{what} did not happen'
        time.sleep(0.05)


def cut(*_: object) -> None:
    """Stand in for a call to the server that breaks off."""
    raise FleetError('the line was cut')


# Push and pull.


def test_what_is_pushed_is_pulled(maps, fleet, tmp_path):
    pull(fleet.directory, fleet.store, tmp_path / 'copy')
    before, after = read_collection(maps), read_collection(tmp_path / 'copy')
    assert after.tiles == before.tiles  # ids, frames, areas, extents
    for tile in after.tiles:
        assert verify_map(tmp_path / 'copy' / tile.name).map_id == tile.map_id
    MapCollection(tmp_path / 'copy').close()
    assert {entry.session for entry in fleet.directory.entries} == {'monday'}
    again = put(maps, fleet, session='monday')
    assert (again.tiles, len(again.unchanged)) == ((), TILES)
    assert [fleet.server.count_places(f't{number}') for number in range(TILES)] == [PLACES] * TILES


def test_a_part_is_pulled_by_region_tile_and_session(maps, fleet, site, tmp_path):
    def names(of: Fleet, **part: object) -> list[str]:
        return [entry.tile.name for entry in of.directory.select(**part).entries]

    assert names(fleet, region=parse_region('xy:1050,10,990,-10')) == ['t1']
    # 0.01 degrees of longitude are 738 m here.
    assert names(fleet, region=parse_region('geo:48.49,9.09,48.51,9.11')) == ['t0']
    assert 'no tile' in refusal(lambda: fleet.directory.select(parse_region('xy:0,500,10,600')))
    assert 'there is no tile t9' in refusal(lambda: fleet.directory.select(tiles=['t9']))
    save_map(vector_map(MODEL, 51, 51_000.0), tmp_path / 'top')
    put(tmp_path / 'top', site, name='top "floor"', session='tuesday')
    assert 'top "floor"' in names(site)
    assert names(site, sessions=['tuesday']) == ['top "floor"']
    assert 'no tile' in refusal(lambda: names(site, tiles=['base'], sessions=['tuesday']))
    assert 'expected one frame' in refusal(
        lambda: names(site, region=parse_region('xy:0,-9,99999,9')))
    pull(site.directory.select(tiles=['top "floor"']), site.store, tmp_path / 'copy')
    assert [tile.name for tile in read_collection(tmp_path / 'copy').tiles] == ['top "floor"']


def test_a_tile_is_replaced_as_a_whole(site, tmp_path):
    save_map(vector_map(MODEL, 60, 60_000.0), tmp_path / 'old')
    save_map(vector_map(MODEL, 61, 60_000.0, PLACES + 10), tmp_path / 'new')
    put(tmp_path / 'old', site, name='replaced')
    seen: list[list[int]] = []
    ended = threading.Event()
    reader = FleetServer(site.server.address)

    def read() -> None:
        while not ended.is_set():
            seen.append([entry.tile.places for entry in read_directory(reader).entries
                         if entry.tile.name == 'replaced'])

    thread = threading.Thread(target=read)
    thread.start()
    try:
        old = site.server.versions()['replaced']
        put(tmp_path / 'new', site, name='replaced')
        eventually(lambda: seen[-1] == [PLACES + 10], 'the new version')
    finally:
        ended.set()
        thread.join()
        reader.close()
    assert sorted(map(tuple, {tuple(found) for found in seen})) == [(PLACES,), (PLACES + 10,)]
    assert site.server.versions()['replaced'] > old
    assert site.server.count_places('replaced') == PLACES + 10
    assert site.server.count_places('replaced', old) == 0


def test_a_push_that_breaks_off_leaves_the_old_version(site, tmp_path, monkeypatch):
    save_map(vector_map(MODEL, 70, 70_000.0), tmp_path / 'old')
    save_map(vector_map(MODEL, 71, 70_000.0), tmp_path / 'new')
    put(tmp_path / 'old', site, name='broken')

    with monkeypatch.context() as patch:
        patch.setattr(site.server, 'add_entry', cut)
        assert refusal(lambda: put(tmp_path / 'new', site, name='broken')) == 'the line was cut'
    assert site.server.count_places('broken') == 2 * PLACES
    entry = site.directory.find('broken')
    assert entry.tile.map_id == open_map(tmp_path / 'old').manifest.map_id
    put(tmp_path / 'new', site, name='broken')
    assert site.server.count_places('broken') == PLACES


def test_what_does_not_fit_is_refused_and_changes_nothing(maps, fleet, tmp_path):
    save_map(vector_map(vector_model(16), 1), tmp_path / 'foreign')
    save_map(vector_map(vector_model(length=5), 1), tmp_path / 'longer')
    before = fleet.directory
    assert 'was made with another model' in refusal(lambda: put(tmp_path / 'foreign', fleet))
    assert 'sequence length' in refusal(lambda: put(tmp_path / 'longer', fleet))
    assert 'are the same map' in refusal(lambda: put(maps / 't0', fleet, name='twin'))
    assert 'cannot name a tile' in refusal(lambda: put(maps / 't1', fleet, name='../up'))
    assert 'whose tiles have names' in refusal(lambda: put(maps, fleet, name='x'))
    assert fleet.directory == before
    assert sum(fleet.server.count_places(name) for name in ('foreign', 'longer', 'twin')) == 0


def test_archives_are_read_from_the_named_store_only(maps, fleet, tmp_path):
    directory = fleet.directory
    shutil.copytree(fleet.store.where, tmp_path / 'copied')
    copied = Store(str(tmp_path / 'copied'))
    archive = tmp_path / 'copied' / f'{directory.first.archive.sha256}.zip'
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    assert 'is damaged' in refusal(lambda: pull(directory, copied, tmp_path / 'to'))
    archive.unlink()
    assert 'has no readable file' in refusal(lambda: pull(directory, copied, tmp_path / 'to2'))
    for bad in ('', 'http://127.0.0.1/x', 's3://bucket'):
        assert refusal(lambda bad=bad: Store(bad))
    assert 'cannot be written to' in refusal(
        lambda: push(maps, fleet.server, Store('https://127.0.0.1/x'), bars=no_bar))


def test_an_entry_that_names_another_map_is_refused(fleet, tmp_path):
    entry = fleet.directory.first
    tile = entry.tile.model_copy(update={'map_id': 'b' * 16})
    forged = entry.model_copy(update={'tile': tile})
    assert 'but the server names bbb' in refusal(lambda: pull(
        Directory((forged,), 'there'), fleet.store, tmp_path / 'copy'))


def test_no_map_on_the_server(milvus, tmp_path):
    with connected(milvus, 'nothing', tmp_path) as empty:
        assert 'there is no map at milvus://127.0.0.1' in refusal(lambda: empty.directory)
        assert 'there is no map' in refusal(lambda: robot(empty, tmp_path))


# Search.


def test_the_server_finds_what_faiss_finds(site, tmp_path):
    save_map(vector_map(MODEL, 80, 80_000.0, places=4000), tmp_path / 'long')
    put(tmp_path / 'long', site, session='search')
    sequences = np.asarray(open_map(tmp_path / 'long').sequences)
    noise = np.random.default_rng(5).standard_normal((50, sequences.shape[1]))
    queries = (sequences[::80] + 0.02 * noise).astype(np.float32)
    hits = site.server.search(queries, 10, where(session='search'))
    found = 0
    for query, hit in zip(queries, hits, strict=True):
        distances, places = ExactIndex(sequences).search(query, 10)
        assert set(hit.tiles) == {'long'}
        found += len(set(places.tolist()) & set(hit.places.tolist()))
        np.testing.assert_allclose(hit.distances[0], distances[0], rtol=1e-3)
    assert found >= 0.98 * 10 * len(queries)
    box = where(box=(80_100, -1, 80_119, 1), tiles=['long'])
    boxed = site.server.search(queries[:1], 100, box)[0]
    assert sorted(boxed.places.tolist()) == list(range(100, 120))
    assert site.server.search(queries[:1], 5, where(fingerprint='another'))[0].tiles == []


def test_a_first_push_that_breaks_off_and_an_index_on_disk(milvus, tmp_path, monkeypatch):
    save_map(vector_map(MODEL, 1, places=400), tmp_path / 'disk')
    with connected(milvus, 'disk', tmp_path) as disk:
        with monkeypatch.context() as patch:
            patch.setattr(disk.server, 'insert_places', cut)
            assert refusal(lambda: put(tmp_path / 'disk', disk, index='DISKANN', shards=2))
        assert 'holds 0 tiles' in refusal(lambda: disk.directory)
        put(tmp_path / 'disk', disk)
        assert disk.server.index_kind() == 'DISKANN'
        sequences = np.asarray(open_map(tmp_path / 'disk').sequences)
        assert [hit.places[0] for hit in disk.server.search(sequences[[10, 300]], 3)] == [10, 300]
        disk.server.drop()
        assert not disk.server.exists()


def test_many_read_while_one_writes(site, tmp_path):
    failures: list[BaseException] = []
    ended = threading.Event()

    def ask() -> None:
        own = FleetServer(site.server.address)
        try:
            while not ended.is_set():
                found = own.search(views(50)[10:18], 5)
                assert all(hits.tiles[0] == 'base' for hits in found)
        except BaseException as error:
            failures.append(error)
        finally:
            own.close()

    readers = [threading.Thread(target=ask) for _ in range(4)]
    try:
        for thread in readers:
            thread.start()
        for number in range(2):
            save_map(vector_map(MODEL, 90 + number, 90_000.0 + 200 * number),
                     tmp_path / f'more{number}')
            put(tmp_path / f'more{number}', site)
    finally:
        ended.set()
        for thread in readers:
            thread.join()
    assert not failures
    assert {'more0', 'more1'} <= site.directory.versions.keys()


# Robots.


def test_a_robot_fetches_the_tiles_that_it_needs(maps, fleet, tmp_path):
    collection = robot(fleet, tmp_path)
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


def test_only_the_region_of_a_robot(fleet, tmp_path):
    collection = robot(fleet, tmp_path, region='xy:900,-5,2100,5')
    try:
        assert [tile.name for tile in collection.tiles] == ['t1', 't2']
    finally:
        collection.close()
    assert 'no tile' in refusal(lambda: robot(fleet, tmp_path, region='geo:10,10,11,11'))
    assert 'no tile' in refusal(lambda: robot(fleet, tmp_path, session='friday'))


def test_copies_give_way_to_newer_ones(tmp_path, fleet):
    config = FleetConfig(cache=str(tmp_path), cache_mb=1)
    cache = TileCache(fleet.server.address, config)
    entries = [entry.model_copy(update={'tile': entry.tile.model_copy(update={'bytes': 900_000})})
               for entry in fleet.directory.entries]
    for entry in entries[:2]:
        cache.fetch(entry, fleet.store, ())
        time.sleep(0.02)
    padding = np.zeros(450_000, np.uint8).tobytes()  # the maps are small
    for entry in entries[:2]:
        (cache.path_of(entry) / 'padding').write_bytes(padding)
    os.utime(cache.path_of(entries[0]), (1, 1))
    os.utime(cache.path_of(entries[1]), (2, 2))
    cache.touch(entries[0])
    cache.fetch(entries[2], fleet.store, ())
    assert [cache.has(entry) for entry in entries] == [False, False, True]
    cache.fetch(entries[0], fleet.store, [cache.path_of(entries[2])])
    assert [cache.has(entry) for entry in entries] == [True, False, True]  # in use


def test_copies_of_all_tiles_do_without_the_server(fleet, tmp_path):
    collection = robot(fleet, tmp_path, cache_mb=1)
    try:
        collection.fetch_all()
        copies = collection.reopen()
        # The maps are small: the first one alone is made to fill the folder.
        (collection.path_of(0) / 'padding').write_bytes(np.zeros(2_000_000, np.uint8).tobytes())
        os.utime(collection.path_of(0), (1, 1))
        shutil.rmtree(collection.path_of(2))
        assert 'expected fleet.cache_mb above' in refusal(collection.fetch_all)
        collection.fetch_all()
    finally:
        collection.close()
    assert [len(copies.open(number)) for number in range(TILES)] == [PLACES] * TILES
    again = copies.reopen()
    copies.close()
    assert again.read_first()[0].map_id == again.tiles[0].map_id
    again.close()


def test_a_recording_waits_for_its_tiles(fleet, tmp_path):
    config = FleetConfig(store=fleet.store.where, cache=str(tmp_path / 'cache'))
    collection = FleetCollection(fleet.server.address, config, waits=True)
    try:
        assert collection.ready((2, 0)) == (2, 0)
        assert collection.tiles_here == 2
    finally:
        collection.close()
    again = FleetCollection(fleet.server.address, config, waits=True)
    assert again.first == 0  # whatever was copied before
    again.close()


def test_a_damaged_copy_is_fetched_again(fleet, tmp_path):
    collection = robot(fleet, tmp_path)
    try:
        collection.open(0)
        collection.use_preparation(lambda found: found)  # closes it
        (collection.path_of(0) / 'manifest.json').write_text('{}')
        assert refusal(lambda: collection.open(0))
        assert len(collection.open(0)) == PLACES
        for file in collection.folder.glob('summary-*'):
            file.unlink()
    finally:
        collection.close()
    again = robot(fleet, tmp_path)
    assert again.tiles_here == 1
    again.close()


def test_a_newer_tile_is_noticed(site, tmp_path):
    save_map(vector_map(MODEL, 95, 95_000.0), tmp_path / 'old')
    save_map(vector_map(MODEL, 96, 95_000.0), tmp_path / 'new')
    put(tmp_path / 'old', site, name='newer', session='robot')
    collection = robot(site, tmp_path, session='robot')
    try:
        put(tmp_path / 'new', site, name='newer', session='robot')
        eventually(lambda: collection.watch.replaced == 1, 'noticing the newer tile')
        assert collection.open(0).manifest.map_id == open_map(tmp_path / 'old').manifest.map_id
    finally:
        collection.close()
    again = robot(site, tmp_path, session='robot')
    try:
        assert again.open(0).manifest.map_id == open_map(tmp_path / 'new').manifest.map_id
        assert again.watch.replaced == 0
    finally:
        again.close()


# A server with users and TLS, which is killed.


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
    with running_server(
            milvus_python, folder / 'data', authorization_enabled='true', tls_mode='1',
            server_pem_path=str(folder / 'server.pem'),
            server_key_path=str(folder / 'server.key')) as server:
        yield server, folder / 'server.pem'


@pytest.fixture
def trusted(guarded: tuple[MilvusServer, Path], monkeypatch: pytest.MonkeyPatch) -> MilvusServer:
    """The server, for those who have the password and trust the certificate."""
    server, certificate = guarded
    monkeypatch.setenv(CERTIFICATE, str(certificate))
    monkeypatch.setenv(CREDENTIALS, 'root:Milvus')
    return server


def test_users_and_tls(trusted, monkeypatch):
    def ask(tls: bool) -> str:
        server = FleetServer(trusted.address('nothing', tls), 5.0)
        try:
            return refusal(lambda: read_directory(server))
        finally:
            server.close()

    assert 'there is no map' in ask(tls=True)
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


def test_the_server_is_killed_and_comes_back(maps, trusted, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    drive = np.asarray(open_map(maps / 't2').sequences)[20:60]
    with connected(trusted, 'killed', tmp_path, tls=True) as fleet:
        put(maps, fleet)
        collection = robot(fleet, tmp_path)
        try:
            collection.open(0)
            trusted.kill()
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
        again = robot(fleet, tmp_path)
        try:
            assert not again.watch.is_there
            assert again.tiles_here == 2
            assert 'no copy of' in refusal(
                lambda: robot(fleet, tmp_path, cache=str(tmp_path / 'nothing')))
            trusted.start()
            eventually(lambda: again.watch.is_there, 'the server being back', 100)
            assert again.rank(drive, None, False)[0] == 2
        finally:
            again.close()
        assert fleet.directory.versions.keys() == {'t0', 't1', 't2'}
        assert fleet.server.count_places('t1') == PLACES  # nothing is lost
    told = [record.getMessage() for record in caplog.records]
    assert sum('going on with the' in line for line in told) == 2  # once for each robot
    assert sum('answers again after' in line for line in told) == 1
