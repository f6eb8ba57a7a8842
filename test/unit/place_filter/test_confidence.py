"""Calibrated probability of a match."""

import numpy as np
import pytest

from seqnet_ros.place_filter.confidence import Confidence


def log_odds(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def mass_of(odds: float) -> float:
    return float(1 / (1 + np.exp(-odds)))


@pytest.mark.parametrize('bias', [-0.5, 0.0, 1.5])
def test_the_bias_is_where_99_percent_are_correct(bias):
    assert Confidence().probability(mass_of(bias), np.inf, bias) == pytest.approx(0.99, abs=1e-3)


def test_more_mass_and_more_support_are_more_probable():
    confidence = Confidence()
    by_mass = [confidence.probability(mass, 1.5) for mass in (0.0, 0.2, 0.5, 0.9, 1.0)]
    by_support = [confidence.probability(0.9, deviation) for deviation in (-1.0, 0.0, 0.8, 1.3)]
    for values in (by_mass, by_support):
        assert values == sorted(values)
        assert 0 < values[0] < values[-1] < 1


def test_a_drive_whose_places_stand_out_expects_that_of_the_newest_frame():
    strong = Confidence()
    for _ in range(200):
        strong.learn(0.99, 2.2, 1.0)
    assert strong.usual_deviation == pytest.approx(2.2, abs=0.25)
    assert strong.probability(0.9, 0.8) < Confidence().probability(0.9, 0.8)


def test_uncertain_places_teach_nothing():
    confidence = Confidence()
    before = confidence.usual_deviation
    confidence.learn(0.5, 9.0, 1.0)
    assert confidence.usual_deviation == before


@pytest.mark.parametrize(('mass', 'rival', 'most'), [
    (0.5, 0.5, 0.5), (0.6, 0.3, 16 / 17), (0.3, 0.6, 1 / 17)])
def test_a_rival_of_like_mass_leaves_a_place_uncertain(mass, rival, most):
    confidence = Confidence()
    assert confidence.probability(mass, np.inf, -5.0) > 0.99
    assert confidence.probability(mass, np.inf, -5.0, rival) == pytest.approx(most)
