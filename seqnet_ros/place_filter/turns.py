"""Evidence from odometry: does the map turn where the robot turns?

Xu, Fischer, Suenderhauf and Milford (RA-L 2021) compare the relative pose of successive queries
with that of places. Distance is part of the motion model here; what is left of the pose is the
turn. A turn that the map does not make, or one that it makes and the robot does not, contradicts a
place; agreement proves little, because most roads are straight.
"""

import numpy as np

_DEVIATION = np.deg2rad(4.0)
"""Of the difference of two turns over one step: places of two drives do not coincide, and the robot
does not keep to one line."""
_LEAST = -2.0
LEAST_TURN = 1e-4
"""Radians per meter; a map that turns less everywhere has no headings."""


def turn_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the rotation about the robot's vertical axis between poses, radians.

    Args:
        before: float64 ``[..., 7]``.
        after: float64 ``[..., 7]``.
    """
    bx, by, bz, bw = np.moveaxis(before[..., 3:], -1, 0)
    ax, ay, az, aw = np.moveaxis(after[..., 3:], -1, 0)
    # Vertical and scalar part of the conjugate of `before` times `after`.
    vertical = bw * az - bz * aw - bx * ay + by * ax
    scalar = bw * aw + bx * ax + by * ay + bz * az
    turn = 2 * np.arctan2(vertical, scalar)
    return np.asarray(np.remainder(turn + np.pi, 2 * np.pi) - np.pi)


def turns_per_meter(poses: np.ndarray, starts: np.ndarray) -> np.ndarray | None:
    """Return how much a map turns on the way to each place, radians per meter, ``[N]``.

    Args:
        poses: float64 ``[N, 7]`` of the places, meters.
        starts: first place of the unbroken stretch each place is on, ``[N]``.

    Returns:
        The turns, 0 at the start of a stretch; None for maps without headings.
    """
    turns = np.zeros(len(poses))
    if len(poses) < 2:
        return None
    way = np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1)
    moved = (way > 0) & (starts[1:] == starts[:-1])
    turns[1:][moved] = turn_between(poses[:-1], poses[1:])[moved] / way[moved]
    return turns if np.abs(turns).max() > LEAST_TURN else None


def turn_log_ratios(turns: np.ndarray, turned: float, travelled_m: float) -> np.ndarray:
    """Return the log-likelihood ratio of each place for a turn of the robot, ``[N]``, at most 0.

    Args:
        turns: of the map, radians per meter, ``[N]``.
        turned: by odometry since the last keyframe, radians.
        travelled_m: distance by odometry since then, meters.
    """
    apart = (turns * travelled_m - turned) / _DEVIATION
    return np.maximum(-0.5 * apart ** 2, _LEAST)
