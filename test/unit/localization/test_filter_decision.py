"""What the place filter reports, and what the geometric check changes."""

import numpy as np
import pytest

from seqnet_ros.config.engine import EngineConfig, GeometryConfig
from seqnet_ros.core.poses import make_pose
from seqnet_ros.localization.acceptance.rule import Match
from seqnet_ros.localization.filter_decision import ranking_of, weigh_geometry
from seqnet_ros.localization.result import Candidate, Reason

CHECKED = EngineConfig(geometry=GeometryConfig())


def match(*scores: float) -> Match:
    candidates = tuple(Candidate(10 * n, n, make_pose(n, 0), 0.5, 0.5, score)
                       for n, score in enumerate(scores))
    return Match(ranking_of(candidates), 0, candidates)


def test_a_passed_check_makes_a_place_more_probable():
    checked = match(0.9, 0.05)
    assert weigh_geometry(checked, Reason.ACCEPTED, CHECKED) is Reason.ACCEPTED
    odds = 0.9 / 0.1 * np.exp(3.0)
    assert checked.candidates[0].score == pytest.approx(odds / (1 + odds))
    assert checked.candidates[1].score == 0.05


def test_a_failed_check_makes_a_place_less_probable():
    checked = match(0.9)
    assert weigh_geometry(checked, Reason.GEOMETRY, CHECKED) is Reason.GEOMETRY
    odds = 0.9 / 0.1 * np.exp(-1.3)
    assert checked.candidates[0].score == pytest.approx(odds / (1 + odds))


def test_a_candidate_that_passed_in_place_of_the_best_needs_a_probability_of_its_own():
    assert weigh_geometry(match(0.3, 0.65), Reason.ACCEPTED, CHECKED) is Reason.CONVERGING


@pytest.mark.parametrize('engine', [
    EngineConfig(), EngineConfig(geometry=GeometryConfig(min_inliers=0))])
def test_a_check_that_rejects_nothing_says_nothing(engine):
    unchecked = match(0.995)
    assert weigh_geometry(unchecked, Reason.ACCEPTED, engine) is Reason.ACCEPTED
    assert unchecked.candidates[0].score == 0.995


def test_the_reason_of_another_rule_stands():
    rejected = match(0.995)
    assert weigh_geometry(rejected, Reason.RECENT, CHECKED) is Reason.RECENT
    assert rejected.candidates[0].score == 0.995
