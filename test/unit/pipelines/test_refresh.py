"""Refreshing a map: what is added, what is retired, and how large the map becomes."""

import json

import numpy as np
import pytest
from curved_road import START_NS, moved, road
from streets import Street, small_model

from seqnet_ros.config.upkeep import UpkeepConfig
from seqnet_ros.core.errors import SessionAlignmentError
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.pipelines.refresh import Refreshed, refresh_map
from seqnet_ros.pipelines.refresh_report import refresh_fields

pytest.importorskip('gtsam', reason='GTSAM is not installed')
LENGTH_M, PAINTED_M = 200, (72, 128)
STREET = Street(3, LENGTH_M)
MODEL = small_model(keyframes={'every': '1', 'min_change': 0.0})
_DAY_NS = 86_400 * 10**9


def drive(paint: int | None = None, day: int = 0) -> Mapper:
    """Return a drive past the street, a part of whose wall was painted anew.

    Args:
        paint: number of the new paint; None for the old one.
        day: when; its odometry is in a frame of its own except on the first day.
    """
    mapper, first = Mapper(MODEL), START_NS + day * _DAY_NS
    for way_m in range(LENGTH_M):
        anew = paint is not None and PAINTED_M[0] <= way_m < PAINTED_M[1]
        image = (Street(paint, LENGTH_M) if anew else STREET).view(float(way_m), day or None)
        pose = road(float(way_m))
        mapper.push(image, first + 100_000_000 * way_m, moved(pose) if day else pose)
    return mapper


def refresh(place_map: PlaceMap, paint: int | None, day: int, **config: float) -> Refreshed:
    return refresh_map(place_map, drive(paint, day), f'day {day}', 'odometry',
                       UpkeepConfig(**config))


@pytest.fixture(scope='module')
def place_map():
    return drive().finish('first', 'exact')


def test_an_unchanged_street_is_matched_and_nothing_is_added(place_map):
    done = refresh(place_map, None, 1)
    assert len(done.place_map) == len(place_map)
    assert done.place_map.manifest.map_id == place_map.manifest.map_id
    assert done.matched == len(done.place_map.manifest.views) == LENGTH_M / 25
    assert done.certain_m > 0.9 * LENGTH_M
    assert str(done).startswith('8 views matched, 0 passed')
    assert {view.matched_ns for view in done.place_map.manifest.views} == {
        START_NS + _DAY_NS + 100_000_000 * (LENGTH_M - 1)}


def test_new_paint_is_added_where_it_is_and_only_once(place_map):
    first = refresh(place_map, 11, 1)
    added = first.place_map.positions[len(place_map):]
    along_m = 80.0 * np.arctan2(added[:, 0], 80.0 - added[:, 1])
    assert len(added) == pytest.approx(PAINTED_M[1] - PAINTED_M[0], abs=12)
    assert along_m.mean() == pytest.approx(np.mean(PAINTED_M), abs=6)
    assert not refresh(first.place_map, 11, 2).added
    assert not refresh(first.place_map, None, 2).added  # both looks are known


def test_what_was_not_matched_for_long_is_retired_but_no_street_is_forgotten(place_map):
    refreshed = place_map
    for day in range(1, 5):
        refreshed = refresh(refreshed, 11, day, retire_after=3).place_map
    assert len(refreshed) < len(place_map) + 25
    x, y = refreshed.positions[:, :2].T
    assert np.diff(np.sort(80.0 * np.arctan2(x, 80.0 - y))).max() < 4.0
    assert not any(view.passed for view in refreshed.manifest.views)


def test_a_map_does_not_grow_beyond_its_views(place_map):
    refreshed, sizes = place_map, []
    for day in range(1, 9):
        refreshed = refresh(refreshed, 10 + day, day, most_views=2).place_map
        sizes.append(len(refreshed))
    part = PAINTED_M[1] - PAINTED_M[0] + 25
    assert max(sizes) <= len(place_map) + 2 * part
    assert max(sizes[4:]) <= max(sizes[:4])


def test_a_street_that_a_drive_passes_twice_is_added_once():
    lap_m, more_m = round(2 * np.pi * 80), 150
    street, painted = Street(3, lap_m + 8), Street(11, lap_m + 8)

    def laps(length_m: int, day: int) -> Mapper:
        mapper = Mapper(MODEL)
        for way_m in range(length_m):
            anew = day > 0 and PAINTED_M[0] <= way_m % lap_m < PAINTED_M[1]
            mapper.push((painted if anew else street).view(float(way_m % lap_m), day or None),
                        START_NS + day * _DAY_NS + 100_000_000 * way_m, road(float(way_m)))
        return mapper

    first = laps(lap_m, 0).finish('first', 'exact')
    done = refresh_map(first, laps(lap_m + more_m, 1), 'laps', 'odometry')
    assert done.certain_m > lap_m + 0.8 * more_m
    added = sum(map(len, done.added))
    assert added == pytest.approx(PAINTED_M[1] - PAINTED_M[0], abs=16)


def test_the_same_drive_gives_the_same_map(place_map):
    first, second = (refresh(place_map, 11, 1) for _ in range(2))
    assert first.place_map.manifest == second.place_map.manifest


def test_a_drive_elsewhere_is_refused(place_map):
    away = Mapper(MODEL)
    for way_m in range(LENGTH_M):
        away.push(Street(77, LENGTH_M).view(float(way_m)), START_NS + 100_000_000 * way_m,
                  moved(road(float(way_m))))
    with pytest.raises(SessionAlignmentError):
        refresh_map(place_map, away, 'away', 'odometry')


def test_names_of_drives_do_not_pile_up(place_map):
    once = refresh(place_map, 11, 1).place_map
    twice = refresh(once, 11, 2).place_map
    assert once.manifest.source == 'first, last refreshed by day 1'
    assert twice.manifest.source == 'first, last refreshed by day 2'
    assert twice.manifest.pose_origin == 'exact'
    assert twice.manifest.calibration is not None
    assert twice.manifest.filter_calibration is not None


def test_the_report_names_stretches(place_map):
    done = refresh(place_map, 11, 1)
    report = json.loads(json.dumps(refresh_fields(done, 'day 1'), allow_nan=False))
    assert report['places'] == {'before': len(place_map), 'after': len(done.place_map)}
    added = report['views']['added']
    assert added[0]['first_place'] == len(place_map)
    assert added[-1]['last_place'] == len(done.place_map) - 1
    start = done.place_map.positions[len(place_map)]
    assert added[0]['from'] == pytest.approx(start.tolist())
    assert report['alignment']['overlap_m'] > 100
