"""Data sets by name and own ones: the right rows and truth, and one sentence for what is wrong."""

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import refusal, run

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.dataset_files import read_splits, write_bounds, write_names
from seqnet_ros.datasets.seqnet.db_struct import DbStruct, read_struct, write_struct
from seqnet_ros.datasets.seqnet.downloads import inspect, is_complete
from seqnet_ros.datasets.seqnet.splits import NAMES, find_split, open_split
from seqnet_ros.evaluation.metrics.ground_truth import matches_within

NORDLAND_FRAMES, OXFORD_FRAMES = 27592, (4599, 4550)
OXFORD = ('2015-03-17-11-08-44', '2014-12-16-18-44-24')
DRIVES = {
    'nordland-sw': ('nordland-clean-summer', 'nordland-clean-winter'),
    'nordland-sf': ('nordland-clean-spring', 'nordland-clean-fall'),
    'oxford-v1.0': tuple(f'oxford_{drive}_stereo_left' for drive in OXFORD),
}
# Data set, split, references, queries, radius, radius of positives, queries without a true match,
# mean true matches for each query (rounded), first row of both files.
PUBLISHED = [
    ('nordland-sw', 'train', 15000, 15000, 40, 10, 0, 80.9, (0, 0)),
    ('nordland-sw', 'val', 3000, 3000, 1, 1, 0, 3.0, (18200, 18200)),
    ('nordland-sf', 'test', 3000, 3000, 1, 1, 0, 3.0, (15100, 15100)),
    ('oxford-v1.0', 'train', 2981, 2931, 20, 5, 0, 30.6, (0, 0)),
    ('oxford-v1.0', 'val', 1574, 1576, 10, 5, 0, 12.4, (2410, 2361)),
    ('oxford-v1.0', 'test', 1574, 1576, 10, 5, 0, 12.4, (2410, 2361)),
]


def numbered(count: int, dtype: type = np.float32) -> np.ndarray:
    """Unit-length descriptors that tell their row."""
    angles = np.arange(count) * 1e-4
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(dtype)


def rows_of(descriptors: np.ndarray) -> np.ndarray:
    angles = np.arctan2(descriptors[:, 1].astype(np.float64), descriptors[:, 0])
    return np.rint(np.unwrap(angles) / 1e-4).astype(int)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


@pytest.fixture
def published(shared_data: Path, tmp_path: Path) -> Path:
    """The published structs in their place, with descriptors that only tell their rows."""
    shutil.copytree(shared_data / 'seqnet_structfiles', tmp_path / 'structFiles')
    descriptors = tmp_path / 'data' / 'descData' / 'netvlad-pytorch'
    for name in ('nordland-sw', 'nordland-sf'):
        for drive in DRIVES[name]:
            save(descriptors / f'{drive}.npy', numbered(NORDLAND_FRAMES))
    for drive, frames in zip(DRIVES['oxford-v1.0'], OXFORD_FRAMES, strict=True):
        save(descriptors / f'{drive}.npy', numbered(frames, np.float64))
    return tmp_path


def write_small(folder: Path, name: str = 'town', counts: tuple[int, int] = (12, 9),
                split: str = 'test', kinds: tuple[str, ...] = ('tiny',),
                lists: bool = True) -> Path:
    """Write an own data set."""
    structs = folder / 'structFiles'
    for place in (structs / 'seqBoundsFiles', structs / 'imageNamesFiles'):
        place.mkdir(parents=True, exist_ok=True)
    images = [tuple(f'{part}/{i}.png' for i in range(count))
              for part, count in zip('dq', counts, strict=True)]
    positions = [np.arange(count)[:, None] * [2.0, 0.0] for count in counts]
    struct = DbStruct(name, split, *images, *positions, 3.0, 2.0)
    stem = name if name.startswith('msls') else f'{name}_{split}'
    write_struct(struct, structs / f'{stem}_d-3_d2-2.db')
    for part, count, names in zip(('database', 'query'), counts, images, strict=True):
        bounds = np.array([[0, 5]] * 5 + [[5, count]] * (count - 5))
        write_bounds(bounds, structs / 'seqBoundsFiles' / f'{name}_{part}_seqBounds.txt')
        if lists:
            write_names(names, structs / 'imageNamesFiles' / f'{name}_{part}_imageNames.txt')
        for kind in kinds:
            save(folder / 'data' / 'descData' / kind / f'{name}_{part}.npy', numbered(count))
    return folder


# ---- what is read

@pytest.mark.parametrize(
    ('name', 'split', 'references', 'queries', 'radius', 'positive', 'unmatched', 'matches',
     'first'), PUBLISHED)
def test_published_splits(published, name, split, references, queries, radius, positive, unmatched,
                          matches, first):
    found = open_split(name, split, published)

    assert (found.name, found.split) == (name, split)
    assert [len(array) for array in found.descriptors] == [references, queries]
    assert (found.struct.radius, found.struct.positive_radius) == (radius, positive)
    truth = matches_within(found.struct.db_positions, found.struct.q_positions, radius)
    assert int((~truth.has_match).sum()) == unmatched
    assert len(truth.indices) / queries == pytest.approx(matches, abs=0.05)
    for array, bounds, start in zip(found.descriptors, found.bounds, first, strict=True):
        assert array.dtype == np.float32
        assert rows_of(array[:1])[0] == start
        np.testing.assert_array_equal(bounds, np.tile([0, len(array)], (len(array), 1)))
    if name.startswith('nordland'):
        # Nordland's positions are the rows themselves.
        np.testing.assert_array_equal(start + np.arange(len(array)),
                                      found.struct.db_positions[:, 0])


def test_oxford_takes_the_rows_that_are_listed(published):
    splits = read_splits(published / 'structFiles' / 'oxford-v1.0_splitInds.npz')
    found = open_split('oxford-v1.0', 'train', published)
    for array, rows in zip(found.descriptors, splits['train'], strict=True):
        np.testing.assert_array_equal(rows_of(array), rows)


def test_plain_lists_of_rows_are_read_too(published):
    before = open_split('oxford-v1.0', 'test', published)
    file = published / 'structFiles' / 'oxford-v1.0_splitInds.npz'
    splits = read_splits(file)
    np.savez(file, **{f'{name}_{side}': getattr(rows, side) for name, rows in splits.items()
                      for side in ('db', 'query')})
    np.load(file, allow_pickle=False)['test_db']
    after = open_split('oxford-v1.0', 'test', published)
    np.testing.assert_array_equal(after.descriptors[0], before.descriptors[0])


def test_radii_are_those_in_the_struct_whatever_its_name_says(published):
    structs = published / 'structFiles'
    (structs / 'nordland_test_d-1_d2-1.db').rename(structs / 'nordland_test_d-99_d2-7.db')
    found = open_split('nordland-sw', 'test', published)
    assert (found.struct.radius, found.struct.positive_radius) == (1, 1)


def test_an_own_data_set(tmp_path):
    found = open_split(write_small(tmp_path), 'test')
    assert found.name == 'town'
    np.testing.assert_array_equal(found.descriptors[0], numbered(12))
    np.testing.assert_array_equal(found.descriptors[1], numbered(9))
    assert found.bounds[1].tolist() == [[0, 5]] * 5 + [[5, 9]] * 4
    assert open_split(str(tmp_path), 'test').struct.q_images == found.struct.q_images


def test_one_folder_may_hold_the_splits_of_several_drives(tmp_path):
    write_small(tmp_path, 'morning', split='train')
    write_small(tmp_path, 'evening', counts=(7, 8), split='val')
    assert open_split(tmp_path, 'train').name == 'morning'
    assert len(open_split(tmp_path, 'val').descriptors[1]) == 8


def test_descriptors_can_be_chosen(tmp_path):
    write_small(tmp_path, kinds=('tiny', 'other'))
    save(tmp_path / 'data' / 'descData' / 'other' / 'town_query.npy', np.ones((9, 2)))
    assert open_split(tmp_path, 'test', descriptors='other').descriptors[1].min() == 1
    with pytest.raises(InputError, match='contains other, tiny, expected one folder'):
        open_split(tmp_path, 'test')


@pytest.mark.parametrize(('split', 'city', 'name'), [
    ('train', None, 'msls_melbourne'), ('val', None, 'msls_austin'), ('test', 'cph', 'msls_cph')])
def test_msls_has_a_set_for_each_city(tmp_path, split, city, name):
    for each in ('msls_melbourne', 'msls_austin', 'msls_cph'):
        write_small(tmp_path, each, kinds=('netvlad-pytorch',))
    found = open_split('msls', split, tmp_path, city=city)
    assert (found.name, found.split) == (name, split)
    assert found.bounds[0].tolist() == [[0, 5]] * 5 + [[5, 12]] * 7


def test_only_the_rows_of_the_split_are_looked_at(published):
    path = published / 'data' / 'descData' / 'netvlad-pytorch' / 'nordland-clean-winter.npy'
    winter = numbered(NORDLAND_FRAMES)
    winter[15099] = winter[18100] = np.nan
    np.save(path, winter)
    open_split('nordland-sw', 'test', published)
    winter[15100] = np.nan
    np.save(path, winter)
    with pytest.raises(InputError, match='row 15100 holds a value that is not finite'):
        open_split('nordland-sw', 'test', published)


def test_a_file_is_never_copied_whole(published):
    folder = published / 'data' / 'descData' / 'netvlad-pytorch'
    dim = 256
    for drive in DRIVES['nordland-sw']:
        # A sparse file: 56 MB that take no space.
        np.lib.format.open_memmap(folder / f'{drive}.npy', 'w+', np.float64,
                                  (NORDLAND_FRAMES, dim)).flush()
    tracemalloc.start()
    try:
        found = open_split('nordland-sw', 'val', published)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = sum(array.nbytes for array in found.descriptors)
    assert peak < kept + 25e6


# ---- what is wrong

def test_every_missing_file_is_named(published):
    for path in sorted(published.rglob('*.*')):
        if path.name == 'LICENSE' or not path.is_file():
            continue
        hidden = path.with_name(f'{path.name}.hidden')
        path.rename(hidden)
        refused = []
        for name in ('nordland-sw', 'nordland-sf', 'oxford-v1.0'):
            for split in ('train', 'val', 'test'):
                try:
                    find_split(name, split, published)
                except InputError as error:
                    refused.append(str(error))
        hidden.rename(path)
        # Oxford's and Nordland's structs are sought by their names without the radii.
        stem = path.name.partition('_d-')[0]
        assert refused
        assert all(stem in sentence and 'is missing' in sentence for sentence in refused)
        assert all('`seqnet_ros dataset download ' in sentence for sentence in refused)


def test_several_structs_are_refused(published):
    structs = published / 'structFiles'
    shutil.copy(structs / 'nordland_test_d-1_d2-1.db', structs / 'nordland_test_d-2_d2-1.db')
    with pytest.raises(InputError, match='expected one file nordland_test_d-'):
        open_split('nordland-sw', 'test', published)


def test_descriptors_that_are_too_short(published):
    path = published / 'data' / 'descData' / 'netvlad-pytorch' / 'nordland-clean-summer.npy'
    np.save(path, numbered(18000))
    with pytest.raises(InputError, match='has 18000 rows, but the split goes up to row 18099'):
        open_split('nordland-sw', 'test', published)


def test_rows_of_another_data_set(published):
    file = published / 'structFiles' / 'oxford-v1.0_splitInds.npz'
    np.savez(file, test_db=np.arange(5), test_query=np.arange(6))
    with pytest.raises(InputError, match=r'lists 1574 frames .* the split has 5 rows'):
        open_split('oxford-v1.0', 'test', published)
    with pytest.raises(InputError, match='lists the rows of test, expected train among them'):
        open_split('oxford-v1.0', 'train', published)


def test_an_image_list_of_other_frames(published):
    names = published / 'structFiles' / 'imageNamesFiles'
    names.mkdir()
    file = names / 'nordland_clean_imageNames.txt'
    listed = ['x.png'] * NORDLAND_FRAMES
    struct = read_struct(published / 'structFiles' / 'nordland_test_d-1_d2-1.db')
    listed[15100:18100] = struct.db_images
    write_names(listed, file)
    open_split('nordland-sw', 'test', published)
    listed[15107] = 'images-1.png'
    write_names(listed, file)
    with pytest.raises(InputError, match=r'names frame 7 images-\d+.png, but .* images-1.png'):
        open_split('nordland-sw', 'test', published)
    write_names(listed[1:], file)
    with pytest.raises(InputError, match=r'lists 27591 images, but .* has 27592 rows'):
        open_split('nordland-sw', 'test', published)


def spoil_count(folder: Path) -> None:
    save(folder / 'data' / 'descData' / 'tiny' / 'town_query.npy', numbered(8))


def spoil_bounds(folder: Path) -> None:
    write_bounds(np.array([[0, 8]] * 8),
                 folder / 'structFiles' / 'seqBoundsFiles' / 'town_query_seqBounds.txt')


def spoil_dim(folder: Path) -> None:
    save(folder / 'data' / 'descData' / 'tiny' / 'town_query.npy', np.ones((9, 3)))


def lose_bounds(folder: Path) -> None:
    (folder / 'structFiles' / 'seqBoundsFiles' / 'town_query_seqBounds.txt').unlink()


def lose_query(folder: Path) -> None:
    (folder / 'data' / 'descData' / 'tiny' / 'town_query.npy').unlink()


def lose_descriptors(folder: Path) -> None:
    shutil.rmtree(folder / 'data')


def lose_structs(folder: Path) -> None:
    shutil.rmtree(folder / 'structFiles')


@pytest.mark.parametrize(('spoil', 'message'), [
    (spoil_count, 'town_query.npy has 8 frames, but .* lists 9'),
    (spoil_bounds, 'town_query_seqBounds.txt has 8 frames, but .* lists 9'),
    (spoil_dim, 'has 2 values a row, .* 3, expected as many'),
    (lose_bounds, 'town_query_seqBounds.txt is missing'),
    (lose_query, 'town_query.npy is missing'),
    (lose_descriptors, 'contains no folder, expected one folder of'),
    (lose_structs, 'holds no structFiles'),
])
def test_an_own_data_set_that_contradicts_itself(tmp_path, spoil, message):
    spoil(write_small(tmp_path, lists=False))
    with pytest.raises(InputError, match=message) as refused:
        open_split(tmp_path, 'test')
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize(('arguments', 'message'), [
    (('nordland', 'test'), 'data set nordland is unknown, expected one of nordland-sw, '),
    (('nordland-sw', 'tset'), "the split is 'tset', expected one of train, val, test"),
    (('nordland-sw', 'test', None, None, 'cph'), 'expected it with msls only'),
    (('msls', 'test', None, None, '../x'), "the city is '../x'"),
    (('{}', 'val'), 'is missing, found town_test_d-3_d2-2.db'),
    (('{}', 'test', Path('x')), 'the folder x was given with the data set'),
    (('{}', 'test', None, None, 'cph'), 'expected it with msls only'),
])
def test_what_cannot_be_meant(tmp_path, arguments, message):
    name, *rest = arguments
    with pytest.raises(InputError, match=message):
        open_split(name.replace('{}', str(write_small(tmp_path))), *rest)


# ---- seqnet_ros dataset download

def test_a_complete_data_set(published):
    for drive in DRIVES['nordland-sw']:
        save(published / 'data' / 'descData' / 'tiny' / f'{drive}.npy', numbered(NORDLAND_FRAMES))
    found = run('dataset', 'download', 'nordland-sw', '--folder', published, '--descriptors',
                'tiny')
    assert found.exit_code == 0, found.stdout
    assert 'https://github.com/oravus/SeqMatchNet' in found.stdout
    assert 'https://universityofadelaide.box.com/s/' in found.stdout
    assert '15000 and 15000 frames, radius 40' in found.stdout
    assert '27592 x 2, float32' in found.stdout
    for split in ('train', 'val', 'test'):
        assert f'nordland-sw {split} ' in found.stdout
    assert 'not needed' in found.stdout  # the list of images


@pytest.mark.parametrize('name', NAMES)
def test_nothing_is_there(tmp_path, name):
    found = run('dataset', 'download', name, '--folder', tmp_path)
    assert found.exit_code == 1
    assert 'missing' in found.stdout
    assert 'found' not in found.stdout
    assert not is_complete(inspect(name, tmp_path))


def test_what_is_wrong_is_said(published):
    folder = published / 'data' / 'descData' / 'tiny'
    names = DRIVES['oxford-v1.0']
    save(folder / f'{names[0]}.npy', numbered(OXFORD_FRAMES[0]) * 2)
    save(folder / f'{names[1]}.npy', numbered(7))
    structs = published / 'structFiles'
    test = next(structs.glob('oxford*_test_*.db'))
    test.write_bytes(test.read_bytes()[:1000])
    parts = {part.name: part for part in inspect('oxford-v1.0', published, 'tiny')}
    wrong = {name: part.detail for name, part in parts.items() if part.state == 'wrong'}
    assert len(wrong) == 3
    assert 'row 0 has the length 2, expected 1' in wrong[f'data/descData/tiny/{names[0]}.npy']
    assert 'its shape is [7, 2], expected [4550, 2]' in wrong[f'data/descData/tiny/{names[1]}.npy']
    assert 'not a MATLAB v5 file' in wrong[f'structFiles/{test.name}']
    published_kind = {part.name: part for part in inspect('oxford-v1.0', published)}
    dims = published_kind[f'data/descData/netvlad-pytorch/{names[0]}.npy'].detail
    assert dims == 'its shape is [4599, 2], expected [4599, 4096]'


def test_files_that_do_not_go_together(published):
    for name, frames in zip(DRIVES['oxford-v1.0'], OXFORD_FRAMES, strict=True):
        save(published / 'data' / 'descData' / 'tiny' / f'{name}.npy', numbered(frames))
    assert is_complete(inspect('oxford-v1.0', published, 'tiny'))
    path = next((published / 'structFiles').glob('oxford*_test_*.db'))
    struct = read_struct(path)
    write_struct(replace(struct, q_images=struct.q_images[1:], q_positions=struct.q_positions[1:]),
                 path)
    parts = {part.name: part for part in inspect('oxford-v1.0', published, 'tiny')}
    assert parts['oxford-v1.0 train'].state == 'found'
    assert 'lists 1575 frames' in parts['oxford-v1.0 test'].detail
    assert not is_complete(list(parts.values()))


def test_msls_in_any_city(tmp_path):
    write_small(tmp_path, 'msls_cph')
    arguments = ('dataset', 'download', 'msls', '--folder', tmp_path, '--descriptors', 'tiny')
    assert run(*arguments, '--city', 'cph').exit_code == 0
    assert run(*arguments).exit_code == 1


def test_download_refuses_unknown_names(tmp_path):
    assert 'expected one of nordland-sw' in refusal('dataset', 'download', 'x')
    assert 'expected it with msls only' in refusal(
        'dataset', 'download', 'oxford-pnv', '--city', 'cph', '--folder', tmp_path)
