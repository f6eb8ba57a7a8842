"""The coarse index and the re-ranking against plain NumPy."""

import gc
from pathlib import Path

import faiss
import numpy as np
import pytest

from seqnet_ros.config.engine import MatchingConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import InputError, MapCorruptError
from seqnet_ros.core.poses import make_pose
from seqnet_ros.maps import index as index_module
from seqnet_ros.maps.builder import build_map
from seqnet_ros.maps.index import ExactIndex, HnswIndex, build_index, one_faiss_thread
from seqnet_ros.maps.manifest_file import INDEX
from seqnet_ros.maps.map_reader import open_map, verify_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.search.sequence_matching import SequenceMatcher, searched_speeds
from seqnet_ros.models.place_model import build_model
from seqnet_ros.sequences.centring import normalize_rows

PLACES, DIM, K = 3000, 64, 20


def smooth_route(places: int = PLACES, dim: int = DIM) -> np.ndarray:
    """Successive places are alike, far ones are not; rows differ in length, as SeqGeM's do."""
    random = np.random.default_rng(0)
    steps = np.cumsum(random.standard_normal((places, dim)), axis=0)
    steps -= np.array([np.convolve(column, np.full(101, 1 / 101), 'same') for column in steps.T]).T
    return (steps / 5).astype(np.float32)


@pytest.fixture(scope='module')
def sequences() -> np.ndarray:
    return smooth_route()


@pytest.fixture(scope='module')
def queries(sequences: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(1)
    chosen = sequences[random.integers(0, PLACES, 200)]
    return chosen + 0.3 * random.standard_normal(chosen.shape, dtype=np.float32)


@pytest.fixture(scope='module')
def graph(sequences: np.ndarray) -> HnswIndex:
    return HnswIndex.build(sequences)


def nearest(sequences: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    distances = np.linalg.norm(sequences.astype(np.float64) - query, axis=1)
    order = np.argsort(distances)[:K]
    return distances[order], order


def test_exact_search_finds_the_nearest_places(sequences, queries):
    index = ExactIndex(sequences)
    for query in queries[:20]:
        distances, places = index.search(query, K)
        expected_distances, expected = nearest(sequences, query)
        np.testing.assert_array_equal(places, expected)
        np.testing.assert_allclose(distances, expected_distances, rtol=1e-4)


def test_the_graph_finds_nearly_all_of_them(graph, sequences, queries):
    hits = [np.isin(nearest(sequences, query)[1], graph.search(query, K)[1]).mean()
            for query in queries]
    assert np.mean(hits) >= 0.98


def test_the_graph_tells_true_distances_nearest_first(graph, sequences, queries):
    distances, places = graph.search(queries[0], K)
    np.testing.assert_allclose(
        distances, np.linalg.norm(sequences[places] - queries[0], axis=1), rtol=1e-4)
    assert (np.diff(distances) >= 0).all()


@pytest.mark.parametrize('make', [ExactIndex, HnswIndex.build])
def test_no_more_places_are_found_than_there_are(make, sequences):
    distances, places = make(sequences[:7]).search(sequences[3], K)
    assert sorted(places) == list(range(7))
    assert places[0] == 3
    assert distances[0] == pytest.approx(0, abs=1e-3)


def test_the_size_of_the_descriptors_decides(sequences, monkeypatch):
    monkeypatch.setattr(index_module, 'EXACT_BYTES', sequences.nbytes)
    assert isinstance(build_index(sequences), ExactIndex)
    monkeypatch.setattr(index_module, 'EXACT_BYTES', sequences.nbytes - 1)
    assert isinstance(build_index(sequences), HnswIndex)


def test_building_twice_gives_the_same_bytes(graph, sequences, tmp_path):
    graph.save(tmp_path / 'first')
    HnswIndex.build(sequences).save(tmp_path / 'second')
    assert (tmp_path / 'first').read_bytes() == (tmp_path / 'second').read_bytes()


def test_a_saved_graph_answers_the_same_and_holds_no_descriptors(
        graph, sequences, queries, tmp_path):
    graph.save(tmp_path / 'graph')
    # Two links to each of 24 neighbours and 7 % for the upper levels, 4 bytes a link.
    assert (tmp_path / 'graph').stat().st_size < PLACES * 2 * 24 * 4 * 1.2
    np.save(tmp_path / 'sequences.npy', sequences)
    mapped = np.load(tmp_path / 'sequences.npy', mmap_mode='r')
    opened = HnswIndex.open(tmp_path / 'graph', mapped)
    del mapped
    gc.collect()  # the index has to keep alive what it reads
    for query in queries:
        for mine, saved in zip(graph.search(query, K), opened.search(query, K), strict=True):
            np.testing.assert_array_equal(mine, saved)


@pytest.mark.parametrize(('content', 'message'), [
    (b'', 'is not a readable index'),
    (b'nonsense' * 100, 'is not a readable index'),
])
def test_a_damaged_graph_is_refused(content, message, sequences, tmp_path):
    (tmp_path / 'graph').write_bytes(content)
    with pytest.raises(MapCorruptError, match=message):
        HnswIndex.open(tmp_path / 'graph', sequences)


def test_a_graph_cut_short_is_refused(graph, sequences, tmp_path):
    graph.save(tmp_path / 'graph')
    content = (tmp_path / 'graph').read_bytes()
    (tmp_path / 'graph').write_bytes(content[:len(content) // 2])
    with pytest.raises(MapCorruptError, match='is not a readable index'):
        HnswIndex.open(tmp_path / 'graph', sequences)


@pytest.mark.parametrize('damage', ['link', 'negative link', 'level', 'entry'])
def test_a_graph_that_leads_out_of_the_map_is_refused(damage, graph, sequences, tmp_path):
    """Faiss follows links without looking: it would read beyond the descriptors."""
    graph.save(tmp_path / 'graph')
    damaged = faiss.read_index(str(tmp_path / 'graph'), faiss.IO_FLAG_SKIP_STORAGE)
    hnsw = damaged.hnsw
    links = faiss.vector_to_array(hnsw.neighbors)
    if damage == 'entry':
        hnsw.entry_point = int(np.flatnonzero(faiss.vector_to_array(hnsw.levels) == 1)[0])
    elif damage == 'level':
        # A link of an upper level to a place that is on the lowest one only.
        levels = faiss.vector_to_array(hnsw.levels)
        first = hnsw.offsets.at(int(hnsw.entry_point)) + hnsw.cum_nneighbor_per_level.at(1)
        links[first] = int(np.flatnonzero(levels == 1)[0])
    else:
        links[7] = len(sequences) if damage == 'link' else -2
    faiss.copy_array_to_vector(links, hnsw.neighbors)
    faiss.write_index(damaged, str(tmp_path / 'damaged'), faiss.IO_FLAG_SKIP_STORAGE)
    with pytest.raises(MapCorruptError, match=r'its links lead out of the map|not a readable'):
        HnswIndex.open(tmp_path / 'damaged', sequences)


def test_the_graph_of_another_map_is_refused(graph, sequences, tmp_path):
    graph.save(tmp_path / 'graph')
    with pytest.raises(MapCorruptError, match=f'indexes {PLACES} places of {DIM} values, '
                                              f'expected {PLACES - 1} of {DIM}'):
        HnswIndex.open(tmp_path / 'graph', sequences[1:])


def test_an_index_of_another_kind_is_refused(sequences, tmp_path):
    faiss.write_index(faiss.IndexFlatL2(DIM), str(tmp_path / 'flat'))
    with pytest.raises(MapCorruptError, match=r'is a IndexFlat.*, expected an IndexHNSWFlat'):
        HnswIndex.open(tmp_path / 'flat', sequences)


def test_the_number_of_threads_comes_back():
    before = faiss.omp_get_max_threads()
    with one_faiss_thread():
        assert faiss.omp_get_max_threads() == 1
    assert faiss.omp_get_max_threads() == before


def test_a_map_with_a_graph_is_saved_and_opened(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(index_module, 'EXACT_BYTES', 0)
    model = build_model(parse_preset({
        'name': 'small', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 16, 'block': 32}, 'sequence': {'length': 5}}), 'cpu')
    descriptors = normalize_rows(smooth_route(500, model.describer.dim))
    poses = np.stack([make_pose(float(number), 0.0) for number in range(500)])
    made = build_map(model, descriptors, range(500), poses, [0] * 500, '1m')
    save_map(made, tmp_path / 'map')
    assert (tmp_path / 'map' / INDEX).is_file()
    verify_map(tmp_path / 'map')
    opened = open_map(tmp_path / 'map', model)
    assert isinstance(opened.index, HnswIndex)
    for query in made.sequences[::50]:
        for mine, saved in zip(made.index.search(query, K), opened.index.search(query, K),
                               strict=True):
            np.testing.assert_array_equal(mine, saved)


@pytest.mark.parametrize('reverse', [False, True])
def test_frame_distances_are_those_of_numpy(reverse, tmp_path):
    np.save(tmp_path / 'frames.npy', normalize_rows(smooth_route(400, 96)))
    frames = np.load(tmp_path / 'frames.npy', mmap_mode='r')
    starts, ends = np.repeat([0, 150], [150, 250]), np.repeat([150, 400], [150, 250])
    speeds = searched_speeds(MatchingConfig())
    matcher = SequenceMatcher(frames, lambda places: (starts[places], ends[places]), speeds)
    random = np.random.default_rng(2)
    window = normalize_rows(frames[40:45] + 0.05 * random.standard_normal((5, 96)))
    places = np.array([0, 3, 44, 149, 150, 152, 399])
    found = matcher.match(window.astype(np.float32), places, reverse)
    for position, place in enumerate(places):
        age = np.arange(4, -1, -1)
        steps = np.rint(age * found.speeds[position]).astype(int)
        rows = np.clip(place + steps if reverse else place - steps,
                       starts[place], ends[place] - 1)
        expected = np.linalg.norm(frames[rows] - window, axis=1).mean()
        assert found.distances[position] == pytest.approx(expected, abs=1e-5)


def test_a_window_of_another_size_is_refused():
    frames = normalize_rows(smooth_route(200, 96))
    one_stretch = np.array([0]), np.array([200])
    matcher = SequenceMatcher(frames, lambda _: one_stretch, np.ones(1))
    with pytest.raises(InputError, match='the window has 95 values a frame, the map has 96'):
        matcher.match(frames[:5, :95], np.array([10]))
