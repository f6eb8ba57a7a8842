"""Cost of a keyframe of the loop closer as the drive grows.

``python -m benchmarks.loop_closing`` drives 100,000 places, ``make bench ARGS=--quick`` 10,000.
"""

import argparse
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import faiss
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.route import Route, make_route
from benchmarks.timing import measure_bandwidth
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.poses import make_pose
from seqnet_ros.localization.loop_closer import LoopCloser
from seqnet_ros.maps.index import GROWING_EXACT_BYTES, GrowingIndex
from seqnet_ros.models.place_model import PlaceModel, build_model
from seqnet_ros.sequences.aggregators import aggregate
from seqnet_ros.sequences.windows import trailing_windows

SIZES = (1_000, 10_000, 100_000)
_LOOKED_AT = 500
"""Keyframes, the last ones before each size, that the quantiles are of."""
_TOP_K = 20
_DIM = 512
_QUERIES = 300
_STEP_NS = 10 ** 8
_FLOOR_BYTES = 512 << 20


class Spread:
    """Median, 99th percentile and maximum of some seconds."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self.median, self.p99 = np.percentile(seconds, (50, 99))
        self.most = max(seconds)

    def __str__(self) -> str:
        """Return them in milliseconds."""
        return ' / '.join(f'{1e3 * value:.2f}' for value in (self.median, self.p99, self.most))


@dataclass(frozen=True)
class LoopReport:
    """Cost of a keyframe at a given number of places.

    Attributes:
        places: number of places.
        whole: everything in `LoopCloser.push` but the description of the image.
        insertion: of a sequence descriptor into the index.
        search: for 20 places in the index.
        compared: descriptors compared for one search, mean.
        search_floor: seconds to read those descriptors.
        recall: share of the 20 exactly nearest places among the 20 found.
    """

    places: int
    whole: Spread
    insertion: Spread
    search: Spread
    compared: float
    search_floor: float
    recall: float


@dataclass(frozen=True)
class LoopDrive:
    """All reports of a drive.

    Attributes:
        reports: one for each size.
        dearest: the most expensive keyframes: number and seconds.
        dearest_insertions: the most expensive insertions into the index: number and seconds.
    """

    reports: list[LoopReport]
    dearest: list[tuple[int, float]]
    dearest_insertions: list[tuple[int, float]]


class _Recorded:
    """A describer that looks descriptors up: an image is the number of its row."""

    name = 'recorded'
    weights_digest = ''
    sequence_tensors: ClassVar = {}

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows
        self.dim = rows.shape[1]

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([self._rows[int.from_bytes(image.tobytes(), 'big')] for image in images])


def _image_of(number: int) -> np.ndarray:
    return np.frombuffer(number.to_bytes(3, 'big'), dtype=np.uint8).reshape(1, 1, 3)


def _model(rows: np.ndarray) -> PlaceModel:
    model = build_model(parse_preset({
        'name': 'recorded', 'frame': {'kind': 'hog'}, 'sequence': {'length': 5},
        'keyframes': {'every': '1', 'min_change': 0.0}}), 'cpu')
    return dataclasses.replace(model, describer=_Recorded(rows))


def measure_loops(sizes: Sequence[int] = SIZES) -> LoopDrive:
    """Drive a synthetic route, a quarter of it on roads driven before."""
    route = make_route(max(sizes), _DIM)
    rows = np.empty((max(sizes), _DIM), dtype=np.float32)
    route.write_frames(rows)
    model = _model(rows)
    whole = _time_loop_closer(model, len(rows))
    indexed = _IndexRun(model, rows, route, sizes)
    reports = []
    for size in sizes:
        last = slice(size - _LOOKED_AT, size)
        reports.append(LoopReport(
            size, Spread(whole[last]), Spread(indexed.insertions[last]),
            Spread(indexed.searches[size]), indexed.compared[size],
            indexed.compared[size] * 4 * _DIM / measure_bandwidth(
                min(size * 4 * _DIM, _FLOOR_BYTES)), indexed.recall[size]))
    return LoopDrive(reports, _dearest(whole), _dearest(indexed.insertions))


def _dearest(seconds: Sequence[float], count: int = 5) -> list[tuple[int, float]]:
    return [(int(number), seconds[number]) for number in np.argsort(seconds)[-count:][::-1]]


def _time_loop_closer(model: PlaceModel, count: int) -> list[float]:
    """Return the seconds of every keyframe but for its description, of a drive with odometry."""
    closer = LoopCloser(model)
    seconds = []
    for number in range(count):
        result = closer.push(_image_of(number), number * _STEP_NS, make_pose(float(number), 0.0))
        assert result is not None
        seconds.append(result.match_seconds)
    return seconds


class _IndexRun:
    """The growing index alone: the same sequences, without centering."""

    def __init__(self, model: PlaceModel, rows: np.ndarray, route: Route,
                 sizes: Sequence[int]) -> None:
        length = model.engine.sequence.length
        sequences = aggregate(model.aggregator, rows,
                              trailing_windows(np.zeros(len(rows), dtype=int), length))
        index = GrowingIndex(sequences.shape[1])
        self.insertions: list[float] = []
        self.searches: dict[int, list[float]] = {}
        self.compared: dict[int, float] = {}
        self.recall: dict[int, float] = {}
        for number, sequence in enumerate(sequences):
            started = time.perf_counter()
            index.add(sequence[None])
            self.insertions.append(time.perf_counter() - started)
            if number + 1 in sizes:
                self._search(number + 1, index, sequences[:number + 1], model,
                             dataclasses.replace(route, states=route.states[:number + 1]))

    def _search(self, size: int, index: GrowingIndex, sequences: np.ndarray, model: PlaceModel,
                route: Route) -> None:
        """Look for stretches of the drive so far that are driven again."""
        _, queries = route.queries(_QUERIES, model)
        nearest = faiss.knn(queries, sequences, _TOP_K)[1]
        faiss.cvar.hnsw_stats.reset()
        found, self.searches[size] = [], []
        for query in queries:
            started = time.perf_counter()
            found.append(index.search(query, _TOP_K)[1])
            self.searches[size].append(time.perf_counter() - started)
        small = sequences.nbytes <= GROWING_EXACT_BYTES
        self.compared[size] = size if small else faiss.cvar.hnsw_stats.ndis / len(queries)
        self.recall[size] = float(np.mean([
            np.isin(exact, places).mean() for exact, places in zip(nearest, found, strict=True)]))


def loop_tables(drive: LoopDrive) -> list[Table]:
    """Return the results, human-readable."""
    table = Table('places', 'keyframe, ms', 'insertion, ms', 'search, ms', 'compared', 'floor, ms',
                  'ratio', 'recall@20', title='Loop closer, 512 dimensions: median / p99 / most')
    for report in drive.reports:
        table.add_row(
            f'{report.places:,}', str(report.whole), str(report.insertion), str(report.search),
            f'{report.compared:,.0f}', f'{1e3 * report.search_floor:.3f}',
            f'{report.search.median / report.search_floor:.1f}', f'{report.recall:.4f}')
    dearest = Table('what', 'the most expensive, ms (number)')
    for what, items in (('keyframes', drive.dearest), ('insertions', drive.dearest_insertions)):
        dearest.add_row(what, ', '.join(
            f'{1e3 * seconds:.1f} ({number:,})' for number, seconds in items))
    return [table, dearest]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.loop_closing', description=__doc__)
    parser.add_argument('--places', type=int, nargs='+', default=SIZES, help='sizes of the drive')
    console = Console(width=150)
    for table in loop_tables(measure_loops(parser.parse_args().places)):
        console.print(table)


if __name__ == '__main__':
    main()
