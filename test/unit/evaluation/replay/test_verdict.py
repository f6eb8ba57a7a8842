"""What the numbers of an evaluation mean, in words."""

from seqnet_ros.evaluation.metrics.accumulator import MetricsAccumulator
from seqnet_ros.evaluation.metrics.localization_metrics import QueryCounts, Spread
from seqnet_ros.evaluation.replay.cold_starts import summarize_cold_starts
from seqnet_ros.evaluation.replay.verdict import give_verdict


def verdict_of(accepted: int) -> tuple[str, str]:
    """Return level and headline where the truth is known of searches that were not accepted."""
    nothing = MetricsAccumulator().compute()
    found = give_verdict(nothing.model_copy(update={
        'queries': QueryCounts(searched=35, with_truth=5, in_map=4),
        'accepted': nothing.accepted.model_copy(update={'results': accepted}),
    }), summarize_cold_starts([]))
    return found.level, found.headline


def test_accepted_places_without_truth_are_not_judged():
    assert verdict_of(20) == (
        'unknown', 'It is unknown whether any of the 20 accepted places is correct.')


def test_a_robot_that_accepts_nothing_never_says_where_it_is():
    assert verdict_of(0) == ('poor', 'The localizer accepted no place.')


def test_the_error_of_poses_is_a_sentence_where_there_are_any():
    nothing = MetricsAccumulator().compute()
    metrics = nothing.model_copy(update={
        'queries': QueryCounts(searched=35, with_truth=35, in_map=30),
        'recall': {1: 1.0, 5: 1.0},
        'accepted': nothing.accepted.model_copy(update={
            'results': 9, 'right': 9, 'precision': 1.0, 'error': Spread.of([0.5])})})
    restarts = summarize_cold_starts([])
    assert not any('pose between places' in one for one in give_verdict(metrics, restarts).details)
    posed = metrics.model_copy(update={'accepted': metrics.accepted.model_copy(
        update={'pose_error': Spread.of([0.2, 0.3])})})
    assert ('The error of the pose between places is 0.2 m in the median, 0.3 m at 90 %, and 0.3 m '
            'at most.') in give_verdict(posed, restarts).details
