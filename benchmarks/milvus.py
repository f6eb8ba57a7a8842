"""A map of a fleet on a Milvus server: ``python -m benchmarks.milvus [--places N] [--index KIND]``.

Starts a real server on this machine, in an environment of its own under build/bench, and writes the
places of a drive of `benchmarks.route` to it: descriptors of 512 values, in tiles of 10,000 places,
on a straight road. Descriptors of a second drive along it are searched; what faiss finds by
comparing all is the truth. Drives of 16 places ask which tile they are in, as a robot that is lost
does. Then robots in processes of their own search ten times a second, while another process writes
a tile of as many places every five seconds. At last the server is killed and started again.
"""

import argparse
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.maps import CACHE
from benchmarks.milvus_server import MilvusServer, install
from benchmarks.process_memory import process_memory
from benchmarks.route import LATENT_DIM, Route, make_route
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import FleetError
from seqnet_ros.maps.builder import build_map
from seqnet_ros.maps.collection.collection_file import Tile
from seqnet_ros.maps.collection.extent import Extent
from seqnet_ros.maps.fleet.address import parse_address
from seqnet_ros.maps.fleet.directory import StoredFile, TileEntry
from seqnet_ros.maps.fleet.server import FleetServer, IndexKind, PlaceRows, where
from seqnet_ros.maps.fleet.tile_search import order_tiles
from seqnet_ros.maps.map_archive import export_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.models.place_model import build_model

DIM = 512
TILE_PLACES = 10_000
_SHIFT = 0.6
"""As `benchmarks.route` shifts the views of a second drive."""
_QUERIES = 1000
_NEIGHBOURS = 10
_ROBOTS, _RATE_HZ, _SECONDS = 8, 10.0, 30.0
_DRIVES, _DRIVE = 100, 16
"""Drives, and the keyframes of each, that tiles are asked for."""
_WRITTEN_EVERY_S = 5.0
"""A tile is written so often while robots search."""
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Asked:
    """What one robot saw.

    Attributes:
        seconds: duration of each answer.
        right: how many named the right tile first.
        failed: how many calls failed.
    """

    seconds: list[float]
    right: int
    failed: int


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.milvus', description=__doc__)
    parser.add_argument('--places', type=int, default=100_000)
    parser.add_argument('--index', choices=('HNSW', 'DISKANN'), default='HNSW')
    options = parser.parse_args()
    folder = CACHE / 'milvus-data'
    shutil.rmtree(folder, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    server = MilvusServer(install(CACHE / 'milvus'), folder)
    started = time.perf_counter()
    server.start()
    _say('start of the server', f'{time.perf_counter() - started:.1f} s')
    try:
        _measure(server, options.places, options.index)
    finally:
        server.kill()


def _measure(server: MilvusServer, places: int, index: IndexKind) -> None:
    route = make_route(places, DIM)
    descriptors = np.empty((places, DIM), np.float32)
    route.write_frames(descriptors)
    fleet = FleetServer(server.address('fleet'), 60.0)
    fleet.create(DIM, index)
    empty_memory, empty_disk = process_memory(server.pid).anonymous, _sizes(server.folder)
    started = time.perf_counter()
    for number in range(places // TILE_PLACES):
        entry = _entry(number)
        fleet.insert_places(entry, _rows(descriptors, number))
        fleet.add_entry(entry)
    _say(f'writing {places} places', f'{time.perf_counter() - started:.1f} s')
    started = time.perf_counter()
    fleet.flush()
    _wait_for_index(fleet, places)
    _say(f'{index} index', f'{time.perf_counter() - started:.1f} s')
    time.sleep(20)  # until segments in memory give way to those with the index
    _search(fleet, route, descriptors)
    memory = process_memory(server.pid).anonymous - empty_memory
    _say('memory', f'{memory / places:.0f} bytes a place')
    for name, size in _sizes(server.folder).items():
        _say(f'disk, {name}', f'{(size - empty_disk.get(name, 0)) / places:.0f} bytes a place')
    _say('archive of a tile', f'{_archived():.0f} bytes a place')
    _fleet(server, route, places)
    _kill(server, fleet, descriptors)
    fleet.close()


def _search(fleet: FleetServer, route: Route, descriptors: np.ndarray) -> None:
    """Compare searches with those among all descriptors."""
    truth = np.random.default_rng(1).choice(len(descriptors), _QUERIES, replace=False)
    queries = _views(route, truth, 1)
    _, nearest = faiss.knn(queries, descriptors, _NEIGHBOURS)
    for name, condition, meant in (
            ('all places', where(fingerprint='benchmark'), None),
            ('one tile', where(tiles=['tile 3']), (3 * TILE_PLACES, 4 * TILE_PLACES)),
            ('a region of 2,000 m', where(box=(41_000, -1, 43_000, 1)), (41_000, 43_001))):
        expected = nearest
        if meant is not None:
            _, within = faiss.knn(queries, descriptors[slice(*meant)], _NEIGHBOURS)
            expected = within + meant[0]
        found, seconds = 0, []
        for query, wanted in zip(queries, expected, strict=True):
            started = time.perf_counter()
            hits = fleet.search(query[None], _NEIGHBOURS, condition)[0]
            seconds.append(time.perf_counter() - started)
            numbers = {int(tile.split()[1]) * TILE_PLACES + place
                       for tile, place in zip(hits.tiles, hits.places.tolist(), strict=True)}
            found += len(numbers & set(wanted.tolist()))
        _say(f'recall of 10, {name}', f'{found / expected.size:.4f}')
        _say(f'search, {name}', f'{_percentiles(seconds)}')
    started = time.perf_counter()
    exact = []
    for query in queries[:100]:
        started = time.perf_counter()
        faiss.knn(query[None], descriptors, _NEIGHBOURS)
        exact.append(time.perf_counter() - started)
    _say('comparing all with faiss', _percentiles(exact))
    random = np.random.default_rng(2)
    seconds, right = [], 0
    for number in range(_DRIVES):
        tile = int(random.integers(len(descriptors) // TILE_PLACES))
        first = tile * TILE_PLACES + int(random.integers(TILE_PLACES - _DRIVE))
        drive = _views(route, np.arange(first, first + _DRIVE), number)
        started = time.perf_counter()
        right += order_tiles(fleet, drive, 'benchmark')[:1] == [f'tile {tile}']
        seconds.append(time.perf_counter() - started)
    _say(f'tile of a drive of {_DRIVE} places',
         f'{_percentiles(seconds)}, right {right / _DRIVES:.3f}')


def _fleet(server: MilvusServer, route: Route, places: int) -> None:
    """Let robots ask while one writes."""
    context = multiprocessing.get_context('spawn')
    begin = context.Event()
    written = context.Value('i', 0)
    ended = context.Event()
    writer = context.Process(target=_write_on, args=(
        str(server.address('fleet')), places, begin, ended, written))
    writer.start()
    answers = context.Queue()
    start = context.Barrier(_ROBOTS + 1)
    robots = [context.Process(target=_ask, args=(
        str(server.address('fleet')), places, number, start, answers))
        for number in range(_ROBOTS)]
    for robot in robots:
        robot.start()
    start.wait(_PATIENCE_S)
    begin.set()
    began = time.perf_counter()
    asked: list[Asked] = [answers.get(timeout=_PATIENCE_S) for _ in robots]
    took = time.perf_counter() - began
    ended.set()
    for process in (*robots, writer):
        process.join(_PATIENCE_S)
    seconds = [one for robot in asked for one in robot.seconds]
    _say(f'{_ROBOTS} robots at {_RATE_HZ:g} Hz, one writes',
         f'{_percentiles(seconds)}, {len(seconds)} answers, '
         f'{sum(robot.failed for robot in asked)} failed')
    right = sum(robot.right for robot in asked) / len(seconds)
    _say('their nearest place in the right tile', f'{right:.3f}')
    _say('written meanwhile', f'{written.value} places in {took:.0f} s')


def _ask(text: str, places: int, number: int, start: Any, answers: Any) -> None:
    """Ask for tiles at a steady rate, as one robot."""
    route = make_route(places, DIM)
    fleet = FleetServer(parse_address(text), 10.0)
    fleet.index_kind()
    random = np.random.default_rng(number)
    seconds: list[float] = []
    right = failed = 0
    start.wait(_PATIENCE_S)
    begin = time.time()
    for tick in range(int(_SECONDS * _RATE_HZ)):
        time.sleep(max(begin + tick / _RATE_HZ - time.time(), 0))
        tile = int(random.integers(places // TILE_PLACES))
        first = tile * TILE_PLACES + int(random.integers(TILE_PLACES))
        view = _views(route, np.array([first]), tick)
        started = time.perf_counter()
        try:
            hits = fleet.search(view, _NEIGHBOURS, where(fingerprint='benchmark'))[0]
        except FleetError:
            failed += 1
            continue
        seconds.append(time.perf_counter() - started)
        right += hits.tiles[:1] == [f'tile {tile}']
    fleet.close()
    answers.put(Asked(seconds, right, failed))


def _write_on(text: str, places: int, begin: Any, ended: Any, written: Any) -> None:
    """Write tile after tile of another road."""
    fleet = FleetServer(parse_address(text), 60.0)
    other = make_route(TILE_PLACES, DIM, seed=1)
    descriptors = np.empty((TILE_PLACES, DIM), np.float32)
    other.write_frames(descriptors)
    begin.wait()
    for number in range(places // TILE_PLACES, 10_000):
        if ended.wait(_WRITTEN_EVERY_S):
            break
        entry = _entry(number)
        fleet.insert_places(entry, PlaceRows(descriptors, _positions(number), None))
        fleet.add_entry(entry)
        written.value += TILE_PLACES
    fleet.close()


def _kill(server: MilvusServer, fleet: FleetServer, descriptors: np.ndarray) -> None:
    """Kill the server, start it, and wait for the first answer."""
    def answers() -> list[tuple[str, int]]:
        hits = fleet.search(descriptors[:1000:100], 1, timeout_s=1.0)
        return [(hit.tiles[0], int(hit.places[0])) for hit in hits]

    before = answers()
    server.kill()
    started = time.perf_counter()
    server.start()
    healthy = time.perf_counter() - started
    wrong = failed = 0
    while True:
        try:
            if answers() == before:
                break
            wrong += 1
        except FleetError:
            failed += 1
        time.sleep(0.1)
        if time.perf_counter() - started > _PATIENCE_S:
            raise SystemExit('the server did not recover')
    _say('killed: healthy after', f'{healthy:.1f} s')
    _say('killed: answers after', f'{time.perf_counter() - started:.1f} s '
                                  f'({failed} refused, {wrong} incomplete)')


def _wait_for_index(fleet: FleetServer, places: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while fleet.indexed_places() < places:
        if time.monotonic() > end:
            raise SystemExit('the index was not built in time')
        time.sleep(1.0)


def _entry(number: int) -> TileEntry:
    positions = _positions(number)
    file = StoredFile(bytes=1, sha256='0' * 64)
    return TileEntry(
        version=1, session='benchmark', model='benchmark', fingerprint='benchmark', dim=DIM,
        sequence_length=1, spacing='1m', archive=file, rows=file, axes=file, store='nowhere',
        tile=Tile(name=f'tile {number}', map_id=f'map {number}', places=TILE_PLACES, bytes=1,
                  rows=TILE_PLACES, scene=(0.5, 0.1, 0.0, 0.1), frame='map',
                  extent=Extent.of(positions)))


def _rows(descriptors: np.ndarray, number: int) -> PlaceRows:
    first = number * TILE_PLACES
    return PlaceRows(descriptors[first:first + TILE_PLACES], _positions(number), None)


def _archived() -> float:
    """Return the bytes a place that the archive of a map has, whose sequences are frames."""
    places = 2000
    model = build_model(parse_preset({
        'name': 'vectors', 'frame': {'kind': 'precomputed', 'out_dim': DIM},
        'sequence': {'length': 1, 'aggregator': 'mean'}}), 'cpu')
    frames = np.empty((places, DIM), np.float32)
    make_route(places, DIM).write_frames(frames)
    poses = np.zeros((places, 7))
    poses[:, 0], poses[:, 6] = np.arange(places), 1.0
    with tempfile.TemporaryDirectory() as folder:
        save_map(build_map(model, frames, np.arange(places), poses, np.zeros(places, int), '1m',
                           'route', 'synthetic'), Path(folder) / 'map')
        return export_map(Path(folder) / 'map', Path(folder) / 'map.zip',
                          with_weights=False).bytes / places


def _positions(number: int) -> np.ndarray:
    positions = np.zeros((TILE_PLACES, 3))
    positions[:, 0] = number * TILE_PLACES + np.arange(TILE_PLACES)
    return positions


def _views(route: Route, places: np.ndarray, seed: int) -> np.ndarray:
    """Return what a second drive sees at places."""
    moved = np.random.default_rng([7, seed]).standard_normal(LATENT_DIM) * _SHIFT
    return route.describe((route.states[places] + moved).astype(np.float32), 100 + seed)


def _say(what: str, value: str) -> None:
    print(f'{what:<40} {value}', flush=True)


def _percentiles(seconds: list[float]) -> str:
    median, high = np.percentile(seconds, (50, 99)) * 1e3
    return f'p50 {median:.1f} ms, p99 {high:.1f} ms'


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes in each kind of data of a server."""
    sizes: dict[str, int] = {}
    for path in _files(folder / 'data'):
        kind = path.relative_to(folder / 'data').parts[0]
        sizes[kind] = sizes.get(kind, 0) + path.stat().st_blocks * 512
    return sizes


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob('*') if path.is_file() and not path.is_symlink())


if __name__ == '__main__':
    main()
