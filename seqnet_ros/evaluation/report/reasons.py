"""Why results were accepted or rejected, in words, for each method of localization."""

from collections.abc import Mapping
from typing import NamedTuple

from seqnet_ros.localization.result import Reason

_OF_BOTH = {
    Reason.ACCEPTED: 'The best place is accepted.',
    Reason.STATIONARY: 'The camera is stationary, so the image is not searched.',
    Reason.GEOMETRY: 'The geometric check of the two images failed (geometry).',
    Reason.NO_CANDIDATES: 'The search returned no place.'}
_OF_FILTER = {
    **_OF_BOTH,
    Reason.OFF_MAP: 'The robot is more likely off the map than at any place of it.',
    Reason.CONVERGING: 'No place is probable enough yet: more keyframes are needed, or they show '
                       'too little (acceptance.false_positive_rate).',
    Reason.AMBIGUOUS: 'The two best places together are probable enough, but the best alone is '
                      'not.'}
_OF_SEQUENCE = {
    **_OF_BOTH,
    Reason.BUFFER_FILLING: 'The sequence is not long enough yet (sequence.length).',
    Reason.TOO_FAR: 'The best place is not nearer than wrong places are '
                    '(acceptance.false_positive_rate).',
    Reason.AMBIGUOUS: 'Another place is about as similar as the best one '
                      '(acceptance.min_margin).',
    Reason.INCONSISTENT: 'Successive sequences do not point at successive places '
                         '(acceptance.agreement).'}


class ReasonRow(NamedTuple):
    """A row of the table: the reason, the number of results with it, and what it means."""

    name: str
    results: int
    meaning: str


def reason_rows(reasons: Mapping[str, int], method: str) -> list[ReasonRow]:
    """Return a row for each reason, the most frequent first.

    Args:
        reasons: number of results by name of the reason, in small letters.
        method: `LocalizationConfig.method`.
    """
    meanings = {reason.name.lower(): words for reason, words in (
        _OF_FILTER if method == 'filter' else _OF_SEQUENCE).items()}
    rows = [ReasonRow(name.replace('_', ' '), count, meanings.get(name, ''))
            for name, count in reasons.items()]
    return sorted(rows, key=lambda row: (-row.results, row.name))
