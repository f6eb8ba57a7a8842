"""Measures of a drive, checked by hand and against scikit-learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, top_k_accuracy_score

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import make_pose
from seqnet_ros.evaluation.metrics.accumulator import MetricsAccumulator, Odometer
from seqnet_ros.evaluation.metrics.place_ground_truth import (
    FrameGroundTruth,
    Judgement,
    PoseGroundTruth,
    Tolerance,
    read_pairs,
)
from seqnet_ros.evaluation.metrics.score_calibration import reliability
from seqnet_ros.localization.result import Candidate, MatchResult, Reason

PLACES = np.stack([make_pose(float(x), 0.0) for x in range(10)])


def result(query: int, places: list[int], distance: float = 0.5, score: float = 0.9,
           reason: Reason = Reason.ACCEPTED, stamp_s: float | None = None) -> MatchResult:
    """Make what the localizer says; without places, of a sequence that fills."""
    candidates = tuple(
        Candidate(place, place, PLACES[place], distance, distance + 0.01 * rank, score)
        for rank, place in enumerate(places))
    stamp = int(1e9 * (query if stamp_s is None else stamp_s))
    return MatchResult(query, stamp, stamp, candidates,
                       reason if candidates else Reason.BUFFER_FILLING)


def drive() -> MetricsAccumulator:
    """Return six results on a way of 10 m along places 0 to 9; see the comments."""
    truth = PoseGroundTruth(PLACES, Tolerance.parse('1m'))
    measures = MetricsAccumulator()
    for query, x, places, distance, score, reason in (
            (0, 0.0, [], 0.0, 0.0, Reason.BUFFER_FILLING),    # fills at 0 m
            (1, 1.0, [1, 5], 0.2, 0.95, Reason.ACCEPTED),     # hit, 0 m off
            (2, 3.0, [4, 9], 0.3, 0.85, Reason.ACCEPTED),     # hit, 1 m off
            (3, 4.0, [9, 4], 0.4, 0.85, Reason.ACCEPTED),     # wrong, 5 m off; second is right
            (4, 8.0, [8, 1], 0.5, 0.35, Reason.TOO_FAR),      # missed
            (5, 20.0, [9, 1], 0.6, 0.15, Reason.ACCEPTED)):   # not in the map: 11 m off
        found = result(query, places, distance, score, reason)
        measures.add(found, truth.judge(make_pose(x, 0.0), places), x)
    measures.add(result(6, [3], 0.1, 0.99), Judgement.unknown([3]), 21.0)
    return measures


class TestByHand:
    def test_recall(self):
        measures = drive()
        # Queries 1 to 4 are in the map; ways to them are 1, 2, 1 and 4 m.
        assert measures.recall(1) == 3 / 4
        assert measures.recall(5) == 1.0
        assert measures.recall(1, by_distance=True) == pytest.approx(7 / 8)
        assert measures.recall(2, by_distance=True) == 1.0

    def test_numbers(self):
        numbers = drive().compute().as_json()
        assert numbers['outcomes'] == {'hit': 2, 'wrong': 2, 'missed': 1, 'lost': 0, 'elsewhere': 0,
                                       'waiting': 1, 'unknown': 1}
        assert numbers['queries'] == {'searched': 6, 'with_truth': 5, 'in_map': 4}
        assert numbers['accepted'] == {
            'results': 5, 'right': 2, 'wrong': 2, 'precision': 0.5, 'recall': 0.5,
            'error': {'median': 3.0, 'p90': pytest.approx(9.2), 'worst': 11.0}}
        assert numbers['not_in_map'] == {'searched': 1, 'accepted': 1, 'rate': 1.0}
        # Of 8 m in the map, 1 m and 2 m end at a hit; 5 m follow without one.
        assert numbers['route']['travelled'] == 21.0
        assert numbers['route']['in_map'] == 8.0
        assert numbers['route']['localized'] == pytest.approx(3 / 8)
        assert numbers['route']['longest_without'] == 5.0
        assert numbers['route']['gaps'] == [
            {'begin': 3.0, 'end': 21.0, 'length': 5.0}, {'begin': 1.0, 'end': 3.0, 'length': 2.0},
            {'begin': 0.0, 'end': 1.0, 'length': 1.0}]
        assert numbers['first_fix'] == {'seconds': 1.0, 'distance': 1.0, 'right': True}

    def test_poses_between_places_have_an_error_of_their_own(self):
        truth, measures = PoseGroundTruth(PLACES, Tolerance.parse('1m')), MetricsAccumulator()
        for query, (x, shift, reason) in enumerate([
                (0.4, 0.1, Reason.ACCEPTED), (1.4, -0.3, Reason.ACCEPTED),
                (2.4, 5.0, Reason.CONVERGING), (None, 0.0, Reason.ACCEPTED)]):
            place = 0 if x is None else int(x)
            robot = None if x is None else make_pose(x, 0.0)
            judgement = truth.judge(robot, [place])
            pose = make_pose((x or 0.0) + shift, 0.0)
            measures.add(result(query, [place], reason=reason),
                         replace(judgement, pose_error=truth.pose_error(robot, pose)), query)
        accepted = measures.compute().as_json()['accepted']
        assert accepted['error']['median'] == pytest.approx(0.4)
        assert accepted['pose_error'] == {
            'median': pytest.approx(0.2), 'p90': pytest.approx(0.28), 'worst': pytest.approx(0.3)}

    def test_heights_count_for_poses_as_for_places(self):
        high = make_pose(3.0, 0.0, z=50.0)
        pose = make_pose(3.0, 0.2)
        assert PoseGroundTruth(PLACES, Tolerance(1.0)).pose_error(high, pose) > 49
        assert PoseGroundTruth(PLACES, Tolerance(1.0), planar=True).pose_error(
            high, pose) == pytest.approx(0.2)

    def test_the_curve(self):
        # By distance: right, right, wrong, right, wrong (not in the map); four can be right.
        curve = drive().curve()
        np.testing.assert_allclose(curve.precision, [1, 1, 2 / 3, 3 / 4, 3 / 5])
        np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 2, 1 / 2, 3 / 4, 3 / 4])
        assert curve.recall_at_precision(1.0) == 0.5
        assert curve.recall_at_precision(0.7) == 0.75
        assert curve.average_precision == pytest.approx(1 / 4 + 1 / 4 + 3 / 16)
        assert curve.best_f1 == pytest.approx(0.75)

    def test_scores(self):
        found = reliability(np.array([0.95, 0.85, 0.85, 0.35, 1.0]),
                            np.array([True, True, False, True, True]))
        assert found.counts.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 2, 2]
        assert found.right[8] == 0.5
        assert math.isnan(found.right[0])
        assert found.expected_error == pytest.approx((0.65 + 2 * 0.35 + 2 * 0.025) / 5)

    def test_the_filter_is_ordered_by_its_score(self):
        truth, measures = PoseGroundTruth(PLACES, Tolerance.parse('1m')), MetricsAccumulator()
        for query, (x, distance, score) in enumerate([
                (0.0, 0.9, 0.99), (0.0, 0.8, 0.9), (5.0, 0.1, 0.8), (0.0, 0.2, 0.7)]):
            found = replace(result(query, [0], distance, score), off_map=1 - score)
            measures.add(found, truth.judge(make_pose(x, 0.0), [0]), float(query))
        curve = measures.curve()
        np.testing.assert_allclose(-curve.thresholds, [0.99, 0.9, 0.8, 0.7])
        np.testing.assert_allclose(curve.precision, [1, 1, 2 / 3, 3 / 4])

    @pytest.mark.parametrize(('inflated', 'least', 'most'), [
        (False, 0.0, 0.02), (True, 0.15, 0.18)])
    def test_scores_of_rejected_places_count_as_probabilities(self, inflated, least, most):
        rng, measures = np.random.default_rng(4), MetricsAccumulator()
        for query, chance in enumerate(rng.random(4000)):
            right = rng.random(1) < chance
            score = np.sqrt(chance) if inflated else chance
            reason = Reason.ACCEPTED if score > 0.99 else Reason.CONVERGING
            found = replace(result(query, [0], 0.5, float(score), reason), off_map=1 - score)
            measures.add(found, Judgement(np.zeros(1), right, True, True, 0.0, 0), float(query))
        calibration = measures.compute().calibration
        assert sum(calibration.counts) == 4000
        assert least <= calibration.expected_error <= most

    def test_nothing_yet(self):
        numbers = MetricsAccumulator().compute().as_json()
        assert numbers['recall']['1'] is None
        assert numbers['precision_recall'] is None
        assert numbers['accepted']['error']['median'] is None
        assert numbers['first_fix']['seconds'] is None

    def test_numbers_follow_what_is_added(self):
        measures = drive()
        before = measures.recall(1)
        truth = PoseGroundTruth(PLACES, Tolerance.parse('1m'))
        measures.add(result(7, [0]), truth.judge(make_pose(5.0, 0.0), [0]), 30.0)
        assert measures.recall(1) == 3 / 5 != before

    def test_the_way_across_a_hole_in_the_truth_is_in_no_measure(self):
        truth, measures = PoseGroundTruth(PLACES, Tolerance.parse('1m')), MetricsAccumulator()
        for number, x in enumerate([0.0, 1.0, None, None, 4.0, 5.0]):
            pose = None if x is None else make_pose(x, 0.0)
            measures.add(result(number, [0]), truth.judge(pose, [0]), float(number))
        route = measures.compute().as_json()['route']
        assert route['travelled'] == 5.0
        assert route['with_truth'] == 2.0

    def test_the_way_of_a_standing_robot(self):
        odometer = Odometer()
        ways = [odometer.add(pose) for pose in (
            make_pose(0, 0), make_pose(0.03, 0), make_pose(-0.02, 0), make_pose(1, 0), None,
            make_pose(3, 0))]
        assert ways == [0, 0, 0, 1, 1, 3]
        odometer.lift()
        assert odometer.add(make_pose(100, 0)) == 3


class TestAgainstScikitLearn:
    def random_drive(self) -> tuple[MetricsAccumulator, np.ndarray, np.ndarray, np.ndarray]:
        """Return 400 random searches, their true places, their rankings and their distances."""
        rng = np.random.default_rng(3)
        truth, measures = PoseGroundTruth(PLACES, Tolerance(0.4)), MetricsAccumulator()
        places = rng.integers(0, 10, 400)
        rankings = np.stack([rng.permutation(10) for _ in places])
        # A third of them find the right place first, nearer than the others.
        lucky = rng.random(400) < 0.33
        for row in np.flatnonzero(lucky):
            rankings[row] = np.roll(rankings[row], -int(np.argmax(rankings[row] == places[row])))
        distances = np.round(rng.normal(np.where(lucky, 0.4, 0.6), 0.1), 2)  # ties, too
        for query, (place, ranking, distance) in enumerate(
                zip(places, rankings, distances, strict=True)):
            measures.add(result(query, ranking.tolist(), float(distance)),
                         truth.judge(make_pose(float(place), 0.0), ranking), float(query))
        return measures, places, rankings, distances

    @pytest.mark.parametrize('n', [1, 3, 5])
    def test_recall(self, n):
        measures, places, rankings, _ = self.random_drive()
        scores = np.zeros((400, 10))
        np.put_along_axis(scores, rankings, -np.arange(10.0)[None], axis=1)
        assert measures.recall(n) == pytest.approx(
            top_k_accuracy_score(places, scores, k=n, labels=np.arange(10)))

    def test_precision_and_recall(self):
        measures, places, rankings, distances = self.random_drive()
        right = rankings[:, 0] == places
        curve = measures.curve()
        precision, recall, thresholds = precision_recall_curve(right, -distances)
        # scikit-learn ascends from the largest distance and shares by those found right at all.
        np.testing.assert_allclose(curve.thresholds, -thresholds[::-1])
        np.testing.assert_allclose(curve.precision, precision[-2::-1])
        np.testing.assert_allclose(curve.recall, recall[-2::-1] * right.mean())
        assert curve.average_precision == pytest.approx(
            average_precision_score(right, -distances) * right.mean())


class TestTruth:
    def test_tolerances(self):
        assert Tolerance.parse('5m, 30deg') == Tolerance(5.0, 'm', 30.0)
        assert Tolerance.parse('2frames') == Tolerance(2.0, 'frames')
        assert str(Tolerance.parse('1.5m')) == '1.5 m'
        for text in ('5', '2frames,30deg', 'm', '-1m', '5m,'):
            with pytest.raises(InputError, match=r'expected meters \(.5m.\)'):
                Tolerance.parse(text)

    def test_heading_counts_where_it_is_asked_for(self):
        truth = PoseGroundTruth(PLACES, Tolerance.parse('1m,30deg'))
        ahead = truth.judge(make_pose(4.0, 0.5, yaw=math.radians(29)), [4, 6])
        assert ahead.right.tolist() == [True, False]
        assert ahead.errors == pytest.approx([0.5, math.hypot(2, 0.5)])
        back = truth.judge(make_pose(4.0, 0.5, yaw=math.radians(31)), [4])
        assert (back.known, back.in_map, back.nearest, back.true_place) == (True, False, 0.5, 4)
        assert not back.right.any()

    def test_the_tolerance_is_inclusive_and_heights_can_be_left_out(self):
        high = make_pose(3.0, 1.0, z=50.0)
        assert not PoseGroundTruth(PLACES, Tolerance(1.0)).judge(high, [3]).in_map
        found = PoseGroundTruth(PLACES, Tolerance(1.0), planar=True).judge(high, [3])
        assert found.in_map
        assert found.right.all()

    def test_places_without_a_pose_are_never_right(self):
        poses = PLACES.copy()
        poses[4] = np.nan
        found = PoseGroundTruth(poses, Tolerance(0.5)).judge(make_pose(4.0, 0.0), [4, 3])
        assert not found.right.any()
        assert not found.in_map
        with pytest.raises(InputError, match='no place of the map has a true pose'):
            PoseGroundTruth(np.full((3, 7), np.nan), Tolerance(1.0))

    def test_frames(self):
        truth = FrameGroundTruth(np.arange(0, 100, 10), Tolerance.parse('2frames'))
        found = truth.judge([31, 88], [3, 9, 0])
        assert found.errors.tolist() == [1, 2, 31]
        assert found.right.tolist() == [True, True, False]
        assert truth.judge([45], [4]).in_map is False
        assert truth.judge([], [4]).known
        assert not truth.judge(None, [4]).known

    def test_pairs(self, tmp_path):
        file = tmp_path / 'pairs.csv'
        file.write_text('# by eye\nquery,match\na,10.jpg\na,11\n3,\n')
        names = ['a.png', 'b.png', 'c.png', 'd.png']
        places = [f'{number}.jpg' for number in range(1, 20)]
        assert read_pairs(file, names, places) == {0: [9, 10], 3: []}

    @pytest.mark.parametrize(('text', 'message'), [
        ('query,map\nz,1\n', "line 2, the query is 'z'"),
        ('query,map\na,99\n', "the map is '99'"),
        ('a,b\n', 'has the columns a, b, expected query and map'),
        ('query,map\na\n', 'has 1 columns'),
        ('', 'holds no pairs')])
    def test_pairs_that_do_not_fit(self, tmp_path, text, message):
        file = tmp_path / 'pairs.csv'
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            read_pairs(file, ['a'], ['1', '2'])
