"""Offsets between clocks, from the motion that two sources saw."""

import numpy as np
import pytest

from seqnet_ros.core.poses import make_trajectory
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_ros.evaluation.replay.clock_offset import (
    Motion,
    estimate_offset,
    motion_of_images,
    motion_of_poses,
)
from seqnet_town import DAY, Camera, Drive, Town


@pytest.fixture(scope='module')
def drive() -> Drive:
    """A lap with corners, seen at 10 Hz."""
    return Drive(Town(3, (2, 1)), DAY, Camera(96, 72), length=240.0, speed=8.0, seed=1)


def shifted(drive: Drive, seconds: float, every: int = 1):
    stamps = drive.stamps[::every] + round(seconds * 1e9)
    return motion_of_poses(make_trajectory(stamps, drive.poses[::every], 'truth'))


@pytest.mark.parametrize('seconds', [0.0, 1.37, -4.2])
def test_poses_of_two_clocks(drive, seconds):
    found = estimate_offset(shifted(drive, 0.0), shifted(drive, seconds, every=3))
    assert found.certain
    assert found.seconds == pytest.approx(seconds, abs=0.05)
    assert found.correlation > 0.95
    assert found.compared == ('truth', 'truth')


def test_images_and_poses(drive):
    frames = [Frame(index, int(stamp), lambda index=index: drive.render(index))
              for index, stamp in enumerate(drive.stamps)]
    images = motion_of_images(frames, 'images')
    for seconds in (0.0, 2.0):
        found = estimate_offset(images, shifted(drive, seconds))
        assert found.certain, found
        assert found.seconds == pytest.approx(seconds, abs=0.1)


def test_a_straight_drive_of_even_speed_says_nothing():
    seconds = np.arange(0, 60, 0.1)
    even = Motion(seconds, np.full(600, 3.0), np.zeros(600), 'even')
    assert estimate_offset(even, even) is None


def test_unrelated_motions_are_not_certain():
    rng = np.random.default_rng(1)
    seconds = np.arange(0, 60, 0.1)
    first, second = (Motion(seconds, rng.random(600), rng.normal(size=600), str(number))
                     for number in range(2))
    found = estimate_offset(first, second)
    assert not found.certain


def test_too_little_time_in_common():
    seconds = np.arange(0, 5, 0.1)
    short = Motion(seconds, np.sin(seconds), np.cos(seconds), 'short')
    assert estimate_offset(short, short) is None
