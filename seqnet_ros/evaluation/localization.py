"""Recall, precision and position error of places that were found.

All of it rests on one number per candidate: how far it is from the truth, in metres where poses
are known, in frames where two recordings are aligned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqnet_ros.errors import InputError


@dataclass(frozen=True)
class LocalizationScore:
    """How good the results of one drive are; shares are NaN where there is nothing to share.

    Attributes:
        queries: searches made.
        accepted: searches whose best candidate was believed.
        recall_at_1: share of searches whose best candidate is right, accepted or not.
        recall_at_5: share of searches with a right one among the five best candidates.
        precision: share of the accepted that are right.
        median_error: median error of the accepted.
        p95_error: 95th percentile of it.
    """

    queries: int
    accepted: int
    recall_at_1: float
    recall_at_5: float
    precision: float
    median_error: float
    p95_error: float


def score_results(errors: Sequence[np.ndarray], accepted: Sequence[bool],
                  tolerance: float) -> LocalizationScore:
    """Score searches.

    Args:
        errors: for every search the errors ``[K]`` of its candidates, best candidate first.
        accepted: whether the best candidate of each was believed.
        tolerance: a candidate is right when its error is at most this.

    Raises:
        InputError: the two differ in length, or a search without candidates was accepted.
    """
    if len(errors) != len(accepted):
        raise InputError(f'found {len(errors)} searches and {len(accepted)} verdicts, '
                         'expected as many')
    believed = [found for found, verdict in zip(errors, accepted, strict=True) if verdict]
    if any(len(found) == 0 for found in believed):
        raise InputError('an accepted search has no candidate, expected at least one')
    best = np.array([found[0] for found in believed])
    return LocalizationScore(
        queries=len(errors), accepted=len(believed),
        recall_at_1=recall_at(1, errors, tolerance), recall_at_5=recall_at(5, errors, tolerance),
        precision=float(np.mean(best <= tolerance)) if len(best) else np.nan,
        median_error=float(np.median(best)) if len(best) else np.nan,
        p95_error=float(np.percentile(best, 95)) if len(best) else np.nan)


def recall_at(k: int, errors: Sequence[np.ndarray], tolerance: float) -> float:
    """Return the share of searches with a right candidate among the ``k`` best; NaN for none.

    Args:
        k: at least 1.
        errors: for every search the errors of its candidates, best candidate first.
        tolerance: a candidate is right when its error is at most this.
    """
    if not len(errors):
        return float('nan')
    return float(np.mean([bool((np.asarray(found)[:k] <= tolerance).any()) for found in errors]))


def position_errors(poses: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the distances ``[K]`` of poses ``[K, 7]`` from a true pose ``[7]``, metres."""
    return np.linalg.norm(np.asarray(poses)[:, :3] - np.asarray(truth)[:3], axis=1)
