"""The charts of the belief, from queries made by hand."""

import base64
import re

import cv2
import numpy as np

from seqnet_ros.core.poses import make_pose
from seqnet_ros.evaluation.metrics.accumulator import Judged
from seqnet_ros.evaluation.metrics.place_ground_truth import Judgement
from seqnet_ros.evaluation.replay.belief_history import BeliefRecorder
from seqnet_ros.evaluation.replay.replay import Query
from seqnet_ros.evaluation.report.belief_charts import belief_map, probability_chart
from seqnet_ros.localization.result import Candidate, MatchResult, Reason


def query(number: int, score: float, reason: Reason, place: int | None) -> Query:
    """Return a result at place 0 whose true place is this one; None where that is not known."""
    candidate = Candidate(0, 0, make_pose(0, 0), 0.1, 0.1, score)
    judgement = Judgement.unknown([0]) if place is None else Judgement(
        np.array([float(place)]), np.array([place == 0]), True, True, 0.0, place)
    result = MatchResult(number, number, number, (candidate,), reason, off_map=1 - score)
    return Query(number, 0, Judged(result, judgement, float(number)), None, 0)


def picture_of(drawing: str) -> np.ndarray:
    found = re.search('data:image/png;base64,([^"]+)"', drawing)
    return cv2.imdecode(np.frombuffer(base64.b64decode(found[1]), np.uint8), cv2.IMREAD_UNCHANGED)


def test_accepted_stretches_are_in_the_lane_of_their_outcome():
    drawing = probability_chart([
        *(query(number, 0.995, Reason.ACCEPTED, 0) for number in range(5)),
        query(5, 0.5, Reason.CONVERGING, 0),
        query(6, 0.995, Reason.ACCEPTED, 3),
        query(7, 0.995, Reason.ACCEPTED, 0)])
    assert [drawing.count(f'"lane-{name}"') for name in ('hit', 'wrong', 'unknown')] == [2, 1, 0]
    assert '>?<' not in drawing
    assert '7 of 8 results are accepted' in drawing
    unknown = probability_chart([query(0, 0.995, Reason.ACCEPTED, None)])
    assert unknown.count('"lane-unknown"') == 1
    assert '>?<' in unknown


def test_a_long_drive_keeps_its_peaks_and_stays_small():
    queries = [query(number, 0.999, Reason.ACCEPTED, 0) for number in range(50_000)]
    queries[31_007] = query(31_007, 0.0, Reason.OFF_MAP, 0)
    drawing = probability_chart(queries)
    assert len(drawing) < 40_000
    curve = re.search('class="curve fine" points="([^"]+)"', drawing)[1]
    heights = [float(point.split(',')[1]) for point in curve.split()]
    assert max(heights) - min(heights) > 100
    assert sum(height > min(heights) + 1 for height in heights) == 1


def test_the_shade_is_the_logarithm_of_the_probability():
    recorder = BeliefRecorder()
    for belief in ([1.0, 0.1, 0.01, 1e-4], [0.0, 1e-9, 0.9, 0.1]):
        recorder.add(np.array(belief))
    drawing = belief_map(recorder.history(), [query(0, 0.5, Reason.CONVERGING, 0)] * 2)
    # The first place is at the bottom, the first query at the left.
    np.testing.assert_allclose(picture_of(drawing), [
        [0, 191], [128, 252], [191, 0], [255, 0]], atol=1)


def test_the_true_place_is_a_line_that_breaks_where_there_is_none():
    recorder = BeliefRecorder()
    places = [0, 1, 2, None, 4, 5, 60, 61]
    for _ in places:
        recorder.add(np.full(100, 0.01))
    drawing = belief_map(recorder.history(), [
        query(number, 0.5, Reason.CONVERGING, place) for number, place in enumerate(places)])
    lines = re.findall('class="true-line" points="([^"]+)"', drawing)
    assert [len(line.split()) for line in lines] == [3, 2, 2]


def test_a_long_drive_in_a_large_map_is_a_small_picture():
    recorder = BeliefRecorder()
    rng = np.random.default_rng(1)
    for _ in range(2000):
        recorder.add(rng.dirichlet(np.ones(1000)))
    queries = [query(number, 0.5, Reason.CONVERGING, number // 2) for number in range(2000)]
    drawing = belief_map(recorder.history(), queries)
    assert picture_of(drawing).shape == (300, 500)
    assert len(drawing) < 250_000
