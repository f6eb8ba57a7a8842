"""Scores by hand-made cases, with their exact values."""

import math

import numpy as np
import pytest

from seqnet_ros.errors import InputError
from seqnet_ros.evaluation.localization import position_errors, recall_at, score_results
from seqnet_ros.poses import make_pose

ERRORS = [np.array([0.5, 9.0]), np.array([8.0, 1.0]), np.array([7.0, 7.0, 7.0, 7.0, 7.0, 0.1]),
          np.array([5.0])]


def test_recall_counts_rejected_searches_and_borders():
    assert recall_at(1, ERRORS, 5.0) == 0.5
    assert recall_at(2, ERRORS, 5.0) == 0.75
    assert recall_at(5, ERRORS, 5.0) == 0.75
    assert recall_at(6, ERRORS, 5.0) == 1.0
    assert recall_at(1, [np.array([])], 5.0) == 0.0
    assert math.isnan(recall_at(1, [], 5.0))


def test_precision_and_errors_are_those_of_the_accepted():
    score = score_results(ERRORS, [True, True, False, True], 5.0)
    assert (score.queries, score.accepted) == (4, 3)
    assert score.recall_at_1 == 0.5
    assert score.recall_at_5 == 0.75
    assert score.precision == pytest.approx(2 / 3)
    assert score.median_error == 5.0
    assert score.p95_error == pytest.approx(7.7)


def test_nothing_accepted_has_no_precision():
    score = score_results(ERRORS, [False] * 4, 5.0)
    assert score.accepted == 0
    assert math.isnan(score.precision)
    assert math.isnan(score.median_error)
    assert score.recall_at_1 == 0.5


@pytest.mark.parametrize(('errors', 'accepted'), [
    (ERRORS, [True]),
    ([np.array([])], [True]),
])
def test_what_does_not_go_together_is_refused(errors, accepted):
    with pytest.raises(InputError, match='expected'):
        score_results(errors, accepted, 5.0)


def test_position_errors_are_straight_distances_without_the_heading():
    poses = np.stack([make_pose(3.0, 4.0, 0.0, 1.0), make_pose(0.0, 0.0, 2.0)])
    np.testing.assert_allclose(position_errors(poses, make_pose(0.0, 0.0, 0.0, 2.0)), [5.0, 2.0])
    assert position_errors(np.empty((0, 7)), make_pose(0.0, 0.0)).shape == (0,)
