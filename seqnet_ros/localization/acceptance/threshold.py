"""The largest accepted distance, from the distribution of wrong matches."""

from statistics import NormalDist

import numpy as np

from seqnet_ros.localization.acceptance.rule import Match, Rule, RuleContext
from seqnet_ros.localization.result import Reason
from seqnet_ros.maps.place_map import Calibration

_LOOSEST_QUANTILE = 0.25
FEWEST_SAMPLES = 10
_WITHOUT_EVIDENCE = NormalDist(1.0, 0.1)
"""Assumed for maps too small to contain two different places: the minimum distance between
descriptors of unrelated images."""


class Threshold(Rule):
    """Whether the best place is nearer than wrong matches are.

    The best sequence distance at a wrong place is taken as normally distributed.

    Args:
        false_positive_rate: accepted share of wrong matches.
    """

    reason = Reason.TOO_FAR
    judges_searches = True

    def __init__(self, false_positive_rate: float) -> None:
        self._rate = false_positive_rate
        self.calibrate(None, 1.0)

    @classmethod
    def build(cls, context: RuleContext) -> 'Threshold':
        """Make the rule; it wants a calibration before use."""
        return cls(context.engine.acceptance.false_positive_rate)

    def calibrate(self, wrong: Calibration | None, share: float) -> None:
        """Set the threshold.

        Args:
            wrong: distribution of wrong matches; None where it is not known.
            share: share of wrong matches that the other rules let through.
        """
        self._wrong = _WITHOUT_EVIDENCE if wrong is None else NormalDist(
            float(np.mean(wrong.distances)), max(float(np.std(wrong.distances)), 1e-3))
        self.value = self._wrong.inv_cdf(min(self._rate / share, _LOOSEST_QUANTILE))

    def passes(self, match: Match) -> bool:
        """Return whether the best place is near enough."""
        return match.distance <= self.value

    def score(self, distance: float) -> float:
        """Return the share of wrong best matches that lie farther than this."""
        return 1.0 - self._wrong.cdf(distance)

    def deviation(self, distance: float) -> float:
        """Return how far a distance is from the mean of wrong matches, in standard deviations.

        Negative where it is nearer; tells distances apart whose scores are all but 1.
        """
        return (distance - self._wrong.mean) / self._wrong.stdev
