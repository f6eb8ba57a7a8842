"""Bags of every kind are written, read back and, when damaged, refused in words."""

import shutil
import sqlite3
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from recorded_bags import (
    START_NS,
    STEP_NS,
    STORE,
    nav_sat_fix,
    picture,
    pose_stamped,
    raw_image,
    transforms,
    write_drive,
    write_messages,
)
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer
from rosbags.typesys import Stores, get_typestore

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import make_pose, yaw_of
from seqnet_ros.datasets.recordings.bag_writer import UNSET_STAMP_NS, BagWriter, write_bag
from seqnet_ros.datasets.recordings.frames import Frame, FrameSource
from seqnet_ros.datasets.recordings.open_recording import open_source
from seqnet_ros.datasets.recordings.rosbag import Bag, BagSource

GARDENS = Path(__file__).parents[5] / 'shared/data/gardens_point/day_left'
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('bare', [False, True])
def test_raw_images_and_odometry_come_back_exactly(tmp_path, storage, bare):
    path = write_drive(tmp_path / 'drive', storage=storage)
    source = open_source(next(path.glob('drive.*')) if bare else path)
    frames = list(source)
    assert len(frames) == len(source) == 10
    assert source.pose_origin == 'odometry on /odom'
    for index, frame in enumerate(frames):
        assert (frame.index, frame.stamp_ns) == (index, START_NS + index * STEP_NS)
        np.testing.assert_array_equal(frame.read(), picture(index))
        np.testing.assert_allclose(frame.pose, make_pose(index, 0, yaw=0.1 * index))
    assert [frame.stamp_ns for frame in source] == [frame.stamp_ns for frame in frames]


def test_folder_without_metadata_is_read(tmp_path):
    path = write_drive(tmp_path / 'drive')
    second = write_messages(tmp_path / 'second', [
        ('/camera', START_NS + 10**10, raw_image(START_NS + 10**10, 7))])
    shutil.move(second / 'second.mcap', path / 'z.mcap')
    (path / 'metadata.yaml').unlink()
    frames = list(open_source(path))
    assert len(frames) == 11
    np.testing.assert_array_equal(frames[10].read(), picture(7))


def test_compressed_images_are_close(tmp_path):
    smooth = cv2.GaussianBlur(picture(1, 60, 80), (0, 0), 5)
    with BagWriter(tmp_path / 'drive') as bag:
        bag.write_image('/camera/compressed', START_NS, smooth, compressed=True)
    frame, = open_source(tmp_path / 'drive')
    assert np.abs(frame.read().astype(int) - smooth).max() <= 8


@pytest.mark.parametrize('late', [False, True])
def test_bag_that_another_process_makes_meanwhile_stays(tmp_path, monkeypatch, late):
    """It appears before the library looks for it, or before it is opened."""
    path = tmp_path / 'drive'

    def make() -> None:
        path.mkdir()
        (path / 'own').write_text('precious')

    def write_first(*arguments: Any, **options: Any) -> Ros2Writer:
        if late:
            writer = Ros2Writer(*arguments, **options)
        make()
        return writer if late else Ros2Writer(*arguments, **options)

    monkeypatch.setattr('seqnet_ros.datasets.recordings.bag_writer.Writer', write_first)
    with pytest.raises(InputError, match='drive exists already'), BagWriter(path):
        pass
    assert (path / 'own').read_text() == 'precious'


def test_ros1_bag(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    stamp_type = store.types['builtin_interfaces/msg/Time']

    def ros1_header(index: int) -> Any:
        seconds, nanoseconds = divmod(START_NS + index * STEP_NS, 10**9)
        return store.types['std_msgs/msg/Header'](
            seq=index, stamp=stamp_type(sec=seconds, nanosec=nanoseconds), frame_id='camera')

    with Ros1Writer(tmp_path / 'old.bag') as writer:
        images = writer.add_connection('/camera', 'sensor_msgs/msg/Image', typestore=store)
        poses = writer.add_connection('/pose', 'geometry_msgs/msg/PoseStamped', typestore=store)
        for index in range(5):
            received = START_NS + index * STEP_NS + 5000
            image = store.types['sensor_msgs/msg/Image'](
                header=ros1_header(index), height=12, width=16, encoding='bgr8', is_bigendian=0,
                step=48, data=picture(index)[..., ::-1].reshape(-1))
            pose = store.types['geometry_msgs/msg/PoseStamped'](
                header=ros1_header(index), pose=pose_stamped(0, float(index))[1].pose)
            writer.write(images, received, store.serialize_ros1(image, 'sensor_msgs/msg/Image'))
            writer.write(
                poses, received, store.serialize_ros1(pose, 'geometry_msgs/msg/PoseStamped'))
    source = open_source(tmp_path / 'old.bag')
    assert source.pose_origin == 'poses on /pose'
    frames = list(source)
    assert len(frames) == len(source) == 5
    for index, frame in enumerate(frames):
        assert frame.stamp_ns == START_NS + index * STEP_NS
        assert frame.pose[0] == index
        np.testing.assert_array_equal(frame.read(), picture(index))
    whole = (tmp_path / 'old.bag').read_bytes()
    (tmp_path / 'cut.bag').write_bytes(whole[:len(whole) // 2])
    with pytest.raises(InputError, match=r'cut\.bag cannot be read'):
        open_source(tmp_path / 'cut.bag')


@pytest.mark.parametrize('mode', [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_compressed_bags(tmp_path, mode):
    path = write_messages(
        tmp_path / 'drive', [('/camera', START_NS, raw_image(START_NS, 3))],
        StoragePlugin.SQLITE3, lambda writer: writer.set_compression(mode, CompressionFormat.ZSTD))
    frame, = open_source(path)
    np.testing.assert_array_equal(frame.read(), picture(3))


def test_bag_without_message_definitions(tmp_path):
    """What ROS 2 Humble records: no definitions beside the messages."""
    path = write_drive(tmp_path / 'drive', storage='sqlite3')
    with sqlite3.connect(next(path.glob('*.db3'))) as database:
        database.execute('DELETE FROM message_definitions')
    assert len([frame.read() for frame in open_source(path)]) == 10


def test_malformed_custom_type_does_no_harm(tmp_path):
    with Ros2Writer(tmp_path / 'drive', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        odd = writer.add_connection('/odd', 'odd_msgs/msg/Odd', msgdef='!! nonsense', rihs01='x')
        writer.write(odd, START_NS, b'\0\1\0\0')
        kind, message = raw_image(START_NS)
        camera = writer.add_connection('/camera', kind, typestore=STORE)
        writer.write(camera, START_NS, STORE.serialize_cdr(message, kind))
    assert len(list(open_source(tmp_path / 'drive'))) == 1


def test_stamps_come_from_the_header_else_from_the_recorder(tmp_path):
    path = write_messages(tmp_path / 'drive', [
        ('/camera', START_NS + 777, raw_image(START_NS)),
        ('/camera', START_NS + 888, raw_image(0))])
    assert [frame.stamp_ns for frame in open_source(path)] == [START_NS, START_NS + 888]


def test_overtaking_images_are_put_in_order(tmp_path):
    order = [2, 0, 1, 3, 5, 4, 8, 7, 6, *range(9, 30)]
    path = write_messages(tmp_path / 'drive', [
        ('/camera', START_NS + place, raw_image(START_NS + index * STEP_NS, index))
        for place, index in enumerate(order)])
    frames = list(open_source(path))
    assert [frame.stamp_ns for frame in frames] == [START_NS + i * STEP_NS for i in range(30)]
    assert [frame.index for frame in frames] == list(range(30))
    np.testing.assert_array_equal(frames[6].read(), picture(6))


def test_clock_going_back_splits_the_recording_once(tmp_path):
    stamps = [START_NS + i * STEP_NS for i in range(20)] * 2
    path = write_messages(tmp_path / 'drive', [
        ('/camera', place, raw_image(stamp)) for place, stamp in enumerate(stamps)])
    assert [frame.stamp_ns for frame in open_source(path)] == stamps


def test_topic_choice(tmp_path):
    path = write_messages(tmp_path / 'drive', [
        ('/left', START_NS, raw_image(START_NS, 1)), ('/right', START_NS, raw_image(START_NS, 2)),
        ('/right', START_NS + 1, raw_image(START_NS + 1, 2)),
        ('/pose', START_NS, pose_stamped(START_NS, 0.0))])
    assert len(open_source(path, topic='/right')) == 2
    left, right = r'/left \(sensor_msgs/Image, 1 messages\)', r'/right \(sensor_msgs/Image, 2 mess'
    with pytest.raises(InputError, match=f'2 image topics, specify one .*{left}, {right}'):
        open_source(path)
    with pytest.raises(InputError, match=f'no image topic /front; .*{left}, {right}'):
        open_source(path, topic='/front')
    with pytest.raises(InputError, match='no image topic /pose'):
        open_source(path, topic='/pose')
    with pytest.raises(InputError, match=r'no pose topic /left; .*/pose \(geometry_msgs/PoseSt'):
        open_source(path, topic='/left', pose_topic='/left')


def test_empty_topics_are_no_choice(tmp_path):
    path = write_messages(tmp_path / 'drive', [
        ('/empty', 0, ('sensor_msgs/msg/Image', None)), ('/full', START_NS, raw_image(START_NS))])
    assert len(open_source(path)) == 1
    with pytest.raises(InputError, match='holds no message on /empty'):
        open_source(path, topic='/empty')


def test_pose_preference_and_fallback(tmp_path):
    """Odometry, first choice, covers another time; of the rest poses go before GPS."""
    with BagWriter(tmp_path / 'other') as bag:
        bag.write_odometry('/odom', 5, make_pose(9, 9))
    stamps = [START_NS, START_NS + STEP_NS, START_NS + 2 * STEP_NS]
    messages = [('/fix', stamp, nav_sat_fix(stamp, 48 + i * 1e-4))
                for i, stamp in enumerate(stamps)]
    messages += [('/pose', stamp, pose_stamped(stamp, 2.0 * i)) for i, stamp in enumerate(stamps)]
    messages += [('/camera', START_NS + STEP_NS // 2, raw_image(START_NS + STEP_NS // 2))]
    path = write_messages(tmp_path / 'drive', messages)
    source = open_source(path)
    assert source.pose_origin == 'poses on /pose'
    frame, = source
    np.testing.assert_allclose(frame.pose, make_pose(1, 0))

    source = open_source(path, pose_topic='/fix')
    assert source.pose_origin == 'GPS on /fix, east and north of 48.000000, 11.000000'
    frame, = source
    assert frame.pose[1] == pytest.approx(5.56, abs=0.01)
    assert yaw_of(frame.pose) == pytest.approx(np.pi / 2, abs=1e-3)

    shutil.move(tmp_path / 'other/other.mcap', path / 'other.mcap')
    (path / 'metadata.yaml').unlink()
    assert open_source(path).pose_origin == 'poses on /pose'
    with pytest.raises(InputError, match=r'odometry on /odom covers 0\.000 s to 0\.000 s'):
        open_source(path, pose_topic='/odom')


def test_poses_follow_the_tree_of_transforms(tmp_path):
    """The map is corrected twice, by a quarter turn; the camera hangs on the robot."""
    messages = [('/tf_static', START_NS, transforms((0, 'base_link', 'camera', 0.3, 0.0)))]
    for index in range(5):
        stamp = START_NS + index * STEP_NS
        messages.append(('/tf', stamp, transforms((stamp, 'odom', 'base_link', index, 0.0))))
        if index in (1, 3):
            messages.append(('/tf', stamp, transforms(
                (stamp, 'map', 'odom', 10.0 * index, np.pi / 2))))
        messages.append(('/camera', stamp, raw_image(stamp)))
    source = open_source(write_messages(tmp_path / 'drive', messages))
    assert source.pose_origin == 'transforms on /tf, base_link in map'
    poses = [frame.pose for frame in source]
    assert poses[0] is None  # the map was not known yet
    np.testing.assert_allclose([pose[:2] for pose in poses[1:]],
                               [[10, 1], [10, 2], [30, 3], [30, 4]], atol=1e-9)
    assert yaw_of(poses[1]) == pytest.approx(np.pi / 2)
    with pytest.raises(InputError, match='has no pose topic /odom; pose topics found: /tf'):
        open_source(tmp_path / 'drive', pose_topic='/odom')


def test_fixes_without_reception_are_skipped(tmp_path):
    path = write_messages(tmp_path / 'drive', [
        ('/fix', START_NS, nav_sat_fix(START_NS, 0.0, status=-1)),
        ('/camera', START_NS, raw_image(START_NS))])
    source = open_source(path)
    assert source.pose_origin.startswith('none (')
    assert next(iter(source)).pose is None
    with pytest.raises(InputError, match='no valid fix on /fix'):
        open_source(path, pose_topic='/fix')


@pytest.mark.parametrize(('changes', 'words'), [
    ({'height': 0, 'width': 0, 'step': 0, 'data': np.zeros(0, np.uint8)}, '0x0 .* no pixels'),
    ({'encoding': 'plaid8'}, "'plaid8' is unknown"),
    ({'step': 10}, 'rows of 10 bytes'),
    ({'data': np.zeros(100, np.uint8)}, '100 bytes, expected 12 rows of 48'),
])
def test_unusable_image_fails_when_read_and_is_named(tmp_path, changes, words):
    path = write_messages(tmp_path / 'drive', [
        ('/camera', START_NS, raw_image(START_NS)),
        ('/camera', START_NS + 1, raw_image(START_NS + 1, **changes)),
        ('/camera', START_NS + 2, raw_image(START_NS + 2))])
    frames = list(open_source(path))
    frames[2].read()
    with pytest.raises(InputError, match=f'drive, /camera message 1: .*{words}'):
        frames[1].read()


def test_message_with_rubbish_inside_is_named(tmp_path):
    kind, message = raw_image(START_NS)
    with Ros2Writer(tmp_path / 'drive', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        camera = writer.add_connection('/camera', kind, typestore=STORE)
        content = bytes(STORE.serialize_cdr(message, kind))
        for index, body in enumerate([content, content[:60], b'']):
            writer.write(camera, START_NS + index, body)
    frames = list(open_source(tmp_path / 'drive'))
    assert len(frames) == 3
    frames[0].read()
    for index in (1, 2):
        with pytest.raises(InputError, match=rf'drive.* at message {index} on /camera'):
            frames[index].read()


@pytest.mark.parametrize('name', ['a.mcap', 'a.db3', 'a.bag'])
@pytest.mark.parametrize('content', [b'', b'rubbish' * 100])
def test_file_that_is_no_bag(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f'{name} (is an empty file|cannot be read)'):
        open_source(tmp_path / name)


@pytest.mark.parametrize('content', ['', 'rosbag2_bagfile_information: 3', '{', 'a: b'])
def test_unusable_metadata(tmp_path, content):
    (tmp_path / 'metadata.yaml').write_text(content)
    with pytest.raises(InputError, match='cannot be read'):
        open_source(tmp_path)


def test_an_index_that_states_messages_that_are_not_there(tmp_path):
    write_drive(tmp_path / 'bag', count=3)
    source = BagSource(Bag(tmp_path / 'bag'))
    source.bag.messages = lambda topic: iter(())
    with pytest.raises(InputError, match=r'holds no image on /camera that can be read'):
        source.stamp_range()


def test_metadata_of_aliases_is_refused_at_once(tmp_path):
    aliases = 'a: &a [x, x, x, x, x, x, x, x, x]\n' + ''.join(
        f'{name}: &{name} [{", ".join(9 * ["*" + before])}]\n'
        for before, name in zip('abcdefghi', 'bcdefghij', strict=True))
    (tmp_path / 'metadata.yaml').write_text(aliases)
    with pytest.raises(InputError, match='stand for more than 100000 values'):
        Bag(tmp_path)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_bag_without_images(tmp_path, storage):
    with BagWriter(tmp_path / 'nothing', storage):
        pass
    with pytest.raises(InputError, match='holds no images; image topics found: none; all topics'):
        open_source(tmp_path / 'nothing')
    with BagWriter(tmp_path / 'poses', storage) as bag:
        bag.write_odometry('/odom', START_NS, make_pose(0, 0))
    with pytest.raises(InputError, match=r'holds no images; .*all topics: /odom'):
        open_source(tmp_path / 'poses')


def test_missing_bag_and_misplaced_options(tmp_path):
    with pytest.raises(InputError, match=r'gone\.mcap does not exist'):
        Bag(tmp_path / 'gone.mcap')
    path = write_drive(tmp_path / 'drive', count=2)
    with pytest.raises(InputError, match='a rate does not apply'):
        open_source(path, rate=5.0)
    with pytest.raises(InputError, match=r'both poses\.txt and /odom'):
        open_source(path, poses='poses.txt', pose_topic='/odom')


def test_pose_file_replaces_the_poses_of_a_bag(tmp_path):
    path = write_drive(tmp_path / 'drive', count=3)
    poses = tmp_path / 'truth.csv'
    poses.write_text(f'stamp_ns,x,y,yaw\n{START_NS},50,0,0\n{START_NS + STEP_NS},60,0,0\n')
    source = open_source(path, poses=poses)
    assert source.pose_origin == 'truth.csv'
    assert [frame.pose is not None and frame.pose[0] for frame in source] == [50, 60, False]


def test_images_are_read_lazily(tmp_path):
    """Taking the first image of a bag must not read the rest of it."""
    path = write_drive(tmp_path / 'drive', count=60, height=400, width=400, poses=False)
    source = open_source(path)
    tracemalloc.start()
    try:
        for frame in source:
            frame.read()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60 * 400 * 400 * 3 / 2


def test_writer_refuses_an_existing_path(tmp_path):
    (tmp_path / 'drive').mkdir()
    with pytest.raises(InputError, match='drive exists, expected a new path'):
        BagWriter(tmp_path / 'drive')
    with pytest.raises(InputError, match="'floppy' is unknown, expected mcap or sqlite3"):
        BagWriter(tmp_path / 'new', 'floppy')
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='cannot be written'), BagWriter(tmp_path / 'file/bag'):
        pass


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
def test_unfinished_bag_is_removed(tmp_path, storage, error):
    def drive() -> None:
        with BagWriter(tmp_path / 'drive', storage) as bag:
            bag.write_image('/camera', START_NS, picture(0))
            raise error
    with pytest.raises(error):
        drive()
    assert not (tmp_path / 'drive').exists()


@pytest.mark.parametrize('image', [
    np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)])
def test_writer_refuses_what_is_no_image(tmp_path, image):
    with (pytest.raises(InputError, match=r'expected uint8 \[H, W, 3\]'),
          BagWriter(tmp_path / 'drive') as bag):
        bag.write_image('/camera', START_NS, image)


@pytest.mark.parametrize('stamp_ns', [-1, 2**31 * 10**9])
def test_writer_refuses_times_that_messages_cannot_hold(tmp_path, stamp_ns):
    with (pytest.raises(InputError, match='expected a time from 1970 to 2038'),
          BagWriter(tmp_path / 'drive') as bag):
        bag.write_odometry('/odom', stamp_ns, make_pose(0, 0))


def write_folder(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        cv2.imwrite(str(folder / f'{index}.png'), picture(index)[..., ::-1])
    return folder


def test_folder_becomes_a_bag(tmp_path):
    folder = write_folder(tmp_path / 'images', 4)
    (tmp_path / 'poses.csv').write_text('x,y,yaw\n0,0,0\n1,0,0\n2,0,0\n')
    seen = []
    source = open_source(folder, poses=tmp_path / 'poses.csv')
    count = write_bag(source, tmp_path / 'bag', rate=2.0, progress=lambda *at: seen.append(at))
    assert count == 4
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    copy = open_source(tmp_path / 'bag', topic='/camera/image_raw')
    assert copy.pose_origin == 'odometry on /odom'
    for before, after in zip(source, copy, strict=True):
        np.testing.assert_array_equal(before.read(), after.read())
    assert [b.stamp_ns - a.stamp_ns for a, b in pairwise(copy)] == [5 * 10**8] * 3
    assert [frame.pose is not None and frame.pose[0] for frame in copy] == [0, 1, 2, False]
    write_bag(source, tmp_path / 'small', compressed=True)
    assert len(open_source(tmp_path / 'small', topic='/camera/image_raw/compressed')) == 4


def test_a_rosbag2_folder_may_be_called_like_a_ros1_bag(tmp_path):
    folder = write_folder(tmp_path / 'images', 4)
    write_bag(open_source(folder), tmp_path / 'drive.bag')
    assert len(list(open_source(tmp_path / 'drive.bag'))) == 4


def test_bag_of_a_damaged_folder_is_not_left_behind(tmp_path):
    folder = write_folder(tmp_path / 'images', 4)
    for file in folder.iterdir():
        file.write_bytes(b'rubbish')
    with pytest.raises(InputError, match=r'4 of 4 cannot be read.*0\.png'):
        write_bag(open_source(folder), tmp_path / 'bag')
    assert not (tmp_path / 'bag').exists()


@pytest.mark.skipif(not GARDENS.is_dir(), reason='the Gardens Point images are not here')
def test_real_drive_survives_a_bag(tmp_path):
    class First:
        """The first ten images of the drive."""

        name, pose_origin = 'first', 'none'

        def __len__(self) -> int:
            return 10

        def __iter__(self) -> Any:
            for frame in open_source(GARDENS):
                if frame.index < 10:
                    yield frame

    source: FrameSource = First()
    write_bag(source, tmp_path / 'bag')
    frames: list[Frame] = list(open_source(tmp_path / 'bag'))
    assert len(frames) == 10
    for before, after in zip(source, frames, strict=True):
        # A zero stamp means 'not set' to ROS, so the drive starts at one second.
        assert after.stamp_ns == before.stamp_ns + UNSET_STAMP_NS
        np.testing.assert_array_equal(before.read(), after.read())
