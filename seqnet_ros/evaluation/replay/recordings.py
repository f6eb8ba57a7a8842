"""One or several recordings as one row of frames, each with where it truly was taken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.core.poses import Trajectory
from seqnet_ros.datasets.recordings.bag_files import is_bag
from seqnet_ros.datasets.recordings.bag_poses import read_bag_poses
from seqnet_ros.datasets.recordings.frames import Frame, FrameSource
from seqnet_ros.datasets.recordings.open_recording import PosedSource, open_source, pose_of
from seqnet_ros.datasets.recordings.pose_files import FramePoses, read_poses
from seqnet_ros.datasets.recordings.rosbag import Bag
from seqnet_ros.evaluation.replay.clock_offset import (
    ClockOffset,
    estimate_offset,
    motion_of_images,
    motion_of_poses,
)

_OFFSET_WINDOW_S = 90.0
_OFFSET_IMAGES = 900
_LEAST_TURN = 0.05
_Entry = TypeVar('_Entry')


@dataclass(frozen=True)
class RecordingOptions:
    """Recordings to open; lists hold one entry for all recordings or one per recording.

    Attributes:
        paths: bags, folders of images or videos.
        topic: image topic of bags.
        poses: pose files, in place of the poses of bags.
        pose_topic: pose topic of bags.
        rate: images per second of folders and videos.
        truth: pose files or pose topics of the bags that tell the truth, in place of the poses.
        frames: first frame and one past the last that count, over all recordings.
    """

    paths: tuple[Path, ...]
    topic: str | None = None
    poses: tuple[Path, ...] = ()
    pose_topic: str | None = None
    rate: float | None = None
    truth: tuple[str, ...] = ()
    frames: tuple[int, int | None] = (0, None)


class ReplayFrame(NamedTuple):
    """A frame of a row of recordings.

    Attributes:
        number: its position in the row, from 0.
        recording: which recording it is of, from 0.
        frame: the frame, with its position in the recording.
        truth: its true pose ``[7]``, None where that is not known.
    """

    number: int
    recording: int
    frame: Frame
    truth: np.ndarray | None


class Recordings:
    """Recordings one after the other; iterating twice gives the same frames.

    Of a recording that is damaged the intact part counts; `problems` tells what is missing.
    """

    def __init__(self, options: RecordingOptions, datum: GeoPoint | None = None) -> None:
        """Open everything.

        Args:
            options: what to open.
            datum: the origin of earth positions; None takes that of the first recording.

        Raises:
            InputError: a recording or its poses cannot be used, or no frame is in the range.
        """
        self.options = options
        self.datum = datum
        self.offsets_s = [0.0] * len(options.paths)
        """Offsets added to each recording's image times to look up their true poses."""
        self.sources: list[FrameSource] = []
        self.truths: list[Trajectory | FramePoses | None] = []
        for number, path in enumerate(options.paths):
            source = open_source(path, options.topic, _of(options.poses, number, options, 'poses'),
                                 options.pose_topic, options.rate, self.datum)
            if isinstance(source, PosedSource):
                self.datum = self.datum or source.datum
            self.sources.append(source)
            self.truths.append(self._open_truth(
                _of(options.truth, number, options, 'truth'), path))
        lengths = [len(source) for source in self.sources]
        self._offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(int).tolist()
        self.first = options.frames[0]
        end = self._offsets[-1] if options.frames[1] is None else options.frames[1]
        self.end = min(end, self._offsets[-1])
        if self.first >= self.end:
            raise InputError(f'frames {options.frames[0]} to {end} were requested, but '
                             f'{", ".join(map(str, options.paths))} has {self._offsets[-1]}')

    def _open_truth(self, truth: str | None, path: Path) -> Trajectory | FramePoses | None:
        if truth is None:
            return None
        if truth.startswith('/') and not Path(truth).exists():
            if not is_bag(path):
                raise InputError(f'{path} is not a bag: the topic {truth} does not apply')
            read = read_bag_poses(Bag(path), truth, self.datum).trajectory
            assert read is not None  # a topic without poses is refused
            found: Trajectory | FramePoses = read
        else:
            found = read_poses(truth, self.datum)
        self.datum = self.datum or found.datum
        return found

    def __len__(self) -> int:
        """Return the number of frames in the range."""
        return self.end - self.first

    def __iter__(self) -> Iterator[ReplayFrame]:
        """Yield the frames of the range."""
        for recording, source in enumerate(self.sources):
            begin, end = self._offsets[recording: recording + 2]
            if end > self.first and begin < self.end:
                yield from self._frames_of(recording, source, begin)

    def _frames_of(self, recording: int, source: FrameSource, begin: int) -> Iterator[ReplayFrame]:
        for frame in source:
            if begin + frame.index >= self.end:
                return
            number = begin + frame.index
            if number >= self.first:
                yield ReplayFrame(number, recording, frame, self._truth_of(recording, frame))

    def _truth_of(self, recording: int, frame: Frame) -> np.ndarray | None:
        truth, offset_s = self.truths[recording], self.offsets_s[recording]
        trajectory = truth or self._trajectory(recording)
        if isinstance(trajectory, Trajectory) and offset_s:
            return trajectory.at(frame.stamp_ns + round(offset_s * 1e9))
        return frame.pose if truth is None else pose_of(frame, truth)

    def _trajectory(self, recording: int) -> Trajectory | None:
        source = self.sources[recording]
        poses = source.poses if isinstance(source, PosedSource) else None
        return poses if isinstance(poses, Trajectory) else None

    @property
    def posed(self) -> bool:
        """Whether true poses are known, at least of some recordings."""
        return any(truth is not None for truth in self.truths) or any(
            isinstance(source, PosedSource) for source in self.sources)

    @property
    def truth_origins(self) -> list[str]:
        """Human-readable source of the true poses of each recording."""
        return [source.pose_origin if truth is None else truth.origin
                for source, truth in zip(self.sources, self.truths, strict=True)]

    @property
    def problems(self) -> list[str]:
        """What is missing of the recordings, as far as they were read."""
        return [problem for source in self.sources for problem in source.problems]

    def index_in_recording(self, number: int) -> int:
        """Return the position of a frame in its own recording."""
        return number - self._offsets[self.recording_of(number)]

    def recording_of(self, number: int) -> int:
        """Return which recording a frame is of."""
        return int(np.searchsorted(self._offsets, number, side='right')) - 1

    @property
    def named(self) -> bool:
        """Whether the names of frames are those of files: of one folder of images."""
        path, *others = self.options.paths
        return not others and path.is_dir() and not is_bag(path)

    def names(self) -> list[str]:
        """Return the names of all frames, whatever the range; reads through every recording."""
        return [frame.name for source in self.sources for frame in source]

    def clock_offsets(self) -> dict[int, ClockOffset]:
        """Estimate what to add to the times of images to get those of the true poses.

        Where poses and truth are of two sources, these are compared, else images and poses.
        Recordings whose truth has no times, or which never turn, are left out.

        Returns:
            Offsets by number of the recording.
        """
        found = {}
        for recording, source in enumerate(self.sources):
            truth = self.truths[recording] or self._trajectory(recording)
            if not isinstance(truth, Trajectory):
                continue
            own = self._trajectory(recording)
            if own is not None and own is not truth:
                offset = estimate_offset(motion_of_poses(own), motion_of_poses(truth))
            else:
                offset = _offset_of_images(source, truth)
            if offset is not None:
                found[recording] = offset
        return found


def _of(entries: Sequence[_Entry], number: int, options: RecordingOptions,
        what: str) -> _Entry | None:
    """Return the entry of one recording."""
    if len(entries) not in (0, 1, len(options.paths)):
        raise InputError(f'found {len(entries)} files of {what} for {len(options.paths)} '
                         'recordings, expected one for all or one for each')
    if not entries:
        return None
    return entries[number] if len(entries) > 1 else entries[0]


def _offset_of_images(source: FrameSource, truth: Trajectory) -> ClockOffset | None:
    motion = motion_of_poses(truth) if len(truth.stamps_ns) > 2 else None
    if motion is None or np.abs(motion.turn).max() < _LEAST_TURN:
        return None
    # The stretch with the most turning says the most.
    turned = np.cumsum(np.abs(np.diff(motion.turn, prepend=motion.turn[0])))
    ends = np.searchsorted(motion.seconds, motion.seconds + _OFFSET_WINDOW_S)
    gains = turned[np.minimum(ends, len(turned) - 1)] - turned
    begin = float(motion.seconds[int(gains.argmax())])
    stamps = (round(begin * 1e9), round((begin + _OFFSET_WINDOW_S) * 1e9))
    inside = takewhile(lambda frame: frame.stamp_ns <= stamps[1],
                       (frame for frame in source if frame.stamp_ns >= stamps[0]))
    try:
        seen = motion_of_images(islice(inside, _OFFSET_IMAGES), f'images of {source.name}')
    except InputError:
        return None
    return estimate_offset(seen, motion)
