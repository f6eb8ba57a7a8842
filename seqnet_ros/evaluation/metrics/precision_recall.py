"""Precision and recall of the nearest place over the acceptance threshold on its distance.

Queries are ranked by the distance of their first prediction. At every threshold those at most as
far are accepted: precision is the share of them that are correct, recall the share of the queries
with a true match that are accepted and correct. An accepted query without any match is wrong.
"""

from dataclasses import dataclass

import numpy as np

from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth, first_hits, require_matches
from seqnet_ros.evaluation.nearest_neighbors import Predictions


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """A precision-recall curve.

    Attributes:
        thresholds: float32 ``[T]``, the distances that occur, ascending.
        precision: float64 ``[T]``.
        recall: float64 ``[T]``, never decreasing.
    """

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray

    @property
    def average_precision(self) -> float:
        """Area under the curve as steps: precision times gain in recall, summed."""
        return float(np.sum(np.diff(self.recall, prepend=0.0) * self.precision))

    @property
    def best_f1(self) -> float:
        """Highest harmonic mean of precision and recall."""
        total = self.precision + self.recall
        return float(np.max(2 * self.precision * self.recall / np.maximum(total, 1e-300),
                            initial=0.0))

    @property
    def recall_at_full_precision(self) -> float:
        """Highest recall at which no accepted prediction is wrong."""
        return self.recall_at_precision(1.0)

    def recall_at_precision(self, precision: float) -> float:
        """Highest recall at which at least this share of accepted predictions is correct."""
        return float(np.max(self.recall[self.precision >= precision], initial=0.0))


def precision_recall(predictions: Predictions, truth: GroundTruth) -> PrecisionRecall:
    """Measure the curve of a search; a query without a prediction is never accepted.

    Raises:
        InputError: the predictions do not match the ground truth, or no query has a true match.
    """
    matched = require_matches(truth)
    nearest = predictions.indices[:, :1]
    right = first_hits(nearest, truth) == 0
    found = np.flatnonzero(nearest[:, 0] >= 0)
    return rank_by_distance(predictions.distances[found, 0], right[found], matched)


def rank_by_distance(distances: np.ndarray, right: np.ndarray, matched: int) -> PrecisionRecall:
    """Measure the curve of first predictions.

    Args:
        distances: float ``[Q]``, of the queries with a prediction.
        right: bool ``[Q]``, whether the prediction is correct.
        matched: number of queries that have a true match, at least 1, with or without a prediction.
    """
    order = distances.argsort(kind='stable')
    distances, right = distances[order], right[order]
    # Equal distances are accepted together.
    last = np.flatnonzero(np.append(np.diff(distances) > 0, [True] * bool(len(distances))))
    accepted_right = np.cumsum(right)[last]
    return PrecisionRecall(distances[last], accepted_right / (last + 1), accepted_right / matched)
