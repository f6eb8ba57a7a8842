"""What a folder of images is, and what reads it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from refusal import refusal

from seqnet_ros.datasets.folder_info import describe_folder


def image(path: Path, width: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((48, width, 3), 90, np.uint8))


def flat(folder: Path, side: str, count: int, east: float = 5e5, north: float = 7e6) -> None:
    for index in range(count):
        image(folder / side / f'@{east:.2f}@{north + 3 * index:.2f}@56@J@@@{index}@@@@@@@@.jpg')


def test_images_with_gaps(tmp_path):
    for number in (*range(1, 10), *range(20, 30)):
        image(tmp_path / f'image-{number:05d}.png')
    found = describe_folder(tmp_path)
    assert found.layout == 'a folder of images'
    assert found.fields['images'] == '19'
    assert found.fields['numbers'] == '1 to 29, gaps: 1'
    assert found.fields['sizes'] == '64 x 48, of 19 images opened'
    assert 'first after 9' in found.doubts[0]
    assert found.command.startswith('seqnet_ros map build')


def test_a_damaged_image_is_named(tmp_path):
    image(tmp_path / 'a.png')
    (tmp_path / 'b.png').write_bytes(b'no image')
    assert 'b.png' in describe_folder(tmp_path).doubts[0]


def test_drives_that_differ(tmp_path):
    for number in range(8):
        image(tmp_path / 'day' / f'{number}.png')
        if number % 4:
            image(tmp_path / 'night' / f'{number}.png')
    found = describe_folder(tmp_path)
    assert found.fields['night'] == '6 images, 1.png to 7.png'
    assert 'paired by the numbers' in found.doubts[0]
    assert '--map-source' in found.command


@pytest.mark.parametrize('where', ['test', 'images/test', '.'])
def test_flat_splits(tmp_path, where):
    flat(tmp_path / where, 'database', 8)
    flat(tmp_path / where, 'queries', 6)
    found = describe_folder(tmp_path)
    assert found.layout.startswith('splits of images')
    shown = next(text for name, text in found.fields.items() if name.endswith('database'))
    assert shown == '8 images, 1 runs of successive numbers of at most 8, over 0 x 21 m'
    assert not found.doubts
    assert 'evaluate sequences' in found.command
    assert '-L 1' not in found.command


def test_images_without_order_are_searched_one_by_one(tmp_path):
    for side in ('database', 'queries'):
        for index in range(12):
            image(tmp_path / side / f'@500000.00@{7e6 + 3 * index:.2f}@.jpg')
    assert describe_folder(tmp_path).command.endswith('--split test -L 1')


def test_swapped_axes_and_degrees_are_doubted(tmp_path):
    flat(tmp_path / 'val', 'database', 8)
    flat(tmp_path / 'val', 'queries', 6, 7e6, 5e5)
    found = describe_folder(tmp_path)
    assert found.fields['val queries without match'].startswith('6 of 6')
    assert 'coordinates are exchanged' in found.doubts[0]
    for index in range(5):
        image(tmp_path / 'test' / 'database' / f'@153.0{28000 + index}@-27.4@x@.jpg')
    flat(tmp_path / 'test', 'queries', 6)
    assert any('look like degrees' in doubt for doubt in describe_folder(tmp_path).doubts)


def test_other_layouts(tmp_path):
    (tmp_path / 'msls' / 'train_val' / 'cph').mkdir(parents=True)
    assert describe_folder(tmp_path / 'msls').fields == {'cities': 'cph'}
    (tmp_path / 'set' / 'structFiles').mkdir(parents=True)
    (tmp_path / 'set' / 'structFiles' / 'a_test_d-2_d2-1.db').touch()
    assert describe_folder(tmp_path / 'set').fields == {'structs': 'a_test_d-2_d2-1.db'}


def test_nothing_known(tmp_path):
    (tmp_path / 'notes').mkdir()
    assert 'found notes' in refusal(lambda: describe_folder(tmp_path))
