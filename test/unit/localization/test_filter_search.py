"""Localization with the place filter on a painted street."""

from collections.abc import Iterable

import numpy as np
import pytest
from streets import Street, small_model

from seqnet_ros.core.poses import make_pose
from seqnet_ros.localization import filter_search
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.result import MatchResult, Reason
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel

SECOND = 10 ** 9
METERS = 300


@pytest.fixture(scope='module')
def small() -> PlaceModel:
    return small_model()


@pytest.fixture(scope='module')
def street() -> Street:
    return Street(11, METERS + 20)


def mapped(model: PlaceModel, street: Street, places: Iterable[int], posed: bool) -> PlaceMap:
    mapper = Mapper(model)
    for x in places:
        mapper.push(street.view(x), x * SECOND, make_pose(x, 0.0) if posed else None)
    return mapper.finish('street', 'painted')


@pytest.fixture(scope='module')
def posed(small, street) -> PlaceMap:
    return mapped(small, street, range(METERS), posed=True)


@pytest.fixture(scope='module')
def unposed(small, street) -> PlaceMap:
    return mapped(small, street, range(METERS), posed=False)


def drive(localizer: Localizer, street: Street, places: Iterable[float], odometry: bool = False,
          first: int = 0) -> list[MatchResult]:
    """Drive on, a second an image."""
    results = [localizer.push(street.view(x, seed=5), (first + n) * SECOND,
                              make_pose(x, 7.0) if odometry else None)
               for n, x in enumerate(places)]
    return [result for result in results if result is not None]


def errors(results: list[MatchResult], places: Iterable[float]) -> np.ndarray:
    return np.array([abs(result.best.place_id - x) for result, x in zip(
        results, places, strict=True)])


@pytest.mark.parametrize('odometry', [False, True])
def test_a_robot_that_is_switched_on_anywhere_is_found_soon(
        small, street, posed, unposed, odometry):
    places = range(140, 200)
    results = drive(Localizer(small, posed if odometry else unposed), street, places, odometry)
    accepted = np.array([result.accepted for result in results])
    assert np.argmax(accepted) < 10
    assert accepted[10:].mean() > 0.9
    assert (errors(results, places)[accepted] <= 3).all()


def test_probabilities_are_those_of_a_belief(small, street, posed):
    localizer = Localizer(small, posed)
    for result in drive(localizer, street, range(50, 90), odometry=True):
        assert 0 <= result.off_map <= 1
        assert localizer.belief.min() >= 0
        scores = [candidate.score for candidate in result.candidates]
        assert all(0 <= score <= 1 for score in scores)
    assert localizer.belief.sum() + result.off_map == pytest.approx(1.0)
    assert localizer.belief.argmax() == 89


def test_the_pose_lies_between_places(small, street, posed):
    places = np.arange(60, 110) + 0.5
    results = drive(Localizer(small, posed), street, places, odometry=True)[15:]
    apart = [abs(result.pose[0] - x) for result, x in zip(results, places[15:], strict=True)]
    assert np.median(apart) < 0.4
    for result in results:
        deviation = np.sqrt(result.position_covariance[0, 0])
        assert 0.05 < deviation < 5


def test_a_robot_that_stands_without_odometry_stays_where_it_is(small, street, unposed):
    localizer = Localizer(small, unposed)
    drive(localizer, street, range(100, 140))
    standing = [localizer.push(street.view(140, seed=n % 7), (40 + n) * SECOND)
                for n in range(200)]
    for result in standing[5:]:
        assert abs(result.best.place_id - 140) <= 3
    on = drive(localizer, street, range(141, 171), first=240)
    assert on[-1].accepted
    assert on[-1].best.place_id == pytest.approx(170, abs=1)


@pytest.mark.parametrize('speed', [0.5, 1.5, 2.0])
def test_other_speeds_are_followed_without_odometry(small, street, unposed, speed):
    places = 40 + speed * np.arange(60)
    results = drive(Localizer(small, unposed), street, places)
    accepted = np.array([result.accepted for result in results])
    assert accepted.mean() > 0.5
    assert (errors(results, places)[accepted] <= 3).all()


def test_a_carried_robot_is_found_again(small, street, unposed):
    localizer = Localizer(small, unposed)
    before = drive(localizer, street, range(20, 60))
    places = range(200, 240)
    after = drive(localizer, street, places, first=40)
    assert before[-1].accepted
    accepted = np.array([result.accepted for result in after])
    right = errors(after, places) <= 3
    assert np.argmax(accepted & right) < 15
    assert (accepted & ~right).sum() <= 2


def test_after_a_time_jump_nothing_wrong_is_accepted(small, street, unposed):
    localizer = Localizer(small, unposed)
    drive(localizer, street, range(20, 60))
    places = range(200, 240)
    after = drive(localizer, street, places, first=1000)
    accepted = np.array([result.accepted for result in after])
    assert accepted.any()
    assert (errors(after, places)[accepted] <= 3).all()


def test_another_street_is_off_the_map(small, posed):
    results = drive(Localizer(small, posed), Street(99, METERS), range(60, 160), odometry=True)
    assert not any(result.accepted for result in results)
    assert np.mean([result.reason is Reason.OFF_MAP for result in results]) > 0.8


def test_two_streets_that_look_alike_are_ambiguous(small):
    """The same wall is mapped twice, 1 km apart: nothing tells which one it is."""
    wall = Street(5, 150)
    mapper = Mapper(small, small.preset.with_settings({'keyframes.max_gap_m': 2000.0}).engine)
    for round_number in range(2):
        for x in range(120):
            mapper.push(wall.view(x), (200 * round_number + x) * SECOND,
                        make_pose(x, 1000.0 * round_number))
    results = drive(Localizer(small, mapper.finish('walls', 'painted')), wall, range(20, 80),
                    odometry=True)
    assert not any(result.accepted for result in results)
    late = results[20:]
    assert np.mean([result.reason is Reason.AMBIGUOUS for result in late]) > 0.8
    for result in late:
        first, second = (candidate.place_id for candidate in result.candidates[:2])
        assert abs(abs(first - second) - 120) <= 3


def test_the_order_of_maps_does_not_matter(small, street):
    other = mapped(small, Street(77, 200), range(150), posed=True)
    own = mapped(small, street, range(150), posed=True)
    one, two = (drive(Localizer(small, maps), street, range(30, 90), odometry=True)
                for maps in ([own, other], [other, own]))
    for a, b in zip(one, two, strict=True):
        assert a.reason is b.reason
        assert (a.best.map_id, a.best.place_id) == (b.best.map_id, b.best.place_id)
        assert a.best.score == pytest.approx(b.best.score, abs=1e-4)


def test_the_rate_moves_the_outcome_over_its_whole_range(small, street, unposed):
    accepted = []
    for rate in (1e-4, 0.01, 0.2, 1.0):
        engine = small.preset.with_settings({'acceptance.false_positive_rate': rate}).engine
        results = drive(Localizer(small, unposed, engine), street, range(100, 140))
        accepted.append(sum(result.accepted for result in results))
    assert accepted == sorted(accepted)
    assert accepted[0] < accepted[-1] == 38  # all but the first two


def test_a_large_map_is_followed_on_the_places_that_matter(small, street, posed, monkeypatch):
    places = range(120, 200)
    exact = drive(Localizer(small, posed), street, places, odometry=True)
    monkeypatch.setattr(filter_search, '_EXACT_PLACES', 100)
    part = drive(Localizer(small, posed), street, places, odometry=True)
    for whole, some in zip(exact[10:], part[10:], strict=True):
        assert abs(whole.best.place_id - some.best.place_id) <= 1
    assert sum(result.accepted for result in part) >= 0.8 * sum(
        result.accepted for result in exact)


def test_a_second_time_gives_the_same_to_the_bit(small, street, posed):
    once, again = (drive(Localizer(small, posed), street, range(30, 70), odometry=True)
                   for _ in range(2))
    for a, b in zip(once, again, strict=True):
        assert a.best.score == b.best.score
        assert a.off_map == b.off_map
        np.testing.assert_array_equal(a.pose, b.pose)


def test_trained_sequences_are_evidence_once_they_are_full(street):
    """A SeqNet with random weights: what it finds is no worse than chance, and counted."""
    model = small_model(sequence={
        'length': 5, 'aggregator': 'seqnet', 'kernel': 3, 'out_dim': 64,
        'weights': {'random': True}})
    place_map = mapped(model, street, range(METERS), posed=False)
    places = range(140, 180)
    found = {}
    for share in (0.0, 0.5):
        engine = model.preset.with_settings({'filter.sequence_share': share}).engine
        found[share] = drive(Localizer(model, place_map, engine), street, places)
        assert (errors(found[share], places)[10:] <= 3).all()
    scores = {share: [result.best.score for result in results]
              for share, results in found.items()}
    assert scores[0.0][:4] == scores[0.5][:4]
    assert scores[0.0][4:] != scores[0.5][4:]
