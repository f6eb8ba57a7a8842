"""Motion model: where the belief moves between two keyframes."""

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
_TYPICAL = 0.35
"""Standard deviation of the logarithm of the relative speed before anything is known."""
_IRREGULAR_SHARE = 0.1
_IRREGULAR: Kernel = ((0, 0.1), (1, 0.3), (2, 0.3), (3, 0.2), (4, 0.1))
_SLIP_SHARE = 0.02
_SPEEDS = 7
_LEAST_WEIGHT = 1e-4


@dataclass(frozen=True)
class Transition:
    """How states change from one keyframe to the next.

    Attributes:
        kernels: for each mode of motion its steps.
        switching: probability of another mode.
        modes: probability of each mode where nothing is known, float64 ``[S]``.
        leave: probability of leaving the map.
    """

    kernels: tuple[Kernel, ...]
    switching: float
    modes: np.ndarray
    leave: float


class MotionModel:
    """Makes transitions.

    With odometry, and a map in meters, the step is known up to drift. Without, a set of relative
    speeds is followed at once; one more mode has irregular steps, as of keyframes that are dropped.

    Args:
        config: the settings.
        reverse: the query may drive against the direction of the map.
    """

    def __init__(self, config: FilterConfig, reverse: bool = False) -> None:
        self._config = config
        self._directions = (1, -1) if reverse else (1,)
        self._speeds = np.geomspace(config.min_speed, config.max_speed, _SPEEDS)
        usual = np.exp(-0.5 * (np.log(self._speeds) / _TYPICAL) ** 2)
        self._free = self._both_ways(
            np.append((1 - _IRREGULAR_SHARE) * usual / usual.sum(), _IRREGULAR_SHARE))
        self._known = self._both_ways(np.array([1 - _SLIP_SHARE, _SLIP_SHARE]))

    def _both_ways(self, modes: np.ndarray) -> np.ndarray:
        return np.tile(modes, len(self._directions)) / len(self._directions)

    def modes(self, measured: bool) -> np.ndarray:
        """Return the probabilities of the modes, with odometry or without, float64 ``[S]``."""
        return self._known if measured else self._free

    def transition(self, advance: float, measured: bool, leave: float) -> Transition:
        """Return what happens between two keyframes.

        Args:
            advance: how far the robot went: in places where that is measured, else relative to its
                usual distance between keyframes.
            measured: odometry measured it.
            leave: probability of leaving the map.
        """
        kernels = []
        for direction in self._directions:
            if measured:
                spread = float(np.hypot(_SPREAD, self._config.odometry_drift * advance))
                kernels.append(_kernel(advance, spread, direction))
            else:
                kernels.extend(_kernel(speed * advance, _SPREAD * max(speed, _SLOWEST_SPREAD),
                                       direction) for speed in self._speeds.tolist())
            kernels.append(_scaled(_IRREGULAR, advance, direction))
        return Transition(tuple(kernels), self._config.switching, self.modes(measured), leave)


def _kernel(mean: float, spread: float, direction: int) -> Kernel:
    return _gaussian(round(mean, 2), round(spread, 2), direction)


@lru_cache(maxsize=4096)
def _gaussian(mean: float, spread: float, direction: int) -> Kernel:
    """Return a normal distribution in whole steps."""
    normal = NormalDist(mean, max(spread, 0.05))
    first, last = int(np.floor(mean - 4 * spread)), int(np.ceil(mean + 4 * spread))
    weights = {step: normal.cdf(step + 0.5) - normal.cdf(step - 0.5)
               for step in range(first, last + 1)}
    kept = {step: weight for step, weight in weights.items() if weight >= _LEAST_WEIGHT}
    total = sum(kept.values())
    return tuple((direction * step, weight / total) for step, weight in kept.items())


@lru_cache(maxsize=4096)
def _scaled(kernel: Kernel, advance: float, direction: int) -> Kernel:
    """Return a kernel for a longer or shorter way."""
    if round(advance, 1) == 1.0:
        return tuple((direction * step, weight) for step, weight in kernel)
    scaled: dict[int, float] = {}
    for step, weight in kernel:
        low = int(np.floor(step * advance))
        share = step * advance - low
        for place, part in ((low, 1 - share), (low + 1, share)):
            if part > 0:
                scaled[direction * place] = scaled.get(direction * place, 0.0) + weight * part
    return tuple(sorted(scaled.items()))
