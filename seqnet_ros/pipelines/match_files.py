"""Results on disk: ``matches.csv`` for tables, ``matches.jsonl`` with every candidate.

Neither holds timings, so that the same input gives the same bytes.
"""

import csv
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import (
    explain_write_errors,
    finish_parts,
    open_part,
    refuse_file,
    whole_file,
)
from seqnet_ros.core.printable import printable
from seqnet_ros.maps.manifest_file import MANIFEST

if TYPE_CHECKING:
    from seqnet_ros.localization.result import Candidate, MatchResult

_logger = logging.getLogger(__name__)

COLUMNS = ('query', 'stamp_ns', 'accepted', 'reason', 'place_id', 'score', 'descriptor_distance',
           'sequence_distance', 'image')
MAP = 'map'
CSV = 'matches.csv'
JSONL = 'matches.jsonl'
SUMMARY = 'summary.json'
_DIGITS = 6
_BEGINNINGS = {CSV: ','.join(COLUMNS[:-1]), JSONL: '{"query":', SUMMARY: '{\n "source":'}
"""How the files of a run begin."""


def check_folder(folder: Path, more: Mapping[str, str] | None = None) -> None:
    """Refuse a folder in which a run would replace anything else than the files of another run.

    Args:
        folder: the output of a run.
        more: files that are written beside those of `MatchFiles`, and how each begins.

    Raises:
        InputError: it is a file or a map, or holds such a file.
    """
    refuse_file(folder)
    if (folder / MANIFEST).exists():
        raise InputError(f'output {folder} is a map, expected another folder')
    for name, beginning in {**_BEGINNINGS, **(more or {})}.items():
        path = folder / name
        if not os.path.lexists(path):
            continue
        try:
            with path.open('rb') as file:
                content = file.read(len(beginning))
        except OSError:
            content = b'?'
        # Without any match there are no lines.
        if content != beginning.encode() and (content or name != JSONL):
            raise InputError(f'output {folder} holds another {name}, expected a new folder or that '
                             'of an earlier run')


class MatchFiles:
    """The files of one run; a context manager.

    Rows go to ``*.part`` files, line by line. `finish` gives them their names, over those of an
    earlier run; where the block ends before that, the rows so far stay in the ``*.part`` files.

    Args:
        folder: where to write.
        map_names: names of several maps by their ids; the last column and each candidate then name
            the map. None where there is one map.
    """

    def __init__(self, folder: Path, map_names: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._map_names = map_names or {}
        self._is_new = not folder.exists()
        self._parts = {name: folder / f'{name}.part' for name in (CSV, JSONL)}
        self._files: dict[str, TextIO] = {}
        self._rows = 0

    def __enter__(self) -> 'MatchFiles':
        """Create the folder and the files.

        Raises:
            InputError: they cannot be written.
        """
        with explain_write_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, part in self._parts.items():
                self._files[name] = open_part(part)
            self._csv = csv.writer(self._files[CSV], lineterminator='\n')
            self._csv.writerow([*COLUMNS, *([MAP] if self._map_names else [])])
        return self

    def write(self, query: int, result: 'MatchResult', image: str = '') -> None:
        """Add one result.

        Args:
            query: index of the newest query frame in its source.
            result: result for it.
            image: name of that frame, such as the name of its file.

        Raises:
            InputError: the row cannot be written.
        """
        with explain_write_errors(self._folder):
            # Names of files need not be text.
            name = printable(image)
            self._csv.writerow([*_row(query, result), name,
                                *_in_map(result.best, self._map_names).values()])
            self._files[JSONL].write(json.dumps(
                {**_document(query, result, self._map_names), 'image': name}) + '\n')
        self._rows += 1

    def finish(self, summary: dict[str, Any]) -> None:
        """Give the files their names and write ``summary.json``, the sign of a complete run.

        Raises:
            InputError: they cannot be written.
        """
        with explain_write_errors(self._folder):
            finish_parts((file, self._folder / name) for name, file in self._files.items())
            with whole_file(self._folder / SUMMARY) as whole:
                whole.write((json.dumps(summary, indent=1) + '\n').encode())
        self._parts.clear()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Keep the rows written before an error, if there are any."""
        self._close()
        if self._rows and self._parts:
            _logger.warning('the %d results so far are in %s', self._rows, self._parts[CSV])
        elif self._parts:
            for part in self._parts.values():
                part.unlink(missing_ok=True)
            if self._is_new:
                self._folder.rmdir()

    def _close(self) -> None:
        for file in self._files.values():
            file.close()


def _row(query: int, result: 'MatchResult') -> list[object]:
    row = [query, result.stamp_ns, str(result.accepted).lower(), result.reason.name.lower()]
    best = result.best
    if best is None:
        return [*row, '', '', '', '']
    numbers = (best.score, best.descriptor_distance, best.sequence_distance)
    return [*row, best.place_id, *(f'{number:.{_DIGITS}f}' for number in numbers)]


def _document(query: int, result: 'MatchResult',
              map_names: Mapping[str, str]) -> dict[str, object]:
    return {
        'query': query, 'stamp_ns': result.stamp_ns,
        'sequence_start_ns': result.sequence_start_ns, 'accepted': result.accepted,
        'reason': result.reason.name.lower(),
        'candidates': [
            {**_in_map(candidate, map_names), **_candidate(candidate)}
            for candidate in result.candidates]}


def _in_map(candidate: 'Candidate | None', map_names: Mapping[str, str]) -> dict[str, str]:
    """Return the name of the map of a candidate, where there are several."""
    if not map_names:
        return {}
    return {MAP: '' if candidate is None else map_names[candidate.map_id]}


def _candidate(candidate: 'Candidate') -> dict[str, object]:
    document: dict[str, object] = {
        'place_id': candidate.place_id, 'stamp_ns': candidate.stamp_ns,
        'pose': [round(float(value), _DIGITS) for value in candidate.pose],
        'score': round(candidate.score, _DIGITS),
        'descriptor_distance': round(candidate.descriptor_distance, _DIGITS),
        'sequence_distance': round(candidate.sequence_distance, _DIGITS)}
    if candidate.inliers:
        document['inliers'] = candidate.inliers
    if candidate.relative_pose is not None:
        document['relative_pose'] = [
            round(float(value), _DIGITS) for value in candidate.relative_pose]
        document['relative_is_metric'] = candidate.relative_is_metric
    return document
