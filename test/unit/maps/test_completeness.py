"""What a drive lacks: missing images by their stamps, holes by the poses of places."""

import numpy as np
import pytest

from seqnet_ros.maps.completeness import Completeness, MissingImages, find_holes

SECOND = 10**9


def count(stamps_s: np.ndarray) -> MissingImages:
    missing = MissingImages(longest_s=5.0)
    for stamp_s in stamps_s:
        missing.add(round(stamp_s * SECOND))
    return missing


def steady(images: int, rate: float, jitter: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(0).uniform(-jitter, jitter, images)
    return 100.0 + (np.arange(images) + noise) / rate


@pytest.mark.parametrize('jitter', [0.0, 0.1])
@pytest.mark.parametrize('rate', [5, 30])
def test_a_steady_camera_misses_nothing(rate, jitter):
    found = count(steady(300, rate, jitter))
    assert (found.images, found.missing) == (300, 0)


@pytest.mark.parametrize('share', [0.05, 0.3, 0.6])
def test_images_that_are_left_out_are_counted(share):
    kept = np.random.default_rng(1).random(600) >= share
    kept[[0, -1]] = True
    found = count(steady(600, 10, 0.05)[kept])
    assert found.images == kept.sum()
    assert found.missing == pytest.approx(600 - kept.sum(), abs=0.05 * 600)


def test_pauses_restarts_and_irregular_cameras_miss_nothing():
    drive = steady(50, 10)
    assert count(np.concatenate([drive, drive + 60.0, drive])).missing == 0
    wild = 100.0 + np.cumsum(np.random.default_rng(2).exponential(0.1, 400))
    assert count(wild).missing == 0


@pytest.mark.parametrize('slower', [2.0, 3.0, 4.0])
def test_a_camera_that_is_slower_in_the_dark_misses_nothing(slower):
    steps = np.repeat([0.1, 0.1 * slower, 0.1], [60, 40, 60])
    steps += np.random.default_rng(3).uniform(-0.002, 0.002, len(steps))
    assert count(100.0 + np.cumsum(steps)).missing == 0


def test_images_missing_one_by_one_at_an_even_distance_are_counted():
    kept = np.arange(300) % 5 != 3
    assert count(steady(300, 10)[kept]).missing == pytest.approx(60, abs=2)


def test_holes_are_steps_longer_than_three_usual_ones():
    steps = np.full(100, 1.1)
    assert find_holes(steps, 1.0) == (0, 0.0)
    steps[[10, 20]] = 3.2, 12.5
    assert find_holes(steps, 1.0) == (1, 12.5)
    assert find_holes(np.zeros(0)) == (0, 0.0)
    assert find_holes(np.full(5, 12.0), 1.0) == (0, 0.0)  # a fast robot with a slow camera


def test_two_drives_are_joined_and_put_in_words():
    first = Completeness(images=18, missing=182, holes=9, longest_hole_m=12.34)
    second = Completeness(images=200, missing=0, holes=0, longest_hole_m=0.0)
    assert first.incomplete
    assert not second.incomplete
    assert str(second) == '200 images, none missing'
    assert str(first.joined(second)) == (
        '182 of 400 images missing (46%), 9 holes in the route, the longest 12.3 m')
