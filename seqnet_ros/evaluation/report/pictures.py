"""Small pictures of frames for the report, within a budget of bytes."""

import base64
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.replay.recordings import Recordings

BUDGET = 10_000_000
"""Bytes of all pictures; as text in the page they take a third more."""
WIDTHS = (400, 320, 240, 160, 120, 80, 64)
_QUALITY = 60
_SAMPLE = 16
_SMALLEST = 700
_RESERVE = 0.92


def data_uri(content: tuple[str, bytes]) -> str:
    """Return a media type and bytes as a data URI."""
    return f'data:{content[0]};base64,{base64.b64encode(content[1]).decode()}'


def png(picture: np.ndarray) -> tuple[str, bytes]:
    """Return a gray image, uint8 ``[H, W]``, as a media type and bytes without loss."""
    return 'image/png', cv2.imencode('.png', picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()


class Pictures:
    """Reads frames once more and keeps them small.

    Args:
        sides: recordings and the numbers of their frames that are wanted, the most wanted first.
        budget: bytes in all.

    Attributes:
        found: for each side, WebP by number of the frame.
    """

    def __init__(self, sides: Sequence[tuple[Recordings | None, Sequence[int]]],
                 budget: int = BUDGET) -> None:
        sides = [(recordings, list(dict.fromkeys(wanted)) if recordings is not None else [])
                 for recordings, wanted in sides]
        total = sum(len(wanted) for _, wanted in sides)
        most = budget // _SMALLEST
        if total > most:
            sides = [(recordings, wanted[: len(wanted) * most // total])
                     for recordings, wanted in sides]
            total = sum(len(wanted) for _, wanted in sides)
        self._budget = budget
        self.found: list[dict[int, bytes]] = [{} for _ in sides]
        if total:
            self._read(sides, total)

    def _read(self, sides: Sequence[tuple[Recordings | None, Sequence[int]]], total: int) -> None:
        width = self._fitting_width(sides, total)
        for side, (recordings, wanted) in enumerate(sides):
            for number, image in _images(recordings, set(wanted)):
                self.found[side][number] = encode(image, width)
        while self._bytes() > self._budget and width > WIDTHS[-1]:
            width = next(smaller for smaller in WIDTHS if smaller < width)
            for found in self.found:
                for number, content in found.items():
                    found[number] = encode(_decode(content), width)

    def _fitting_width(self, sides: Sequence[tuple[Recordings | None, Sequence[int]]],
                       total: int) -> int:
        """Return the largest width at which a sample of the pictures fits the budget."""
        share = _RESERVE * self._budget / total
        sample: list[np.ndarray] = []
        for recordings, wanted in sides:
            chosen = sorted(wanted)[:: max(1, len(wanted) // _SAMPLE)]
            sample.extend(image for _, image in _images(recordings, set(chosen)))
        for width in WIDTHS:
            if np.mean([len(encode(image, width)) for image in sample] or [0]) <= share:
                return width
        return WIDTHS[-1]

    def _bytes(self) -> int:
        return sum(len(content) for found in self.found for content in found.values())


def _images(recordings: Recordings | None, wanted: set[int]) -> Iterable[tuple[int, np.ndarray]]:
    if recordings is None or not wanted:
        return
    last = max(wanted)
    for found in recordings:
        if found.number in wanted:
            try:
                yield found.number, found.frame.read()
            except InputError:
                continue
        if found.number >= last:
            return


def encode(image: np.ndarray, width: int) -> bytes:
    """Return an RGB image as WebP, no wider than this."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    if width < image.shape[1]:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode('.webp', cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                        [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])[1].tobytes()


def _decode(content: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
