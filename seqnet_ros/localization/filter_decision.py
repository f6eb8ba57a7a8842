"""What is reported of the belief of the place filter."""

from collections.abc import Sequence

import numpy as np

from seqnet_ros.config.engine import AcceptanceConfig
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.search.hierarchical_search import Ranking
from seqnet_ros.place_filter.place_filter import Hypothesis, PlaceFilter

JUMP = 0.999
"""Probability that the robot is elsewhere after a break in the recording."""
_OFF_MAP = 0.5
_FEWEST = 3
"""Keyframes since the start or a break before anything is accepted: one image may be anything."""
_RIVAL = 0.1
"""A rival holds at least this share of the mass of the most probable place."""


def decide(place_filter: PlaceFilter, hypotheses: Sequence[Hypothesis],
           acceptance: AcceptanceConfig) -> Reason:
    """Return why the most probable place is accepted or rejected.

    Args:
        place_filter: the filter.
        hypotheses: its distinct places, most probable first, at least one.
        acceptance: the settings.
    """
    wanted = 1 - acceptance.false_positive_rate
    if hypotheses[0].probability >= wanted:
        return Reason.ACCEPTED if place_filter.keyframes >= _FEWEST else Reason.CONVERGING
    if place_filter.off_map >= _OFF_MAP:
        return Reason.OFF_MAP
    rivals = [one for one in hypotheses[:2] if one.mass >= _RIVAL * hypotheses[0].mass]
    if len(rivals) > 1 and place_filter.probability_of_any(rivals) >= wanted:
        return Reason.AMBIGUOUS
    return Reason.CONVERGING


def ranking_of(candidates: Sequence[Candidate], map_id: str) -> Ranking:
    """Return the candidates in one map as the acceptance rules take them."""
    own = [candidate for candidate in candidates if candidate.map_id == map_id]
    distances = np.array([candidate.sequence_distance for candidate in own])
    return Ranking(np.array([candidate.place_id for candidate in own]), distances, distances,
                   np.ones(len(own)))
