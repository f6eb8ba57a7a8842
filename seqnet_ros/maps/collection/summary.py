"""The summary of a collection: compact descriptors that rank its tiles without opening them.

A row stands for a stretch of successive places: the mean of their sequence descriptors, of unit
length, less the mean of its tile, projected on the principal axes of all rows, each axis divided by
the fourth root of its variance, and rounded to 8 bits. The mean of a stretch keeps what its views
have in common; the mean of a tile is what light and season change first; the projection drops
noise, and the scaling weakens what all places share (Jegou and Chum, ECCV 2012). A drive, less its
own mean, is a run of rows: it is compared with runs of successive rows, so that a tile must show
the places in their order.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from seqnet_ros.core.scratch_arrays import row_blocks

STRETCH = 8
"""Places in a row."""
DIM = 96
"""Values of a row, at most."""
BLOCK_DIM = 48
"""Values of a row that all tiles are ranked by; the best are ranked again by all values."""
MOST_STRETCHES = 8
"""Rows that a drive is compared by, at most."""
_REMEMBERED = 128
"""Queries whose mean counts."""
_REFINED = 16
"""Tiles that are ranked again."""
_PRIOR = 8
"""Keyframes that the mean of the collection stands for in the mean of a drive."""
_FITTED = 40_000
_SCALE = 127.0
_LONG_DIM = 2048
_BLOCK_ROWS = 65_536
_WHITENING = 0.25


def pooled(sequences: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the mean sequence descriptor of each stretch of places, float32 ``[R, D']``, unit.

    Args:
        sequences: float32 ``[N, D']`` (may be memory-mapped).
        starts: first place of the unbroken stretch each place is on, ``[N]``.
    """
    firsts = stretch_firsts(starts)
    rows = np.empty((len(firsts), sequences.shape[1]), np.float32)
    bounds = np.append(firsts, len(sequences))
    step = max(1, (16 << 20) // max(sequences.strides[0] * STRETCH, 1))
    for begin in range(0, len(firsts), step):
        end = min(begin + step, len(firsts))
        block = np.asarray(sequences[bounds[begin]:bounds[end]], dtype=np.float32)
        rows[begin:end] = np.add.reduceat(block, bounds[begin:end] - bounds[begin], axis=0)
    return _unit(rows)


def centered(sequences: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a tile less their mean, float32 ``[R, D']``, and the mean ``[D']``.

    Args:
        sequences: as of `pooled`.
        starts: as of `pooled`.
    """
    rows = pooled(sequences, starts)
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    return rows - mean, mean


def stretch_firsts(starts: np.ndarray) -> np.ndarray:
    """Return the first place of each row, int64 ``[R]``: every `STRETCH` places of a drive."""
    return np.flatnonzero((np.arange(len(starts)) - starts) % STRETCH == 0)


class Axes:
    """Principal axes that rows are projected on.

    Args:
        mean: float32 ``[D']``, the mean of the means of the tiles.
        axes: float32 ``[D', M]``, the scaled axes.
    """

    def __init__(self, mean: np.ndarray, axes: np.ndarray) -> None:
        self.mean = mean
        self._axes = axes

    @classmethod
    def fit(cls, rows: np.ndarray, means: np.ndarray) -> 'Axes':
        """Find the axes.

        Args:
            rows: as `pooled` returns them, less the means of their tiles, float32 ``[R, D']``.
            means: mean of each tile, float32 ``[T, D']``.
        """
        rows = rows[:: max(1, len(rows) // _FITTED)]
        dim = rows.shape[1]
        signs = None
        if dim > _LONG_DIM:
            signs = np.random.default_rng(0).integers(0, 2, (dim, _LONG_DIM), np.int8).astype(
                np.float32) * 2 - 1
            rows = rows @ (signs / np.float32(np.sqrt(_LONG_DIM)))
        variances, axes = np.linalg.eigh(rows.T @ rows / len(rows))
        kept = np.argsort(-variances, kind='stable')[:DIM]
        kept = kept[variances[kept] > 1e-9 * max(float(variances.max()), 1e-12)]
        if not len(kept):  # all rows are alike
            kept = np.argsort(-variances, kind='stable')[:1]
        scaled = axes[:, kept] * np.maximum(variances[kept], 1e-12) ** -_WHITENING
        # The sign of an axis is arbitrary, and may differ from library to library.
        scaled *= np.sign(scaled[np.argmax(np.abs(scaled), axis=0), np.arange(len(kept))])
        if signs is not None:
            scaled = (signs / np.float32(np.sqrt(_LONG_DIM))) @ scaled
        return cls(means.mean(axis=0), scaled.astype(np.float32))

    @classmethod
    def of_array(cls, array: np.ndarray) -> 'Axes':
        """Create them from the result of `to_array`."""
        return cls(array[0], np.ascontiguousarray(array[1:].T))

    def to_array(self) -> np.ndarray:
        """Return mean and axes as one array, float32 ``[1 + M, D']``."""
        return np.concatenate([self.mean[None], self._axes.T]).astype(np.float32)

    @property
    def blocks(self) -> int:
        """Blocks of `BLOCK_DIM` values that a row has."""
        return -(-self._axes.shape[1] // BLOCK_DIM)

    def project(self, rows: np.ndarray) -> np.ndarray:
        """Return centered rows float32 ``[R, D']`` projected, of unit length.

        Returns:
            Float32 ``[B, R, BLOCK_DIM]``, the leading axes in the first block; the last block is
            padded with zeros.
        """
        projected = _unit(rows @ self._axes)
        filled = np.zeros((len(rows), self.blocks * BLOCK_DIM), np.float32)
        filled[:, :projected.shape[1]] = projected
        return np.ascontiguousarray(
            filled.reshape(len(rows), self.blocks, BLOCK_DIM).transpose(1, 0, 2))

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return projected rows in 8 bits, int8 ``[B, R, BLOCK_DIM]``."""
        encoded = np.empty((self.blocks, len(rows), BLOCK_DIM), np.int8)
        for block in row_blocks(rows):
            encoded[:, block] = np.rint(self.project(rows[block]) * _SCALE)
        return encoded

    def mean_of_drive(self, sequences: np.ndarray) -> np.ndarray:
        """Return what to subtract from the rows of a drive, float32 ``[D']``.

        Args:
            sequences: its sequence descriptors so far, float32 ``[W, D']``.
        """
        total = sequences.sum(axis=0) + _PRIOR * self.mean
        return np.asarray(total / (len(sequences) + _PRIOR), np.float32)


class Summary:
    """Ranks the tiles of a collection for a drive.

    Args:
        rows: int8 ``[B, R, BLOCK_DIM]``, of all tiles one after the other (may be
            memory-mapped).
        counts: number of rows of each tile.
        axes: the axes that the rows were projected on.
    """

    def __init__(self, rows: np.ndarray, counts: Sequence[int], axes: Axes) -> None:
        self._rows = rows
        self._axes = axes
        self._firsts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        self._counts = np.asarray(counts, np.int64)

    def rank(self, sequences: np.ndarray, among: Iterable[int] | None = None,
             reverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Rank the tiles for the newest sequences of a drive.

        Args:
            sequences: float32 ``[W, D']``, the sequence descriptors of the last keyframes, oldest
                first. The mean of the drive is taken over all of them; the last `MOST_STRETCHES`
                complete stretches are compared.
            among: numbers of the tiles to rank; None for all.
            reverse: the robot may drive against the direction of the map.

        Returns:
            The numbers of the tiles, best first, int64 ``[T]``, and the mean cosine of each with
            the drive, float32 ``[T]``.
        """
        tiles = np.arange(len(self._counts)) if among is None else np.unique(
            np.fromiter(among, np.int64))
        sequences = np.asarray(sequences, np.float32)
        runs = min(max(len(sequences) // STRETCH, 1), MOST_STRETCHES)
        used = sequences[-runs * STRETCH:]
        stretches = _unit(used.reshape(runs, -1, used.shape[1]).mean(axis=1))
        queries = self._axes.project(stretches - self._axes.mean_of_drive(sequences)) / _SCALE
        blocks = len(queries) if len(tiles) <= _REFINED else 1
        scores = np.array([self._score(int(tile), queries[:blocks], reverse) for tile in tiles],
                          np.float32)
        order = np.argsort(-scores, kind='stable')
        tiles, scores = tiles[order], scores[order]
        if blocks < len(queries):
            scores[:_REFINED] = [self._score(int(tile), queries, reverse)
                                 for tile in tiles[:_REFINED]]
            again = np.argsort(-scores[:_REFINED], kind='stable')
            tiles[:_REFINED], scores[:_REFINED] = tiles[again], scores[again]
        return tiles, scores

    def index_of(self, tile: int, starts: np.ndarray) -> 'RowIndex':
        """Return an index of the places of a tile by its rows.

        Args:
            tile: its number.
            starts: first place of the unbroken stretch each place is on, ``[N]``.
        """
        rows = self._rows[:, self._firsts[tile]:self._firsts[tile] + self._counts[tile]]
        return RowIndex(np.array(rows), stretch_firsts(starts), self._axes)

    def _score(self, tile: int, queries: np.ndarray, reverse: bool) -> float:
        """Return the mean cosine of the best run of rows of a tile, by blocks ``[B, K, M]``."""
        first, count = self._firsts[tile], self._counts[tile]
        best = -1.0
        runs = queries.shape[1]
        for start in range(0, count, _BLOCK_ROWS):
            end = min(start + _BLOCK_ROWS + runs - 1, count)
            similar = sum(rows[first + start:first + end].astype(np.float32) @ part.T
                          for rows, part in zip(self._rows, queries, strict=False))
            best = max(best, _best_run(similar))
            if reverse:
                best = max(best, _best_run(similar[::-1]))
        return best


class RowIndex:
    """Finds places of one tile by its rows: roughly, in little memory and time.

    The mean of all queries so far is subtracted, as the summary does for a drive.

    Args:
        rows: int8 ``[B, R, BLOCK_DIM]``.
        firsts: first place of each, int64 ``[R]``.
        axes: the axes that the rows were projected on.
    """

    def __init__(self, rows: np.ndarray, firsts: np.ndarray, axes: Axes) -> None:
        self._rows = rows
        self._firsts = firsts
        self._axes = axes
        self._drive = np.zeros((0, len(axes.mean)), np.float32)

    def search(self, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances and first places of the rows nearest to a descriptor ``[D']``."""
        self._drive = np.concatenate([self._drive, query[None]])[-_REMEMBERED:]
        centered = query - self._axes.mean_of_drive(self._drive)
        projected = self._axes.project(centered[None])[:, 0] / _SCALE
        similar = np.einsum('brm,bm->r', self._rows.astype(np.float32), projected)
        k = min(k, len(similar))
        best = np.argpartition(-similar, k - 1)[:k]
        best = best[np.argsort(-similar[best], kind='stable')]
        return np.sqrt(np.maximum(2 - 2 * similar[best], 0.0)), self._firsts[best]


def _best_run(similar: np.ndarray) -> float:
    """Return the largest mean along a diagonal, float32 ``[R, K]``; of fewer rows the part."""
    rows, steps = similar.shape
    span = min(rows, steps)
    total = similar[:rows - span + 1, steps - span].copy()
    for step in range(1, span):
        total += similar[step:rows - span + 1 + step, steps - span + step]
    return float(total.max()) / steps


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)
