"""The belief: how probable each place is, and that the robot is off the map."""

import numpy as np

from seqnet_ros.place_filter.motion import Kernel, Transition
from seqnet_ros.place_filter.state_space import StateSpace


class Belief:
    """Probabilities of all states, which always sum to one.

    Args:
        space: the places.
        modes: probability of each mode of motion, ``[S]``.
        enter: probability of coming onto the map between two keyframes, where the robot is off it.
    """

    def __init__(self, space: StateSpace, modes: np.ndarray, enter: float) -> None:
        self._space = space
        self._enter = enter
        self.mass = np.zeros((len(modes), len(space)))
        """Probability of each place in each mode of motion, float64 ``[S, N]``."""
        self.off = 1.0
        """Probability that the robot is off the map."""

    @property
    def marginal(self) -> np.ndarray:
        """Probability of each place, float64 ``[N]``."""
        return self.mass.sum(axis=0)

    def use_modes(self, modes: np.ndarray) -> None:
        """Go on with other modes of motion, of which nothing is known, ``[S]``."""
        self.mass = modes[:, None] * self.marginal

    def use_states(self, space: StateSpace, origin: np.ndarray) -> None:
        """Go on among other places; the mass of places that are gone is off the map.

        Args:
            space: the places.
            origin: for each its number so far, or -1, int ``[N]``.
        """
        mass = np.zeros((len(self.mass), len(space)))
        kept = origin >= 0
        mass[:, kept] = self.mass[:, origin[kept]]
        self.off += max(float(self.mass.sum() - mass.sum()), 0.0)
        self.mass, self._space = mass, space

    def go_on_from(self, other: 'Belief', space: StateSpace, origin: np.ndarray,
                   modes: np.ndarray) -> None:
        """Take over the belief of another, as of `use_states`; its modes too if they are alike."""
        self.mass, self.off = other.mass, other.off
        self.use_states(space, origin)
        if len(modes) != len(self.mass):
            self.use_modes(modes)

    def clear(self) -> None:
        """Know nothing: the robot is off the map."""
        self.mass[:] = 0.0
        self.off = 1.0

    def enter(self, probability: float, modes: np.ndarray,
              entry: np.ndarray | None = None) -> None:
        """Move a share of what is off the map onto it.

        Args:
            probability: the share.
            modes: probability of each mode of motion, ``[S]``.
            entry: probability of each place, ``[N]``, of sum 1 at most; None for all alike.
        """
        if not self.mass.size:
            return
        if entry is None:
            entry = np.full(self.mass.shape[1], 1 / self.mass.shape[1])
        entering = probability * self.off * entry
        self.mass += modes[:, None] * entering
        self.off -= float(entering.sum())

    def predict(self, transition: Transition, entry: np.ndarray | None = None) -> None:
        """Move on to the next keyframe; what runs off the end of a stretch is off the map.

        Args:
            transition: how states change.
            entry: where the robot comes onto the map, as of `enter`.
        """
        modes = transition.modes[:, None]
        before = self.mass.sum()
        mixed = (1 - transition.switching) * self.mass
        mixed += transition.switching * modes * self.marginal
        moved = np.zeros_like(mixed)
        for row, target, kernel in zip(mixed, moved, transition.kernels, strict=True):
            self._move(row, target, kernel)
        stayed = moved.sum()
        off = self.off + max(before - stayed, 0.0)
        self.mass = (1 - transition.leave) * moved
        self.off = off
        self.enter(self._enter, transition.modes, entry)
        self.off = float(self.off + transition.leave * stayed)

    def _move(self, row: np.ndarray, target: np.ndarray, kernel: Kernel) -> None:
        for steps, weight in kernel:
            apart = abs(steps)
            if apart >= len(row):
                continue
            end = len(row) - apart
            moved = weight * (row[:end] if steps > 0 else row[apart:])
            joined = self._space.joined(apart)
            if joined is not None:
                moved *= joined
            if steps > 0:
                target[apart:] += moved
            else:
                target[:end] += moved

    def update(self, log_ratios: np.ndarray) -> None:
        """Take in evidence.

        Args:
            log_ratios: log-likelihood ratio of each place against being off the map, ``[N]``.
        """
        self.mass *= np.exp(log_ratios)
        total = self.mass.sum() + self.off
        self.mass /= total
        self.off = float(self.off / total)
