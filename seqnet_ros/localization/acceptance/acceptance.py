"""Acceptance of the best candidate: all rules, one after the other."""

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np

from seqnet_ros.localization.acceptance.agreement import Agreement
from seqnet_ros.localization.acceptance.registry import build_rules
from seqnet_ros.localization.acceptance.rule import Match, Rule, RuleContext
from seqnet_ros.localization.acceptance.threshold import FEWEST_SAMPLES, Threshold
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.place_map import Calibration
from seqnet_ros.maps.search.hierarchical_search import Ranking


def list_candidates(ranking: Ranking, most: int, score: Callable[[float], float],
                    seen: Callable[[int], tuple[int, np.ndarray]],
                    map_id: str = '') -> tuple[Candidate, ...]:
    """Return the best places of a ranking with everything known of them.

    Args:
        ranking: distinct places.
        most: maximum number of candidates.
        score: returns the score of a sequence distance.
        seen: returns when and where, ``[7]``, a place was seen.
        map_id: the map they are in; empty for the drive so far.
    """
    found = []
    for place, coarse, fine in zip(ranking.places[:most].tolist(),
                                   ranking.descriptor_distances.tolist(),
                                   ranking.sequence_distances.tolist(), strict=False):
        stamp_ns, pose = seen(place)
        found.append(Candidate(place, stamp_ns, pose.copy(), coarse, fine, score(fine), map_id))
    return tuple(found)


class Acceptance:
    """Judges rankings one after the other; it remembers the results of the last ones.

    Margin and agreement alone reject most wrong matches, so the threshold is set where all rules
    that judge searches together let through the requested share.

    Args:
        context: what the rules are made of.
        calibration: distribution of wrong matches among these places.
        by_distance_alone: as of `calibrate`.
    """

    def __init__(self, context: RuleContext, calibration: Calibration,
                 by_distance_alone: bool = False) -> None:
        self._rules = build_rules(context)
        self._threshold = cast(Threshold, self._rules['threshold'])
        self.agreement = cast(Agreement, self._rules['agreement'])
        self.calibrate(calibration, by_distance_alone)

    def calibrate(self, calibration: Calibration, by_distance_alone: bool = False) -> None:
        """Set the threshold from the wrong matches known so far.

        Args:
            calibration: the wrong matches known so far.
            by_distance_alone: set the threshold as if the other rules rejected nothing; for
                calibrations that cannot tell how often wrong matches pass them.
        """
        if len(calibration.distances) < FEWEST_SAMPLES:
            self._threshold.calibrate(None, 1.0)
        else:
            share = 1.0 if by_distance_alone else self._share_let_through(calibration)
            self._threshold.calibrate(calibration, share)

    def _share_let_through(self, calibration: Calibration) -> float:
        """Return the share of wrong matches that pass the other rules that judge searches."""
        passed = np.logical_and.reduce([
            rule.passed_by(calibration) for rule in self._rules.values() if rule.judges_searches])
        return (int(passed.sum()) + 1) / (len(passed) + 1)

    def forget(self) -> None:
        """Reset after a break in the sequence."""
        for rule in self._rules.values():
            rule.forget()

    def go_on_from(self, other: 'Acceptance') -> None:
        """Remember what the same rules have seen among the same places with other settings."""
        for name, rule in self._rules.items():
            if name in other._rules:
                rule.go_on_from(other._rules[name])

    @property
    def threshold(self) -> float:
        """Largest sequence distance that is accepted."""
        return self._threshold.value

    @property
    def expected_speed(self) -> float:
        """Map frames per query keyframe, known from the matches so far."""
        return self.agreement.expected_speed

    def score(self, sequence_distance: float) -> float:
        """Return the share of wrong best matches that lie farther than this."""
        return self._threshold.score(sequence_distance)

    def deviation(self, sequence_distance: float) -> float:
        """Return the deviation of a distance from wrong matches, as `Threshold.deviation`."""
        return self._threshold.deviation(sequence_distance)

    def judge(self, ranking: Ranking, keyframe: int) -> Reason:
        """Return why a search is accepted or rejected by the rules that judge searches.

        Args:
            ranking: distinct places for the sequence that ends at this keyframe.
            keyframe: number of the newest keyframe since the last break.
        """
        if len(ranking.places) == 0:
            return Reason.NO_CANDIDATES
        match = Match(ranking, keyframe)
        for rule in self._rules.values():
            rule.observe(match)
        return _first_reason(
            match, (rule for rule in self._rules.values() if rule.judges_searches))

    def confirm(self, match: Match) -> Reason:
        """Return why a match that `judge` accepted is accepted or rejected by the other rules."""
        return _first_reason(
            match, (rule for rule in self._rules.values() if not rule.judges_searches))


def _first_reason(match: Match, rules: Iterable[Rule]) -> Reason:
    return next((rule.reason for rule in rules if not rule.passes(match)), Reason.ACCEPTED)
