"""A folder of images as a recording."""

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from os import PathLike
from pathlib import Path

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image
from seqnet_ros.datasets.recordings.frames import Frame

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm',
                  '.pnm')
DEFAULT_RATE_HZ = 10.0


def list_images(folder: Path) -> list[Path]:
    """Return the images directly in a folder in natural order: ``2.jpg`` before ``10.jpg``."""
    files = [file for file in folder.iterdir() if is_image(file)]
    return sorted(files, key=lambda file: (natural_key(file.stem), file.name))


def is_image(file: Path) -> bool:
    """Return whether a file is an image by its name; hidden files are none."""
    return (file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith('.')
            and file.is_file())


def natural_key(name: str) -> list[Decimal | str]:
    """Return a sort key by which numbers within names count as numbers.

    A number with a point is a decimal, ``1.25`` before ``1.5``, unless a letter is before it: in
    ``cam0.9`` and ``cam0.10`` both are counters.
    """
    parts = re.split(r'((?<![A-Za-z])[0-9]+\.[0-9]+|[0-9]+)', name)
    return [Decimal(part) if place % 2 else part.lower() for place, part in enumerate(parts)]


class ImageFolderSource:
    """A `FrameSource` of the images in a folder, stamped at a fixed rate from 0."""

    pose_origin = 'none'

    def __init__(self, path: str | PathLike[str], rate: float = DEFAULT_RATE_HZ) -> None:
        """List the folder.

        Args:
            path: the folder; sub-folders, hidden and other files are ignored.
            rate: images per second.

        Raises:
            InputError: the folder cannot be listed or holds no image.
        """
        folder = Path(path)
        self.name = str(folder)
        self._rate = rate
        try:
            self._files = list_images(folder)
            others = [file.name for file in folder.iterdir()] if not self._files else []
        except OSError as error:
            raise InputError(f'{folder} cannot be listed: {error.strerror or error}') from error
        if not self._files:
            raise InputError(
                f'{folder} holds no images, found {_summarise(others)}, expected files ending in '
                f'{", ".join(IMAGE_SUFFIXES)}')

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._files)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images in natural order of their names."""
        for index, file in enumerate(self._files):
            stamp_ns = round(index * 1e9 / self._rate)
            yield Frame(index, stamp_ns, partial(read_image, file), name=file.name)

    def stamp_range(self) -> tuple[int, int]:
        """Return the first and the last stamp, nanoseconds."""
        return 0, round((len(self) - 1) * 1e9 / self._rate)


def _summarise(names: list[str]) -> str:
    if not names:
        return 'nothing'
    shown = ', '.join(sorted(names)[:3])
    return shown if len(names) <= 3 else f'{shown} and {len(names) - 3} more'
