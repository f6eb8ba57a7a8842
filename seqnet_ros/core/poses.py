"""Poses ``[x, y, z, qx, qy, qz, qw]`` and how they change over time.

Meters, unit quaternions with the scalar last, ROS axes (REP-103: x forward, y left, z up).
Arrays are float64: a UTM northing needs more digits than float32 has.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint

NANOSECONDS = 1_000_000_000
RESTART_S = 0.5
"""Stamps that go back this far come from a recording that is played again or from a clock that was
set; smaller steps back are late images or jitter of the camera."""
MAX_COORDINATE_M = 1e7
"""Largest coordinate of a position: half the circumference of the earth is 2e7 m."""
MAX_NORM_ERROR = 0.01
"""Maximum deviation of the norm of a quaternion from 1 before normalization, as in tf2."""
MIN_HEADING_STEP_M = 1.0
SAME_HEADING_DEG = 45.0
"""Largest angle between the headings of two views of one place along a street."""


def make_pose(x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """Return the pose ``[7]`` of a robot standing level at a position, yaw in radians."""
    return np.concatenate([[x, y, z], yaw_to_quaternion(yaw)])


def check_pose(values: Any, what: str = 'pose') -> np.ndarray:
    """Return a pose as float64 ``[7]`` with a unit quaternion.

    Args:
        values: seven numbers.
        what: name of the pose in an error.

    Raises:
        InputError: there are not seven numbers, one is not finite, a coordinate is beyond 1e7 m,
            or the norm of the quaternion is not 1 within 0.01.
    """
    pose = np.array(values, dtype=np.float64)
    if pose.shape != (7,):
        raise InputError(f'{what} has shape {list(pose.shape)}, expected x, y, z, qx, qy, qz, qw')
    check_poses(pose[None], what, rows_named=False)
    pose[3:] /= np.linalg.norm(pose[3:])
    return pose


def check_poses(poses: np.ndarray, what: str, rows_named: bool = True) -> None:
    """Check poses, float64 ``[N, 7]``.

    Args:
        poses: the poses.
        what: name of the poses in an error.
        rows_named: name the row of a wrong pose.

    Raises:
        InputError: as for `check_pose`.
    """
    with np.errstate(over='ignore', invalid='ignore'):
        norms = np.linalg.norm(poses[:, 3:], axis=1)
    finite = np.isfinite(poses).all(axis=1)
    near = (np.abs(poses[:, :3]) <= MAX_COORDINATE_M).all(axis=1)
    unit = np.abs(norms - 1) <= MAX_NORM_ERROR
    wrong = np.flatnonzero(~(finite & near & unit))
    if not len(wrong):
        return
    row = int(wrong[0])
    if not finite[row]:
        expected = 'finite numbers'
    elif not near[row]:
        expected = f'coordinates within {MAX_COORDINATE_M:g} m'
    else:
        expected = f'a unit quaternion, found one of norm {norms[row]:g}'
    name = f'{what} {row}' if rows_named else what
    raise InputError(f'{name} is {_show(poses[row])}, expected {expected}')


def _show(pose: np.ndarray) -> str:
    return '[' + ', '.join(f'{value:g}' for value in pose) + ']'


def _rotations() -> Any:
    """Return scipy's class of rotations, which takes a third of a second to import."""
    from scipy.spatial.transform import Rotation

    return Rotation


def pose_matrix(pose: np.ndarray) -> np.ndarray:
    """Return a pose as the homogeneous matrix ``[4, 4]`` from its frame to its parent."""
    matrix = np.eye(4)
    matrix[:3, :3] = _rotations().from_quat(pose[3:]).as_matrix()
    matrix[:3, 3] = pose[:3]
    return matrix


def pose_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Return a homogeneous matrix ``[4, 4]`` as a pose whose quaternion has qw >= 0."""
    rotation = _rotations().from_matrix(matrix[:3, :3]).as_quat()
    return np.concatenate([matrix[:3, 3], -rotation if rotation[3] < 0 else rotation])


def relative_pose(parent: np.ndarray, child: np.ndarray) -> np.ndarray:
    """Return a pose in the frame of another, both ``[7]`` in one frame."""
    return pose_from_matrix(np.linalg.inv(pose_matrix(parent)) @ pose_matrix(child))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the straight distance between two poses, meters."""
    return float(np.linalg.norm(a[:3] - b[:3]))


def travelled_distance(poses: np.ndarray) -> float:
    """Return the length of the path through the poses ``[N, 7]``, meters."""
    return float(np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1).sum())


def median_step(positions: np.ndarray) -> float:
    """Return the median distance between successive positions ``[N, 3]``, meters; 0 for one."""
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return float(np.median(steps)) if len(steps) else 0.0


def yaw_to_quaternion(yaw: float) -> np.ndarray:
    """Return the quaternion ``[qx, qy, qz, qw]`` of a turn about z, radians."""
    return np.array([0.0, 0.0, np.sin(yaw / 2), np.cos(yaw / 2)])


def yaw_of(pose: np.ndarray) -> float:
    """Return a pose's rotation about z, radians in (-pi, pi]."""
    qx, qy, qz, qw = pose[3:]
    return float(np.arctan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz)))


def angle_between(a: np.ndarray, b: np.ndarray) -> float:
    """Return the angle of the rotation from one pose to another, radians in [0, pi]."""
    # The half angle's sine and cosine: exact for small angles, where arccos(dot) is not.
    same, opposite = np.linalg.norm(a[3:] + b[3:]), np.linalg.norm(a[3:] - b[3:])
    return float(4 * np.arctan2(min(same, opposite), max(same, opposite)))


def same_heading(rotations: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which rotations differ by at most 45 degrees.

    Args:
        rotations: unit quaternions ``[..., 4]`` of poses; q and -q are the same rotation.
        others: unit quaternions, of a shape that broadcasts with ``rotations``.

    Returns:
        bool, the broadcast shape without its last axis.
    """
    half_cosine = np.abs(np.einsum('...i,...i->...', rotations, others))
    return half_cosine >= np.cos(np.deg2rad(SAME_HEADING_DEG) / 2)


def interpolate_pose(a: np.ndarray, b: np.ndarray, fraction: float) -> np.ndarray:
    """Return the pose between two poses ``[7]``: linear in position, slerp in rotation.

    The slerp is Shoemake's (Animating rotation with quaternion curves, SIGGRAPH 1985).

    Args:
        a: the pose at fraction 0, returned without rounding there.
        b: the pose at fraction 1.
        fraction: above 1 extrapolates the motion from ``a`` to ``b``.
    """
    # By hand: building scipy's Slerp for two rotations takes 20 times as long.
    if fraction == 0:
        return a.copy()
    start, end = a[3:], b[3:]
    cosine = float(start @ end)
    if cosine < 0:
        end, cosine = -end, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:
        rotation = start + fraction * (end - start)
    else:
        rotation = np.sin((1 - fraction) * angle) * start + np.sin(fraction * angle) * end
    return np.concatenate(
        [a[:3] + fraction * (b[:3] - a[:3]), rotation / np.linalg.norm(rotation)])


class Neighbours(NamedTuple):
    """The two poses that determine the pose at a time.

    Attributes:
        first: row of the earlier pose.
        second: row of the later pose; the same row if a pose has exactly this time.
        fraction: of the step from the first to the second, as for `interpolate_pose`.
    """

    first: int
    second: int
    fraction: float


def find_neighbours(stamps_ns: Sequence[int] | np.ndarray, stamp_ns: int, max_gap_s: float,
                    max_extrapolation_s: float = 0.0) -> Neighbours | None:
    """Find the poses from which the pose at a time is interpolated, by bisection.

    Args:
        stamps_ns: of the poses, ``[N]``, ascending, the last two not equal.
        stamp_ns: the time.
        max_gap_s: nothing is interpolated between two poses that are further apart.
        max_extrapolation_s: how far the last two poses are extrapolated.

    Returns:
        None where the time is outside the poses or inside a gap.
    """
    second = bisect_left(stamps_ns, stamp_ns)
    if second < len(stamps_ns) and stamps_ns[second] == stamp_ns:
        return Neighbours(second, second, 0.0)
    if second and second == len(stamps_ns) and (
            stamp_ns - stamps_ns[-1] <= max_extrapolation_s * NANOSECONDS):
        second -= 1
    if not 0 < second < len(stamps_ns):
        return None
    before_ns, after_ns = int(stamps_ns[second - 1]), int(stamps_ns[second])
    if after_ns - before_ns > max_gap_s * NANOSECONDS:
        return None
    return Neighbours(second - 1, second, (stamp_ns - before_ns) / (after_ns - before_ns))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses over time.

    Attributes:
        stamps_ns: int64 ``[N]``, ascending.
        poses: float64 ``[N, 7]``.
        origin: human-readable source of the poses.
        datum: the point of the earth at x = y = z = 0 where the poses come from satellite
            positions, else None.
    """

    stamps_ns: np.ndarray
    poses: np.ndarray
    origin: str
    datum: GeoPoint | None = None

    def at(self, stamp_ns: int, max_gap_s: float = 2.0) -> np.ndarray | None:
        """Return the interpolated pose ``[7]`` at a time.

        Returns:
            None outside the trajectory, and inside a gap of more than ``max_gap_s`` between two
            of its poses.
        """
        found = find_neighbours(self.stamps_ns, stamp_ns, max_gap_s)
        if found is None:
            return None
        return interpolate_pose(self.poses[found.first], self.poses[found.second], found.fraction)


def make_trajectory(stamps_ns: Any, poses: Any, origin: str,
                    datum: GeoPoint | None = None) -> Trajectory:
    """Return a trajectory of stamps ``[N]`` and poses ``[N, 7]``, sorted by stamp.

    Raises:
        InputError: there are no poses, not one stamp per pose, or a pose that `check_pose` rejects.
    """
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    stacked = np.asarray(poses, dtype=np.float64).reshape(-1, 7)
    if not len(stacked) or len(stamps) != len(stacked):
        raise InputError(
            f'{origin}: found {len(stamps)} stamps and {len(stacked)} poses, expected one stamp '
            'for each of at least one pose')
    check_poses(stacked, f'{origin}: pose')
    order = np.argsort(stamps, kind='stable')
    return Trajectory(stamps[order], stacked[order], origin, datum)


def poses_from_positions(positions: np.ndarray) -> np.ndarray:
    """Give positions ``[N, 3]`` a heading: the direction of the last meter of motion.

    The first heading also applies before the first meter, so a robot that starts from standstill
    has the heading in which it leaves. Noise of a stationary receiver does not change the heading.

    Returns:
        float64 ``[N, 7]``; yaw is 0 if the motion never reaches a meter.
    """
    yaws = np.full(len(positions), np.nan)
    anchor = 0
    for i in range(1, len(positions)):
        east, north = positions[i, :2] - positions[anchor, :2]
        yaws[i] = yaws[i - 1]
        if np.hypot(east, north) >= MIN_HEADING_STEP_M:
            yaws[i] = np.arctan2(north, east)
            anchor = i
    known = yaws[np.isfinite(yaws)]
    yaws[np.isnan(yaws)] = known[0] if known.size else 0.0
    rotations = np.stack([yaw_to_quaternion(yaw) for yaw in yaws])
    return np.concatenate([positions, rotations], axis=1)
