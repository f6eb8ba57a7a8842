"""The metrics as a flat table: names of the message ``Evaluation``, labels and units."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from seqnet_ros.evaluation.metrics.accumulator import RECALL_NS
from seqnet_ros.evaluation.metrics.localization_metrics import (
    CurveSummary,
    LocalizationMetrics,
    Spread,
)


@dataclass(frozen=True)
class MetricField:
    """A number of `LocalizationMetrics`.

    Attributes:
        name: of the field of the message.
        read: returns it.
        label: in the diagnostics; '' where it is not shown.
        unit: of the value in the diagnostics; '' for none.
        is_count: whether it is a whole number, which is always known.
    """

    name: str
    read: Callable[[LocalizationMetrics], float | None]
    label: str = ''
    unit: str = ''
    is_count: bool = False

    def value(self, metrics: LocalizationMetrics) -> float:
        """Return the number; NaN where it is not known."""
        value = self.read(metrics)
        if self.is_count:
            return int(value or 0)
        return float('nan') if value is None else float(value)

    def text(self, metrics: LocalizationMetrics) -> str:
        """Return the number with four digits, a count with all."""
        value = self.read(metrics)
        if value is None:
            return 'unknown'
        return str(value) if self.is_count else f'{value:.4g}'


def _count(name: str, read: Callable[[LocalizationMetrics], int], label: str = '') -> MetricField:
    return MetricField(name, read, label, is_count=True)


def _recall(n: int) -> MetricField:
    return MetricField(f'recall_at_{n}', lambda metrics: metrics.recall[n], f'recall@{n}')


def _recall_by_distance(n: int) -> MetricField:
    return MetricField(f'recall_by_distance_at_{n}',
                       lambda metrics: metrics.recall_by_distance[n])


def _of_curve(name: str, read: Callable[[CurveSummary], float | None]) -> MetricField:
    def read_known(metrics: LocalizationMetrics) -> float | None:
        curve = metrics.precision_recall
        return None if curve is None else read(curve)

    return MetricField(name, read_known)


def _of_poses(name: str, read: Callable[[Spread], float | None]) -> MetricField:
    def read_known(metrics: LocalizationMetrics) -> float | None:
        error = metrics.accepted.pose_error
        return None if error is None else read(error)

    return MetricField(name, read_known)


def _accepted_share(metrics: LocalizationMetrics) -> float | None:
    searched = metrics.queries.searched
    return metrics.accepted.results / searched if searched else None


COUNTS = (
    _count('results', lambda metrics: metrics.results),
    _count('searched', lambda metrics: metrics.queries.searched),
    _count('with_truth', lambda metrics: metrics.queries.with_truth),
    _count('in_map', lambda metrics: metrics.queries.in_map),
    _count('hits', lambda metrics: metrics.outcomes.hit),
    _count('wrong', lambda metrics: metrics.outcomes.wrong),
    _count('missed', lambda metrics: metrics.outcomes.missed),
    _count('lost', lambda metrics: metrics.outcomes.lost),
    _count('elsewhere', lambda metrics: metrics.outcomes.elsewhere),
    _count('not_searched', lambda metrics: metrics.outcomes.waiting),
    _count('unknown', lambda metrics: metrics.outcomes.unknown, 'without truth'),
    _count('not_in_map_searched', lambda metrics: metrics.not_in_map.searched),
    _count('not_in_map_accepted', lambda metrics: metrics.not_in_map.accepted),
)
RECALLS = (*map(_recall, RECALL_NS), *map(_recall_by_distance, RECALL_NS))
ACCEPTED = (
    MetricField('precision', lambda metrics: metrics.accepted.precision, 'precision'),
    _count('accepted', lambda metrics: metrics.accepted.results, 'accepted'),
    MetricField('accepted_share', _accepted_share),
    MetricField('recall', lambda metrics: metrics.accepted.recall),
    MetricField('error_median', lambda metrics: metrics.accepted.error.median,
                'error median', 'm'),
    MetricField('error_p90', lambda metrics: metrics.accepted.error.p90, 'error p90', 'm'),
    MetricField('error_worst', lambda metrics: metrics.accepted.error.worst, 'error worst', 'm'),
    _of_poses('pose_error_median', lambda error: error.median),
    _of_poses('pose_error_p90', lambda error: error.p90),
    _of_poses('pose_error_worst', lambda error: error.worst),
    MetricField('not_in_map_rate', lambda metrics: metrics.not_in_map.rate),
    MetricField('calibration_error', lambda metrics: metrics.calibration.expected_error),
)
CURVE = (
    _of_curve('precision_recall_area', lambda curve: curve.area),
    _of_curve('best_f1', lambda curve: curve.best_f1),
    _of_curve('recall_at_precision_100', lambda curve: curve.recall_at_precision_100),
    _of_curve('recall_at_precision_99', lambda curve: curve.recall_at_precision_99),
)
ROUTE = (
    MetricField('travelled', lambda metrics: metrics.route.travelled),
    MetricField('travelled_with_truth', lambda metrics: metrics.route.with_truth),
    MetricField('travelled_in_map', lambda metrics: metrics.route.in_map),
    MetricField('localized_share', lambda metrics: metrics.route.localized, 'route localized'),
    MetricField('longest_without', lambda metrics: metrics.route.longest_without,
                'longest without', 'm'),
    MetricField('first_fix_seconds', lambda metrics: metrics.first_fix.seconds),
    MetricField('first_fix_distance', lambda metrics: metrics.first_fix.distance),
)
METRIC_FIELDS = (*COUNTS, *RECALLS, *ACCEPTED, *CURVE, *ROUTE)
"""All numbers that the message holds."""


def labelled(fields: Iterable[MetricField], metrics: LocalizationMetrics) -> dict[str, str]:
    """Return label with unit, and text, of the fields that have a label."""
    return {', '.join(filter(None, (field.label, field.unit))): field.text(metrics)
            for field in fields if field.label}
