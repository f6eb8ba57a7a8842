"""Metrics of a localizer on a drive: the ``measures`` of every evaluation.

Distances and errors are in the unit of the metrics, meters or frames. A value is None where there
is nothing to measure.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from seqnet_ros.evaluation.result_document import Length, Metric, ResultDocument

Unit = Literal['m', 'frames']


class OutcomeCounts(ResultDocument):
    """Number of results with each outcome."""

    hit: int = Field(description='accepted, right')
    wrong: int = Field(description='accepted, wrong')
    missed: int = Field(description='rejected, although correct')
    lost: int = Field(description='rejected, another place ranked first')
    elsewhere: int = Field(description='rejected, not in the map')
    waiting: int = Field(description='not searched: the sequence is filling, or the robot is '
                                     'stationary')
    unknown: int = Field(description='no ground truth')


OUTCOMES = {name: field.description or '' for name, field in OutcomeCounts.model_fields.items()}
"""Meaning of each outcome."""


class QueryCounts(ResultDocument):
    """Queries that were searched, those with ground truth, and those the map has a place for."""

    searched: int
    with_truth: int
    in_map: int


class CurveSummary(ResultDocument):
    """A precision-recall curve, see `PrecisionRecall`."""

    area: Metric
    best_f1: Metric
    recall_at_precision_100: Metric
    recall_at_precision_99: Metric


class Spread(ResultDocument):
    """Median, 90th percentile and largest of some values."""

    median: Metric
    p90: Metric
    worst: Metric

    @classmethod
    def of(cls, values: Iterable[float]) -> 'Spread':
        """Summarize values; those that are not finite are skipped."""
        found = np.array(list(values), dtype=np.float64)
        found = found[np.isfinite(found)]
        median, p90, worst = np.percentile(found, [50, 90, 100]) if len(found) else [np.nan] * 3
        return cls(median=median, p90=p90, worst=worst)


class AcceptedPlaces(ResultDocument):
    """Results that were accepted. Right, wrong and precision refer to results with ground truth.

    Attributes:
        results: number of them.
        right: of these, the correct ones.
        wrong: the wrong ones.
        precision: share of correct ones.
        recall: correct ones as a share of the searches at places in the map.
        error: distance of the place from the ground truth.
        pose_error: distance of the pose between places, meters; unset where no such pose or no true
            pose is known.
    """

    results: int
    right: int
    wrong: int
    precision: Metric
    recall: Metric
    error: Spread
    pose_error: Spread | None = None


class Gap(ResultDocument):
    """A stretch of the mapped route without localization.

    Attributes:
        begin: distance traveled where it begins.
        end: distance traveled where it ends.
        length: of its part in the map.
    """

    begin: Length
    end: Length
    length: Length


class RouteCoverage(ResultDocument):
    """Share of the route that was localized.

    Attributes:
        travelled: length of the route.
        with_truth: length of the part with ground truth.
        in_map: length of the part in the map.
        localized: share of the route in the map that ends at a correct accepted place.
        longest_without: length of the longest gap.
        gaps: the longest gaps, longest first.
    """

    travelled: Length
    with_truth: Length
    in_map: Length
    localized: Metric
    longest_without: Length
    gaps: tuple[Gap, ...]


class FirstFix(ResultDocument):
    """Time and distance to the first accepted place; None where there is none."""

    seconds: Metric
    distance: Metric
    right: bool | None


class Calibration(ResultDocument):
    """Scores against how often they are correct, in bins, see `Reliability`."""

    expected_error: Metric
    counts: tuple[int, ...]
    scores: tuple[Metric, ...]
    right: tuple[Metric, ...]


class NotInMap(ResultDocument):
    """Searches at places that are not in the map, and how many of them were accepted."""

    searched: int
    accepted: int
    rate: Metric


class LocalizationMetrics(ResultDocument):
    """All metrics of a drive.

    Attributes:
        unit: of distances and errors.
        results: number of results.
        reasons: number of results by reason.
        outcomes: number of results by outcome.
        queries: number of queries.
        recall: Recall@N by N.
        recall_by_distance: the same, each query weighted by the distance since the previous one.
        precision_recall: of the best candidates; None if no candidate can be correct.
        accepted: the accepted results.
        route: the part of the route that was localized.
        first_fix: the first accepted result.
        calibration: of the scores.
        not_in_map: searches outside the map.
    """

    unit: Unit
    results: int
    reasons: Mapping[str, int]
    outcomes: OutcomeCounts
    queries: QueryCounts
    recall: Mapping[int, Metric]
    recall_by_distance: Mapping[int, Metric]
    precision_recall: CurveSummary | None
    accepted: AcceptedPlaces
    route: RouteCoverage
    first_fix: FirstFix
    calibration: Calibration
    not_in_map: NotInMap


class RestartMetrics(ResultDocument):
    """Time to the first localization, for starts at places in the map.

    Attributes:
        starts: number of starts.
        right: starts whose first accepted place is correct.
        wrong: starts whose first accepted place is wrong.
        never: starts without an accepted place.
        seconds: time to the first accepted place, if it is correct.
        distance: distance to it.
    """

    starts: int
    right: int
    wrong: int
    never: int
    seconds: Spread
    distance: Spread
