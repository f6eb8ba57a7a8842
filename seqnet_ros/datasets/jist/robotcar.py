"""Oxford RobotCar laps as the sequences of JIST and SeqVLAD.

A lap is a folder of images named by their time in microseconds, and a csv file of positions; one
image every two meters becomes a frame::

    positions = find_positions('robotcar', '2014-12-16-18-44-24')
    lap = read_lap('robotcar/2014-12-16-18-44-24/stereo/left', positions, '2014-12-16-18-44-24')
    write_lap(lap, 'sequences/test/queries')

Maddern et al., "1 Year, 1000km: The Oxford RobotCar Dataset", IJRR 2017; the laps are those of
SeqVLAD (RA-L 2022).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import cv2
import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import decode, image_from_raw, read_encoded
from seqnet_ros.datasets.csv_tables import finite, read_rows, whole
from seqnet_ros.datasets.jist.sequence_writer import Placement, Written, place_images, write_jpeg
from seqnet_ros.datasets.recordings.image_folder import list_images

LAPS = {
    ('train', 'queries'): '2014-12-17-18-18-43', ('train', 'database'): '2014-12-16-09-14-09',
    ('val', 'queries'): '2015-02-03-08-45-10', ('val', 'database'): '2015-11-13-10-28-08',
    ('test', 'queries'): '2014-12-16-18-44-24', ('test', 'database'): '2014-11-18-13-20-12',
}
"""The laps of the papers, by split and side."""

IMAGES = Path('stereo', 'left')
"""Folder of the left camera's images in a lap."""

POSITION_KINDS = ('rtk', 'ins', 'gps')
"""Kinds of positions, most accurate first; not every lap has all of them."""

SPACING_M = 2.0
_MAX_GAP_S = 1.0
_SEQUENCE = 'sequence'
_BAYER = 'bayer_gbrg8'


@dataclass(frozen=True, eq=False)
class Lap:
    """The images of a lap that have a position, in the order of their stamps.

    Attributes:
        name: of the lap.
        images: N image files.
        stamps: microseconds, int64 ``[N]``.
        positions: easting and northing, meters, float64 ``[N, 2]``.
        unplaced: images without a position near in time.
        broken: number of invalid rows of the position file.
    """

    name: str
    images: tuple[Path, ...]
    stamps: np.ndarray
    positions: np.ndarray
    unplaced: int
    broken: int


def find_positions(folder: str | PathLike[str], lap: str,
                   kinds: Sequence[str] = POSITION_KINDS) -> Path:
    """Return the most exact positions that a lap has.

    The files looked for are, for each kind, ``<lap>/rtk.csv``, ``<lap>/gps/rtk.csv`` and
    ``rtk/<lap>/rtk.csv``.

    Args:
        folder: holds the laps.
        lap: its name.
        kinds: what to look for, in this order.

    Raises:
        InputError: there are none.
    """
    root = Path(folder)
    names = [Path(place, f'{kind}.csv') for kind in kinds
             for place in (Path(lap), Path(lap, 'gps'), Path(kind, lap))]
    for name in names:
        if (root / name).is_file():
            return root / name
    raise InputError(f'{root} has no positions of lap {lap}, expected one of '
                     f'{", ".join(map(str, names))}')


def read_lap(images: str | PathLike[str], positions: str | PathLike[str], name: str,
             max_gap_s: float = _MAX_GAP_S) -> Lap:
    """Give each image the position that is nearest in time.

    Args:
        images: folder of images named by their stamps.
        positions: csv file with the columns ``timestamp``, ``northing`` and ``easting``.
        name: of the lap, such as its date and time.
        max_gap_s: images further from any position than this are counted and skipped, seconds.

    Raises:
        InputError: the files cannot be used, or no image is near a position.
    """
    files, stamps = _stamped_images(Path(images))
    table, broken = _read_positions(Path(positions))
    nearest = _nearest(table[0], stamps)
    near = np.abs(table[0][nearest] - stamps) <= max_gap_s * 1e6
    if not near.any():
        raise InputError(
            f'no image of {images} is within {max_gap_s:g} s of a position of {positions}: images '
            f'from {stamps[0]} to {stamps[-1]}, positions from {table[0][0]} to {table[0][-1]} us')
    rows = np.flatnonzero(near)
    return Lap(name, tuple(files[row] for row in rows.tolist()), stamps[rows],
               table[1][nearest[rows]], int((~near).sum()), broken)


def _stamped_images(folder: Path) -> tuple[list[Path], np.ndarray]:
    try:
        files = list_images(folder)
    except OSError as error:
        raise InputError(f'{folder} cannot be listed: {error.strerror or error}') from error
    if not files:
        raise InputError(f'{folder} holds no images, expected a lap of RobotCar')
    stamps = [whole(file.stem) for file in files]
    if None in stamps:
        raise InputError(f'image {files[stamps.index(None)]} is not named by its time, expected '
                         'integer microseconds')
    order = np.argsort(np.array(stamps, dtype=np.int64), kind='stable')
    return [files[row] for row in order.tolist()], np.array(stamps, dtype=np.int64)[order]


def _read_positions(file: Path) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Return stamps and positions, sorted by stamp, and the number of broken rows."""
    stamps, positions = [], []
    broken = 0
    for _, (stamp, north, east) in read_rows(file, ('timestamp', 'northing', 'easting')):
        time, place = whole(stamp), (finite(east), finite(north))
        if time is None or None in place:
            broken += 1
        else:
            stamps.append(time)
            positions.append(place)
    if not stamps:
        raise InputError(f'{file} holds no position, found {broken} broken rows')
    order = np.argsort(np.array(stamps), kind='stable')
    return (np.array(stamps)[order], np.array(positions, dtype=np.float64)[order]), broken


def _nearest(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the row of the known time nearest to each requested one; the earlier of two."""
    after = np.clip(np.searchsorted(known, asked), 1, max(1, len(known) - 1))
    if len(known) == 1:
        return np.zeros(len(asked), dtype=np.int64)
    return np.where(asked - known[after - 1] <= known[after] - asked, after - 1, after)


def thin(positions: np.ndarray, spacing: float = SPACING_M) -> np.ndarray:
    """Return the rows of positions ``[N, 2]`` that are this far (meters) from the last kept one.

    The first is kept.
    """
    kept: list[int] = []
    last = np.full(2, np.inf)
    for row, place in enumerate(positions):
        if not np.hypot(*(place - last)) < spacing:
            kept.append(row)
            last = place
    return np.array(kept, dtype=np.int64)


def frame_names(lap: Lap, spacing: float = SPACING_M) -> tuple[np.ndarray, list[str]]:
    """Return the rows of a lap that become frames, and ``@north@east@lap@number@stamp@.jpg``.

    Raises:
        InputError: the name of the lap contains @ or a slash.
    """
    if '@' in lap.name or '/' in lap.name:
        raise InputError(f'lap {lap.name!r} cannot be part of the name of an image, expected '
                         'neither @ nor /')
    rows = thin(lap.positions, spacing)
    names = [f'@{north:.6f}@{east:.6f}@{lap.name}@{number}@{stamp}@.jpg'
             for number, ((east, north), stamp) in enumerate(zip(
                 lap.positions[rows].tolist(), lap.stamps[rows].tolist(), strict=True))]
    return rows, names


def write_lap(lap: Lap, folder: str | PathLike[str], spacing: float = SPACING_M,
              progress: Callable[[int], None] = lambda _: None) -> Written:
    """Write a lap as one sequence, demosaicing raw images; an interrupted run can be repeated.

    Args:
        lap: see `read_lap`.
        folder: side of a split, such as ``robotcar/test/database``.
        spacing: meters between frames, at least.
        progress: called with the number of frames done.

    Raises:
        InputError: the folder cannot be written, or holds other images.
    """
    rows, names = frame_names(lap, spacing)
    target = Path(folder) / _SEQUENCE
    _refuse_others(target, set(names))
    images = copied = lost = 0
    first_lost = ''
    for done, (row, name) in enumerate(zip(rows.tolist(), names, strict=True), 1):
        result = _write_frame(lap.images[row], target / name)
        images += result.images
        copied += result.copied
        lost += result.lost
        first_lost = first_lost or result.first_lost
        progress(done)
    return Written(images, copied, lost, first_lost)


def _refuse_others(folder: Path, names: set[str]) -> None:
    """Check that frames of two laps, or two spacings, do not become one sequence."""
    found = list_images(folder) if folder.is_dir() else []
    others = [file for file in found if file.name not in names]
    if others:
        raise InputError(f'{others[0]} exists and is of another lap or spacing, expected a folder '
                         'without other images')


def _write_frame(source: Path, target: Path) -> Written:
    if source.suffix.lower() in ('.jpg', '.jpeg'):
        return place_images([Placement(source, target)])
    if target.exists():
        return Written(1, 1, 0, '')
    try:
        pixels = read_raw(source)
    except InputError as error:
        return Written(0, 0, 1, str(error))
    write_jpeg(pixels, target)
    return Written(1, 1, 0, '')


def read_raw(path: Path) -> np.ndarray:
    """Read an image of the stereo camera, RGB uint8 ``[H, W, 3]``; a mosaic is demosaiced.

    Raises:
        InputError: the file is missing or damaged.
    """
    pixels = decode(read_encoded(path), f'image {path}', cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint8:
        raise InputError(f'image {path} holds {pixels.dtype}, expected 8 bit PNG data')
    if pixels.ndim == 2:
        height, width = pixels.shape
        return image_from_raw(pixels, height, width, _BAYER, step=width)
    return cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2RGB)
