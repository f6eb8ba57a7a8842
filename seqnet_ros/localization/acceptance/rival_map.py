"""The gap to the best place of any other map."""

from seqnet_ros.localization.acceptance.rule import Match, Rule, RuleContext
from seqnet_ros.localization.result import Reason
from seqnet_ros.maps.search.hierarchical_search import margin_between


class RivalMap(Rule):
    """Whether no other map has a place about as near as the best.

    Args:
        min_margin: smallest relative gap.
    """

    reason = Reason.AMBIGUOUS

    def __init__(self, min_margin: float) -> None:
        self._min_margin = min_margin

    @classmethod
    def build(cls, context: RuleContext) -> 'RivalMap | None':
        """Make the rule; maps that may overlap do not contradict each other."""
        return None if context.overlapping else cls(context.engine.acceptance.min_margin)

    def passes(self, match: Match) -> bool:
        """Return whether the gap is wide enough."""
        return margin_between(match.distance, match.rival_distance) >= self._min_margin
