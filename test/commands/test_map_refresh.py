"""``seqnet_ros map refresh``: a map takes in later drives, and stays of one size."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import refusal, succeed
from curved_road import record
from streets import Street

from seqnet_ros.maps.map_reader import open_map, verify_map

pytest.importorskip('gtsam', reason='GTSAM is not installed')
LENGTH_M = 150
REPAINTED_M = 50.0, 85.0
OLD, NEW = Street(5, LENGTH_M), Street(6, LENGTH_M)


class Repainted:
    """The street after a part of its wall was painted anew."""

    def view(self, way_m: float, light: int | None = None) -> np.ndarray:
        """Return the view after some way."""
        first, end = REPAINTED_M
        return (NEW if first <= way_m < end else OLD).view(way_m, light)


@pytest.fixture(scope='module')
def drives(tmp_path_factory) -> Path:
    """Return the folder of a map, and of later drives with odometry of their own."""
    folder, ways_m = tmp_path_factory.mktemp('drives'), np.arange(0.0, LENGTH_M, 0.5)
    record(folder / 'first', OLD, ways_m)
    for light, (name, street) in enumerate((
            ('same', OLD), ('repainted', Repainted()), ('again', Repainted()),
            ('away', Street(7, LENGTH_M))), 2):
        record(folder / name, street, ways_m, drift=0.01, elsewhere=True, light=light)
    succeed('map', 'build', folder / 'first', '--output', folder / 'map', '--model', 'hog',
            '--every', '0.5m')
    return folder


@pytest.fixture
def map_path(drives, tmp_path) -> Path:
    return Path(shutil.copytree(drives / 'map', tmp_path / 'map'))


def report_of(*arguments: object, folder: Path) -> dict:
    """Refresh a map, and return the report."""
    report = folder / 'report.json'
    report.unlink(missing_ok=True)
    succeed('map', 'refresh', *arguments, '--report', report)
    return json.loads(report.read_text())


def test_a_street_that_looks_the_same_is_only_noted(drives, map_path, tmp_path):
    before = len(open_map(map_path))
    report = report_of(map_path, drives / 'same', folder=tmp_path)
    assert report['views']['added'] == report['views']['retired'] == []
    assert report['views']['matched'] == report['views']['after'] > 3
    refreshed = verify_map(map_path)
    assert refreshed.places == before
    assert all(view.matched == 1 and view.matched_ns > 0 for view in refreshed.views)
    assert len(open_map(tmp_path / 'map~1')) == before


def test_what_looks_new_becomes_another_view_once(drives, map_path, tmp_path):
    before = open_map(map_path)
    report = report_of(map_path, drives / 'repainted', folder=tmp_path)
    added = report['views']['added']
    # A view through the wall is 8 m wide.
    assert sum(view['length_m'] for view in added) == pytest.approx(35, abs=12)
    after = open_map(map_path)
    assert len(after) == report['places']['after'] > len(before) == report['places']['before']
    # The road is an arc of 80 m radius; the drive was in a frame of its own.
    news = after.positions[len(before):, :2]
    assert np.abs(np.linalg.norm(news - [0.0, 80.0], axis=1) - 80.0).max() < 2.0
    way_m = 80.0 * np.arctan2(news[:, 0], 80.0 - news[:, 1])
    assert way_m.min() == pytest.approx(REPAINTED_M[0], abs=9)
    assert way_m.max() == pytest.approx(REPAINTED_M[1], abs=9)
    assert report_of(map_path, drives / 'again', folder=tmp_path)['views']['added'] == []


def test_views_that_are_passed_without_a_match_are_retired(drives, map_path, tmp_path):
    for drive in ('repainted', 'again'):
        report = report_of(map_path, drives / drive, '--retire-after', 2, folder=tmp_path)
    retired = report['views']['retired']
    assert retired
    for view in retired:
        assert view['passed'] == 2
        assert 40 < view['first_place'] / 2 < 100  # places are half a meter apart
    again = succeed('localize', drives / 'again', '--map', map_path, '--output', tmp_path / 'out')
    assert 'accepted' in again.output


def test_a_street_with_one_view_stays_of_one_size(drives, map_path, tmp_path):
    before = len(open_map(map_path))
    for drive in ('repainted', 'same', 'again'):
        report_of(map_path, drives / drive, '--views', 1, '--enough', 3, folder=tmp_path)
        assert 0.7 * before < len(open_map(map_path)) < 1.7 * before


def test_another_folder_leaves_the_map(drives, map_path, tmp_path):
    before = {path.name: path.read_bytes() for path in map_path.iterdir()}
    succeed('map', 'refresh', map_path, drives / 'repainted', '--output', tmp_path / 'new')
    assert {path.name: path.read_bytes() for path in map_path.iterdir()} == before
    assert len(open_map(tmp_path / 'new')) > len(open_map(map_path))
    assert 'expected' in refusal('map', 'refresh', map_path, drives / 'same', '--output',
                                 tmp_path / 'new')


def test_a_drive_elsewhere_changes_nothing(drives, map_path, tmp_path):
    before = {path.name: path.read_bytes() for path in map_path.iterdir()}
    said = refusal('map', 'refresh', map_path, drives / 'away')
    assert 'were found on the map' in said or 'agree too little' in said
    assert {path.name: path.read_bytes() for path in map_path.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ['map']


def test_a_report_that_exists_is_refused_before_the_work(drives, map_path, tmp_path):
    (tmp_path / 'report.json').write_text('mine')
    assert 'expected a new file' in refusal(
        'map', 'refresh', map_path, drives / 'same', '--report', tmp_path / 'report.json')
