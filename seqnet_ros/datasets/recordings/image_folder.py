"""A folder of images as a recording."""

import logging
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from os import PathLike
from pathlib import Path

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_ros.datasets.recordings.image_times import ImageTimes, find_times

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm',
                  '.pnm')
DEFAULT_RATE_HZ = 10.0

_logger = logging.getLogger(__name__)


def list_images(folder: Path) -> list[Path]:
    """Return the images directly in a folder in natural order: ``2.jpg`` before ``10.jpg``."""
    files = [file for file in folder.iterdir() if is_image(file)]
    return sorted(files, key=lambda file: (natural_key(file.stem), file.name))


def is_image(file: Path) -> bool:
    """Return whether a file is an image by its name; hidden files are none.

    A link to a file that is gone counts: it is reported as an image that cannot be read.
    """
    return (file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith('.')
            and (file.is_file() or (file.is_symlink() and not file.exists())))


def natural_key(name: str) -> list[Decimal | str]:
    """Return a sort key by which numbers within names count as numbers.

    A number with a point is a decimal, ``1.25`` before ``1.5``, unless a letter is before it: in
    ``cam0.9`` and ``cam0.10`` both are counters.
    """
    parts = re.split(r'((?<![A-Za-z])[0-9]+\.[0-9]+|[0-9]+)', name)
    return [Decimal(part) if place % 2 else part.lower() for place, part in enumerate(parts)]


class ImageFolderSource:
    """A `FrameSource` of the images in a folder, stamped by their times, else at a fixed rate."""

    pose_origin = 'none'

    def __init__(self, path: str | PathLike[str], rate: float | None = None) -> None:
        """List the folder.

        Args:
            path: the folder; sub-folders, hidden and other files are ignored.
            rate: images per second, from 0; None takes the times of the images, see
                `seqnet_ros.datasets.recordings.image_times`, and 10 where there are none.

        Raises:
            InputError: the folder cannot be listed or holds no image, or a list of times is
                malformed.
        """
        folder = Path(path)
        self.name = str(folder)
        try:
            files = list_images(folder)
            if not files:
                raise InputError(
                    f'{folder} holds no images, found {_summarise(folder)}, expected files ending '
                    f'in {", ".join(IMAGE_SUFFIXES)}')
        except OSError as error:
            raise InputError(f'{folder} cannot be listed: {error.strerror or error}') from error
        times = find_times(folder, files) if rate is None else None
        self.timed = times is not None
        if times is None:
            rate = DEFAULT_RATE_HZ if rate is None else rate
            times = ImageTimes(files, [round(i * 1e9 / rate) for i in range(len(files))], '')
        else:
            _logger.info('%s: the times of the images are from %s', folder, times.origin)
        self._times = times
        self.problems: list[str] = []

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._times.files)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images in the order of their times, else in natural order of their names."""
        for index, (file, stamp_ns) in enumerate(
                zip(self._times.files, self._times.stamps_ns, strict=True)):
            yield Frame(index, stamp_ns, partial(read_image, file), name=file.name)

    def stamp_range(self) -> tuple[int, int]:
        """Return the first and the last stamp, nanoseconds."""
        return self._times.stamps_ns[0], self._times.stamps_ns[-1]


def _summarise(folder: Path) -> str:
    found = sorted(folder.iterdir())
    if not found:
        return 'nothing'
    below = [item for item in found if item.is_dir() and any(map(is_image, item.iterdir()))]
    shown = ', '.join(item.name for item in found[:3])
    more = '' if len(found) <= 3 else f' and {len(found) - 3} more'
    hint = f' (there are images in {below[0]})' if below else ''
    return f'{shown}{more}{hint}'
