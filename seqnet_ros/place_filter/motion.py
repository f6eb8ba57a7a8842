"""Motion model: where the belief moves between two keyframes."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from seqnet_ros.config.engine import FilterConfig

Kernel = tuple[tuple[int, float], ...]
"""Steps along the map, in places, and their probabilities."""

_SPREAD = 0.35
"""Standard deviation of a step, places: keyframes of two drives do not fall on the same spots."""
_SLOWEST_SPREAD = 0.5
_UNSEEN_SPREAD = 0.5
_TYPICAL = 0.35
"""Standard deviation of the logarithm of the relative speed before anything is known."""
_STANDING_SHARE = 0.1
_STANDING: Kernel = ((0, 1.0),)
_IRREGULAR_SHARE = 0.1
_IRREGULAR: Kernel = ((0, 0.1), (1, 0.3), (2, 0.3), (3, 0.2), (4, 0.1))
_SLIP_SHARE = 0.02
_SPEEDS = 7
_LEAST_WEIGHT = 1e-4
_LEAST_SPREAD = 0.05
_REMEMBERED = 64
"""Steps of different lengths whose kernels are kept, some kilobytes each; making them anew takes a
tenth of a millisecond."""


@dataclass(frozen=True)
class Modes:
    """Ways in which the robot may go along the map.

    Attributes:
        shares: probability of each where nothing is known, float64 ``[S]``.
        unseen: in which of them the images do not show the places, bool ``[S]``.
    """

    shares: np.ndarray
    unseen: np.ndarray

    def __len__(self) -> int:
        """Return their number."""
        return len(self.shares)


@dataclass(frozen=True)
class Transition:
    """How states change from one keyframe to the next.

    Attributes:
        kernels: for each mode of motion its steps.
        switching: probability of another mode.
        leave: probability of leaving the map.
    """

    kernels: tuple[Kernel, ...]
    switching: float
    leave: float


class MotionModel:
    """Makes transitions.

    With odometry, and a map in meters, the step is known up to drift. Without, a set of relative
    speeds is followed at once; one more mode stands still, and one has irregular steps, as of
    keyframes that are dropped.

    In one more mode the robot is on the map, but the images do not show its places: in a tunnel,
    against the sun, behind a truck. It goes on at its usual speed, and when the images show the
    places again, it is not lost.

    Args:
        config: the settings.
        reverse: the query may drive against the direction of the map.
    """

    def __init__(self, config: FilterConfig, reverse: bool = False) -> None:
        self._config = config
        self._directions = (1, -1) if reverse else (1,)
        self._speeds = np.geomspace(config.min_speed, config.max_speed, _SPEEDS)
        usual = np.exp(-0.5 * (np.log(self._speeds) / _TYPICAL) ** 2)
        self._free = self._modes(
            np.append((1 - _STANDING_SHARE - _IRREGULAR_SHARE) * usual / usual.sum(),
                      [_STANDING_SHARE, _IRREGULAR_SHARE]))
        self._known = self._modes(np.array([1 - _SLIP_SHARE, _SLIP_SHARE]))
        self._kernels = lru_cache(_REMEMBERED)(self._make_kernels)

    def _modes(self, seen: np.ndarray) -> Modes:
        shares = np.append((1 - self._config.unseen) * seen, self._config.unseen)
        unseen = np.arange(len(shares)) == len(seen)
        ways = len(self._directions)
        return Modes(np.tile(shares, ways) / ways, np.tile(unseen, ways))

    def modes(self, measured: bool) -> Modes:
        """Return the modes, with odometry or without."""
        return self._known if measured else self._free

    def transition(self, advance: float, measured: bool, leave: float) -> Transition:
        """Return what happens between two keyframes.

        Args:
            advance: how far the robot went: in places where that is measured, else relative to its
                usual distance between keyframes.
            measured: odometry measured it.
            leave: probability of leaving the map.
        """
        return Transition(self._kernels(round(advance, 2), measured), self._config.switching, leave)

    def _make_kernels(self, advance: float, measured: bool) -> tuple[Kernel, ...]:
        kernels = []
        for direction in self._directions:
            if measured:
                spread = float(np.hypot(_SPREAD, self._config.odometry_drift * advance))
                kernels.append(_kernel(advance, spread, direction))
            else:
                spread = _UNSEEN_SPREAD
                kernels.extend(_kernel(speed * advance, _SPREAD * max(speed, _SLOWEST_SPREAD),
                                       direction) for speed in self._speeds.tolist())
                kernels.append(_STANDING)
            kernels.append(_shared(((step * advance, weight) for step, weight in _IRREGULAR),
                                   direction))
            kernels.append(_kernel(advance, spread, direction))
        return tuple(kernels)


@lru_cache(_REMEMBERED)
def stacked(kernels: tuple[Kernel, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of several kernels, int ``[K]`` ascending, and their weights ``[S, K]``."""
    steps = sorted({step for kernel in kernels for step, _ in kernel})
    weights = [[dict(kernel).get(step, 0.0) for step in steps] for kernel in kernels]
    return np.array(steps), np.array(weights)


def _kernel(mean: float, spread: float, direction: int) -> Kernel:
    """Return whole steps with exactly this mean: the two nearest ones, blurred."""
    blur = _rounded_normal(spread)
    return _shared(((mean + step, weight) for step, weight in blur), direction)


def _rounded_normal(spread: float) -> Kernel:
    """Return a normal distribution about zero in whole steps."""
    normal = NormalDist(0.0, max(spread, _LEAST_SPREAD))
    reach = int(np.ceil(4 * spread))
    weights = {step: normal.cdf(step + 0.5) - normal.cdf(step - 0.5)
               for step in range(-reach, reach + 1)}
    kept = {step: weight for step, weight in weights.items() if weight >= _LEAST_WEIGHT}
    total = sum(kept.values())
    return tuple((step, weight / total) for step, weight in kept.items())


def _shared(steps: Iterable[tuple[float, float]], direction: int) -> Kernel:
    """Share steps that are not whole between the two next to them."""
    shared: dict[int, float] = {}
    for step, weight in steps:
        low = int(np.floor(step))
        for place, part in ((low, low + 1 - step), (low + 1, step - low)):
            if part > 0:
                shared[direction * place] = shared.get(direction * place, 0.0) + weight * part
    return tuple(sorted(shared.items()))
