"""Results judged one by one as they come: late, missing and restarted truth, without ROS."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from map_files import make_map, small_model

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import make_pose
from seqnet_ros.evaluation.live_evaluation import LiveEvaluation, TruePath, make_truth_buffer
from seqnet_ros.evaluation.metrics.accumulator import MetricsAccumulator, Odometer
from seqnet_ros.evaluation.metrics.place_ground_truth import PoseGroundTruth, Tolerance
from seqnet_ros.localization.result import Candidate, MatchResult, Reason
from seqnet_ros.maps.place_map import PlaceMap

SECOND = 10**9
FIVE_METRES = Tolerance(5.0)


@pytest.fixture(scope='module')
def place_map() -> PlaceMap:
    return make_map(small_model(), places=50)


@pytest.fixture
def live(place_map: PlaceMap) -> LiveEvaluation:
    return LiveEvaluation({place_map.manifest.map_id: place_map}, FIVE_METRES)


def found(place_map: PlaceMap, seconds: float, *places: int,
          reason: Reason = Reason.ACCEPTED) -> MatchResult:
    stamp = round(seconds * SECOND)
    candidates = tuple(
        Candidate(place, 0, place_map.poses[0], 0.5, 0.4 + 0.01 * rank, 0.9,
                  map_id=place_map.manifest.map_id) for rank, place in enumerate(places))
    return MatchResult(0, stamp, stamp, candidates,
                       reason if places else Reason.BUFFER_FILLING)


class TestTruePath:
    def test_the_path_follows_all_poses_and_ends_between_two(self):
        poses = make_truth_buffer()
        path = TruePath(poses)
        corner = [(0, 0.0, 0.0), (1, 3.0, 0.0), (2, 3.0, 4.0)]
        for seconds, x, y in corner:
            poses.add(seconds * SECOND, make_pose(x, y))
        path.begin(0)
        assert path.walk(0) == 0.0
        assert path.walk(SECOND // 2) == pytest.approx(1.5)
        assert path.walk(SECOND * 3 // 2) == pytest.approx(5.0), 'around the corner, not across'
        assert path.walk(SECOND) == pytest.approx(5.0), 'the distance never falls'

    def test_poses_that_come_late_are_in_the_path(self):
        poses = make_truth_buffer()
        path = TruePath(poses)
        poses.add(0, make_pose(0.0, 0.0))
        path.begin(0)
        assert path.walk(2 * SECOND) == 0.0
        for second, x, y in ((1, 3.0, 0.0), (3, 3.0, 4.0)):
            poses.add(second * SECOND, make_pose(x, y))
        assert path.walk(3 * SECOND) == pytest.approx(7.0)

    def test_no_pose_before_after_or_in_a_hole(self):
        poses = make_truth_buffer()
        assert poses.at(SECOND) is None
        for seconds in (1.0, 2.0, 4.5):
            poses.add(round(seconds * SECOND), make_pose(seconds, 0.0))
        assert poses.at(round(1.5 * SECOND))[0] == pytest.approx(1.5)
        for seconds in (0.9, 3.0, 4.6):
            assert poses.at(round(seconds * SECOND)) is None

    def test_forgotten_poses_stay_in_the_path(self):
        long, short = make_truth_buffer(), make_truth_buffer()
        long_path, short_path = TruePath(long), TruePath(short)
        for path in (long_path, short_path):
            path.begin(0)
        for second in range(100):
            for poses in (long, short):
                poses.add(second * SECOND, make_pose(np.sin(second), second))
            short_path.forget((second - 5) * SECOND)
        assert len(short) == 7
        assert len(long) == 100
        assert short_path.walk(98 * SECOND) == pytest.approx(long_path.walk(98 * SECOND))


def test_the_numbers_are_those_of_the_measures(live, place_map):
    """What is judged at the end, with all truth at hand, or on the way, is the same."""
    rng = np.random.default_rng(0)
    truth = [make_pose(*place_map.poses[i, :3] + [0.2, 0.1, 0.0]) for i in range(40)]
    results = [found(place_map, i + 0.0, *rng.choice(50, 6, replace=False),
                     reason=Reason.ACCEPTED if i % 3 else Reason.TOO_FAR)
               for i in range(0, 40, 2)]
    judge, way, expected = PoseGroundTruth(place_map.poses, FIVE_METRES), Odometer(), (
        MetricsAccumulator())
    for i, pose in enumerate(truth):
        travelled = way.add(pose)
        if i % 2 == 0:
            result = results[i // 2]
            expected.add(result, judge.judge(pose, [one.place_id for one in result.candidates]),
                         travelled)
    for i, pose in enumerate(truth):
        if i % 2 == 0:
            live.add_result(results[i // 2], 0.0)  # before its truth
            assert live.waiting == 1
        live.add_truth(i * SECOND, pose, 0.0)
        assert live.waiting == 0
    assert live.accumulator.compute() == expected.compute()
    assert live.most_candidates == 6


def test_a_result_waits_for_its_truth_and_then_no_longer(live, place_map):
    live.add_truth(0, place_map.poses[0], 0.0)
    live.add_result(found(place_map, 1, 1), 10.0)
    live.add_result(found(place_map, 2, 2), 12.0)
    live.settle(14.9)
    assert (len(live), live.waiting) == (0, 2)
    live.settle(15.0)
    assert (len(live), live.waiting) == (1, 1)
    live.add_truth(2 * SECOND, place_map.poses[2], 16.9)
    metrics = live.accumulator.compute()
    assert metrics.outcomes.unknown == 1
    assert metrics.outcomes.hit == 1
    assert metrics.accepted.error.worst == 0.0


def test_truth_that_starts_anew_ends_what_waits_and_adds_no_way(live, place_map):
    for lap in range(2):
        for second in range(10):
            live.add_truth(second * SECOND, place_map.poses[second], 0.0)
            live.add_result(found(place_map, second, second), 0.0)
        live.add_result(found(place_map, 9.5, 9), float(lap))
    live.settle(100.0)
    metrics = live.accumulator.compute()
    assert metrics.results == 22
    assert metrics.outcomes.unknown == 2
    length = np.linalg.norm(np.diff(place_map.poses[:10, :3], axis=0), axis=1).sum()
    assert metrics.route.travelled == pytest.approx(2 * length, abs=1e-3)


def test_reset_begins_a_new_way(live, place_map):
    for second in range(5):
        live.add_truth(second * SECOND, place_map.poses[second], 0.0)
        live.add_result(found(place_map, second, 40), 0.0)
    live.add_result(found(place_map, 5, 5), 0.0)
    live.reset()
    assert (len(live), live.waiting, live.nearest) == (0, 0, float('inf'))
    for second in range(5, 8):
        live.add_truth(second * SECOND, place_map.poses[second], 0.0)
        live.add_result(found(place_map, second, second), 0.0)
    metrics = live.accumulator.compute()
    assert metrics.outcomes.hit == metrics.results == 3
    assert metrics.route.gaps[0].begin == 0.0
    assert metrics.route.travelled == pytest.approx(
        np.linalg.norm(np.diff(place_map.poses[5:8, :3], axis=0), axis=1).sum(), abs=1e-3)


def test_memory_does_not_grow_with_the_drive(live, place_map):
    def drive(ticks: range) -> None:
        for tick in ticks:
            live.add_truth(tick * SECOND // 10, make_pose(tick / 10, 0.0), 0.0)

    drive(range(1000))
    tracemalloc.start()
    try:
        drive(range(1000, 5000))
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 50_000  # 4000 poses take 256,000 bytes
    # What is kept are the poses of a minute, for results that come late.
    live.add_result(found(place_map, 499.9 - 59, 0), 0.0)
    live.add_result(found(place_map, 499.9 - 61, 0), 0.0)
    live.settle(100.0)
    assert (len(live), live.accumulator.compute().outcomes.unknown) == (2, 1)


def test_places_of_several_maps_are_told_apart(place_map):
    other = replace(place_map, poses=place_map.poses + np.array([1e3, 0, 0, 0, 0, 0, 0]))
    live = LiveEvaluation({place_map.manifest.map_id: place_map, 'far': other}, FIVE_METRES)
    live.add_truth(SECOND, other.poses[3], 0.0)
    near = found(place_map, 1, 3)
    far = MatchResult(0, SECOND, SECOND, (Candidate(
        3, 0, other.poses[3], 0.5, 0.5, 0.9, map_id='far'),), Reason.ACCEPTED)
    live.add_result(near, 0.0)
    live.add_result(far, 0.0)
    assert live.accumulator.compute().outcomes.wrong == 1
    assert live.accumulator.compute().outcomes.hit == 1


def test_what_cannot_be_judged_is_refused(live, place_map):
    with pytest.raises(InputError, match='no map was given'):
        LiveEvaluation({}, FIVE_METRES)
    with pytest.raises(InputError, match='which has the places 0 to 49'):
        live.add_result(found(place_map, 1, 50), 0.0)
    stranger = MatchResult(0, 1, 1, (Candidate(
        3, 0, place_map.poses[3], 0.5, 0.5, 0.9, map_id='street'),), Reason.ACCEPTED)
    with pytest.raises(InputError, match=r'searches map street, but the evaluator uses map'):
        live.add_result(stranger, 0.0)
    assert live.waiting == len(live) == 0


def test_poses_of_another_frame_are_told(live, place_map):
    assert live.note(live.accumulator.compute()) == ''
    live.add_truth(SECOND, place_map.poses[0] + [500, 0, 0, 0, 0, 0, 0], 0.0)
    live.add_result(found(place_map, 1, 0), 0.0)
    assert 'in the frame of the map' in live.note(live.accumulator.compute())


def test_truth_of_another_clock_is_told(live, place_map):
    live.add_result(found(place_map, 100, 0), 0.0)
    live.settle(10.0)
    assert 'no true pose has arrived' in live.note(live.accumulator.compute())
    live.add_truth(40 * SECOND, place_map.poses[0], 10.0)
    note = live.note(live.accumulator.compute())
    assert '-60.0 s from the newest match: check that both use the same clock' in note
    results = live.results(live.accumulator.compute())
    assert results.notes == (note,)
    assert results.verdict.level == 'unknown'
