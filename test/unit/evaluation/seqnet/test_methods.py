"""SeqNet's evaluation: equal to the published code, to the plain formulas, and to itself."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.db_struct import DbStruct, read_struct
from seqnet_ros.descriptors.weights import read_tensors
from seqnet_ros.evaluation import nearest_neighbors
from seqnet_ros.evaluation.metrics.ground_truth import (
    GroundTruth,
    first_hits,
    matches_within,
    recall_at,
    recalls_by_radius,
)
from seqnet_ros.evaluation.metrics.precision_recall import PrecisionRecall, precision_recall
from seqnet_ros.evaluation.metrics.search_run import watch_memory
from seqnet_ros.evaluation.nearest_neighbors import Predictions, smallest
from seqnet_ros.evaluation.seqnet.drives import Drive, row_positions
from seqnet_ros.evaluation.seqnet.methods import (
    Method,
    SequenceMatching,
    build_method,
    rerank,
    search,
)
from seqnet_ros.sequences.seqnet_aggregators import SeqNet

GOLDEN = Path(__file__).resolve().parents[5] / 'shared' / 'golden' / 'seqnet'
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason='no golden vectors beside the checkout')
DISTANCE_LIMIT = 2e-6
POOLINGS = ('single', 's1', 'smooth', 'delta', 'seqnet', 'single+seqmatch', 's1+seqmatch', 'hvpr')
FILES = [f'{folder}/{pooling}' for folder in ('oneseq', 'bounds', 'filtered')
         for pooling in POOLINGS] + [
    'extra/delta_L2', 'extra/delta_L4', 'extra/hvpr_L8', 'extra/seqnet_L8', 'extra/seqnet_best_L5',
    'extra/single+seqmatch_L8', 'extra/smooth_L4']


# ---- against the outputs of the published code

def golden_layer(run: str, file: str = 'checkpoint') -> SeqNet:
    tensors = read_tensors(GOLDEN / 'runs' / run / 'checkpoints' / f'{file}.pth.tar')
    weight, bias = tensors['pool.0.conv.weight'], tensors['pool.0.conv.bias']
    layer = SeqNet(weight.shape[1], weight.shape[0], weight.shape[2])
    layer.load_state_dict({'conv.weight': weight, 'conv.bias': bias})
    return layer.eval()


def golden_drives(folder: str) -> tuple[Drive, Drive]:
    drives = []
    for name, bounds in (('ref', 'seqbounds_ref'), ('query', 'seqbounds_query')):
        sequences = None if folder in ('oneseq', 'extra') else np.loadtxt(
            GOLDEN / f'{bounds}.txt', dtype=np.int64)
        drive = Drive.of(np.load(GOLDEN / f'{name}.npy', mmap_mode='r'), sequences)
        drives.append(drive.with_full_windows(5) if folder == 'filtered' else drive)
    return drives[0], drives[1]


def golden_method(pooling: str, length: int) -> Method:
    if pooling in ('s1', 's1+seqmatch', 'hvpr'):
        layer = golden_layer('s1_l1_w1')
        return build_method('seqnet' if pooling == 's1' else 's1+seqmatch', length, layer)
    if pooling.startswith('seqnet'):
        file = 'model_best' if 'best' in pooling else 'checkpoint'
        return build_method('seqnet', length, golden_layer('seqnet_l5_w3', file))
    return build_method(pooling, length)


def golden_predictions(file: str) -> tuple[np.lib.npyio.NpzFile, Predictions]:
    expected = np.load(GOLDEN / f'{file}.npz')
    folder, name = file.split('/')
    pooling = name if 'best' in name else name.rsplit('_L', 1)[0]
    method = golden_method(pooling, int(expected['seqL']))
    if pooling == 'hvpr':
        assert isinstance(method, SequenceMatching)
        return expected, rerank(method, *golden_drives(folder), expected['candidates'])
    return expected, search(method, *golden_drives(folder))


@golden
@pytest.mark.parametrize('file', FILES)
def test_distances_are_those_of_the_published_code(file: str) -> None:
    expected, found = golden_predictions(file)

    assert found.indices.shape == expected['preds'].shape
    assert found.distances.dtype == np.float32
    assert (np.diff(found.distances, axis=1) >= 0).all()
    columns = expected['predDists'].shape[1]
    by_frame = 'seqmatch' in file or 'hvpr' in file
    distances = found.distances[:, :columns].astype(np.float64)
    np.testing.assert_allclose(distances if by_frame else distances ** 2, expected['predDists'],
                               rtol=0, atol=DISTANCE_LIMIT)
    if not by_frame:
        np.testing.assert_array_equal(found.indices[:, :20], expected['preds'][:, :20])


@golden
@pytest.mark.parametrize('file', FILES)
def test_recalls_are_those_of_the_published_code(file: str) -> None:
    expected, found = golden_predictions(file)
    reference, query = golden_drives(file.split('/')[0])
    struct = read_struct(GOLDEN / 'struct_test.db')

    truth = matches_within(*row_positions(struct, reference, query), struct.radius)
    recalls = recall_at(found.indices, truth, expected['recall_n'].tolist())

    folder, name = file.split('/')
    with (GOLDEN / 'recalls.csv').open() as lines:
        row = next(row for row in csv.DictReader(lines)
                   if (row['folder'], row['pooling']) == (folder, name))
    for n, value in recalls.values.items():
        assert float(row[f'lowest R@{n}']) - 1e-6 <= value <= float(row[f'highest R@{n}']) + 1e-6
    assert recalls.queries + recalls.unmatched == len(query.rows)
    table = recalls_by_radius(found.indices, struct.db_positions[reference.rows],
                              struct.q_positions[query.rows])
    if 'seqmatch' not in file and 'hvpr' not in file:
        np.testing.assert_allclose(list(recalls.values.values()), expected['recalls'], atol=1e-12)
        np.testing.assert_allclose(table, expected['rAtL'], atol=1e-12)
    elif folder == 'filtered':  # no ties there
        np.testing.assert_allclose(table, expected['rAtL'], atol=1e-12)


@golden
def test_filtering_keeps_the_rows_of_the_published_code() -> None:
    expected = np.load(GOLDEN / 'filtered' / 'seqnet.npz')
    reference, query = golden_drives('filtered')
    np.testing.assert_array_equal(reference.rows, expected['validDb'])
    np.testing.assert_array_equal(query.rows, expected['validQ'])


@golden
def test_ground_truth_is_that_of_the_published_code() -> None:
    expected = np.load(GOLDEN / 'ground_truth_test.npz')
    truth = matches_within(expected['utmDb'], expected['utmQ'], float(expected['posDistThr']))
    np.testing.assert_array_equal(truth.indptr, expected['indptr'])
    np.testing.assert_array_equal(truth.indices, expected['indices'])


@golden
def test_double_precision_files_give_the_same_predictions() -> None:
    reference, query = golden_drives('bounds')
    method = golden_method('seqnet', 5)
    found = search(method, replace(reference, descriptors=reference.descriptors.astype(np.float64)),
                   replace(query, descriptors=query.descriptors.astype(np.float64)))
    np.testing.assert_array_equal(found.indices, search(method, reference, query).indices)


# ---- against the plain formulas

def unit_rows(count: int, dim: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def bounds_of(*lengths: int) -> np.ndarray:
    ends = np.cumsum(lengths)
    return np.repeat(np.stack([ends - lengths, ends], axis=1), lengths, axis=0)


def plain_matching(q_windows: np.ndarray, r_windows: list[np.ndarray], queries: np.ndarray,
                   references: np.ndarray) -> np.ndarray:
    frames = cdist(queries.astype(np.float64), references.astype(np.float64))
    return np.stack([frames[q_windows[:, None], windows[None]].mean(axis=2)
                     for windows in r_windows]).min(axis=0)


@pytest.mark.parametrize('speeds', [(1.0,), (0.5, 1.0, 2.0)])
@pytest.mark.parametrize('backwards', [False, True])
@pytest.mark.parametrize('length', [1, 4, 7])
def test_sequence_matching_equals_the_plain_formula(
        monkeypatch: pytest.MonkeyPatch, speeds: tuple[float, ...], backwards: bool,
        length: int) -> None:
    monkeypatch.setattr(nearest_neighbors, '_MOST_ROWS', 13)  # several blocks, also uneven ones
    monkeypatch.setattr(nearest_neighbors, '_PAIRS', 500)
    reference = Drive.of(unit_rows(70, 16, 1), bounds_of(30, 3, 1, 36))
    query = Drive.of(unit_rows(50, 16, 2), bounds_of(9, 2, 39), backwards)
    method = build_method('single+seqmatch', length, speeds=speeds)

    found = search(method, reference, query, top_k=1000)

    expected = plain_matching(
        query.windows(length), [reference.windows(length, speed) for speed in speeds],
        query.descriptors, reference.descriptors)
    assert found.indices.shape == (50, 70)
    np.testing.assert_array_equal(np.sort(found.indices), np.tile(np.arange(70), (50, 1)))
    np.testing.assert_allclose(np.take_along_axis(expected, found.indices, axis=1),
                               found.distances, atol=DISTANCE_LIMIT)
    candidates = found.indices[:, 40::-7]
    assert isinstance(method, SequenceMatching)
    again = rerank(method, reference, query, candidates)
    np.testing.assert_array_equal(np.sort(again.indices), np.sort(candidates))
    assert (np.diff(again.distances, axis=1) >= 0).all()
    np.testing.assert_allclose(np.take_along_axis(expected, again.indices, axis=1),
                               again.distances, atol=DISTANCE_LIMIT)


@pytest.mark.parametrize(('pooling', 'weights'), [
    ('smooth', [0.25, 0.25, 0.25, 0.25]), ('delta', [-0.5, -0.5, 0.5, 0.5])])
def test_descriptors_equal_the_plain_formula(
        monkeypatch: pytest.MonkeyPatch, pooling: str, weights: list[float]) -> None:
    monkeypatch.setattr(nearest_neighbors, '_MOST_ROWS', 13)
    drives = (Drive.of(unit_rows(70, 16, 1), bounds_of(30, 3, 1, 36)),
              Drive.of(unit_rows(50, 16, 2), bounds_of(9, 2, 39)))

    found = search(build_method(pooling, 4), *drives, top_k=9)

    sums = [np.einsum('nld,l->nd', drive.descriptors.astype(np.float64)[drive.windows(4)], weights)
            for drive in drives]
    # The delta of a frame repeated four times is zero, and stays it.
    references, queries = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in sums)
    expected = np.sort(cdist(queries, references))[:, :9]
    np.testing.assert_allclose(found.distances, expected, atol=DISTANCE_LIMIT)


def test_a_faster_drive_is_found_at_its_speed() -> None:
    frames = unit_rows(60, 32, 3)
    reference, query = Drive.of(frames), Drive.of(frames[::2])
    inside = slice(5, 25)  # where no window is cut
    found = search(build_method('single+seqmatch', 5, speeds=(1.0, 2.0)), reference, query, 1)
    np.testing.assert_array_equal(found.indices[inside, 0], np.arange(0, 60, 2)[inside])
    np.testing.assert_allclose(found.distances[inside], 0, atol=1e-3)


def test_a_drive_the_other_way_is_found_when_read_backwards() -> None:
    frames = unit_rows(40, 32, 4)
    layer = SeqNet(32, 24, 3)
    for method in (build_method('single+seqmatch', 5), build_method('delta', 5),
                   build_method('seqnet', 5, layer.eval())):
        found = search(method, Drive.of(frames), Drive.of(frames[::-1], backwards=True), 1)
        np.testing.assert_array_equal(found.indices[3:-3, 0], np.arange(39, -1, -1)[3:-3])
        np.testing.assert_allclose(found.distances[3:-3], 0, atol=1e-3)


def test_backwards_windows_are_those_of_the_flipped_drive() -> None:
    frames, bounds = unit_rows(20, 4, 5), bounds_of(12, 3, 5)
    forwards = Drive.of(frames[::-1], 20 - bounds[::-1, ::-1]).with_full_windows(4)
    backwards = Drive.of(frames, bounds, backwards=True).with_full_windows(4)
    np.testing.assert_array_equal(backwards.rows, 19 - forwards.rows[::-1])
    np.testing.assert_array_equal(backwards.windows(4), 19 - forwards.windows(4)[::-1])


def test_rows_with_the_same_window_are_equally_far_and_in_order() -> None:
    reference, query = Drive.of(unit_rows(101, 64, 6), bounds_of(7, 94)), Drive.of(
        unit_rows(33, 64, 7))
    for method in (build_method('smooth', 6), build_method('single+seqmatch', 6)):
        found = search(method, reference, query, top_k=101)
        ranks = np.argsort(found.indices, axis=1)
        for first in (0, 7):  # the first four rows of each sequence share a window
            assert (np.diff(ranks[:, first: first + 4], axis=1) == 1).all()
            shared = np.take_along_axis(found.distances, ranks[:, first: first + 4], axis=1)
            assert (shared == shared[:, :1]).all()


def test_published_windows_spill_into_the_neighbours_and_the_other_drive() -> None:
    references, queries = unit_rows(12, 8, 8), unit_rows(10, 8, 9)
    reference = Drive.of(references, bounds_of(4, 6, 2))
    query = Drive.of(queries, bounds_of(10))
    method = build_method('single+seqmatch', 5)

    found = search(method, reference, query, top_k=12, compat=True)

    both = np.concatenate([references, queries])
    windows = np.array([
        [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [-1, 0, 1, 2, 3],
        *[list(range(first, first + 5)) for first in (4, 4, 4, 5, 5, 5)],
        [10, 11, 12, 13, 14], [10, 11, 12, 13, 14]])
    expected = plain_matching(query.windows(5) + 12, [windows], both, both)
    np.testing.assert_allclose(np.take_along_axis(expected, found.indices, axis=1),
                               found.distances, atol=DISTANCE_LIMIT)
    clamped = search(method, reference, query, top_k=12)
    assert not np.allclose(clamped.distances, found.distances, atol=1e-3)
    with pytest.raises(InputError, match='ends beyond the 22 frames'):
        search(method, reference, Drive.of(queries, bounds_of(7, 3)), compat=True)


def test_smallest_keeps_the_order_of_equal_values() -> None:
    values = np.random.default_rng(10).integers(0, 6, (40, 50)).astype(np.float32)
    for k in (1, 7, 50, 80):
        columns, found = smallest(values, k)
        expected = np.argsort(values, axis=1, kind='stable')[:, :k]
        np.testing.assert_array_equal(columns, expected)
        np.testing.assert_array_equal(found, np.take_along_axis(values, expected, axis=1))


def test_no_array_of_all_windows_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc
    frames = unit_rows(2000, 256, 11)
    drive = Drive.of(frames)
    method = build_method('single+seqmatch', 40)
    monkeypatch.setattr(nearest_neighbors, '_BLOCK_BYTES', 1 << 20)
    tracemalloc.start()
    try:
        search(method, drive, drive, top_k=20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * frames.nbytes  # [N, L, D] alone would be 40 times the frames


# ---- ground truth and recall

@pytest.mark.parametrize('dims', [1, 2, 3])
def test_matches_are_those_of_plain_differences(dims: int) -> None:
    random = np.random.default_rng(12)
    # Whole metres: many pairs lie exactly on the radius.
    references = 5.7e6 + random.integers(0, 40, (300, dims)).astype(float)
    queries = 5.7e6 + random.integers(0, 60, (1500, dims)).astype(float)
    truth = matches_within(references, queries, 5)
    inside = ((queries[:, None] - references) ** 2).sum(axis=2) <= 25
    np.testing.assert_array_equal(truth.indices, np.nonzero(inside)[1])
    np.testing.assert_array_equal(np.diff(truth.indptr), inside.sum(axis=1))
    np.testing.assert_array_equal(truth.matches(3), np.flatnonzero(inside[3]))


def small_truth() -> GroundTruth:
    return GroundTruth(np.array([0, 2, 2, 3]), np.array([1, 4, 0]), references=5)


def test_recall_leaves_out_queries_without_a_match() -> None:
    predictions = np.array([[0, 2, 4], [0, 1, 2], [1, 2, 3]])
    truth = small_truth()
    np.testing.assert_array_equal(first_hits(predictions, truth), [2, 3, 3])
    recalls = recall_at(predictions, truth, (1, 3, 100))
    assert recalls.values == {1: 0.0, 3: 0.5, 100: 0.5}
    assert (recalls.queries, recalls.unmatched) == (2, 1)


def test_missing_predictions_are_no_hits() -> None:
    predictions = np.array([[-1, -1], [-1, -1], [-1, 0]])
    np.testing.assert_array_equal(first_hits(predictions, small_truth()), [2, 2, 1])


def test_recalls_by_radius() -> None:
    references = np.array([[0.0], [10.0], [20.0]])
    queries = np.array([[3.0], [14.0], [500.0]])
    predictions = np.array([[1, 0], [2, 1], [0, -1]])
    table = recalls_by_radius(predictions, references, queries, (2, 3, 4, 7), (1, 2))
    np.testing.assert_array_equal(
        table, [[np.nan, np.nan], [0, 1], [0, 1], [1, 1]])


# ---- precision and recall, memory

def curve_of(right: list[bool], distances: list[float], unmatched: int = 0) -> PrecisionRecall:
    """Return the curve of queries of which each has a match, and of some that have none."""
    count = len(right)
    indptr = np.minimum(np.arange(count + unmatched + 1), count)
    truth = GroundTruth(indptr, np.zeros(count, dtype=int), references=2)
    found = np.array([[0 if hit else 1] for hit in right] + [[0]] * unmatched)
    distances = [*distances, *[9.0] * unmatched]
    return precision_recall(Predictions(found, np.float32(distances)[:, None]), truth)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30),
       st.integers(0, 3))
def test_precision_and_recall_equal_the_plain_loop(pairs, unmatched):
    right, distances = [pair[0] for pair in pairs], [float(pair[1]) for pair in pairs]

    curve = curve_of(right, distances, unmatched)

    area = before = best = full = 0.0
    everything = [*zip(right, distances, strict=True), *[(False, 9.0)] * unmatched]
    thresholds = sorted({distance for _, distance in everything})
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    for index, threshold in enumerate(thresholds):
        believed = [hit for hit, distance in everything if distance <= threshold]
        precision, recall = sum(believed) / len(believed), sum(believed) / len(right)
        assert curve.precision[index] == pytest.approx(precision)
        assert curve.recall[index] == pytest.approx(recall)
        area += precision * (recall - before)
        before = recall
        if recall:
            best = max(best, 2 * precision * recall / (precision + recall))
        if precision == 1:
            full = recall
    assert curve.average_precision == pytest.approx(area)
    assert curve.best_f1 == pytest.approx(best)
    assert curve.recall_at_full_precision == pytest.approx(full)


def test_average_precision_is_that_of_scikit_learn():
    metrics = pytest.importorskip('sklearn.metrics')
    random = np.random.default_rng(15)
    right, distances = random.random(200) < 0.6, random.integers(0, 50, 200).astype(float)
    expected = metrics.average_precision_score(right, -distances) * right.mean()
    assert curve_of(right.tolist(), distances.tolist()).average_precision == pytest.approx(expected)


def test_a_query_for_which_nothing_was_found_is_never_believed():
    truth = GroundTruth(np.array([0, 1, 2]), np.array([0, 1]), 2)
    found = Predictions(np.array([[-1], [1]]), np.float32([[0], [1]]))
    curve = precision_recall(found, truth)
    assert (curve.precision.tolist(), curve.recall.tolist()) == ([1.0], [0.5])
    nothing = precision_recall(Predictions(np.array([[-1], [-1]]), np.zeros((2, 1))), truth)
    assert nothing.average_precision == nothing.best_f1 == nothing.recall_at_full_precision == 0


def test_memory_is_that_of_the_block():
    with watch_memory() as before:
        pass
    if before.grown_bytes is None:
        pytest.skip('the system does not tell')
    with watch_memory() as grown:
        np.ones(80_000_000, dtype=np.uint8)
    with watch_memory() as after:
        np.ones(20_000_000, dtype=np.uint8)
    assert before.grown_bytes < 1e6
    assert 79e6 < grown.grown_bytes < 90e6
    assert 19e6 < after.grown_bytes < 30e6  # not hidden by the larger peak before it


# ---- bad input

def struct_of(references: int, queries: int) -> DbStruct:
    return DbStruct('town', 'test', ('a',) * references, ('b',) * queries,
                    np.arange(references, dtype=float)[:, None],
                    np.arange(queries, dtype=float)[:, None], 1.0)


def drive_of(frames: int = 12, dim: int = 8) -> Drive:
    return Drive.of(unit_rows(frames, dim, 13))


def with_nan() -> np.ndarray:
    values = unit_rows(12, 8, 14)
    values[7, 3] = np.nan
    return values


BAD = {
    'descriptors and struct differ': (
        lambda: row_positions(struct_of(11, 12), drive_of(), drive_of()),
        'town lists 11 database images, but there are 12 database descriptors'),
    'queries and struct differ': (
        lambda: row_positions(struct_of(12, 13), drive_of(), drive_of()),
        'town lists 13 query images, but there are 12 query descriptors'),
    'not finite': (lambda: Drive.of(with_nan()), 'descriptor 7 holds a value that is not finite'),
    'beyond float32': (lambda: Drive.of(np.full((2, 3), 1e300)), 'descriptor 0 holds a value'),
    'not two axes': (lambda: Drive.of(np.zeros((3, 4, 5))), r'shape \[3, 4, 5\]'),
    'integers': (lambda: Drive.of(np.zeros((3, 4), dtype=int)), 'int64 of shape'),
    'nothing': (lambda: Drive.of(np.zeros((0, 4))), r'shape \[0, 4\]'),
    'bounds of another drive': (
        lambda: Drive.of(unit_rows(12, 8, 1), bounds_of(5, 6)), 'bounds for 11 frames'),
    'too long': (
        lambda: search(build_method('smooth', 13), drive_of(), drive_of()),
        'windows of 13 frames do not fit: the longest sequence has 12 frames'),
    'no full window': (
        lambda: Drive.of(unit_rows(8, 8, 1), bounds_of(4, 4)).with_full_windows(5),
        'the longest sequence has 4 frames'),
    'dimensions differ': (
        lambda: search(build_method('smooth', 3), drive_of(), drive_of(dim=9)),
        'reference descriptors have 8 values, query descriptors 9'),
    'layer of another dimension': (
        lambda: search(build_method('seqnet', 3, SeqNet(9, 4, 3)), drive_of(), drive_of()),
        'the SeqNet weights are for descriptors of 9 values, found 8'),
    'no top_k': (lambda: search(build_method('smooth', 3), drive_of(), drive_of(), 0), 'top_k'),
    'backwards as published': (
        lambda: search(build_method('smooth', 3), drive_of(), replace(drive_of(), backwards=True),
                       compat=True), 'backwards'),
    'unknown pooling': (lambda: build_method('mean', 3), "'mean', expected one of single, "),
    'single with a length': (lambda: build_method('single', 5), 'of single is 5, expected 1'),
    'length 0': (lambda: build_method('smooth', 0), 'expected 1 or more'),
    'no weights': (lambda: build_method('seqnet', 5), 'needs trained weights'),
    'weights for nothing': (
        lambda: build_method('smooth', 5, SeqNet(8, 8, 3)), 'nothing to train'),
    'shorter than the kernel': (
        lambda: build_method('seqnet', 2, SeqNet(8, 8, 3)), 'kernel of 3'),
    'frames with a kernel': (
        lambda: build_method('s1+seqmatch', 5, SeqNet(8, 8, 3)), 'expected 1'),
    'speed 0': (lambda: build_method('single+seqmatch', 5, speeds=(0.0,)), 'above 0'),
    'candidates of other queries': (
        lambda: rerank(build_method('single+seqmatch', 3), drive_of(), drive_of(),
                       np.zeros((11, 20), dtype=int)), r'expected \[12, K\]'),
    'candidates out of range': (
        lambda: rerank(build_method('single+seqmatch', 3), drive_of(), drive_of(),
                       np.full((12, 2), -1)), 'expected 0 to 11'),
    'no query has a match': (
        lambda: recall_at(np.zeros((2, 1), dtype=int), GroundTruth(
            np.zeros(3, dtype=int), np.empty(0, dtype=int), 5)),
        'none of the 2 queries has a true match'),
    'predictions of other queries': (
        lambda: recall_at(np.zeros((2, 1), dtype=int), small_truth()), r'expected \[3, K\]'),
    'predictions of other references': (
        lambda: recall_at(np.full((3, 1), 5), small_truth()), 'there are 5 references'),
    'negative radius': (
        lambda: matches_within(np.zeros((2, 1)), np.zeros((2, 1)), -1.0), 'the radius is -1.0'),
    'positions of other dimensions': (
        lambda: matches_within(np.zeros((2, 1)), np.zeros((2, 2)), 1.0), 'query positions 2'),
    'position not finite': (
        lambda: matches_within(np.full((2, 1), np.inf), np.zeros((2, 1)), 1.0),
        'a reference position is not finite'),
}


@pytest.mark.parametrize('case', BAD)
def test_bad_input_is_refused_in_one_sentence(case: str) -> None:
    call: Callable[[], object]
    call, message = BAD[case]
    with pytest.raises(InputError, match=message) as refused:
        call()
    assert '\n' not in str(refused.value)
