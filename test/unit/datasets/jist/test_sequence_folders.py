"""Sequences of JIST: folders, windows, and how MSLS and RobotCar become such folders."""

import os
import pickle
import zipfile
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jist_trees import (
    TREES,
    make_tree,
    paths_of,
    read_tree,
    sequences_of,
    table_of,
    write_lap_files,
    write_msls,
)

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image
from seqnet_ros.datasets.jist.msls_sequences import CITIES, cities_by_split, read_official
from seqnet_ros.datasets.jist.original_caches import read_cache
from seqnet_ros.datasets.jist.robotcar import frame_names, read_lap, thin, write_lap
from seqnet_ros.datasets.jist.sequence_folders import SIDES, make_sequences, read_frames
from seqnet_ros.datasets.jist.sequence_writer import Placement, frame_name, place_images
from seqnet_ros.datasets.prefetch import prefetch_images
from seqnet_ros.datasets.utm_grid import from_utm, to_utm, truncated


@pytest.mark.parametrize('tree', TREES)
def test_windows_are_those_of_the_published_code(
        shared_golden: Path, tmp_path: Path, tree: str) -> None:
    golden = read_tree(shared_golden, tree)
    # The published code wants 'msls' in the path, and neither a comma nor an @.
    root = make_tree(tmp_path / 'any, path @ all', golden['files'])
    for case in golden['cases']:
        odd = case['seq_length'] % 2 == 1 and not case['city']
        for compat in (True, False) if odd else (True,):
            database, queries = sequences_of(root, case, compat)
            for sequences, key, side in ((database, 'db_windows', 'database'),
                                         (queries, 'q_windows', 'queries')):
                files = golden['files'][side]
                assert paths_of(sequences) == [
                    [files[row] for row in window] for window in case[key]]
                used = sequences.compact().frames.positions
                name = {'database': 'database_utms', 'queries': 'queries_utms'}[side]
                assert list(used.shape) == case[f'{name}_shape']
                # RobotCar states the northing first; here the easting is first everywhere.
                ends = used[[0, -1]] if 'msls' in tree else used[[0, -1], ::-1]
                assert ends.tolist() == case[f'{name}_first_last']


def plain_windows(numbers: np.ndarray, folders: np.ndarray, length: int) -> list[list[int]]:
    """Take every start and look at each step."""
    found = []
    for first in range(len(numbers) - length + 1):
        rows = list(range(first, first + length))
        if all(numbers[b] - numbers[a] == 1 and folders[a] == folders[b]
               for a, b in pairwise(rows)):
            found.append(rows)
    return found


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=9), min_size=1, max_size=5),
       st.integers(1, 6), st.booleans(), st.booleans())
def test_windows_are_the_runs_of_successive_numbers(
        sequences: list[list[int]], length: int, reverse: bool, compat: bool) -> None:
    numbers = np.concatenate([sorted(sequence) for sequence in sequences])
    folders = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    frames = table_of(np.zeros((len(numbers), 2)), numbers, folders)
    built = length + 1 if compat and length % 2 == 0 else length
    wanted = plain_windows(numbers, folders, built)
    if not wanted:
        with pytest.raises(InputError, match=f'no {built} frames .* have successive numbers'):
            make_sequences(frames, length, reverse, compat)
        return
    found = make_sequences(frames, length, reverse, compat)
    ordered = [rows[::-1] if reverse else rows for rows in wanted]
    assert found.matched.tolist() == ordered
    assert found.windows.tolist() == [rows[:length] for rows in ordered]


def test_lengths_below_one_are_refused() -> None:
    frames = table_of(np.zeros((3, 2)), np.arange(3), np.zeros(3, int))
    with pytest.raises(InputError, match='length is 0, expected 1 or more'):
        make_sequences(frames, 0)
    with pytest.raises(InputError, match=r'no 4 frames .* the longest run is of 3'):
        make_sequences(frames, 4)


NAME = '@0390303.07@1712728.41@{sequence}@{number}@key@{city}@20170630@.jpg'


def write_sequence(folder: Path, sequence: str, numbers: list[int], city: str) -> None:
    (folder / sequence).mkdir(parents=True)
    for number in numbers:
        (folder / sequence / NAME.format(sequence=sequence, number=number, city=city)).touch()


def test_cities_are_told_apart_by_their_field(tmp_path: Path) -> None:
    write_sequence(tmp_path / 'database', 'plain', [0, 1], 'goa')
    write_sequence(tmp_path / 'database', 'xgoax', [0, 1], 'zurich')
    assert read_frames(tmp_path, 'database', ['goa']).names == ('plain',)
    assert read_frames(tmp_path, 'database', ['goa'], compat=True).names == ('plain', 'xgoax')
    assert read_frames(tmp_path, 'database').cities == ('goa', 'zurich')
    assert read_frames(tmp_path, 'database', ['zurich', 'goa']).names == ('plain', 'xgoax')
    for compat in (False, True):
        with pytest.raises(InputError, match=r"no sequence in .* is of 'paris', found goa, zurich"):
            read_frames(tmp_path, 'database', ['goa', 'paris'], compat)


def test_frames_are_sorted_by_number_not_by_text(tmp_path: Path) -> None:
    write_sequence(tmp_path / 'queries', 'b', [10, 9, 2], 'goa')
    write_sequence(tmp_path / 'queries', 'a', [100, 99], 'goa')
    (tmp_path / 'queries' / 'a' / '.hidden.jpg').touch()
    (tmp_path / 'queries' / 'a' / 'notes.txt').touch()
    (tmp_path / 'queries' / 'list.txt').touch()
    (tmp_path / 'queries' / 'empty').mkdir()
    frames = read_frames(tmp_path, 'queries')
    assert frames.numbers.tolist() == [99, 100, 2, 9, 10]
    assert frames.folders.tolist() == [0, 0, 1, 1, 1]
    assert frames.path(0).is_file()
    windows = make_sequences(frames, 2)
    assert windows.windows.tolist() == [[0, 1], [3, 4]]
    assert windows.cities.tolist() == ['goa', 'goa']


@pytest.mark.parametrize(('file', 'complaint'), [
    ('frame.jpg', 'has no first coordinate'),
    ('@1.0@2.0@key@.jpg', r'has no frame number \(field 4'),
    ('@1.0@two@key@3@.jpg', "has the second coordinate 'two', expected a number"),
    ('@1.0@2.0@key@3.5@.jpg', 'has the frame number 3.5, expected a whole number'),
])
def test_bad_names_are_told(tmp_path: Path, file: str, complaint: str) -> None:
    (tmp_path / 'database' / 'key').mkdir(parents=True)
    (tmp_path / 'database' / 'key' / file).touch()
    with pytest.raises(InputError, match=complaint) as caught:
        read_frames(tmp_path, 'database')
    assert f'database/key/{file}' in str(caught.value)


def test_missing_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='database cannot be listed: No such file'):
        read_frames(tmp_path, 'database')
    (tmp_path / 'database').mkdir()
    with pytest.raises(InputError, match='holds no sequence, expected folders of images'):
        read_frames(tmp_path, 'database')
    with pytest.raises(InputError, match="side is 'query', expected database or queries"):
        read_frames(tmp_path, 'query')


def test_compact_keeps_windows_and_drops_the_rest() -> None:
    numbers = np.array([0, 2, 3, 4, 9, 0, 1, 5])
    folders = np.array([0, 0, 0, 0, 0, 1, 1, 1])
    frames = table_of(np.arange(16).reshape(8, 2), numbers, folders)
    whole = make_sequences(frames, 2)
    compact = whole.compact()
    assert len(compact.frames) == 5
    assert paths_of(compact) == paths_of(whole)
    np.testing.assert_array_equal(compact.frames.positions[compact.windows],
                                  frames.positions[whole.windows])
    lost = np.zeros(5, dtype=bool)
    lost[0] = True
    assert compact.without_frames(lost).windows.tolist() == [[1, 2], [3, 4]]
    with pytest.raises(InputError, match='each of the 3 windows contains one of 5 unreadable '
                                         'frames'):
        compact.without_frames(np.ones(5, dtype=bool))


def test_published_cache_of_sequences_is_read(shared_golden: Path) -> None:
    golden = read_tree(shared_golden, 'msls_train')
    case = next(case for case in golden['cases'] if case['city'] and case['seq_length'] == 5)
    file = shared_golden / 'jist' / 'sequences' / 'msls_seq5_goa.torch'
    cache = read_cache(file)
    for sequences, key, side in ((cache.database, 'db_windows', 'database'),
                                 (cache.queries, 'q_windows', 'queries')):
        files = golden['files'][side]
        assert paths_of(sequences) == [[files[row] for row in window] for window in case[key]]
    assert cache.matched_queries.tolist() == case['qIdx']
    assert [rows.tolist() for rows in cache.positives] == case['pIdx']
    assert [rows.tolist() for rows in cache.non_negatives] == case['nonNegIdx']
    assert set(cache.database.frames.cities) == {'goa', 'zurich'}


def test_published_matches_that_are_all_as_many_come_as_one_array(tmp_path: Path) -> None:
    frames = [f'database/s/@{n}@2@s@{n}@.jpg' for n in range(4)]
    queries = [path.replace('database', 'queries') for path in frames[:2]]
    torch.save({
        'db_paths': frames, 'q_paths': queries, 'qIdx': np.array([0, 1]),
        'pIdx': np.array([np.array([0, 1]), np.array([1, 2])], dtype=object),
        'nonNegIdx': [np.array([], dtype=np.int64), np.array([3])]}, tmp_path / 'msls_seq1_.torch')
    cache = read_cache(tmp_path / 'msls_seq1_.torch')
    assert [rows.tolist() for rows in cache.positives] == [[0, 1], [1, 2]]
    assert [rows.tolist() for rows in cache.non_negatives] == [[], [3]]


class _Bad:
    def __reduce__(self) -> tuple:
        return os.mkdir, ('made',)


@pytest.mark.parametrize(('changed', 'complaint'), [
    ({'qIdx': _Bad()}, 'refers to .*mkdir, which is refused'),
    ({'pIdx': None}, 'pIdx is not a list'),
    ({'pIdx': [[7]]}, 'refers to windows that do not exist, expected 0 to 0'),
    ({'pIdx': []}, '1 queries, but matches of 0 and 1'),
    ({'db_paths': ['database/s/@1@2@s@0@.jpg,database/s/@1@2@s@1@.jpg',
                   'database/s/@1@2@s@0@.jpg']}, r'windows of \[1, 2\] frames'),
    ({'db_paths': [3]}, 'is not a list of paths'),
    (None, 'is not a cache of sequences'),
])
def test_bad_caches_of_sequences_are_told(
        tmp_path: Path, changed: dict | None, complaint: str) -> None:
    good = {'db_paths': ['database/a,b/@1@2@s@0@.jpg,database/a,b/@1@2@s@1@.jpg'],
            'q_paths': ['queries/s/@1@2@s@0@.jpg,queries/s/@1@2@s@1@.jpg'],
            'qIdx': [0], 'pIdx': [[0]], 'nonNegIdx': [[0]]}
    file = tmp_path / 'msls_seq2_.torch'

    def write(content: object) -> None:
        with zipfile.ZipFile(file, 'w') as archive:
            archive.writestr('msls/data.pkl', pickle.dumps(content, protocol=2))

    write(good)
    assert read_cache(file).database.frames.names == ('a,b',)
    write({} if changed is None else {**good, **changed})
    with pytest.raises(InputError, match=complaint):
        read_cache(file)
    assert not Path('made').exists()


def test_utm_is_that_of_published_examples() -> None:
    # The CN Tower in Toronto (Wikipedia, Universal Transverse Mercator): 17T 630084 4833438.
    found = to_utm(np.array([43.642567]), np.array([-79.387139]))
    assert (found.zone, found.letter) == (17, 'T')
    np.testing.assert_allclose(found.positions, [[630084, 4833438]], atol=1.0)
    # On the central meridian the easting is 500 km, and north of the equator lies the scaled
    # meridian arc: 0.9996 x 4 984 944.38 m at 45 degrees.
    found = to_utm(np.array([45.0]), np.array([9.0]))
    np.testing.assert_allclose(found.positions, [[500000, 0.9996 * 4984944.378]], atol=0.01)


def test_a_city_on_a_border_has_one_zone() -> None:
    east_of_border = np.array([5.9, 6.1, 5.95])
    found = to_utm(np.full(3, 48.0), east_of_border)
    assert found.zone == 31
    assert np.diff(found.positions[:, 0])[0] == pytest.approx(0.2 * 74625, rel=0.01)
    back = from_utm(found.positions, found.zone, found.letter)
    np.testing.assert_allclose(back, np.column_stack([np.full(3, 48.0), east_of_border]),
                               atol=1e-6)
    equator = to_utm(np.array([0.001, -0.001, 0.002]), np.full(3, 32.6))
    assert equator.positions[:, 1].min() < 0 < equator.positions[:, 1].max()


@pytest.mark.parametrize(('latitude', 'longitude'), [(91.0, 0.0), (np.nan, 0.0), (0.0, 181.0)])
def test_places_off_the_grid_are_told(latitude: float, longitude: float) -> None:
    with pytest.raises(InputError, match=r'position 1 is .*, expected degrees north'):
        to_utm(np.array([1.0, latitude]), np.array([1.0, longitude]))


@pytest.mark.parametrize(('value', 'text'), [
    (390303.079, '0390303.07'), (5.0, '0000005.00'), (-12.349, '-000012.34'), (0.1, '0000000.10')])
def test_coordinates_are_cut_off_not_rounded(value: float, text: str) -> None:
    assert truncated(value, 7, 2) == text


def test_names_with_marks_are_refused() -> None:
    assert frame_name(1, 2, 's', 3, 'k', 'goa', '2017') == (
        '@0000001.00@0000002.00@s@3@k@goa@2017@.jpg')
    with pytest.raises(InputError, match="'go@a' cannot be part of the name"):
        frame_name(1, 2, 's', 3, 'k', 'go@a', '2017')


@pytest.fixture
def msls(tmp_path: Path) -> Path:
    root = tmp_path / 'official'
    drive = [(f'a{n}', 'second', n, 3 * n, n == 3) for n in range(7)]
    other = [(f'b{n}', 'first', 10 - n, 2 * n, False) for n in range(4)]
    write_msls(root, 'cph', 'database', drive + other, 55.7)
    write_msls(root, 'cph', 'query', [(f'c{n}', 'third', n, 3 * n, False) for n in range(5)], 55.7)
    write_msls(root, 'amsterdam', 'database', [('d0', 'fourth', 0, 0, False)], 52.4)
    write_msls(root, 'amsterdam', 'query', [('e0', 'fifth', 0, 0, False)], 52.4)
    return root


def test_official_layout_in_place_and_converted_are_the_same(msls: Path, tmp_path: Path) -> None:
    done: list[int] = []
    for split in ('val', 'test'):
        for side in SIDES:
            official = read_official(msls, split, side)
            written = official.write(tmp_path / 'new' / split / side, progress=done.append)
            in_place = official.table
            assert (written.images, written.copied) == (len(in_place), 0)
            converted = read_frames(tmp_path / 'new' / split, side)
            assert converted.names == in_place.names
            assert converted.cities == in_place.cities
            np.testing.assert_array_equal(converted.positions, in_place.positions)
            np.testing.assert_array_equal(converted.numbers, in_place.numbers)
            np.testing.assert_array_equal(converted.folders, in_place.folders)
            for row in range(len(converted)):
                assert converted.path(row).samefile(in_place.path(row))
    assert done == [1, 1, *range(1, 11), *range(1, 6)]
    assert read_official(msls, 'test', 'database').panoramas == 1
    database = read_frames(tmp_path / 'new' / 'test', 'database')
    assert database.names == ('first', 'second')
    assert database.numbers.tolist() == [7, 8, 9, 10, 0, 1, 2, 4, 5, 6]
    assert make_sequences(database, 3).windows.tolist() == [
        [0, 1, 2], [1, 2, 3], [4, 5, 6], [7, 8, 9]]
    steps = np.diff(database.positions[4:7, 1])
    np.testing.assert_allclose(steps, 3.0, atol=0.03)
    assert database.paths[0].startswith('database/first/@0')
    assert database.paths[0].endswith('@first@7@b3@cph@20180817@.jpg')


def test_a_conversion_can_be_repeated_and_can_stand_alone(msls: Path, tmp_path: Path) -> None:
    official = read_official(msls, 'val', 'database')
    for copy in (False, True):
        folder = tmp_path / f'copy-{copy}' / 'database'
        written = official.write(folder, copy)
        assert written == official.write(folder, copy)
        assert written.copied == copy
        image = read_frames(folder.parent, 'database').path(0)
        assert image.samefile(official.table.path(0)) != copy
    image.write_bytes(b'another image')
    with pytest.raises(InputError, match=r'd0@.* exists and differs from .*d0\.jpg, expected'):
        official.write(folder, copy=True)
    assert image.read_bytes() == b'another image'


def test_broken_rows_and_images_are_counted(msls: Path, tmp_path: Path) -> None:
    folder = msls / 'train_val' / 'cph' / 'database'
    raw = (folder / 'raw.csv').read_text().splitlines()
    raw[1] = raw[1].replace('12.5', '')
    raw.append('99,unknown,12.5,55.7,0.0,2018-08-17,False')
    raw.append('100,short')
    (folder / 'raw.csv').write_text('\n'.join(raw) + '\n')
    with (folder / 'seq_info.csv').open('a') as file:
        file.write('11,zz,second,many\n')
    (folder / 'images' / 'a1.jpg').unlink()
    (folder / 'images' / 'a2.jpg').write_bytes(b'')
    official = read_official(msls, 'test', 'database')
    assert (len(official.problems), official.panoramas) == (4, 1)
    assert "seq_info.csv line 13: frame_number is 'many'" in official.problems[0]
    written = official.write(tmp_path / 'new' / 'test' / 'database')
    assert (written.images, written.lost) == (7, 2)
    assert 'a1.jpg is missing or empty' in written.first_lost
    assert len(read_frames(tmp_path / 'new' / 'test', 'database')) == 7


def test_the_official_folder_is_checked(msls: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="split is 'tset', expected train, val, test"):
        read_official(msls, 'tset', 'database')
    with pytest.raises(InputError, match="side is 'query', expected database or queries"):
        read_official(msls, 'test', 'query')
    with pytest.raises(InputError, match=r'holds none of trondheim, .*nairobi'):
        read_official(msls, 'train', 'database')
    with pytest.raises(InputError, match="'cph' is not a city of val, expected some of amsterdam"):
        read_official(msls, 'val', 'database', ['cph'])
    raw = msls / 'train_val' / 'cph' / 'query' / 'raw.csv'
    whole = raw.read_text()
    raw.write_text(whole.replace('pano', 'pan'))
    with pytest.raises(InputError, match=r'raw\.csv has the columns .* expected pano among'):
        read_official(msls, 'test', 'queries')
    raw.write_text(whole.replace('False', 'True'))
    with pytest.raises(InputError, match=r'official has no usable image of test queries$'):
        read_official(msls, 'test', 'queries')
    raw.unlink()
    with pytest.raises(InputError, match=r'raw\.csv cannot be read'):
        read_official(msls, 'test', 'queries')
    with pytest.raises(InputError, match='holds no train_val, expected the folder of the Mapil'):
        read_official(tmp_path, 'test', 'queries')


def test_cities_have_the_splits_of_the_papers(msls: Path) -> None:
    assert sum(map(len, CITIES.values())) == 24
    assert cities_by_split(msls) == {'val': ('amsterdam',), 'test': ('cph',)}
    assert cities_by_split(msls, ['cph']) == {'test': ('cph',)}
    with pytest.raises(InputError, match=r'train_val holds none of sf$'):
        cities_by_split(msls, ['cph', 'sf'])
    with pytest.raises(InputError, match="'miami' is not a city with published positions"):
        cities_by_split(msls, ['miami'])


def test_images_are_read_ahead_in_order_and_not_further(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((2, 2, 3), number, np.uint8))
    (tmp_path / '7.png').write_bytes(b'damaged')
    asked: list[int] = []

    def paths():
        for number in range(30):
            asked.append(number)
            yield tmp_path / f'{number}.png'

    found = []
    for image in prefetch_images(paths(), 4):
        found.append(image)
        assert len(asked) <= len(found) + 4
    assert isinstance(found[7], InputError)
    assert [int(image[0, 0, 0]) for image in found if not isinstance(image, InputError)] == [
        number for number in range(30) if number != 7]
    # Who stops early does not wait for the rest.
    asked.clear()
    images = prefetch_images(paths(), 4)
    next(images)
    images.close()
    assert len(asked) == 5


def test_links_fall_back_to_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError('another file system')

    monkeypatch.setattr(os, 'link', refuse)
    (tmp_path / 'a').write_bytes(b'image')
    written = place_images([Placement(tmp_path / 'a', tmp_path / 'new' / 'b'),
                            Placement(tmp_path / 'none', tmp_path / 'new' / 'c')])
    assert (written.images, written.copied, written.lost) == (1, 1, 1)
    assert (tmp_path / 'new' / 'b').read_bytes() == b'image'
    with pytest.raises(InputError, match='cannot be written'):
        place_images([Placement(tmp_path / 'a', tmp_path / 'a' / 'c')])


def test_robotcar_laps_become_one_sequence(tmp_path: Path) -> None:
    second = 1_000_000
    stamps = [100 * second + n * second // 4 for n in range(20)]
    # A record each half second, one metre apart, in the wrong order and with broken rows.
    records = {100 * second + n * second // 2: (5735000.123456 + n, 620000.5) for n in range(8)}
    lap_folder = write_lap_files(tmp_path / 'lap', stamps, dict(reversed(records.items())))
    with (lap_folder / 'rtk.csv').open('a') as file:
        file.write('1,2\nx,51.7,-1.2,5735000,620000\n')
    lap = read_lap(lap_folder / 'left', lap_folder / 'rtk.csv', '2014-12-16-18-44-24')
    assert (lap.broken, lap.unplaced) == (2, 1)
    np.testing.assert_allclose(lap.positions[:4, 1] - 5735000.123456, [0, 0, 1, 1], atol=1e-6)
    rows, names = frame_names(lap)
    assert rows.tolist() == [0, 4, 8, 12]
    assert names[1] == f'@5735002.123456@620000.500000@2014-12-16-18-44-24@1@{stamps[4]}@.jpg'
    done: list[int] = []
    (lap.images[8]).write_bytes(b'')
    written = write_lap(lap, tmp_path / 'test' / 'queries', progress=done.append)
    assert done == [1, 2, 3, 4]
    assert (written.images, written.lost) == (3, 1)
    assert write_lap(lap, tmp_path / 'test' / 'queries').images == 3
    with pytest.raises(InputError, match='exists and is of another lap or spacing'):
        write_lap(lap, tmp_path / 'test' / 'queries', spacing=1.0)
    frames = read_frames(tmp_path / 'test', 'queries')
    assert frames.numbers.tolist() == [0, 1, 3]
    assert frames.positions[0].tolist() == [620000.5, 5735000.123456]
    assert frames.cities == ('',)
    assert make_sequences(frames, 2).windows.tolist() == [[0, 1]]
    # Green, blue / red, green: the mosaic of the stereo camera.
    colour = read_image(frames.path(0)).reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(colour, [200, 40, 60], atol=6)


def test_thinning_keeps_a_distance_from_the_last_kept() -> None:
    places = np.array([[0, 0], [1.9, 0], [2, 0], [2, 1.99], [2, 2], [0.1, 2], [0, 2]])
    assert thin(places, 2.0).tolist() == [0, 2, 4, 6]
    assert thin(places, 0.0).tolist() == list(range(7))


@pytest.mark.parametrize(('change', 'complaint'), [
    (lambda lap: (lap / 'left' / 'x.png').touch(), 'x.png is not named by its time'),
    (lambda lap: (lap / 'rtk.csv').write_text('time,northing,easting\n'),
     'has the columns time, northing, easting, expected timestamp'),
    (lambda lap: (lap / 'rtk.csv').write_text('timestamp,northing,easting\n'), 'holds no position'),
    (lambda lap: (lap / 'rtk.csv').write_text('timestamp,northing,easting\n9000000,1,1\n'),
     'no image of .* is within 1 s of a position'),
    (lambda lap: [file.unlink() for file in (lap / 'left').iterdir()], 'holds no images'),
])
def test_laps_that_cannot_be_used_are_told(tmp_path: Path, change, complaint: str) -> None:
    lap = write_lap_files(tmp_path / 'lap', [1000], {1000: (1, 1)})
    change(lap)
    with pytest.raises(InputError, match=complaint):
        read_lap(lap / 'left', lap / 'rtk.csv', 'lap')
