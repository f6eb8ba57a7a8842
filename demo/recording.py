"""The two drives and their bags."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from seqnet_ros.core.poses import make_pose, yaw_of
from seqnet_ros.datasets.recordings.bag_writer import BagWriter
from seqnet_town import DAY, DUSK, Camera, Drive, Town
from seqnet_town.processes import in_processes

IMAGE_TOPIC = '/camera/image_raw/compressed'
ODOMETRY_TOPIC = '/odom'

_SEED = 7
_BLOCKS = (2, 1)  # a figure of eight of 421 m: the street in the middle is driven twice
_DRIFT = 0.01
_MAX_WORKERS = 4


@dataclass(frozen=True)
class Scenario:
    """Settings of a drive.

    Attributes:
        length: meters to drive, or None for a whole lap.
        width: of the images, pixels; their height is three quarters of it.
        red_light_s: how long the second drive stands still on the way.
    """

    length: float | None = None
    width: int = 640
    red_light_s: float = 5.0

    @cached_property
    def mapping_drive(self) -> Drive:
        """The first drive: by day, in the middle of the lane."""
        return Drive(self._town, DAY, self._camera, speed=8.0, length=self.length, seed=1)

    @cached_property
    def query_drive(self) -> Drive:
        """The second drive: at dusk, to the left, slower, with other cars and a red light."""
        driven = self.length or self._town.route_length
        return Drive(self._town, DUSK, self._camera, lateral_offset=0.8, speed=6.8,
                     length=self.length, stops=[(0.45 * driven, self.red_light_s)], seed=2)

    @cached_property
    def _town(self) -> Town:
        return Town(_SEED, _BLOCKS)

    @property
    def _camera(self) -> Camera:
        return Camera(self.width, self.width * 3 // 4)


def write_drive(drive: Drive, odometry: np.ndarray, path: Path,
                progress: Callable[[int], None]) -> None:
    """Render a drive into a bag of JPEG images and odometry, in place of an earlier one.

    Args:
        drive: what to render.
        odometry: poses ``[N, 7]`` to write as odometry, one for each frame.
        path: folder of the bag.
        progress: called with the number of frames written.
    """
    shutil.rmtree(path, ignore_errors=True)
    with BagWriter(path) as bag:
        for index, image in enumerate(_render(drive)):
            stamp_ns = int(drive.stamps[index])
            bag.write_odometry(ODOMETRY_TOPIC, stamp_ns, odometry[index])
            bag.write_image(IMAGE_TOPIC, stamp_ns, image, compressed=True)
            progress(index + 1)


def _render(drive: Drive) -> Iterator[np.ndarray]:
    """Return the images in order, rendered by several processes."""
    workers = min(_MAX_WORKERS, os.cpu_count() or 1)
    return in_processes(drive.render, range(len(drive)), workers)


def drifting_odometry(poses: np.ndarray, seed: int, drift: float = _DRIFT) -> np.ndarray:
    """Return simulated wheel odometry of exact poses: from an origin of its own, with drift.

    Distances are too long by the drift, with noise on top, and the heading is off by up to half a
    degree for every ten meters.

    Args:
        poses: exact planar poses ``[N, 7]``.
        seed: decides the errors.
        drift: error of distances, as a share.
    """
    rng = np.random.default_rng(seed)
    steps = np.linalg.norm(np.diff(poses[:, :2], axis=0), axis=1)
    turns = np.diff(np.unwrap([yaw_of(pose) for pose in poses]))
    measured = steps * (1 + drift + rng.normal(0, drift, len(steps)))
    bend = np.deg2rad(0.05) * rng.uniform(-1, 1)
    headings = np.cumsum(np.r_[0.0, turns + bend * steps])
    middle = (headings[1:] + headings[:-1]) / 2
    x = np.cumsum(np.r_[0.0, measured * np.cos(middle)])
    y = np.cumsum(np.r_[0.0, measured * np.sin(middle)])
    return np.stack([make_pose(*place) for place in zip(x, y, np.zeros_like(x), headings,
                                                        strict=True)])


def write_truth(drive: Drive, path: Path) -> None:
    """Write the exact poses as a TUM file."""
    with path.open('w', encoding='utf-8') as file:
        for stamp_ns, pose in zip(drive.stamps, drive.poses, strict=True):
            seconds, nanoseconds = divmod(int(stamp_ns), 10**9)
            numbers = ' '.join(f'{value:.6f}' for value in pose)
            file.write(f'{seconds}.{nanoseconds:09} {numbers}\n')
