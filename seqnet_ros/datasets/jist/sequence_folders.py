"""Sequences of images with positions, in the folders that JIST and SeqVLAD train and test on.

``<root>/{train,val,test}/{database,queries}/<sequence>/<frame>.jpg``; a frame's name states its
position and number, and a sequence is a run of frames whose numbers follow each other::

    frames = read_frames('msls/test', 'database')
    database = make_sequences(frames, length=5)
    database.windows                     # [W, 5], rows of frames

- MSLS: ``@east@north@sequence@number@key@city@date@.jpg``
- Oxford RobotCar: ``@north@east@lap@number@timestamp@.jpg`` (northing first)

The layout is the one of "JIST: Joint Image and Sequence Training for Sequential Visual Place
Recognition" (RA-L 2024) and of SeqVLAD (RA-L 2022).
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.jist.at_sign_names import AtSignNames
from seqnet_ros.datasets.recordings.image_folder import IMAGE_SUFFIXES
from seqnet_ros.datasets.utm_grid import are_degrees

EXAMPLE = '@east@north@sequence@number@key@city@date@.jpg'
SPLITS = ('train', 'val', 'test')
SIDES = ('database', 'queries')

NUMBER = 4
"""Field of the number of a frame in its sequence."""
FIELDS_WITH_CITY, FIELDS_OF_ROBOTCAR = 8, 6
"""Marks in the names of MSLS and of RobotCar."""

_CITY = 6


@dataclass(frozen=True, eq=False)
class FrameTable:
    """Frames of many sequences, one sequence after the other, in the order of their numbers.

    Attributes:
        root: the paths are relative to it.
        paths: of F images.
        positions: easting and northing, meters, float64 ``[F, 2]``.
        numbers: frame numbers within the sequence, int64 ``[F]``.
        folders: int64 ``[F]``, the sequence of each frame.
        names: of the sequences.
        cities: of the sequences; empty where unknown. Coordinates of two cities may be of different
            UTM zones and cannot be compared.
    """

    root: Path
    paths: tuple[str, ...]
    positions: np.ndarray
    numbers: np.ndarray
    folders: np.ndarray
    names: tuple[str, ...]
    cities: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.paths)

    def path(self, frame: int) -> Path:
        """Return the file of one frame."""
        return self.root / self.paths[frame]

    def take(self, frames: np.ndarray) -> 'FrameTable':
        """Return some of the frames, in ascending rows."""
        return replace(self, paths=tuple(self.paths[row] for row in frames.tolist()),
                       positions=self.positions[frames], numbers=self.numbers[frames],
                       folders=self.folders[frames])

    def digest(self) -> str:
        """Return a sha256 over paths, positions, numbers and cities."""
        digest = hashlib.sha256()
        for texts in (self.paths, self.names, self.cities):
            digest.update(os.fsencode('\0'.join(texts)) + b'\n')
        for array in (self.positions, self.numbers, self.folders):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Sequences:
    """Windows of successive frames.

    Attributes:
        frames: the frames that they are made of.
        windows: int64 ``[W, L]``, rows of ``frames``, in the order in which they are described.
        matched: int64 ``[W, L']``, the frames that decide which windows show the same place. The
            same as ``windows``, except for even lengths as in the published code.
        compat: made as in the published code.
    """

    frames: FrameTable
    windows: np.ndarray
    matched: np.ndarray
    compat: bool = False

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.windows)

    @property
    def cities(self) -> np.ndarray:
        """The city of each window, text ``[W]``; empty where unknown."""
        return np.array(self.frames.cities)[self.frames.folders[self.windows[:, 0]]]

    def take(self, rows: np.ndarray) -> 'Sequences':
        """Return some of the windows."""
        return replace(self, windows=self.windows[rows], matched=self.matched[rows])

    def compact(self) -> 'Sequences':
        """Return the same windows of a table without the frames that none of them uses."""
        used = np.zeros(len(self.frames), dtype=bool)
        used[self.windows] = True
        used[self.matched] = True
        position = used.cumsum() - 1
        return replace(self, frames=self.frames.take(np.flatnonzero(used)),
                       windows=position[self.windows], matched=position[self.matched])

    def without_frames(self, lost: np.ndarray) -> 'Sequences':
        """Return the windows without any of the frames of a mask, bool ``[F]``.

        Raises:
            InputError: no window remains.
        """
        rows = np.flatnonzero(~lost[self.windows].any(axis=1))
        if not rows.size:
            raise InputError(f'each of the {len(self)} windows contains one of {int(lost.sum())} '
                             'unreadable frames')
        return self.take(rows)


def read_frames(split: str | PathLike[str], side: str, cities: Sequence[str] = (),
                compat: bool = False) -> FrameTable:
    """Read the frames of one side of a split from their names; no image is opened.

    Args:
        split: folder such as ``<root>/test``.
        side: 'database' or 'queries'.
        cities: only sequences of these; all where empty.
        compat: a sequence is of a city where the relative path of its first image contains the
            text, as in the published code; otherwise its name has to state that city.

    Raises:
        InputError: the folder is missing or holds no sequence, no sequence is of one of the
            cities, or a name lacks a position or a frame number; the message names it.
    """
    if side not in SIDES:
        raise InputError(f'side is {side!r}, expected {" or ".join(SIDES)}')
    root = Path(split).absolute()
    listed = _list_sequences(root, side)
    if cities:
        listed = _of_cities(listed, cities, compat, root / side)
    return _to_table(root, side, listed)


def _list_sequences(root: Path, side: str) -> list[tuple[str, list[str]]]:
    """Return the names of all sequences and of their images, both sorted."""
    folder = root / side
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries
                           if entry.is_dir() and not entry.name.startswith('.'))
        listed = [(name, _list_images(folder / name)) for name in names]
    except OSError as error:
        raise InputError(f'{error.filename or folder} cannot be listed: '
                         f'{error.strerror or error}') from error
    listed = [(name, images) for name, images in listed if images]
    if not listed:
        raise InputError(f'{folder} holds no sequence, expected folders of images named like '
                         f'{EXAMPLE}')
    return listed


def _list_images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries
                      if entry.name.lower().endswith(IMAGE_SUFFIXES)
                      and not entry.name.startswith('.'))


def _of_cities(listed: list[tuple[str, list[str]]], cities: Sequence[str], compat: bool,
               folder: Path) -> list[tuple[str, list[str]]]:
    stated = cities_of([images[0] for _, images in listed])
    kept: set[int] = set()
    for city in cities:
        rows = [row for row, (name, images) in enumerate(listed)
                if (city in f'{folder.name}/{name}/{images[0]}' if compat else stated[row] == city)]
        if not rows:
            known = ', '.join(sorted(set(stated) - {''})) or 'no city in their names'
            raise InputError(f'no sequence in {folder} is of {city!r}, found {known}')
        kept.update(rows)
    return [listed[row] for row in sorted(kept)]


def cities_of(image_names: Sequence[str]) -> tuple[str, ...]:
    """Return the cities that names of images state; empty where a name states none."""
    names = AtSignNames.of(image_names, EXAMPLE)
    known = names.field_counts() >= FIELDS_WITH_CITY
    return tuple(os.fsdecode(text) if has else ''
                 for text, has in zip(names.texts(_CITY).tolist(), known.tolist(), strict=True))


def _to_table(root: Path, side: str, listed: list[tuple[str, list[str]]]) -> FrameTable:
    paths = [f'{side}/{name}/{image}' for name, images in listed for image in images]
    counts = np.array([len(images) for _, images in listed])
    folders = np.repeat(np.arange(len(listed)), counts)
    positions, numbers = parse_names(paths)
    if are_degrees(positions, folders):
        raise InputError(f'image {paths[0]} states the position {positions[0, 0]:g}, '
                         f'{positions[0, 1]:g}, and all of {root / side} look like degrees, '
                         'expected easting and northing in meters (UTM)')
    order = np.lexsort((numbers, folders))
    return FrameTable(root, tuple(paths[row] for row in order.tolist()), positions[order],
                      numbers[order], folders, tuple(name for name, _ in listed),
                      cities_of([images[0] for _, images in listed]))


def parse_names(paths: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read positions and frame numbers from the names of images.

    Returns:
        Easting and northing, float64 ``[N, 2]``, and frame numbers, int64 ``[N]``.

    Raises:
        InputError: a name lacks one of them; the message names it.
    """
    names = AtSignNames.of(paths, EXAMPLE)
    fields = names.numbers({'first coordinate': 1, 'second coordinate': 2,
                            'frame number': NUMBER})
    first, second, numbers = fields.values()
    fractions = np.flatnonzero(numbers != np.round(numbers))
    if fractions.size:
        row = int(fractions[0])
        raise InputError(f'image {paths[row]} has the frame number {numbers[row]:g}, expected a '
                         'whole number')
    north_first = names.field_counts() == FIELDS_OF_ROBOTCAR
    positions = np.stack([np.where(north_first, second, first),
                          np.where(north_first, first, second)], axis=1)
    return positions, numbers.astype(np.int64)


def make_sequences(frames: FrameTable, length: int, reverse: bool = False,
                   compat: bool = False) -> Sequences:
    """Find every run of ``length`` frames whose numbers follow each other, with stride 1.

    Args:
        frames: of many sequences.
        length: frames per window.
        reverse: windows run from the newest to the oldest frame.
        compat: even lengths as in the published code: windows are built one frame longer, the
            matches are those of the longer windows, and the last frame is cut off after windows
            have been reversed. Odd lengths are the same either way.

    Raises:
        InputError: the length is below 1, or no run is that long.
    """
    if length < 1:
        raise InputError(f'the sequence length is {length}, expected 1 or more')
    built = length + 1 if compat and length % 2 == 0 else length
    follows = (np.diff(frames.numbers) == 1) & (np.diff(frames.folders) == 0)
    run = np.concatenate([[0], np.cumsum(~follows)])
    # Two frames at this distance are in one run if all frames between them are.
    first = np.flatnonzero(run[: max(0, len(run) - built + 1)] == run[built - 1:])
    if not first.size:
        longest = int(np.bincount(run).max())
        single = ': the names state no order of the images, so only one can be searched for'
        raise InputError(f'no {built} frames in {frames.root} have successive numbers, expected '
                         'longer sequences or shorter windows'
                         + (single if longest == 1 else f': the longest run is of {longest}'))
    steps = np.arange(built)[::-1] if reverse else np.arange(built)
    matched = first[:, None] + steps
    return Sequences(frames, matched[:, :length], matched, compat)
