"""Open any recording: detect its kind, and assign poses to its images."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import require_file
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.core.poses import Trajectory
from seqnet_ros.datasets.recordings.bag_files import BAG_SUFFIXES, is_bag
from seqnet_ros.datasets.recordings.bag_poses import ImageSpan, read_bag_poses, stamp_lag_s
from seqnet_ros.datasets.recordings.frames import Frame, FrameSource
from seqnet_ros.datasets.recordings.image_folder import ImageFolderSource
from seqnet_ros.datasets.recordings.pose_files import FramePoses, read_poses
from seqnet_ros.datasets.recordings.rosbag import Bag, BagSource
from seqnet_ros.datasets.recordings.video import VIDEO_SUFFIXES, VideoSource

_logger = logging.getLogger(__name__)


class _Recording(FrameSource, Protocol):
    """Interface of the three readers beyond `FrameSource`."""

    def stamp_range(self) -> tuple[int, int]:
        """Return the first and the last stamp, nanoseconds."""


class PosedSource:
    """A `FrameSource` whose images have the poses of a trajectory or of a pose file.

    Attributes:
        poses: all poses, including those between images.
    """

    def __init__(self, source: FrameSource, poses: Trajectory | FramePoses) -> None:
        """Combine images and poses; a frame for which there is no pose keeps None."""
        self.name = source.name
        self.pose_origin = poses.origin
        self.datum = poses.datum
        self.timed = source.timed
        self.problems = source.problems
        self._source = source
        self.poses = poses

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._source)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames of the source with their poses."""
        for frame in self._source:
            yield replace(frame, pose=pose_of(frame, self.poses))


def pose_of(frame: Frame, poses: Trajectory | FramePoses) -> np.ndarray | None:
    """Return the pose ``[7]`` of a frame, by its time, name or number; None where there is none."""
    return poses.at(frame.stamp_ns) if isinstance(poses, Trajectory) else poses.of(frame)


def open_source(path: str | PathLike[str], topic: str | None = None,
                poses: str | PathLike[str] | None = None, pose_topic: str | None = None,
                rate: float | None = None, datum: GeoPoint | None = None,
                with_poses: bool = True) -> FrameSource:
    """Open a recording: a bag, a folder of images or a video.

    Args:
        path: a rosbag2 folder, an ``.mcap``, ``.db3`` or ``.bag`` file, a folder of images, or a
            video file.
        topic: the image topic of a bag; None where there is only one.
        poses: a pose file, see `seqnet_ros.datasets.recordings.pose_files`; None takes the bag's
        own poses.
        pose_topic: the pose topic of a bag, see `read_bag_poses`; None takes odometry, else poses,
            else GPS, else transforms.
        rate: images per second of a folder or video; None takes the times of the images where they
            are known (see `seqnet_ros.datasets.recordings.image_times`), else 10 per second.
        datum: the origin of GPS positions, to be shared by recordings that are to be compared;
            None takes the recording's first.
        with_poses: look for poses in a bag; False where they are not needed.

    Raises:
        InputError: the path does not exist or is none of these, an option does not apply to it, or
            it or its poses cannot be used.
    """
    location = Path(path)
    if not location.exists():
        raise InputError(f'{location} does not exist, expected a bag, image folder or video')
    if not location.is_dir():
        require_file(location, 'recording')
    if rate is not None and not 0 < rate < float('inf'):
        raise InputError(f'rate is {rate:g} images per second, expected more than 0')
    if is_bag(location):
        if rate is not None:
            raise InputError(f'{location} is a bag, which has stamps: a rate does not apply')
        return _open_bag(location, topic, poses, pose_topic, datum, with_poses)
    if topic is not None or pose_topic is not None:
        raise InputError(f'{location} is not a bag: topics do not apply')
    source = _open_plain(location, rate)
    return source if poses is None else _with_pose_file(source, poses, datum)


def _open_plain(location: Path, rate: float | None) -> _Recording:
    if location.is_dir():
        return ImageFolderSource(location, rate)
    if location.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(location, rate)
    raise InputError(
        f'{location} is not a supported recording, expected a bag folder, a folder of images or a '
        f'file ending in {", ".join((*BAG_SUFFIXES, *VIDEO_SUFFIXES))}')


def _open_bag(location: Path, topic: str | None, poses: str | PathLike[str] | None,
              pose_topic: str | None, datum: GeoPoint | None, with_poses: bool) -> FrameSource:
    if poses is not None and pose_topic is not None:
        raise InputError(f'both {poses} and {pose_topic} were given as poses of {location}, '
                         'expected one of them')
    source = BagSource(Bag(location), topic)
    if poses is not None:
        return _with_pose_file(source, poses, datum)
    if not with_poses:
        return source
    times = ImageSpan(*source.stamp_range(), stamp_lag_s(source.bag.messages(source.topic)))
    found = read_bag_poses(source.bag, pose_topic, datum, times)
    if found.trajectory is None:
        if found.why:
            source.pose_origin = f'none ({found.why})'
            _logger.warning('%s: no poses are used: %s', location, found.why)
        return source
    return PosedSource(source, found.trajectory)


def _with_pose_file(source: _Recording, path: str | PathLike[str],
                    datum: GeoPoint | None) -> PosedSource:
    poses = read_poses(path, datum)
    if isinstance(poses, Trajectory):
        _require_overlap(source, poses)
    elif not isinstance(source, VideoSource) and all(poses.of(frame) is None for frame in source):
        first = next(iter(source)).name
        raise InputError(
            f'{path} names none of the images of {source.name}: found {next(iter(poses.poses))!r}, '
            f'expected names like {first!r} or image numbers')
    return PosedSource(source, poses)


def _range_of(trajectory: Trajectory) -> tuple[int, int]:
    return int(trajectory.stamps_ns[0]), int(trajectory.stamps_ns[-1])


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _require_overlap(source: _Recording, trajectory: Trajectory) -> None:
    images, poses = source.stamp_range(), _range_of(trajectory)
    if not _overlap(images, poses):
        raise InputError(
            f'{trajectory.origin} covers {_show(poses)}, which does not overlap the images of '
            f'{source.name} at {_show(images)}')


def _show(stamps: tuple[int, int]) -> str:
    return f'{stamps[0] / 1e9:.3f} s to {stamps[1] / 1e9:.3f} s'
