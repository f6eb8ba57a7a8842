"""Runs of one drive side by side: what differs, and whether more than chance makes it differ.

Successive queries look alike, so that one lucky stretch would count as often as it has frames. The
intervals are therefore those of a bootstrap that draws whole blocks of successive queries, the same
ones for all runs (circular block bootstrap: Politis and Romano, 1992; paired as in Efron and
Tibshirani, An Introduction to the Bootstrap, 1993).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import JsonValue

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.replay.comparison_results import (
    Change,
    ComparedRun,
    ComparedShare,
    ComparisonResults,
    Difference,
)
from seqnet_ros.evaluation.replay.evaluation_results import ReplayResults
from seqnet_ros.evaluation.replay.run_files import read_queries, read_results

BLOCK = 20
RESAMPLES = 2000
CONFIDENCE = 0.95
_SEED = 1
_FEW_IN_COMMON = 0.5


@dataclass(frozen=True)
class Share:
    """A measure of the form: some queries of all those that count.

    Attributes:
        name: human-readable.
        part: name of the column of those that have it.
        whole: name of the column of those that count.
        more_is_better: False where it counts errors.
    """

    name: str
    part: str
    whole: str
    more_is_better: bool = True


SHARES = (
    Share('Recall@1', 'first', 'asked'), Share('Recall@5', 'fifth', 'asked'),
    Share('accepted and right', 'hit', 'in_map'), Share('precision', 'hit', 'accepted'),
    Share('wrong accepted', 'wrong', 'known', more_is_better=False))


@dataclass(frozen=True, eq=False)
class RunTable:
    """A run as the comparison sees it.

    Attributes:
        name: of its folder.
        results: its ``results.json``.
        rows: columns of numbers by number of the query.
    """

    name: str
    results: ReplayResults
    rows: dict[int, dict[str, bool]]


def read_run(folder: Path) -> RunTable:
    """Read the folder of a run.

    Raises:
        InputError: it holds no finished evaluation.
    """
    return RunTable(folder.name, read_results(folder), {
        int(row['query']): _flags(row) for row in read_queries(folder)})


def _flags(row: Mapping[str, str]) -> dict[str, bool]:
    known, in_map = row['in_map'] != '', row['in_map'] == 'true'
    accepted = known and row['accepted'] == 'true'
    right = row['right'] == 'true'
    rank = int(row['first_right']) if row['first_right'] else 0
    return {'known': known, 'in_map': in_map, 'searched': row['place_id'] != '',
            'accepted': accepted, 'first': rank == 1, 'fifth': 1 <= rank <= 5,
            'hit': accepted and right, 'wrong': accepted and not right}


def compare_runs(folders: Sequence[Path], block: int = BLOCK) -> ComparisonResults:
    """Compare runs with the first of them.

    Only queries count that have a result in every run: with other keyframes there are fewer. For
    recall they must have been searched in every run.

    Args:
        folders: at least two, of runs with the same queries.
        block: successive queries that are drawn together.

    Raises:
        InputError: the runs are not of the same queries and the same truth.
    """
    if len(folders) < 2:
        raise InputError(f'found {len(folders)} run, expected at least two to compare')
    runs = [read_run(folder) for folder in folders]
    for run in runs[1:]:
        _check_same_drives(runs[0], run)
    common = sorted(set.intersection(*(set(run.rows) for run in runs)))
    if not common:
        raise InputError(f'{runs[0].name} and {runs[1].name} have no query in common')
    tables = [_columns(run, common) for run in runs]
    searched = np.prod([table['searched'] for table in tables], axis=0)
    for table in tables:
        table['asked'] = table['in_map'] * searched
    counts = _draw_blocks(len(common), block)
    most = max(len(run.rows) for run in runs)
    return ComparisonResults(
        queries=len(common), block=block, resamples=RESAMPLES, confidence=CONFIDENCE,
        baseline=runs[0].name,
        runs=tuple(_compare(run, table, tables[0], counts, block)
                   for run, table in zip(runs, tables, strict=True)),
        settings=differing_settings([run.results.settings.as_json() for run in runs]),
        notes=() if len(common) >= _FEW_IN_COMMON * most else (
            f'only {len(common)} of up to {most} queries have a result in every run',))


def _check_same_drives(first: RunTable, other: RunTable) -> None:
    found, expected = other.results.drives, first.results.drives
    for ours, theirs in ((found.queries.sources, expected.queries.sources),
                         (found.queries.first, expected.queries.first),
                         (found.queries.frames, expected.queries.frames)):
        if ours != theirs:
            raise InputError(f'{other.name} has the queries {ours}, {first.name} has {theirs}: '
                             'only runs of the same queries can be compared')
    for what, mine, its in (('tolerance', found.tolerance, expected.tolerance),
                            ('pairs', found.pairs, expected.pairs)):
        if mine != its:
            raise InputError(f'the {what} of {other.name} is {mine}, that of {first.name} is '
                             f'{its}: only runs with the same ground truth can be compared')


def _columns(run: RunTable, common: Sequence[int]) -> dict[str, np.ndarray]:
    names = run.rows[common[0]].keys()
    return {name: np.array([run.rows[query][name] for query in common], dtype=np.float64)
            for name in names}


def _draw_blocks(queries: int, block: int) -> np.ndarray:
    """Return int ``[RESAMPLES, B]``, the first queries of the blocks of each resample."""
    rng = np.random.default_rng(_SEED)
    return rng.integers(0, queries, (RESAMPLES, max(1, -(-queries // block))))


def _resampled(values: np.ndarray, starts: np.ndarray, block: int) -> np.ndarray:
    """Return the sum over each resample, ``[RESAMPLES]``."""
    block = min(block, len(values))
    ring = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:block]]))])
    sums = ring[block:block + len(values)] - ring[:len(values)]
    return sums[starts].sum(axis=1)


def _compare(run: RunTable, table: dict[str, np.ndarray], baseline: dict[str, np.ndarray],
             starts: np.ndarray, block: int) -> ComparedRun:
    shares = {}
    for share in SHARES:
        value, values = _share(table, share, starts, block)
        _, others = _share(baseline, share, starts, block)
        low, high = _interval(values)
        least, most = _interval(values - others)
        shares[share.name] = ComparedShare(
            value=value, low=low, high=high,
            difference=None if table is baseline else Difference(
                low=least, high=most, verdict=_change(least, most, share.more_is_better)))
    return ComparedRun(name=run.name, model=run.results.settings.name, shares=shares)


def _share(table: dict[str, np.ndarray], share: Share, starts: np.ndarray,
           block: int) -> tuple[float | None, np.ndarray]:
    part, whole = table[share.part], table[share.whole]
    with np.errstate(invalid='ignore', divide='ignore'):
        values = _resampled(part * whole, starts, block) / _resampled(whole, starts, block)
    total = float(whole.sum())
    return (round(float((part * whole).sum()) / total, 6) if total else None), values


def _interval(values: np.ndarray) -> tuple[float | None, float | None]:
    known = values[np.isfinite(values)]
    if not len(known):
        return None, None
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(known, [tail, 100 - tail])
    return round(float(low), 6), round(float(high), 6)


def _change(least: float | None, most: float | None, more_is_better: bool) -> Change:
    if least is None or most is None:
        return 'not known'
    if least > 0:
        return 'better' if more_is_better else 'worse'
    if most < 0:
        return 'worse' if more_is_better else 'better'
    return 'no clear difference'


def differing_settings(
    settings: Sequence[Mapping[str, JsonValue]],
) -> dict[str, list[JsonValue]]:
    """Return those settings, by dotted name, that are not the same in all runs."""
    flat = [dict(_flatten(one)) for one in settings]
    names = dict.fromkeys(name for one in flat for name in one)
    found = {name: [one.get(name, _omitted(name)) for one in flat] for name in names}
    return {name: values for name, values in found.items()
            if any(value != values[0] for value in values) and name != 'description'}


def _omitted(name: str) -> JsonValue:
    """Return the value of a setting in documents without it: sections as by default are omitted.

    The method is written in any case, except by runs from before there was another one.
    """
    if name == 'localization.method':
        return 'sequence'
    section, _, field = name.partition('.')
    value: JsonValue = getattr(getattr(EngineConfig(), section, None), field, None)
    return value


def _flatten(settings: Mapping[str, JsonValue], prefix: str = '',
             ) -> Iterator[tuple[str, JsonValue]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value
