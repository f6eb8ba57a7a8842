"""What the numbers of an evaluation mean, in words anyone can read."""

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
    'good': 'Reliable', 'usable': 'Usable with care', 'sparse': 'Right but seldom sure',
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


def give_verdict(metrics: LocalizationMetrics, restarts: RestartMetrics) -> Verdict:
    """Put metrics into words."""
    queries = metrics.queries
    if not queries.searched:
        return _unknown('Nothing was searched: no sequence of images filled.')
    if not queries.with_truth:
        return _unknown('It is not known where the queries really are.',
                        f'{queries.searched} searches were made and are listed.')
    if not queries.in_map:
        elsewhere = metrics.not_in_map
        return _unknown(
            'The map shows none of the places of the queries.',
            f'{elsewhere.accepted} of {elsewhere.searched} searches were accepted nevertheless.',
            'If the drives did pass the same places, their poses are of different frames or '
            'clocks, or the tolerance is too small.')
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
        return f'It is not known whether any of the {accepted.results} accepted places is right.'
    if accepted.precision is None:
        return 'The robot never said where it is.'
    right = f'{accepted.right} of' if accepted.wrong else 'All'
    share = '' if localized is None else (
        f', and the robot knew its place on {percent(localized)} of the mapped route')
    return f'{right} {accepted.right + accepted.wrong} accepted places are right{share}.'


def _details(metrics: LocalizationMetrics, restarts: RestartMetrics) -> list[str]:
    unit, queries, elsewhere = metrics.unit, metrics.queries, metrics.not_in_map
    found = [(f'The right place came first in {percent(metrics.recall[1])} and among the first '
              f'five in {percent(metrics.recall[5])} of {queries.in_map} searches.')]
    error = metrics.accepted.error
    if error.median is not None:
        found.append(f'Accepted places are off by {length(error.median, unit)} in the median, '
                     f'by at most {length(error.p90, unit)} in nine of ten cases and by '
                     f'{length(error.worst, unit)} at worst.')
    if metrics.route.longest_without:
        gap = metrics.route.gaps[0]
        found.append(f'The longest way without knowing the place was {length(gap.length, unit)}, '
                     f'from {length(gap.begin, unit)} to {length(gap.end, unit)} of the drive.')
    if restarts.right:
        found.append(f'Started anywhere, it finds its place after '
                     f'{restarts.seconds.median:.1f} s '
                     f'({length(restarts.distance.median, unit)}) in the median; '
                     f'{restarts.never + restarts.wrong} of {restarts.starts} starts led '
                     'nowhere or to a wrong place.')
    if elsewhere.searched:
        found.append(f'{elsewhere.accepted} of {elsewhere.searched} searches at places that '
                     'are not in the map were accepted.')
    if queries.in_map < _FEW:
        found.append(f'Only {queries.in_map} searches could be judged: the shares above are '
                     'rough.')
    return found


def percent(share: float | None) -> str:
    """Return a share for people; only what is exact is called 0 or 100 %."""
    if share is None:
        return '-'
    if share in (0.0, 1.0):
        return f'{share:.0%}'.replace('%', ' %')
    return f'{min(max(100 * share, 0.1), 99.9):.1f} %'


def length(value: float | None, unit: str) -> str:
    """Return a distance for people."""
    if value is None:
        return '-'
    if unit != 'm':
        return f'{value:.0f} {"frame" if round(value) == 1 else "frames"}'
    if value >= 10_000:
        return f'{value / 1000:.1f} km'
    return f'{value:.0f} m' if value >= 100 else f'{value:.1f} m'
