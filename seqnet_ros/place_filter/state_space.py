"""The states of the filter: every place of the maps in one row."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_HALF_HEADING = np.cos(np.deg2rad(90.0) / 2)
"""Views that differ in heading by more than 90 degrees show different things."""


@dataclass
class StateSpace:
    """Places of one or several maps, one after the other.

    Attributes:
        bounds: first state of each map and one past the last of all, ``[M + 1]``.
        starts: first state of the unbroken stretch each state is on, int64 ``[N]``.
        poses: float64 ``[N, 7]``, each in the frame of its map, meters.
        mean_step_m: mean distance between successive places of each map, meters.
        posed: whether the poses of each map were measured.
        turns: how much the maps turn on the way to each state, radians per meter, ``[N]``; None
            where their headings are not known.
    """

    bounds: tuple[int, ...]
    starts: np.ndarray
    poses: np.ndarray
    mean_step_m: tuple[float, ...]
    posed: tuple[bool, ...]
    turns: np.ndarray | None = None
    _within: dict[int, np.ndarray | None] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of states."""
        return self.bounds[-1]

    def map_of(self, state: int) -> int:
        """Return the number of the map that a state belongs to."""
        return bisect_right(self.bounds, state) - 1

    def slices(self) -> Sequence[slice]:
        """Return the states of each map."""
        return [slice(first, end)
                for first, end in zip(self.bounds, self.bounds[1:], strict=False)]

    def joined(self, steps: int) -> np.ndarray | None:
        """Return which pairs of states ``steps`` apart lie on one stretch.

        Returns:
            bool ``[N - steps]`` by the first of each pair; None for all of them.
        """
        if steps not in self._within:
            same = self.starts[steps:] == self.starts[:len(self) - steps]
            self._within[steps] = None if same.all() else same
        return self._within[steps]

    def nearby(self, state: int, others: np.ndarray, steps: int) -> np.ndarray:
        """Return which of some states show about the same place, bool ``[K]``.

        States are near in the order of their stretch or, with measured poses, in space and with
        about the same heading: a street that was driven twice is one place.

        Args:
            state: a state.
            others: int ``[K]``, states.
            steps: how near, in usual distances between successive places.
        """
        number = self.map_of(state)
        same_map = (others >= self.bounds[number]) & (others < self.bounds[number + 1])
        near = same_map & (np.abs(others - state) <= steps)
        near &= self.starts[others] == self.starts[state]
        if self.posed[number]:
            away = self.poses[others, :3] - self.poses[state, :3]
            reach_m = steps * self.mean_step_m[number]
            close = same_map & (np.einsum('ij,ij->i', away, away) <= reach_m ** 2)
            turn = np.abs(self.poses[others, 3:] @ self.poses[state, 3:])
            near |= close & (turn >= _HALF_HEADING)
        return near
