"""Ground truth of the places found for a query: by pose, or by frame number.

Both kinds compute, for one query at a time, how far places of the map are from the true place of
the query. A replay and a running robot use them alike.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePath

import numpy as np
from scipy.spatial import cKDTree

from seqnet_ros.core.errors import InputError, quoted
from seqnet_ros.core.files import read_text

METRES, FRAMES = 'm', 'frames'
_TOLERANCE = re.compile(
    r'\s*(\d+(?:\.\d+)?)\s*(m|frames?)\s*(?:,\s*(\d+(?:\.\d+)?)\s*deg\s*)?')
_HEADER = {'query': ('query',), 'map': ('map', 'match', 'reference', 'database', 'place')}
_SLACK = 1e-9


@dataclass(frozen=True)
class Tolerance:
    """Maximum distance of a correct place from the ground truth, inclusive.

    Attributes:
        value: in meters or frames.
        unit: `METRES` or `FRAMES`.
        degrees: largest difference of the headings; None where it does not matter.
    """

    value: float
    unit: str = METRES
    degrees: float | None = None

    @classmethod
    def parse(cls, text: str) -> 'Tolerance':
        """Read '5m', '5m,30deg' or '2frames'.

        Raises:
            InputError: the text is none of these.
        """
        match = _TOLERANCE.fullmatch(text)
        if match is None or (match[2] != METRES and match[3] is not None):
            raise InputError(f"tolerance {quoted(text)} is invalid, expected meters ('5m'), meters "
                             "and degrees ('5m,30deg') or frames ('2frames')")
        unit = METRES if match[2] == METRES else FRAMES
        return cls(float(match[1]), unit, None if match[3] is None else float(match[3]))

    def __str__(self) -> str:
        """Return the tolerance, human-readable."""
        if self.unit == FRAMES:
            return f'{self.value:g} frames'
        turned = '' if self.degrees is None else f' and {self.degrees:g} degrees'
        return f'{self.value:g} m{turned}'


@dataclass(frozen=True, eq=False)
class Judgement:
    """Ground truth for the places found for one query.

    Attributes:
        errors: float64 ``[K]``, distance of each from the ground truth, in the unit of the
            tolerance; NaN without ground truth.
        right: bool ``[K]``, within the tolerance.
        known: whether there is ground truth.
        in_map: whether the map has a correct place for the query; False if unknown.
        nearest: distance of the nearest place of the map from the ground truth, regardless of
            heading; NaN without ground truth.
        true_place: index of that place, -1 without ground truth.
        pose_error: distance of the pose between places from the ground truth, meters; NaN where
            either is not known.
    """

    errors: np.ndarray
    right: np.ndarray
    known: bool
    in_map: bool
    nearest: float
    true_place: int
    pose_error: float = float('nan')

    @classmethod
    def unknown(cls, places: Sequence[int] | np.ndarray) -> 'Judgement':
        """Return the result for ``K`` places without ground truth."""
        count = len(places)
        return cls(np.full(count, np.nan), np.zeros(count, bool), False, False, float('nan'), -1)


class PoseGroundTruth:
    """Ground truth by poses: a place is correct if its position and heading are near enough.

    Args:
        place_poses: float64 ``[N, 7]``, true poses of the places of the map, meters; rows of NaN
            where a place has none.
        tolerance: in meters.
        planar: ignore altitude, which is far less accurate in satellite positions.

    Raises:
        InputError: the tolerance is in frames, or no place has a pose.
    """

    def __init__(self, place_poses: np.ndarray, tolerance: Tolerance, planar: bool = False) -> None:
        if tolerance.unit != METRES:
            raise InputError(f'the tolerance is {tolerance}, expected meters with poses as ground '
                             'truth')
        self.tolerance = tolerance
        self.unit = METRES
        self._axes = 2 if planar else 3
        self._poses = np.asarray(place_poses, dtype=np.float64)
        self._posed = np.flatnonzero(np.isfinite(self._poses).all(axis=1))
        if not len(self._posed):
            raise InputError('no place of the map has a true pose, expected at least one')
        self._tree = cKDTree(self._poses[self._posed, :self._axes])

    def judge(self, truth: np.ndarray | None, places: Sequence[int] | np.ndarray) -> Judgement:
        """Compare places found for a query with the ground truth.

        Args:
            truth: true pose ``[7]`` of the query; None if unknown.
            places: int ``[K]``, indices of places.
        """
        if truth is None:
            return Judgement.unknown(places)
        found = self._poses[np.asarray(places, dtype=np.int64)]
        errors = np.linalg.norm((found - truth)[:, :self._axes], axis=1)
        nearest, row = self._tree.query(truth[:self._axes])
        return Judgement(errors, self._right(found, errors, truth), True, self._in_map(truth),
                         float(nearest), int(self._posed[row]))

    def pose_error(self, truth: np.ndarray | None, pose: np.ndarray) -> float:
        """Return the distance of a pose ``[7]`` from the ground truth, NaN without any."""
        if truth is None:
            return float('nan')
        return float(np.linalg.norm((pose - truth)[:self._axes]))

    def _in_map(self, truth: np.ndarray) -> bool:
        around = self._tree.query_ball_point(
            truth[:self._axes], self.tolerance.value * (1 + _SLACK) + _SLACK)
        near = self._poses[self._posed[around]]
        return bool(self._right(near, np.linalg.norm((near - truth)[:, :self._axes], axis=1),
                                truth).any())

    def _right(self, poses: np.ndarray, errors: np.ndarray, truth: np.ndarray) -> np.ndarray:
        near = errors <= self.tolerance.value
        if self.tolerance.degrees is None:
            return near
        return near & (heading_differences(poses, truth) <= self.tolerance.degrees)


def heading_differences(poses: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the angles ``[K]`` in degrees between poses ``[K, 7]`` and a pose ``[7]``."""
    same = np.linalg.norm(poses[:, 3:] + truth[3:], axis=1)
    opposite = np.linalg.norm(poses[:, 3:] - truth[3:], axis=1)
    # The half angle's sine and cosine: exact for small angles, where arccos is not.
    return np.rad2deg(4 * np.arctan2(np.minimum(same, opposite), np.maximum(same, opposite)))


class FrameGroundTruth:
    """Ground truth by frame numbers of the recording that the map was made of.

    Args:
        place_frames: ``[N]``, the frame each place of the map was made of.
        tolerance: in frames.

    Raises:
        InputError: the tolerance is in meters.
    """

    def __init__(self, place_frames: np.ndarray, tolerance: Tolerance) -> None:
        if tolerance.unit != FRAMES:
            raise InputError(f'the tolerance is {tolerance}, expected frames with frame numbers as '
                             'ground truth')
        self.tolerance = tolerance
        self.unit = FRAMES
        self._frames = np.asarray(place_frames, dtype=np.float64)

    def judge(self, truth: Sequence[float] | None, places: Sequence[int] | np.ndarray) -> Judgement:
        """Compare places found for a query with the ground truth.

        Args:
            truth: the frames of the mapping drive that show the place; empty if none does, None if
                unknown.
            places: int ``[K]``, indices of places.
        """
        if truth is None:
            return Judgement.unknown(places)
        found = self._frames[np.asarray(places, dtype=np.int64)]
        if not len(truth):
            return Judgement(np.full(len(found), np.inf), np.zeros(len(found), bool), True, False,
                             float('inf'), -1)
        true_frames = np.asarray(truth, dtype=np.float64)
        errors = np.abs(found[:, None] - true_frames).min(axis=1)
        gaps = np.abs(self._frames[:, None] - true_frames).min(axis=1)
        nearest = int(gaps.argmin())
        return Judgement(errors, errors <= self.tolerance.value, True,
                         bool(gaps[nearest] <= self.tolerance.value), float(gaps[nearest]), nearest)


def read_pairs(path: str | PathLike[str], query_names: Sequence[str],
               map_names: Sequence[str]) -> dict[int, list[int]]:
    """Read which frames show the same place: a CSV file with the columns ``query`` and ``map``.

    A query may have several rows; one whose second column is empty shows no place of the map.
    ``match``, ``reference``, ``database`` and ``place`` name the second column, too. Lines that
    start with ``#`` are comments.

    Args:
        path: the file.
        query_names: names of the frames of the queries; in the file, a name, a name without its
            ending or a number from 0 stands for a frame, the first that fits.
        map_names: the same for the frames of the mapping drive.

    Returns:
        Frames of the mapping drive by frame of the query.

    Raises:
        InputError: the file cannot be read, has other columns, or names an unknown frame.
    """
    file = Path(path)
    try:
        lines = read_text(file).splitlines()
        rows = [(number, next(csv.reader([line]))) for number, line in enumerate(lines, 1)
                if line.strip() and not line.lstrip().startswith('#')]
    except (InputError, csv.Error) as error:
        raise InputError(f'{file} cannot be read as a CSV file of pairs: {error}') from error
    if not rows:
        raise InputError(f'{file} holds no pairs, expected the columns query and map')
    columns = _pair_columns(file, rows[0][1])
    queries, places = _numbers_by_name(query_names), _numbers_by_name(map_names)
    pairs: dict[int, list[int]] = {}
    for number, fields in rows[1:]:
        where = f'{file} line {number}'
        if len(fields) <= max(columns):
            raise InputError(f'{where} has {len(fields)} columns, expected {max(columns) + 1}')
        query = _frame_of(fields[columns[0]].strip(), queries, f'{where}, the query')
        listed = pairs.setdefault(query, [])
        match = fields[columns[1]].strip()
        if match:
            listed.append(_frame_of(match, places, f'{where}, the map'))
    return pairs


def _pair_columns(file: Path, header: list[str]) -> tuple[int, int]:
    names = [name.strip().lower() for name in header]
    found = [next((names.index(name) for name in spellings if name in names), None)
             for spellings in _HEADER.values()]
    if found[0] is None or found[1] is None:
        raise InputError(f'{file} has the columns {", ".join(header)}, expected query and map')
    return found[0], found[1]


def _numbers_by_name(names: Sequence[str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    spelled = (names, [PurePath(name).stem for name in names], map(str, range(len(names))))
    for spellings in spelled:
        for number, name in enumerate(spellings):
            found.setdefault(name, number)
    return found


def _frame_of(name: str, numbers: Mapping[str, int], where: str) -> int:
    if name not in numbers:
        raise InputError(f'{where} is {quoted(name)}, expected the name or the number of a frame '
                         'of the recording')
    return numbers[name]
