"""Loop closing: the youngest place that can be found is no loop."""

from seqnet_ros.localization.acceptance.rule import Match, PastDrive, Rule, RuleContext
from seqnet_ros.localization.result import Reason


class Recent(Rule):
    """Whether the place is older than the youngest that can be found.

    The youngest is often the best because later places are excluded, not because it is a loop.

    Args:
        drive: the drive so far.
    """

    reason = Reason.RECENT

    def __init__(self, drive: PastDrive) -> None:
        self._drive = drive

    @classmethod
    def build(cls, context: RuleContext) -> 'Recent | None':
        """Make the rule; it applies to loop closing only."""
        return None if context.drive is None else cls(context.drive)

    def passes(self, match: Match) -> bool:
        """Return whether the place is old enough."""
        return not self._drive.is_youngest(match.place)
