"""Human-readable verdict on the metrics of an evaluation."""

from typing import Literal

from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics, RestartMetrics
from seqnet_ros.evaluation.result_document import ResultDocument

_TRUSTED = 0.99
_TOLERABLE = 0.95
_WELL_COVERED = 0.8
_COVERED = 0.4
_FEW = 20

Level = Literal['good', 'usable', 'sparse', 'poor', 'unknown']
LABELS: dict[Level, str] = {
    'good': 'Reliable', 'usable': 'Usable with care', 'sparse': 'Precise but rarely accepted',
    'poor': 'Not reliable', 'unknown': 'Not judged'}


class Verdict(ResultDocument):
    """The outcome of an evaluation in words.

    Attributes:
        level: how good the localizer is.
        headline: one sentence.
        details: further sentences, the most important first.
    """

    level: Level
    headline: str
    details: tuple[str, ...]

    @property
    def label(self) -> str:
        """The level as the report names it."""
        return LABELS[self.level]


def give_verdict(metrics: LocalizationMetrics, restarts: RestartMetrics,
                 trivial: str = '') -> Verdict:
    """Put metrics into words.

    Args:
        metrics: of all results.
        restarts: of starts at random places.
        trivial: why any result counts as correct; empty where that is not so.
    """
    queries = metrics.queries
    if trivial:
        return _unknown('Every place of the map is correct for every query.',
                        'The tolerance is larger than the map, or the poses are not in meters.')
    if not queries.searched:
        return _unknown('Nothing was searched: there were too few keyframes.')
    if not queries.with_truth:
        return _unknown('The true positions of the queries are unknown.',
                        f'{queries.searched} searches were made and are listed below.')
    if not queries.in_map:
        elsewhere = metrics.not_in_map
        return _unknown(
            'The map shows none of the places of the queries.',
            f'{elsewhere.accepted} of {elsewhere.searched} searches were accepted anyway.',
            'If the drives overlap, their poses are in different frames or clocks, or the '
            'tolerance is too small.')
    return Verdict(level=_level(metrics), headline=_headline(metrics),
                   details=tuple(_details(metrics, restarts)))


def _unknown(headline: str, *details: str) -> Verdict:
    return Verdict(level='unknown', headline=headline, details=details)


def _level(metrics: LocalizationMetrics) -> Level:
    precision = metrics.accepted.precision
    localized = metrics.route.localized or 0.0
    if precision is None:
        return 'unknown' if metrics.accepted.results else 'poor'
    if precision >= _TRUSTED and localized >= _WELL_COVERED:
        return 'good'
    if precision >= _TOLERABLE:
        return 'usable' if localized >= _COVERED else 'sparse'
    return 'poor'


def _headline(metrics: LocalizationMetrics) -> str:
    accepted, localized = metrics.accepted, metrics.route.localized
    if accepted.precision is None and accepted.results:
        return f'It is unknown whether any of the {accepted.results} accepted places is correct.'
    if accepted.precision is None:
        return 'The localizer accepted no place.'
    right = f'{accepted.right} of' if accepted.wrong else 'All'
    share = '' if localized is None else (
        f', and the robot was localized on {percent(localized)} of the mapped route')
    return f'{right} {accepted.right + accepted.wrong} accepted places are correct{share}.'


def _details(metrics: LocalizationMetrics, restarts: RestartMetrics) -> list[str]:
    unit, queries, elsewhere = metrics.unit, metrics.queries, metrics.not_in_map
    found = [(f'The correct place ranked first in {percent(metrics.recall[1])}, and among the '
              f'first five in {percent(metrics.recall[5])}, of {queries.in_map} searches.')]
    error = metrics.accepted.error
    if error.median is not None:
        found.append(f'The position error of accepted places is {length(error.median, unit)} in '
                     f'the median, {length(error.p90, unit)} at 90 %, and '
                     f'{length(error.worst, unit)} at most.')
    of_poses = metrics.accepted.pose_error
    if of_poses is not None:
        found.append('The error of the pose between places is '
                     f'{length(of_poses.median, unit)} in the median, '
                     f'{length(of_poses.p90, unit)} at 90 %, and '
                     f'{length(of_poses.worst, unit)} at most.')
    if metrics.route.longest_without:
        gap = metrics.route.gaps[0]
        found.append('The longest distance without a correct accepted place was '
                     f'{length(gap.length, unit)}, from {length(gap.begin, unit)} to '
                     f'{length(gap.end, unit)} of the drive.')
    if restarts.right:
        found.append('Started at a random place, the localizer needs '
                     f'{restarts.seconds.median:.1f} s ({length(restarts.distance.median, unit)}) '
                     'in the median until the first accepted place; '
                     f'{restarts.never + restarts.wrong} of {restarts.starts} starts found no '
                     'place or a wrong one.')
    if elsewhere.searched:
        found.append(f'{elsewhere.accepted} of {elsewhere.searched} searches at places that '
                     'are not in the map were accepted.')
    if queries.in_map < _FEW:
        found.append(f'Only {queries.in_map} searches have ground truth in the map: the shares '
                     'above are rough estimates.')
    return found


def percent(share: float | None) -> str:
    """Return a share, human-readable; 0 and 100 % are always exact."""
    if share is None:
        return '-'
    if share in (0.0, 1.0):
        return f'{share:.0%}'.replace('%', ' %')
    return f'{min(max(100 * share, 0.1), 99.9):.1f} %'


def length(value: float | None, unit: str) -> str:
    """Return a distance, human-readable."""
    if value is None:
        return '-'
    if unit != 'm':
        return f'{value:.0f} {"frame" if round(value) == 1 else "frames"}'
    if value >= 10_000:
        return f'{value / 1000:.1f} km'
    return f'{value:.0f} m' if value >= 100 else f'{value:.1f} m'
