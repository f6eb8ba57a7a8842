"""Cost of a collection of maps: ``python -m benchmarks.collections [PLACES ...] [--plot FILE]``.

Synthetic tiles of 100,000 places of 512 values are made under build/bench, and each collection is
measured in a process of its own. A tile is a field of 1,000 m by 1,000 m that is driven in 100
lanes, a place every meter. Its descriptors are those of `benchmarks.route`: views that change along
the route as those of real drives do, of one world for all tiles. The latent states of a tile are
those of the first with the signs of some dimensions changed at random; this keeps the distances
between its places but for noise, so that the graph of the first tile serves all. A sequence is one
frame, so that frames and sequences are one file.

A second drive crosses five tiles from west to east, with odometry and a position prior at its
start. Then 300 drives of 64 keyframes each, anywhere, are to be found in the right tile by the
summary alone.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from benchmarks.maps import CACHE
from benchmarks.process_memory import MemoryWatch
from benchmarks.route import LATENT_DIM, Route, make_route
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.poses import make_pose
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.maps.calibration import calibrate
from seqnet_ros.maps.collection.creation import create_collection
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.collection.prior import PosePrior
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.filter_calibration import calibrate_filter
from seqnet_ros.maps.index import HnswIndex, build_index
from seqnet_ros.maps.manifest_file import INDEX, MANIFEST, ManifestFile
from seqnet_ros.maps.place_map import MapManifest, PlaceMap
from seqnet_ros.models.place_model import PlaceModel, build_model

DIM = 512
TILE_PLACES = 100_000
_SIZES = 10_000, 100_000, 1_000_000
_LANE = 1000
_LANE_GAP_M = 10.0
_CELL_M = 1000.0
_COLUMNS = 10
_SHIFT = 0.6
"""As `benchmarks.route` shifts the views of a second drive."""
_CROSSED = 5
_QUERIES = 300
_WINDOWS = 8, 16, 32, 64
_WARM_UP = 30
_SAMPLED_S = 0.05


@dataclass(frozen=True)
class CollectionReport:
    """Cost of a collection of one size; times in milliseconds, memory in MB.

    Attributes:
        places: number of places.
        tiles: number of tiles.
        create_s: seconds to summarize the tiles.
        summary_mb: size of the summary.
        open_ms: opening the collection.
        start_ms: making the engine, which opens a tile.
        base_mb: resident memory of the process with its libraries, before.
        grown_mb: most resident memory along the route beyond that, mapped pages of files included.
        anonymous_mb: the part of it that belongs to the process alone.
        keyframe_ms: median of a keyframe while the robot is followed, with all work.
        keyframe_p99_ms: 99 of 100 keyframes take less.
        keyframe_most_ms: the slowest keyframe, which changes tiles.
        right: share of the accepted matches within 10 m of the truth.
        accepted: share of the keyframes with an accepted match.
        choice_ms: median of a search of the summary for 64 keyframes.
        recall: share of the drives whose tile is ranked first, by the number of keyframes.
        recall_of_two: the same of the first two, which the engine opens.
    """

    places: int
    tiles: int
    create_s: float
    summary_mb: float
    open_ms: float
    start_ms: float
    base_mb: float
    grown_mb: float
    anonymous_mb: float
    keyframe_ms: float
    keyframe_p99_ms: float
    keyframe_most_ms: float
    right: float
    accepted: float
    choice_ms: float
    recall: dict[str, float]
    recall_of_two: dict[str, float]


def main() -> None:
    """Print a row for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('places', type=int, nargs='*', default=list(_SIZES))
    parser.add_argument('--plot', type=Path, help='write the curves to this SVG file')
    parser.add_argument('--results', type=Path, default=CACHE / 'collections.json')
    parser.add_argument('--alone', type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(json.dumps(measure(arguments.alone, arguments.places[0])))
        return
    reports = []
    for places in arguments.places:
        folder, seconds = cached_collection(places)
        done = subprocess.run(
            [sys.executable, '-m', 'benchmarks.collections', '--alone', str(folder), str(places)],
            cwd=Path(__file__).resolve().parent.parent, stdout=subprocess.PIPE, text=True,
            check=True)
        reports.append(CollectionReport(create_s=seconds, **json.loads(done.stdout)))
        print(json.dumps(asdict(reports[-1])), flush=True)
    arguments.results.write_text(json.dumps([asdict(report) for report in reports], indent=1))
    if arguments.plot:
        plot(reports, arguments.plot)


def make_model() -> PlaceModel:
    """Return the model of descriptors that are made elsewhere; a sequence is one frame."""
    return build_model(parse_preset({
        'name': 'synthetic', 'frame': {'kind': 'precomputed', 'out_dim': DIM},
        'sequence': {'length': 1, 'aggregator': 'mean'}, 'keyframes': {'every': '1m'}}), 'cpu')


class World:
    """The tiles of a collection.

    Args:
        places: number of places of a tile.
    """

    def __init__(self, places: int) -> None:
        self._base = make_route(places, DIM)

    def route(self, tile: int) -> Route:
        """Return the route of a tile."""
        signs = np.random.default_rng(tile).choice(np.float32([-1, 1]), LATENT_DIM)
        states = self._base.states if tile == 0 else self._base.states * signs
        return Route(states, DIM, self._base.seed)

    def write(self, tile: int, frames: np.ndarray) -> None:
        """Fill the descriptors of a tile."""
        route = self.route(tile)
        step = 16_384
        for start in range(0, len(frames), step):
            block = route.states[start:start + step]
            frames[start:start + step] = route.describe(block, (tile + 1) * 100_000 + start)

    def drive(self, tile: int, places: np.ndarray, seed: int) -> np.ndarray:
        """Return what a second drive sees at places of a tile, float32 ``[K, DIM]``."""
        route = self.route(tile)
        shift = _SHIFT * np.random.default_rng([seed, 7]).standard_normal(
            (1, LATENT_DIM)).astype(np.float32)
        return route.describe(route.states[places] + shift, 2**40 + seed)


def tile_poses(tile: int, count: int) -> np.ndarray:
    """Return the poses of a tile, float64 ``[N, 7]``: lanes, by turns to the east and west."""
    number = np.arange(count)
    lane, along = number // _LANE, number % _LANE
    east = lane % 2 == 0
    poses = np.zeros((count, 7))
    poses[:, 0] = np.where(east, along, _LANE - 1 - along) + tile % _COLUMNS * _CELL_M
    poses[:, 1] = lane * _LANE_GAP_M + tile // _COLUMNS * _CELL_M
    poses[:, 5], poses[:, 6] = np.where(east, 0.0, 1.0), np.where(east, 1.0, 0.0)
    return poses


def cached_collection(places: int) -> tuple[Path, float]:
    """Return the folder of a collection and the seconds it took to summarize its tiles."""
    tile_places = min(places, TILE_PLACES)
    model = make_model()
    folder = CACHE / f'collection-{places}'
    folder.mkdir(parents=True, exist_ok=True)
    maps = [_cached_tile(model, tile_places, number, folder)
            for number in range(max(places // tile_places, 1))]
    started = time.perf_counter()
    create_collection(folder, maps, areas={}, frame='map', overwrite=True)
    return folder, time.perf_counter() - started


def _cached_tile(model: PlaceModel, places: int, tile: int, folder: Path) -> Path:
    """Return a tile within a folder; its files are shared with other collections."""
    digest = hashlib.sha256(model.fingerprint.encode())
    digest.update(Path(str(sys.modules[Route.__module__].__file__)).read_bytes())
    shared = CACHE / f'tiles-{places}-{digest.hexdigest()[:12]}' / f'{tile:03d}'
    if not (shared / MANIFEST).is_file():
        _write_tile(model, places, tile, shared)
    path = folder / f'{tile:03d}'
    if not path.is_dir():
        shutil.copytree(shared, path, copy_function=os.link)
    return path


def _write_tile(model: PlaceModel, places: int, tile: int, path: Path) -> None:
    world = World(places)
    first = path.parent / '000'
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    frames = open_memmap(path / 'frames.npy', 'w+', np.float32, (places, DIM))
    world.write(tile, frames)
    frames.flush()
    (path / 'sequences.npy').hardlink_to(path / 'frames.npy')
    poses = tile_poses(tile, places)
    arrays = {'mean': np.zeros(DIM, np.float32), 'stamps_ns': np.arange(places) * 10**8,
              'poses': poses, 'segment_starts': np.arange(places) // _LANE * _LANE}
    for name, array in arrays.items():
        np.save(path / f'{name}.npy', array)
    index = build_index(frames) if tile == 0 else None
    if isinstance(index, HnswIndex):
        index.save(path / INDEX)
    elif tile and (first / INDEX).is_file():
        (path / INDEX).hardlink_to(first / INDEX)
    manifest = MapManifest(
        map_id=f'synthetic-{places}-{tile}', model=model.config, engine=model.engine,
        fingerprint=model.fingerprint, places=places, dim=DIM, sequence_dim=DIM,
        sequence_length=1, spacing='1m', usual_change=1.0, route_length_m=float(places - 1),
        source='synthetic route', pose_origin='synthetic')
    if index is not None:
        place_map = PlaceMap(manifest, frames, frames, index=index, **arrays)
        place_map = place_map.with_calibration(calibrate(model, place_map, model.engine.matching))
        manifest = place_map.with_filter_calibration(
            calibrate_filter(place_map, model.engine.filter)).manifest
    else:
        made = json.loads((first / MANIFEST).read_text())
        known = ManifestFile.model_validate(
            {'manifest': made['manifest'], 'files': made['files']}).manifest
        manifest = manifest.model_copy(update={
            'calibration': known.calibration, 'filter_calibration': known.filter_calibration})
    files = {}
    for entry in sorted(path.iterdir()):
        same = 'frames.npy' if entry.name == 'sequences.npy' else entry.name
        files[entry.name] = files[same] if same in files else FileRecord.of_file(entry)
    (path / MANIFEST).write_bytes(ManifestFile(manifest=manifest, files=files).to_bytes())


def measure(folder: Path, places: int) -> dict[str, object]:
    """Measure a collection in this process."""
    model = make_model()
    world = World(min(places, TILE_PLACES))
    model.describe(world.drive(0, np.arange(1), 0)[0])
    with MemoryWatch(_SAMPLED_S) as memory:
        started = time.perf_counter()
        collection = MapCollection(folder)
        opened = time.perf_counter()
        engine = CollectionLocalizer(model, collection)
        ready = time.perf_counter()
        route = _follow(engine, world)
    choice = _choose(engine, collection, world)
    engine.close()
    return {'places': places, 'tiles': len(collection.tiles),
            'summary_mb': collection.manifest.summary.rows.bytes / 1e6,
            'open_ms': (opened - started) * 1e3, 'start_ms': (ready - opened) * 1e3,
            'base_mb': memory.first.resident / 1e6, 'grown_mb': memory.grown.resident / 1e6,
            'anonymous_mb': memory.grown.anonymous / 1e6, **route, **choice}


def _follow(engine: CollectionLocalizer, world: World) -> dict[str, float]:
    """Cross tiles from west to east along a lane that all have."""
    count = engine.collection.tiles[0].places
    lane = 4 if count < TILE_PLACES else 40
    crossed = [tile for tile in range(_CROSSED) if tile < len(engine.collection.tiles)]
    seconds, accepted, right, number = [], 0, 0, 0
    engine.use_prior('start', PosePrior('map', (0.0, lane * _LANE_GAP_M), 10.0))
    for tile in crossed:
        places = lane * _LANE + np.arange(_LANE)
        poses = tile_poses(tile, count)[places]
        for frame, pose in zip(world.drive(tile, places, tile), poses, strict=True):
            odometry = make_pose(pose[0] - 5.0, pose[1] + 3.0)
            started = time.perf_counter()
            result = engine.push(frame, number * 10**8, odometry)
            seconds.append(time.perf_counter() - started)
            if number == _WARM_UP:
                engine.use_prior('start', None)
            number += 1
            if result is not None and result.accepted and result.best is not None:
                found = result.best.pose if result.pose is None else result.pose
                accepted += 1
                right += bool(np.linalg.norm(found[:2] - pose[:2]) <= 10.0)
    milliseconds = np.array(seconds[_WARM_UP:]) * 1e3
    return {'keyframe_ms': float(np.median(milliseconds)),
            'keyframe_p99_ms': float(np.percentile(milliseconds, 99)),
            'keyframe_most_ms': float(milliseconds.max()),
            'right': right / max(accepted, 1), 'accepted': accepted / len(seconds)}


def _drives(tiles: int, count: int) -> Iterator[tuple[int, np.ndarray]]:
    random = np.random.default_rng(5)
    for _ in range(_QUERIES):
        tile, lane = int(random.integers(tiles)), int(random.integers(count // _LANE))
        start = lane * _LANE + int(random.integers(_LANE - max(_WINDOWS)))
        yield tile, start + np.arange(max(_WINDOWS))


def _choose(engine: CollectionLocalizer, collection: MapCollection,
            world: World) -> dict[str, object]:
    """Find the tiles of drives by the summary alone."""
    seconds = []
    ranks: dict[int, list[int]] = {window: [] for window in _WINDOWS}
    tiles = len(collection.tiles)
    for number, (tile, places) in enumerate(_drives(tiles, collection.tiles[0].places)):
        frames = world.drive(tile, places, 1000 + number)
        for window in _WINDOWS:
            started = time.perf_counter()
            ranked, _ = collection.summary.rank(frames[-window:])
            if window == max(_WINDOWS):
                seconds.append(time.perf_counter() - started)
            ranks[window].append(int(np.flatnonzero(ranked == tile)[0]))
    return {'choice_ms': float(np.median(seconds) * 1e3),
            'recall': {str(key): float(np.mean(np.array(found) == 0))
                       for key, found in ranks.items()},
            'recall_of_two': {str(key): float(np.mean(np.array(found) < 2))
                              for key, found in ranks.items()}}


def plot(reports: list[CollectionReport], file: Path) -> None:
    """Draw how the cost grows with the number of places."""
    import matplotlib as mpl

    mpl.use('svg')
    from matplotlib import pyplot

    mpl.rcParams['svg.hashsalt'] = 'collections'
    places = [report.places for report in reports]
    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout='constrained')
    for label, values in (
            ('open', [report.open_ms for report in reports]),
            ('keyframe, followed', [report.keyframe_ms for report in reports]),
            ('choice of the tile', [report.choice_ms for report in reports])):
        times.plot(places, values, 'o-', label=label)
    for label, values in (
            ('resident, along a route', [report.grown_mb for report in reports]),
            ('of it anonymous', [report.anonymous_mb for report in reports]),
            ('summary on disk', [report.summary_mb for report in reports])):
        memory.plot(places, values, 'o-', label=label)
    for axes, unit in ((times, 'ms'), (memory, 'MB')):
        axes.set(xscale='log', yscale='log', xlabel='places', ylabel=unit)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.savefig(file, format='svg', metadata={'Date': None})


if __name__ == '__main__':
    main()
