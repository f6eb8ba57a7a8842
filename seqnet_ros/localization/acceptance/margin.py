"""The gap to the next distinct place."""

import numpy as np

from seqnet_ros.localization.acceptance.rule import Match, Rule, RuleContext
from seqnet_ros.localization.result import Reason
from seqnet_ros.maps.place_map import Calibration
from seqnet_ros.maps.search.hierarchical_search import relative_margin


class Margin(Rule):
    """Whether no other place of the map is about as near as the best.

    Args:
        min_margin: smallest relative gap.
    """

    reason = Reason.AMBIGUOUS
    judges_searches = True

    def __init__(self, min_margin: float) -> None:
        self._min_margin = min_margin

    @classmethod
    def build(cls, context: RuleContext) -> 'Margin':
        """Make the rule."""
        return cls(context.engine.acceptance.min_margin)

    def passes(self, match: Match) -> bool:
        """Return whether the gap is wide enough."""
        return relative_margin(match.ranking) >= self._min_margin

    def passed_by(self, wrong: Calibration) -> np.ndarray:
        """Return bool ``[N]``: which of these wrong matches have a wide enough gap."""
        return np.array(wrong.margins) >= self._min_margin
