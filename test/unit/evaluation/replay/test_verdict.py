"""What the numbers of an evaluation mean, in words."""

from seqnet_ros.evaluation.metrics.accumulator import MetricsAccumulator
from seqnet_ros.evaluation.metrics.localization_metrics import QueryCounts
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
