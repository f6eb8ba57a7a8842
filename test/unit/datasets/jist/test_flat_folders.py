"""Single images with positions in their names, and the order that the names state."""

from pathlib import Path

import numpy as np
import pytest
from refusal import refusal

from seqnet_ros.datasets.jist.flat_folders import is_flat, read_flat
from seqnet_ros.datasets.jist.msls_sequences import read_side, read_windows
from seqnet_ros.datasets.jist.sequence_folders import make_sequences


def name(index: int, panorama: object = '', tile: object = '', time: object = '',
         north: float | None = None) -> str:
    north = 7_000_000.0 + 3 * index if north is None else north
    return f'@0500000.00@{north:.2f}@56@J@-27.47722@0153.02838@{panorama}@{tile}@@@@@{time}@@.jpg'


def touch(folder: Path, names: list[str]) -> Path:
    for one in names:
        (folder / one).parent.mkdir(parents=True, exist_ok=True)
        (folder / one).touch()
    return folder.parent


def numbers_of(table) -> list[int]:
    return [int((north - 7_000_000) / 3) for north in table.positions[:, 1]]


def test_panorama_numbers_make_sequences(tmp_path):
    kept = [index for index in range(30) if index not in (9, 10)]
    split = touch(tmp_path / 'database', [name(100 - index, index) for index in kept])
    table = read_flat(split, 'database')
    assert numbers_of(table) == [100 - index for index in kept]
    windows = make_sequences(table, 5)
    assert len(windows) == 9 - 4 + 19 - 4
    assert len(make_sequences(table, 1)) == 28


def test_tiles_of_one_panorama_are_sequences_of_their_own(tmp_path):
    split = touch(tmp_path / 'queries', [name(index, f'{index:06d}', tile)
                                        for index in range(10) for tile in (0, 180)])
    table = read_flat(split, 'queries')
    assert len(table.names) == 2
    assert numbers_of(table) == [*range(10), *range(10)]
    assert len(make_sequences(table, 10)) == 2


def test_times_make_sequences_where_panoramas_have_names(tmp_path):
    order = [3, 1, 0, 2, 40, 41, 42]
    split = touch(tmp_path / 'database', [
        name(place, f'id{place}', time=f'20180101_{rank:06d}'.replace('_', ''))
        for rank, place in enumerate(order)])
    table = read_flat(split, 'database')
    assert numbers_of(table) == order
    assert len(make_sequences(table, 4)) == 1
    assert len(make_sequences(table, 3)) == 3


@pytest.mark.parametrize('names', [
    ['@0500000.00@7000000.00@a.jpg', '@0500000.00@7000003.00@b.jpg'],
    [name(index, f'id{index}') for index in range(5)],
    [name(index, 7) for index in range(5)]])
def test_names_without_order_are_windows_of_one(tmp_path, names):
    table = read_flat(touch(tmp_path / 'database', names), 'database')
    assert len(make_sequences(table, 1)) == len(names)
    assert 'the names state no order' in refusal(lambda: make_sequences(table, 2))


def test_names_of_msls_keep_sequences_and_cities(tmp_path):
    names = [f'@500000.0@{7e6 + 3 * index}@s{index // 5}@{index % 5}@k{index}@'
             f'{"cph" if index < 5 else "sf"}@2018@.jpg' for index in range(10)]
    touch(tmp_path / 'test' / 'database', names)
    table = read_side(tmp_path, 'test', 'database')
    assert table.names == ('s0', 's1')
    assert table.cities == ('cph', 'sf')
    assert len(make_sequences(table, 5)) == 2
    assert len(read_side(tmp_path, 'test', 'database', ('sf',))) == 5
    assert 'found cph, sf' in refusal(lambda: read_side(tmp_path, 'test', 'database', ('goa',)))


def test_north_comes_first_in_names_of_robotcar(tmp_path):
    split = touch(tmp_path / 'database', [f'@5735000@620{index}00@lap@{index}@{index}@.jpg'
                                          for index in range(3)])
    assert read_flat(split, 'database').positions[:, 1].tolist() == [5735000.0] * 3


def test_folders_below_do_not_matter(tmp_path):
    split = touch(tmp_path / 'database', [f'part{index % 2}/{name(index, index)}'
                                          for index in range(10)])
    assert is_flat(split / 'database')
    assert len(make_sequences(read_flat(split, 'database'), 10)) == 1


def test_folders_of_sequences_are_not_flat(tmp_path):
    split = touch(tmp_path / 'database', ['s0/@1@2@s0@0@k@city@date@.jpg'])
    assert not is_flat(split / 'database')
    (tmp_path / 'empty').mkdir()
    assert not is_flat(tmp_path / 'empty')


@pytest.mark.parametrize('where', ['test', 'images/test', '.'])
def test_where_the_sides_may_be(tmp_path, where):
    for side in ('database', 'queries'):
        touch(tmp_path / where / side, [name(index, index) for index in range(6)])
    database, queries = read_windows(tmp_path, 'test', 3)
    assert (len(database), len(queries)) == (4, 4)


def test_what_is_refused(tmp_path):
    split = touch(tmp_path / 'database', ['@a@b@c.jpg', 'plain.jpg'])
    assert 'plain.jpg has no UTM east' in refusal(lambda: read_flat(split, 'database'))
    degrees = [f'@153.0{28000 + 30 * index}@-27.47722@{index}.jpg' for index in range(9)]
    split = touch(tmp_path / 'x' / 'database', degrees)
    assert 'look like degrees' in refusal(lambda: read_flat(split, 'database'))
    assert 'cannot be listed' in refusal(lambda: read_windows(tmp_path / 'no', 'test', 1))


def test_positions_are_those_of_the_names(tmp_path):
    split = touch(tmp_path / 'database', [name(0, 0, north=7_000_001.25), name(1, 1)])
    assert np.array_equal(read_flat(split, 'database').positions,
                          [[500_000.0, 7_000_001.25], [500_000.0, 7_000_003.0]])
