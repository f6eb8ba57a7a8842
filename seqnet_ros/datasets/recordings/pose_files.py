"""Read poses from files: TUM, KITTI and CSV.

- TUM: ``stamp x y z qx qy qz qw`` in each line, seconds and meters, ``#`` starts a comment.
- KITTI: the twelve numbers of a 3x4 camera pose in each line, one line per image.
- CSV: a header line names the columns, in any case and order:

  | column | names |
  | --- | --- |
  | time | ``stamp``, ``timestamp``, ``time``, ``t``; with ``_s``, ``_ms``, ``_us`` or ``_ns`` |
  | image | ``frame``, ``image``, ``file``, ``filename``, ``name`` or ``index`` |
  | position | ``x`` and ``y`` (also ``easting``, ``utm_e``, ...), optionally ``z`` |
  | earth position | ``lat`` and ``lon`` in degrees, optionally ``alt`` |
  | orientation | ``qx``, ``qy``, ``qz``, ``qw``, or ``yaw`` in radians |

  Times without a unit are seconds, or nanoseconds where they are whole numbers of 17 digits or
  more. Images are named by file name or number; with an image column the time is not used,
  without either, row i belongs to image i. Without an orientation the heading follows from the
  motion.
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from os import PathLike
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint, geodetic_to_enu
from seqnet_ros.core.poses import (
    Trajectory,
    check_pose,
    make_trajectory,
    poses_from_positions,
    yaw_to_quaternion,
)
from seqnet_ros.datasets.recordings.frames import Frame

_Number = TypeVar('_Number', float, Decimal)

_UNIT_NS = {'s': 10**9, 'ms': 10**6, 'us': 10**3, 'ns': 1}
_TIME_COLUMN = re.compile(r'#?\s*(stamp|timestamp|time|t)(?:[_ ]?[\[(]?(s|sec|ms|us|ns)[\])]?)?')
_COLUMNS = {
    'frame': ('frame', 'image', 'file', 'filename', 'name', 'index'),
    'x': ('x', 'tx', 'easting', 'utm_e', 'utm_east', 'utm_easting', 'east'),
    'y': ('y', 'ty', 'northing', 'utm_n', 'utm_north', 'utm_northing', 'north'),
    'z': ('z', 'tz', 'up'),
    'qx': ('qx',), 'qy': ('qy',), 'qz': ('qz',), 'qw': ('qw',),
    'yaw': ('yaw',),
    'lat': ('lat', 'latitude'),
    'lon': ('lon', 'lng', 'long', 'longitude'),
    'alt': ('alt', 'altitude'),
}


@dataclass(frozen=True, eq=False)
class FramePoses:
    """Poses that belong to images, not to times.

    Attributes:
        poses: pose ``[7]`` by file name, file name without its ending, or image number.
        origin: human-readable source of the poses.
        datum: as in `Trajectory`.
    """

    poses: dict[str, np.ndarray]
    origin: str
    datum: GeoPoint | None = None

    def of(self, frame: Frame) -> np.ndarray | None:
        """Return the pose of a frame: by its name, else by its number; None if there is none."""
        for key in (frame.name, PurePath(frame.name).stem, str(frame.index)):
            if key in self.poses:
                return self.poses[key]
        return None


def read_poses(path: str | PathLike[str], datum: GeoPoint | None = None,
               ) -> Trajectory | FramePoses:
    """Read a pose file; the kind follows from its first line.

    Args:
        path: a TUM, KITTI or CSV file, see the module.
        datum: the origin of earth positions; None takes the file's first one.

    Raises:
        InputError: the file is missing, empty or of another format, or a line holds too few,
            malformed or non-finite numbers; the message names the line.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f'{file} is not text, expected a TUM, KITTI or CSV pose file') from error
    except OSError as error:
        raise InputError(f'{file} cannot be read: {error.strerror or error}') from error
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    content = [row for row in rows if not row[1].lstrip().startswith('#')]
    if not content:
        raise InputError(f'{file} holds no poses, expected a TUM, KITTI or CSV pose file')
    columns = len(content[0][1].split())
    if ',' in content[0][1]:
        # The header may be a comment.
        header = rows[0] if ',' in rows[0][1] else content[0]
        return _read_csv(file, header, [row for row in content if row is not header], datum)
    if columns == 8:
        return _read_tum(file, content)
    if columns == 12:
        return _read_kitti(file, content)
    raise InputError(
        f'{file} line {content[0][0]} has {columns} columns, expected 8 (TUM), 12 (KITTI) or a '
        'CSV header')


def _read_tum(file: Path, rows: Sequence[tuple[int, str]]) -> Trajectory:
    stamps, poses = [], []
    for number, line in rows:
        where = f'{file} line {number}'
        fields = _split(line.split(), 8, where)
        stamps.append(_to_ns(fields[0], 10**9, where))
        poses.append(check_pose(_numbers(fields[1:], where), where))
    return make_trajectory(stamps, poses, file.name)


def _read_kitti(file: Path, rows: Sequence[tuple[int, str]]) -> FramePoses:
    # Heavy to import, and needed here only.
    from scipy.spatial.transform import Rotation
    # KITTI's camera looks along z with y down; REP-103 has x forward and z up.
    axes = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    poses = {}
    for index, (number, line) in enumerate(rows):
        where = f'{file} line {number}'
        camera = np.array(_numbers(_split(line.split(), 12, where), where)).reshape(3, 4)
        determinant = np.linalg.det(camera[:, :3])
        if not abs(determinant - 1) < 0.01:
            raise InputError(f'{where} has a rotation of determinant {determinant:g}, expected 1')
        rotation = Rotation.from_matrix(axes @ camera[:, :3] @ axes.T).as_quat()
        poses[str(index)] = check_pose([*(axes @ camera[:, 3]), *rotation], where)
    return FramePoses(poses, file.name)


def _read_csv(file: Path, header: tuple[int, str], rows: Sequence[tuple[int, str]],
              datum: GeoPoint | None) -> Trajectory | FramePoses:
    names = next(csv.reader([header[1]]))
    columns = _find_columns(names)
    time = _find_time_column(names)
    table = _Table(file, [
        (number, _split(next(csv.reader([line])), len(names), f'{file} line {number}'))
        for number, line in rows])
    if not table.rows:
        raise InputError(f'{file} holds a header but no poses')
    poses, datum = _table_poses(table, columns, datum, names)
    origin = file.name if datum is None else f'{file.name}, east and north of {datum}'
    if 'frame' in columns:
        keys = [fields[columns['frame']].strip() for _, fields in table.rows]
        return FramePoses(dict(zip(keys, poses, strict=True)), origin, datum)
    if time is None:
        return FramePoses({str(i): pose for i, pose in enumerate(poses)}, origin, datum)
    stamps = [_to_ns(fields[time[0]], time[1], f'{file} line {number}')
              for number, fields in table.rows]
    return make_trajectory(stamps, poses, origin, datum)


@dataclass(frozen=True)
class _Table:
    """The rows of a CSV file with their line numbers."""

    file: Path
    rows: list[tuple[int, list[str]]]

    def numbers(self, columns: Sequence[int]) -> np.ndarray:
        """Return some columns as float64 ``[N, len(columns)]``."""
        return np.array([
            _numbers([fields[column] for column in columns], f'{self.file} line {number}')
            for number, fields in self.rows])


def _find_columns(names: Sequence[str]) -> dict[str, int]:
    """Return where each known column is; the first of several with one meaning counts."""
    plain = [name.strip().lstrip('#').strip().lower() for name in names]
    found: dict[str, int] = {}
    for meaning, spellings in _COLUMNS.items():
        for index, name in enumerate(plain):
            if name in spellings:
                found.setdefault(meaning, index)
    return found


def _find_time_column(names: Sequence[str]) -> tuple[int, int | None] | None:
    """Return the time column's index and nanoseconds per unit (None where it has no unit)."""
    for index, name in enumerate(names):
        if match := _TIME_COLUMN.fullmatch(name.strip().lower()):
            unit = match[2]
            return index, None if unit is None else _UNIT_NS['s' if unit == 'sec' else unit]
    return None


def _table_poses(table: _Table, columns: dict[str, int], datum: GeoPoint | None,
                 names: Sequence[str]) -> tuple[np.ndarray, GeoPoint | None]:
    if {'x', 'y'} <= columns.keys():
        height = [columns['z']] if 'z' in columns else []
        positions = table.numbers([columns['x'], columns['y'], *height])
        positions = np.pad(positions, ((0, 0), (0, 3 - positions.shape[1])))
        datum = None
    elif {'lat', 'lon'} <= columns.keys():
        height = [columns['alt']] if 'alt' in columns else []
        earth = table.numbers([columns['lat'], columns['lon'], *height])
        earth = np.pad(earth, ((0, 0), (0, 3 - earth.shape[1])))
        datum = datum or GeoPoint(*map(float, earth[0]))
        positions = geodetic_to_enu(earth[:, 0], earth[:, 1], earth[:, 2], datum)
    else:
        raise InputError(
            f'{table.file} has the columns {", ".join(names)}, expected x and y or lat and lon')
    return _orient(table, columns, positions), datum


def _orient(table: _Table, columns: dict[str, int], positions: np.ndarray) -> np.ndarray:
    quaternion = [columns[name] for name in ('qx', 'qy', 'qz', 'qw') if name in columns]
    if len(quaternion) == 4:
        rotations = table.numbers(quaternion)
    elif 'yaw' in columns:
        rotations = np.stack([yaw_to_quaternion(row[0])
                              for row in table.numbers([columns['yaw']])])
    else:
        return poses_from_positions(positions)
    return np.stack([
        check_pose(np.concatenate([position, rotation]), f'{table.file} line {number}')
        for position, rotation, (number, _)
        in zip(positions, rotations, table.rows, strict=True)])


def _split(fields: list[str], expected: int, where: str) -> list[str]:
    if len(fields) != expected:
        raise InputError(f'{where} has {len(fields)} columns, expected {expected}')
    return fields


def _numbers(fields: Sequence[str], where: str) -> list[float]:
    return [_parse(field, where, float) for field in fields]


def _to_ns(field: str, unit_ns: int | None, where: str) -> int:
    """Return a time in nanoseconds; decimals, since a float cannot hold today's nanoseconds."""
    value = _parse(field, where, Decimal)
    if unit_ns is None:
        digits = field.strip()
        unit_ns = 1 if digits.isdecimal() and len(digits) >= 17 else 10**9
    stamp = int(value * unit_ns)
    if not -2**63 <= stamp < 2**63:
        raise InputError(f'{where} has the time {field.strip()}, expected less than 292 years')
    return stamp


def _parse(field: str, where: str, kind: Callable[[str], _Number]) -> _Number:
    try:
        value = kind(field.strip())
        finite = np.isfinite(float(value))
    except (ValueError, InvalidOperation):
        raise InputError(f'{where} holds {field.strip()!r}, expected a number') from None
    if not finite:
        raise InputError(f'{where} holds {field.strip()!r}, expected a finite number')
    return value
