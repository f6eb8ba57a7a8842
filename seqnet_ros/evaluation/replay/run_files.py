"""The files of an evaluation: ``results.json``, tables, and what it took in files of its own.

What depends on the machine's mood - times, memory - is in ``timing.json`` and ``timing.js`` alone;
everything else is the same to the byte when the evaluation is repeated.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import (
    begins_with,
    explain_write_errors,
    finish_parts,
    open_part,
    prepare_outputs,
    read_text,
    refuse_file,
    whole_file,
)
from seqnet_ros.evaluation.metrics.accumulator import MetricsAccumulator
from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics
from seqnet_ros.evaluation.replay.evaluation_results import ReplayResults
from seqnet_ros.evaluation.replay.reference_places import ReferencePlaces
from seqnet_ros.evaluation.replay.replay import Query
from seqnet_ros.evaluation.replay.timing import Timing
from seqnet_ros.evaluation.result_document import read_document, write_document

RESULTS, QUERIES, REPORT = 'results.json', 'queries.csv', 'report.html'
CURVE, RECALL, RELIABILITY = 'precision_recall.csv', 'recall.csv', 'reliability.csv'
TIMING, TIMING_SCRIPT = 'timing.json', 'timing.js'
DESCRIPTORS = 'descriptors'

COLUMNS = ('query', 'recording', 'stamp_ns', 'travelled', 'reason', 'accepted', 'outcome',
           'place_id', 'place_frame', 'score', 'descriptor_distance', 'sequence_distance', 'error',
           'right', 'first_right', 'in_map', 'nearest', 'true_place', 'x', 'y', 'found_x',
           'found_y', 'off_map', 'pose_x', 'pose_y', 'pose_error')
TILE_COLUMNS = ('map', 'true_map')
"""Further columns of a collection: the tiles of the best and of the true place."""
FIRST_COLUMNS = COLUMNS.index('off_map')
"""Number of columns of runs from before the place filter."""
_HEADER = ','.join(COLUMNS[:FIRST_COLUMNS])
_DIGITS = 6


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than an evaluation.

    Raises:
        InputError: it is a file, or there are files in it and none of them is of an evaluation, or
            its table of queries is not one.
    """
    refuse_file(folder)
    if not folder.exists():
        return
    found = sorted(entry.name for entry in folder.iterdir())
    known = {DESCRIPTORS, f'{QUERIES}.part', f'{RESULTS}.part'}
    finished = {RESULTS, QUERIES, RECALL} <= set(found)
    if found and not finished and not known & set(found):
        raise InputError(f'output {folder} holds other files, such as {found[0]}: expected a new '
                         'folder, an empty one, or that of an evaluation')
    prepare_outputs([folder / QUERIES], lambda path: begins_with(path, _HEADER))


class QueryTable:
    """``queries.csv`` as it grows: rows go to a ``.part`` file until the table is complete.

    Args:
        folder: of the run.
        mapped: the places of the map.
    """

    def __init__(self, folder: Path, mapped: ReferencePlaces) -> None:
        self._path = folder / QUERIES
        self._part = folder / f'{QUERIES}.part'
        self._mapped = mapped
        self._file: TextIO | None = None

    @contextmanager
    def open(self) -> Iterator['QueryTable']:
        """Take rows within a block; what was written before an error stays in the part file.

        Raises:
            InputError: the table cannot be written.
        """
        with explain_write_errors(self._path):
            self._part.parent.mkdir(parents=True, exist_ok=True)
            with open_part(self._part) as self._file:
                self._csv = csv.writer(self._file, lineterminator='\n')
                self._csv.writerow((*COLUMNS, *(TILE_COLUMNS if self._mapped.names else ())))
                yield self
                finish_parts([(self._file, self._path)])

    def add(self, query: Query) -> None:
        """Add a row."""
        row = _row(query, self._mapped)
        if self._mapped.names:
            row += [self._tile(query.place), self._tile(query.judged.judgement.true_place)]
        self._csv.writerow(row)

    def _tile(self, place: int) -> str:
        """Return the name of the tile that a place is in; '' for none."""
        return self._mapped.names[self._mapped.tile_place(place).tile] if place >= 0 else ''


def _row(query: Query, mapped: ReferencePlaces) -> list[object]:
    judged = query.judged
    result, judgement, best = judged.result, judged.judgement, judged.result.best
    row: list[object] = [
        query.number, query.recording, result.stamp_ns, _short(judged.travelled),
        result.reason.name.lower(), _flag(result.accepted), judged.outcome]
    if best is None:
        row += [''] * 8
    else:
        right = np.flatnonzero(judgement.right)
        row += [best.place_id, _frame(mapped.place_frames, query.place), _short(best.score),
                _short(best.descriptor_distance), _short(best.sequence_distance),
                _short(judgement.errors[0]), _flag(judged.right) if judgement.known else '',
                int(right[0]) + 1 if len(right) else '']
    row += [_flag(judgement.in_map) if judgement.known else '', _short(judgement.nearest),
            mapped.tile_place(judgement.true_place).place if judgement.true_place >= 0 else '']
    row += ['', ''] if query.truth is None else [_short(query.truth[0]), _short(query.truth[1])]
    row += ['', ''] if best is None else [_short(best.pose[0]), _short(best.pose[1])]
    row.append('' if result.off_map is None else _short(result.off_map))
    row += ['', ''] if result.pose is None else [_short(result.pose[0]), _short(result.pose[1])]
    return [*row, _short(judgement.pose_error)]


def _frame(place_frames: np.ndarray, place: int) -> int | str:
    return int(place_frames[place]) if place_frames[place] >= 0 else ''


def _flag(value: bool) -> str:
    return 'true' if value else 'false'


def _short(value: float) -> str:
    return f'{value:.{_DIGITS}f}' if np.isfinite(value) else ''


def read_queries(folder: Path) -> list[dict[str, str]]:
    """Read the rows of a run's ``queries.csv``; columns that an earlier run lacks are empty.

    Raises:
        InputError: there is none, or it is not a table of this kind.
    """
    path = folder / QUERIES
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline='')))
    except csv.Error as error:
        raise InputError(f'{path} is not a table: {error}') from error
    header = rows.pop(0) if rows else []
    known = COLUMNS, COLUMNS[:FIRST_COLUMNS], (*COLUMNS, *TILE_COLUMNS)
    if tuple(header) not in known:
        raise InputError(f'{path} has other columns than an evaluation writes')
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise InputError(f'{path} line {number} has {len(row)} columns, expected {len(header)}')
    empty = dict.fromkeys((*COLUMNS, *TILE_COLUMNS), '')
    return [{**empty, **dict(zip(header, row, strict=True))} for row in rows]


def read_results(folder: Path) -> ReplayResults:
    """Read a run's ``results.json``.

    Raises:
        InputError: there is none, or it is no such document.
    """
    return read_document(folder / RESULTS, ReplayResults, 'the result of an evaluation')


def write_results(folder: Path, results: ReplayResults) -> None:
    """Write ``results.json``.

    Raises:
        InputError: it cannot be written.
    """
    write_document(folder / RESULTS, results)


def write_curves(folder: Path, accumulator: MetricsAccumulator, metrics: LocalizationMetrics,
                 method: str) -> None:
    """Write the tables behind the plots.

    Args:
        folder: of the run.
        accumulator: all results.
        metrics: of these.
        method: `LocalizationConfig.method`, which decides what places are ordered by.

    Raises:
        InputError: one of them cannot be written.
    """
    curve = accumulator.curve()
    name, sign = ('score', -1) if method == 'filter' else ('sequence_distance', 1)
    points = () if curve is None else zip(sign * curve.thresholds, curve.precision, curve.recall,
                                          strict=True)
    _write_table(folder / CURVE, (name, 'precision', 'recall'), points)
    _write_table(folder / RECALL, ('candidates', 'recall', 'recall_by_distance'), (
        (n, value, metrics.recall_by_distance[n]) for n, value in metrics.recall.items()))
    scores = accumulator.scores()
    _write_table(folder / RELIABILITY, ('matches', 'score', 'right'), (
        (int(count), score, right)
        for count, score, right in zip(scores.counts, scores.scores, scores.right, strict=True)))


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    with whole_file(path) as file:
        lines = [','.join(header)]
        lines += [','.join(_cell(value) for value in row) for row in rows]
        file.write(('\n'.join(lines) + '\n').encode())


def _cell(value: Any) -> str:
    if value is None:
        return ''
    return str(value) if isinstance(value, int) else _short(float(value))


def write_timing(folder: Path, timing: Timing) -> None:
    """Write what the evaluation took, for programs and for the report.

    Raises:
        InputError: it cannot be written.
    """
    write_document(folder / TIMING, timing)
    with whole_file(folder / TIMING_SCRIPT) as file:
        file.write(f'window.evaluationTiming = {json.dumps(timing.as_json())};\n'.encode())
