"""A closed driven line of straight stretches and circular arcs, exact at any arclength."""

from collections.abc import Sequence

import numpy as np

LANE_OFFSET = 1.6
"""The route stays this far right of the street's middle, meters."""


class Route:
    """A closed route along the streets between the given corners.

    Args:
        corners: street crossings in driving order, ``[N, 2]`` meters; the last one leads back
            to the first.
    """

    def __init__(self, corners: Sequence[np.ndarray]) -> None:
        points = np.asarray(corners, np.float64)
        edges = np.roll(points, -1, axis=0) - points
        directions = edges / np.linalg.norm(edges, axis=1, keepdims=True)
        bends = _lane_corners(points, directions)
        turn = _turn_angles(directions)
        lengths = np.linalg.norm(np.roll(bends, -1, axis=0) - bends, axis=1)
        cuts = _fillet_cuts(turn, lengths)
        pieces = []
        for i in range(len(points)):
            following = (i + 1) % len(points)
            heading = np.arctan2(directions[i, 1], directions[i, 0])
            start = bends[i] + cuts[i] * directions[i]
            straight = lengths[i] - cuts[i] - cuts[following]
            pieces.append((straight, *start, heading, 0.0))
            if cuts[following] > 1e-9:
                curvature = np.tan(turn[following] / 2) / cuts[following]
                end = start + straight * directions[i]
                pieces.append((turn[following] / curvature, *end, heading, curvature))
        self._pieces = np.array(pieces)
        self._ends = np.cumsum(self._pieces[:, 0])

    @property
    def length(self) -> float:
        """Length of one lap, meters."""
        return float(self._ends[-1])

    def at(self, arclength: np.ndarray | float) -> np.ndarray:
        """Return ``[..., 3]``: x, y (meters) and heading (radians) at these arclengths.

        Arclengths beyond one lap, or negative ones, wrap around.
        """
        s = np.mod(np.asarray(arclength, np.float64), self.length)
        index = np.minimum(np.searchsorted(self._ends, s, side='right'), len(self._ends) - 1)
        length, x, y, heading, curvature = np.moveaxis(self._pieces[index], -1, 0)
        along = s - (self._ends[index] - length)
        half = along * curvature / 2
        chord = along * np.sinc(half / np.pi)
        return np.stack([x + chord * np.cos(heading + half),
                         y + chord * np.sin(heading + half),
                         heading + 2 * half], axis=-1)


def _turn_angles(directions: np.ndarray) -> np.ndarray:
    """Return the signed change of direction at every corner, left positive."""
    before = np.roll(directions, 1, axis=0)
    cross = before[:, 0] * directions[:, 1] - before[:, 1] * directions[:, 0]
    return np.arctan2(cross, np.sum(before * directions, axis=1))


def _lane_corners(points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Move every corner to where the right-hand lanes of its two streets meet."""
    right = np.stack([directions[:, 1], -directions[:, 0]], axis=1)
    middle = right + np.roll(right, 1, axis=0)
    return points + LANE_OFFSET * 2 * middle / np.sum(middle ** 2, axis=1, keepdims=True)


def _fillet_cuts(turn: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return how much of the streets before and after each corner its arc replaces."""
    radius = np.where(np.abs(turn) < 0.6, 40.0, np.where(turn < 0, 8.0, 11.0))
    room = np.minimum(lengths, np.roll(lengths, 1)) * 0.45
    return np.minimum(radius * np.tan(np.abs(turn) / 2), room)
