"""The decision on a match from the belief of the place filter."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seqnet_ros.config.engine import EngineConfig, GeometryConfig
from seqnet_ros.localization.acceptance.rule import Match
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.search.hierarchical_search import Ranking
from seqnet_ros.place_filter.place_filter import Hypothesis, PlaceFilter

_OFF_MAP = 0.5
_FEWEST = 3
"""Keyframes since the start or a break before anything is accepted: one image may be anything."""
_RIVAL = 0.1
"""A rival holds at least this share of the mass of the most probable place."""
_PASSED, _FAILED = 3.0, -1.3
"""Log-likelihood ratio of a place by the geometric check. Of 189 correct pairs of images 141 pass,
of 283 wrong pairs, the most similar ones, 9 (Gardens Point, an indoor corridor, rendered towns)."""


def decide(place_filter: PlaceFilter, hypotheses: Sequence[Hypothesis],
           engine: EngineConfig) -> Reason:
    """Return why the most probable place is accepted or rejected before other rules judge it.

    A place that the geometric check verifies later needs less evidence from its appearance.

    Args:
        place_filter: the filter.
        hypotheses: its distinct places, most probable first, at least one.
        engine: the settings.
    """
    wanted = 1 - engine.acceptance.false_positive_rate
    if _after_check(hypotheses[0].probability, True, engine.geometry) >= wanted:
        return Reason.ACCEPTED if place_filter.keyframes >= _FEWEST else Reason.CONVERGING
    if place_filter.off_map >= _OFF_MAP:
        return Reason.OFF_MAP
    rivals = [one for one in hypotheses[:2] if one.mass >= _RIVAL * hypotheses[0].mass]
    if len(rivals) > 1 and place_filter.probability_of_any(rivals) >= wanted:
        return Reason.AMBIGUOUS
    return Reason.CONVERGING


def weigh_geometry(match: Match, reason: Reason, engine: EngineConfig) -> Reason:
    """Take the outcome of the geometric check into the score of the best candidate.

    Args:
        match: a match that `decide` accepted; its best candidate gets the new score.
        reason: what the other rules, the geometric check among them, decided.
        engine: the settings.

    Returns:
        The reason; a place that is still not probable enough is not accepted.
    """
    if engine.geometry is None or reason not in (Reason.ACCEPTED, Reason.GEOMETRY):
        return reason
    best = match.candidates[0]
    passed = reason is Reason.ACCEPTED
    score = _after_check(best.score, passed, engine.geometry)
    match.candidates = (replace(best, score=score), *match.candidates[1:])
    if passed and score < 1 - engine.acceptance.false_positive_rate:
        return Reason.CONVERGING
    return reason


def _after_check(probability: float, passed: bool, geometry: GeometryConfig | None) -> float:
    """Return the probability of a place after a geometric check with this outcome."""
    if geometry is None or geometry.min_inliers == 0:
        return probability
    gain = float(np.exp(_PASSED if passed else _FAILED))
    return probability * gain / (probability * gain + 1 - probability)


def ranking_of(candidates: Sequence[Candidate]) -> Ranking:
    """Return candidates in one map as the acceptance rules take them."""
    distances = np.array([candidate.sequence_distance for candidate in candidates])
    return Ranking(np.array([candidate.place_id for candidate in candidates]), distances,
                   distances, np.ones(len(candidates)))
