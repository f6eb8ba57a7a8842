"""Alignment of drives with a map: frames, drift, and what must be refused."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from curved_road import drive, moved, road, winding
from image_sets import image_set
from streets import Street, small_model

from seqnet_ros.config.alignment import AlignmentConfig
from seqnet_ros.config.engine import GeometryConfig
from seqnet_ros.core.camera import FORWARD, CameraModel
from seqnet_ros.core.errors import SessionAlignmentError
from seqnet_ros.core.images import read_image
from seqnet_ros.core.poses import make_pose, pose_from_matrix, pose_matrix, yaw_of
from seqnet_ros.datasets.recordings.image_folder import list_images
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, load_model
from seqnet_ros.sessions.alignment import Alignment, align, consensus, covered, length_ratio
from seqnet_ros.sessions.session_matches import SessionMatches
from seqnet_town import DAY, DUSK, Camera, Drive, Town

pytest.importorskip('gtsam', reason='GTSAM is not installed')

AWAY = np.arange(5.0, 200.0, 1.1)


@pytest.fixture(scope='module')
def model() -> PlaceModel:
    return small_model()


@pytest.fixture(scope='module')
def street() -> Street:
    return Street(1, 260)


@pytest.fixture(scope='module')
def place_map(model: PlaceModel, street: Street) -> PlaceMap:
    return drive(Mapper(model), street, np.arange(0.0, 210.0)).finish()


@pytest.fixture(scope='module')
def aligned(model: PlaceModel, street: Street, place_map: PlaceMap) -> Alignment:
    session = drive(Mapper(model), street, AWAY, drift=0.02, elsewhere=True, light=3)
    return align(place_map, session)


def test_a_drive_in_another_frame_is_brought_into_that_of_the_map(aligned):
    truth = np.array([road(way) for way in AWAY])
    assert len(aligned.poses) == len(truth)
    apart = np.linalg.norm(aligned.poses[:, :2] - truth[:, :2], axis=1)
    assert np.sqrt((apart ** 2).mean()) < 0.3
    assert apart.max() < 1.5
    assert aligned.kept.mean() > 0.95
    assert aligned.overlap_m > 150.0


def test_the_transform_leads_back_from_the_frame_of_the_drive(aligned):
    assert yaw_of(aligned.transform) == pytest.approx(np.deg2rad(-15.0), abs=np.deg2rad(3.0))
    first = int(aligned.matches.keyframes[aligned.kept][0])
    own = moved(road(AWAY[first] + 0.02 * (AWAY[first] - AWAY[0])))
    back = pose_from_matrix(pose_matrix(aligned.transform) @ pose_matrix(own))
    np.testing.assert_allclose(back[:3], aligned.poses[first, :3], atol=1e-6)


def test_the_drift_of_the_drive_is_bent_away(aligned):
    # 2 % of 195 m, as far as it was not taken into the transform.
    assert 1.0 < aligned.bend_m < 8.0


def test_the_scale_of_odometry_is_found(aligned):
    assert aligned.scale == pytest.approx(1 / 1.02, abs=0.01)


def test_a_drive_in_another_lane_is_put_beside_the_line_of_the_map(model, street):
    # The street looks the same from both lanes; only odometry, where the road turns, tells them.
    first, session = Mapper(model), Mapper(model)
    for number, pose in enumerate(winding(np.arange(0.0, 210.0))):
        first.push(street.view(float(number)), number * 10**8, pose)
    truth = winding(AWAY, left_m=0.8)
    for number, (way, pose) in enumerate(zip(AWAY.tolist(), truth, strict=True)):
        longer = np.r_[1.02 * pose[:3], pose[3:]]
        session.push(street.view(way, 3), number * 10**8, moved(longer))
    result = align(first.finish(), session)
    assert result.left_m == pytest.approx(0.8, abs=0.15)
    apart = np.linalg.norm(result.poses[:, :2] - truth[:, :2], axis=1)
    assert np.sqrt((apart ** 2).mean()) < 0.25


def test_the_same_drives_give_the_same_alignment(model, street, place_map, aligned):
    session = drive(Mapper(model), street, AWAY, drift=0.02, elsewhere=True, light=3)
    np.testing.assert_array_equal(align(place_map, session).poses, aligned.poses)


def test_another_street_is_refused(model, place_map):
    session = drive(Mapper(model), Street(2, 260), AWAY, elsewhere=True)
    with pytest.raises(SessionAlignmentError, match=r'keyframes were found on the map|too little'):
        align(place_map, session)


def test_too_short_an_overlap_is_refused(model, street, place_map):
    session = drive(Mapper(model), street, np.arange(170.0, 205.0), elsewhere=True)
    with pytest.raises(SessionAlignmentError, match=r'along \d+ m; expected at least 60%, along '):
        align(place_map, session)
    assert align(place_map, session, AlignmentConfig(min_overlap_m=10.0)).kept.all()


def test_two_laps_of_the_corridor_are_two_sessions(shared_data):
    # The corridor is laid out as a circle of 40 steps of 1.5 m, with odometry 2 % too long.
    folder, step_m = image_set(shared_data, 'rtabmap_loop'), 1.5
    files = list_images(folder)
    with (folder / 'revisit_pairs.csv').open() as file:
        shown = {int(query) - 1: int(match) - 1 for query, match in csv.reader(
            line for line in file if line[:1].isdigit())}
    second = range(40, 79)

    def corridor(steps: float) -> np.ndarray:
        angle, radius_m = 2 * np.pi * steps / 40, 40 * step_m / (2 * np.pi)
        return make_pose(radius_m * np.sin(angle), radius_m * (1 - np.cos(angle)), 0.0, angle)

    hog = load_model('hog', 'cpu')
    first, session = Mapper(hog), Mapper(hog)
    for number in range(40):
        first.push(read_image(files[number]), number * 10**9, corridor(number))
    ways = np.linspace(shown[second[0]], shown[second[-1]], len(second))
    for number, way in zip(second, ways.tolist(), strict=True):
        session.push(read_image(files[number]), number * 10**9, moved(corridor(1.02 * way)))
    result = align(first.finish(), session, AlignmentConfig(min_overlap_m=20.0))
    assert result.kept.sum() >= 20
    truth = np.array([corridor(shown[number]) for number in second])
    apart = np.linalg.norm(result.poses[:, :2] - truth[:, :2], axis=1)
    assert apart.max() < 2 * step_m  # the pairs are right within two images


@pytest.mark.slow
def test_landmarks_say_where_across_the_route_a_drive_is():
    eye = Camera(480, 360)
    camera = CameraModel(eye.matrix, 480, 360,
                         base_from_camera=np.array([0, 0, eye.mount_height, *FORWARD[3:]]))
    model = load_model('hog', 'cpu')
    model = replace(model, engine=model.engine.model_copy(update={'geometry': GeometryConfig()}))
    first = Drive(Town(3, (2, 1)), DAY, eye, length=70.0)
    later = Drive(Town(3, (2, 1)), DUSK, eye, length=68.0, lateral_offset=0.8, speed=7.0, seed=1)
    of_map, session = Mapper(model, camera=camera), Mapper(model, camera=camera)
    for frame in first:
        of_map.push_lazily(frame.read, frame.stamp_ns, frame.pose)
    truth = np.array([frame.pose for frame in later if session.push_lazily(
        frame.read, frame.stamp_ns, moved(frame.pose))])
    result = align(of_map.finish(), session, AlignmentConfig(min_overlap_m=20.0))
    assert result.matches.measured.mean() > 0.8
    # Its lane is 0.8 m from that of the map, which the looks of the places do not tell.
    apart = np.linalg.norm(result.poses[:, :2] - truth[:, :2], axis=1)
    assert np.sqrt((apart ** 2).mean()) < 0.2


def test_drives_and_maps_without_poses_are_refused(model, street, place_map):
    session, unposed = Mapper(model), Mapper(model)
    for number in range(30):
        session.push(street.view(float(number)), number)
        unposed.push(street.view(float(number)), number)
    with pytest.raises(SessionAlignmentError, match='the drive has no poses'):
        align(place_map, session)
    posed = drive(Mapper(model), street, AWAY)
    with pytest.raises(SessionAlignmentError, match='the map has no poses'):
        align(unposed.finish(), posed)


def test_consensus_leaves_out_what_odometry_contradicts():
    odometry = np.array([make_pose(float(n), 0.0) for n in range(20)])
    found = np.array([make_pose(float(n) + 100.0, 50.0) for n in range(20)])
    found[[4, 11]] = make_pose(0.0, 0.0), make_pose(111.0, 50.0, 0.0, np.pi)
    matches = SessionMatches(np.arange(20), np.arange(20), found, np.ones((20, 6)),
                             np.zeros(20, dtype=bool))
    assert np.flatnonzero(~consensus(odometry, matches, 0.02)).tolist() == [4, 11]


def test_the_scale_of_odometry_is_that_between_the_first_and_the_last_match():
    odometry = np.array([make_pose(1.02 * n, 0.0) for n in range(30)])
    aligned = np.array([make_pose(0.0, float(n)) for n in range(30)])
    aligned[:5], aligned[25:] = odometry[:5], odometry[25:]  # not found there
    linked = np.ones(29, dtype=bool)
    linked[14] = False
    aligned[15:25, 1] += 50.0  # the robot was carried
    assert length_ratio(odometry, aligned, linked, np.array([5, 9, 24])) == pytest.approx(1 / 1.02)
    assert length_ratio(odometry, aligned, linked, np.zeros(0, dtype=int)) == 1.0


def test_the_way_between_matches_far_apart_is_not_covered():
    odometry = np.array([make_pose(2.0 * n, 0.0) for n in range(40)])
    assert covered(odometry, np.array([0, 1, 2, 30, 34])) == 2.0 + 2.0 + 8.0
    assert covered(odometry, np.zeros(0, dtype=int)) == 0.0


def test_a_map_takes_the_poses_of_the_alignment(model, street, place_map):
    session = drive(Mapper(model), street, np.arange(0.0, 15.0, 1.5), elsewhere=True)
    session.extend(place_map)
    poses = np.array([road(1.5 * number) for number in range(10)])
    extended = session.finish(poses=poses)
    np.testing.assert_allclose(extended.poses[len(place_map):], poses)
    alone = session.finish(alone=True)
    np.testing.assert_allclose(alone.poses[4], moved(road(6.0)))
    assert len(alone) == 10
