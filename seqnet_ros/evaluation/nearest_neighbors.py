"""Exact nearest neighbors of descriptors and of windows of frames, in bounded memory.

A window of L frames is never stored as ``[L, D]``: frames are compared once, and the distances of
windows are sums along diagonals of the matrix of frame distances.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import faiss
import numpy as np

_BLOCK_BYTES = 16 << 20
_MOST_ROWS = 512
_PAIRS = 1 << 20
_SAMPLED = 100
_ROUNDING = 1e-4

COPIED = 0.9
"""Share of queries among the references from which on a drive is searched in itself."""


class Predictions(NamedTuple):
    """Result of a search.

    Attributes:
        indices: int64 ``[M, K]`` reference rows, nearest first, equal distances by row.
        distances: float32 ``[M, K]``, L2, not squared.
    """

    indices: np.ndarray
    distances: np.ndarray


class _Run(NamedTuple):
    """Windows of successive rows, each one frame further than the one before it."""

    rows: slice
    first: np.ndarray

    def frames(self, position: int) -> slice:
        """Return the frames of the windows at one position."""
        first = int(self.first[position])
        return slice(first, first + self.rows.stop - self.rows.start)


def smallest(values: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns and values ``[B, k']`` of the least of each row of ``[B, N]``, sorted.

    Equal values keep the order of their columns; ``k'`` is at most N.
    """
    k = min(k, values.shape[1])
    bound = np.partition(values, k - 1, axis=1)[:, k - 1]
    keep = values <= bound[:, None]
    excess = np.count_nonzero(keep, axis=1) - k
    for row in np.flatnonzero(excess):
        keep[row, np.flatnonzero(values[row] == bound[row])[-excess[row]:]] = False
    columns = np.flatnonzero(keep).reshape(-1, k) % values.shape[1]
    found = np.take_along_axis(values, columns, axis=1)
    order = found.argsort(axis=1, kind='stable')
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(found, order, axis=1)


def nearest_descriptors(queries: np.ndarray, references: np.ndarray, columns: np.ndarray,
                        top_k: int) -> Predictions:
    """Find the references nearest to each query.

    Args:
        queries: float32 ``[M, D]``.
        references: float32 ``[U, D]``.
        columns: int ``[N]``, which of the U each reference row has. Rows that share one are
            exactly as far, which a matrix product over copies does not guarantee.
        top_k: number of predictions for each query, at most N are made.
    """
    squares = _squared_lengths(references)
    in_order = np.array_equal(columns, np.arange(len(references)))
    parts = []
    for block in _blocks(len(queries), len(columns)):
        squared = _squared_distances(queries[block], references, squares)
        parts.append(smallest(squared if in_order else squared[:, columns], top_k))
    indices, squared = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Predictions(indices, np.sqrt(squared))


def share_of_copies(queries: np.ndarray, references: np.ndarray) -> float:
    """Return the share of queries that are among the references; large drives are sampled.

    The descriptors of an image are the same up to rounding, those of two images of one place never.

    Args:
        queries: float32 ``[M, D]``.
        references: float32 ``[N, D]``.
    """
    rows = np.unique(np.linspace(0, len(queries) - 1, _SAMPLED).astype(int))
    asked = np.asarray(queries[rows], dtype=np.float32)
    found = nearest_descriptors(asked, references, np.arange(len(references)), 1).indices[:, 0]
    apart = np.linalg.norm(asked - references[found], axis=1)
    return float(np.mean(apart <= _ROUNDING * np.linalg.norm(asked, axis=1)))


def match_windows(q_frames: np.ndarray, q_windows: np.ndarray, r_frames: np.ndarray,
                  r_windows: Sequence[np.ndarray], top_k: int) -> Predictions:
    """Find the reference windows with the least mean frame distance to each query window.

    Args:
        q_frames: float32 ``[Fq, D]``.
        q_windows: int ``[M, L]``.
        r_frames: float32 ``[Fr, D]``.
        r_windows: int ``[N, L]`` for every searched speed; the best counts.
        top_k: number of predictions for each query, at most N are made.
    """
    squares = _squared_lengths(r_frames)
    runs = [_find_runs(windows) for windows in r_windows]
    length = q_windows.shape[1]
    parts = []
    for block in _blocks(len(q_windows), len(r_frames)):
        frames, windows = np.unique(q_windows[block], return_inverse=True)
        distances = _squared_distances(q_frames[frames], r_frames, squares)
        np.sqrt(distances, out=distances)
        windows = windows.reshape(-1, length)
        sums = _sum_diagonals(distances, windows, runs[0])
        for others in runs[1:]:
            np.minimum(sums, _sum_diagonals(distances, windows, others), out=sums)
        parts.append(smallest(sums, top_k))
    indices, sums = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Predictions(indices, sums / np.float32(length))


def rerank_windows(q_frames: np.ndarray, q_windows: np.ndarray, r_frames: np.ndarray,
                   r_windows: Sequence[np.ndarray], candidates: np.ndarray) -> Predictions:
    """Sort the candidates of each query by the mean frame distance of their windows.

    Args:
        q_frames: float32 ``[Fq, D]``.
        q_windows: int ``[M, L]``.
        r_frames: float32 ``[Fr, D]``.
        r_windows: int ``[N, L]`` for every searched speed; the best counts.
        candidates: int ``[M, K]`` reference rows.
    """
    q_frames, r_frames = np.ascontiguousarray(q_frames), np.ascontiguousarray(r_frames)
    length = q_windows.shape[1]
    step = max(1, _PAIRS // (candidates.shape[1] * length * len(r_windows)))
    parts = []
    for start in range(0, len(candidates), step):
        rows = candidates[start: start + step]
        asked = q_windows[start: start + step, None]
        found = np.stack([_pair_distances(q_frames, asked, r_frames, windows[rows]).mean(axis=2)
                          for windows in r_windows]).min(axis=0)
        order = np.lexsort((rows, found))
        parts.append((np.take_along_axis(rows, order, axis=1),
                      np.take_along_axis(found, order, axis=1)))
    indices, distances = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Predictions(indices, distances)


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = int(np.clip(_BLOCK_BYTES // (4 * columns), 1, _MOST_ROWS))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _squared_lengths(vectors: np.ndarray) -> np.ndarray:
    return np.einsum('nd,nd->n', vectors, vectors)


def _squared_distances(queries: np.ndarray, references: np.ndarray,
                       reference_squares: np.ndarray) -> np.ndarray:
    # Doubling the queries is exact and saves a pass over the larger product.
    distances = (-2 * queries) @ references.T
    distances += reference_squares
    distances += _squared_lengths(queries)[:, None]
    return np.maximum(distances, 0, out=distances)


def _find_runs(windows: np.ndarray) -> list[_Run]:
    breaks = np.flatnonzero((np.diff(windows, axis=0) != 1).any(axis=1)) + 1
    edges = [0, *breaks.tolist(), len(windows)]
    return [_Run(slice(begin, end), windows[begin])
            for begin, end in pairwise(edges)]


def _sum_diagonals(distances: np.ndarray, windows: np.ndarray, runs: list[_Run]) -> np.ndarray:
    """Return ``[B, N]``: ``distances[windows[b, t], frame t of window n]`` summed over t."""
    sums = np.zeros((len(windows), runs[-1].rows.stop), dtype=np.float32)
    for position in range(windows.shape[1]):
        rows = _take_rows(distances, windows[:, position])
        for run in runs:
            sums[:, run.rows] += rows[:, run.frames(position)]
    return sums


def _take_rows(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return ``matrix[rows]``, without a copy where the rows follow each other."""
    if (np.diff(rows) == 1).all():
        return matrix[rows[0]: rows[0] + len(rows)]
    return matrix[rows]


def _pair_distances(q_frames: np.ndarray, asked: np.ndarray, r_frames: np.ndarray,
                    found: np.ndarray) -> np.ndarray:
    """Return the L2 distances of pairs of frames whose indices broadcast, each computed once.

    Neighboring queries have neighboring candidates, so that most pairs occur several times.
    """
    keys, position = np.unique(asked * len(r_frames) + found, return_inverse=True)
    q_rows, r_rows = np.divmod(keys, len(r_frames))
    squared = np.empty(len(keys), dtype=np.float32)
    faiss.pairwise_indexed_L2sqr(  # type: ignore[attr-defined]
        q_frames.shape[1], len(keys), faiss.swig_ptr(q_frames), faiss.swig_ptr(q_rows),
        faiss.swig_ptr(r_frames), faiss.swig_ptr(r_rows), faiss.swig_ptr(squared))
    return np.sqrt(squared)[position.reshape(found.shape)]
