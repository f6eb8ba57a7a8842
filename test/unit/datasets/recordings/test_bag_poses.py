"""Which topic of a bag tells where the robot is, and what is left out of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_bags import (
    START_NS,
    STEP_NS,
    header,
    make,
    nav_sat_fix,
    pose_stamped,
    raw_image,
    transforms,
    write_messages,
)
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.recordings.open_recording import open_source

Message = tuple[str, int, tuple[str, Any]]
STAMPS = [START_NS + index * STEP_NS for index in range(10)]


def odometry(stamp_ns: int, x: float, *, w: float = 1.0, frame: str = 'odom',
             child: str = 'base_link') -> tuple[str, Any]:
    kind = 'nav_msgs/msg/Odometry'
    above = header(stamp_ns)
    above.frame_id = frame
    still = make('geometry_msgs/msg/Vector3', x=0.0, y=0.0, z=0.0)
    pose = pose_stamped(stamp_ns, x)[1].pose
    pose.orientation.w = w
    return kind, make(
        kind, header=above, child_frame_id=child,
        pose=make('geometry_msgs/msg/PoseWithCovariance', covariance=np.zeros(36), pose=pose),
        twist=make('geometry_msgs/msg/TwistWithCovariance', covariance=np.zeros(36), twist=make(
            'geometry_msgs/msg/Twist', linear=still, angular=still)))


def write_drive(path: Path, poses: list[Message], image_stamps: list[int] = STAMPS) -> Path:
    """Write a bag of images, recorded every 0.1 s whatever their stamps are, and of poses."""
    images = [('/camera', received, raw_image(stamp))
              for received, stamp in zip(STAMPS, image_stamps, strict=True)]
    return write_messages(path, sorted(images + poses, key=lambda message: message[1]))


def positions(source: Any) -> list[float | None]:
    return [None if frame.pose is None else round(float(frame.pose[0]), 3) for frame in source]


@pytest.mark.parametrize('wrong', [{'w': 0.0}, {'x': float('nan')}, {'x': 1e9}])
def test_odometry_without_a_pose_is_left_out_and_counted(tmp_path, caplog, wrong):
    poses = [('/odom', stamp, odometry(stamp, **{'x': index, **(wrong if index in (0, 4) else {})}))
             for index, stamp in enumerate(STAMPS)]
    source = open_source(write_drive(tmp_path / 'drive', poses))
    assert positions(source) == [None, *range(1, 10)]
    assert 'odometry on /odom: left out 2 of 10 messages that hold no valid pose' in caplog.text
    assert caplog.text.count('left out') == 1


def test_odometry_without_any_pose_is_named(tmp_path, caplog):
    path = write_drive(tmp_path / 'drive',
                       [('/odom', stamp, odometry(stamp, 0.0, w=0.0)) for stamp in STAMPS])
    assert open_source(path).pose_origin.startswith('none (odometry on /odom holds no valid pose')
    assert 'no poses are used' in caplog.text
    with pytest.raises(InputError, match='no valid pose on /odom, the first message: message 0 is'):
        open_source(path, pose_topic='/odom')


@pytest.mark.parametrize('name', [
    '/goal_pose', '/move_base_simple/goal', '/initialpose', '/mavros/setpoint_position/local',
    '/detected_dock_pose'])
@pytest.mark.parametrize('count', [1, 10])
def test_topics_of_other_poses_are_not_the_robot(tmp_path, name, count):
    goals = [(name, stamp, pose_stamped(stamp, 50.0)) for stamp in STAMPS[:count]]
    motion = [('/tf', stamp, transforms((stamp, 'odom', 'base_link', float(index), 0.0)))
              for index, stamp in enumerate(STAMPS)]
    source = open_source(write_drive(tmp_path / 'drive', goals + motion))
    assert source.pose_origin == 'transforms on /tf, base_link in odom'
    assert positions(source) == list(range(10))
    named = open_source(tmp_path / 'drive', pose_topic=name)
    assert named.pose_origin == f'poses on {name}'
    alone = open_source(write_drive(tmp_path / 'alone', goals))
    assert alone.pose_origin == f'none ({name} does not tell where the robot is by its name)'


def test_single_poses_are_not_the_motion_of_a_robot(tmp_path):
    path = write_drive(tmp_path / 'drive', [
        ('/pose', stamp, pose_stamped(stamp, 5.0)) for stamp in (START_NS, START_NS + 10**10)])
    assert 'poses on /pose holds 2 single poses' in open_source(path).pose_origin
    assert open_source(path, pose_topic='/pose').pose_origin == 'poses on /pose'


def test_two_topics_that_tell_where_the_robot_is_are_refused(tmp_path):
    poses = [message for index, stamp in enumerate(STAMPS) for message in (
        ('/odom', stamp, odometry(stamp, index)),
        ('/odometry/filtered', stamp, odometry(stamp, 2.0 * index)))]
    path = write_drive(tmp_path / 'drive', poses)
    with pytest.raises(InputError, match=(
            'has 2 pose topics, specify one with --pose-topic: odometry on /odom, odometry on '
            '/odometry/filtered')):
        open_source(path)
    assert positions(open_source(path, pose_topic='/odometry/filtered')) == list(range(0, 20, 2))
    assert positions(open_source(path, with_poses=False)) == [None] * 10


@pytest.mark.parametrize(('frames', 'words'), [
    ({'frame': 'map'}, 'in the frames map and odom'),
    ({'child': 'zed_link'}, 'of the frames base_link and zed_link')])
def test_two_frames_on_one_topic_are_refused(tmp_path, frames, words):
    path = write_drive(tmp_path / 'drive', [
        ('/odom', stamp, odometry(stamp, index, **(frames if index % 2 else {})))
        for index, stamp in enumerate(STAMPS)])
    with pytest.raises(InputError, match=f'odometry on /odom: its poses are {words}, expected one'):
        open_source(path)


@pytest.mark.parametrize(('latitude', 'longitude'), [
    (0.0, 0.0), (2e7, 11.0), (float('nan'), float('nan')), (48.0, 540.0)])
def test_fixes_that_are_no_position_are_left_out(tmp_path, caplog, latitude, longitude):
    def fix(index: int, stamp: int) -> tuple[str, Any]:
        found = nav_sat_fix(stamp, 48 + index / 111_200)
        if index in (0, 1, 5):
            found[1].latitude, found[1].longitude = latitude, longitude
        return found

    source = open_source(write_drive(tmp_path / 'drive', [
        ('/fix', stamp, fix(index, stamp)) for index, stamp in enumerate(STAMPS)]))
    assert source.pose_origin == 'GPS on /fix, east and north of 48.000018, 11.000000'
    north = [None if frame.pose is None else frame.pose[1] for frame in source]
    assert north[:2] == [None, None]
    np.testing.assert_allclose(north[2:], range(8), atol=0.01)
    assert 'GPS on /fix: left out 3 of 10 messages' in caplog.text


def move(index: int, *pairs: tuple[str, str, float]) -> Message:
    stamp = STAMPS[index]
    return '/tf', stamp, transforms(*((stamp, parent, child, x, 0.0) for parent, child, x in pairs))


def test_two_moving_parents_are_refused_and_one_can_be_named(tmp_path):
    path = write_drive(tmp_path / 'drive', [
        move(index, ('odom', 'base_link', index), ('zed_map', 'base_link', -3.0 * index),
             ('world', 'zed_map', 100.0)) for index in range(10)])
    with pytest.raises(InputError, match=(
            'has 2 parents of base_link, specify one with --pose-topic: /tf:odom:base_link, '
            '/tf:zed_map:base_link')):
        open_source(path)
    assert positions(open_source(path, pose_topic='/tf:odom:base_link')) == list(range(10))
    source = open_source(path, pose_topic='/tf:world:base_link')
    assert source.pose_origin == 'transforms on /tf, base_link in world'
    assert positions(source) == [100 - 3 * index for index in range(10)]
    with pytest.raises(InputError, match='no transforms lead from mars to base_link'):
        open_source(path, pose_topic='/tf:mars:base_link')


def test_motion_replaces_a_static_parent(tmp_path, caplog):
    static = ('/tf_static', START_NS, transforms((0, 'base_footprint', 'base_link', 0.0, 0.0)))
    source = open_source(write_drive(tmp_path / 'drive', [static, *(
        move(index, ('odom', 'base_link', index), ('map', 'odom', 100.0)) for index in range(10))]))
    assert source.pose_origin == 'transforms on /tf, base_link in map'
    assert positions(source) == [100 + index for index in range(10)]
    assert 'base_link is static in base_footprint and moves in odom' in caplog.text


def test_robot_is_found_within_a_namespace(tmp_path):
    robot = [move(index, ('r1/odom', 'r1/base_link', index), ('r1/base_link', 'r1/wheel', 0.5))
             for index in range(10)]
    turning = [('/tf', stamp + 1, transforms((stamp + 1, 'r1/base_link', 'r1/wheel', 0.5, 1.0)))
               for stamp in STAMPS]
    source = open_source(write_drive(tmp_path / 'drive', robot + turning))
    assert source.pose_origin == 'transforms on /tf, r1/base_link in r1/odom'
    assert positions(source) == list(range(10))
    path = write_drive(tmp_path / 'two', robot + [
        move(index, ('r2/odom', 'r2/base_link', 50.0)) for index in range(10)])
    with pytest.raises(InputError, match=(
            'has 2 robots, specify one with --pose-topic: /tf:r1/base_link, /tf:r2/base_link')):
        open_source(path)
    assert positions(open_source(path, pose_topic='/tf:r2/base_link')) == [50] * 10


def test_wheel_is_not_the_robot(tmp_path):
    path = write_drive(tmp_path / 'drive', [
        move(index, ('base_link', 'wheel', index)) for index in range(10)])
    assert 'nothing tells where base_link or base_footprint is' in open_source(path).pose_origin
    path = write_drive(tmp_path / 'other', [
        move(index, ('odom', 'chassis', index), ('chassis', 'wheel', 0.1 * index))
        for index in range(10)])
    assert open_source(path).pose_origin == 'transforms on /tf, chassis in odom'
    path = write_drive(tmp_path / 'arm', [
        move(index, ('stand', 'arm', index), ('arm', 'hand', 0.1 * index)) for index in range(10)])
    assert '2 frames move: /tf:arm, /tf:hand' in open_source(path).pose_origin
    assert positions(open_source(path, pose_topic='/tf:arm')) == list(range(10))
    with pytest.raises(InputError, match='no transform leads to leg'):
        open_source(path, pose_topic='/tf:leg')


def test_transforms_of_other_times_are_interpolated(tmp_path):
    """The robot tilts on its wheels between the messages of its odometry."""
    messages = []
    for index, stamp in enumerate(STAMPS):
        messages.append(move(index, ('odom', 'base_footprint', index)))
        between = stamp + STEP_NS // 2
        messages.append(('/tf', between, transforms(
            (between, 'base_footprint', 'base_link', 0.25, 0.0))))
    source = open_source(write_drive(
        tmp_path / 'drive', messages, [stamp + STEP_NS // 2 for stamp in STAMPS]))
    assert positions(source) == [*(index + 0.75 for index in range(9)), None]


def test_gap_of_a_transform_is_no_pose(tmp_path):
    late = START_NS + 5 * 10**9
    messages = [('/tf', stamp, transforms((stamp, 'map', 'odom', 0.0, 0.0),
                                          (stamp, 'odom', 'base_link', 1.0, 0.0)))
                for stamp in (START_NS, START_NS + STEP_NS, late, late + STEP_NS)]
    messages += [('/tf', stamp, transforms((stamp, 'map', 'odom', 0.0, 0.0)))
                 for stamp in range(START_NS, late, STEP_NS)]
    source = open_source(write_drive(tmp_path / 'drive', messages))
    assert positions(source) == [1, 1, *[None] * 8]


def test_transforms_of_ros1_are_read(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    kind = 'tf/msg/tfMessage'
    store.register(get_types_from_msg('geometry_msgs/TransformStamped[] transforms', kind))

    def above(stamp_ns: int, frame: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        return store.types['std_msgs/msg/Header'](
            seq=0, frame_id=frame, stamp=store.types['builtin_interfaces/msg/Time'](
                sec=seconds, nanosec=nanoseconds))

    with Ros1Writer(tmp_path / 'old.bag') as writer:
        camera = writer.add_connection('/camera', 'sensor_msgs/msg/Image', typestore=store)
        tree = writer.add_connection('/tf', kind, typestore=store)
        for index, stamp in enumerate(STAMPS):
            body = transforms((stamp, 'x', 'x', float(index), 0.0))[1].transforms[0].transform
            moved = store.types['geometry_msgs/msg/TransformStamped'](
                header=above(stamp, '/odom'), child_frame_id='/base_link', transform=body)
            writer.write(tree, stamp, store.serialize_ros1(
                store.types[kind](transforms=[moved]), kind))
            image = store.types['sensor_msgs/msg/Image'](
                header=above(stamp, 'camera'), height=1, width=1, encoding='rgb8', is_bigendian=0,
                step=3, data=np.zeros(3, np.uint8))
            writer.write(camera, stamp, store.serialize_ros1(image, 'sensor_msgs/msg/Image'))
    source = open_source(tmp_path / 'old.bag')
    assert source.pose_origin == 'transforms on /tf, base_link in odom'
    assert positions(source) == list(range(10))


def test_offset_of_another_clock_is_named(tmp_path, caplog):
    poses = [('/odom', stamp, odometry(stamp, index)) for index, stamp in enumerate(STAMPS)]
    path = write_drive(tmp_path / 'drive', poses,
                       [5 * 10**9 + index * STEP_NS for index in range(10)])
    offset = (START_NS - 5 * 10**9) / 1e9
    words = (f'of another clock, {offset:.3f} s ahead of that of the images')
    assert words in open_source(path).pose_origin
    assert words in caplog.text
    with pytest.raises(InputError, match=words):
        open_source(path, pose_topic='/odom')


def test_offset_of_poses_that_overlap_is_a_warning(tmp_path, caplog):
    poses = [('/odom', stamp, odometry(stamp - 3 * 10**9, index))
             for index, stamp in enumerate(range(START_NS, START_NS + 40 * STEP_NS, STEP_NS))]
    source = open_source(write_drive(tmp_path / 'drive', poses))
    assert positions(source) == list(range(30, 40))
    assert 'its stamps are of another clock, 3.000 s behind that of the images' in caplog.text


def test_poses_of_another_time_say_how_far_they_are(tmp_path, caplog):
    poses = [('/odom', stamp, odometry(stamp, 0.0))
             for stamp in (stamp - 10**10 for stamp in STAMPS)]
    source = open_source(write_drive(tmp_path / 'drive', poses))
    assert 'which does not overlap the images' in source.pose_origin
    assert source.pose_origin.endswith(', 9.100 s earlier)')
    assert 'another clock' not in caplog.text


def test_stamps_that_a_camera_misread_are_corrected(tmp_path, caplog):
    """Every fourth image is stamped 20 ms before the one before it."""
    poses = [('/odom', stamp, odometry(stamp, index)) for index, stamp in enumerate(STAMPS)]
    source = open_source(write_drive(tmp_path / 'drive', poses, [
        stamp - (120_000_000 if index in (3, 7) else 0) for index, stamp in enumerate(STAMPS)]))
    assert [frame.stamp_ns for frame in source] == STAMPS
    assert positions(source) == list(range(10))
    assert 'a stamp is 0.020 s before the newest one' in caplog.text
