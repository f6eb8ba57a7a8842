"""Ground truth: sequences that show the same place.

JIST and SeqVLAD count two sequences as the same place if any frame of one is within the radius of
any frame of the other; newer papers also ask for the center or the last frames::

    truth = sequence_ground_truth(database, queries, 25.0)          # a row per query window
    truth = cached_ground_truth('cache', database, queries, 25.0)   # the same, from a cache
"""

import hashlib
import json
import logging
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from scipy.sparse import csr_matrix

from seqnet_ros.core.array_files import read_npz
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import whole_file
from seqnet_ros.datasets.jist.sequence_folders import FrameTable, Sequences
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth, matches_within

Rule = Literal['any', 'centre', 'last']
RULES: tuple[Rule, ...] = get_args(Rule)

_logger = logging.getLogger(__name__)
_VERSION = 1
_BLOCK = 1 << 15
# Frames of two cities are kept apart by a distance that no radius reaches.
_CITY_STEP_M = 1e9


def sequence_ground_truth(database: Sequences, queries: Sequences, radius: float,
                          rule: Rule = 'any',
                          rows: np.ndarray | None = None) -> GroundTruth:
    """Find the database windows that match each query window.

    Frames of two cities never match, unless the sequences were made as in the published code,
    which compares coordinates of different UTM zones.

    Args:
        database: windows that are searched.
        queries: windows to search for.
        radius: meters, inclusive.
        rule: which frames have to be within the radius: any of one window and any of the other,
            the center frames (position ``L // 2``), or the last frames.
        rows: int ``[M]``, the query windows to look at; all where None. Mining requests a few.

    Returns:
        A row for each of these query windows; those without a match are empty.

    Raises:
        InputError: the rule is unknown or the radius is negative.
    """
    if rule not in RULES:
        raise InputError(f'the rule is {rule!r}, expected one of {", ".join(RULES)}')
    owners = _deciding(database.matched, rule)
    asking = _deciding(queries.matched if rows is None else queries.matched[rows], rule)
    windows_of_frame = _incidence(owners, len(database.frames)).T.tocsr()
    places = _places(database, queries)
    parts = [_match_block(asking[start: start + _BLOCK], windows_of_frame, places, radius)
             for start in range(0, len(asking), _BLOCK)]
    counts = np.concatenate([np.empty(0, np.int64), *(np.diff(part.indptr) for part in parts)])
    indices = np.concatenate([np.empty(0, np.int64), *(part.indices for part in parts)])
    indptr = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
    return GroundTruth(indptr, indices.astype(np.int64), len(database))


def _deciding(windows: np.ndarray, rule: Rule) -> np.ndarray:
    """Return the frames ``[W, K]`` that determine the matches of a window."""
    column = {'any': slice(None), 'last': slice(-1, None),
              'centre': slice(windows.shape[1] // 2, windows.shape[1] // 2 + 1)}[rule]
    return windows[:, column]


def _incidence(windows: np.ndarray, frames: int) -> csr_matrix:
    """Return the sparse bool matrix ``[W, F]``: this frame is in this window."""
    indptr = np.arange(0, windows.size + 1, windows.shape[1])
    return csr_matrix((np.ones(windows.size, dtype=bool), windows.ravel(), indptr),
                      shape=(len(windows), frames))


def _match_block(asking: np.ndarray, windows_of_frame: csr_matrix,
                 places: tuple[np.ndarray, np.ndarray], radius: float) -> csr_matrix:
    """Return the sparse matrix ``[m, W]`` of some query windows and all database windows."""
    db_places, q_places = places
    frames, position = np.unique(asking, return_inverse=True)
    near = matches_within(db_places, q_places[frames], radius)
    near_frames = csr_matrix((np.ones(len(near.indices), dtype=bool), near.indices, near.indptr),
                             shape=(len(frames), len(db_places)))
    # Products of bool matrices are unions: window -> its frames -> frames near them -> windows.
    found = _incidence(position.reshape(asking.shape), len(frames)) @ near_frames @ windows_of_frame
    found.sort_indices()
    return found


def _places(database: Sequences, queries: Sequences) -> tuple[np.ndarray, np.ndarray]:
    """Return positions ``[F, 2]`` or, where cities tell frames apart, ``[F, 3]``."""
    tables = database.frames, queries.frames
    if database.compat or queries.compat or any('' in table.cities for table in tables):
        return tables[0].positions, tables[1].positions
    known = sorted(set(tables[0].cities) | set(tables[1].cities))
    return _place(tables[0], known), _place(tables[1], known)


def _place(frames: FrameTable, known: list[str]) -> np.ndarray:
    numbers = np.searchsorted(known, np.array(frames.cities))[frames.folders]
    return np.column_stack([frames.positions, numbers * _CITY_STEP_M])


def cached_ground_truth(folder: str | PathLike[str], database: Sequences, queries: Sequences,
                        radius: float, rule: Rule = 'any') -> GroundTruth:
    """Return `sequence_ground_truth`, read from a cache where it was computed before.

    The name of the file follows from everything the result depends on, and the file states it
    again: an old result is never used for other images, lengths, radii or rules. A damaged file is
    replaced.

    Raises:
        InputError: as `sequence_ground_truth`, or the cache cannot be written.
    """
    key = _key(database, queries, radius, rule)
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    file = Path(folder) / f'sequence_truth_{name}.npz'
    return _read(file, key) or _keep(
        sequence_ground_truth(database, queries, radius, rule), file, key)


def _key(database: Sequences, queries: Sequences, radius: float, rule: Rule) -> str:
    def of(sequences: Sequences) -> dict[str, Any]:
        windows = np.ascontiguousarray(sequences.matched)
        return {'frames': sequences.frames.digest(), 'compat': sequences.compat,
                'shape': list(windows.shape), 'windows': hashlib.sha256(windows.data).hexdigest()}

    return json.dumps({'version': _VERSION, 'radius': float(radius), 'rule': rule,
                       'database': of(database), 'queries': of(queries)}, sort_keys=True)


def _read(file: Path, key: str) -> GroundTruth | None:
    if not file.is_file():
        return None
    try:
        stored = read_npz(file)
        if str(stored['key']) == key:
            return GroundTruth(stored['indptr'], stored['indices'], int(stored['references']))
        problem = 'belongs to other data'
    except (InputError, ValueError, KeyError, TypeError) as error:
        problem = f'is damaged ({error})'
    _logger.warning('cache %s %s: it is computed again', file, problem)
    return None


def _keep(truth: GroundTruth, file: Path, key: str) -> GroundTruth:
    with whole_file(file) as stream:
        np.savez(stream, key=np.array(key), indptr=truth.indptr, indices=truth.indices,
                 references=np.array(truth.references))
    return truth
