"""Ground truth in files: which references match each query, as arrays or as a table of pairs.

=========================  ===================================================================
file                       content
=========================  ===================================================================
``.npy``, bool or 0 and 1  ``[M, N]``: this query matches this reference; ``[N, M]`` is recognized
                           where the numbers differ
``.npy``, whole numbers    ``[M, K]`` or ``[M]``: rows of references; -1 fills up
``.npy``, objects          ``[M]``: a list of rows of references for each query; or pairs of the row
                           of a query and such a list
``.npz``                   one of these, as the only array or named as in `ARRAYS`
``.csv``                   the columns ``query`` and ``map``, see `read_pairs`
=========================  ===================================================================
"""

from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from seqnet_ros.core.array_files import read_npy, read_npz
from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth
from seqnet_ros.evaluation.metrics.place_ground_truth import read_pairs

ARRAYS = ('ground_truth', 'gt', 'GThard', 'GTsoft', 'GT')
"""Names of arrays in ``.npz`` files; the first that is there counts."""

_REFERENCES_FIRST = ('GThard', 'GTsoft', 'GT')
_EXPECTED = ('expected bool [M, N], rows of references [M, K], or a list of rows for each query')


def read_ground_truth(path: str | PathLike[str], references: int, queries: int) -> GroundTruth:
    """Read an array file of ground truth.

    Args:
        path: an ``.npy`` or ``.npz`` file.
        references: number of references N.
        queries: number of queries M.

    Raises:
        InputError: the file cannot be read, or is of other numbers of frames.
    """
    file = Path(path)
    name = ''
    if file.suffix == '.npz':
        arrays = read_npz(file, objects=True)
        known = [known for known in ARRAYS if known in arrays]
        if not known and len(arrays) != 1:
            raise InputError(f'{file} holds {", ".join(arrays) or "no array"}, expected one array '
                             f'or one named {", ".join(ARRAYS)}')
        name = known[0] if known else next(iter(arrays))
        found = arrays[name]
    else:
        found = read_npy(file, objects=True)
    what = f'{file}: {name}' if name else str(file)
    if found.dtype.hasobject:
        return _of_lists(found, references, queries, what)
    if _is_matrix(found, references, queries):
        turned = found.shape == (references, queries) and (
            found.shape != (queries, references) or name in _REFERENCES_FIRST)
        return _of_rows([np.flatnonzero(row) for row in (found.T if turned else found)],
                        references, what)
    whole = found.astype(np.int64) if found.dtype.kind in 'iuf' else found
    if found.dtype.kind not in 'iuf' or found.ndim not in (1, 2) or len(found) != queries or (
            not np.array_equal(whole, found)):
        raise InputError(f'{what} holds {found.dtype} {list(found.shape)} for {queries} queries '
                         f'and {references} references, {_EXPECTED}')
    return _of_rows([row[row != -1] for row in whole.reshape(queries, -1)], references, what)


def read_pair_table(path: str | PathLike[str], reference_names: Sequence[str],
                    query_names: Sequence[str], tolerance: int = 0) -> GroundTruth:
    """Read a table of pairs; queries without a row or without a place have no match.

    Args:
        path: see `read_pairs`.
        reference_names: names of the N references; rows count from 0 where these are numbers.
        query_names: the same for the M queries.
        tolerance: references at most this many rows from a listed one match, too.

    Raises:
        InputError: as `read_pairs`.
    """
    pairs = read_pairs(path, query_names, reference_names)
    near = np.arange(-tolerance, tolerance + 1)
    rows = []
    for query in range(len(query_names)):
        listed = np.array(pairs.get(query, []), dtype=np.int64)
        places = np.unique(listed[:, None] + near)
        rows.append(places[(places >= 0) & (places < len(reference_names))])
    return _of_rows(rows, len(reference_names), str(path))


def _is_matrix(found: np.ndarray, references: int, queries: int) -> bool:
    shapes = (queries, references), (references, queries)
    return found.ndim == 2 and found.shape in shapes and (
        found.dtype == bool or bool(np.isin(found, (0, 1)).all()))


def _of_lists(found: np.ndarray, references: int, queries: int, what: str) -> GroundTruth:
    """Read lists of references; in ``[M, 2]`` or in pairs, the row of the query comes first."""
    lists = list(found)
    paired = all(isinstance(one, list | tuple | np.ndarray) and len(one) == 2
                 and np.ndim(one[0]) == 0 and np.ndim(one[1]) == 1 for one in lists)
    try:
        if paired:
            rows = [np.empty(0, dtype=np.int64)] * queries
            for query, listed in lists:
                if not 0 <= int(query) < queries:
                    raise InputError(f'{what} has the query {query}, but there are {queries}')
                rows[int(query)] = _whole_rows(listed)
        else:
            rows = [_whole_rows(listed) for listed in lists]
    except (TypeError, ValueError) as error:
        raise InputError(f'{what} holds no lists of rows, {_EXPECTED}') from error
    if len(rows) != queries:
        raise InputError(f'{what} has lists for {len(rows)} queries, expected {queries}')
    return _of_rows(rows, references, what)


def _whole_rows(listed: Iterable[int] | int) -> np.ndarray:
    values = np.atleast_1d(np.asarray(listed))
    rows = values.astype(np.int64)
    if values.ndim != 1 or not np.array_equal(rows, values):
        raise ValueError(listed)
    return rows[rows != -1]


def _of_rows(rows: Sequence[np.ndarray], references: int, what: str) -> GroundTruth:
    indices = [np.unique(row) for row in rows]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in indices])]).astype(np.int64)
    joined = np.concatenate([np.empty(0, np.int64), *indices]).astype(np.int64)
    outside = joined[(joined < 0) | (joined >= references)]
    if outside.size:
        raise InputError(f'{what} has the reference {int(outside[0])}, but there are {references} '
                         'references, counted from 0')
    return GroundTruth(indptr, joined, references)
