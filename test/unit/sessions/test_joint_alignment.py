"""Drives that are solved for together: a later one corrects an earlier one."""

from dataclasses import replace

import numpy as np
import pytest
from curved_road import moved, winding
from streets import Street, small_model

from seqnet_ros.config.alignment import AlignmentConfig
from seqnet_ros.core.errors import SessionAlignmentError
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.sessions.alignment import Alignment, align
from seqnet_ros.sessions.joint_alignment import align_together

pytest.importorskip('gtsam', reason='GTSAM is not installed')

CONFIG = AlignmentConfig(min_overlap_m=20.0)
DRIFT = np.deg2rad(0.05)
ENDS = np.r_[np.arange(0.0, 80.0), np.arange(190.0, 290.0)]
EARLIER, LATER = np.arange(30.0, 170.0, 1.1), np.arange(120.0, 280.0, 1.1)


def off_m(alignment: Alignment, ways: np.ndarray) -> float:
    """Return the largest distance of a keyframe from its true position."""
    return float(np.linalg.norm(alignment.poses[:, :2] - winding(ways)[:, :2], axis=1).max())


@pytest.fixture(scope='module')
def aligned() -> tuple[int, list[Alignment]]:
    """Return the number of places of a map of two ends of a road, and two drives between them.

    The earlier drive begins at one end, the later one leads from it to the other.
    """
    model, street = small_model(), Street(1, 340)
    ends = Mapper(model)
    for index, (way, pose) in enumerate(zip(ENDS.tolist(), winding(ENDS), strict=True)):
        ends.push(street.view(way), index * 10**8, pose)
    place_map, alignments = ends.finish(), []
    first = len(place_map)
    for light, (ways, drift) in enumerate(((EARLIER, DRIFT), (LATER, 0.0))):
        session = Mapper(model)
        for index, (way, pose) in enumerate(zip(
                ways.tolist(), winding(ways, drift_per_m=drift), strict=True)):
            session.push(street.view(way, light), index * 10**8, moved(pose))
        alignments.append(align(place_map, session, CONFIG))
        session.extend(place_map)
        place_map = session.finish(poses=alignments[-1].poses)
    return first, alignments


def test_a_later_drive_corrects_an_earlier_one(aligned):
    first, one_by_one = aligned
    assert off_m(one_by_one[0], EARLIER) > 1.2
    assert off_m(one_by_one[1], LATER) > 1.0
    together = align_together(one_by_one, first, CONFIG)
    assert off_m(together[0], EARLIER) < 0.6
    assert off_m(together[1], LATER) < 0.6


def test_wrong_matches_between_drives_are_switched_off(aligned):
    first, one_by_one = aligned
    matches = one_by_one[1].matches
    wrong = np.flatnonzero(matches.places >= first)[::5]
    offsets = np.zeros((len(matches), 3))
    offsets[wrong] = 15.0, -8.0, 0.0
    mistaken = replace(one_by_one[1], matches=matches.moved(offsets))
    together = align_together([one_by_one[0], mistaken], first, CONFIG)
    assert np.flatnonzero(~together[1].kept).tolist() == wrong.tolist()
    assert off_m(together[0], EARLIER) < 0.8
    np.testing.assert_allclose(np.abs(together[1].residuals_m[wrong]).max(axis=1), 15.0, atol=2.0)


def test_poses_of_the_map_stay(aligned):
    first, one_by_one = aligned
    together = align_together(one_by_one, first, CONFIG)
    for before, after in zip(one_by_one, together, strict=True):
        on_map = before.matches.places < first
        np.testing.assert_array_equal(after.matches.poses[on_map], before.matches.poses[on_map])


def test_drives_that_contradict_each_other_together_are_refused(aligned):
    first, one_by_one = aligned
    with pytest.raises(SessionAlignmentError, match='agree too little'):
        align_together(one_by_one, first, AlignmentConfig(min_overlap_m=500.0))
