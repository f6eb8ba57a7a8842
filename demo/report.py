"""Evaluation of the node's matches against exact poses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo.errors import DemoError
from demo.playback import Answer
from seqnet_ros.evaluation.metrics.accumulator import MetricsAccumulator, Odometer
from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics
from seqnet_ros.evaluation.metrics.place_ground_truth import Judgement
from seqnet_ros.evaluation.replay.verdict import length, percent
from seqnet_ros.localization.result import Candidate, MatchResult, Reason

TOLERANCE_M = 5.0
MIN_RECALL = 0.5
MIN_PRECISION = 0.9


@dataclass(frozen=True)
class Judged:
    """An answer and its true pose.

    Attributes:
        answer: the answer of the node.
        truth: the robot's exact pose ``[7]``.
        errors: distances ``[K]`` of the candidates from it, meters; empty where nothing was
            searched.
    """

    answer: Answer
    truth: np.ndarray
    errors: np.ndarray

    @property
    def reason(self) -> Reason:
        """The node's verdict."""
        return Reason(self.answer.message.reason)

    @property
    def right(self) -> bool:
        """Whether the best candidate is where the robot was."""
        return bool(len(self.errors) and self.errors[0] <= TOLERANCE_M)


def judge(answers: Sequence[Answer], stamps_ns: np.ndarray, poses: np.ndarray) -> list[Judged]:
    """Compare answers with the true poses ``[N, 7]`` at the stamps ``[N]``."""
    truths = dict(zip(stamps_ns.tolist(), poses, strict=True))
    return [Judged(answer, truths[answer.stamp_ns], np.linalg.norm(
        (answer.poses - truths[answer.stamp_ns])[:, :3], axis=1)) for answer in answers]


def measure(judged: Sequence[Judged]) -> LocalizationMetrics:
    """Return the metrics of the answers; both drives take the same route, so all are in the map."""
    accumulator, odometer = MetricsAccumulator(), Odometer()
    for number, one in enumerate(judged):
        right = one.errors <= TOLERANCE_M
        nearest = float(one.errors.min()) if len(one.errors) else np.nan
        accumulator.add(_result(number, one),
                        Judgement(one.errors, right, True, True, nearest, -1),
                        odometer.add(one.truth))
    return accumulator.compute()


def _result(number: int, one: Judged) -> MatchResult:
    """Return the result of the engine that a message was made from."""
    candidates = tuple(
        Candidate(found.place_id, 0, pose, found.descriptor_distance, found.sequence_distance,
                  found.score)
        for found, pose in zip(one.answer.message.candidates, one.answer.poses, strict=True))
    stamp_ns = one.answer.stamp_ns
    return MatchResult(number, stamp_ns, stamp_ns, candidates, one.reason)


def summarise(judged: Sequence[Judged], images: int) -> dict[str, str]:
    """Return what to print: names and values."""
    metrics = measure(judged)
    accepted, error = metrics.accepted, metrics.accepted.error
    rejected = ', '.join(f'{count} {reason}' for reason, count in metrics.reasons.items()
                         if reason != 'accepted')
    latencies = [1e3 * one.answer.latency_s for one in judged if len(one.errors)]
    lines = {
        'images played': str(images),
        'searches': str(metrics.queries.searched),
        'Recall@1': f'{_share(metrics.recall[1])} within {TOLERANCE_M:g} m',
        'Recall@5': _share(metrics.recall[5]),
        'accepted': f'{accepted.results}, {percent(accepted.precision)} of them correct',
        'not accepted': rejected or 'none',
        'position error': f'median {length(error.median, "m")}, 90 % within '
                          f'{length(error.p90, "m")} (accepted)',
        'localized': f'{percent(metrics.route.localized)} of the route'}
    if latencies:
        p50, p99 = np.percentile(latencies, [50, 99])
        lines['latency'] = f'p50 {p50:.0f} ms, p99 {p99:.0f} ms, image published to answer received'
    return lines


def _share(value: float | None) -> str:
    return '-' if value is None else f'{value:.3f}'


def require_found(judged: Sequence[Judged]) -> None:
    """Raise where the robot was not found.

    Raises:
        DemoError: the message says what is missing.
    """
    metrics = measure(judged)
    recall, accepted, searches = metrics.recall[1], metrics.accepted, metrics.queries.searched
    if not searches:
        raise DemoError(f'the robot was not found: {len(judged)} answers, none from a search')
    if recall < MIN_RECALL:
        raise DemoError(f'the robot was not found: Recall@1 is {recall:.3f}, expected at least '
                        f'{MIN_RECALL}')
    if not accepted.results:
        raise DemoError(f'the robot was not found: none of {searches} searches was accepted')
    if accepted.precision < MIN_PRECISION:
        raise DemoError(f'the robot was not found: {percent(accepted.precision)} of the '
                        f'accepted are correct, expected at least {MIN_PRECISION:.0%}')
