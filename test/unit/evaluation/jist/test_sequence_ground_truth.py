"""Which sequences match: the any-frame rule of the published code, stricter ones, the cache."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jist_trees import TREES, make_tree, read_tree, sequences_of, table_of

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.jist.sequence_folders import Sequences, make_sequences
from seqnet_ros.evaluation.jist.sequence_ground_truth import (
    RULES,
    Rule,
    cached_ground_truth,
    sequence_ground_truth,
)
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth


def rows_of(truth: GroundTruth) -> list[list[int]]:
    return [truth.matches(row).tolist() for row in range(len(truth.has_match))]


@pytest.mark.parametrize('tree', TREES)
def test_matches_are_those_of_the_published_code(
        shared_golden: Path, tmp_path: Path, tree: str) -> None:
    golden = read_tree(shared_golden, tree)
    root = make_tree(tmp_path, golden['files'])
    for case in golden['cases']:
        odd = case['seq_length'] % 2 == 1 and not case['city']
        for compat in (True, False) if odd else (True,):
            database, queries = sequences_of(root, case, compat)
            truth = sequence_ground_truth(database, queries, case['pos_thresh'])
            matched = np.flatnonzero(truth.has_match)
            assert matched.tolist() == case['qIdx']
            assert [truth.matches(row).tolist() for row in matched] == case['pIdx']
            assert int((~truth.has_match).sum()) == case['q_without_pos']
            if case['nonNegIdx'] is not None:
                near = sequence_ground_truth(database, queries, case['neg_thresh'], rows=matched)
                assert rows_of(near) == case['nonNegIdx']


def test_published_even_lengths_match_by_a_frame_that_was_cut(
        shared_golden: Path, tmp_path: Path) -> None:
    golden = read_tree(shared_golden, 'msls_test')
    root = make_tree(tmp_path, golden['files'])
    case = {'seq_length': 4, 'reverse': False}
    published = sequence_ground_truth(*sequences_of(root, case, compat=True), 25.0)
    exact = sequence_ground_truth(*sequences_of(root, case, compat=False), 25.0)
    # Windows need no fifth frame here, and match by the frames they have.
    assert len(exact.has_match) > len(published.has_match)
    assert exact.references > published.references


def plain_truth(database: Sequences, queries: Sequences, radius: float,
                rule: Rule) -> list[list[int]]:
    """Compare every window with every other, frame by frame."""
    def deciding(window: np.ndarray) -> list[int]:
        rows = window.tolist()
        return {'any': rows, 'centre': [rows[len(rows) // 2]], 'last': rows[-1:]}[rule]

    def same(query: np.ndarray, reference: np.ndarray) -> bool:
        return any(
            queries.frames.cities[queries.frames.folders[a]]
            == database.frames.cities[database.frames.folders[b]]
            and np.sum((queries.frames.positions[a] - database.frames.positions[b]) ** 2)
            <= radius ** 2
            for a in deciding(query) for b in deciding(reference))

    return [[row for row, reference in enumerate(database.matched) if same(query, reference)]
            for query in queries.matched]


@st.composite
def drives(draw: st.DrawFn) -> Sequences:
    counts = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    length = draw(st.integers(1, 3))
    counts[0] = max(counts[0], length)
    folders = np.repeat(np.arange(len(counts)), counts)
    numbers = np.concatenate([np.arange(count) for count in counts])
    # Whole metres, so that some pairs lie exactly on the radius.
    positions = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)),
                              min_size=len(folders), max_size=len(folders)))
    cities = tuple(draw(st.lists(st.sampled_from(['a', 'b']), min_size=len(counts),
                                 max_size=len(counts))))
    return make_sequences(table_of(np.array(positions), numbers, folders, cities), length,
                          draw(st.booleans()))


@given(drives(), drives(), st.sampled_from([0.0, 1.0, 5.0]), st.sampled_from(RULES))
def test_truth_equals_comparing_every_pair(
        database: Sequences, queries: Sequences, radius: float, rule: Rule) -> None:
    wanted = plain_truth(database, queries, radius, rule)
    truth = sequence_ground_truth(database, queries, radius, rule)
    assert rows_of(truth) == wanted
    assert truth.references == len(database)
    chosen = np.arange(len(queries))[::-2]
    some = sequence_ground_truth(database, queries, radius, rule, chosen)
    assert rows_of(some) == [wanted[row] for row in chosen]


def line(count: int, *, city: str = '', offset: float = 0.0) -> Sequences:
    """Return windows of three frames a metre apart."""
    positions = np.column_stack([np.arange(count) + offset, np.zeros(count)])
    frames = table_of(positions, np.arange(count), np.zeros(count, int), (city,))
    return make_sequences(frames, 3)


def test_rules_differ_as_they_say() -> None:
    reference = line(8)
    query = line(3, offset=2.0)
    assert rows_of(sequence_ground_truth(reference, query, 0.0)) == [[0, 1, 2, 3, 4]]
    assert rows_of(sequence_ground_truth(reference, query, 0.0, 'centre')) == [[2]]
    assert rows_of(sequence_ground_truth(reference, query, 1.0, 'last')) == [[1, 2, 3]]
    reverse = make_sequences(reference.frames, 3, reverse=True)
    assert rows_of(sequence_ground_truth(reverse, query, 0.0, 'last')) == [[4]]


def test_cities_with_the_same_coordinates_are_kept_apart() -> None:
    sf, cph, unknown = line(5, city='sf'), line(5, city='cph'), line(5)
    assert not sequence_ground_truth(sf, cph, 10.0).has_match.any()
    assert sequence_ground_truth(sf, sf, 10.0).has_match.all()
    assert sequence_ground_truth(sf, unknown, 10.0).has_match.all()
    assert sequence_ground_truth(sf, replace(cph, compat=True), 10.0).has_match.all()


@pytest.mark.parametrize('block', [1, 7, 1000])
def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    rng = np.random.default_rng(0)
    folders = np.repeat(np.arange(20), 8)
    numbers = np.tile(np.arange(8), 20)
    database, queries = (
        make_sequences(table_of(rng.uniform(0, 60, (160, 2)), numbers, folders), 5) for _ in '12')
    whole = sequence_ground_truth(database, queries, 6.0)
    monkeypatch.setattr('seqnet_ros.evaluation.jist.sequence_ground_truth._BLOCK', block)
    again = sequence_ground_truth(database, queries, 6.0)
    np.testing.assert_array_equal(again.indptr, whole.indptr)
    np.testing.assert_array_equal(again.indices, whole.indices)
    assert len(whole.indices) > 1000


def test_what_cannot_be_asked_is_told() -> None:
    with pytest.raises(InputError, match="the rule is 'middle', expected one of any, centre, last"):
        sequence_ground_truth(line(4), line(4), 1.0, 'middle')  # type: ignore[arg-type]
    with pytest.raises(InputError, match='the radius is -1'):
        sequence_ground_truth(line(4), line(4), -1.0)


def test_the_cache_is_used_for_the_same_data_only(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database, queries = line(30), line(20, offset=0.5)
    calls = []

    def count(*arguments: object) -> GroundTruth:
        calls.append(arguments)
        return sequence_ground_truth(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr('seqnet_ros.evaluation.jist.sequence_ground_truth.sequence_ground_truth',
                        count)
    first = cached_ground_truth(tmp_path / 'cache', database, queries, 2.0)
    again = cached_ground_truth(tmp_path / 'cache', database, queries, 2)
    assert len(calls) == 1
    np.testing.assert_array_equal(again.indices, first.indices)
    np.testing.assert_array_equal(again.indptr, first.indptr)
    assert again.references == first.references
    moved = replace(database, frames=replace(
        database.frames, positions=database.frames.positions + 1e-3))
    renamed = replace(queries, frames=replace(
        queries.frames, paths=('other', *queries.frames.paths[1:])))
    others = [
        (database, queries, 3.0), (database, queries, 2.0, 'last'), (queries, database, 2.0),
        (make_sequences(database.frames, 4), queries, 2.0), (moved, queries, 2.0),
        (database, renamed, 2.0), (replace(database, compat=True), queries, 2.0),
        (make_sequences(database.frames, 3, reverse=True), queries, 2.0)]
    for number, other in enumerate(others, 2):
        found = cached_ground_truth(tmp_path / 'cache', *other)
        assert len(calls) == number
        assert rows_of(found) == rows_of(sequence_ground_truth(*other))
    assert len(list((tmp_path / 'cache').iterdir())) == 1 + len(others)


@pytest.mark.parametrize('damage', [
    lambda content: content[: len(content) // 2],
    lambda content: b'',
    lambda content: content.replace('2.0'.encode('utf-32-le'), '3.0'.encode('utf-32-le')),
])
def test_a_damaged_cache_is_made_anew(
        tmp_path: Path, damage, caplog: pytest.LogCaptureFixture) -> None:
    database, queries = line(30), line(20, offset=0.5)
    wanted = rows_of(cached_ground_truth(tmp_path, database, queries, 2.0))
    file = next(tmp_path.iterdir())
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert rows_of(cached_ground_truth(tmp_path, database, queries, 2.0)) == wanted
    assert 'computed again' in caplog.text
    assert file.read_bytes() == whole
    caplog.clear()
    cached_ground_truth(tmp_path, database, queries, 2.0)
    assert not caplog.text


def test_a_cache_under_a_wrong_name_is_not_used(tmp_path: Path) -> None:
    database, queries = line(30), line(20, offset=0.5)
    wide = cached_ground_truth(tmp_path, database, queries, 3.0)
    wide_file = next(tmp_path.iterdir())
    narrow = cached_ground_truth(tmp_path, database, queries, 2.0)
    narrow_file = next(file for file in tmp_path.iterdir() if file != wide_file)
    narrow_file.write_bytes(wide_file.read_bytes())
    assert rows_of(narrow) != rows_of(wide)
    assert rows_of(cached_ground_truth(tmp_path, database, queries, 2.0)) == rows_of(narrow)


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='cannot be written'):
        cached_ground_truth(tmp_path / 'file', line(5), line(5), 1.0)
