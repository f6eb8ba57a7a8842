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

  Names may end in a unit, as ``p_RS_R_x [m]`` in the ground truth of EuRoC, which is read as
  published: the file or its folder. Times without a unit are seconds, unless a whole number is
  too large for that (see `seqnet_ros.datasets.recordings.time_columns`). Images are named by file
  name or number; with an image column the time is not used, without either, row i belongs to
  image i. Without an orientation the heading follows from the motion.
"""

import csv
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePath

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import read_text
from seqnet_ros.core.geodesy import GeoPoint, geodetic_to_enu, is_fix
from seqnet_ros.core.poses import (
    Trajectory,
    check_pose,
    make_trajectory,
    poses_from_positions,
    yaw_to_quaternion,
)
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_ros.datasets.recordings.time_columns import (
    find_time_column,
    parse_number,
    parse_time,
)

_logger = logging.getLogger(__name__)

_COLUMNS = {
    'frame': ('frame', 'image', 'file', 'filename', 'name', 'index'),
    'x': ('x', 'tx', 'easting', 'utm_e', 'utm_east', 'utm_easting', 'east',
          'p_rs_r_x'),
    'y': ('y', 'ty', 'northing', 'utm_n', 'utm_north', 'utm_northing',
          'north', 'p_rs_r_y'),
    'z': ('z', 'tz', 'up', 'p_rs_r_z'),
    'qx': ('qx', 'q_rs_x'), 'qy': ('qy', 'q_rs_y'), 'qz': ('qz', 'q_rs_z'),
    'qw': ('qw', 'q_rs_w'),
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
        path: a TUM, KITTI or CSV file, see the module; or a folder that holds one as ``data.csv``.
        datum: the origin of earth positions; None takes the file's first one.

    Raises:
        InputError: the file is missing, empty or of another format, or a line holds too few,
            malformed or non-finite numbers; the message names the line.
    """
    file = Path(path)
    if (file / 'data.csv').is_file():
        file /= 'data.csv'
    lines = read_text(file).splitlines()
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
        stamps.append(parse_time(fields[0], 10**9, where))
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
    time = find_time_column(names)
    table = _Table(file, [
        (number, _split(next(csv.reader([line])), len(names), f'{file} line {number}'))
        for number, line in rows])
    if not table.rows:
        raise InputError(f'{file} holds a header but no poses')
    numbers = list(range(len(table.rows)))
    if 'lat' in columns and 'lon' in columns and not {'x', 'y'} <= columns.keys():
        table, numbers = _with_fix(table, columns)
    poses, datum = _table_poses(table, columns, datum, names)
    origin = file.name if datum is None else f'{file.name}, east and north of {datum}'
    if 'frame' in columns:
        keys = [fields[columns['frame']].strip() for _, fields in table.rows]
        return FramePoses(dict(zip(keys, poses, strict=True)), origin, datum)
    if time is None:
        return FramePoses({str(number): pose for number, pose in zip(numbers, poses, strict=True)},
                          origin, datum)
    stamps = [parse_time(fields[time[0]], time[1], f'{file} line {number}')
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


def _with_fix(table: _Table, columns: dict[str, int]) -> tuple[_Table, list[int]]:
    """Return the rows with a position, and their numbers; others are left out and counted."""
    earth = table.numbers([columns['lat'], columns['lon']])
    numbers = [row for row, position in enumerate(earth.tolist()) if is_fix(*position)]
    if not numbers:
        raise InputError(f'{table.file} holds no position on the earth, only latitudes and '
                         f'longitudes such as {earth[0, 0]:g}, {earth[0, 1]:g}')
    if len(numbers) < len(earth):
        first = next(row for row in range(len(earth)) if row not in set(numbers))
        _logger.warning('%s: left out %d of %d positions that are none, the first in line %d',
                        table.file, len(earth) - len(numbers), len(earth), table.rows[first][0])
    return _Table(table.file, [table.rows[row] for row in numbers]), numbers


def _find_columns(names: Sequence[str]) -> dict[str, int]:
    """Return where each known column is; the first of several with one meaning counts."""
    plain = [re.sub(r'\s*[\[(].*[\])]$', '', name.strip().lstrip('#').strip().lower())
             for name in names]
    found: dict[str, int] = {}
    for meaning, spellings in _COLUMNS.items():
        for index, name in enumerate(plain):
            if name in spellings:
                found.setdefault(meaning, index)
    return found


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
    return [parse_number(field, where, float) for field in fields]
