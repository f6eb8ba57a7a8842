"""The states of the filter: every place of the maps in one row."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from seqnet_ros.place_filter.seams import Seams

_HALF_HEADING = np.cos(np.deg2rad(90.0) / 2)
"""Views that differ in heading by more than 90 degrees show different things."""

Crossing = tuple[np.ndarray, np.ndarray, np.ndarray]


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
        frames: number of the coordinate frame of each map; empty where each has its own.
        seams: where the way goes on at the ends of stretches.
        distinct: one state for each group of states that show the same place, int64 ``[J]``;
            None where all states differ.
        whole: places of all maps that the robot may be on, where the states are a part of them;
            None where the states are all.
    """

    bounds: tuple[int, ...]
    starts: np.ndarray
    poses: np.ndarray
    mean_step_m: tuple[float, ...]
    posed: tuple[bool, ...]
    turns: np.ndarray | None = None
    frames: tuple[int, ...] = ()
    seams: Seams = field(default_factory=Seams)
    distinct: np.ndarray | None = None
    whole: int | None = None
    _ends: dict[int, np.ndarray] = field(default_factory=dict)
    _crossing: dict[int, Crossing] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of states."""
        return self.bounds[-1]

    @property
    def map_places(self) -> int:
        """Number of places of the maps that differ, also of those that are no states."""
        if self.whole is not None:
            return self.whole
        return len(self) if self.distinct is None else len(self.distinct)

    def map_of(self, state: int) -> int:
        """Return the number of the map that a state belongs to."""
        return bisect_right(self.bounds, state) - 1

    def slices(self) -> Sequence[slice]:
        """Return the states of each map."""
        return [slice(first, end)
                for first, end in zip(self.bounds, self.bounds[1:], strict=False)]

    def sharing(self, number: int) -> list[int]:
        """Return the maps that share their coordinates with a map, itself among them."""
        if not self.frames:
            return [number]
        return [other for other, frame in enumerate(self.frames) if frame == self.frames[number]]

    def ends(self, steps: int) -> np.ndarray:
        """Return from which states ``steps`` onward lie on another stretch, int ``[K]``."""
        if steps not in self._ends:
            self._ends[steps] = np.flatnonzero(
                self.starts[steps:] != self.starts[:len(self) - steps])
        return self._ends[steps]

    def crossing(self, steps: int) -> Crossing:
        """Return from which states so many steps lead over a seam, as `Seams.crossing`."""
        if steps not in self._crossing:
            self._crossing[steps] = self.seams.crossing(steps, self.starts)
        return self._crossing[steps]


class StateGroup:
    """Some states of a space, which are compared with one another.

    Args:
        space: the space.
        numbers: the states, int ``[K]``.
    """

    def __init__(self, space: StateSpace, numbers: np.ndarray) -> None:
        self._space = space
        self._numbers = numbers
        self._starts = space.starts[numbers]
        poses = space.poses[numbers]
        self._positions, self._rotations = poses[:, :3], poses[:, 3:]

    def near(self, index: int, steps: int) -> np.ndarray:
        """Return which of the states show about the same place, bool ``[K]``.

        States are near in the order of their stretch or, with measured poses, in space and with
        about the same heading: a street that was driven twice is one place.

        Args:
            index: of a state in the group.
            steps: how near, in usual distances between successive places.
        """
        space, numbers = self._space, self._numbers
        state = int(numbers[index])
        near = (np.abs(numbers - state) <= steps) & (self._starts == self._starts[index])
        number = space.map_of(state)
        if space.posed[number]:
            away = self._positions - self._positions[index]
            reach_m = steps * space.mean_step_m[number]
            close = np.einsum('ij,ij->i', away, away) <= reach_m ** 2
            close &= np.abs(self._rotations @ self._rotations[index]) >= _HALF_HEADING
            sharing = space.sharing(number)
            if len(sharing) < len(space.posed):
                close &= np.isin(np.searchsorted(space.bounds, numbers, side='right') - 1, sharing)
            near |= close
        return near


def mean_step(positions: np.ndarray, starts: np.ndarray) -> float:
    """Return the mean distance between successive places of unbroken stretches, meters.

    Not the median: where images come every 0.8 m and keyframes every meter, places are 0.8 m
    and 1.6 m apart in turn, and the median of that is too small.
    """
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)[starts[1:] == starts[:-1]]
    return float(steps.mean()) if len(steps) else 0.0
