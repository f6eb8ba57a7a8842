"""The self-search of a map says where robots are found, what looks alike, and where walls are bare.

The street is seen with poses; its first 60 m are painted once more further on, and between them is
a wall without paint.
"""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from curved_road import START_NS, images, road
from streets import Street, small_model

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint, geodetic_to_enu
from seqnet_ros.evaluation.coverage.coverage import Kind, choose_starts, places_along
from seqnet_ros.evaluation.coverage.later_drive import NOWHERE, places_shown, search_drive
from seqnet_ros.evaluation.coverage.self_search import search_itself
from seqnet_ros.evaluation.report.coverage_files import (
    check_coverage_folder,
    geojson,
    summary,
    write_coverage,
)
from seqnet_ros.maps.mapper import Mapper

OWN_M, ALIKE_M, BARE_M = 160, 60, 60
LENGTH_M = OWN_M + BARE_M + ALIKE_M
STREET = Street(3, OWN_M)
BARE = np.full((64, 64, 3), 120, np.uint8)
DATUM = GeoPoint(48.1, 11.5, 520.0)


def view(way_m: int, light: int | None = None) -> np.ndarray:
    """Return what is seen after some way."""
    if way_m < OWN_M:
        return STREET.view(float(way_m), light)
    if way_m < OWN_M + BARE_M:
        noise = np.random.default_rng([way_m, light or 0]).normal(0, 2, BARE.shape)
        return np.clip(BARE + noise, 0, 255).astype(np.uint8)
    return STREET.view(float(way_m - OWN_M - BARE_M), 5)


def drive(light: int | None = None) -> Mapper:
    """Return the keyframes of a drive along everything."""
    mapper = Mapper(small_model(keyframes={'every': '1', 'min_change': 0.0}))
    for way_m in range(LENGTH_M):
        mapper.push(view(way_m, light), START_NS + 100_000_000 * way_m, road(float(way_m)))
    return mapper


@pytest.fixture(scope='module')
def place_map():
    return drive().finish('drive', 'road', datum=DATUM)


@pytest.fixture(scope='module')
def coverage(place_map):
    return search_itself(place_map, within=25.0)


def kinds(coverage, first_m: int, end_m: int) -> list[Kind]:
    return [spot.kind for spot in coverage.spots if first_m <= spot.place < end_m]


def share(kinds: list[Kind], kind: Kind) -> float:
    return kinds.count(kind) / len(kinds)


def test_a_street_of_its_own_is_covered(coverage):
    assert share(kinds(coverage, ALIKE_M, OWN_M - 30), Kind.COVERED) > 0.9


def test_places_that_are_painted_twice_are_ambiguous_and_name_each_other(coverage):
    alike = [spot for spot in coverage.spots if spot.place < ALIKE_M - 30]
    assert share([spot.kind for spot in alike], Kind.AMBIGUOUS) > 0.8
    apart = [spot.rival - spot.place for spot in alike if spot.rival is not None]
    assert np.median(apart) == pytest.approx(OWN_M + BARE_M, abs=2)


def test_bare_walls_are_blind(coverage):
    assert share(kinds(coverage, OWN_M, OWN_M + BARE_M - 28), Kind.BLIND) > 0.8


def test_classes_share_the_route(coverage, place_map):
    assert sum(coverage.share(kind) for kind in Kind) == pytest.approx(1)
    assert coverage.length() == pytest.approx(place_map.manifest.route_length_m, rel=0.01)
    worst = coverage.worst(3)
    assert all(way[0].kind is not Kind.COVERED for way in worst)
    lengths = [sum(spot.length for spot in way) for way in worst]
    assert lengths == sorted(lengths, reverse=True)


def test_the_same_map_gives_the_same_coverage(place_map, coverage):
    assert search_itself(place_map, within=25.0).spots == coverage.spots


def test_a_later_drive_is_found_where_it_is(place_map):
    later = drive(light=9)
    places = places_shown(place_map, np.array([road(float(way_m)) for way_m in range(LENGTH_M)]))
    assert places.tolist() == list(range(LENGTH_M))
    found = search_drive(place_map, later, places, 'later', within=25.0)
    assert share(kinds(found, ALIKE_M, OWN_M - 30), Kind.COVERED) > 0.9
    assert share(kinds(found, OWN_M, OWN_M + BARE_M - 28), Kind.COVERED) < 0.2


def test_a_spot_holds_the_places_on_the_way_to_the_next_one(place_map):
    later, shown = drive(light=9), np.arange(LENGTH_M)
    shown[4] = NOWHERE
    shown[100:] = np.arange(LENGTH_M - 100)  # the way goes on where it was before
    found = search_drive(place_map, later, shown, 'later', within=25.0, most=LENGTH_M // 8)
    passed = places_along(found.spots)
    assert passed.tolist() == np.delete(shown, 4).tolist()


def test_a_drive_elsewhere_is_refused(place_map):
    later = drive(light=9)
    with pytest.raises(InputError, match='shows no place of the map'):
        search_drive(place_map, later, np.full(len(later), NOWHERE), 'later', within=25.0)


def test_poses_away_from_the_map_or_turned_show_no_place(place_map):
    pose = road(50.0)
    aside, turned = pose.copy(), pose.copy()
    aside[2] += 8.0
    turned[3:] = road(50.0 + 80 * np.pi)[3:]
    assert places_shown(place_map, np.stack([pose, aside, turned])).tolist() == [50, -1, -1]


def test_starts_stand_for_the_whole_way_and_breaks_are_not_crossed():
    ways = np.repeat([0, 50], 50)
    route = np.r_[np.arange(50.0), 49 + np.arange(50.0)]
    starts = choose_starts(route, ways, within=20)
    assert sum(start.length for start in starts) == pytest.approx(98)
    assert all(ways[start.first] == ways[start.end - 1] for start in starts)
    assert [start.first for start in starts if start.begins] == [0, 50]
    assert max(start.first for start in starts if start.first < 50) == 29


def test_files_say_the_same(coverage, place_map, tmp_path):
    written = write_coverage(coverage, tmp_path / 'out')
    assert sorted(path.name for path in written) == [
        'coverage.csv', 'coverage.geojson', 'coverage.json', 'coverage.svg']
    document = json.loads((tmp_path / 'out' / 'coverage.json').read_text())
    assert document['classes']['blind']['length'] == pytest.approx(
        coverage.length(Kind.BLIND), abs=1e-3)
    rows = (tmp_path / 'out' / 'coverage.csv').read_text().splitlines()
    assert len(rows) == len(coverage.spots) + 1
    picture = ElementTree.parse(tmp_path / 'out' / 'coverage.svg').getroot()
    assert picture.tag == '{http://www.w3.org/2000/svg}svg'
    drawn = {line.get('class') for line in picture.iter('{http://www.w3.org/2000/svg}polyline')}
    assert drawn == {'mapped', 'c-covered', 'c-ambiguous', 'c-blind'}
    check_coverage_folder(tmp_path / 'out')  # an earlier run may be replaced


def test_geojson_is_longitude_then_latitude_of_each_stretch(coverage, place_map):
    features = geojson(coverage, DATUM)['features']
    assert [one['properties'] for one in features] == summary(coverage)['stretches']
    for feature, way in zip(features, coverage.stretches(), strict=True):
        line = np.array(feature['geometry']['coordinates'])
        enu = geodetic_to_enu(line[:, 1], line[:, 0], line[:, 2], DATUM)
        assert enu == pytest.approx(place_map.positions[places_along(way)], abs=5e-3)


def test_without_a_datum_geojson_is_in_meters_and_says_so(coverage, place_map, tmp_path):
    manifest = place_map.manifest.model_copy(update={'datum': None})
    nowhere = replace(coverage, place_map=replace(place_map, manifest=manifest))
    write_coverage(nowhere, tmp_path)
    document = json.loads((tmp_path / 'coverage.geojson').read_text())
    assert 'not degrees' in document['note']
    assert 'note' not in geojson(coverage, DATUM)
    line = np.array(document['features'][0]['geometry']['coordinates'])
    places = places_along(coverage.stretches()[0])
    assert line == pytest.approx(place_map.positions[places], abs=1e-3)


def test_other_files_are_not_replaced(tmp_path):
    (tmp_path / 'coverage.csv').write_text('my own table\n')
    with pytest.raises(InputError, match='is not a result of this command'):
        check_coverage_folder(tmp_path)


def test_a_map_without_poses_is_measured_in_frames(tmp_path):
    mapper = Mapper(small_model(keyframes={'every': '1', 'min_change': 0.0}))
    for image, stamp_ns, _ in images(STREET, np.arange(120.0)):
        mapper.push(image, stamp_ns)
    found = search_itself(mapper.finish(), within=25.0)
    (tmp_path / 'coverage.geojson').write_text('{"type": "FeatureCollection"}')
    names = [path.name for path in write_coverage(found, tmp_path)]
    assert names == ['coverage.svg', 'coverage.csv', 'coverage.json']
    assert not (tmp_path / 'coverage.geojson').exists()  # of an earlier run: no positions
    assert found.unit == 'frames'
    assert found.length() == pytest.approx(119)
    assert found.share(Kind.COVERED) > 0.5
