"""MSLS: the csv files of a city become the files that training and evaluation read."""

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from command_line import refusal, succeed

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.dataset_files import read_bounds, read_names
from seqnet_ros.datasets.seqnet.db_struct import read_struct
from seqnet_ros.datasets.seqnet.msls_drives import read_city
from seqnet_ros.datasets.seqnet.splits import open_split
from seqnet_ros.models.place_model import load_model

# The columns of the official files; the first, nameless one numbers the rows.
COLUMNS = {
    'seq_info.csv': ('', 'key', 'sequence_key', 'frame_number'),
    'postprocessed.csv': ('', 'key', 'easting', 'northing', 'unique_cluster', 'control_panel',
                          'night', 'view_direction'),
    'raw.csv': ('', 'key', 'lon', 'lat', 'ca', 'captured_at', 'pano'),
}
# Sequence and number of every frame in the order of the files, and which are panoramas.
FRAMES = [('s2', 0), ('s2', 1), ('s2', 2), ('s1', 11), ('s1', 10), ('s1', 12), ('s3', 4),
          ('s3', 6), ('s3', 7), ('s3', 8)]
PANORAMAS = {('s2', 2), ('s3', 7)}
# What they become: in the order of the sequences' first frames, broken where a number is missing.
KEPT = [('s2', 0), ('s2', 1), ('s1', 10), ('s1', 11), ('s1', 12), ('s3', 4), ('s3', 6), ('s3', 8)]
BOUNDS = [[0, 2]] * 2 + [[2, 5]] * 3 + [[5, 6], [6, 7], [7, 8]]


def position(part: str, sequence: str, number: int) -> tuple[float, float]:
    return 3.3e5 + 10 * int(sequence[1]) + number, -4.2e6 + 0.25 + (part == 'query')


def write_city(root: Path, city: str = 'goa', images: bool = False) -> Path:
    """Write a city in the official layout."""
    random = np.random.default_rng(1)
    for part in ('database', 'query'):
        folder = root / 'train_val' / city / part
        folder.mkdir(parents=True)
        rows: dict[str, list[tuple]] = {name: [header] for name, header in COLUMNS.items()}
        for index, (sequence, number) in enumerate(FRAMES):
            key = f'{part[0]}_{sequence}-{number}'
            east, north = position(part, sequence, number)
            rows['seq_info.csv'].append((index, key, sequence, number))
            rows['postprocessed.csv'].append(
                (index, key, east, north, index, 'False', 'False', 'Forward'))
            rows['raw.csv'].append((index, key, 145.0 + index / 1000, -37.5, 90.0, '2018-04-06',
                                    (sequence, number) in PANORAMAS))
            if images and (sequence, number) not in PANORAMAS:
                (folder / 'images').mkdir(exist_ok=True)
                cv2.imwrite(str(folder / 'images' / f'{key}.jpg'),
                            random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
        for name, lines in rows.items():
            with (folder / name).open('w', newline='') as file:
                csv.writer(file, lineterminator='\n').writerows(lines)
    return root


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A model that is quick."""
    path = tmp_path / 'tiny.yaml'
    path.write_text(yaml.safe_dump({
        'name': 'tiny', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 32, 'block': 64}}))
    return path


def create(root: Path, output: Path, *arguments: object) -> str:
    return succeed('dataset', 'create-msls', root, 'goa', '--output', output, *arguments).stdout


# ---- what becomes of a city

def test_frames_in_the_order_of_their_sequences_without_panoramas(tmp_path):
    for drive, part in zip(read_city(write_city(tmp_path), 'goa'), ('database', 'query'),
                           strict=True):
        assert drive.names == tuple(
            f'Mapillary_Street_Level_Sequences/train_val/goa/{part}/images/{part[0]}_{s}-{n}.jpg'
            for s, n in KEPT)
        assert drive.bounds.tolist() == BOUNDS
        assert (drive.sequences, drive.panoramas) == (5, 2)
        np.testing.assert_array_equal(drive.positions, [position(part, *frame) for frame in KEPT])
        order = [FRAMES.index(frame) for frame in KEPT]
        np.testing.assert_allclose(drive.gps, [(-37.5, 145 + i / 1000) for i in order])


def test_the_files_of_a_city(tmp_path):
    root, output = write_city(tmp_path / 'msls'), tmp_path / 'set'
    shown = create(root, output)
    found = sorted(str(path.relative_to(output)) for path in output.rglob('*') if path.is_file())
    assert found == [
        'structFiles/imageNamesFiles/msls_goa_database_imageNames.txt',
        'structFiles/imageNamesFiles/msls_goa_query_imageNames.txt',
        'structFiles/msls_goa_d-10_d2-10.db',
        'structFiles/seqBoundsFiles/msls_goa_database_seqBounds.txt',
        'structFiles/seqBoundsFiles/msls_goa_query_seqBounds.txt']
    struct = read_struct(output / 'structFiles' / 'msls_goa_d-10_d2-10.db')
    assert (struct.name, struct.split, struct.radius, struct.positive_radius) == (
        'msls_goa', 'test', 10, 10)
    database, query = read_city(root, 'goa')
    np.testing.assert_array_equal(struct.db_positions, database.positions)
    np.testing.assert_array_equal(struct.q_gps, query.gps)
    names = output / 'structFiles' / 'imageNamesFiles' / 'msls_goa_query_imageNames.txt'
    assert read_names(names) == struct.q_images == query.names
    bounds = output / 'structFiles' / 'seqBoundsFiles' / 'msls_goa_query_seqBounds.txt'
    assert read_bounds(bounds).tolist() == BOUNDS
    assert 'panoramas skipped      2 and 2' in shown
    assert 'descriptors            none, expected in' in shown
    assert '8 reference, 8 query' in shown


def test_a_described_city_is_a_data_set(tmp_path, tiny):
    root, output = write_city(tmp_path / 'msls', images=True), tmp_path / 'set'
    create(root, output, '--model', tiny, '--radius', 5, '--positive-radius', 2, '--split', 'val')
    found = open_split('msls', 'val', output, 'tiny', 'goa')
    assert (found.struct.radius, found.struct.positive_radius, found.struct.split) == (5, 2, 'val')
    assert found.bounds[0].tolist() == BOUNDS
    model = load_model(tiny, 'cpu')
    for drive, array in zip(read_city(root, 'goa'), found.descriptors, strict=True):
        images = [cv2.imread(str(path))[..., ::-1] for path in drive.images]
        np.testing.assert_allclose(array, model.describer.describe(images), atol=1e-6)


def test_damaged_images_are_skipped_and_break_their_sequence(tmp_path, tiny):
    root, output = write_city(tmp_path / 'msls', images=True), tmp_path / 'set'
    create(root, output, '--model', tiny)
    whole = open_split('msls', 'test', output, 'tiny', 'goa')
    row = next(row for row, (first, end) in enumerate(BOUNDS) if first < row < end - 1)
    damaged = read_city(root, 'goa')[0].images[row]
    damaged.write_bytes(b'no image')
    output = tmp_path / 'other'
    result = succeed('dataset', 'create-msls', root, 'goa', '--output', output, '--model', tiny)
    assert '1 of 16 images cannot be read and were skipped: ' in result.stderr
    assert damaged.name in result.stderr
    assert '7 reference, 8 query' in result.stdout
    found = open_split('msls', 'test', output, 'tiny', 'goa')
    assert found.struct.db_images == (*whole.struct.db_images[:row],
                                      *whole.struct.db_images[row + 1:])
    np.testing.assert_array_equal(found.struct.db_positions,
                                  np.delete(whole.struct.db_positions, row, axis=0))
    np.testing.assert_array_equal(found.descriptors[0],
                                  np.delete(whole.descriptors[0], row, axis=0))
    first, end = BOUNDS[row]
    assert found.bounds[0].tolist()[first:end - 1] == (
        [[first, row]] * (row - first) + [[row, end - 1]] * (end - 1 - row))
    assert found.bounds[1].tolist() == BOUNDS


def test_evaluation_leaves_out_windows_that_do_not_fit(tmp_path, tiny):
    root, output = write_city(tmp_path / 'msls', images=True), tmp_path / 'set'
    create(root, output, '--model', tiny)
    shown = succeed('evaluate', '--dataset', 'msls', '--city', 'goa', '--folder', output,
                    '--descriptors', 'tiny', '--method', 'smooth', '-L', 3).stdout
    assert re.search(r'references +1\n', shown)
    assert 'queries     1, and 0 without a match' in shown


def test_images_need_not_be_described(tmp_path):
    root, output = write_city(tmp_path / 'msls', images=True), tmp_path / 'set'
    create(root, output, '--no-describe')
    assert not (output / 'data').exists()


def test_cities_share_a_folder_and_are_never_replaced(tmp_path):
    root, output = write_city(tmp_path / 'msls'), tmp_path / 'set'
    write_city(root, 'cph')
    create(root, output)
    succeed('dataset', 'create-msls', root, 'cph', '--output', output)
    assert len(list((output / 'structFiles').glob('msls_*.db'))) == 2
    assert 'msls_goa_d-10_d2-10.db exists' in refusal(
        'dataset', 'create-msls', root, 'goa', '--output', output, '--radius', 25)


# ---- what is wrong

def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


@pytest.mark.parametrize(('file', 'before', 'after', 'message'), [
    ('seq_info.csv', 'sequence_key', 'sequence', 'expected sequence_key among them'),
    ('postprocessed.csv', 'northing', 'north', 'expected northing among them'),
    ('raw.csv', 'pano', 'panorama', 'expected pano among them'),
    ('seq_info.csv', '1,d_s2-1,s2,1', '1,d_s2-1,s2,one',
     "seq_info.csv line 3: frame_number is 'one', expected a whole number"),
    ('seq_info.csv', '1,d_s2-1,s2,1', '1,d_s2-1,s2,0', 'line 3: frame 0 of sequence s2 occurs'),
    ('seq_info.csv', '1,d_s2-1,s2,1', '1,d_s2-0,s2,1', 'line 3: key d_s2-0 occurs twice'),
    ('seq_info.csv', '1,d_s2-1,s2,1', '1,d_s2-1', 'line 3 is incomplete'),
    ('postprocessed.csv', '330021.0', 'nan',
     "postprocessed.csv line 3: easting and northing are 'nan' and '-4199999.75'"),
    ('postprocessed.csv', 'd_s1-12', 'd_s1-13', 'has no row of key d_s1-12, which seq_info.csv'),
    ('raw.csv', 'd_s1-12', 'd_s1-13', 'line 7: seq_info.csv has no usable row of key d_s1-13'),
    ('seq_info.csv', '9,d_s3-8', '10,d_s3-9,s3,9\n9,d_s3-8',
     'raw.csv has no row of key d_s3-9, which seq_info.csv lists'),
    ('raw.csv', '145.001', 'x', "raw.csv line 3: lat and lon are '-37.5' and 'x'"),
    ('raw.csv', '2018-04-06,False', '2018-04-06,', 'raw.csv line 2 is incomplete'),
    ('raw.csv', '2018-04-06,False', '2018-04-06,no', "line 2: pano is 'no', expected True or"),
])
def test_broken_files_are_named_with_their_line(tmp_path, file, before, after, message):
    folder = write_city(tmp_path) / 'train_val' / 'goa' / 'database'
    change(folder / file, before, after)
    with pytest.raises(InputError, match=message) as refused:
        read_city(tmp_path, 'goa')
    assert '\n' not in str(refused.value)


@pytest.mark.parametrize('file', list(COLUMNS))
def test_a_missing_file_is_named(tmp_path, file):
    (write_city(tmp_path) / 'train_val' / 'goa' / 'query' / file).unlink()
    with pytest.raises(InputError, match=f'{file} cannot be read: No such file'):
        read_city(tmp_path, 'goa')


def test_nothing_but_panoramas(tmp_path):
    path = write_city(tmp_path) / 'train_val' / 'goa' / 'query' / 'raw.csv'
    path.write_text(path.read_text().replace(',False', ',True'))
    with pytest.raises(InputError, match='no image other than panoramas'):
        read_city(tmp_path, 'goa')


def test_folders_and_options(tmp_path):
    root = write_city(tmp_path / 'msls')

    def refused(*arguments: object) -> str:
        return refusal('dataset', 'create-msls', *arguments, '--output', tmp_path / 'set')

    assert 'holds no train_val' in refused(tmp_path, 'goa')
    assert "has no city 'cph', found goa" in refused(root, 'cph')
    assert "split 'x' is unknown" in refused(root, 'goa', '--split', 'x')
    assert 'radius of positives 11' in refused(root, 'goa', '--positive-radius', 11)
    assert not (tmp_path / 'set').exists()


def test_no_image_to_read_leaves_nothing(tmp_path, tiny):
    root = write_city(tmp_path / 'msls', images=True)
    for image in (root / 'train_val' / 'goa' / 'query' / 'images').iterdir():
        image.unlink()
    assert '8 of 8 cannot be read' in refusal('dataset', 'create-msls', root, 'goa', '--output',
                                              tmp_path / 'set', '--model', tiny)
    assert list((tmp_path / 'set').iterdir()) == []
