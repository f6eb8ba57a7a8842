"""The table of metrics at the head of the report."""

from typing import NamedTuple

from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics, RestartMetrics
from seqnet_ros.evaluation.replay.evaluation_results import MapSummary, ReplayResults
from seqnet_ros.evaluation.replay.verdict import length, percent


class Row(NamedTuple):
    """A row of the table."""

    name: str
    value: object
    meaning: str


def summary_rows(results: ReplayResults) -> list[Row]:
    """Return the rows."""
    metrics = results.measures
    return [
        *_search_rows(metrics), *_localization_rows(metrics),
        _first_fix_row(results.restarts, metrics.unit),
        *_score_rows(metrics, results.settings.method),
        _map_row(results.map, metrics.unit)]


def _search_rows(metrics: LocalizationMetrics) -> list[Row]:
    queries = metrics.queries
    return [
        Row('Searches', queries.searched,
            f'{queries.in_map} at places in the map, '
            f'{queries.searched - queries.with_truth} without ground truth'),
        *(Row(f'Recall@{n}', percent(recall),
              ('The best place is correct' if n == 1 else f'A correct place is among the first {n}')
              + f'; weighted by distance traveled {percent(metrics.recall_by_distance[n])}')
          for n, recall in metrics.recall.items())]


def _localization_rows(metrics: LocalizationMetrics) -> list[Row]:
    accepted, error, route, unit = (
        metrics.accepted, metrics.accepted.error, metrics.route, metrics.unit)
    of_poses = accepted.pose_error
    return [
        Row('Accepted', accepted.results,
            f'{accepted.right} correct, {accepted.wrong} wrong: precision '
            f'{percent(accepted.precision)}, recall {percent(accepted.recall)}'),
        Row('Error of the place', length(error.median, unit),
            f'Median of the accepted; 90 %: {length(error.p90, unit)}, maximum: '
            f'{length(error.worst, unit)}'),
        *([] if of_poses is None else [Row(
            'Error of the pose', length(of_poses.median, unit),
            'The same, of the position that is interpolated between places; 90 %: '
            f'{length(of_poses.p90, unit)}, maximum: {length(of_poses.worst, unit)}')]),
        Row('Route localized', percent(route.localized),
            f'Share of the {length(route.in_map, unit)} of the route in the map '
            f'({length(route.travelled, unit)} in total)'),
        Row('Longest distance without', length(route.longest_without, unit),
            'Longest part of the mapped route without a correct accepted place')]


def _first_fix_row(restarts: RestartMetrics, unit: str) -> Row:
    median = restarts.seconds.median
    return Row('First fix', '-' if median is None else f'{round(median, 2)} s',
               f'Median of {restarts.starts} random starts, after '
               f'{length(restarts.distance.median, unit)}; {restarts.wrong} found a wrong place, '
               f'{restarts.never} none')


def _score_rows(metrics: LocalizationMetrics, method: str) -> list[Row]:
    by = 'score' if method == 'filter' else 'distance'
    curve, elsewhere = metrics.precision_recall, metrics.not_in_map
    rows = [] if curve is None else [
        Row('Area under the curve', f'{curve.area:.3f}',
            f'Precision-recall curve when places are accepted by {by} alone; best F1 '
            f'{curve.best_f1:.3f}'),
        Row('Recall at 100 % precision', percent(curve.recall_at_precision_100),
            'Recall before the first error; at 99 % precision '
            f'{percent(curve.recall_at_precision_99)}')]
    error = metrics.calibration.expected_error
    return [
        *rows,
        Row('Calibration error', '-' if error is None else f'{error:.3f}',
            'Mean difference between the score of the best place, accepted or not, and the share '
            'of correct places'),
        Row('Not in the map', f'{elsewhere.accepted} of {elsewhere.searched}',
            'Accepted searches at places that are not in the map: '
            f'{percent(elsewhere.rate)}')]


def _map_row(place_map: MapSummary, unit: str) -> Row:
    density = place_map.bytes_per_metre
    return Row('Map', f'{place_map.bytes / 1e6:.1f} MB',
               f'{place_map.places} places, '
               f'{"-" if density is None else f"{density / 1e3:.1f}"} kB per '
               f'{"meter" if unit == "m" else "frame"}')
