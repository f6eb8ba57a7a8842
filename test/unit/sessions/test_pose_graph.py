"""The pose graph of a drive: graphs whose answer is known."""

import numpy as np
import pytest

from seqnet_ros.core.poses import make_pose, yaw_of
from seqnet_ros.sessions.pose_graph import Drive, Sightings, refine, solve

pytest.importorskip('gtsam', reason='GTSAM is not installed')

COUNT = 12


def line(x: float = 0.0, y: float = 0.0, yaw: float = 0.0, step: float = 1.0) -> np.ndarray:
    """Return poses on a straight line."""
    return np.array([make_pose(x + step * n * np.cos(yaw), y + step * n * np.sin(yaw), 0.0, yaw)
                     for n in range(COUNT)])


def deviations(count: int, along_m: float) -> np.ndarray:
    """Return how uncertain matches are that say little of the heading and what is across."""
    return np.tile([0.14, 0.14, 0.14, along_m, 0.7, 1.0], (count, 1))


def on_map(keyframes: np.ndarray, found: np.ndarray, noise: np.ndarray) -> Sightings:
    return Sightings(keyframes, *[np.full(len(keyframes), -1)] * 2, found, noise)


def graph(odometry: np.ndarray, linked: np.ndarray | None = None) -> Drive:
    return Drive(odometry, np.ones(COUNT - 1, dtype=bool) if linked is None else linked, 0.02)


def test_matches_give_the_frame_and_a_wrong_one_is_switched_off():
    true = line(10.0, 5.0, np.pi / 2)
    keyframes = np.arange(0, COUNT, 2)
    found = true[keyframes].copy()
    found[2, :2] += 20.0
    solution = solve([graph(line())], true + 0.5 * (np.arange(7) < 2),
                     on_map(keyframes, found, deviations(len(keyframes), 0.4)))
    assert solution.kept.tolist() == [True, True, False, True, True, True]
    np.testing.assert_allclose(solution.poses[:, :3], true[:, :3], atol=1e-3)
    np.testing.assert_allclose(np.abs((solution.poses[:, 3:] * true[:, 3:]).sum(axis=1)), 1.0)


def test_odometry_that_is_too_long_is_shortened_between_matches():
    true, keyframes = line(), np.arange(COUNT)
    solution = solve([graph(line(step=1.02))], true,
                     on_map(keyframes, true, deviations(COUNT, 0.1)))
    assert solution.kept.all()
    assert np.linalg.norm(solution.poses[-1, :3] - true[-1, :3]) < 0.1
    assert abs(solution.poses[-1, 0] - solution.poses[0, 0] - 11.0) < 0.15


def test_where_nothing_was_found_odometry_leads_on():
    solution = solve([graph(line())], line(3.0, 4.0),
                     on_map(np.arange(4), line(3.0, 4.0)[:4], deviations(4, 0.3)))
    np.testing.assert_allclose(solution.poses[:, :3], line(3.0, 4.0)[:, :3], atol=1e-3)


def test_two_stretches_of_a_drive_need_not_fit():
    linked = np.ones(COUNT - 1, dtype=bool)
    linked[5] = False
    true = line()
    true[6:, :2] += [7.0, 3.0]
    solution = solve([graph(line(), linked)], true,
                     on_map(np.arange(COUNT), true, deviations(COUNT, 0.3)))
    assert solution.kept.all()
    np.testing.assert_allclose(solution.poses[:, :2], true[:, :2], atol=0.05)


def square() -> np.ndarray:
    """Return poses along the four sides of a square of 20 m."""
    sides = [(0, 0, 0), (20, 0, np.pi / 2), (20, 20, np.pi), (0, 20, -np.pi / 2)]
    return np.array([make_pose(x + 2 * n * np.cos(yaw), y + 2 * n * np.sin(yaw), 0.0, yaw)
                     for x, y, yaw in sides for n in range(10)])


def moved(poses: np.ndarray, ahead: float, left: float) -> np.ndarray:
    """Return poses that are some way ahead and to the left of others."""
    yaw = np.array([yaw_of(pose) for pose in poses])
    beside = poses.copy()
    beside[:, 0] += np.cos(yaw) * ahead - np.sin(yaw) * left
    beside[:, 1] += np.sin(yaw) * ahead + np.cos(yaw) * left
    return beside


def test_an_offset_from_the_line_of_the_map_is_found_where_the_route_turns():
    true = square()
    linked = np.ones(len(true) - 1, dtype=bool)
    lines = np.where(np.arange(len(true)) % 3, 7, -1)  # every third pose is measured
    for measured in (False, True):
        chosen = np.ones(len(true), dtype=bool) if measured else lines >= 0
        found = np.where(lines[:, None] < 0, true, moved(true, 0.2, -0.8))
        sightings = Sightings(np.arange(len(true)), np.full(len(true), -1), lines, found,
                              deviations(len(true), 0.3))
        poses, offsets = refine([graph(true, linked)], true, sightings[chosen])
        assert list(offsets) == [7]
        np.testing.assert_allclose(offsets[7][:2], [0.2, -0.8], atol=0.1)
        np.testing.assert_allclose(poses[:, :2], true[:, :2], atol=0.1)


def test_a_straight_road_does_not_tell_the_offset():
    true = line()
    sightings = Sightings(np.arange(COUNT), np.full(COUNT, -1), np.zeros(COUNT, dtype=int),
                          moved(true, 0.0, -0.8), deviations(COUNT, 0.3))
    poses, offsets = refine([graph(line())], true, sightings)
    np.testing.assert_allclose(offsets[0], 0.0, atol=0.01)
    np.testing.assert_allclose(poses[:, 1], -0.8, atol=0.01)


def test_refining_believes_every_match():
    true, keyframes = line(), np.arange(COUNT)
    found = true.copy()
    found[5, 1] += 3.0
    noise = deviations(COUNT, 0.3)
    refined, _ = refine([graph(line())], true, on_map(keyframes, found, noise))
    assert 0.1 < refined[5, 1] < 1.0
    kept = np.delete(keyframes, 5)
    poses, _ = refine([graph(line())], true, on_map(kept, found[kept], noise[kept]))
    np.testing.assert_allclose(poses[:, :3], true[:, :3], atol=1e-6)
