"""``seqnet_ros map build`` of several recordings."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from command_line import refusal, succeed
from curved_road import record
from streets import Street

from seqnet_ros.maps.map_reader import open_map

SVG = '{http://www.w3.org/2000/svg}'

pytest.importorskip('gtsam', reason='GTSAM is not installed')


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    """Return the folder of two drives along one road, and one elsewhere."""
    folder, street = tmp_path_factory.mktemp('bags'), Street(1, 260)
    record(folder / 'monday', street, np.arange(0.0, 200.0))
    record(folder / 'friday', street, np.arange(20.0, 220.0, 1.3), drift=0.02, elsewhere=True,
           light=5)
    record(folder / 'elsewhere', Street(2, 260), np.arange(0.0, 150.0))
    return folder


def test_two_drives_become_one_map(bags, tmp_path):
    output, report = tmp_path / 'map', tmp_path / 'report.json'
    shown = succeed('map', 'build', bags / 'monday', bags / 'friday', '--model', 'hog',
                    '--output', output, '--report', report).output
    assert 'matches agree' in shown
    document = json.loads(report.read_text())
    assert document['solved_together'] is False
    first, second = document['sessions']
    assert first['alignment'] is None
    assert second['alignment']['matches_kept'] >= 0.9 * second['alignment']['matches']
    assert np.rad2deg(second['alignment']['transform']['yaw_rad']) == pytest.approx(-15.0, abs=4.0)
    place_map = open_map(output)
    assert len(place_map) == first['places'] + second['places']
    # Friday's odometry begins 40 m off the road, the road is an arc of 80 m radius.
    from_center = np.linalg.norm(place_map.positions[:, :2] - [0.0, 80.0], axis=1)
    assert np.abs(from_center - 80.0).max() < 2.0


def test_a_picture_shows_the_sessions_before_and_after(bags, tmp_path):
    report = tmp_path / 'report.json'
    succeed('map', 'build', bags / 'monday', bags / 'friday', bags / 'elsewhere', '--model', 'hog',
            '--skip-unaligned', '--output', tmp_path / 'map', '--report', report)
    picture = ElementTree.parse(report.with_suffix('.svg')).getroot()
    words = [text.text for text in picture.iter(SVG + 'text')]
    assert words[0].startswith('Before')
    assert any(text.startswith('After') for text in words)
    assert any(text.startswith('friday: ') and 'matches kept' in text for text in words)
    assert any(text.startswith('elsewhere was left out') for text in words)
    # Friday's odometry begins far off: its matches lead to the map, and nowhere once it is there.
    before, after = (lengths(path.get('d')) for path in picture.iter(SVG + 'path')
                     if path.get('class') == 'match-kept')
    assert len(before) == len(after) > 50
    assert np.median(before) > 10 * np.median(after)


def lengths(path: str) -> np.ndarray:
    """Return the lengths of the lines of a path."""
    ends = np.array([[float(value) for value in line.replace('L', ' ').split()]
                     for line in path.split('M')[1:]])
    return np.linalg.norm(ends[:, :2] - ends[:, 2:], axis=1)


def test_a_picture_replaces_nothing(bags, tmp_path):
    (tmp_path / 'report.svg').write_text('mine')
    arguments = ['map', 'build', bags / 'monday', bags / 'friday', '--output', tmp_path / 'map']
    assert 'report.svg exists, expected a new file' in refusal(
        *arguments, '--report', tmp_path / 'report.json')
    assert 'expected another ending than .svg' in refusal(
        *arguments, '--report', tmp_path / 'other.svg')


def test_a_drive_is_aligned_with_a_map(bags, tmp_path):
    output = tmp_path / 'map'
    succeed('map', 'build', bags / 'monday', '--model', 'hog', '--output', output)
    places = len(open_map(output))
    succeed('map', 'build', bags / 'friday', '--extend', output, '--align', '--output', output)
    assert len(open_map(output)) > places
    assert len(open_map(tmp_path / 'map~1')) == places


def test_a_drive_elsewhere_makes_no_map_unless_it_may_be_left_out(bags, tmp_path):
    drives = ['map', 'build', bags / 'monday', bags / 'elsewhere', '--model', 'hog', '--output',
              tmp_path / 'map']
    assert 'elsewhere cannot be aligned' in refusal(*drives)
    assert not (tmp_path / 'map').exists()
    shown = succeed(*drives, '--skip-unaligned').output
    assert 'left out' in shown
    assert len(open_map(tmp_path / 'map')) <= 200


@pytest.mark.parametrize(('arguments', 'reason'), [
    (['monday', '--align'], 'no map to extend, expected something to align it with'),
    (['monday', '--drift', '0.1'], '--drift and --min-overlap need recordings that are aligned'),
    (['monday', 'friday', '--no-align', '--min-overlap', '3'], 'need recordings that are aligned'),
    (['monday', 'friday', '--poses', 'poses.tum'], '--poses was given with 2 recordings'),
    (['monday', 'friday', '--report', 'monday'], 'monday exists, expected a new file'),
])
def test_options_that_contradict_each_other_are_refused(bags, tmp_path, arguments, reason,
                                                        monkeypatch):
    monkeypatch.chdir(bags)
    assert reason in refusal('map', 'build', *arguments, '--output', tmp_path / 'map')
