"""Describe the images of a recording."""

from typing import NamedTuple

import numpy as np

from seqnet_ros.core.batches import batches
from seqnet_ros.datasets.recordings.frame_walk import RecordingWalk, image_reader
from seqnet_ros.datasets.recordings.frames import FrameSource
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.pipelines.progress import Bars, no_bar

_BATCH = 16


class DescribedRecording(NamedTuple):
    """The frame descriptors of a recording.

    Attributes:
        frames: int64 ``[N]``, positions of the frames in the recording.
        descriptors: float32 ``[N, D]``, L2-normalized, not centered.
        damaged: one message for each unreadable image.
        names: of the frames, such as names of files.
    """

    frames: np.ndarray
    descriptors: np.ndarray
    damaged: tuple[str, ...]
    names: tuple[str, ...]


def describe_recording(source: FrameSource, model: PlaceModel,
                       bars: Bars = no_bar) -> DescribedRecording:
    """Describe the images of a recording, as ``seqnet_ros describe`` does.

    Damaged images are skipped.

    Args:
        source: the recording, see `seqnet_ros.datasets.recordings.open_recording.open_source`.
        model: its frame descriptor is used.
        bars: shows progress.

    Raises:
        InputError: no image can be read.
    """
    frames: list[int] = []
    names: list[str] = []
    blocks: list[np.ndarray] = []
    with bars('describing', len(source)) as progress:
        walk = RecordingWalk(source, progress, require_poses=False)
        for batch in batches(walk.results(lambda frame: image_reader(frame)()), _BATCH):
            frames += [frame.index for frame, _ in batch]
            names += [frame.name for frame, _ in batch]
            blocks.append(model.describer.describe([image for _, image in batch]))
    walk.finish()
    return DescribedRecording(np.array(frames), np.concatenate(blocks), tuple(walk.damaged),
                              tuple(names))
