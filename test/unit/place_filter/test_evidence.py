"""Evidence: standardized distances, background and novelty."""

import numpy as np
import pytest

from seqnet_ros.place_filter.evidence import LEAST, MOST, SLOPE, ZERO, Evidence, standardize


def noise(places: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(1.2, 0.1, places)


@pytest.mark.parametrize('places', [40, 150, 1000, 20_000])
def test_wrong_places_rarely_stand_out(places):
    deviations = standardize(noise(places))
    assert abs(np.median(deviations)) < 0.02
    assert np.mean(deviations > 1) == pytest.approx(0.025, abs=0.025)


def test_standardization_ignores_what_all_distances_share():
    distances = noise(500)
    np.testing.assert_allclose(standardize(3 * distances + 7), standardize(distances))


def test_equal_distances_say_nothing():
    weighed = Evidence(40).weigh(np.full(300, 1.3), [slice(0, 300)])
    assert np.isfinite(weighed.log_ratios).all()
    assert len(np.unique(weighed.log_ratios)) == 1


def test_the_first_frame_is_weighed_as_the_formula_says():
    distances = noise(500)
    distances[7] = 0.4
    weighed = Evidence(40, strength=0.5).weigh(distances, [slice(0, 500)])
    expected = 0.5 * np.clip(SLOPE * (standardize(distances) - ZERO), LEAST, MOST)
    np.testing.assert_allclose(weighed.log_ratios, expected)
    assert weighed.novelty == 1.0
    assert weighed.log_ratios.argmax() == 7


def test_a_frame_that_repeats_the_last_one_adds_nothing():
    evidence, distances = Evidence(40), noise(400)
    first = evidence.weigh(distances, [slice(0, 400)])
    again = evidence.weigh(distances, [slice(0, 400)])
    assert again.novelty < 0.2 * first.novelty


def test_independent_frames_count_in_full():
    evidence = Evidence(40)
    evidence.weigh(noise(400, 1), [slice(0, 400)])
    assert evidence.weigh(noise(400, 2), [slice(0, 400)]).novelty > 0.85


def test_a_place_that_resembles_everything_stops_standing_out():
    evidence, seen = Evidence(20), []
    for frame in range(60):
        distances = noise(400, frame)
        distances[50] = 0.8
        seen.append(evidence.weigh(distances, [slice(0, 400)]).deviations[50])
    assert seen[0] > 1.5
    assert np.mean(seen[-10:]) < 0.6 * seen[0]


def test_maps_are_standardized_on_their_own():
    first, second = noise(300, 1), 5 + 3 * noise(200, 2)
    both = Evidence(40).weigh(np.append(first, second), [slice(0, 300), slice(300, 500)])
    np.testing.assert_allclose(both.deviations[:300], standardize(first))
    np.testing.assert_allclose(both.deviations[300:], standardize(second))
