"""Arrays of descriptors with listed true matches, and the names of images that go with them."""

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from command_line import refusal, succeed
from streets import Street

COUNT = 24


@pytest.fixture(scope='module')
def arrays(tmp_path_factory) -> Path:
    """Two drives of different lengths as images and as descriptors."""
    folder = tmp_path_factory.mktemp('arrays')
    street = Street(9, 60)
    (folder / 'small.yaml').write_text(yaml.safe_dump({
        'image': {'height': 64, 'width': 64}, 'frame': {'kind': 'hog', 'cell': 16, 'block': 32}}))
    for name, places, seed in (('day', range(COUNT), None), ('night', range(2, COUNT - 2), 1)):
        (folder / name).mkdir()
        for place in places:
            cv2.imwrite(str(folder / name / f'{name}{place:03d}.png'),
                        street.view(2.0 * place, seed))
        succeed('describe', folder / name, '--model', folder / 'small.yaml', '--output',
                folder / f'{name}.npy')
    return folder


def measure(arrays: Path, *arguments: object, method: tuple = ('single',),
            suffix: str = '') -> dict:
    file = arrays / 'result.json'
    succeed('evaluate', '--reference', arrays / f'day{suffix}.npy', '--query',
            arrays / f'night{suffix}.npy', '--method', *method, '--json', file, *arguments)
    return json.loads(file.read_text())


def matrix() -> np.ndarray:
    return np.eye(COUNT, dtype=bool)[2:COUNT - 2]


def test_a_matrix_and_a_table_say_the_same(arrays, tmp_path):
    np.save(tmp_path / 'truth.npy', matrix())
    np.savez(tmp_path / 'truth.npz', gt=np.arange(2, COUNT - 2))
    with (tmp_path / 'pairs.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('query', 'map'), *(
            (f'night{place:03d}.png', f'day{place:03d}.png') for place in range(2, COUNT - 2))])
    found = [measure(arrays, '--ground-truth', tmp_path / 'truth.npy'),
             measure(arrays, '--ground-truth', tmp_path / 'truth.npz'),
             measure(arrays, '--ground-truth', tmp_path / 'pairs.csv'),
             measure(arrays, '--pairs', tmp_path / 'pairs.csv')]
    assert found[0]['recall']['1'] > 0.9
    assert found[0]['queries'] == COUNT - 4
    assert found[0]['ground_truth'] == str(tmp_path / 'truth.npy')
    assert all(value is None for by_n in found[0]['recall_by_radius'].values()
               for value in by_n.values())
    for other in found[1:]:
        assert other['recall'] == found[0]['recall']
        assert other['average_precision'] == found[0]['average_precision']


def test_the_truth_decides(arrays, tmp_path):
    np.save(tmp_path / 'truth.npy', np.roll(matrix(), 10, axis=1))
    assert measure(arrays, '--ground-truth', tmp_path / 'truth.npy')['recall']['1'] < 0.2
    half = matrix()
    half[::2] = False
    np.save(tmp_path / 'half.npy', half)
    found = measure(arrays, '--ground-truth', tmp_path / 'half.npy')
    assert (found['queries'], found['unmatched']) == (COUNT // 2 - 2, COUNT // 2 - 2)


def test_frames_left_out_take_their_truth_with_them(arrays, tmp_path):
    np.save(tmp_path / 'truth.npy', matrix())
    found = measure(arrays, '--ground-truth', tmp_path / 'truth.npy', '-L', 5, '--full-windows', 5,
                    method=('smooth',))
    assert found['queries'] == COUNT - 8
    assert found['recall']['1'] > 0.9


def test_rows_near_a_listed_one(arrays, tmp_path):
    (tmp_path / 'pairs.csv').write_text('query,map\n' + ''.join(
        f'{row},{row + 4}\n' for row in range(COUNT - 4)))
    assert measure(arrays, '--pairs', tmp_path / 'pairs.csv')['recall']['1'] < 0.2
    assert measure(arrays, '--pairs', tmp_path / 'pairs.csv', '--tolerance', 2)['recall']['1'] > 0.9


@pytest.mark.parametrize('method', [
    ('single',), ('smooth', '-L', 3), ('delta', '-L', 4), ('single+seqmatch', '-L', 3),
    ('hvpr', '--stage-one', 'smooth', '-L', 3)], ids=lambda method: method[0])
def test_half_precision_is_read(arrays, tmp_path, method):
    np.save(tmp_path / 'truth.npy', matrix())
    for name in ('day', 'night'):
        half = np.load(arrays / f'{name}.npy').astype(np.float16)
        np.save(arrays / f'{name}16.npy', half)
        np.save(arrays / f'{name}32.npy', half.astype(np.float32))
    found = [measure(arrays, '--ground-truth', tmp_path / 'truth.npy', method=method, suffix=suffix)
             for suffix in ('16', '32')]
    assert found[0]['recall'] == found[1]['recall']
    assert found[0]['recall']['1'] > 0.5


def test_names_tell_which_rows_belong_together(arrays, tmp_path):
    common = ('evaluate', '--method', 'single', '--reference', arrays / 'day.npy', '--tolerance', 0,
              '--json', tmp_path / 'a.json')
    named = succeed(*common, '--query', arrays / 'night.npy')
    assert 'paired by the numbers in their names' in named.stderr
    assert json.loads((tmp_path / 'a.json').read_text())['recall']['1'] > 0.9
    (tmp_path / 'night.npy').write_bytes((arrays / 'night.npy').read_bytes())
    unnamed = succeed(*common, '--query', tmp_path / 'night.npy')
    assert 'have 24 and 20 frames' in unnamed.stderr
    assert json.loads((tmp_path / 'a.json').read_text())['recall']['1'] < 0.2


def test_what_does_not_go_together(arrays, tmp_path):
    np.save(tmp_path / 'truth.npy', matrix()[1:])
    common = ('evaluate', '--method', 'single', '--reference', arrays / 'day.npy', '--query',
              arrays / 'night.npy')
    assert 'for 20 queries and 24 references' in refusal(
        *common, '--ground-truth', tmp_path / 'truth.npy')
    assert '--tolerance and --ground-truth' in refusal(
        *common, '--tolerance', 1, '--ground-truth', tmp_path / 'truth.npy')
    np.save(tmp_path / 'none.npy', np.full(COUNT - 4, -1))
    assert 'the ground truth lists none' in refusal(
        *common, '--ground-truth', tmp_path / 'none.npy')
    (tmp_path / 'pairs.csv').write_text('query,map\nnight099.png,1\n')
    assert "the query is 'night099.png'" in refusal(*common, '--pairs', tmp_path / 'pairs.csv')


def test_names_are_written_beside_descriptors(arrays):
    names = (arrays / 'night_imageNames.txt').read_text().splitlines()
    assert names == [f'night{place:03d}.png' for place in range(2, COUNT - 2)]
    assert len(np.load(arrays / 'night.npy')) == len(names)


def test_names_of_files_that_are_no_text(arrays, tmp_path):
    folder = tmp_path / 'odd'
    folder.mkdir()
    for index, image in enumerate(sorted((arrays / 'night').iterdir())):
        name = os.fsencode(f'{index:03d}') + (b'\xff\n' if index == 1 else b'') + b'.png'
        Path(os.fsdecode(os.fsencode(folder) + b'/' + name)).write_bytes(image.read_bytes())
    succeed('describe', folder, '--model', arrays / 'small.yaml', '--output', tmp_path / 'a.npy')
    names = (tmp_path / 'a_imageNames.txt').read_text().splitlines()
    assert (len(names), names[1]) == (COUNT - 4, r'001\xff\x0a.png')
    succeed('map', 'build', arrays / 'day', '--model', arrays / 'small.yaml', '-L', 3, '--output',
            tmp_path / 'map')
    succeed('localize', folder, '--map', tmp_path / 'map', '--output', tmp_path / 'out')
    with (tmp_path / 'out' / 'matches.csv').open(newline='') as file:
        assert [row['image'] for row in csv.DictReader(file)] == names


def test_matches_name_their_images(arrays, tmp_path):
    succeed('map', 'build', arrays / 'day', '--model', arrays / 'small.yaml', '-L', 3, '--output',
            tmp_path / 'map')
    succeed('localize', arrays / 'night', '--map', tmp_path / 'map', '--output', tmp_path / 'out')
    with (tmp_path / 'out' / 'matches.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == COUNT - 4
    for row in rows:
        assert row['image'] == f'night{int(row["query"]) + 2:03d}.png'
    lines = (tmp_path / 'out' / 'matches.jsonl').read_text().splitlines()
    assert [json.loads(line)['image'] for line in lines] == [row['image'] for row in rows]
