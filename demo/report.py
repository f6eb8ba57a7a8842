"""What the node's answers are worth, against the exact poses."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demo.errors import DemoError
from demo.playback import Answer
from seqnet_ros.evaluation.localization import (
    LocalizationScore,
    position_errors,
    score_results,
)
from seqnet_ros.matching.result import Reason

TOLERANCE_M = 5.0
MIN_RECALL = 0.5
MIN_PRECISION = 0.9


@dataclass(frozen=True)
class Judged:
    """An answer and the truth.

    Attributes:
        answer: what the node said.
        truth: the robot's exact pose ``[7]``.
        errors: distances ``[K]`` of the candidates from it, metres; empty where nothing was
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
    return [Judged(answer, truths[answer.stamp_ns],
                   position_errors(answer.poses, truths[answer.stamp_ns]))
            for answer in answers]


def score(judged: Sequence[Judged]) -> LocalizationScore:
    """Return the score of those answers for which the map was searched."""
    searched = [one for one in judged if len(one.errors)]
    return score_results([one.errors for one in searched],
                         [one.answer.message.accepted for one in searched], TOLERANCE_M)


def summarise(judged: Sequence[Judged], images: int) -> dict[str, str]:
    """Return what to print: names and values."""
    total = score(judged)
    reasons = Counter(one.reason for one in judged)
    rejected = ', '.join(f'{count} {reason.name.lower()}' for reason, count in sorted(
        reasons.items()) if reason is not Reason.ACCEPTED)
    latencies = [1e3 * one.answer.latency_s for one in judged if len(one.errors)]
    lines = {
        'images played': str(images),
        'searches': str(total.queries),
        'Recall@1': f'{total.recall_at_1:.3f} within {TOLERANCE_M:g} m',
        'Recall@5': f'{total.recall_at_5:.3f}',
        'accepted': f'{total.accepted}, {total.precision:.1%} of them right',
        'not accepted': rejected or 'none',
        'position error': f'median {total.median_error:.2f} m, 95 % below {total.p95_error:.2f} m '
                          '(accepted)'}
    if latencies:
        p50, p99 = np.percentile(latencies, [50, 99])
        lines['latency'] = f'p50 {p50:.0f} ms, p99 {p99:.0f} ms, image published to answer received'
    return lines


def require_found(judged: Sequence[Judged]) -> None:
    """Raise where the robot was not found.

    Raises:
        DemoError: the message says what is missing.
    """
    total = score(judged)
    if not total.queries:
        raise DemoError(f'the robot was not found: {len(judged)} answers, none from a search')
    if total.recall_at_1 < MIN_RECALL:
        raise DemoError(f'the robot was not found: Recall@1 is {total.recall_at_1:.3f}, '
                        f'expected at least {MIN_RECALL}')
    if not total.accepted:
        raise DemoError(f'the robot was not found: none of {total.queries} searches was accepted')
    if total.precision < MIN_PRECISION:
        raise DemoError(f'the robot was not found: {total.precision:.1%} of the accepted are '
                        f'right, expected at least {MIN_PRECISION:.0%}')
