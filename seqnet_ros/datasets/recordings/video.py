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

_COMPLETE = 0.95

_logger = logging.getLogger(__name__)


class VideoSource:
    """A `FrameSource` of a video's images, stamped from 0 by the times that the video gives them.

    A phone lowers its rate in the dark: a fixed rate would be wrong then.

    Images are decoded one after the other while iterating, each once: a codec cannot skip.
    """

    pose_origin = 'none'
    timed = True

    def __init__(self, path: str | PathLike[str], rate: float | None = None) -> None:
        """Open the video to learn its length and rate.

        Args:
            path: the video file.
            rate: images per second; None takes the video's times.

        Raises:
            InputError: the file is missing, no video that OpenCV reads, holds no image, or states
                no rate and none is given.
        """
        self.name = str(path)
        self.problems: list[str] = []
        self._path = Path(path)
        capture = self._open()
        try:
            if not capture.grab():
                raise InputError(f'video {self.name} contains no decodable image, expected at '
                                 'least one')
            self._given_rate = rate
            self._rate = rate or _stated_rate(capture, self.name)
            self._length = _count_images(capture)
            self._duration_s = self._length / (capture.get(cv2.CAP_PROP_FPS) or self._rate)
        finally:
            capture.release()

    def __len__(self) -> int:
        """Return the number of images, as the video states it until it was read to its end."""
        return self._length

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images in their order."""
        capture = self._open()
        index = 0
        clock = _Clock(self._rate, fixed=self._given_rate is not None)
        try:
            while True:
                found, pixels = capture.read()
                if not found:
                    break
                stamp_ns = clock.stamp_ns(index, capture.get(cv2.CAP_PROP_POS_MSEC))
                yield self._make_frame(index, stamp_ns, pixels)
                index += 1
        finally:
            capture.release()
        self._note_length(index, clock.elapsed_s)

    def stamp_range(self) -> tuple[int, int]:
        """Return the first stamp and an estimate of the last, nanoseconds."""
        return 0, round((self._length - 1) * 1e9 / self._rate)

    def _make_frame(self, index: int, stamp_ns: int, pixels: np.ndarray) -> Frame:
        return Frame(index, stamp_ns,
                     lambda: cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB),
                     name=f'{self._path.name}#{index}')

    def _note_length(self, found: int, elapsed_s: float) -> None:
        # Containers that state a duration only make the length an estimate, wrong for a rate that
        # varies: images are missing where the time is.
        if found != self._length and elapsed_s < _COMPLETE * self._duration_s:
            problem = (f'video {self.name} ended after {found} images, its header states '
                       f'{self._length}')
            self.problems.append(problem)
            _logger.warning('%s', problem)
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


class _Clock:
    """Times of images from 0; one period after the last image where the video does not tell.

    Attributes:
        elapsed_s: time of the last image as the video tells it.
    """

    def __init__(self, rate: float, fixed: bool) -> None:
        self._period_ms = 1000 / rate
        self._fixed = fixed
        self._start_ms = 0.0
        self._last_ms = -self._period_ms

    @property
    def elapsed_s(self) -> float:
        return self._last_ms / 1000

    def stamp_ns(self, index: int, position_ms: float) -> int:
        """Return the stamp of the next image, given what the decoder says."""
        if index == 0:
            self._start_ms = position_ms if np.isfinite(position_ms) else 0.0
        elapsed_ms = position_ms - self._start_ms
        if not elapsed_ms > self._last_ms:
            elapsed_ms = self._last_ms + self._period_ms
        self._last_ms = elapsed_ms
        return round((index * self._period_ms if self._fixed else elapsed_ms) * 1e6)


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
