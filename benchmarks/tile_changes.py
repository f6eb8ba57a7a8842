"""Keyframes that change tiles: ``python -m benchmarks.tile_changes [PLACES] [--speed M_S]``.

A robot crosses the borders of tiles of a collection of `benchmarks.collections`, whose files were
dropped from the system's page cache before. Round the borders it drives as fast as ``--speed``
says, a keyframe each meter; elsewhere as fast as it is localized. Once tiles are opened and read
ahead, and once only when they are searched, each in a process of its own. Both must find the same.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.collections import (
    TILE_PLACES,
    World,
    cached_collection,
    make_model,
    tile_poses,
)
from benchmarks.process_memory import MemoryWatch
from seqnet_ros.core.poses import make_pose
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.collection.prior import PosePrior

_PLACES = 1_000_000
_TILES = 5
_LANE, _LANE_PLACES = 40, 1000
_LANE_GAP_M = 10.0
_BEFORE_M, _AFTER_M = 150, 100
"""Where round a border the robot drives at its speed."""
_WARM_UP = 30
_SPEEDS = 300.0, 20.0
_SAMPLED_S = 0.05


class OnDemand(MapCollection):
    """A collection that opens no tile ahead."""

    def prefetch(self, numbers: Iterable[int]) -> None:
        """Do nothing."""


_KINDS: dict[str, type[MapCollection]] = {'ahead': MapCollection, 'on demand': OnDemand}


def main() -> None:
    """Print a row for each speed and kind, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('places', type=int, nargs='?', default=_PLACES)
    parser.add_argument('--speed', type=float, action='append',
                        help='meters per second round the borders; default 300 and 20')
    parser.add_argument('--folder', type=Path, help='the collection, where it was made elsewhere')
    parser.add_argument('--tiles', type=int, default=_TILES, help='tiles along the way')
    parser.add_argument('--alone', choices=_KINDS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.folder or cached_collection(arguments.places)[0]
    speeds = arguments.speed or list(_SPEEDS)
    if arguments.alone:
        print(json.dumps(measure(
            folder, _KINDS[arguments.alone], speeds[0], arguments.tiles)))
        return
    for speed in speeds:
        found = set()
        for kind in _KINDS:
            done = subprocess.run(
                [sys.executable, '-m', 'benchmarks.tile_changes', '--folder', str(folder),
                 '--speed', str(speed), '--tiles', str(arguments.tiles), '--alone', kind],
                cwd=Path(__file__).resolve().parent.parent, stdout=subprocess.PIPE, text=True,
                check=True)
            row = json.loads(done.stdout)
            found.add(row['results'])
            print(json.dumps({'tiles': kind, 'speed': speed, **row}), flush=True)
        if len(found) > 1:
            sys.exit('the results differ')


def measure(folder: Path, kind: type[MapCollection], speed: float,
            tiles: int) -> dict[str, object]:
    """Cross the tiles in this process; times in milliseconds, memory in MB."""
    world, model = World(TILE_PLACES), make_model()
    model.describe(world.drive(0, np.arange(1), 0)[0])
    collection = kind(folder)
    tiles = min(tiles, len(collection.tiles))
    for number in range(tiles):
        drop_pages(collection.path_of(number))
    with MemoryWatch(_SAMPLED_S) as memory:
        engine = CollectionLocalizer(model, collection)
        milliseconds, changes, read, results = _cross(engine, world, speed, tiles)
        engine.close()
    usual, changing = milliseconds[~changes], milliseconds[changes]
    return {
        'usual_ms': float(np.median(usual)), 'usual_p99_ms': float(np.percentile(usual, 99)),
        'usual_most_ms': float(usual.max()), 'changes': len(changing),
        'change_ms': float(np.median(changing)), 'change_most_ms': float(changing.max()),
        'ratio': float(np.median(changing) / np.median(usual)),
        'read_mb_of_changes': float(read[changes].mean()),
        'read_mb_of_others': float(read[~changes].sum()), 'grown_mb': memory.grown.resident / 1e6,
        'anonymous_mb': memory.grown.anonymous / 1e6, 'results': results}


def drop_pages(folder: Path) -> None:
    """Drop the files of a map from the page cache."""
    for file in folder.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _cross(engine: CollectionLocalizer, world: World, speed: float,
           tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Drive from shortly before the first border to shortly after the last.

    Returns:
        of each keyframe its time in milliseconds, whether it changed the tiles that are searched,
        and the megabytes that it read from the disk; and a digest of what was found.
    """
    rows: list[tuple[float, bool, float]] = []
    digest = hashlib.sha256()
    count = engine.collection.tiles[0].places
    first = _LANE_PLACES - _BEFORE_M
    engine.use_prior('start', PosePrior('map', (float(first), _LANE * _LANE_GAP_M), 10.0))
    for tile in range(tiles):
        along_lane = np.arange(first if tile == 0 else 0,
                               _AFTER_M if tile == tiles - 1 else _LANE_PLACES)
        places = _LANE * _LANE_PLACES + along_lane
        poses = tile_poses(tile, count)[places]
        due = time.perf_counter()
        for along, pose, frame in zip(
                along_lane, poses, world.drive(tile, places, tile), strict=True):
            due += 1 / speed
            if not _AFTER_M <= along < first:
                time.sleep(max(due - time.perf_counter(), 0.0))
            due = max(due, time.perf_counter())
            used, read, started = engine.used_tiles, _read_mb(), time.perf_counter()
            result = engine.push(frame, len(rows) * 10**8,
                                 make_pose(pose[0] - 5.0, pose[1] + 3.0))
            rows.append((time.perf_counter() - started, used != engine.used_tiles,
                         _read_mb() - read))
            if len(rows) == _WARM_UP:
                engine.use_prior('start', None)
            if result is not None:
                digest.update(repr((result.reason, [
                    (one.map_id, one.place_id, one.score) for one in result.candidates])).encode())
    seconds, changes, megabytes = np.array(rows[_WARM_UP:]).T
    return seconds * 1e3, changes.astype(bool), megabytes, digest.hexdigest()[:16]


def _read_mb() -> float:
    """Return what this thread has read from the disk, which it waited for, MB."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock * 512 / 1e6


if __name__ == '__main__':
    main()
