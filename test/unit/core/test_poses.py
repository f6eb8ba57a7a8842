"""Poses, trajectories and pose files."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.core.poses import (
    Trajectory,
    angle_between,
    check_pose,
    distance,
    interpolate_pose,
    make_pose,
    make_trajectory,
    poses_from_positions,
    same_heading,
    travelled_distance,
    yaw_of,
    yaw_to_quaternion,
)
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_ros.datasets.recordings.pose_files import FramePoses, read_poses


def random_pose(rng: np.random.Generator) -> np.ndarray:
    rotation = Rotation.from_quat(rng.normal(size=4))
    return np.concatenate([rng.normal(size=3) * 10, rotation.as_quat()])


def test_check_pose_normalises():
    np.testing.assert_allclose(check_pose([1, 2, 3, 0, 0, 0, 1.005]), [1, 2, 3, 0, 0, 0, 1])


@pytest.mark.parametrize(('values', 'words'), [
    ([0, 0, 0, 0, 0, 1], r'shape \[6\]'),
    ([math.nan, 0, 0, 0, 0, 0, 1], 'nan.* expected finite'),
    ([0, 0, math.inf, 0, 0, 0, 1], 'inf.* expected finite'),
    ([0, 0, 0, 0, 0, 0, 0], 'expected a unit quaternion, found one of norm 0'),
    ([0, 0, 0, 0, 0, 0, 2], 'expected a unit quaternion, found one of norm 2'),
    ([0, 0, 0, 0, 0, 1e300, 1e300], 'expected a unit quaternion, found one of norm inf'),
    ([0, -1.1e7, 0, 0, 0, 0, 1], 'expected coordinates within 1e'),
    ([1e200, 0, 0, 0, 0, 0, 1], 'expected coordinates within 1e'),
])
def test_impossible_pose_is_refused(values, words):
    with pytest.raises(InputError, match=f'the pose.*{words}'):
        check_pose(values, 'the pose')


@pytest.mark.parametrize('yaw', [-3.1, -1.0, 0.0, 0.3, 3.1])
def test_yaw_survives_the_quaternion(yaw):
    np.testing.assert_allclose(
        yaw_to_quaternion(yaw), Rotation.from_euler('z', yaw).as_quat(), atol=1e-12)
    assert yaw_of(make_pose(1, 2, yaw=yaw)) == pytest.approx(yaw)


def test_distances():
    poses = np.stack([make_pose(0, 0), make_pose(3, 4), make_pose(3, 4, 12)])
    assert distance(poses[0], poses[2]) == pytest.approx(13)
    assert travelled_distance(poses) == pytest.approx(17)
    assert travelled_distance(poses[:1]) == 0


def test_angle_agrees_with_scipy_and_ignores_the_sign_of_the_quaternion():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = random_pose(rng), random_pose(rng)
        expected = (Rotation.from_quat(a[3:]).inv() * Rotation.from_quat(b[3:])).magnitude()
        assert angle_between(a, b) == pytest.approx(expected)
        b[3:] *= -1
        assert angle_between(a, b) == pytest.approx(expected)
    assert angle_between(make_pose(0, 0), make_pose(0, 0, yaw=1e-9)) == pytest.approx(1e-9)


def test_headings_within_45_degrees_are_the_same_for_rows_and_for_broadcast_shapes():
    yaws = np.deg2rad([-50.0, -44.0, 0.0, 44.0, 46.0, 180.0, 316.0])
    rotations = np.stack([yaw_to_quaternion(yaw) for yaw in yaws])
    expected = [False, True, True, True, False, False, True]
    east = yaw_to_quaternion(0.0)
    assert same_heading(rotations, east).tolist() == expected
    assert same_heading(-rotations, np.tile(east, (7, 1))).tolist() == expected
    between = same_heading(rotations[:, None], rotations)
    assert between.shape == (7, 7)
    assert between[2].tolist() == expected
    assert between[4].tolist() == [False, False, False, True, True, False, False]


def test_interpolation_agrees_with_scipy():
    rng = np.random.default_rng(1)
    for fraction in rng.uniform(size=50):
        a, b = random_pose(rng), random_pose(rng)
        pose = interpolate_pose(a, b, fraction)
        expected = Slerp([0, 1], Rotation.from_quat([a[3:], b[3:]]))(fraction)
        assert (Rotation.from_quat(pose[3:]).inv() * expected).magnitude() < 1e-6
        np.testing.assert_allclose(pose[:3], (1 - fraction) * a[:3] + fraction * b[:3])


def test_trajectory_answers_between_its_stamps_only():
    now = 1_700_000_000_123_456_789
    stamps = [now + 10**9, now, now + 5 * 10**9]
    track = make_trajectory(
        stamps, [make_pose(2, 0, yaw=1.0), make_pose(0, 0), make_pose(9, 9)], 'track')
    middle = track.at(now + 5 * 10**8)
    np.testing.assert_allclose(middle, make_pose(1, 0, yaw=0.5), atol=1e-12)
    np.testing.assert_array_equal(track.at(now), make_pose(0, 0))
    np.testing.assert_array_equal(track.at(now + 5 * 10**9), make_pose(9, 9))
    assert track.at(now - 1) is None
    assert track.at(now + 5 * 10**9 + 1) is None
    assert track.at(now + 2 * 10**9) is None
    assert track.at(now + 2 * 10**9, max_gap_s=4.0) is not None


def test_empty_trajectory_is_refused():
    with pytest.raises(InputError, match='track: found 0 stamps'):
        make_trajectory([], [], 'track')


def test_heading_follows_motion_and_ignores_noise():
    rng = np.random.default_rng(2)
    standing = rng.normal(scale=0.05, size=(10, 3))
    driving = np.stack([np.zeros(10), np.arange(1, 11) * 2.0, np.zeros(10)], axis=1)
    stopped = driving[-1] + rng.normal(scale=0.05, size=(10, 3))
    poses = poses_from_positions(np.concatenate([standing, driving, stopped]))
    yaws = [yaw_of(pose) for pose in poses]
    np.testing.assert_allclose(yaws, np.pi / 2, atol=0.06)
    assert [yaw_of(pose) for pose in poses_from_positions(standing)] == [0] * 10


def test_tum_keeps_nanoseconds(tmp_path):
    file = tmp_path / 'drive.txt'
    file.write_text('# stamp x y z qx qy qz qw\n'
                    '1700000000.123456789 1 2 3 0 0 0 1\n\n'
                    '1700000000.2 1 2 4 0 0 0 -1\n')
    track = read_poses(file)
    assert isinstance(track, Trajectory)
    assert track.stamps_ns.tolist() == [1700000000123456789, 1700000000200000000]
    np.testing.assert_array_equal(track.poses[1], [1, 2, 4, 0, 0, 0, -1])
    assert track.origin == 'drive.txt'


def test_kitti_camera_axes_become_ros_axes(tmp_path):
    file = tmp_path / '00.txt'
    angle = 0.5
    c, s = math.cos(angle), math.sin(angle)
    # A turn to the right about the camera's downward y, ten metres ahead along its z.
    file.write_text('1 0 0 0 0 1 0 0 0 0 1 0\n'
                    f'{c} 0 {s} 0 0 1 0 0 {-s} 0 {c} 10\n')
    poses = read_poses(file)
    assert isinstance(poses, FramePoses)
    second = poses.of(Frame(1, 0, lambda: np.zeros(0), name='000001.png'))
    np.testing.assert_allclose(second, make_pose(10, 0, yaw=-angle), atol=1e-9)
    assert poses.of(Frame(2, 0, lambda: np.zeros(0))) is None


@pytest.mark.parametrize(('header', 'row', 'stamp'), [
    ('Timestamp,X,Y,Yaw', '1.5,3,4,0.5', 1_500_000_000),
    ('time_ns, easting, northing, yaw', '1500, 3, 4, 0.5', 1500),
    ('yaw,utm_n,utm_e,stamp', '0.5,4,3,1700000000000000001', 1700000000000000001),
    ('#timestamp [ns],x,y,yaw', '7,3,4,0.5', 7),
    ('t_ms,x,y,yaw,comment', '7,3,4,0.5,"a, b"', 7_000_000),
])
def test_csv_columns_go_by_name(tmp_path, header, row, stamp):
    file = tmp_path / 'poses.csv'
    file.write_text(f'{header}\n{row}\n')
    track = read_poses(file)
    assert isinstance(track, Trajectory)
    assert track.stamps_ns.tolist() == [stamp]
    np.testing.assert_allclose(track.poses[0], make_pose(3, 4, yaw=0.5))


def test_csv_by_image_name(tmp_path):
    file = tmp_path / 'poses.csv'
    file.write_text('image,x,y,qx,qy,qz,qw\nb.jpg,1,2,0,0,0,1\n7,3,4,0,0,0,1\n')
    poses = read_poses(file)
    assert isinstance(poses, FramePoses)
    found = poses.of(Frame(0, 0, lambda: np.zeros(0), name='b.jpg'))
    np.testing.assert_array_equal(found, make_pose(1, 2))
    found = poses.of(Frame(7, 0, lambda: np.zeros(0), name='z.jpg'))
    np.testing.assert_array_equal(found, make_pose(3, 4))


def test_csv_of_earth_positions(tmp_path):
    file = tmp_path / 'gps.csv'
    file.write_text('time,lat,lon\n0,48,11\n1,48.001,11\n2,48.002,11\n')
    track = read_poses(file)
    assert track.datum == GeoPoint(48.0, 11.0)
    assert track.poses[1, 1] == pytest.approx(111.19, abs=0.02)
    assert yaw_of(track.poses[0]) == pytest.approx(np.pi / 2, abs=1e-3)
    moved = read_poses(file, datum=GeoPoint(48.001, 11.0))
    assert moved.poses[1, 1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(('content', 'words'), [
    ('', 'holds no poses'),
    ('# only a comment\n', 'holds no poses'),
    ('0 1 2 3 0 0 0 1\n1 nan 2 3 0 0 0 1\n', "line 2 holds 'nan', expected a finite"),
    ('0 1 2 3 0 0 0 1\nnan 1 2 3 0 0 0 1\n', 'line 2'),
    ('0 1 2 3 0 0 0 1\n1 x 2 3 0 0 0 1\n', "line 2 holds 'x', expected a number"),
    ('0 1 2 3 0 0 0 1\n1 1 2 3\n', 'line 2 has 4 columns, expected 8'),
    ('0 1 2 3 0 0 0 0\n', 'line 1.* unit quaternion, found one of norm 0'),
    ('1e30 1 2 3 0 0 0 1\n', 'line 1 has the time 1e30'),
    ('1 2 3\n', 'line 1 has 3 columns, expected 8'),
    ('2 0 0 0 0 1 0 0 0 0 1 0\n', 'line 1 has a rotation of determinant 2'),
    ('time,x,y\n', 'holds a header but no poses'),
    ('time,a,b\n0,1,2\n', 'has the columns time, a, b, expected x and y or lat and lon'),
    ('time,x,y\n0,1,2\n1,NaN,2\n', "line 3 holds 'NaN'"),
    ('time,x,y\n0,1\n', 'line 2 has 2 columns, expected 3'),
    ('time,x,y\n0,,1\n', "line 2 holds ''"),
])
def test_unusable_pose_file_names_the_line(tmp_path, content, words):
    file = tmp_path / 'poses.txt'
    file.write_text(content)
    with pytest.raises(InputError, match=f'poses.txt.*{words}'):
        read_poses(file)


def test_missing_and_binary_pose_files(tmp_path):
    with pytest.raises(InputError, match=r'none\.txt cannot be read: No such file'):
        read_poses(tmp_path / 'none.txt')
    (tmp_path / 'bytes.txt').write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=r'bytes\.txt is not text'):
        read_poses(tmp_path / 'bytes.txt')
