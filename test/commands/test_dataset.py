"""`seqnet_ros dataset`: two drives become a data set that everything else reads."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from command_line import HOG, refusal, succeed
from scipy.io import loadmat
from typer.testing import Result

from seqnet_ros.core.geodesy import GeoPoint, geodetic_to_enu
from seqnet_ros.datasets.recordings.image_folder import ImageFolderSource
from seqnet_ros.datasets.seqnet.dataset_files import open_descriptors, read_bounds, read_names
from seqnet_ros.datasets.seqnet.db_struct import read_struct
from seqnet_ros.datasets.seqnet.splits import open_split
from seqnet_ros.models.place_model import load_model
from seqnet_ros.training.seqnet.dataset_builder import dataset_name

COUNT = 12
RADII = ('--radius', '3', '--positive-radius', '1')
LATITUDE, LONGITUDE = 48.0, 9.0
# Metres in a degree there: radii of curvature of the WGS-84 ellipsoid (a = 6378137 m,
# f = 1 / 298.257223563) along the meridian and across it.
SQUASH = 1 - (2 - 1 / 298.257223563) / 298.257223563 * np.sin(np.deg2rad(LATITUDE)) ** 2
OVER_A_DEGREE_EAST = np.deg2rad(1) * 6378137 / np.sqrt(SQUASH) * np.cos(np.deg2rad(LATITUDE))
OVER_A_DEGREE_NORTH = np.deg2rad(1) * 6378137 * (1 - 1 / 298.257223563) ** 2 / SQUASH ** 1.5


@pytest.fixture(scope='module')
def world(tmp_path_factory) -> Path:
    """Two folders of images, and a model that is quick."""
    folder = tmp_path_factory.mktemp('world')
    random = np.random.default_rng(1)
    for name in ('day', 'night'):
        (folder / name).mkdir()
        for index in range(COUNT):
            pixels = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f'{index}.png'), pixels)
    (folder / 'tiny.yaml').write_text(yaml.safe_dump({
        'image': {'height': 64, 'width': 64}, 'frame': {'kind': 'hog', 'cell': 32, 'block': 64}}))
    return folder


def create(world: Path, output: Path, *arguments: object) -> Result:
    return succeed('dataset', 'create', world / 'day', world / 'night', '--output', output,
                   '--model', world / 'tiny.yaml', *arguments)


def write_csv(path: Path, header: str, rows: np.ndarray) -> Path:
    lines = [header, *(','.join(f'{value:.9f}' for value in row) for row in rows)]
    path.write_text('\n'.join(lines))
    return path


def street(offset: float = 0.0, count: int = COUNT) -> np.ndarray:
    """Positions two metres apart."""
    return np.stack([2.0 * np.arange(count) + offset, np.full(count, 0.5)], axis=1)


@pytest.fixture(scope='module')
def made(world, tmp_path_factory) -> tuple[Path, Result]:
    """A data set without poses, and what the command said."""
    output = tmp_path_factory.mktemp('set') / 'set'
    return output, create(world, output, *RADII)


class TestWithoutPoses:
    def test_files_lie_where_the_published_code_looks(self, made):
        output, _ = made
        found = sorted(str(path.relative_to(output)) for path in output.rglob('*')
                       if path.is_file())
        assert found == [
            'data/descData/tiny/day_night_database.npy',
            'data/descData/tiny/day_night_query.npy',
            'structFiles/day_night_test_d-3_d2-1.db',
            'structFiles/imageNamesFiles/day_night_database_imageNames.txt',
            'structFiles/imageNamesFiles/day_night_query_imageNames.txt',
            'structFiles/seqBoundsFiles/day_night_database_seqBounds.txt',
            'structFiles/seqBoundsFiles/day_night_query_seqBounds.txt']

    def test_the_struct(self, made):
        struct = read_struct(made[0] / 'structFiles' / 'day_night_test_d-3_d2-1.db')
        assert (struct.name, struct.split, struct.radius, struct.positive_radius) == (
            'day_night', 'test', 3, 1)
        assert struct.db_images[:2] == ('day/0.png', 'day/1.png')
        assert struct.q_images[-1] == 'night/11.png'
        np.testing.assert_array_equal(struct.q_positions, np.arange(COUNT)[:, None])
        raw = loadmat(made[0] / 'structFiles' / 'day_night_test_d-3_d2-1.db')['dbStruct']
        assert raw['utmDb'][0, 0].shape == (1, COUNT)
        assert raw['dbImageFns'][0, 0].shape == (COUNT, 1)
        assert raw['nonTrivPosDistSqThr'][0, 0].item() == 1

    def test_descriptors_names_and_bounds_go_together(self, made, world):
        folder = made[0]
        structs = folder / 'structFiles'
        model = load_model(world / 'tiny.yaml', 'cpu')
        for part, drive in (('database', 'day'), ('query', 'night')):
            stem = f'day_night_{part}'
            found = open_descriptors(folder / 'data' / 'descData' / 'tiny' / f'{stem}.npy')
            images = [frame.read() for frame in ImageFolderSource(world / drive)]
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, model.describer.describe(images))
            bounds = read_bounds(structs / 'seqBoundsFiles' / f'{stem}_seqBounds.txt')
            np.testing.assert_array_equal(bounds, np.tile([0, COUNT], (COUNT, 1)))
            names = read_names(structs / 'imageNamesFiles' / f'{stem}_imageNames.txt')
            assert names == tuple(f'{drive}/{index}.png' for index in range(COUNT))

    def test_info_says_the_same(self, made):
        output, result = made
        shown = succeed('dataset', 'info', output / 'structFiles' / 'day_night_test_d-3_d2-1.db')
        for line in shown.stdout.splitlines()[1:]:
            assert line.split(maxsplit=1)[0] in result.stdout
        assert 'radius                 3 frames' in shown.stdout
        assert '12 reference, 12 query' in shown.stdout
        assert 'queries without match  0' in shown.stdout

    def test_the_same_input_gives_the_same_descriptors(self, made, world, tmp_path):
        create(world, tmp_path / 'again', *RADII)
        for path in made[0].rglob('*.[nt][px]*'):
            assert path.read_bytes() == (
                tmp_path / 'again' / path.relative_to(made[0])).read_bytes()


class TestWithPoses:
    def test_metres_and_a_break_at_a_jump(self, world, tmp_path):
        rows = street()
        rows[7:] += [100, 0]
        day = write_csv(tmp_path / 'day.csv', 'x,y', rows)
        night = write_csv(tmp_path / 'night.csv', 'x,y', street(offset=0.25))
        shown = create(world, tmp_path / 'set', *RADII, '--reference-poses', day,
                       '--query-poses', night, '--name', 'street', '--split', 'train').stdout
        struct = read_struct(tmp_path / 'set' / 'structFiles' / 'street_train_d-3_d2-1.db')
        np.testing.assert_allclose(struct.db_positions, rows, atol=1e-9)
        bounds = read_bounds(tmp_path / 'set' / 'structFiles' / 'seqBoundsFiles'
                             / 'street_database_seqBounds.txt')
        assert bounds.tolist() == [[0, 7]] * 7 + [[7, 12]] * 5
        assert 'sequences              2 and 1' in shown
        # Queries at 16.25 m and beyond have lost their counterparts.
        assert 'queries without match  4' in shown

    def test_gps_gets_a_common_origin(self, world, tmp_path):
        def track(first: float) -> np.ndarray:
            return np.stack([LATITUDE + np.arange(COUNT) * 2e-5 + first,
                             np.full(COUNT, LONGITUDE)], axis=1)

        day = write_csv(tmp_path / 'day.csv', 'lat,lon', track(0))
        night = write_csv(tmp_path / 'night.csv', 'lat,lon', track(1e-4))
        create(world, tmp_path / 'set', *RADII, '--reference-poses', day, '--query-poses', night)
        struct = read_struct(tmp_path / 'set' / 'structFiles' / 'day_night_test_d-3_d2-1.db')
        expected = geodetic_to_enu(*track(1e-4).T, np.zeros(COUNT),
                                   GeoPoint(LATITUDE, LONGITUDE))
        np.testing.assert_allclose(struct.db_positions[0], 0, atol=1e-9)
        np.testing.assert_allclose(struct.q_positions, expected[:, :2], atol=1e-6)
        assert struct.q_positions[0, 1] == pytest.approx(11.1, abs=0.1)

    def test_images_without_a_pose_are_left_out_and_counted(self, world, tmp_path):
        rows = np.column_stack([np.arange(3, COUNT), street()[3:]])
        lines = ['frame,x,y', *(f'{int(i)},{x},{y}' for i, x, y in rows)]
        (tmp_path / 'day.csv').write_text('\n'.join(lines))
        night = write_csv(tmp_path / 'night.csv', 'x,y', street())
        result = create(world, tmp_path / 'set', *RADII, '--reference-poses',
                        tmp_path / 'day.csv', '--query-poses', night)
        assert '3 of 12 images' in result.stderr
        names = read_names(tmp_path / 'set' / 'structFiles' / 'imageNamesFiles'
                           / 'day_night_database_imageNames.txt')
        assert names[0] == 'day/3.png'
        descriptors = tmp_path / 'set' / 'data' / 'descData' / 'tiny'
        assert len(open_descriptors(descriptors / 'day_night_database.npy')) == COUNT - 3

    def test_bags_bring_their_own(self, world, tmp_path):
        for name, offset in (('day', 0.0), ('night', 0.5)):
            poses = write_csv(tmp_path / f'{name}.csv', 'x,y', street(offset))
            succeed('bag', 'write', world / name, '--output', tmp_path / name, '--poses', poses)
        result = succeed('dataset', 'create', tmp_path / 'day', tmp_path / 'night', '--output',
                         tmp_path / 'set', '--model', world / 'tiny.yaml', *RADII)
        assert 'odometry on /odom' in result.stdout
        struct = read_struct(tmp_path / 'set' / 'structFiles' / 'day_night_test_d-3_d2-1.db')
        np.testing.assert_allclose(struct.q_positions, street(0.5), atol=1e-9)
        assert struct.db_images[0].startswith('day/camera/image_raw')
        assert len(set(struct.db_images)) == COUNT


class TestInputKinds:
    """Whatever knows the positions of two drives makes the same data set."""

    EAST, NORTH = 2.0, 0.5

    def write(self, path: Path, kind: str, offset: float) -> Path:
        east = self.EAST * np.arange(COUNT) + offset
        if kind == 'tum':
            rows = [f'{i / 10} {x} {self.NORTH} 0 0 0 0 1' for i, x in enumerate(east)]
        elif kind == 'kitti':
            # The camera looks along z, which is x of the robot; its x points to the right.
            rows = [f'1 0 0 {-self.NORTH} 0 1 0 0 0 0 1 {x}' for x in east]
        elif kind == 'gps':
            metres = np.array([OVER_A_DEGREE_EAST, OVER_A_DEGREE_NORTH])
            degrees = np.stack([east, np.full(COUNT, self.NORTH)], axis=1) / metres
            rows = ['timestamp_ns,latitude,longitude',
                    *(f'{i * 10**8},{LATITUDE + north:.12f},{LONGITUDE + x:.12f}'
                      for i, (x, north) in enumerate(degrees))]
        else:
            rows = ['image,easting,northing',
                    *(f'{i}.png,{x},{self.NORTH}' for i, x in enumerate(east))]
        path.write_text('\n'.join(rows))
        return path

    @pytest.mark.parametrize('kind', ['positions', 'gps', 'tum', 'kitti'])
    def test_files_beside_image_folders(self, world, tmp_path, kind):
        poses = [self.write(tmp_path / f'{drive}.txt', kind, offset)
                 for drive, offset in (('day', 0.0), ('night', 0.25))]
        create(world, tmp_path / 'set', *RADII, '--reference-poses', poses[0], '--query-poses',
               poses[1])
        split = open_split(tmp_path / 'set', 'test')
        apart = split.struct.q_positions - split.struct.db_positions
        np.testing.assert_allclose(apart, np.tile([0.25, 0], (COUNT, 1)), atol=1e-3)
        steps = np.diff(split.struct.db_positions, axis=0)
        np.testing.assert_allclose(steps, np.tile([2.0, 0], (COUNT - 1, 1)), atol=1e-3)
        assert (split.struct.db_gps is not None) == (kind == 'gps')

    def test_earth_positions_are_kept(self, world, tmp_path):
        for drive, offset in (('day', 0.0), ('night', 30.0)):
            self.write(tmp_path / f'{drive}.csv', 'gps', offset)
        create(world, tmp_path / 'set', *RADII, '--reference-poses', tmp_path / 'day.csv',
               '--query-poses', tmp_path / 'night.csv', '--radius', 40)
        struct = open_split(tmp_path / 'set', 'test').struct
        for gps, offset in ((struct.db_gps, 0.0), (struct.q_gps, 30.0)):
            east = self.EAST * np.arange(COUNT) + offset
            np.testing.assert_allclose(gps[:, 0], LATITUDE + self.NORTH / OVER_A_DEGREE_NORTH,
                                       atol=1e-9)
            np.testing.assert_allclose(gps[:, 1], LONGITUDE + east / OVER_A_DEGREE_EAST, atol=1e-9)

    def test_times_of_bags_are_kept_and_those_of_folders_are_not_made_up(self, world, made,
                                                                         tmp_path):
        for name in ('day', 'night'):
            succeed('bag', 'write', world / name, '--output', tmp_path / name, '--rate', 4)
        succeed('dataset', 'create', tmp_path / 'day', tmp_path / 'night', '--output',
                tmp_path / 'set', '--model', world / 'tiny.yaml', *RADII)
        struct = open_split(tmp_path / 'set', 'test').struct
        np.testing.assert_array_equal(np.diff(struct.db_stamps), 250_000_000)
        assert len(struct.q_stamps) == COUNT
        plain = open_split(made[0], 'test').struct
        assert plain.db_stamps is None
        assert plain.q_gps is None


class TestSpacing:
    def test_metres(self, world, tmp_path):
        rows = street()
        rows[7:] += [100, 0]
        day = write_csv(tmp_path / 'day.csv', 'x,y', rows)
        night = write_csv(tmp_path / 'night.csv', 'x,y', street(0.5))
        create(world, tmp_path / 'set', *RADII, '--reference-poses', day, '--query-poses', night,
               '--every', '4m')
        split = open_split(tmp_path / 'set', 'test')
        kept = [0, 2, 4, 6, 7, 9, 11]  # the jump begins a sequence
        np.testing.assert_allclose(split.struct.db_positions, rows[kept])
        assert split.struct.db_images == tuple(f'day/{i}.png' for i in kept)
        assert split.bounds[0].tolist() == [[0, 4]] * 4 + [[4, 7]] * 3
        assert len(split.descriptors[1]) == 6

    def test_images(self, world, tmp_path):
        create(world, tmp_path / 'set', *RADII, '--every', '3')
        split = open_split(tmp_path / 'set', 'test')
        np.testing.assert_array_equal(split.struct.q_positions[:, 0], [0, 3, 6, 9])
        assert split.struct.q_images[1] == 'night/3.png'

    def test_descriptors_are_those_of_the_images(self, world, tmp_path, made):
        create(world, tmp_path / 'set', *RADII, '--every', '2')
        every = open_split(made[0], 'test').descriptors[0]
        np.testing.assert_array_equal(open_split(tmp_path / 'set', 'test').descriptors[0],
                                      every[::2])

    @pytest.mark.parametrize(('every', 'message'), [
        ('2m', 'a spacing of 2m needs poses, but'), ('fast', "spacing 'fast' is invalid")])
    def test_what_cannot_be_spaced(self, world, tmp_path, every, message):
        assert message in refusal('dataset', 'create', world / 'day', world / 'night', '--output',
                                  tmp_path / 'set', '--model', world / 'tiny.yaml', *RADII,
                                  '--every', every)
        assert list(tmp_path.iterdir()) == []


class TestRefusals:
    @pytest.mark.parametrize(('arguments', 'message'), [
        (('--radius', '1', '--positive-radius', '2'), 'radius of positives 2'),
        (('--radius', 'nan', '--positive-radius', '1'), 'radius is nan'),
        (('--radius', '1', '--positive-radius', '-1'), 'expected 0 or more'),
        ((*RADII, '--name', '../x'), "name '../x' cannot name files"),
        ((*RADII, '--split', 'tset'), "split 'tset' is unknown, expected train, val, test"),
        ((*RADII, '--model', 'none'), "no model 'none'"),
        ((*RADII, '--query-poses', 'none.csv'), 'none.csv cannot be read'),
        ((*RADII, '--topic', '/image'), 'is not a bag'),
    ])
    def test_options(self, world, tmp_path, arguments, message):
        assert message in refusal('dataset', 'create', world / 'day', world / 'night', '--output',
                                  tmp_path / 'set', '--model', world / 'tiny.yaml', *arguments)
        assert list(tmp_path.iterdir()) == []

    def test_drives_that_cannot_be_compared(self, world, tmp_path):
        metres = write_csv(tmp_path / 'm.csv', 'x,y', street())
        earth = write_csv(tmp_path / 'e.csv', 'lat,lon', np.tile([48.0, 9.0], (COUNT, 1)))
        for poses in (('--reference-poses', metres),
                      ('--reference-poses', metres, '--query-poses', earth)):
            sentence = refusal('dataset', 'create', world / 'day', world / 'night', '--output',
                               tmp_path / 'set', '--model', world / 'tiny.yaml', *RADII, *poses)
            assert 'expected both of the same kind' in sentence
            assert 'm.csv' in sentence

    def test_a_full_folder_is_left_alone(self, world, tmp_path):
        (tmp_path / 'note.txt').write_text('mine')
        assert 'exists, expected a new or empty folder' in refusal(
            'dataset', 'create', *HOG, world / 'day', world / 'night', '--output', tmp_path, *RADII)
        assert [path.name for path in tmp_path.iterdir()] == ['note.txt']

    def test_a_damaged_image_leaves_nothing(self, world, tmp_path):
        (tmp_path / 'bad').mkdir()
        content = (world / 'day' / '3.png').read_bytes()
        (tmp_path / 'bad' / '1.png').write_bytes(content[:len(content) // 3])
        assert '1.png' in refusal('dataset', 'create', world / 'day', tmp_path / 'bad', '--output',
                                  tmp_path / 'set', '--model', world / 'tiny.yaml', *RADII)
        assert [path.name for path in tmp_path.iterdir()] == ['bad']

    @pytest.mark.parametrize('every', [None, '1'])
    def test_damaged_images_are_skipped_counted_and_named(self, world, tmp_path, every):
        day, option = tmp_path / 'day', () if every is None else ('--every', every)
        shutil.copytree(world / 'day', day)
        total = len(list(day.glob('*.png')))
        (day / '3.png').write_bytes(b'no image')
        result = succeed('dataset', 'create', day, world / 'night', '--output', tmp_path / 'set',
                         '--model', world / 'tiny.yaml', *RADII, *option)
        assert f'1 of {total} images cannot be read and were skipped: ' in result.stderr
        assert '3.png' in result.stderr
        struct, = (tmp_path / 'set').rglob('*.db')
        names = read_struct(struct).db_images
        assert len(names) == total - 1
        assert 'day/3.png' not in names

    def test_info_of_what_is_no_struct(self, tmp_path):
        assert 'does not exist' in refusal('dataset', 'info', tmp_path / 'none.db')
        (tmp_path / 'x.db').write_text(json.dumps({}))
        assert 'not a MATLAB v5 file' in refusal('dataset', 'info', tmp_path / 'x.db')


def test_info_of_a_published_struct(shared_data):
    path = shared_data / 'seqnet_structfiles' / 'nordland_val_d-1_d2-1.db'
    shown = succeed('dataset', 'info', path).stdout
    assert '3000 reference, 3000 query' in shown
    assert 'matches per query      3.00' in shown


def test_info_of_caches_of_the_published_code(shared_golden, tmp_path):
    folder = shared_golden / 'jist'
    shown = succeed('dataset', 'info', folder / 'sequences' / 'msls_seq5_goa.torch').stdout
    assert '127 of the database, 49 queries, of 5 frames' in shown
    assert 'goa, zurich' in shown
    assert 'queries without match  11' in shown
    assert 'matches per query      9.18' in shown
    shown = succeed('dataset', 'info',
                    folder / 'partition' / 'processed_M10_N5_mipc10.torch').stdout
    assert 'classes  29' in shown
    assert '21 of 1 to 3 classes' in shown
    torch.save({'db_paths': []}, tmp_path / 'x.torch')
    assert 'not a cache of sequences' in refusal('dataset', 'info', tmp_path / 'x.torch')
    torch.save([1, 2, 3], tmp_path / 'x.torch')
    assert 'not a cache of classes' in refusal('dataset', 'info', tmp_path / 'x.torch')


@pytest.mark.parametrize(('reference', 'query', 'expected'), [
    ('a/day', 'b/night.mp4', 'day_night'), ('a b', 'ü', 'a-b_drive')])
def test_names(reference, query, expected):
    assert dataset_name(Path(reference), Path(query)) == expected
