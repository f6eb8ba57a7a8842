"""True matches between two drives, and the recall of a search."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.utm_grid import are_degrees

RECALL_NS = (1, 5, 10, 20, 100)
RECALL_RADII = (1.0, 5.0, 10.0, 20.0, 40.0, 100.0, 200.0)

_logger = logging.getLogger(__name__)

_BLOCK = 1024
# The tree proposes pairs and exact differences decide, so that its rounding loses no pair.
_SLACK = 1e-6


@dataclass(frozen=True)
class GroundTruth:
    """The references that match each query, as compressed sparse rows.

    Attributes:
        indptr: int64 ``[M + 1]``, where the matches of each query begin and end.
        indices: int64, reference rows, ascending for each query.
        references: number of references N.
    """

    indptr: np.ndarray
    indices: np.ndarray
    references: int

    @property
    def has_match(self) -> np.ndarray:
        """Bool ``[M]``: the query has a match at all."""
        return np.diff(self.indptr) > 0

    def matches(self, query: int) -> np.ndarray:
        """Return the references ``[K]`` that match one query."""
        return self.indices[self.indptr[query]: self.indptr[query + 1]]

    def take(self, references: np.ndarray, queries: np.ndarray) -> 'GroundTruth':
        """Return the ground truth of some rows, int64 each, numbered in their order."""
        shape = len(self.indptr) - 1, self.references
        whole = csr_matrix((np.ones(len(self.indices), bool), self.indices, self.indptr), shape)
        found = whole[queries][:, references].tocsr()
        found.sort_indices()
        return GroundTruth(found.indptr.astype(np.int64), found.indices.astype(np.int64),
                           len(references))


@dataclass(frozen=True)
class Recalls:
    """Recall@n of one search.

    Attributes:
        values: for every n the share of queries with a true match among the first n predictions.
        queries: queries that have a true match; all shares are of these.
        unmatched: queries without one, excluded.
    """

    values: dict[int, float]
    queries: int
    unmatched: int


def matches_within(db_positions: np.ndarray, q_positions: np.ndarray,
                   radius: float) -> GroundTruth:
    """Find the references within ``radius`` (inclusive) of each query.

    Distances come from float64 differences: the expanded square loses millimeters on UTM
    coordinates.

    Args:
        db_positions: ``[N, K]``.
        q_positions: ``[M, K]``.
        radius: in the unit of the positions.

    Raises:
        InputError: the positions do not match each other or are not finite, or the radius is
            negative.
    """
    references, queries = _checked_positions(db_positions, q_positions)
    if not radius >= 0:
        raise InputError(f'the radius is {radius}, expected 0 or more')
    tree = cKDTree(references)
    counts, found = [], []
    for start in range(0, len(queries), _BLOCK):
        block = queries[start: start + _BLOCK]
        lists = tree.query_ball_point(block, radius * (1 + _SLACK) + _SLACK, return_sorted=True)
        lengths = np.array([len(row) for row in lists])
        owners = np.repeat(np.arange(len(block)), lengths)
        candidates = np.concatenate([np.asarray(row, dtype=np.int64) for row in lists])
        inside = _squared(references[candidates], block[owners]) <= radius ** 2
        counts.append(np.bincount(owners[inside], minlength=len(block)))
        found.append(candidates[inside])
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return GroundTruth(indptr, np.concatenate(found), len(references))


def first_hits(predictions: np.ndarray, truth: GroundTruth) -> np.ndarray:
    """Return int64 ``[M]``, the column of each query's first true match; K where there is none.

    Args:
        predictions: int ``[M, K]`` reference rows, best first; negative where nothing was found.
        truth: ground truth of the same queries and references.

    Raises:
        InputError: the predictions are of another number of queries or references.
    """
    predictions = np.asarray(predictions)
    _check_predictions(predictions, len(truth.indptr) - 1, truth.references)
    queries = len(predictions)
    owners = np.repeat(np.arange(queries), np.diff(truth.indptr))
    known = owners * truth.references + truth.indices
    keys = np.arange(queries)[:, None] * truth.references + predictions
    return _first_true(np.isin(keys, known) & (predictions >= 0))


def recall_at(predictions: np.ndarray, truth: GroundTruth,
              ns: Sequence[int] = RECALL_NS) -> Recalls:
    """Measure Recall@n; with fewer than n columns all of them count.

    Args:
        predictions: int ``[M, K]`` reference rows, best first; negative where nothing was found.
        truth: ground truth of the same queries and references.
        ns: how many of the first predictions count.

    Raises:
        InputError: the predictions do not match the ground truth, or no query has a true match.
    """
    hits = first_hits(predictions, truth)
    require_matches(truth)
    counted = truth.has_match
    columns = np.asarray(predictions).shape[1]
    values = {n: float(np.mean(hits[counted] < min(n, columns))) for n in ns}
    return Recalls(values, int(counted.sum()), int((~counted).sum()))


def require_matches(truth: GroundTruth, hint: Callable[[], str] = lambda: '') -> int:
    """Return how many queries have a true match.

    Args:
        truth: the ground truth.
        hint: why none has one, such as `explain_no_match`; asked only then.

    Raises:
        InputError: none has.
    """
    counted = int(truth.has_match.sum())
    if not counted:
        why = hint() or 'the radius is too small or the drives do not overlap'
        raise InputError(f'none of the {len(truth.has_match)} queries has a true match, expected '
                         f'at least one: {why}')
    return counted


def explain_no_match(db_positions: np.ndarray, q_positions: np.ndarray, radius: float) -> str:
    """Return why no query is near a reference; empty where that is not known.

    Args:
        db_positions: ``[N, K]``, finite.
        q_positions: ``[M, K]``, finite.
        radius: in the unit of the positions.
    """
    if db_positions.shape[1] < 2 or not len(db_positions) or not len(q_positions):
        return ''
    references, queries = db_positions[:, :2], q_positions[:, :2]
    degrees = are_degrees(references), are_degrees(queries)
    if degrees[0] != degrees[1]:
        return (f'the positions of the {"references" if degrees[0] else "queries"} look like '
                'degrees, the others do not')
    swapped = int(matches_within(references, queries[:, ::-1], radius).has_match.sum())
    if swapped:
        return (f'the coordinates of one side are exchanged: with east and north of the queries '
                f'exchanged, {swapped} of {len(queries)} have one')
    return ''


def warn_trivial(truth: GroundTruth) -> None:
    """Warn if all references match every query, so that any search is right."""
    queries = len(truth.has_match)
    if truth.references > 1 and len(truth.indices) == queries * truth.references:
        _logger.warning('each of the %d queries matches all %d references, so recall says nothing: '
                        'the radius is larger than the drives, or the positions are not meters',
                        queries, truth.references)


def recalls_by_radius(
    predictions: np.ndarray, db_positions: np.ndarray, q_positions: np.ndarray,
    radii: Sequence[float] = RECALL_RADII, ns: Sequence[int] = RECALL_NS,
) -> np.ndarray:
    """Measure Recall@n at other radii of a true match (``rAtL`` of SeqNet's code).

    Args:
        predictions: int ``[M, K]`` reference rows, best first; negative where nothing was found.
        db_positions: ``[N, D]``.
        q_positions: ``[M, D]``.
        radii: in the unit of the positions, inclusive.
        ns: how many of the first predictions count.

    Returns:
        float64 ``[len(radii), len(ns)]``; NaN in the rows of radii at which no query has a match.

    Raises:
        InputError: positions or predictions do not match each other.
    """
    references, queries = _checked_positions(db_positions, q_positions)
    predictions = np.asarray(predictions)
    _check_predictions(predictions, len(queries), len(references))
    _, nearest = cKDTree(references).query(queries)
    reachable = _squared(references[nearest], queries)
    squared = _squared(references[predictions], queries[:, None])
    squared[predictions < 0] = np.inf
    columns = predictions.shape[1]
    table = np.full((len(radii), len(ns)), np.nan)
    for row, radius in enumerate(radii):
        counted = reachable <= radius ** 2
        hits = _first_true(squared[counted] <= radius ** 2)
        if len(hits):
            table[row] = [np.mean(hits < min(n, columns)) for n in ns]
    return table


def _first_true(right: np.ndarray) -> np.ndarray:
    return np.where(right.any(axis=1), right.argmax(axis=1), right.shape[1])


def _squared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return ((first - second) ** 2).sum(axis=-1)


def _checked_positions(db_positions: np.ndarray,
                       q_positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    positions = [np.asarray(values, dtype=np.float64) for values in (db_positions, q_positions)]
    for what, values in zip(('reference', 'query'), positions, strict=True):
        if values.ndim != 2 or not len(values):
            raise InputError(f'the {what} positions have shape {list(values.shape)}, '
                             'expected [N, K] with at least one row')
        if not np.isfinite(values).all():
            raise InputError(f'a {what} position is not finite, expected finite coordinates')
    references, queries = positions
    if references.shape[1] != queries.shape[1]:
        raise InputError(f'reference positions have {references.shape[1]} coordinates, query '
                         f'positions {queries.shape[1]}')
    return references, queries


def _check_predictions(predictions: np.ndarray, queries: int, references: int) -> None:
    if predictions.ndim != 2 or len(predictions) != queries or not predictions.shape[1]:
        raise InputError(f'the predictions have shape {list(predictions.shape)}, '
                         f'expected [{queries}, K]')
    if predictions.max() >= references:
        raise InputError(f'a prediction is reference {predictions.max()}, '
                         f'but there are {references} references')
