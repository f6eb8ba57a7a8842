"""Loop closing: a loop cannot be farther off than odometry has drifted."""

import numpy as np

from seqnet_ros.localization.acceptance.rule import Match, PastDrive, Rule, RuleContext
from seqnet_ros.localization.result import Reason

SAME_PLACE_M = 10.0
"""Two views of one place may be this far apart, whatever odometry drifts."""


class Odometry(Rule):
    """Whether drift of odometry can explain its distance to the place.

    Args:
        drive: the drive so far.
    """

    reason = Reason.ODOMETRY

    def __init__(self, drive: PastDrive) -> None:
        self._drive = drive

    @classmethod
    def build(cls, context: RuleContext) -> 'Odometry | None':
        """Make the rule; it applies to loop closing only."""
        return None if context.drive is None or not context.drive.max_drift else cls(context.drive)

    def passes(self, match: Match) -> bool:
        """Return whether the place is near enough by odometry; True without odometry."""
        drive = self._drive
        if not drive.posed:
            return True
        apart = np.linalg.norm(drive.positions[match.keyframe] - drive.positions[match.place])
        drift = drive.max_drift * drive.way_back_m(match.place)
        # Stated as what is refused: positions that are not numbers tell nothing.
        return not apart > SAME_PLACE_M + drift
