"""The test protocol of JIST and SeqVLAD on sequences.

Berton et al., "JIST: Joint Image and Sequence Training for Sequential Visual Place Recognition",
RA-L 2024. All database windows of a split are searched, by the L2 distance of the descriptors.
Queries without any match are excluded::

    database, queries = (make_sequences(read_frames(split, side), 5).compact() for side in SIDES)
    described = describe_all(database, describe), describe_all(queries, describe)
    truth = sequence_ground_truth(database, queries, radius=25.0)
    report = evaluate(*described, SeqGeM(), truth)
    print(report)                                       # R@1: 43.4, R@5: 67.5, ...

Every frame is described once, however many windows it is in.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from torch import nn

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.jist.sequence_folders import Sequences
from seqnet_ros.datasets.prefetch import prefetch_images
from seqnet_ros.evaluation.jist.pca import FITTED_ROWS, Pca, fit_pca
from seqnet_ros.evaluation.jist.sequence_ground_truth import Rule, sequence_ground_truth
from seqnet_ros.evaluation.metrics.ground_truth import (
    RECALL_NS,
    GroundTruth,
    Recalls,
    first_hits,
    recall_at,
)
from seqnet_ros.evaluation.nearest_neighbors import Predictions, nearest_descriptors, smallest
from seqnet_ros.sequences.aggregators import aggregate
from seqnet_ros.sequences.centring import centre

_BLOCK_BYTES = 128 << 20
_BATCH = 16

Describe = Callable[[list[np.ndarray]], np.ndarray]
"""Maps images RGB uint8 ``[H, W, 3]`` to frame descriptors float32 ``[B, D]``."""


@dataclass(frozen=True, eq=False)
class Described:
    """Sequences and the descriptors of their frames.

    Attributes:
        sequences: windows of F frames.
        descriptors: float32 ``[F, D]``, may be memory-mapped.
        damaged: errors of unreadable images, whose windows were skipped.
    """

    sequences: Sequences
    descriptors: np.ndarray
    damaged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the descriptors belong to the frames.

        Raises:
            InputError: there is not one descriptor for each frame.
        """
        frames = len(self.sequences.frames)
        if self.descriptors.ndim != 2 or len(self.descriptors) != frames:
            raise InputError(f'descriptors have shape {list(self.descriptors.shape)}, expected '
                             f'[{frames}, D]: one for each frame')


@dataclass(frozen=True, eq=False)
class Report:
    """Results of an evaluation.

    Attributes:
        recalls: Recall@n over all queries that have a match.
        by_city: the same for the queries of each city; the database is that of all cities. Cities
            without any match are omitted.
        unmatched_by_city: number of queries of each city without a match; recalls exclude them.
        predictions: rows of the database windows for each query window, best first.
        places: number of database windows.
        bytes_per_place: of a database window's descriptor.
        seconds_per_query: time to aggregate, project and search one query.
    """

    recalls: Recalls
    by_city: dict[str, Recalls]
    unmatched_by_city: dict[str, int]
    predictions: Predictions
    places: int
    bytes_per_place: int
    seconds_per_query: float

    def __str__(self) -> str:
        """Return ``R@1: 43.4, R@5: 67.5, ...`` in percent."""
        return percentages(self.recalls)


def percentages(recalls: Recalls) -> str:
    """Return recalls in percent with one decimal, as the published code prints them."""
    return ', '.join(f'R@{n}: {100 * value:.1f}' for n, value in recalls.values.items())


def describe_all(sequences: Sequences, describe: Describe, batch: int = _BATCH,
                 progress: Callable[[int], None] = lambda _: None) -> Described:
    """Describe each frame once; windows with an unreadable image are skipped.

    Threads decode the next images meanwhile. Frames that no window uses are described, too: see
    `Sequences.compact`.

    Args:
        sequences: windows of frames on disk.
        describe: the frame encoder.
        batch: images given to it at once.
        progress: called with the number of frames done.

    Raises:
        InputError: no window remains.
    """
    frames = sequences.frames
    lost = np.zeros(len(frames), dtype=bool)
    damaged: list[str] = []
    descriptors: np.ndarray | None = None
    with closing(prefetch_images(map(frames.path, range(len(frames))), batch)) as pixels:
        for start in range(0, len(frames), batch):
            rows, images = [], []
            for row, image in enumerate(islice(pixels, batch), start):
                if not isinstance(image, InputError):
                    images.append(image)
                    rows.append(row)
                else:
                    lost[row] = True
                    damaged.append(str(image))
            if rows:
                made = describe(images)
                if descriptors is None:
                    descriptors = np.zeros((len(frames), made.shape[1]), dtype=np.float32)
                descriptors[rows] = made
            progress(min(start + batch, len(frames)))
    if descriptors is None:
        raise InputError(f'none of the {len(frames)} images can be read: {damaged[0]}')
    kept = sequences.without_frames(lost) if damaged else sequences
    return Described(kept, descriptors, tuple(damaged))


def centre_all(described: Described) -> Described:
    """Subtract the mean of all frames of a side, for models with centering."""
    used = np.unique(described.sequences.windows)
    mean = described.descriptors[used].mean(axis=0)
    return replace(described, descriptors=centre(described.descriptors, mean))


def evaluate(database: Described, queries: Described, aggregator: nn.Module, truth: GroundTruth,
             ns: Sequence[int] = RECALL_NS, pca_dim: int | None = None, seed: int = 0) -> Report:
    """Search every query window among all database windows and measure Recall@n.

    Memory is bounded: sequence descriptors are made block by block.

    Args:
        database: windows that are searched.
        queries: windows to search for.
        aggregator: module that maps ``[B, L, D]`` to ``[B, D']``.
        truth: ground truth of the same windows.
        ns: how many of the first predictions count.
        pca_dim: project sequence descriptors to this many principal components, fitted to at most
            16,384 random windows of the database.
        seed: seed of this sample.

    Raises:
        InputError: the ground truth is of other windows, no query has a match, descriptors of the
            two sides differ in dimension, or there are fewer principal components than requested.
    """
    if len(truth.has_match) != len(queries.sequences) or (
            truth.references != len(database.sequences)):
        raise InputError(
            f'the ground truth has {len(truth.has_match)} queries and {truth.references} places, '
            f'expected {len(queries.sequences)} and {len(database.sequences)}')
    if database.descriptors.shape[1] != queries.descriptors.shape[1]:
        raise InputError(f'database descriptors have {database.descriptors.shape[1]} values, '
                         f'query descriptors {queries.descriptors.shape[1]}, expected as many')
    pca = None if pca_dim is None else _fit(database, aggregator, pca_dim, seed)
    predictions, dim, seconds = _search(database, queries, aggregator, pca, max(ns))
    by_city, unmatched = _by_city(predictions, truth, queries.sequences, ns)
    return Report(recall_at(predictions.indices, truth, ns), by_city, unmatched, predictions,
                  len(database.sequences), 4 * dim, seconds / len(queries.sequences))


def recalls_at_radii(report: Report, database: Sequences, queries: Sequences,
                     radii: Sequence[float], rule: Rule = 'any',
                     ns: Sequence[int] = RECALL_NS) -> dict[float, Recalls]:
    """Measure the recall of an evaluated search with other radii or another rule.

    Queries without a match at a radius are excluded for that radius; radii at which no query has
    one are omitted.

    Args:
        report: of `evaluate`.
        database: windows that were searched.
        queries: windows that were searched for.
        radii: meters, inclusive.
        rule: see `sequence_ground_truth`.
        ns: how many of the first predictions count.
    """
    truths = {radius: sequence_ground_truth(database, queries, radius, rule) for radius in radii}
    return {radius: recall_at(report.predictions.indices, truth, ns)
            for radius, truth in truths.items() if truth.has_match.any()}


def _fit(database: Described, aggregator: nn.Module, dim: int, seed: int) -> Pca:
    windows = database.sequences.windows
    rows = np.random.default_rng(seed).choice(
        len(windows), min(FITTED_ROWS, len(windows)), replace=False)
    return fit_pca(aggregate(aggregator, database.descriptors, windows[np.sort(rows)]), dim)


def _sequence_descriptors(described: Described, rows: slice, aggregator: nn.Module,
                          pca: Pca | None) -> np.ndarray:
    made = aggregate(aggregator, described.descriptors, described.sequences.windows[rows])
    return made if pca is None else pca(made)


def _search(database: Described, queries: Described, aggregator: nn.Module, pca: Pca | None,
            top_k: int) -> tuple[Predictions, int, float]:
    """Return the nearest windows, the size of a descriptor, and the time of all queries."""
    parts = []
    seconds = 0.0
    dim = len(_sequence_descriptors(database, slice(0, 1), aggregator, pca)[0])
    for q_rows in _blocks(len(queries.sequences), dim):
        started = time.perf_counter()
        asked = _sequence_descriptors(queries, q_rows, aggregator, pca)
        seconds += time.perf_counter() - started
        best: Predictions | None = None
        for db_rows in _blocks(len(database.sequences), dim):
            made = _sequence_descriptors(database, db_rows, aggregator, pca)
            started = time.perf_counter()
            found = nearest_descriptors(asked, made, np.arange(len(made)), top_k)
            found = found._replace(indices=found.indices + db_rows.start)
            best = found if best is None else _merge(best, found, top_k)
            seconds += time.perf_counter() - started
        assert best is not None
        parts.append(best)
    return Predictions(*map(np.concatenate, zip(*parts, strict=True))), dim, seconds


def _blocks(rows: int, dim: int) -> Iterator[slice]:
    step = max(1, _BLOCK_BYTES // (4 * dim))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _merge(earlier: Predictions, later: Predictions, top_k: int) -> Predictions:
    """Return the best of two lists; of equal distances the earlier row comes first."""
    indices = np.concatenate([earlier.indices, later.indices], axis=1)
    columns, distances = smallest(
        np.concatenate([earlier.distances, later.distances], axis=1), top_k)
    return Predictions(np.take_along_axis(indices, columns, axis=1), distances)


def _by_city(predictions: Predictions, truth: GroundTruth, queries: Sequences,
             ns: Sequence[int]) -> tuple[dict[str, Recalls], dict[str, int]]:
    hits, counted, cities = first_hits(predictions.indices, truth), truth.has_match, queries.cities
    columns = predictions.indices.shape[1]
    recalls, unmatched = {}, {}
    for city in sorted(set(cities.tolist()) - {''}):
        of_city = cities == city
        chosen = hits[of_city & counted]
        unmatched[city] = int((of_city & ~counted).sum())
        if len(chosen):
            values = {n: float(np.mean(chosen < min(n, columns))) for n in ns}
            recalls[city] = Recalls(values, len(chosen), unmatched[city])
    return recalls, unmatched
