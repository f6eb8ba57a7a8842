"""A street with several views is one place to the place filter.

The map has a view of the street by day and one in other light, as `map refresh` adds it; the robot
passes in a third light.
"""

from dataclasses import replace

import numpy as np
import pytest
from curved_road import drive, images, road
from streets import Street, small_model

from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.result import MatchResult, Reason
from seqnet_ros.maps.builder import extend_map, select_places
from seqnet_ros.maps.filter_calibration import calibrate_filter
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.states import distinct_places, state_space
from seqnet_ros.maps.views import views_of
from seqnet_ros.place_filter.belief import Belief, Entrance
from seqnet_ros.place_filter.motion import MotionModel

LENGTH_M = 240
STREET = Street(3, LENGTH_M)
MODEL = small_model(keyframes={'every': '1', 'min_change': 0.0})
WAYS_M = np.arange(0.0, LENGTH_M)


def view(light: int | None) -> PlaceMap:
    """Return the map of a drive in some light."""
    return drive(Mapper(MODEL), STREET, WAYS_M, light=light).finish(str(light), 'exact')


def joined(first: PlaceMap, *others: PlaceMap) -> PlaceMap:
    """Return the map of several drives, as a refreshed map keeps them."""
    for other in others:
        first = extend_map(first, other)
    views = views_of((), first.segment_starts, 25)
    first = replace(first, manifest=first.manifest.model_copy(update={'views': views}))
    return first.with_filter_calibration(calibrate_filter(first, MODEL.engine.filter))


def shifted(place_map: PlaceMap, away_m: float) -> PlaceMap:
    """Return the map with its places this much farther along the road."""
    poses = np.array([road(way_m + away_m) for way_m in WAYS_M.tolist()])
    return replace(place_map, poses=poses)


def follow(place_map: PlaceMap, first_m: int = 0, end_m: int = LENGTH_M) -> list[MatchResult]:
    """Return the results of a robot in another light, switched on somewhere."""
    localizer = Localizer(MODEL, place_map)
    results = (localizer.push(image, stamp_ns, pose) for image, stamp_ns, pose in images(
        STREET, WAYS_M[first_m:end_m], light=9))
    return [result for result in results if result is not None]


@pytest.fixture(scope='module')
def day():
    return view(None)


@pytest.fixture(scope='module')
def other_light():
    return view(4)


def accepted(results: list[MatchResult]) -> int:
    return sum(result.accepted for result in results)


def test_views_of_one_place_do_not_make_it_ambiguous(other_light):
    third = view(5)
    for away_m in (0.0, 2.5):  # the poses of drives are aligned to some meters
        found = follow(joined(other_light, shifted(third, away_m)))
        assert accepted(found) >= accepted(follow(other_light)) > 0.9 * LENGTH_M
        assert Reason.AMBIGUOUS not in {result.reason for result in found}
    # The same images at other positions are rivals: the test can fail.
    for away_m in (10.0, 60.0):
        apart = follow(joined(other_light, shifted(third, away_m)))
        assert not accepted(apart)
        assert Reason.AMBIGUOUS in {result.reason for result in apart}


def test_several_views_do_not_hide_one_another(day, other_light):
    views = joined(day, other_light, view(5), view(6))
    assert len(views) == 4 * LENGTH_M
    assert distinct_places(views).tolist() == list(range(LENGTH_M))
    assert len(state_space([views])) > state_space([views]).map_places == LENGTH_M
    assert state_space([views], whole=10_000).map_places == 10_000
    assert len(distinct_places(replace(views, manifest=day.manifest.model_copy(
        update={'places': len(views)})))) == len(views)  # it was never refreshed
    starts = range(0, LENGTH_M - 40, 40)
    slow = [first_m for first_m in starts if not accepted(follow(views, first_m, first_m + 20))]
    assert len(slow) <= sum(not accepted(follow(day, first_m, first_m + 20)) for first_m in starts)


def test_the_way_goes_on_in_another_view_where_one_ends(day, other_light):
    part = select_places(other_light, np.arange(80, 120), MODEL)
    space = state_space([joined(day, part)])
    ends = dict(space.seams.ahead.tolist())
    assert ends[LENGTH_M + 39] == 120  # place 119 of the day is beside the end
    assert LENGTH_M - 1 not in ends  # nothing goes on where the road ends
    model = MotionModel(MODEL.engine.filter)
    belief = Belief(space, model.modes(True))
    mass = np.zeros((len(model.modes(True)), len(space)))
    mass[0, LENGTH_M + 39] = 1.0
    belief.enter(Entrance(1.0, 1.0))  # nothing stays off the map
    belief.mass = mass
    belief.predict(model.transition(2.0, True, 0.0), Entrance(0.0, 0.0))
    assert belief.marginal.sum() + belief.off == pytest.approx(1.0)
    assert belief.off < 0.02
    assert belief.marginal[118:125] @ np.arange(118, 125) == pytest.approx(121.0, abs=0.1)


def test_a_robot_is_followed_through_the_views_of_a_street(day, other_light):
    dark = [select_places(other_light, np.arange(first, first + 40), MODEL)
            for first in (0, 80, 160)]
    bright = [select_places(day, np.arange(first, first + 40), MODEL) for first in (40, 120, 200)]
    pieces = joined(*[piece for pair in zip(dark, bright, strict=True) for piece in pair])
    found = follow(pieces)
    assert accepted(found) > 0.9 * LENGTH_M
    off = np.array([result.best.pose[:2] - road(way_m)[:2] for way_m, result in zip(
        WAYS_M, found, strict=True) if result.accepted])
    assert np.linalg.norm(off, axis=1).max() < 5.0
    unseamed = replace(pieces, manifest=pieces.manifest.model_copy(update={'views': ()}))
    assert accepted(follow(unseamed)) < accepted(found)


def test_maps_that_were_not_refreshed_have_no_seams(day):
    space = state_space([day])
    assert not len(space.seams)
    assert space.distinct is None
