"""Folders and videos as recordings, with and without pose files."""

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
    folder = write_folder(tmp_path / 'images', ['0.jpg', '1.tif', '2.webp', '3.jpeg'])
    stamps = [frame.stamp_ns for frame in open_source(folder, rate=3.0)]
    assert stamps == [0, 333333333, 666666667, 1000000000]


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
