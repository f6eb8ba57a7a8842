"""The rendered town: exact poses, the same bytes every time, and places that can be told apart."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from seqnet_ros.core.errors import InputError
from seqnet_town import (
    CONDITIONS,
    DAY,
    DUSK,
    NIGHT,
    RAIN,
    Camera,
    CarPose,
    Drive,
    Renderer,
    Town,
)

SMALL = Camera(width=160, height=120)
EMPTY_STREETS = replace(DAY, noise=0.0, blur=0.0, parked=0.0, traffic=0.0)


@pytest.fixture(scope='module')
def town() -> Town:
    return Town(seed=7)


def yaw_of(poses: np.ndarray) -> np.ndarray:
    return 2 * np.arctan2(poses[..., 5], poses[..., 6])


def test_route_is_closed_and_smooth(town: Town) -> None:
    assert 600 < town.route_length < 1000
    s = np.arange(0, town.route_length, 0.01)
    x, y, heading = town.route.at(s).T
    step = np.hypot(np.diff(x, append=x[:1]), np.diff(y, append=y[:1]))
    assert step[:-1] == pytest.approx(0.01, rel=1e-4)
    tangent = np.arctan2(np.diff(y), np.diff(x))
    turn = np.angle(np.exp(1j * (tangent - heading[:-1])))
    assert np.abs(turn).max() < 0.01
    assert town.route.at(town.route_length + 5.0) == pytest.approx(town.route.at(5.0))


def test_route_passes_a_place_twice_in_one_direction(town: Town) -> None:
    places = town.route.at(np.arange(0, town.route_length, 1.0))
    apart = np.linalg.norm(places[:, None, :2] - places[None, :, :2], axis=2)
    far_along = np.abs(np.subtract.outer(np.arange(len(places)), np.arange(len(places)))) > 100
    same = (apart < 0.6) & far_along & (np.cos(np.subtract.outer(places[:, 2], places[:, 2])) > .99)
    assert same.any(axis=1).sum() > 40


@pytest.mark.parametrize('offset', [0.0, 1.5, -0.8])
def test_poses_keep_to_the_route(town: Town, offset: float) -> None:
    drive = Drive(town, lateral_offset=offset, seed=3)
    route = town.route.at(drive.arclengths)
    away = drive.poses[:, :2] - route[:, :2]
    ahead = np.stack([np.cos(route[:, 2]), np.sin(route[:, 2])], axis=1)
    left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
    assert np.abs(np.sum(away * ahead, axis=1)).max() < 1e-9
    lateral = np.sum(away * left, axis=1)
    assert lateral.mean() == pytest.approx(offset, abs=0.05)
    assert np.abs(lateral - offset).max() < 0.25
    assert drive.poses.dtype == np.float64
    assert np.linalg.norm(drive.poses[:, 3:], axis=1) == pytest.approx(1.0)
    error = np.angle(np.exp(1j * (yaw_of(drive.poses) - route[:, 2])))
    assert np.abs(error).max() < np.deg2rad(3)


def test_timeline(town: Town) -> None:
    drive = Drive(town, speed=8.0, rate=10.0, laps=0.5, seed=4)
    assert drive.distances[-1] == pytest.approx(town.route_length / 2, abs=1.0)
    assert np.diff(drive.stamps) == pytest.approx(100_000_000, abs=1)
    speed = np.diff(drive.distances) * 10
    assert speed.mean() == pytest.approx(8.0, rel=0.1)
    assert speed.std() > 0.3
    assert np.abs(np.diff(speed)).max() < 0.5
    other = Drive(town, start=30.0, length=20.0)
    assert other.arclengths[0] == 30.0
    assert other.distances[-1] <= 20.0


def test_stops_stand_still(town: Town) -> None:
    drive = Drive(town, length=60.0, rate=10.0, stops=[(20.0, 3.0)])
    standing = np.flatnonzero(np.diff(drive.distances) == 0)
    assert 28 <= len(standing) <= 31
    assert drive.distances[standing] == pytest.approx(20.0)
    assert (drive.poses[standing] == drive.poses[standing[0]]).all()
    assert len(drive) == pytest.approx(len(Drive(town, length=60.0, rate=10.0)) + 30, abs=1)


@pytest.mark.slow
def test_same_seed_gives_same_bytes(town: Town) -> None:
    again = Town(seed=7)
    for condition in (DUSK, RAIN):
        first = Drive(town, condition, SMALL, length=30.0, seed=5)
        second = Drive(again, condition, SMALL, length=30.0, seed=5)
        assert first.poses.tobytes() == second.poses.tobytes()
        assert first.render(7).tobytes() == second.render(7).tobytes()
    third = Drive(town, DUSK, SMALL, length=30.0, seed=6)
    assert third.render(7).tobytes() != Drive(town, DUSK, SMALL, length=30.0, seed=5).render(
        7).tobytes()


def test_random_access_equals_iteration(town: Town) -> None:
    drive = Drive(town, RAIN, SMALL, length=12.0, seed=1)
    images = [frame.read() for frame in drive]
    assert len(images) == len(drive)
    for index in (9, 2, 9):
        assert (drive.frame(index).read() == images[index]).all()
    for index, frame in enumerate(drive):
        assert frame.index == index
        assert frame.stamp_ns == drive.stamps[index]
        assert frame.pose is not None
        assert (frame.pose == drive.poses[index]).all()
    assert 'exact' in drive.pose_origin


@pytest.mark.parametrize('name', CONDITIONS)
def test_images_are_images(town: Town, name: str) -> None:
    drive = Drive(town, CONDITIONS[name], Camera(96, 72), length=40.0)
    for index in (0, len(drive) // 2):
        image = drive.render(index)
        assert image.shape == (72, 96, 3)
        assert image.dtype == np.uint8
        assert image.std() > 12
        assert (image == 255).all(axis=2).mean() < 0.1


def test_light_follows_the_condition(town: Town) -> None:
    day, dusk, night = (Drive(town, condition, SMALL, length=40.0).render(10).mean()
                        for condition in (DAY, DUSK, NIGHT))
    assert day > 1.4 * dusk
    assert dusk > 1.3 * night


def test_passing_cars_move(town: Town) -> None:
    drive = Drive(town, replace(DAY, parked=0.0, traffic=3.0), SMALL, length=60.0, rate=10.0)
    before, after = drive.cars(0), drive.cars(10)
    assert len(before) > 10
    moved = [np.hypot(a.x - b.x, a.y - b.y) for a, b in zip(before, after, strict=True)]
    assert 5 < np.median(moved) < 13


def test_any_viewpoint_can_be_rendered(town: Town) -> None:
    """Inside a car, inside a house, or outside the town: odd to look at, but no failure."""
    renderer = Renderer(town, SMALL, RAIN)
    pose = Drive(town, length=50.0).poses[20]
    inside = [CarPose(pose[0], pose[1], 0.3, look) for look in range(3)]
    assert renderer.render(pose, inside).shape == (120, 160, 3)
    for place in (town.plan.buildings[40].corners.mean(axis=0), np.array([-500.0, 900.0])):
        assert renderer.render(np.array([*place, 0, 0, 0, 0, 1]), []).shape == (120, 160, 3)


def test_camera_yaw_turns_the_view(town: Town) -> None:
    pose = Drive(town, length=50.0).poses[20]
    yaw = yaw_of(pose) + np.pi / 2
    turned = np.array([*pose[:5], np.sin(yaw / 2), np.cos(yaw / 2)])
    sideways = Renderer(town, Camera(160, 120, yaw_deg=90.0), EMPTY_STREETS).render(pose, [])
    straight = Renderer(town, SMALL, EMPTY_STREETS).render(turned, [])
    assert np.abs(sideways.astype(int) - straight).mean() < 0.5


def ground_homography(camera: Camera, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the pixel mapping of the ground plane between two poses, from first principles."""
    def ground_to_pixels(pose: np.ndarray) -> np.ndarray:
        yaw = yaw_of(pose)
        forward = np.array([np.cos(yaw), np.sin(yaw), 0])
        left = np.array([-np.sin(yaw), np.cos(yaw), 0])
        axes = np.stack([-left, [0, 0, -1], forward])  # optical: x right, y down, z forward
        eye = np.array([*pose[:2], camera.mount_height])
        return camera.matrix @ np.column_stack([axes[:, 0], axes[:, 1], -axes @ eye])
    return ground_to_pixels(target) @ np.linalg.inv(ground_to_pixels(source))


def test_poses_explain_the_images(town: Town) -> None:
    """The road of one image, moved by the poses alone, is the road of another image."""
    camera = Camera(320, 240)
    renderer = Renderer(town, camera, EMPTY_STREETS)
    source = Drive(town, length=60.0).poses[20]

    def shifted(ahead: float, left: float, turn: float) -> np.ndarray:
        yaw = yaw_of(source)
        x = source[0] + ahead * np.cos(yaw) - left * np.sin(yaw)
        y = source[1] + ahead * np.sin(yaw) + left * np.cos(yaw)
        return np.array([x, y, 0, 0, 0, np.sin((yaw + turn) / 2), np.cos((yaw + turn) / 2)])

    def similarity(seen: np.ndarray, believed: np.ndarray) -> float:
        first = renderer.render(source, [])[..., 1].astype(np.float32)
        second = renderer.render(seen, [])[..., 1].astype(np.float32)
        mapping = ground_homography(camera, source, believed)
        moved = cv2.warpPerspective(first, mapping, (camera.width, camera.height))
        road = np.s_[140:185, 110:210]
        return float(np.corrcoef(moved[road].ravel(), second[road].ravel())[0, 1])

    for move in ((1.0, 0.0, 0.0), (0.0, 0.6, 0.0), (0.0, 0.0, 0.06), (0.6, -0.4, -0.04)):
        true, wrong = shifted(*move), shifted(-move[0], -move[1], -move[2])
        assert similarity(true, true) > 0.85
        assert similarity(true, wrong) < 0.6


def describe(drive: Drive) -> np.ndarray:
    """Return centred HOG descriptors, ``[N, D]``."""
    hog = cv2.HOGDescriptor((256, 256), (64, 64), (32, 32), (32, 32), 9)
    rows = []
    for frame in drive:
        grey = cv2.cvtColor(frame.read(), cv2.COLOR_RGB2GRAY)
        rows.append(np.ravel(hog.compute(cv2.resize(grey, (256, 256)))))
    descriptors = np.stack(rows)
    descriptors -= descriptors.mean(axis=0)
    return descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)


def recall_at_1(similarity: np.ndarray, query: Drive, mapped: Drive, length: int) -> float:
    """Return the share of trailing sequences whose best match lies within 5 m."""
    rows, columns = (size - length + 1 for size in similarity.shape)
    score = sum(similarity[k:k + rows, k:k + columns] for k in range(length))
    best = np.argmax(score, axis=1) + length - 1
    away = query.poses[length - 1:, :2] - mapped.poses[best, :2]
    return float((np.linalg.norm(away, axis=1) <= 5).mean())


@pytest.mark.slow
def test_places_are_hard_but_not_hopeless_to_recognise(town: Town) -> None:
    mapped = Drive(town, DAY, SMALL, speed=8.0, rate=4.0, length=560.0, seed=1)
    query = Drive(town, DUSK, SMALL, speed=8.4, rate=4.0, length=560.0, lateral_offset=1.0,
                  seed=2)
    similarity = describe(query) @ describe(mapped).T
    single = recall_at_1(similarity, query, mapped, 1)
    sequence = recall_at_1(similarity, query, mapped, 5)
    assert 0.5 < single < 0.97
    assert sequence >= 0.85
    assert sequence > single


def test_impossible_requests_are_refused(town: Town) -> None:
    with pytest.raises(InputError, match=r'at least \(2, 1\) blocks, found \(1, 1\)'):
        Town(blocks=(1, 1))
    with pytest.raises(InputError, match=r'positive speed and rate, found 0\.0'):
        Drive(town, speed=0.0)
