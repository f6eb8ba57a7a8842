"""Calibrated probability of a place from the mass of the belief."""

from dataclasses import dataclass

import numpy as np

_EPSILON = 1e-9
_LEAST_ODDS = -700.0
"""Below, `exp` overflows."""
_PRIOR_DEVIATION = 1.3
_PRIOR_KEYFRAMES = 10.0
_MEMORY = 50.0
_LEAST_LEARNED = 0.8
_SPREAD = 0.65
_RIVAL_POWER = 4.0
"""The odds of a place are at most this power of its mass in relation to that of its rival. Of two
places with equal mass each has probability one half, if it is certain that it is one of them."""


@dataclass(frozen=True)
class Calibration:
    """Coefficients of a logistic regression of correct matches.

    Attributes:
        offset: constant.
        mass: factor of the log odds of the mass.
        support: factor of the deviation of the newest frame at the place below what is usual, in
            standard deviations.
    """

    offset: float = 4.6
    mass: float = 1.5
    support: float = 2.25


class Confidence:
    """Turns the mass round a place into the probability that the robot is there.

    Successive frames are less independent than the filter takes them to be, and a robot that was
    carried is believed at its old place for some frames; calibration accounts for both.

    Args:
        calibration: the coefficients.
    """

    def __init__(self, calibration: Calibration | None = None) -> None:
        self._calibration = calibration or Calibration()
        self.forget()

    def forget(self) -> None:
        """Forget how well places usually match."""
        self._weight = _PRIOR_KEYFRAMES
        self._sum = _PRIOR_DEVIATION * _PRIOR_KEYFRAMES

    @property
    def usual_deviation(self) -> float:
        """How far correct places stand out on this drive, as known so far."""
        return self._sum / self._weight

    def learn(self, mass: float, deviation: float, novelty: float) -> None:
        """Note how far the most probable place stands out, where it is near certain."""
        if mass < _LEAST_LEARNED:
            return
        fade = 1 - 1 / _MEMORY
        prior = (1 - fade) * _PRIOR_KEYFRAMES
        self._weight = fade * self._weight + prior + mass * novelty
        self._sum = fade * self._sum + prior * _PRIOR_DEVIATION + mass * novelty * deviation

    def probability(self, mass: float, deviation: float, bias: float = 0.0,
                    rival: float = 0.0) -> float:
        """Return the probability that the robot is within the tolerance of a place.

        Args:
            mass: probability of the places within the tolerance, by the belief.
            deviation: how far the place stands out for the newest frame.
            bias: log odds of the mass at which 99 % of the matches are correct.
            rival: mass of the most probable other place.
        """
        mass = min(max(mass, _EPSILON), 1 - _EPSILON)
        lacking = min((deviation - self.usual_deviation) / _SPREAD, 0.0)
        fitted = self._calibration
        odds = (fitted.offset + fitted.mass * (float(np.log(mass / (1 - mass))) - bias)
                + fitted.support * lacking)
        odds = min(odds, _RIVAL_POWER * float(np.log(mass / max(rival, _EPSILON))))
        return float(1 / (1 + np.exp(-max(odds, _LEAST_ODDS))))
