"""The drive so far as a map: what can be found of it, and what it costs."""

import resource
from pathlib import Path

import numpy as np
import pytest

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import make_pose
from seqnet_ros.maps import index as index_module
from seqnet_ros.maps.growing_map import SETTLED, GrowingMap
from seqnet_ros.maps.index import GrowingIndex
from seqnet_ros.models.place_model import PlaceModel, build_model
from seqnet_ros.place_filter.state_space import mean_step
from seqnet_ros.place_filter.turns import turns_per_meter
from seqnet_ros.sequences.aggregators import aggregate, describe_frames
from seqnet_ros.sequences.windows import trailing_windows

DIM, LENGTH, K = 324, 5, 20
WHERE = make_pose(0.0, 0.0)


def model_of(**values: object) -> PlaceModel:
    return build_model(parse_preset({
        'name': 'small', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 16, 'block': 32},
        'sequence': {'length': LENGTH}, **values}), 'cpu')


@pytest.fixture(scope='module')
def centred() -> PlaceModel:
    model = model_of()
    assert model.config.centring
    return model


@pytest.fixture(scope='module')
def projected() -> PlaceModel:
    """A SeqNet with a projection, with random weights."""
    return model_of(
        centring=False,
        sequence={'length': LENGTH, 'aggregator': 'seqnet', 'kernel': 3, 'out_dim': 12,
                  'weights': {'random': True}},
        projection={'out_dim': 10, 'weights': {'random': True}})


@pytest.fixture(scope='module')
def seqvlad() -> PlaceModel:
    """Residual sums that are added up, and described as NetVLAD for matching."""
    return build_model(parse_preset({
        'name': 'small-seqvlad', 'image': {'height': 96, 'width': 128}, 'centring': False,
        'frame': {'kind': 'network', 'backbone': 'resnet18', 'layer': 1,
                  'pooling': {'kind': 'vlad_sums', 'clusters': 3}},
        'weights': {'random': True},
        'sequence': {'length': LENGTH, 'aggregator': 'seqvlad'}}), 'cpu')


def descriptors(count: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    """Return unit-length descriptors of a smooth drive, all a little to one side."""
    random = np.random.default_rng(seed)
    walk = np.cumsum(random.standard_normal((count + 20, dim)), axis=0)
    smooth = walk[20:] - walk[:-20] + 3 * random.standard_normal(dim)
    return (smooth / np.linalg.norm(smooth, axis=1, keepdims=True)).astype(np.float32)


def grown(model: PlaceModel, rows: np.ndarray, starts: np.ndarray | None = None,
          released: int = 0, capacity: int = 2000) -> GrowingMap:
    past = GrowingMap(model, LENGTH, capacity)
    starts = np.zeros(len(rows), dtype=int) if starts is None else starts
    for number, (row, start) in enumerate(zip(rows, starts, strict=True)):
        assert past.add(row, make_pose(2.0 * number, 0.0), int(start)) == number
        past.release(min(number + 1, released))
    return past


def expected_sequences(model: PlaceModel, rows: np.ndarray, starts: np.ndarray,
                       mean: np.ndarray | None) -> np.ndarray:
    return aggregate(model.aggregator, model.prepare(rows, mean),
                     trailing_windows(starts, model.engine.sequence.length))


def mean_in_use(model: PlaceModel, past: GrowingMap, rows: np.ndarray) -> np.ndarray | None:
    """Return the mean of the drive when it was last estimated, not long ago."""
    if not model.config.centring:
        return None
    means = [rows[:count].mean(axis=0) for count in range(round(len(rows) / 1.3), len(rows) + 1)]
    errors = [np.abs(model.prepare(rows, mean) - past.matching_frames[:len(rows)]).max()
              for mean in means]
    assert min(errors) < 1e-6
    return means[int(np.argmin(errors))]


# What is found.


@pytest.mark.parametrize('name', ['centred', 'projected', 'seqvlad'])
def test_the_search_is_that_of_all_released_places(
        name: str, request: pytest.FixtureRequest) -> None:
    model: PlaceModel = request.getfixturevalue(name)
    rows = descriptors(90, model.describer.dim)
    starts = np.repeat([0, 33, 60], [33, 27, 30])
    past = grown(model, rows, starts, released=70)
    mean = mean_in_use(model, past, rows)
    sequences = expected_sequences(model, rows, starts, mean)
    for query in (3, 34, 60, 75, 89):
        distances, places = past.index.search(sequences[query], K)
        exact = np.linalg.norm(sequences[:70] - sequences[query], axis=1)
        np.testing.assert_array_equal(places, np.argsort(exact, kind='stable')[:K])
        np.testing.assert_allclose(distances, np.sort(exact)[:K], atol=2e-3)
    np.testing.assert_allclose(past.newest_sequence(), sequences[-1], atol=1e-5)
    frames = model.prepare(rows, mean)
    np.testing.assert_allclose(past.window(62), frames[[60, 60, 60, 61, 62]], atol=1e-6)
    if model.projection is None:
        assert past.projected_window(62) is None
        np.testing.assert_allclose(past.matching_frames[:90], frames, atol=1e-6)
    else:
        matching = describe_frames(model.projection, frames)
        np.testing.assert_allclose(past.matching_frames[:90], matching, atol=1e-6)
        np.testing.assert_allclose(
            past.projected_window(62), matching[[60, 60, 60, 61, 62]], atol=1e-6)


def test_what_is_not_released_is_not_found(centred: PlaceModel) -> None:
    rows = descriptors(40)
    past = grown(centred, rows)
    assert past.released == 0
    assert [len(found) for found in past.index.search(past.newest_sequence(), K)] == [0, 0]
    past.release(7)
    assert sorted(past.index.search(past.newest_sequence(), K)[1]) == list(range(7))
    past.release(3)  # nothing is taken back
    assert past.released == 7
    past.release(40)
    assert past.index.search(past.newest_sequence(), 1)[1] == [39]


def test_the_window_at_a_break_repeats_the_first_frame(centred: PlaceModel) -> None:
    rows = descriptors(12)
    past = grown(centred, rows, np.repeat([0, 8], [8, 4]))
    frames = past.matching_frames
    for place, window in ((0, [0, 0, 0, 0, 0]), (2, [0, 0, 0, 1, 2]), (7, [3, 4, 5, 6, 7]),
                          (8, [8, 8, 8, 8, 8]), (10, [8, 8, 8, 9, 10])):
        np.testing.assert_array_equal(past.window(place), frames[window])


def test_stretches_end_at_breaks_and_at_what_is_not_released(centred: PlaceModel) -> None:
    past = grown(centred, descriptors(30), np.repeat([0, 10, 22], [10, 12, 8]), released=25)
    first, end = past.stretches(np.array([0, 9, 10, 21, 22, 24]))
    assert first.tolist() == [0, 0, 10, 10, 22, 22]
    assert end.tolist() == [10, 10, 22, 22, 25, 25]


def test_distances_between_places_are_known(centred: PlaceModel) -> None:
    past = grown(centred, descriptors(30))
    assert past.step_m == 2.0
    np.testing.assert_array_equal(past.positions[:, 0], 2.0 * np.arange(30))
    assert past.mean_step_m == 2.0
    assert past.turns is None


def test_steps_and_turns_are_those_of_a_map(centred: PlaceModel) -> None:
    """As they would be computed over the whole drive at once."""
    rng = np.random.default_rng(1)
    poses = np.stack([make_pose(x, y, yaw=yaw) for x, y, yaw in zip(
        *rng.normal(size=(2, 30)).cumsum(axis=1), rng.normal(size=30).cumsum(), strict=True)])
    starts = np.repeat([0, 12], [12, 18])
    past = GrowingMap(centred, LENGTH, 30)
    for row, pose, start in zip(descriptors(30), poses, starts.tolist(), strict=True):
        past.add(row, pose, start)
    assert past.mean_step_m == pytest.approx(mean_step(poses[:, :3], starts))
    np.testing.assert_allclose(past.turns, turns_per_meter(poses, starts))


# Centring.


def test_the_mean_follows_the_drive_and_settles(centred: PlaceModel) -> None:
    rows = descriptors(SETTLED + 100)
    past = GrowingMap(centred, LENGTH, len(rows))
    estimated = []
    for number, row in enumerate(rows):
        before = past.window(0).copy() if number else None
        past.add(row, WHERE, 0)
        past.release(number // 2)
        if before is None or not np.array_equal(past.window(0), before):
            estimated.append(number + 1)
            mean = rows[:number + 1].mean(axis=0)
            frames = centred.prepare(rows[:number + 1], mean)
            # All that was there before follows.
            np.testing.assert_allclose(past.matching_frames[:number + 1], frames, atol=1e-6)
        assert past.released == number // 2
    assert estimated[-1] == SETTLED
    # The first place lies in the mean of one, and is there again with two.
    assert estimated[:4] == [1, 2, 3, 5]
    growth = np.diff(estimated)[4:-1] / estimated[4:-2]
    assert growth.min() >= 0.2
    assert growth.max() <= 0.5
    settled = centred.prepare(rows, rows[:SETTLED].mean(axis=0))
    np.testing.assert_allclose(past.matching_frames, settled, atol=1e-6)
    sequences = expected_sequences(
        centred, rows, np.zeros(len(rows), int), rows[:SETTLED].mean(axis=0))
    exact = np.linalg.norm(sequences[:past.released] - sequences[-1], axis=1)
    np.testing.assert_array_equal(
        past.index.search(past.newest_sequence(), K)[1], np.argsort(exact, kind='stable')[:K])


def test_without_centring_frames_stay_as_they_are(projected: PlaceModel) -> None:
    rows = descriptors(50)
    past = grown(projected, rows)
    np.testing.assert_array_equal(past.window(20), projected.prepare(rows)[16:21])


# Size.


def test_a_full_drive_takes_no_more_places(centred: PlaceModel) -> None:
    rows = descriptors(11)
    past = grown(centred, rows[:10], capacity=10, released=10)
    before = past.matching_frames.copy()
    with pytest.raises(InputError, match='10 places, the maximum allowed'):
        past.add(rows[10], WHERE, 0)
    assert len(past) == past.capacity == past.released == 10
    np.testing.assert_array_equal(past.matching_frames, before)


def test_room_that_is_not_used_takes_no_memory(projected: PlaceModel) -> None:
    def resident() -> int:
        return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()

    if not Path('/proc/self/statm').exists():
        pytest.skip('this system does not tell what memory is resident')
    rows = descriptors(20)
    grown(projected, rows)  # whatever libraries keep
    before = resident()
    past = grown(projected, rows, capacity=1_000_000)
    assert past.matching_frames.shape == (1_000_000, 10)
    assert past.capacity * DIM * 4 > 1 << 30
    assert resident() - before < 32 << 20


# The index.


@pytest.fixture(scope='module')
def route() -> np.ndarray:
    return descriptors(4000, 32)


def test_the_growing_graph_finds_nearly_all(
        route: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, 'GROWING_EXACT_BYTES', 0)
    index = GrowingIndex(32)
    assert [len(found) for found in index.search(route[0], K)] == [0, 0]
    for row in route:
        index.add(row[None])
    assert len(index) == len(route)
    random = np.random.default_rng(1)
    queries = route[::40] + 0.02 * random.standard_normal((100, 32), dtype=np.float32)
    hits = []
    for query in queries:
        distances, places = index.search(query, K)
        exact = np.linalg.norm(route - query, axis=1)
        np.testing.assert_allclose(distances, exact[places], atol=1e-3)
        assert (np.diff(distances) >= 0).all()
        hits.append(np.isin(np.argsort(exact)[:K], places).mean())
    assert np.mean(hits) >= 0.98


def test_a_short_drive_is_searched_exactly(
        route: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, 'GROWING_EXACT_BYTES', 4 * 32 * 500)
    index = GrowingIndex(32)
    index.add(route[:500])
    # Far from all of them a walk through a graph ends early; an exact search does not.
    query = -route[250]
    exact = np.linalg.norm(route[:500] - query, axis=1)
    distances, places = index.search(query, 500)
    np.testing.assert_array_equal(places, np.argsort(exact, kind='stable'))
    np.testing.assert_allclose(distances, np.sort(exact), atol=1e-3)


def test_places_may_come_in_blocks(route: np.ndarray) -> None:
    one, many = GrowingIndex(32), GrowingIndex(32)
    many.add(route[:300])
    for row in route[:300]:
        one.add(row[None])
    for query in route[300:320]:
        for ours, theirs in zip(one.search(query, K), many.search(query, K), strict=True):
            np.testing.assert_array_equal(ours, theirs)
