"""The pose graph of a drive: graphs whose answer is known."""

import numpy as np
import pytest

from seqnet_ros.core.poses import make_pose
from seqnet_ros.sessions.pose_graph import Drive, refine, solve

pytest.importorskip('gtsam', reason='GTSAM is not installed')

COUNT = 12


def line(x: float = 0.0, y: float = 0.0, yaw: float = 0.0, step: float = 1.0) -> np.ndarray:
    """Return poses on a straight line."""
    return np.array([make_pose(x + step * n * np.cos(yaw), y + step * n * np.sin(yaw), 0.0, yaw)
                     for n in range(COUNT)])


def deviations(count: int, along_m: float) -> np.ndarray:
    """Return how uncertain matches are that say little of the heading and what is across."""
    return np.tile([0.14, 0.14, 0.14, along_m, 0.7, 1.0], (count, 1))


def graph(odometry: np.ndarray, linked: np.ndarray | None = None) -> Drive:
    return Drive(odometry, np.ones(COUNT - 1, dtype=bool) if linked is None else linked, 0.02)


def test_matches_give_the_frame_and_a_wrong_one_is_switched_off():
    true = line(10.0, 5.0, np.pi / 2)
    keyframes = np.arange(0, COUNT, 2)
    found = true[keyframes].copy()
    found[2, :2] += 20.0
    solution = solve(graph(line()), true + 0.5 * (np.arange(7) < 2), keyframes, found,
                     deviations(len(keyframes), 0.4))
    assert solution.kept.tolist() == [True, True, False, True, True, True]
    np.testing.assert_allclose(solution.poses[:, :3], true[:, :3], atol=1e-3)
    np.testing.assert_allclose(np.abs((solution.poses[:, 3:] * true[:, 3:]).sum(axis=1)), 1.0)


def test_odometry_that_is_too_long_is_shortened_between_matches():
    true, keyframes = line(), np.arange(COUNT)
    solution = solve(graph(line(step=1.02)), true, keyframes, true, deviations(COUNT, 0.1))
    assert solution.kept.all()
    assert np.linalg.norm(solution.poses[-1, :3] - true[-1, :3]) < 0.1
    assert abs(solution.poses[-1, 0] - solution.poses[0, 0] - 11.0) < 0.15


def test_where_nothing_was_found_odometry_leads_on():
    solution = solve(graph(line()), line(3.0, 4.0), np.arange(4), line(3.0, 4.0)[:4],
                     deviations(4, 0.3))
    np.testing.assert_allclose(solution.poses[:, :3], line(3.0, 4.0)[:, :3], atol=1e-3)


def test_two_stretches_of_a_drive_need_not_fit():
    linked = np.ones(COUNT - 1, dtype=bool)
    linked[5] = False
    true = line()
    true[6:, :2] += [7.0, 3.0]
    solution = solve(graph(line(), linked), true, np.arange(COUNT), true, deviations(COUNT, 0.3))
    assert solution.kept.all()
    np.testing.assert_allclose(solution.poses[:, :2], true[:, :2], atol=0.05)


def test_refining_believes_every_match():
    true, keyframes = line(), np.arange(COUNT)
    found = true.copy()
    found[5, 1] += 3.0
    noise = deviations(COUNT, 0.3)
    refined = refine(graph(line()), true, keyframes, found, noise)
    assert 0.1 < refined[5, 1] < 1.0
    kept = np.delete(keyframes, 5)
    np.testing.assert_allclose(
        refine(graph(line()), true, kept, found[kept], noise[kept])[:, :3], true[:, :3], atol=1e-6)
