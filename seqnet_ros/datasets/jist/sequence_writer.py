"""Write sequences in the folders that `seqnet_ros.datasets.jist.sequence_folders` reads."""

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import explain_write_errors, whole_file
from seqnet_ros.datasets.utm_grid import truncated

_QUALITY = 92


class Placement(NamedTuple):
    """An image and its place in the data set.

    Attributes:
        source: the image.
        target: its new place.
    """

    source: Path
    target: Path


@dataclass(frozen=True)
class Written:
    """Report on the images of a data set.

    Attributes:
        images: number of images that are in place now.
        copied: number of these that are copies, because they could not be linked.
        lost: number of skipped images that are missing, empty or damaged.
        first_lost: error of the first of them; empty if there is none.
    """

    images: int
    copied: int
    lost: int
    first_lost: str


def frame_name(east: float, north: float, sequence: str, number: int, key: str, city: str,
               date: str) -> str:
    """Return ``@east@north@sequence@number@key@city@date@.jpg``.

    Coordinates have seven digits and are cut off after centimeters, as in the published data.

    Raises:
        InputError: a text contains @ or a slash.
    """
    for text in (sequence, key, city, date):
        if '@' in text or '/' in text:
            raise InputError(f'{text!r} cannot be part of the name of an image, expected neither '
                             '@ nor /')
    return (f'@{truncated(east, 7, 2)}@{truncated(north, 7, 2)}@{sequence}@{number}@{key}@{city}'
            f'@{date}@.jpg')


def place_images(placements: Iterable[Placement], copy: bool = False,
                 progress: Callable[[int], None] = lambda _: None) -> Written:
    """Link images into their new places, or copy them where the file system cannot link.

    Images that are in place already are left as they are, so that an interrupted run can be
    repeated.

    Args:
        placements: the images and their places.
        copy: always copy, for a self-contained data set.
        progress: called with the number of images done.

    Raises:
        InputError: the target cannot be written, or another file is in its place.
    """
    copied = images = lost = 0
    first_lost = ''
    for done, placement in enumerate(placements, 1):
        size = _size(placement.source)
        if not size:
            lost += 1
            first_lost = first_lost or f'{placement.source} is missing or empty'
        else:
            images += 1
            copied += _place(placement, copy, size)
        progress(done)
    return Written(images, copied, lost, first_lost)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _place(placement: Placement, copy: bool, size: int) -> bool:
    """Put an image in its place; return whether it is a copy there."""
    source, target = placement
    if target.exists():
        if _size(target) != size:
            raise InputError(f'{target} exists and differs from {source}, expected a folder '
                             'without other images')
        return not target.samefile(source)
    with explain_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not copy and _linked(source, target):
            return False
        with source.open('rb') as content, whole_file(target) as file:
            shutil.copyfileobj(content, file)
    return True


def _linked(source: Path, target: Path) -> bool:
    """Link a file; return whether the file system could."""
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without links
        return False
    return True


def write_jpeg(image: np.ndarray, path: Path) -> None:
    """Write an RGB image uint8 ``[H, W, 3]``; it appears complete or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    _, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                           [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    with whole_file(path) as file:
        file.write(data.tobytes())
