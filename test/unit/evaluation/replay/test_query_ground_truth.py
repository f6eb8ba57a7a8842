"""Poses between places against the truth, which may be in another frame than the map."""

from types import SimpleNamespace

import numpy as np
import pytest

from seqnet_ros.core.poses import make_pose, pose_from_matrix, pose_matrix
from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.evaluation.replay.query_ground_truth import QueryGroundTruth
from seqnet_ros.evaluation.replay.reference_map import ReferenceMap
from seqnet_ros.localization.result import Candidate, MatchResult, Reason

PLACES = np.stack([make_pose(float(x), 0.0) for x in range(10)])
# The truth is turned and moved against the odometry that the map was made with.
MOVED = pose_matrix(make_pose(100.0, -40.0, yaw=0.7))
NOWHERE = np.full(7, np.nan)


class Queries(SimpleNamespace):
    def __len__(self) -> int:
        return len(PLACES)


def moved(pose: np.ndarray) -> np.ndarray:
    return pose_from_matrix(MOVED @ pose_matrix(pose))


def truth_of(places: np.ndarray, tolerance: str = '1m', has_poses: bool = True) -> QueryGroundTruth:
    """Return the truth of a map of `PLACES` whose true poses are these."""
    manifest = SimpleNamespace(has_poses=has_poses, pose_origin='odometry', places=len(PLACES),
                               map_id='')
    mapped = ReferenceMap(
        SimpleNamespace(poses=PLACES, manifest=manifest), np.arange(len(PLACES)), places)
    queries = Queries(posed=True, datum=None, first=0, sources=())
    return QueryGroundTruth(mapped, Tolerance.parse(tolerance), queries, None)


def error_of(truth: QueryGroundTruth, robot: np.ndarray | None, pose: np.ndarray | None) -> float:
    """Return the error of a pose that was found at place 3."""
    candidate = Candidate(3, 0, PLACES[3], 0.1, 0.1, 0.995)
    result = MatchResult(0, 0, 0, (candidate,), Reason.ACCEPTED, off_map=0.0, pose=pose)
    asked = SimpleNamespace(number=3, truth=robot)
    return truth.judge_result(asked, result).pose_error


@pytest.mark.parametrize('places', [PLACES, np.stack([moved(pose) for pose in PLACES])])
def test_the_error_of_a_pose_is_that_in_the_frame_of_the_truth(places):
    change = (lambda pose: pose) if places is PLACES else moved
    robot, pose = make_pose(3.4, 0.5, yaw=0.1), make_pose(3.2, 0.0)
    found = error_of(truth_of(places), change(robot), pose)
    assert found == pytest.approx(np.hypot(0.2, 0.5))


@pytest.mark.parametrize(('truth', 'robot', 'pose'), [
    (truth_of(PLACES), PLACES[3], None),
    (truth_of(PLACES), None, PLACES[3]),
    (truth_of(PLACES, has_poses=False), PLACES[3], PLACES[3]),
    (truth_of(np.where(np.arange(10)[:, None] == 3, NOWHERE, PLACES)), PLACES[3], PLACES[3])],
    ids=['no pose found', 'no truth', 'frame numbers for poses', 'no true pose of the place'])
def test_where_either_is_not_metric_there_is_no_error(truth, robot, pose):
    assert np.isnan(error_of(truth, robot, pose))


def test_frames_are_no_meters():
    truth = truth_of(PLACES, '2frames')
    assert np.isnan(error_of(truth, PLACES[3], PLACES[3]))
