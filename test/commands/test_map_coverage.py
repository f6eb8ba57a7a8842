"""``seqnet_ros map coverage``: where a robot is found, of a map alone or by a later drive."""

import json

import numpy as np
import pytest
from command_line import refusal, succeed
from curved_road import record
from streets import Street

OPTIONS = ('--model', 'hog', '--every', '0.25m')
WAYS_M = np.arange(0.0, 150.0, 0.25)


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """Return the folder of a map of 150 m, of a later drive along it, and of one elsewhere."""
    folder, street = tmp_path_factory.mktemp('site'), Street(5, 150)
    record(folder / 'first', street, WAYS_M)
    record(folder / 'later', street, WAYS_M, drift=0.01, elsewhere=True, light=3)
    record(folder / 'away', Street(6, 150), WAYS_M, light=3)
    succeed('map', 'build', folder / 'first', '--output', folder / 'map', *OPTIONS)
    return folder


def classes(folder) -> dict[str, float]:
    document = json.loads((folder / 'coverage.json').read_text())
    return {name: found['share'] for name, found in document['classes'].items()}


def test_a_street_that_looks_different_everywhere_is_covered(site, tmp_path):
    shown = succeed('map', 'coverage', site / 'map', '--output', tmp_path / 'coverage')
    assert classes(tmp_path / 'coverage')['covered'] > 0.9
    assert 'the map itself' in shown.output
    assert 'doubt' not in shown.output
    assert sorted(path.name for path in (tmp_path / 'coverage').iterdir()) == [
        'coverage.csv', 'coverage.geojson', 'coverage.json', 'coverage.svg']
    assert 'not degrees' in shown.output  # the map knows no place on the earth


def test_a_later_drive_says_where_it_is_found(site, tmp_path):
    pytest.importorskip('gtsam')
    succeed('map', 'coverage', site / 'map', '--against', site / 'later', '--output',
            tmp_path / 'coverage', '--within', 30)
    document = json.loads((tmp_path / 'coverage' / 'coverage.json').read_text())
    assert 'later' in document['searched']
    assert document['within'] == 30
    assert classes(tmp_path / 'coverage')['covered'] > 0.8


def test_a_drive_elsewhere_is_refused(site, tmp_path):
    pytest.importorskip('gtsam')
    said = refusal('map', 'coverage', site / 'map', '--against', site / 'away', '--output',
                   tmp_path / 'coverage')
    assert 'were found on the map' in said or 'agree too little' in said
    assert not any((tmp_path / 'coverage').iterdir())


def test_a_map_whose_places_are_too_far_apart_is_doubted(site, tmp_path):
    succeed('map', 'build', site / 'first', '--output', tmp_path / 'sparse', '--model', 'hog',
            '--every', '4m')
    shown = succeed('map', 'coverage', tmp_path / 'sparse', '--output', tmp_path / 'coverage')
    assert 'look little alike' in shown.output
    document = json.loads((tmp_path / 'coverage' / 'coverage.json').read_text())
    assert 'look little alike' in document['doubt']


def test_results_go_into_no_map(site):
    before = sorted(path.name for path in (site / 'map').iterdir())
    assert 'is a map, expected another folder' in refusal(
        'map', 'coverage', site / 'map', '--output', site / 'map')
    assert sorted(path.name for path in (site / 'map').iterdir()) == before


def test_each_tile_of_a_collection_is_searched_in_itself(site, tmp_path):
    succeed('map', 'collection', 'split', site / 'map', '--output', tmp_path / 'tiles', '--cell',
            '60m')
    shown = succeed('map', 'coverage', tmp_path / 'tiles', '--output', tmp_path / 'coverage')
    tiles = [path.parent.name for path in (tmp_path / 'coverage').glob('*/coverage.json')]
    assert len(tiles) > 1
    for tile in tiles:
        assert tile in shown.output
        assert 0 < sum(classes(tmp_path / 'coverage' / tile).values()) <= 1.001
    assert 'expected one map with --against' in refusal(
        'map', 'coverage', tmp_path / 'tiles', '--against', site / 'later')
