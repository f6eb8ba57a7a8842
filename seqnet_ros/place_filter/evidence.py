"""Evidence: what the newest keyframe says about every place.

A distance alone says little: light, blur and bare walls move the distances to all places together.
What counts is how far a place stands out among all places of the map, and whether it does so now
and not all the time. Three steps turn distances into log-likelihood ratios:

1. *Standardization.* The distances of a frame are expressed as deviations below their median, in
   units of the lower spread (median minus 2.5 % quantile). On all data that was examined, 97.5 % of
   wrong places lie below 1, whatever the descriptor; dark or bare frames, which resemble many
   places, have a large spread and so say little.
2. *Background.* Some places resemble everything for a while (hubs; Radovanovic et al., JMLR 2010).
   Each place's recent deviations are averaged, and what they explain of the newest ones is
   subtracted, as in the adaptive score normalization of speaker recognition (Matejka et al.,
   Interspeech 2017).
3. *Novelty.* Successive frames repeat one another's errors. With noise of correlation r between
   frames, a frame adds (1 - r) / (1 + r) of the information of an independent one; r is measured
   over all places for each frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

_LOWER = 0.025
_UNIT = NormalDist().inv_cdf(1 - _LOWER)
_FEW, _MANY = 100, 400
_LOWER_OF_FEW = 0.16
_SAMPLED = 4096

SLOPE = 2.0
ZERO = 0.9
LEAST, MOST = -3.0, 6.0
"""Log-likelihood ratio of a frame for a place as a function of its deviation: ``SLOPE`` times its
distance from ``ZERO``, limited; from correct and wrong places of Gardens Point and Nordland."""

_EPSILON = 1e-6
_LEAST_UNIT = 0.3


@dataclass(frozen=True)
class Weighed:
    """Evidence of a frame.

    Attributes:
        deviations: float64 ``[N]``, how far each place stands out, in units in which 97.5 % of
            wrong places are below 1.
        log_ratios: float64 ``[N]``, log-likelihood ratio of the robot being at each place against
            being at none.
        novelty: 0 to 1, the share of the evidence that earlier frames did not give.
    """

    deviations: np.ndarray
    log_ratios: np.ndarray
    novelty: float


class Evidence:
    """Weighs the distances of successive frames to all places.

    Args:
        memory: number of frames that the background is averaged over.
        strength: factor on the evidence; 1 is as calibrated.
    """

    def __init__(self, memory: float, strength: float = 1.0) -> None:
        self._decay = 1.0 / memory
        self._strength = strength
        self.forget()

    def forget(self) -> None:
        """Reset; the next frame sets the number of places."""
        self._background = np.zeros(0)
        self._filled = 0.0
        self._last = np.zeros(0)

    def moved(self, origin: np.ndarray, memory: float, strength: float) -> 'Evidence':
        """Return a copy with other settings and other places, as of `use_states`."""
        other = Evidence(memory, strength)
        other._background, other._last = self._background, self._last
        other._filled = self._filled
        other.use_states(origin)
        return other

    def use_states(self, origin: np.ndarray) -> None:
        """Replace the places.

        Args:
            origin: for each its number so far, or -1, int ``[N]``.
        """
        if len(self._last):
            self._background = _taken(self._background, origin)
            self._last = _taken(self._last, origin)

    def weigh(self, distances: np.ndarray, maps: Sequence[slice],
              sample: np.ndarray | None = None,
              present: np.ndarray | None = None) -> Weighed:
        """Weigh a frame.

        Args:
            distances: float ``[N]``, to all places.
            maps: the places of each map. They are standardized on their own, because the maps may
                be made in different light.
            sample: places that stand for the whole map, ascending, ``[J]``; None for all.
            present: how probable it is that the robot is near each place, ``[N]``. There, standing
                out is no background: the robot may stand still for long.
        """
        if not len(self._last):
            self._background = np.zeros(len(distances))
        deviations = np.empty(len(distances))
        for part in maps:
            chosen = _sample_of(part, sample)
            if part.stop > part.start:
                raw = standardize(np.asarray(distances[part], dtype=np.float64), chosen)
                deviations[part] = self._without_background(raw, part, chosen, present)
        self._filled += self._decay * (1 - self._filled)
        novelty = self._novelty(deviations)
        self._last = deviations
        log_ratios = np.clip(SLOPE * (deviations - ZERO), LEAST, MOST)
        log_ratios *= self._strength * novelty
        return Weighed(deviations, log_ratios, novelty)

    def _without_background(self, raw: np.ndarray, part: slice,
                            chosen: slice | np.ndarray,
                            present: np.ndarray | None) -> np.ndarray:
        background = self._background[part]
        centred = background - background[chosen].mean()
        power = float(centred[chosen] @ centred[chosen])
        explained = 0.0
        if power > _EPSILON:
            # A short memory holds the last few frames, whose place is not background.
            explained = self._filled * max(
                float((raw[chosen] - raw[chosen].mean()) @ centred[chosen]) / power, 0.0)
        absent = 1.0 if present is None else 1 - present[part]
        background += self._decay * absent * (raw - background)
        return standardize(explained * centred - raw, chosen, _LEAST_UNIT) if explained else raw

    def _novelty(self, deviations: np.ndarray) -> float:
        """Return what a frame adds to the last one, seen from the same place or the next."""
        last = self._last
        if not len(last) or len(deviations) < 3:
            return 1.0
        repeated = max(_correlation(deviations, last), _correlation(deviations[1:], last[:-1]), 0.0)
        return float(np.sqrt((1 - repeated) / (1 + repeated)))


def standardize(distances: np.ndarray, sample: slice | np.ndarray | None = None,
                least_unit: float = _EPSILON) -> np.ndarray:
    """Return how far distances ``[N]`` lie below their median, in units of their lower spread.

    The quantile that gives the spread is wider for few places, among which the correct one and its
    neighbors are a large share.

    Args:
        distances: the distances.
        sample: rows that median and spread are computed from, ``[J]``; None for all.
        least_unit: smallest unit; what is left of a frame that repeats others is noise.
    """
    values = distances if sample is None else distances[sample]
    share = float(np.interp(len(values), (_FEW, _MANY), (_LOWER_OF_FEW, _LOWER)))
    low, middle = _quantiles(values, share)
    unit = (middle - low) * _UNIT / NormalDist().inv_cdf(1 - share)
    return (middle - distances) / max(unit, least_unit)


def _sample_of(part: slice, sample: np.ndarray | None) -> slice | np.ndarray:
    """Return the sample of a map, counted from its first place."""
    count = part.stop - part.start
    if sample is None:
        return slice(0, count, max(1, count // _SAMPLED))
    first, end = np.searchsorted(sample, (part.start, part.stop))
    return sample[first:end] - part.start


def _quantiles(sample: np.ndarray, share: float) -> tuple[float, float]:
    ranks = [int(share * (len(sample) - 1)), (len(sample) - 1) // 2]
    ordered = np.partition(sample, ranks)
    return float(ordered[ranks[0]]), float(ordered[ranks[1]])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b) / max(float(np.sqrt((a @ a) * (b @ b))), _EPSILON)


def _taken(values: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Return values in another order, 0 where there was none."""
    taken = np.zeros(len(origin))
    kept = origin >= 0
    taken[kept] = values[origin[kept]]
    return taken
