"""The frame: one image of a recording, with its time and, where known, its pose."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One image of a recording; the pixels are decoded only when requested.

    Attributes:
        index: position in the recording, from 0.
        stamp_ns: acquisition time, integer nanoseconds.
        read: returns the image as RGB uint8 ``[H, W, 3]``; raises ``InputError`` when the
            image is damaged. Every call decodes again: call it once.
        pose: ``[x, y, z, qx, qy, qz, qw]`` float64, meters, ROS axes (REP-103), or None.
        name: name of this frame in messages (a file name, or topic and position).
    """

    index: int
    stamp_ns: int
    read: Callable[[], np.ndarray]
    pose: np.ndarray | None = None
    name: str = ''


class FrameSource(Protocol):
    """A recording: an image folder, a video or a bag. Iterating twice gives the same frames."""

    name: str
    pose_origin: str
    """Source of the poses, human-readable: 'odometry on /odom', 'poses.tum' or 'none'."""
    problems: list[str]
    """What is missing of the recording, as far as is known: more may be found while reading."""
    timed: bool
    """Whether stamps are measured times; those of a folder without times follow from a rate."""

    def __len__(self) -> int:
        """Return the number of frames."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in the order of their stamps."""
