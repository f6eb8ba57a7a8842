"""The belief along a drive: small on any drive, and without losing what was probable."""

from pathlib import Path

import numpy as np
import pytest

from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.replay.belief_history import (
    BELIEF,
    BeliefHistory,
    BeliefRecorder,
    read_belief,
    write_belief,
)


def record(beliefs: np.ndarray, columns: int = 600, rows: int = 300) -> BeliefHistory:
    recorder = BeliefRecorder(columns, rows)
    for belief in beliefs:
        recorder.add(belief)
    history = recorder.history()
    assert history is not None
    return history


def test_a_short_drive_is_kept_as_it_is():
    beliefs = np.random.default_rng(1).random((7, 9))
    history = record(beliefs)
    np.testing.assert_allclose(history.probabilities, beliefs, rtol=1e-6)
    assert (history.stride, history.results, history.places) == (1, 7, 9)


@pytest.mark.parametrize(('results', 'stride', 'columns'), [
    (20, 1, 20), (21, 2, 11), (40, 2, 20), (41, 4, 11), (1000, 64, 16)])
def test_columns_are_halved_when_they_are_full(results, stride, columns):
    beliefs = np.random.default_rng(2).random((results, 50))
    history = record(beliefs, 20, 10)
    assert (history.stride, history.results) == (stride, results)
    assert history.probabilities.shape == (columns, 10)
    # Each group: the sum over its places, the largest over its results.
    sums = beliefs.reshape(results, 10, 5).sum(axis=2)
    expected = [sums[first:first + stride].max(axis=0) for first in range(0, results, stride)]
    np.testing.assert_allclose(history.probabilities, expected, rtol=1e-6)


def test_many_results_take_no_more_memory():
    recorder = BeliefRecorder(4, 3)
    belief = np.full(5, 0.2)
    for _ in range(100_000):
        recorder.add(belief)
    history = recorder.history()
    assert history.probabilities.shape == (4, 3)
    np.testing.assert_allclose(history.probabilities, [[0.2, 0.4, 0.4]] * 4)


def test_what_is_written_is_read_back_to_the_byte(tmp_path: Path):
    history = record(np.random.default_rng(3).random((30, 40)) / 40, 20, 10)
    write_belief(tmp_path, history)
    first = (tmp_path / BELIEF).read_bytes()
    found = read_belief(tmp_path)
    np.testing.assert_array_equal(found.probabilities, history.probabilities)
    np.testing.assert_array_equal(found.bounds, history.bounds)
    assert (found.stride, found.results) == (history.stride, history.results)
    write_belief(tmp_path, found)
    assert (tmp_path / BELIEF).read_bytes() == first


def test_a_run_without_the_filter_leaves_no_belief(tmp_path: Path):
    assert BeliefRecorder().history() is None
    write_belief(tmp_path, record(np.ones((1, 1))))
    write_belief(tmp_path, None)
    assert read_belief(tmp_path) is None
    (tmp_path / BELIEF).write_bytes(b'no arrays')
    with pytest.raises(InputError, match='not the belief of an evaluation'):
        read_belief(tmp_path)


@pytest.mark.parametrize(('name', 'value', 'message'), [
    ('probabilities', np.full((7, 3), np.nan, np.float32), 'not between 0 and 1'),
    ('probabilities', np.full((7, 3), 1.5, np.float32), 'not between 0 and 1'),
    ('probabilities', np.zeros((7, 3)), r'float64 \[7, 3\], expected float32'),
    ('bounds', np.arange(5), r'int64 \[5\], expected int64 \[4\]'),
    ('bounds', np.array([0, 2, 1, 3]), 'do not ascend'),
    ('stride', np.int64(2), '7 groups of 2 cannot hold 7 results'),
    ('results', np.int64(10**9), 'cannot hold 1000000000'),
])
def test_an_altered_belief_is_refused(tmp_path: Path, name, value, message):
    write_belief(tmp_path, record(np.full((7, 3), 0.1)))
    with np.load(tmp_path / BELIEF) as arrays:
        np.savez(tmp_path / BELIEF, **{**arrays, name: value})
    with pytest.raises(InputError, match=message):
        read_belief(tmp_path)
