"""A video file as a recording."""

import logging
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import cv2
import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import check_size
from seqnet_ros.datasets.recordings.frames import Frame

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mkv', '.mov', '.m4v', '.webm', '.mpg', '.mpeg', '.wmv')

_logger = logging.getLogger(__name__)


class VideoSource:
    """A `FrameSource` of a video's images, stamped by the video's frame rate from 0.

    Images are decoded one after the other while iterating, each once: a codec cannot skip.
    """

    pose_origin = 'none'

    def __init__(self, path: str | PathLike[str], rate: float | None = None) -> None:
        """Open the video to learn its length and rate.

        Args:
            path: the video file.
            rate: images per second; None takes the video's.

        Raises:
            InputError: the file is missing, no video that OpenCV reads, holds no image, or states
                no rate and none is given.
        """
        self.name = str(path)
        self._path = Path(path)
        capture = self._open()
        try:
            if not capture.grab():
                raise InputError(f'video {self.name} contains no decodable image')
            self._rate = rate or _stated_rate(capture, self.name)
            self._length = _count_images(capture)
        finally:
            capture.release()

    def __len__(self) -> int:
        """Return the number of images, as the video states it until it was read to its end."""
        return self._length

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images in their order."""
        capture = self._open()
        index = 0
        try:
            while True:
                found, pixels = capture.read()
                if not found:
                    break
                yield self._make_frame(index, pixels)
                index += 1
        finally:
            capture.release()
        self._note_length(index)

    def stamp_range(self) -> tuple[int, int]:
        """Return the first and the last stamp, nanoseconds."""
        return 0, round((self._length - 1) * 1e9 / self._rate)

    def _make_frame(self, index: int, pixels: np.ndarray) -> Frame:
        return Frame(index, round(index * 1e9 / self._rate),
                     lambda: cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB),
                     name=f'{self._path.name}#{index}')

    def _note_length(self, found: int) -> None:
        if found != self._length:
            _logger.warning(
                'video %s ended after %d images, its header states %d', self.name, found,
                self._length)
            self._length = found

    def _open(self) -> cv2.VideoCapture:
        if not self._path.is_file():
            raise InputError(f'video {self.name} does not exist')
        capture = cv2.VideoCapture(self.name)
        if not capture.isOpened():
            raise InputError(
                f'video {self.name} ({self._path.stat().st_size} bytes) cannot be opened, expected '
                'a complete video file in a format that OpenCV reads')
        width, height = (int(capture.get(one)) for one in (cv2.CAP_PROP_FRAME_WIDTH,
                                                           cv2.CAP_PROP_FRAME_HEIGHT))
        try:
            check_size(width, height, f'video {self.name}')
        except InputError:
            capture.release()
            raise
        return capture


def _stated_rate(capture: cv2.VideoCapture, name: str) -> float:
    rate = capture.get(cv2.CAP_PROP_FPS)
    if not (np.isfinite(rate) and rate > 0):
        raise InputError(
            f'video {name} states a frame rate of {rate:g}: specify --rate')
    return float(rate)


def _count_images(capture: cv2.VideoCapture) -> int:
    """Return the stated number of images; if none is stated, count them from the first one on."""
    stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if stated > 0:
        return stated
    count = 1
    while capture.grab():
        count += 1
    return count
