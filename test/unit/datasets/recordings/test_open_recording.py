"""Folders and videos as recordings, with and without pose files."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.core.poses import make_pose
from seqnet_ros.datasets.recordings.open_recording import open_source

GARDENS = Path(__file__).parents[5] / 'shared/data/gardens_point/day_left'


def write_folder(folder: Path, names: list[str]) -> Path:
    """Write one small image per name, of the grey value of its place in the list."""
    folder.mkdir()
    for value, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((8, 12, 3), value, np.uint8))
    return folder


def write_video(path: Path, count: int = 12, rate: float = 5.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), rate, (64, 48))
    assert writer.isOpened()
    for index in range(count):
        writer.write(np.full((48, 64, 3), [0, 0, 20 * (index % 12)], np.uint8))
    writer.release()
    return path


def test_folder_is_in_natural_order(tmp_path):
    folder = write_folder(tmp_path / 'images', ['img2.png', 'img10.png', 'IMG1.PNG', 'b.bmp'])
    (folder / 'notes.txt').write_text('no image')
    (folder / '.hidden.png').write_bytes(b'')
    (folder / 'sub.png').mkdir()
    source = open_source(folder)
    frames = list(source)
    assert [frame.name for frame in frames] == ['b.bmp', 'IMG1.PNG', 'img2.png', 'img10.png']
    assert [frame.read()[0, 0, 0] for frame in frames] == [3, 2, 0, 1]
    assert [frame.stamp_ns for frame in frames] == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert len(source) == 4
    assert source.pose_origin == 'none'
    assert all(frame.pose is None for frame in frames)


def test_folder_rate(tmp_path):
    folder = write_folder(tmp_path / 'images', ['0.jpg', '1.tif', '2.webp', '3.jpeg', '4.ppm'])
    stamps = [frame.stamp_ns for frame in open_source(folder, rate=3.0)]
    assert stamps == [0, 333333333, 666666667, 1000000000, 1333333333]


@pytest.mark.parametrize('names', [
    ['a.png', 'a (1).png', 'a (2).png', 'a (10).png', 'b.png'],
    ['img1.png', 'img1 (1).png', 'img2.png'],
    ['0.25.png', '0.5.png', '1.png', '2.125.png', '10.0.png'],
    ['frame_9.5.png', 'frame_9.75.png', 'frame_10.25.png'],
    ['cam0.9.png', 'cam0.10.png', 'cam1.1.png'],
    ['1305031102.175304.png', '1305031102.2.png', '1305031102.21.png']])
def test_natural_order_of_copies_and_decimals(tmp_path, names):
    folder = write_folder(tmp_path / 'images', names)
    assert [frame.name for frame in open_source(folder)] == names


@pytest.mark.parametrize(('names', 'stamps'), [
    (['1403636579763555584', '1403636579813555456'], [1403636579763555584, 1403636579813555456]),
    (['1305031102.175304', '1305031102.2'], [1305031102175304000, 1305031102200000000]),
    (['1418132416737115', '1418132416799611'], [1418132416737115000, 1418132416799611000]),
    (['left_1403636579763', 'left_1403636579813'], [1403636579763 * 10**6, 1403636579813 * 10**6]),
    # No times: counters, dates, times of the future, and different prefixes.
    (['000000000001', '000000000002'], [0, 10**8]), (['1', '2'], [0, 10**8]),
    (['20210501123456', '20210501123457'], [0, 10**8]),
    (['9403636579763555584', '9403636579813555456'], [0, 10**8]),
    (['a1403636579763', 'b1403636579813'], [0, 10**8]),
])
def test_times_in_the_names_of_images(tmp_path, names, stamps):
    folder = write_folder(tmp_path / 'images', [f'{name}.png' for name in names])
    source = open_source(folder)
    assert [frame.stamp_ns for frame in source] == stamps
    assert source.timed == (stamps[0] != 0)
    assert [frame.stamp_ns for frame in open_source(folder, rate=2.0)] == [0, 5 * 10**8]


@pytest.mark.parametrize(('file', 'content', 'stamps'), [
    ('../times.txt', '0.0\n1.037e-01\n2.1\n', [0, 103700000, 2100000000]),
    ('timestamps.txt', ('2011-09-26 13:02:25.964389445\n2011-09-26 13:02:26\n'
                        '2011-09-26 13:02:26.1\n'),
     [1317042145964389445, 1317042146000000000, 1317042146100000000]),
    ('../data.csv', ('#timestamp [ns],filename\n1403636579763555584,1.png\n'
                     '1403636579813555456,2.png\n1403636579863555584,3.png\n'),
     [1403636579763555584, 1403636579813555456, 1403636579863555584]),
    ('../rgb.txt', ('# color images\n# timestamp filename\n5.5 rgb/1.png\n6.5 rgb/2.png\n'
                    '7.5 rgb/3.png\n'), [5500000000, 6500000000, 7500000000]),
    ('../images.csv', 'name,x,time_ms\n1.png,9,1\n2.png,9,2\n3.png,9,3\n',
     [1000000, 2000000, 3000000]),
    # Lists of something else.
    ('../data.csv', 'frame,x,y\n1,5,5\n2,5,5\n3,5,5\n', [0, 10**8, 2 * 10**8]),
    ('times.txt', 'one\ntwo\nthree\n', [0, 10**8, 2 * 10**8]),
    ('rgb.txt', '1 other1.png\n2 other2.png\n3 other3.png\n', [0, 10**8, 2 * 10**8]),
])
def test_times_in_a_list_beside_the_images(tmp_path, file, content, stamps):
    folder = write_folder(tmp_path / 'images', ['1.png', '2.png', '3.png'])
    (folder / file).write_text(content)
    assert [frame.stamp_ns for frame in open_source(folder)] == stamps


def test_images_without_a_time_in_the_list_are_counted(tmp_path, caplog):
    folder = write_folder(tmp_path / 'images', ['1.png', '2.png', '3.png'])
    (folder / 'rgb.txt').write_text('7 3.png\n5 1.png\n')
    assert [(frame.name, frame.stamp_ns) for frame in open_source(folder)] == [
        ('1.png', 5 * 10**9), ('3.png', 7 * 10**9)]
    assert '1 of 3 images have no time in' in caplog.text
    assert 'the first: 2.png' in caplog.text
    (folder / 'rgb.txt').unlink()
    (folder / 'times.txt').write_text('1\n2\n')
    assert len(open_source(folder)) == 3
    assert 'holds 2 times for 3 images and is not used' in caplog.text


def test_malformed_line_of_a_list_is_named(tmp_path):
    folder = write_folder(tmp_path / 'images', ['1.png', '2.png'])
    (folder / 'rgb.txt').write_text('5 1.png\nfive 2.png\n')
    with pytest.raises(InputError, match=r"rgb\.txt line 2 holds 'five', expected a number"):
        open_source(folder)


def test_ground_truth_of_euroc_is_read_as_published(tmp_path):
    camera = write_folder(tmp_path / 'cam0', [f'14036365797635555{i}4.png' for i in (0, 5, 9)])
    truth = tmp_path / 'state_groundtruth_estimate0'
    truth.mkdir()
    (truth / 'data.csv').write_text(
        '#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], '
        'q_RS_z [], v_RS_R_x [m s^-1], v_RS_R_y [m s^-1], v_RS_R_z [m s^-1]\n'
        '1403636579763555504,4.5,-1.5,0.75,0.6,0.0,0.8,0.0,-0.02,0.03,0.08\n'
        '1403636579763555604,5.5,-1.5,0.75,0.6,0.0,0.8,0.0,-0.02,0.03,0.08\n')
    for poses in (truth, truth / 'data.csv'):
        frames = list(open_source(camera, poses=poses))
        np.testing.assert_allclose(frames[0].pose, [4.5, -1.5, 0.75, 0, 0.8, 0, 0.6])
        assert frames[1].pose[0] == pytest.approx(5.0)
        assert frames[2].pose[0] == pytest.approx(5.4)


def test_positions_that_are_none_do_not_become_the_origin(tmp_path, caplog):
    folder = write_folder(tmp_path / 'images', ['0.png', '1.png', '2.png'])
    poses = tmp_path / 'poses.csv'
    poses.write_text('lat,lon\n0,0\n48,11\n48.001,11\n')
    source = open_source(folder, poses=poses)
    assert source.pose_origin == 'poses.csv, east and north of 48.000000, 11.000000'
    assert [None if frame.pose is None else round(frame.pose[1]) for frame in source] == [
        None, 0, 111]
    assert 'left out 1 of 3 positions that are none, the first in line 2' in caplog.text
    poses.write_text('lat,lon\n0,0\n')
    with pytest.raises(InputError, match='holds no position on the earth'):
        open_source(folder, poses=poses)


def test_damaged_image_fails_when_read_not_before(tmp_path):
    folder = write_folder(tmp_path / 'images', ['0.png', '1.png', '2.png'])
    (folder / '1.png').write_bytes(b'rubbish')
    frames = list(open_source(folder))
    frames[2].read()
    with pytest.raises(InputError, match=r'1\.png'):
        frames[1].read()


@pytest.mark.parametrize(('others', 'words'), [
    ([], 'found nothing'),
    (['a.txt', 'b.txt'], r'found a\.txt, b\.txt, expected files ending in \.jpg'),
    ([f'{i}.npy' for i in range(9)], 'found 0.npy, 1.npy, 2.npy and 6 more')])
def test_folder_without_images_says_what_is_there(tmp_path, others, words):
    for name in others:
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=f'holds no images, {words}'):
        open_source(tmp_path)


def test_folder_names_the_one_below_that_has_images(tmp_path):
    (tmp_path / 'cam0').mkdir()
    write_folder(tmp_path / 'cam0/data', ['0.png'])
    with pytest.raises(InputError, match=r'found data \(there are images in .*cam0/data\)'):
        open_source(tmp_path / 'cam0')


def test_video_is_read_in_order(tmp_path):
    source = open_source(write_video(tmp_path / 'drive.avi'))
    assert len(source) == 12
    frames = list(source)
    assert [frame.stamp_ns for frame in frames] == [i * 2 * 10**8 for i in range(12)]
    for index, frame in enumerate(frames):
        image = frame.read()
        assert image.shape == (48, 64, 3)
        assert image.flags['C_CONTIGUOUS']
        assert np.abs(image[24, 32].astype(int) - [20 * index, 0, 0]).max() <= 4
    assert [frame.stamp_ns for frame in source] == [frame.stamp_ns for frame in frames]
    assert frames[3].name == 'drive.avi#3'


def with_times(video: Path, runs: list[tuple[int, float]]) -> Path:
    """Change the times of an MP4: numbers of images, and their durations relative to before.

    They are in the box stts, whose growth its parents state.
    """
    content = bytearray(video.read_bytes())
    assert content.index(b'mdat') < content.index(b'moov')  # what follows mdat may move
    at = content.index(b'stts') - 4
    count, _, period = struct.unpack_from('>III', content, at + 12)
    assert count == 1
    table = b''.join(struct.pack('>II', number, round(factor * period)) for number, factor in runs)
    content[at + 12:at + 24] = struct.pack('>I', len(runs)) + table
    for name in (b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stts'):
        box = content.index(name) - 4
        struct.pack_into('>I', content, box, struct.unpack_from('>I', content, box)[0]
                         + len(table) - 8)
    video.write_bytes(content)
    return video


def test_video_of_varying_rate_has_its_own_times(tmp_path, caplog):
    video = tmp_path / 'phone.mp4'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*'mp4v'), 10.0, (64, 48))
    assert writer.isOpened()
    for index in range(20):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()
    with_times(video, [(10, 0.5), (10, 1.5)])
    expected = [0.05 * index for index in range(10)] + [0.5 + 0.15 * index for index in range(10)]
    source = open_source(video)
    np.testing.assert_allclose([frame.stamp_ns / 1e9 for frame in source], expected, atol=1e-3)
    poses = tmp_path / 'truth.tum'
    poses.write_text('\n'.join(f'{time:.3f} {index} 0 0 0 0 0 1'
                               for index, time in enumerate(expected)))
    found = [frame.pose[0] for frame in open_source(video, poses=poses) if frame.pose is not None]
    np.testing.assert_allclose(found, range(len(found)), atol=0.02)
    assert len(found) >= 19
    assert not caplog.text
    fixed = [frame.stamp_ns for frame in open_source(video, rate=5.0)]
    assert fixed == [index * 2 * 10**8 for index in range(20)]


def test_video_rate_can_be_given(tmp_path):
    source = open_source(write_video(tmp_path / 'drive.avi', count=3), rate=1.0)
    assert [frame.stamp_ns for frame in source] == [0, 10**9, 2 * 10**9]


def test_cut_video_ends_early_and_says_so(tmp_path, caplog):
    video = write_video(tmp_path / 'drive.avi', count=200)
    content = video.read_bytes()
    video.write_bytes(content[:len(content) // 2])
    source = open_source(video)
    count = sum(1 for _ in source)
    assert 50 < count < 150
    assert len(source) == count
    assert f'ended after {count} images, its header states 200' in caplog.text


@pytest.mark.parametrize('content', [b'', b'no video at all' * 50])
def test_unusable_video_is_named(tmp_path, content):
    (tmp_path / 'drive.mp4').write_bytes(content)
    with pytest.raises(InputError, match=r'drive\.mp4 .*cannot be opened'):
        open_source(tmp_path / 'drive.mp4')


def test_unknown_paths(tmp_path):
    with pytest.raises(InputError, match='nowhere does not exist'):
        open_source(tmp_path / 'nowhere')
    (tmp_path / 'notes.txt').write_text('hello')
    with pytest.raises(InputError, match=r'notes\.txt is not a supported recording.*\.mcap.*\.mp4'):
        open_source(tmp_path / 'notes.txt')


@pytest.mark.parametrize('options', [{'topic': '/image'}, {'pose_topic': '/odom'}])
def test_topics_do_not_apply_to_folders(tmp_path, options):
    folder = write_folder(tmp_path / 'images', ['0.png'])
    with pytest.raises(InputError, match='is not a bag'):
        open_source(folder, **options)


@pytest.mark.parametrize('rate', [0.0, -1.0, float('nan'), float('inf')])
def test_impossible_rate_is_refused(tmp_path, rate):
    with pytest.raises(InputError, match='rate is'):
        open_source(write_folder(tmp_path / 'images', ['0.png']), rate=rate)


def test_poses_by_time(tmp_path):
    folder = write_folder(tmp_path / 'images', [f'{i}.png' for i in range(5)])
    poses = tmp_path / 'poses.tum'
    poses.write_text('0.1 1 0 0 0 0 0 1\n0.3 3 0 0 0 0 0 1\n')
    source = open_source(folder, poses=poses)
    assert source.pose_origin == 'poses.tum'
    found = [None if frame.pose is None else frame.pose[0] for frame in source]
    assert found == [None, 1, pytest.approx(2), 3, None]


def test_poses_by_name(tmp_path):
    folder = write_folder(tmp_path / 'images', ['10.png', '11.png'])
    poses = tmp_path / 'poses.csv'
    poses.write_text('frame,x,y,yaw\n11,5,6,0\n10,3,4,0\n')
    frames = list(open_source(folder, poses=poses))
    np.testing.assert_array_equal(frames[0].pose, make_pose(3, 4))
    np.testing.assert_array_equal(frames[1].pose, make_pose(5, 6))


def test_poses_by_row_for_a_video(tmp_path):
    video = write_video(tmp_path / 'drive.avi', count=3)
    poses = tmp_path / 'poses.csv'
    poses.write_text('lat,lon\n48,11\n48,11.001\n48,11.002\n')
    source = open_source(video, poses=poses, datum=GeoPoint(48.0, 11.001))
    east = [frame.pose[0] for frame in source]
    np.testing.assert_allclose(east, [-74.6, 0, 74.6], atol=0.1)
    assert 'east and north of 48.000000, 11.001000' in source.pose_origin


def test_poses_of_another_time_are_refused(tmp_path):
    folder = write_folder(tmp_path / 'images', ['0.png', '1.png'])
    poses = tmp_path / 'poses.tum'
    poses.write_text('100 1 0 0 0 0 0 1\n200.5 3 0 0 0 0 0 1\n')
    with pytest.raises(InputError, match=r'100\.000 s to 200\.500 s.*0\.000 s to 0\.100 s'):
        open_source(folder, poses=poses)


def test_poses_of_other_images_are_refused(tmp_path):
    folder = write_folder(tmp_path / 'images', ['0.png', '1.png'])
    poses = tmp_path / 'poses.csv'
    poses.write_text('image,x,y\nleft.png,0,0\n')
    with pytest.raises(InputError, match=r"found 'left\.png', expected names like '0\.png'"):
        open_source(folder, poses=poses)


@pytest.mark.skipif(not GARDENS.is_dir(), reason='the Gardens Point images are not here')
def test_real_folder():
    source = open_source(GARDENS)
    frames = list(source)
    assert len(frames) == len(source) == 200
    assert frames[-1].read().shape == (360, 640, 3)
    assert [frame.name for frame in frames] == sorted(frame.name for frame in frames)
