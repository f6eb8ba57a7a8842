"""When the images of a folder were taken, where their names or a list beside them tell.

- Names that are times since 1970: of EuRoC (nanoseconds), TUM (seconds with a point), RobotCar
  (microseconds), also behind one prefix.
- Lists in the folder or in the one above: ``times.txt`` and ``timestamps.txt`` (KITTI), ``rgb.txt``
  (TUM), ``data.csv`` (EuRoC), or any of these names and that of the folder as ``.txt`` or
  ``.csv``. A line has a time and the name of an image, in columns named by a header or two without
  one; or only a time, and there are then as many as images.
"""

import csv
import logging
import re
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path, PurePath
from typing import NamedTuple

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import read_text
from seqnet_ros.datasets.recordings.time_columns import find_time_column, parse_time

_LISTS = ('times', 'timestamps', 'data', 'rgb')
_TIME_IN_NAME = re.compile(r'(?P<prefix>\D*)(?P<time>\d{9,10}\.\d+|\d{12,19})')
_DATE = re.compile(r'(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:[.,](\d+))?')
_FIRST_NS, _LAST_NS = 631_152_000 * 10**9, 4_102_444_800 * 10**9
"""1990 and 2100: a number in a name that is not a time in between is a counter."""

_logger = logging.getLogger(__name__)


class ImageTimes(NamedTuple):
    """Times of images.

    Attributes:
        files: the images that have a time, in the order of their times.
        stamps_ns: their times.
        origin: human-readable source of the times.
    """

    files: list[Path]
    stamps_ns: list[int]
    origin: str


def find_times(folder: Path, files: Sequence[Path]) -> ImageTimes | None:
    """Return the times of the images of a folder; None where nothing tells them.

    Args:
        folder: the folder.
        files: its images in the order of their names.

    Raises:
        InputError: a list names the images, but a line of it is malformed.
    """
    for place in (folder, folder.parent):
        for name in (*_LISTS, folder.absolute().name):
            for suffix in ('.txt', '.csv'):
                file = place / f'{name}{suffix}'
                if file.is_file() and (found := _from_list(file, files)) is not None:
                    return found
    return _from_names(files)


def _from_names(files: Sequence[Path]) -> ImageTimes | None:
    found = [_TIME_IN_NAME.fullmatch(file.stem) for file in files]
    matches = [match for match in found if match is not None]
    if len(matches) < len(files) or len({match['prefix'] for match in matches}) > 1:
        return None
    try:
        stamps = [parse_time(match['time'], None, match['time']) for match in matches]
    except InputError:  # too large for a time
        return None
    if not all(_FIRST_NS <= stamp < _LAST_NS for stamp in stamps):
        return None
    return _in_order(list(files), stamps, 'their names')


def _in_order(files: list[Path], stamps_ns: list[int], origin: str) -> ImageTimes:
    order = sorted(range(len(files)), key=lambda row: stamps_ns[row])
    return ImageTimes([files[row] for row in order], [stamps_ns[row] for row in order], origin)


class _Row(NamedTuple):
    """A line of a list: where it is, what is read as its time, and the names it may hold."""

    where: str
    time: str
    names: list[str]


def _from_list(file: Path, files: Sequence[Path]) -> ImageTimes | None:
    rows, unit_ns = _read_rows(file, {image.name for image in files})
    if not rows or not _is_time(rows[0], unit_ns):
        return None  # of something else
    by_name = {image.name: image for image in files}
    times = {by_name[name]: _time(row, unit_ns)
             for row in rows for name in row.names if name in by_name}
    if times:
        if len(times) < len(files):
            lacking = [image.name for image in files if image not in times]
            _logger.warning('%d of %d images have no time in %s and are left out, the first: %s',
                            len(lacking), len(files), file, lacking[0])
        return _in_order(list(times), list(times.values()), file.name)
    if any(row.names for row in rows):
        return None
    if len(rows) != len(files):
        _logger.warning('%s holds %d times for %d images and is not used', file, len(rows),
                        len(files))
        return None
    return _in_order(list(files), [_time(row, unit_ns) for row in rows], file.name)


def _read_rows(file: Path, images: Collection[str]) -> tuple[list[_Row], int | None]:
    """Return the rows and the nanoseconds per unit of their time."""
    try:
        lines = read_text(file).splitlines()
    except InputError:
        return [], None
    header: tuple[int, int | None] | None = None
    rows: list[_Row] = []
    for number, line in enumerate(lines, 1):
        fields = _fields(line.lstrip('# '))
        if not rows and header is None and (header := find_time_column(fields)) is not None:
            continue
        if not fields or line.lstrip().startswith('#'):
            continue
        if header is None and len(fields) > 2:
            return [], None
        place = 0 if header is None else header[0]
        if header is None and PurePath(fields[0]).name in images:
            place = 1
        if place < len(fields):
            names = [PurePath(field).name for at, field in enumerate(fields) if at != place]
            rows.append(_Row(f'{file} line {number}', fields[place], names))
    return rows, None if header is None else header[1]


def _fields(line: str) -> list[str]:
    if _DATE.fullmatch(line.strip()):
        return [line.strip()]
    return [field.strip() for field in (next(csv.reader([line])) if ',' in line else line.split())]


def _is_time(row: _Row, unit_ns: int | None) -> bool:
    try:
        _time(row, unit_ns)
    except InputError:
        return False
    return True


def _time(row: _Row, unit_ns: int | None) -> int:
    """Return a time in nanoseconds, of a number or of a date (KITTI's are taken as UTC)."""
    match = _DATE.fullmatch(row.time)
    if match is None:
        return parse_time(row.time, unit_ns, row.where)
    try:
        seconds = datetime.strptime(f'{match[1]} {match[2]} +0000', '%Y-%m-%d %H:%M:%S %z')
    except ValueError as error:
        raise InputError(f'{row.where} holds {row.time!r}, expected a date and time') from error
    return int(seconds.timestamp()) * 10**9 + int(((match[3] or '') + '0' * 9)[:9])
