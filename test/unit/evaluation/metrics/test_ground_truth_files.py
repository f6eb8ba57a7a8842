"""Ground truth as other projects keep it: matrices, lists and tables."""

import numpy as np
import pytest
from refusal import refusal

from seqnet_ros.evaluation.metrics.ground_truth_files import read_ground_truth, read_pair_table

REFERENCES, QUERIES = 5, 3
MATCHES = [[0, 1], [], [4]]


def matrix() -> np.ndarray:
    found = np.zeros((QUERIES, REFERENCES), dtype=bool)
    for query, rows in enumerate(MATCHES):
        found[query, rows] = True
    return found


def lists() -> np.ndarray:
    found = np.empty(QUERIES, dtype=object)
    found[:] = MATCHES
    return found


def pairs() -> np.ndarray:
    found = np.empty((QUERIES, 2), dtype=object)
    for query, rows in enumerate(MATCHES):
        found[query] = [query, np.array(rows, dtype=np.int64)]
    return found


@pytest.mark.parametrize('array', [
    matrix(), matrix().astype(np.uint8), matrix().astype(np.float32), matrix().T,
    np.array([[0, 1], [-1, -1], [4, -1]]), lists(), pairs()],
    ids=['bool', 'bytes', 'float', 'turned', 'filled', 'lists', 'pairs'])
@pytest.mark.parametrize('suffix', ['.npy', '.npz'])
def test_all_forms_say_the_same(tmp_path, array, suffix):
    file = tmp_path / f'truth{suffix}'
    np.save(file, array) if suffix == '.npy' else np.savez(file, mine=array)
    found = read_ground_truth(file, REFERENCES, QUERIES)
    assert [found.matches(query).tolist() for query in range(QUERIES)] == MATCHES
    assert found.references == REFERENCES


def test_one_row_for_each_query(tmp_path):
    np.save(tmp_path / 'truth.npy', np.array([3, -1, 0]))
    found = read_ground_truth(tmp_path / 'truth.npy', REFERENCES, QUERIES)
    assert [found.matches(query).tolist() for query in range(QUERIES)] == [[3], [], [0]]


def test_square_matrices_of_places_by_queries_are_known_by_name(tmp_path):
    square = np.triu(np.ones((4, 4), dtype=bool))
    np.savez(tmp_path / 'places.npz', GThard=square, GTsoft=np.ones((4, 4), dtype=bool))
    np.savez(tmp_path / 'queries.npz', gt=square)
    assert read_ground_truth(tmp_path / 'places.npz', 4, 4).matches(1).tolist() == [0, 1]
    assert read_ground_truth(tmp_path / 'queries.npz', 4, 4).matches(1).tolist() == [1, 2, 3]


def test_rows_of_a_ground_truth(tmp_path):
    np.save(tmp_path / 'truth.npy', matrix())
    whole = read_ground_truth(tmp_path / 'truth.npy', REFERENCES, QUERIES)
    found = whole.take(np.array([1, 3, 4]), np.array([0, 2]))
    assert [found.matches(query).tolist() for query in range(2)] == [[0], [2]]


@pytest.mark.parametrize(('array', 'message'), [
    (np.ones((2, 5), dtype=bool), r'bool [2, 5] for 3 queries and 5 references'),
    (np.array([0, 1, 7]), 'has the reference 7, but there are 5'),
    (np.array([0.5, 1, 2]), 'holds float64 [3] for 3 queries'),
    (np.array([[0], [1]]), 'holds int64 [2, 1]')])
def test_what_does_not_fit_is_refused(tmp_path, array, message):
    np.save(tmp_path / 'truth.npy', array)
    assert message in refusal(lambda: read_ground_truth(tmp_path / 'truth.npy', 5, 3))


def test_lists_that_do_not_fit_are_refused(tmp_path):
    short = np.empty(2, dtype=object)
    short[:] = [[0], [1, 2]]
    np.save(tmp_path / 'truth.npy', short)
    assert 'lists for 2 queries, expected 3' in refusal(
        lambda: read_ground_truth(tmp_path / 'truth.npy', 5, 3))
    words = np.empty(3, dtype=object)
    words[:] = [['a'], ['b', 'c'], []]
    np.save(tmp_path / 'words.npy', words)
    assert 'holds no lists of rows' in refusal(
        lambda: read_ground_truth(tmp_path / 'words.npy', 5, 3))
    np.savez(tmp_path / 'two.npz', a=np.zeros(3), b=np.zeros(3))
    assert 'holds a, b, expected one array' in refusal(
        lambda: read_ground_truth(tmp_path / 'two.npz', 5, 3))


def test_a_table_of_names_or_rows(tmp_path):
    file = tmp_path / 'pairs.csv'
    file.write_text('query,map\na.jpg,p1.png\na.jpg,4\n2,0\n1,\n')
    names = ['a.jpg', 'b.jpg', 'c.jpg'], [f'p{row}.png' for row in range(5)]
    found = read_pair_table(file, names[1], names[0])
    assert [found.matches(query).tolist() for query in range(3)] == [[1, 4], [], [0]]
    wider = read_pair_table(file, names[1], names[0], tolerance=1)
    assert [wider.matches(query).tolist() for query in range(3)] == [[0, 1, 2, 3, 4], [], [0, 1]]
