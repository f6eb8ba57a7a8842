"""Ground truth of sequences at the size of MSLS: ``python -m benchmarks.jist_ground_truth``.

Drives along random straight streets, several on each, a frame every 5 m. The baseline tests for
each query every frame of every database window, as the published code does.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from seqnet_ros.datasets.jist.sequence_folders import FrameTable, Sequences, make_sequences
from seqnet_ros.evaluation.jist.sequence_ground_truth import (
    cached_ground_truth,
    sequence_ground_truth,
)
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth, matches_within

_FRAMES = 52
_SPACING_M = 5.0
_TRAVERSES = 4
_EXTENT_M = 300_000.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--windows', type=int, default=720_000, help='database windows')
    parser.add_argument('--queries', type=int, default=360_000, help='query windows')
    parser.add_argument('--length', type=int, default=5, help='frames of a window')
    parser.add_argument('--baseline-queries', type=int, default=20)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    in_drive = _FRAMES - arguments.length + 1
    drives = [-(-count // in_drive) for count in (arguments.windows, arguments.queries)]
    streets = max(1, drives[0] // _TRAVERSES)
    started = time.perf_counter()
    street = np.column_stack([rng.uniform(0, _EXTENT_M, (streets, 2)),
                              rng.uniform(0, 2 * np.pi, streets)])
    database, queries = (
        make_sequences(_drive_along(street[rng.integers(streets, size=count)], rng),
                       arguments.length) for count in drives)
    print(f'{len(database)} database windows, {len(queries)} query windows of '
          f'{arguments.length} frames (made in {time.perf_counter() - started:.1f} s)')
    for radius in (10.0, 25.0):
        _measure(database, queries, radius, arguments.baseline_queries)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'peak memory of the process {grown:.0f} MiB')
    with tempfile.TemporaryDirectory() as folder:
        cached_ground_truth(folder, database, queries, 25.0)
        started = time.perf_counter()
        cached_ground_truth(folder, database, queries, 25.0)
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        print(f'read from its cache in {time.perf_counter() - started:.1f} s '
              f'({size / 1e6:.0f} MB)')


def _drive_along(streets: np.ndarray, rng: np.random.Generator) -> FrameTable:
    count = len(streets)
    along = np.arange(_FRAMES) * _SPACING_M + rng.uniform(0, _SPACING_M, (count, 1))
    heading = streets[:, 2:]
    x = streets[:, :1] + along * np.cos(heading) + rng.normal(0, 1, along.shape)
    y = streets[:, 1:2] + along * np.sin(heading) + rng.normal(0, 1, along.shape)
    names = tuple(f'{number:07d}' for number in range(count))
    return FrameTable(
        Path('drives'), tuple(f'{name}/{frame}.jpg' for name in names for frame in range(_FRAMES)),
        np.stack([x, y], axis=-1).reshape(-1, 2), np.tile(np.arange(_FRAMES), count),
        np.repeat(np.arange(count), _FRAMES), names, ('town',) * count)


def _measure(database: Sequences, queries: Sequences, radius: float, few: int) -> None:
    started = time.perf_counter()
    truth = sequence_ground_truth(database, queries, radius)
    ours = time.perf_counter() - started
    rows = np.random.default_rng(1).choice(len(queries), min(1000, len(queries)), replace=False)
    started = time.perf_counter()
    sequence_ground_truth(database, queries, radius, rows=rows)
    drawn = time.perf_counter() - started
    baseline = _published(database, queries, radius, rows[:few], truth)
    print(f'{radius:g} m: all queries {ours:.1f} s, {1e3 * ours / len(queries):.4f} ms a query; '
          f'{len(rows)} drawn ones {drawn:.2f} s; published way {1e3 * baseline:.1f} ms a query, '
          f'{baseline * len(queries) / ours:.0f} times as long; '
          f'{len(truth.indices) / len(queries):.0f} matches a query')


def _published(database: Sequences, queries: Sequences, radius: float, rows: np.ndarray,
               truth: GroundTruth) -> float:
    """Return seconds a query, without the search for frames within the radius."""
    near = [matches_within(database.frames.positions,
                           queries.frames.positions[queries.matched[row]], radius) for row in rows]
    started = time.perf_counter()
    found = [np.unique(np.flatnonzero(np.isin(database.matched, frames.indices).any(axis=1)))
             for frames in near]
    seconds = time.perf_counter() - started
    assert all(np.array_equal(windows, truth.matches(int(row)))
               for windows, row in zip(found, rows, strict=True))
    return seconds / len(rows)


if __name__ == '__main__':
    main()
