"""The geometry of local features: both images must show one scene."""

from seqnet_ros.localization.acceptance.rule import Match, Rule, RuleContext
from seqnet_ros.localization.geometry.geometric_check import GeometricCheck
from seqnet_ros.localization.result import Reason


class Geometry(Rule):
    """Whether one of the best candidates passes the geometric check; that one comes first then.

    Args:
        check: checks images against the places.
    """

    reason = Reason.GEOMETRY

    def __init__(self, check: GeometricCheck) -> None:
        self._check = check

    @classmethod
    def build(cls, context: RuleContext) -> 'Geometry | None':
        """Make the rule; it applies where the settings have a section ``geometry``."""
        return None if context.geometry is None else cls(context.geometry)

    def passes(self, match: Match) -> bool:
        """Return whether a candidate passes; what was found is added to the candidates."""
        assert match.features is not None
        match.candidates, reason = self._check.confirm_features(
            match.features(), match.candidates)
        return reason is Reason.ACCEPTED
