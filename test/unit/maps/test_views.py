"""Views: how they follow one another, and what of them stays."""

import json
from dataclasses import replace

import numpy as np
import pytest
from curved_road import drive
from streets import Street, small_model

from seqnet_ros.maps.builder import extend_map, select_places
from seqnet_ros.maps.manifest_file import MANIFEST
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import MapManifest, PlaceMap
from seqnet_ros.maps.views import View, select_views, views_of

STREET = Street(5, 120)
MODEL = small_model(keyframes={'every': '1', 'min_change': 0.0})


def view(first: int, end: int, **counts: int) -> View:
    return View(first=first, end=end, **counts)


@pytest.fixture(scope='module')
def place_map() -> PlaceMap:
    return drive(Mapper(MODEL), STREET, np.arange(0.0, 100.0)).finish('road', 'exact')


def with_views(place_map: PlaceMap, *views: View) -> MapManifest:
    document = place_map.manifest.model_dump(mode='json')
    return MapManifest.model_validate(
        {**document, 'views': [one.model_dump() for one in views]})


def test_drives_are_cut_into_stretches_of_about_one_length():
    starts = np.repeat([0, 70, 72], [70, 2, 28])
    cut = views_of((), starts, 20)
    assert [(one.first, one.end) for one in cut] == [
        (0, 17), (17, 35), (35, 52), (52, 70), (70, 72), (72, 100)]
    assert all(one.matched == one.passed == one.matched_ns == 0 for one in cut)


def test_known_views_stay_and_what_was_added_since_is_cut():
    known = view(0, 30, matched=3), view(30, 50, passed=2)
    cut = views_of(known, np.repeat([0, 50], [50, 40]), 20)
    assert cut[:2] == known
    assert [(one.first, one.end) for one in cut[2:]] == [(50, 70), (70, 90)]
    assert views_of(cut, np.repeat([0, 50], [50, 40]), 20) == cut


def test_views_of_some_places_are_numbered_anew_and_keep_their_counts():
    views = view(0, 10, matched=1), view(10, 20, passed=4), view(20, 30, matched_ns=9)
    places = np.r_[5:10, 20:30]
    assert select_views(views, places) == (view(0, 5, matched=1), view(5, 15, matched_ns=9))


@pytest.mark.parametrize('bounds', [[(1, 50)], [(0, 50), (40, 100)], [(0, 50), (60, 100)],
                                    [(0, 101)]])
def test_views_with_holes_or_beyond_the_map_are_refused(place_map, bounds):
    with pytest.raises(ValueError, match='views do not follow one another'):
        with_views(place_map, *(view(*one) for one in bounds))


def test_a_view_without_places_is_refused():
    with pytest.raises(ValueError, match='expected one place at least'):
        view(4, 4)


def test_maps_that_were_never_refreshed_name_no_views(place_map, tmp_path):
    save_map(place_map, tmp_path / 'map')
    assert 'views' not in json.loads((tmp_path / 'map' / MANIFEST).read_text())['manifest']


def test_views_survive_saving_extending_and_leaving_out_places(place_map, tmp_path):
    views = view(0, 40, matched=2, matched_ns=7), view(40, 100, passed=1)
    known = replace(place_map, manifest=with_views(place_map, *views))
    save_map(known, tmp_path / 'map')
    assert open_map(tmp_path / 'map').manifest.views == views
    session = drive(Mapper(MODEL), STREET, np.arange(0.0, 60.0), light=3).finish('2', '')
    assert extend_map(known, session).manifest.views == views
    part = select_places(known, np.arange(30, 60))
    assert [(one.first, one.end) for one in part.manifest.views] == [(0, 10), (10, 30)]


def test_sequences_described_anew_do_not_reach_over_a_gap(place_map):
    places = np.r_[0:20, 40:60]
    kept = select_places(place_map, places)
    anew = select_places(place_map, places, MODEL)
    np.testing.assert_array_equal(kept.sequences, place_map.sequences[places])
    np.testing.assert_allclose(anew.sequences[10:20], kept.sequences[10:20], atol=1e-6)
    assert np.abs(anew.sequences[20] - kept.sequences[20]).max() > 1e-3
    np.testing.assert_allclose(anew.sequences[26:], kept.sequences[26:], atol=1e-6)
