"""Mapillary Street-Level Sequences, official layout, as the sequences of JIST and SeqVLAD.

Read in place, or rewritten as folders of sequences; both give the same frames::

    frames = read_official('/data/msls', 'test', 'database')            # as `read_frames` would
    frames.write('/data/msls_sequences/test/database')                  # hard links

SeqVLAD and JIST use their own split: the official validation cities, Copenhagen and San Francisco,
are their test cities. Panoramas are skipped, which leaves gaps in the numbers.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.jist.flat_folders import is_flat, read_flat
from seqnet_ros.datasets.jist.sequence_folders import (
    SIDES,
    SPLITS,
    FrameTable,
    Sequences,
    make_sequences,
    read_frames,
)
from seqnet_ros.datasets.jist.sequence_writer import Placement, Written, frame_name, place_images
from seqnet_ros.datasets.msls import CITIES as OFFICIAL_CITIES
from seqnet_ros.datasets.msls import PARTS, CityPart, cities_in, read_city_part
from seqnet_ros.datasets.utm_grid import to_utm, truncated

CITIES = {
    'train': ('trondheim', 'london', 'boston', 'melbourne', 'helsinki', 'tokyo', 'toronto',
              'saopaulo', 'moscow', 'zurich', 'paris', 'bangkok', 'budapest', 'austin', 'berlin',
              'ottawa', 'phoenix', 'goa', 'amman', 'nairobi'),
    'val': ('amsterdam', 'manila'),
    'test': ('cph', 'sf'),
}
"""Cities by split."""

_logger = logging.getLogger(__name__)
_PART_OF_SIDE = dict(zip(SIDES, PARTS, strict=True))


@dataclass(frozen=True, eq=False)
class OfficialFrames:
    """Frames of the official layout.

    Attributes:
        table: the frames; their paths are relative to the official folder.
        keys: of the images.
        dates: when they were taken, ``YYYYMMDD``; empty where unknown.
        panoramas: images skipped because they are panoramas.
        problems: the error of each skipped row.
        in_subtask: bool ``[F]``, the frames of the subtask; all if none was requested.
    """

    table: FrameTable
    keys: tuple[str, ...]
    dates: tuple[str, ...]
    panoramas: int
    problems: tuple[str, ...]
    in_subtask: np.ndarray

    def names(self) -> Iterator[str]:
        """Yield the path of each frame in the folders of sequences, relative to the side."""
        table = self.table
        for row, (key, date) in enumerate(zip(self.keys, self.dates, strict=True)):
            folder = int(table.folders[row])
            sequence, city = table.names[folder], table.cities[folder]
            east, north = table.positions[row].tolist()
            name = frame_name(east, north, sequence, int(table.numbers[row]), key, city, date)
            yield f'{sequence}/{name}'

    def write(self, folder: str | PathLike[str], copy: bool = False,
              progress: Callable[[int], None] = lambda _: None) -> Written:
        """Put the images into folders of sequences; an interrupted run can be repeated.

        Args:
            folder: side of a split, on the same disk where links are wanted.
            copy: copy images instead of linking them.
            progress: called with the number of images done.

        Raises:
            InputError: the folder cannot be written, or another file is in the place of an image.
        """
        placements = (Placement(self.table.path(row), Path(folder) / name)
                      for row, name in enumerate(self.names()))
        return place_images(placements, copy, progress)


def cities_by_split(folder: str | PathLike[str],
                    cities: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Return the cities of each split that has any.

    Args:
        folder: the official folder, which holds ``train_val``.
        cities: only these; all available where empty.

    Raises:
        InputError: it is not the official folder, or a city is unknown or missing.
    """
    root = Path(folder).absolute()
    there = set(cities_in(root))
    known = [city for split in SPLITS for city in CITIES[split]]
    for city in cities:
        if city not in known:
            raise InputError(f'{city!r} is not a city with published positions, expected some of '
                             f'{", ".join(known)}')
    missing = [city for city in cities if city not in there]
    if missing or not there.intersection(known):
        raise InputError(f'{root / OFFICIAL_CITIES} holds none of {", ".join(missing or known)}')
    wanted = there.intersection(cities or known)
    found = {split: tuple(city for city in CITIES[split] if city in wanted) for split in SPLITS}
    return {split: chosen for split, chosen in found.items() if chosen}


def read_official(folder: str | PathLike[str], split: str, side: str,
                  cities: Sequence[str] = (), subtask: str | None = None) -> OfficialFrames:
    """Read one side of a split from the official csv files; no image is opened.

    Rows without position or frame number are counted and skipped.

    Args:
        folder: the official folder, which holds ``train_val``.
        split: 'train', 'val' or 'test' of JIST.
        side: 'database' or 'queries'.
        cities: only these; all available cities of the split if empty.
        subtask: one of `SUBTASKS`, whose frames are marked, and positions are the official ones of
            ``postprocessed.csv``; None marks all.

    Raises:
        InputError: split, side, city or subtask are unknown, no city is available, or a file or
            column is missing.
    """
    root = Path(folder).absolute()
    if side not in SIDES:
        raise InputError(f'side is {side!r}, expected {" or ".join(SIDES)}')
    parts = {city: read_city_part(root, city, _PART_OF_SIDE[side], strict=False)
             for city in _cities_of_split(root, split, cities)}
    problems = tuple(problem for part in parts.values() for problem in part.problems)
    if not any(part.frames for part in parts.values()):
        raise InputError(f'{root} has no usable image of {split} {side}'
                         + (f': {problems[0]}' if problems else ''))
    return _combine(root, parts, problems, subtask)


def is_official(folder: Path, split: str) -> bool:
    """Return whether a folder is the official one and holds no folder of the split."""
    return not (folder / split).is_dir() and (folder / OFFICIAL_CITIES).is_dir()


def split_folder(folder: Path, split: str) -> Path:
    """Return the folder of a split: ``<split>``, ``images/<split>`` or the folder itself.

    That it is missing is left to the reader of the images.

    Raises:
        InputError: the split is unknown.
    """
    if split not in SPLITS:
        raise InputError(f'split is {split!r}, expected {", ".join(SPLITS)}')
    usual = folder / split
    choices = (usual, folder / 'images' / split, folder)
    return next((home for home in choices if all((home / side).is_dir() for side in SIDES)), usual)


def read_side(folder: str | PathLike[str], split: str, side: str, cities: Sequence[str] = (),
              compat: bool = False) -> FrameTable:
    """Read one side of a split: of folders of sequences, of single images, or the official folder.

    Rows of the official tables that cannot be used are logged.

    Args:
        folder: holds the split, also in ``images``, or is the split itself, or the official folder,
            which holds ``train_val``.
        split: 'train', 'val' or 'test'.
        side: 'database' or 'queries'.
        cities: only sequences of these; all where empty.
        compat: see `read_frames`.

    Raises:
        InputError: as `read_frames`, `read_flat` or `read_official`.
    """
    return _read_marked(folder, split, side, cities, compat)[0]


def _read_marked(folder: str | PathLike[str], split: str, side: str, cities: Sequence[str],
                 compat: bool, subtask: str | None = None) -> tuple[FrameTable, np.ndarray]:
    """Return the frames of one side, and which of them, bool ``[F]``, are of the subtask."""
    root = Path(folder)
    if not is_official(root, split):
        if subtask is not None:
            raise InputError(f'the subtask {subtask} was requested of {root}, expected the '
                             f'official folder of MSLS, which holds {OFFICIAL_CITIES}')
        home = split_folder(root, split)
        table = _of_cities(read_flat(home, side), cities) if is_flat(home / side) else (
            read_frames(home, side, cities, compat))
        return table, np.ones(len(table), dtype=bool)
    found = read_official(root, split, side, cities, subtask)
    if found.problems:
        _logger.warning('skipped %d rows of %s %s, such as: %s', len(found.problems), split,
                        side, found.problems[0])
    return found.table, found.in_subtask


def _of_cities(frames: FrameTable, cities: Sequence[str]) -> FrameTable:
    if not cities:
        return frames
    kept = np.isin(np.array(frames.cities)[frames.folders], cities)
    if not kept.any():
        known = ', '.join(sorted(set(frames.cities) - {''})) or 'no city in their names'
        raise InputError(f'no image in {frames.root} is of {", ".join(cities)}, found {known}')
    return frames.take(np.flatnonzero(kept))


def read_windows(folder: str | PathLike[str], split: str, length: int, cities: Sequence[str] = (),
                 reverse: bool = False, compat: bool = False,
                 subtask: str | None = None) -> tuple[Sequences, Sequences]:
    """Read the sequences of a split, without unused frames.

    Args:
        folder: as for `read_side`.
        split: 'train', 'val' or 'test'.
        length: frames per sequence.
        cities: only sequences of these; all where empty.
        reverse: reverse the sequences of the database.
        compat: as the published code does, see `read_frames` and `make_sequences`.
        subtask: only sequences whose center frame is of this subtask of MSLS, as its official
            code selects them; all where None.

    Returns:
        The sequences of the database and of the queries.

    Raises:
        InputError: a side is missing, holds no sequence of this length, or a name cannot be read.
    """
    made = []
    for side in SIDES:
        table, marked = _read_marked(folder, split, side, cities, compat, subtask)
        found = make_sequences(table, length, reverse and side == SIDES[0], compat)
        rows = np.flatnonzero(marked[found.matched[:, found.matched.shape[1] // 2]])
        if not rows.size:
            raise InputError(f'none of the {len(found)} sequences of {split} {side} is of the '
                             f'subtask {subtask}, expected at least one')
        made.append(found.take(rows).compact())
    return made[0], made[1]


def _cities_of_split(root: Path, split: str, cities: Sequence[str]) -> tuple[str, ...]:
    if split not in SPLITS:
        raise InputError(f'split is {split!r}, expected {", ".join(SPLITS)}')
    foreign = [city for city in cities if city not in CITIES[split]]
    if foreign:
        raise InputError(f'{foreign[0]!r} is not a city of {split}, expected some of '
                         f'{", ".join(CITIES[split])}')
    found = cities_by_split(root, cities)
    if split not in found:
        raise InputError(f'{root / OFFICIAL_CITIES} holds none of {", ".join(CITIES[split])}')
    return found[split]


def _combine(root: Path, parts: dict[str, CityPart], problems: tuple[str, ...],
             subtask: str | None) -> OfficialFrames:
    """Return the frames of several cities, sorted by the names of their sequences."""
    found = [(frame.sequence, frame.number, frame.key, frame.date.replace('-', ''), city, place,
              part.image(frame).relative_to(root).as_posix(), chosen)
             for city, part in parts.items()
             for frame, place, chosen in zip(
                 part.frames,
                 _projected(part) if subtask is None else part.read_projected().tolist(),
                 [True] * len(part.frames) if subtask is None else part.read_subtask(subtask),
                 strict=True)]
    found.sort(key=lambda row: row[:3])
    sequences, numbers, keys, dates, cities, places, paths, chosen = zip(*found, strict=True)
    names, first, folders = np.unique(sequences, return_index=True, return_inverse=True)
    table = FrameTable(root, paths, np.array(places), np.array(numbers), folders,
                       tuple(names.tolist()), tuple(cities[row] for row in first.tolist()))
    return OfficialFrames(table, keys, dates, sum(part.panoramas for part in parts.values()),
                          problems, np.array(chosen, dtype=bool))


def _projected(part: CityPart) -> list[tuple[float, float]]:
    """Return easting and northing as names of images state them, cut off after centimeters."""
    if not part.frames:
        return []
    earth = np.array([(frame.latitude, frame.longitude) for frame in part.frames])
    return [(float(truncated(east, 7, 2)), float(truncated(north, 7, 2)))
            for east, north in to_utm(earth[:, 0], earth[:, 1]).positions.tolist()]
