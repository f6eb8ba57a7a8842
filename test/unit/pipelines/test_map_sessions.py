"""One map of several recordings."""

from pathlib import Path

import numpy as np
import pytest
from curved_road import START_NS, record, road
from streets import Street, small_model

from seqnet_ros.config.alignment import AlignmentConfig
from seqnet_ros.datasets.recordings.open_recording import open_source
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.pipelines.map_sessions import MappedSessions, map_sessions

pytest.importorskip('gtsam', reason='GTSAM is not installed')

PARTS = {'first': (0, 110), 'far': (150, 260), 'between': (60, 220)}


@pytest.fixture(scope='module')
def mapped(tmp_path_factory) -> MappedSessions:
    """Return a map of three recordings, of which the second shows nothing of the first."""
    folder, street, model = tmp_path_factory.mktemp('bags'), Street(1, 300), small_model()
    paths = [record(folder / name, street, np.arange(*part, 1.0), elsewhere=name != 'first',
                    light=number) for number, (name, part) in enumerate(PARTS.items())]
    paths.append(record(folder / 'elsewhere', Street(2, 300), np.arange(0.0, 100.0)))
    return map_sessions([open_source(path) for path in paths], lambda: Mapper(model),
                        alignment=AlignmentConfig(min_overlap_m=25.0))


def test_a_recording_waits_until_another_leads_to_it(mapped):
    assert [Path(session.recording.name).name for session in mapped.sessions] == [
        'first', 'between', 'far']
    assert mapped.alignments[0] is None
    assert all(alignment.kept.mean() > 0.9 for alignment in mapped.alignments[1:])


def test_all_places_are_in_the_frame_of_the_first(mapped):
    place_map = mapped.place_map
    first = np.repeat([PARTS[name][0] for name in ('first', 'between', 'far')],
                      [len(session.mapper) for session in mapped.sessions])
    truth = np.array([road(way) for way in first + (place_map.stamps_ns - START_NS) / 1e8])
    apart = np.linalg.norm(place_map.positions[:, :2] - truth[:, :2], axis=1)
    assert np.sqrt((apart ** 2).mean()) < 0.5


def test_what_shows_other_places_is_left_out(mapped):
    [(session, error)] = mapped.left_out
    assert Path(session.recording.name).name == 'elsewhere'
    assert 'found on the map' in str(error) or 'agree too little' in str(error)


def test_recordings_that_were_aligned_are_solved_for_together(mapped):
    assert mapped.together
    poses = np.concatenate([alignment.poses for alignment in mapped.alignments[1:]])
    np.testing.assert_allclose(mapped.place_map.poses[-len(poses):], poses, atol=1e-6)
