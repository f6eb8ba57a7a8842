"""The test protocol of JIST: recalls, predictions and distances of the published code, and more."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jist_trees import make_tree, read_tree, sequences_of, table_of
from torch import nn

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.jist.sequence_folders import SIDES, Sequences, make_sequences, read_frames
from seqnet_ros.evaluation.jist.pca import fit_pca
from seqnet_ros.evaluation.jist.protocol import (
    Described,
    Report,
    centre_all,
    describe_all,
    evaluate,
    percentages,
    recalls_at_radii,
)
from seqnet_ros.evaluation.jist.sequence_ground_truth import sequence_ground_truth
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth, recall_at
from seqnet_ros.evaluation.nearest_neighbors import nearest_descriptors
from seqnet_ros.sequences.aggregators import aggregate
from seqnet_ros.sequences.jist_aggregators import Concat, Max, Mean, SeqGeM

CASES = (
    'msls_test_seqgem_L5', 'msls_test_seqgem_L5_reverse', 'msls_test_seqgem_L4',
    'msls_test_seqgem_L4_reverse', 'msls_test_concat_L5', 'msls_test_concat_L5_reverse',
    'msls_test_mean_L5', 'msls_test_max_L4_reverse', 'msls_test_conv1d_L5_reverse',
    'robotcar_test_seqgem_L5', 'robotcar_test_seqgem_L5_reverse', 'robotcar_test_seqgem_L4',
    'robotcar_test_seqgem_L4_reverse', 'robotcar_test_concat_L5', 'robotcar_test_concat_L5_reverse')


class Conv(nn.Module):
    """A convolution over all frames of the window, which JIST's code offers, too."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weight))
        self.bias = nn.Parameter(torch.from_numpy(bias))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv1d(frames.transpose(1, 2), self.weight, self.bias)[..., 0]


def described(golden: Path, root: Path, case: dict) -> tuple[Described, Described]:
    tree = read_tree(golden, case['tree'])
    arrays = np.load(golden / 'jist' / 'evaluation' / f'{case["tree"]}_frames.npz')
    make_tree(root, tree['files'])
    sides = []
    for side, sequences in zip(SIDES, sequences_of(root, case, compat=True), strict=True):
        row = {path: index for index, path in enumerate(tree['files'][side])}
        rows = [row[path] for path in sequences.frames.paths]
        sides.append(Described(sequences, arrays[side][rows]))
    return sides[0], sides[1]


def case_named(golden: Path, name: str) -> dict:
    cases = json.loads((golden / 'jist' / 'evaluation' / 'evaluation.json').read_text())
    return next(case for case in cases if case['case'] == name)


@pytest.mark.parametrize('block', [None, 24 * 4 * 37])
@pytest.mark.parametrize('name', CASES)
def test_results_are_those_of_the_published_code(
        shared_golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str,
        block: int | None) -> None:
    if block is not None:
        monkeypatch.setattr('seqnet_ros.evaluation.jist.protocol._BLOCK_BYTES', block)
    case = case_named(shared_golden, name)
    golden = np.load(shared_golden / 'jist' / 'evaluation' / f'{name}.npz')
    database, queries = described(shared_golden, tmp_path, case)
    aggregators = {'seqgem': SeqGeM, 'concat': Concat, 'mean': Mean, 'max': Max}
    aggregator = (Conv(golden['conv1d_weight'], golden['conv1d_bias'])
                  if case['aggregation'] == 'conv1d' else aggregators[case['aggregation']]())
    truth = sequence_ground_truth(database.sequences, queries.sequences, case['pos_thresh'])
    report = evaluate(database, queries, aggregator, truth, ns=(1, 5, 10))
    assert str(report) == case['printed']
    assert [100 * value for value in report.recalls.values.values()] == pytest.approx(
        case['recalls_at_1_5_10'], abs=1e-12)
    assert (report.places, report.recalls.queries) == (case['n_db'], case['n_queries'])
    counted = truth.has_match
    np.testing.assert_allclose(
        report.predictions.distances[counted] ** 2, golden['distances'], atol=2e-5)
    np.testing.assert_array_equal(report.predictions.indices[counted], golden['predictions'])
    if 'db_desc' in golden:
        made = aggregate(aggregator, queries.descriptors, queries.sequences.windows[counted])
        np.testing.assert_allclose(made, golden['q_desc'], atol=3e-6)


def test_a_gallery_smaller_than_the_list(shared_golden: Path) -> None:
    case = case_named(shared_golden, 'tiny_gallery')
    golden = np.load(shared_golden / 'jist' / 'evaluation' / 'tiny_gallery.npz')
    found = nearest_descriptors(
        golden['q_desc'], golden['db_desc'], np.arange(len(golden['db_desc'])), 10)
    counts = np.cumsum([0, *map(len, case['positives'])])
    truth = GroundTruth(counts, np.concatenate(case['positives']), case['n_db'])
    recalls = recall_at(found.indices, truth, (1, 5, 10))
    assert percentages(recalls) == case['printed']
    np.testing.assert_array_equal(found.indices, golden['predictions'][:, :case['n_db']])


def walk(city: str = '', count: int = 40, offset: float = 0.0) -> Sequences:
    positions = np.column_stack([np.arange(count) * 10.0 + offset, np.zeros(count)])
    return make_sequences(
        table_of(positions, np.arange(count), np.zeros(count, int), (city,)), 3)


def noisy(sequences: Sequences, noise: float, seed: int) -> Described:
    """Describe frames by where they are, blurred."""
    rng = np.random.default_rng(seed)
    centres = np.arange(0, 1260, 20.0)
    distance = sequences.frames.positions[:, :1] - centres
    exact = np.exp(-(distance / 24) ** 2) + rng.normal(0, noise, distance.shape)
    return Described(sequences, exact.astype(np.float32))


def report_of(database: Described, queries: Described, radius: float = 25.0,
              **options: object) -> Report:
    truth = sequence_ground_truth(database.sequences, queries.sequences, radius)
    return evaluate(database, queries, SeqGeM(), truth, **options)  # type: ignore[arg-type]


def test_report_says_what_it_costs_and_what_was_left_out() -> None:
    database, queries = noisy(walk(), 0.02, 0), noisy(walk(offset=150.0), 0.02, 1)
    report = report_of(database, queries)
    assert set(report.recalls.values) == {1, 5, 10, 20, 100}
    assert report.recalls.values[1] > 0.9
    assert report.recalls.unmatched > 5
    assert report.recalls.queries + report.recalls.unmatched == len(queries.sequences)
    assert report.bytes_per_place == 4 * database.descriptors.shape[1]
    assert report.places == len(database.sequences)
    assert 0 < report.seconds_per_query < 1
    assert report.by_city == {}


def two_cities(offset: float) -> Sequences:
    positions = np.column_stack([np.tile(np.arange(20) * 10.0, 2) + offset, np.zeros(40)])
    folders = np.repeat([0, 1], 20)
    return make_sequences(
        table_of(positions, np.tile(np.arange(20), 2), folders, ('cph', 'sf')), 3)


def test_cities_are_counted_on_their_own_in_one_gallery() -> None:
    database, queries = two_cities(0.0), two_cities(0.0)
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(40, 64)).astype(np.float32)
    asked = frames.copy()
    asked[20:] = rng.normal(size=(20, 64))  # nothing of sf can be found
    report = report_of(Described(database, frames), Described(queries, asked))
    assert report.by_city['cph'].values[1] == 1.0
    assert report.by_city['sf'].values[1] < 0.5
    assert report.unmatched_by_city == {'cph': 0, 'sf': 0}
    total = sum(city.values[1] * city.queries for city in report.by_city.values())
    assert total / report.recalls.queries == pytest.approx(report.recalls.values[1])
    # The gallery is common: some of what sf finds is in Copenhagen.
    found = database.cities[report.predictions.indices[queries.cities == 'sf', 0]]
    assert (found == 'cph').any()


def test_a_city_without_any_match_is_reported() -> None:
    database = noisy(walk('cph'), 0.02, 0)
    queries = Described(two_cities(0.0), noisy(two_cities(0.0), 0.02, 1).descriptors)
    report = report_of(database, queries)
    assert list(report.by_city) == ['cph']
    assert report.unmatched_by_city == {'cph': 0, 'sf': 18}


def test_reversing_the_gallery_matters_only_where_order_does() -> None:
    database, queries = walk(), walk(offset=4.0)
    backwards = make_sequences(database.frames, 3, reverse=True)
    truth = sequence_ground_truth(database, queries, 25.0)
    described_ = noisy(database, 0.05, 0), noisy(queries, 0.05, 1)
    reverse = Described(backwards, described_[0].descriptors)
    for aggregator, same in ((SeqGeM(), True), (Concat(), False)):
        forwards = evaluate(*described_, aggregator, truth).predictions.distances
        found = evaluate(reverse, described_[1], aggregator, truth).predictions.distances
        assert np.allclose(forwards, found, atol=1e-5) == same


def test_other_radii_and_rules_need_no_second_search() -> None:
    database, queries = noisy(walk(), 0.1, 0), noisy(walk(offset=3.0), 0.1, 1)
    report = report_of(database, queries)
    found = recalls_at_radii(report, database.sequences, queries.sequences, (1.0, 5.0, 25.0))
    assert 1.0 not in found
    assert found[25.0] == report.recalls
    strict = recalls_at_radii(
        report, database.sequences, queries.sequences, (5.0, 25.0), 'centre', (1, 5))
    assert set(strict[5.0].values) == {1, 5}
    assert strict[5.0].values[1] <= found[5.0].values[1]
    assert strict[25.0].values[1] <= found[25.0].values[1]


def test_projection_to_all_components_changes_nothing_and_to_few_little() -> None:
    database, queries = noisy(walk(count=120), 0.02, 0), noisy(walk(count=120), 0.02, 1)
    dim = database.descriptors.shape[1]
    plain = report_of(database, queries)
    whole = report_of(database, queries, pca_dim=dim)
    np.testing.assert_allclose(whole.predictions.distances, plain.predictions.distances, atol=1e-4)
    few = report_of(database, queries, pca_dim=40)
    assert few.bytes_per_place == 160
    assert few.recalls.values[5] > 0.9
    again = report_of(database, queries, pca_dim=40)
    np.testing.assert_array_equal(again.predictions.distances, few.predictions.distances)
    with pytest.raises(InputError, match='200 principal components were requested'):
        report_of(database, queries, pca_dim=200)


def test_components_are_fitted_to_a_sample_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('seqnet_ros.evaluation.jist.protocol.FITTED_ROWS', 10)
    database, queries = noisy(walk(), 0.02, 0), noisy(walk(), 0.02, 1)
    first = report_of(database, queries, pca_dim=5, seed=1).predictions.distances
    other = report_of(database, queries, pca_dim=5, seed=2).predictions.distances
    assert not np.array_equal(first, other)
    with pytest.raises(InputError, match='10 descriptors of 63 values have 1 to 10'):
        report_of(database, queries, pca_dim=11)


@given(st.integers(2, 30), st.integers(1, 30), st.integers(0, 5))
def test_components_are_those_of_the_singular_value_decomposition(
        rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(rows, columns)) * np.geomspace(5, 0.2, columns)
              + rng.normal(size=columns)).astype(np.float32)
    dim = min(rows - 1, columns)  # the last of N centred rows has no variance of its own
    pca = fit_pca(values, dim)
    exact = values.astype(np.float64) - values.astype(np.float64).mean(axis=0)
    _, singular, vectors = np.linalg.svd(exact, full_matrices=False)
    np.testing.assert_allclose(
        pca.explained, singular[:dim] ** 2 / np.sum(singular ** 2), atol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(pca.components * vectors[:dim], axis=1)), 1, atol=1e-3)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(dim), atol=1e-5)
    assert (pca.components[np.arange(dim), np.abs(pca.components).argmax(axis=1)] > 0).all()
    np.testing.assert_allclose(pca(values), exact @ pca.components.T, atol=1e-3)


def brightness(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([image.mean(axis=(0, 1)) for image in images]).astype(np.float32)


def test_frames_are_described_once_and_damaged_ones_left_out(tmp_path: Path) -> None:
    folder = tmp_path / 'database' / 'key'
    folder.mkdir(parents=True)
    for number in range(12):
        cv2.imwrite(str(folder / f'@{10 * number}@0@key@{number}@image@sf@2017@.jpg'),
                    np.full((16, 16, 3), 20 * number, np.uint8))
    frames = read_frames(tmp_path, 'database')
    whole = make_sequences(frames, 3)
    seen: list[int] = []
    done: list[int] = []

    def describe(images: list[np.ndarray]) -> np.ndarray:
        seen.append(len(images))
        return brightness(images)

    found = describe_all(whole, describe, batch=5, progress=done.append)
    assert seen == [5, 5, 2]
    assert done == [5, 10, 12]
    assert found.descriptors[:, 0] == pytest.approx(20.0 * np.arange(12), abs=2)
    assert not found.damaged
    for number in (5, 6, 7, 8, 9):
        frames.path(number).write_bytes(b'damaged')
    seen.clear()
    found = describe_all(whole, describe, batch=5)
    assert seen == [5, 2]
    assert len(found.damaged) == 5
    assert '@50@' in found.damaged[0]
    assert found.sequences.windows.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    for number in range(12):
        frames.path(number).unlink()
    with pytest.raises(InputError, match=r'none of the 12 images can be read: image .*@0@0@key'):
        describe_all(whole, describe)


def test_centring_subtracts_the_mean_of_the_frames_in_use() -> None:
    whole = noisy(walk(), 0.02, 0)
    whole.descriptors[0] = 1000.0  # of an image that could not be read, for example
    lost = np.zeros(40, dtype=bool)
    lost[0] = True
    described_ = Described(whole.sequences.without_frames(lost), whole.descriptors)
    found = centre_all(described_).descriptors[1:]
    centred = whole.descriptors[1:] - whole.descriptors[1:].mean(axis=0)
    np.testing.assert_allclose(
        found, centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-6)


def test_what_does_not_belong_together_is_told() -> None:
    database, queries = noisy(walk(), 0.02, 0), noisy(walk(count=20), 0.02, 1)
    truth = sequence_ground_truth(database.sequences, queries.sequences, 25.0)
    with pytest.raises(InputError, match='ground truth has 18 queries and 38 places, expected 38'):
        evaluate(queries, database, SeqGeM(), truth)
    other = Described(queries.sequences, queries.descriptors[:, :5])
    with pytest.raises(InputError, match='query descriptors 5, expected as many'):
        evaluate(database, other, SeqGeM(), truth)
    with pytest.raises(InputError, match=r'shape \[19, 63\], expected \[20, D\]'):
        Described(queries.sequences, queries.descriptors[1:])
    far = noisy(walk(offset=9000.0), 0.02, 1)
    with pytest.raises(InputError, match='none of the 38 queries has a true match'):
        report_of(database, far)
