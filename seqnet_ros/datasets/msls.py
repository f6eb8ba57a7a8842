"""Mapillary Street-level Sequences (Warburg et al., CVPR 2020): the official folder.

It holds ``train_val/<city>/<database|query>`` with

========================  ====================================
``seq_info.csv``          ``key``, ``sequence_key``, ``frame_number``
``raw.csv``               ``key``, ``lat``, ``lon`` (degrees), ``captured_at``, ``pano``
``postprocessed.csv``     ``key``, ``easting``, ``northing`` (UTM, meters)
``images/<key>.jpg``      the image
``subtask_index.csv``     ``key``, and True or False for each of `SUBTASKS`
========================  ====================================

among other columns. Panoramas are skipped: they are not views of one camera direction. The cities
of ``test`` cannot be used, because their positions are not published.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.csv_tables import finite, read_rows, whole

CITIES = 'train_val'
"""Folder of the cities within the official folder."""

PARTS = ('database', 'query')

SUBTASKS = ('all', 's2w', 'w2s', 'o2n', 'n2o', 'd2n', 'n2d')
"""Official selections of images; summer, winter, old, new, day and night to one another."""

_FLAGS = {'true': True, 'false': False}


class MslsFrame(NamedTuple):
    """Metadata of an image.

    Attributes:
        sequence: its sequence.
        number: its number within the sequence.
        key: its own name.
        date: when it was taken, such as 2018-04-06; empty where unknown.
        latitude: degrees.
        longitude: degrees.
    """

    sequence: str
    number: int
    key: str
    date: str
    latitude: float
    longitude: float


@dataclass(frozen=True)
class CityPart:
    """One half of a city, without its panoramas.

    Attributes:
        folder: ``train_val/<city>/<database|query>``.
        frames: the images, sequence after sequence in the order in which ``seq_info.csv`` first
            names them, by number within each.
        panoramas: images skipped because they are panoramas.
        problems: the error of each skipped row.
    """

    folder: Path
    frames: tuple[MslsFrame, ...]
    panoramas: int
    problems: tuple[str, ...]

    def image(self, frame: MslsFrame) -> Path:
        """Return the file of an image; it need not exist."""
        return self.folder / 'images' / f'{frame.key}.jpg'

    def read_subtask(self, subtask: str) -> np.ndarray:
        """Read which frames belong to a subtask, bool ``[N]``.

        Raises:
            InputError: the subtask is unknown, or the table is missing or damaged or lacks a frame.
        """
        if subtask not in SUBTASKS:
            raise InputError(f'the subtask is {subtask!r}, expected one of {", ".join(SUBTASKS)}')
        file = self.folder / 'subtask_index.csv'
        found = {}
        for where, key, (text,) in _rows(file, (subtask,), _Problems(strict=True), set()):
            if text.lower() not in _FLAGS:
                raise InputError(f'{where}: {subtask} is {text!r}, expected True or False')
            found[key] = _FLAGS[text.lower()]
        for frame in self.frames:
            if frame.key not in found:
                raise InputError(_without_row(file, frame.key))
        return np.array([found[frame.key] for frame in self.frames], dtype=bool)

    def read_projected(self) -> np.ndarray:
        """Read the official easting and northing of all frames, meters, float64 ``[N, 2]``.

        Raises:
            InputError: the table is missing or damaged or lacks a frame.
        """
        file = self.folder / 'postprocessed.csv'
        problems = _Problems(strict=True)
        found = {key: _numbers(where, ('easting', 'northing'), texts, problems)
                 for where, key, texts in _rows(file, ('easting', 'northing'), problems, set())}
        for frame in self.frames:
            if frame.key not in found:
                raise InputError(_without_row(file, frame.key))
        return np.array([found[frame.key] for frame in self.frames])


@dataclass
class _Problems:
    """Handler of unusable rows: raises if strict, else records them."""

    strict: bool
    noted: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        if self.strict:
            raise InputError(problem)
        self.noted.append(problem)


def cities_in(folder: Path) -> tuple[str, ...]:
    """Return the names of the cities in the official folder, sorted.

    Raises:
        InputError: it is not such a folder.
    """
    cities = folder / CITIES
    if not cities.is_dir():
        raise InputError(f'{folder} holds no {CITIES}, expected the folder of the Mapillary '
                         'Street-level Sequences')
    return tuple(sorted(path.name for path in cities.iterdir() if path.is_dir()))


def read_city_part(folder: Path, city: str, part: str, strict: bool) -> CityPart:
    """Read ``seq_info.csv`` and ``raw.csv`` of one half of a city; no image is opened.

    Args:
        folder: the official folder.
        city: name of its folder.
        part: 'database' or 'query'.
        strict: reject the first row that is incomplete or contradicts another; otherwise such rows
            are skipped and recorded.

    Raises:
        InputError: a file or column is missing or, where strict, a row is broken; the message
            names file and line.
    """
    home = folder / CITIES / city / part
    problems = _Problems(strict)
    numbers = _read_numbers(home / 'seq_info.csv', problems)
    frames, panoramas = _read_frames(home / 'raw.csv', numbers, problems)
    order: dict[str, int] = {}
    for sequence, _ in numbers.values():
        order.setdefault(sequence, len(order))
    frames.sort(key=lambda frame: (order[frame.sequence], frame.number))
    return CityPart(home, tuple(frames), panoramas, tuple(problems.noted))


def _read_numbers(file: Path, problems: _Problems) -> dict[str, tuple[str, int]]:
    """Return sequence and frame number of each key."""
    found: dict[str, tuple[str, int]] = {}
    taken: set[tuple[str, int]] = set()
    for where, key, (sequence, text) in _rows(
            file, ('sequence_key', 'frame_number'), problems, set()):
        number = whole(text)
        if number is None:
            problems.add(f'{where}: frame_number is {text!r}, expected a whole number')
        elif (sequence, number) in taken:
            problems.add(f'{where}: frame {number} of sequence {sequence} occurs twice')
        else:
            taken.add((sequence, number))
            found[key] = sequence, number
    return found


def _read_frames(file: Path, numbers: dict[str, tuple[str, int]],
                 problems: _Problems) -> tuple[list[MslsFrame], int]:
    """Return the frames in the order of the file, and how many are panoramas."""
    frames = []
    panoramas = 0
    seen: set[str] = set()
    # The date is optional.
    for where, key, (lat, lon, pano, date) in _rows(
            file, ('lat', 'lon', 'pano', 'captured_at'), problems, seen, optional=1):
        if pano.lower() not in _FLAGS:
            problems.add(f'{where}: pano is {pano!r}, expected True or False')
        elif _FLAGS[pano.lower()]:
            panoramas += 1
        elif key not in numbers:
            problems.add(f'{where}: seq_info.csv has no usable row of key {key}')
        else:
            place = _numbers(where, ('lat', 'lon'), (lat, lon), problems)
            if place is not None:
                frames.append(MslsFrame(*numbers[key], key, date, *place))
    for key in numbers:
        if key not in seen:
            problems.add(_without_row(file, key))
    return frames, panoramas


def _without_row(file: Path, key: str) -> str:
    return f'{file} has no row of key {key}, which seq_info.csv lists'


def _numbers(where: str, columns: tuple[str, str], texts: tuple[str, ...],
             problems: _Problems) -> tuple[float, float] | None:
    first, second = (finite(text) for text in texts)
    if first is None or second is None:
        problems.add(f'{where}: {" and ".join(columns)} are {texts[0]!r} and {texts[1]!r}, '
                     'expected two numbers')
        return None
    return first, second


def _rows(file: Path, columns: tuple[str, ...], problems: _Problems, seen: set[str],
          optional: int = 0) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield the location of each row, its key, and its values in some columns.

    Keys are added to ``seen``, those of broken rows, too. The values of the last ``optional``
    columns may be empty.

    Raises:
        InputError: the file or a column is missing.
    """
    needed = ('key', *columns[:len(columns) - optional])
    for where, (key, *values) in read_rows(file, ('key', *columns)):
        repeated = key in seen
        seen.add(key)
        if '' in (key, *values[:len(needed) - 1]):
            problems.add(f'{where} is incomplete, expected {", ".join(needed)}')
        elif repeated:
            problems.add(f'{where}: key {key} occurs twice')
        else:
            yield where, key, tuple(values)
