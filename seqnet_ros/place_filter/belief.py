"""The belief: how probable each place is, and that the robot is off the map."""

from dataclasses import dataclass

import numpy as np

from seqnet_ros.place_filter.motion import Modes, Transition, stacked
from seqnet_ros.place_filter.state_space import StateSpace

_DENSE = 64
"""Steps that span at most this many places are taken in one convolution."""


@dataclass(frozen=True)
class Entrance:
    """How a robot that is off the map comes onto it between two keyframes.

    Attributes:
        near: probability of coming onto the map from near it, where every robot is at first.
        far: the same from far away.
        straying: probability of getting far away from near the map.
        places: probability of each place to come onto the map at, ``[N]``, of sum 1 at most; None
            for all alike.
    """

    near: float
    far: float
    straying: float = 0.0
    places: np.ndarray | None = None

    @property
    def total(self) -> float:
        """Sum of `places`."""
        return 1.0 if self.places is None else float(self.places.sum())


class Belief:
    """Probabilities of all states, which always sum to one.

    Args:
        space: the places.
        modes: the modes of motion.
    """

    def __init__(self, space: StateSpace, modes: Modes) -> None:
        self._space = space
        self._modes = modes
        self._near, self._far = 1.0, 0.0
        self.mass = np.zeros((len(modes), len(space)))

    @property
    def off(self) -> float:
        """Probability that the robot is off the map, near it or far away."""
        return self._near + self._far

    @property
    def mass(self) -> np.ndarray:
        """Probability of each place in each mode of motion, float64 ``[S, N]``."""
        return self._mass

    @mass.setter
    def mass(self, mass: np.ndarray) -> None:
        self._mass = mass
        self._marginal: np.ndarray | None = None

    @property
    def marginal(self) -> np.ndarray:
        """Probability of each place, float64 ``[N]``."""
        if self._marginal is None:
            self._marginal = self._mass.sum(axis=0)
        return self._marginal

    def use_modes(self, modes: Modes) -> None:
        """Replace the modes of motion; the marginal is kept, their shares start anew."""
        self._modes = modes
        self.mass = modes.shares[:, None] * self.marginal

    def use_states(self, space: StateSpace, origin: np.ndarray) -> None:
        """Replace the places; the mass of places that are gone is off the map.

        Args:
            space: the places.
            origin: for each its number so far, or -1, int ``[N]``.
        """
        mass = np.zeros((len(self.mass), len(space)))
        kept = origin >= 0
        mass[:, kept] = self.mass[:, origin[kept]]
        self._near += max(float(self.mass.sum() - mass.sum()), 0.0)
        self.mass, self._space = mass, space

    def go_on_from(self, other: 'Belief', space: StateSpace, origin: np.ndarray,
                   modes: Modes) -> None:
        """Take over the belief of another, as of `use_states`; its modes too if they are alike."""
        self.mass, self._near, self._far = other.mass, other._near, other._far
        self.use_states(space, origin)
        self._modes = modes
        if len(modes) != len(self.mass):
            self.use_modes(modes)

    def clear(self) -> None:
        """Reset the belief: all probability is off the map, near it."""
        self.mass = np.zeros_like(self.mass)
        self._near, self._far = 1.0, 0.0

    def enter(self, entrance: Entrance) -> None:
        """Move a share of what is off the map onto it."""
        if not self.mass.size:
            return
        of_place = 1 / self.mass.shape[1] if entrance.places is None else entrance.places
        entering = (entrance.near * self._near + entrance.far * self._far) * of_place
        self.mass = self.mass + self._modes.shares[:, None] * entering
        self._near *= 1 - entrance.near * entrance.total
        self._far *= 1 - entrance.far * entrance.total

    def predict(self, transition: Transition, entrance: Entrance) -> None:
        """Move on to the next keyframe; what runs off an end that leads nowhere is off the map.

        Args:
            transition: how states change.
            entrance: how a robot that is off the map comes onto it.
        """
        before = float(self.marginal.sum())
        moved = self._moved(transition)
        stayed = float(moved.sum())
        moved *= 1 - transition.leave
        self.mass = moved
        self._near += max(before - stayed, 0.0)
        self.enter(entrance)
        self._near += transition.leave * stayed
        strayed = entrance.straying * self._near
        self._near, self._far = self._near - strayed, self._far + strayed

    def _moved(self, transition: Transition) -> np.ndarray:
        """Return the mass after it switched modes and moved, ``[S, N]``."""
        mixed = (1 - transition.switching) * self.mass
        mixed += transition.switching * self._modes.shares[:, None] * self.marginal
        moved = np.zeros_like(mixed)
        count = mixed.shape[1]
        steps, weights = stacked(transition.kernels)
        inside = np.abs(steps) < count
        steps, weights = steps[inside], weights[:, inside]
        if not len(steps):
            return moved
        first, last = int(steps[0]), int(steps[-1])
        if last - first >= _DENSE:
            for step, weight in zip(steps.tolist(), weights.T, strict=True):
                moved[:, max(step, 0):count + min(step, 0)] += (
                    weight[:, None] * mixed[:, max(-step, 0):count - max(step, 0)])
        else:
            kernels = np.zeros((len(mixed), last - first + 1))
            kernels[:, steps - first] = weights
            # Number k of the convolution is what arrives at place first + k.
            arriving = slice(max(first, 0), min(count + last, count))
            for row, target, kernel in zip(mixed, moved, kernels, strict=True):
                target[arriving] = np.convolve(row, kernel)[
                    arriving.start - first:arriving.stop - first]
        self._stop_at_ends(mixed, moved, steps, weights)
        self._cross_seams(mixed, moved, steps, weights)
        return moved

    def _stop_at_ends(self, mixed: np.ndarray, moved: np.ndarray, steps: np.ndarray,
                      weights: np.ndarray) -> None:
        """Take away what moved from one stretch to another."""
        crossed = False
        for step, weight in zip(steps.tolist(), weights.T, strict=True):
            ends = self._space.ends(abs(step))
            if len(ends):
                crossed = True
                source, target = (ends, ends + step) if step > 0 else (ends - step, ends)
                moved[:, target] -= weight[:, None] * mixed[:, source]
        if crossed:  # what is left of a difference may be a rounding error below zero
            np.maximum(moved, 0.0, out=moved)

    def _cross_seams(self, mixed: np.ndarray, moved: np.ndarray, steps: np.ndarray,
                     weights: np.ndarray) -> None:
        """Add what moved from the end of a stretch onto another."""
        if not len(self._space.seams):
            return
        for step, weight in zip(steps.tolist(), weights.T, strict=True):
            source, target, share = self._space.crossing(step)
            np.add.at(moved.T, target, (weight[:, None] * share * mixed[:, source]).T)

    def update(self, log_ratios: np.ndarray, of_motion: np.ndarray | None = None) -> None:
        """Take in evidence.

        Args:
            log_ratios: log-likelihood ratio of each place against being off the map, by what the
                robot sees, ``[N]``. It says nothing of unseen places.
            of_motion: the same by how it moved, ``[N]``, which holds for unseen places too.
        """
        mass = self.mass * np.where(self._modes.unseen[:, None], 1.0, np.exp(log_ratios))
        if of_motion is not None:
            mass *= np.exp(of_motion)
        total = float(mass.sum()) + self.off
        mass /= total
        self.mass = mass
        self._near, self._far = float(self._near / total), float(self._far / total)
