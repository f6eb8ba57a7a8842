"""SF-XL: names, classes and groups, equal to the published code."""

import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.jist.at_sign_names import AtSignNames
from seqnet_ros.datasets.jist.original_caches import read_cache
from seqnet_ros.datasets.jist.sf_xl import (
    EXAMPLE,
    PROCESSED,
    Cells,
    Views,
    check_folders,
    partition_images,
    published_class_order,
    read_image_list,
    read_positions,
    read_views,
)


def name(east: object = '0544331.01', north: object = '4172775.04', heading: object = 56) -> str:
    return (f'@{east}@{north}@10@S@037.70098@-122.49646@kPnABhWJ1kA61eMNPLs1vQ@@{heading}@@@@'
            '201606@@.jpg')


def views_of(rows: list[tuple[float, float, float]]) -> Views:
    return Views(*np.array(rows, dtype=np.float64).T)


@pytest.fixture(scope='module')
def partition_golden(shared_golden: Path) -> tuple[Path, dict]:
    folder = shared_golden / 'jist' / 'partition'
    return folder, json.loads((folder / 'partition.json').read_text())


@pytest.mark.parametrize('number', [0, 1])
def test_partition_is_that_of_the_published_code(partition_golden: tuple, number: int) -> None:
    folder, golden = partition_golden
    images = read_image_list(folder / 'processed' / 'train')
    assert len(images) == golden['n_train_lines']
    case = golden['cases'][number]
    found = partition_images(read_views(images), Cells(
        case['M'], case['alpha'], case['N'], case['L'], case['min_images_per_class']))
    assert found.classes.tolist() == [kept['class'] for kept in case['kept_classes']]
    assert [found.images_of(row).tolist() for row in range(len(found.classes))] == [
        kept['train_lines'] for kept in case['kept_classes']]
    assert found.groups.tolist() == [group['group_id'] for group in case['groups_in_order']]
    for number_, group in enumerate(case['groups_in_order']):
        classes = found.classes[found.classes_of(number_)]
        assert sorted(classes.tolist()) == group['classes_sorted']
        assert sum(len(found.images_of(row)) for row in found.classes_of(number_)) == (
            group['n_images'])


def test_rows_of_a_published_classifier_are_found(partition_golden: tuple) -> None:
    folder, _ = partition_golden
    cache = read_cache(folder / 'processed_M10_N5_mipc10.torch')
    images = read_image_list(folder / 'processed' / 'train')
    found = partition_images(read_views(images), PROCESSED)
    assert len(cache.groups) == len(found.groups)
    for number, published in enumerate(cache.groups):
        classes = found.classes[found.classes_of(number)]
        np.testing.assert_array_equal(classes[published_class_order(classes)], published)
    for row, key in enumerate(found.classes.tolist()):
        names = tuple(images.names[image] for image in found.images_of(row))
        assert names == cache.images[tuple(key)]


def plain_partition(rows: list[tuple[float, float, float]], cells: Cells) -> tuple[dict, dict]:
    """Sort images one by one, as a definition."""
    classes: dict = {}
    for row, (east, north, heading) in enumerate(rows):
        key = (int(east // cells.side * cells.side), int(north // cells.side * cells.side),
               int(heading // cells.angle * cells.angle))
        classes.setdefault(key, []).append(row)
    classes = {key: images for key, images in classes.items() if len(images) >= cells.min_images}
    groups: dict = {}
    for key in classes:
        group = (key[0] % (cells.side * cells.apart) // cells.side,
                 key[1] % (cells.side * cells.apart) // cells.side,
                 key[2] % (cells.angle * cells.angles_apart) // cells.angle)
        groups.setdefault(group, []).append(key)
    return classes, groups


@given(st.lists(st.tuples(
    st.one_of(st.integers(-3, 3).map(lambda n: 10.0 * n), st.floats(-40, 40)),
    st.floats(0, 60), st.one_of(st.integers(-2, 13).map(lambda n: 30.0 * n), st.floats(-60, 400)),
), min_size=1, max_size=60), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3))
def test_partition_equals_sorting_one_by_one(
        rows: list, least: int, apart: int, angles_apart: int) -> None:
    cells = Cells(apart=apart, angles_apart=angles_apart, min_images=least)
    classes, groups = plain_partition(rows, cells)
    if not classes:
        with pytest.raises(InputError, match='no class has'):
            partition_images(views_of(rows), cells)
        return
    found = partition_images(views_of(rows), cells)
    assert [tuple(row) for row in found.classes.tolist()] == list(classes)
    assert [found.images_of(row).tolist() for row in range(len(classes))] == list(classes.values())
    assert [tuple(row) for row in found.groups.tolist()] == list(groups)
    for number, members in enumerate(groups.values()):
        rows_ = found.classes_of(number)
        assert [tuple(row) for row in found.classes[rows_].tolist()] == members


def test_classes_that_are_too_small_are_told() -> None:
    views = views_of([(0, 0, 0), (1, 1, 1), (500, 0, 0)])
    with pytest.raises(InputError, match=r'no class has 10 images: 3 images make 2 classes of at '
                                         r'most 2; expected .*min_images'):
        partition_images(views)
    assert len(partition_images(views, Cells(min_images=2)).classes) == 1


def test_a_group_that_is_not_there_is_told() -> None:
    found = partition_images(views_of([(0, 0, 0)] * 10))
    with pytest.raises(InputError, match='group 1 was requested, but these images form 1 groups'):
        found.classes_of(1)


@pytest.mark.parametrize('values', [{'side': 0}, {'angle': -30}, {'min_images': 0}])
def test_cells_that_cut_nothing_are_refused(values: dict) -> None:
    with pytest.raises(InputError, match='expected 1 or more'):
        Cells(**values)


@pytest.mark.parametrize(('bad', 'complaint'), [
    (name(heading=''), r'has no heading \(field 9'),
    (name(east=''), r'has no UTM east \(field 1'),
    ('@0544331.01@4172775.04@.jpg', 'has no heading'),
    ('picture.jpg', 'has no UTM east'),
    (name(heading='north'), "has the heading 'north', expected a number"),
    (name(north='nan'), "has the UTM north 'nan', expected a number"),
])
def test_a_bad_name_is_told_with_its_field(tmp_path: Path, bad: str, complaint: str) -> None:
    (tmp_path / 'train_images_paths.txt').write_text(f'37.70/{name()}\n37.70/{bad}\n')
    images = read_image_list(tmp_path / 'train')
    with pytest.raises(InputError, match=complaint) as caught:
        read_views(images)
    assert f'37.70/{bad}' in str(caught.value)


def test_photos_without_heading_still_have_positions(tmp_path: Path) -> None:
    (tmp_path / 'queries_images_paths.txt').write_text(name(heading='') + '\n')
    images = read_image_list(tmp_path / 'queries')
    np.testing.assert_array_equal(read_positions(images), [[544331.01, 4172775.04]])


def test_lists_are_found_where_the_published_ones_lie(tmp_path: Path) -> None:
    root = tmp_path / 'a@b,c' / 'sf_xl'
    train = root / 'processed' / 'train'
    train.mkdir(parents=True)
    (train / '37.70').mkdir()
    found = f'37.70/{name(heading=1)}'
    (train / found).touch()
    images = read_image_list(train)
    assert images.names[0] == found
    assert images.path(0).is_file()

    other = f'processed/train2/{name(heading=9)}'
    listed = [f'processed/train/37.71/{name(heading=2)}', other, '',
              f'processed/train/37.72/{name(heading=3)}']
    (root / 'all_images_paths.txt').write_bytes('\r\n'.join(listed).encode())
    images = read_image_list(train)
    assert [images.names[row] for row in range(len(images))] == [listed[0], listed[3]]
    assert images.path(1) == root / listed[3]
    assert read_views(images).heading.tolist() == [2, 3]

    (train.parent / 'train_images_paths.txt').write_text(f'37.73/{name(heading=4)}\n')
    images = read_image_list(train)
    assert images.path(0) == train / '37.73' / name(heading=4)
    assert len(read_image_list(train, root / 'all_images_paths.txt')) == 2


def test_folders_without_images_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'does not exist, and no train_images_paths\.txt'):
        read_image_list(tmp_path / 'train')
    (tmp_path / 'train').mkdir()
    with pytest.raises(InputError, match=r'holds no \.jpg image'):
        read_image_list(tmp_path / 'train')
    (tmp_path / 'all_images_paths.txt').write_text('')
    with pytest.raises(InputError, match='names no image, expected paths that begin with train/'):
        read_image_list(tmp_path / 'train')
    with pytest.raises(InputError, match=r'expected a list of'):
        read_image_list('/elsewhere/train', tmp_path / 'all_images_paths.txt')


@given(st.lists(st.lists(st.text('ab1./,', max_size=4), min_size=2, max_size=7), min_size=1,
                max_size=8), st.integers(1, 5))
def test_fields_are_those_of_split(pieces: list[list[str]], field: int) -> None:
    files = ['@'.join(part.replace('/', '') for part in fields) for fields in pieces]
    paths = [f'a@b/{file}' for file in files]
    texts = AtSignNames.of(paths, EXAMPLE).texts(field).tolist()
    for file, text in zip(files, texts, strict=True):
        parts = file.split('@')
        assert text.decode() == (parts[field] if field < len(parts) - 1 else '')
    assert AtSignNames.of(paths, EXAMPLE).field_counts().tolist() == [
        file.count('@') for file in files]


def test_long_lists_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('seqnet_ros.datasets.jist.at_sign_names._BLOCK_BYTES', 700)
    monkeypatch.setattr('seqnet_ros.datasets.jist.at_sign_names._BLOCK_NAMES', 3)
    east = np.arange(50) + 0.25
    kept = [f'p/{name(east=f"{value:.2f}")}' for value in east]
    mixed = [line for path in kept for line in (f'q/{name()}', path)]
    (tmp_path / 'all_images_paths.txt').write_text('\n'.join(mixed) + '\n')
    images = read_image_list(tmp_path / 'p')
    np.testing.assert_array_equal(read_views(images).east, east)
    assert [images.names[row] for row in range(len(images))] == kept


def test_memory_stays_below_the_text_and_a_few_columns(tmp_path: Path) -> None:
    count = 60_000
    rng = np.random.default_rng(0)
    with (tmp_path / 'train_images_paths.txt').open('w') as file:
        file.writelines(
            f'37.70/{name(f"{east:010.2f}", f"{north:010.2f}", heading)}\n' for east, north, heading
            in zip(rng.uniform(5e5, 5e5 + 200, count), rng.uniform(4e6, 4e6 + 200, count),
                   rng.integers(0, 12, count) * 30, strict=True))
    images = read_image_list(tmp_path / 'train')
    tracemalloc.start()
    found = partition_images(read_views(images))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.images) > count / 2
    assert peak < 600 * count


def test_parts_of_the_data_set_are_checked(tmp_path: Path) -> None:
    root = tmp_path / 'processed'
    for part, file in (('train', name()), ('val/database', name()),
                       ('val/queries', name(heading=''))):
        (root / part).mkdir(parents=True)
        cv2.imwrite(str(root / part / file), np.zeros((8, 8, 3), np.uint8))
    (root / 'train' / name(heading=7)).write_bytes(b'no image')
    checks = {check.folder: check for check in check_folders(root)}
    assert list(checks) == ['train', 'val/database', 'val/queries']
    assert (checks['train'].images, checks['train'].opened) == (2, 2)
    assert len(checks['train'].damaged) == 1
    assert name(heading=7) in checks['train'].damaged[0]
    assert not checks['val/queries'].damaged
    with pytest.raises(InputError, match='holds none of train, val/database'):
        check_folders(tmp_path)


class _Bad:
    def __reduce__(self) -> tuple:
        return print, ('run',)


def test_hostile_class_caches_are_refused(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / 'cache.torch'
    for content, complaint in (((_Bad(), {}), 'builtins.print'), (3, 'not a cache of classes'),
                               (([[(1, 2)]], {}), 'not a cache of classes')):
        with zipfile.ZipFile(file, 'w') as archive:
            archive.writestr('cache/data.pkl', pickle.dumps(content, protocol=2).replace(
                b'__builtin__\nprint', b'builtins\nprint'))
        with pytest.raises(InputError, match=complaint):
            read_cache(file)
    file.write_bytes(b'PK no archive')
    with pytest.raises(InputError, match='not a whole torch file'):
        read_cache(file)
    assert capsys.readouterr().out == ''
