"""The belief of the place filter along a drive, in a picture that stays small on long drives.

Successive places are put together, and so are successive results: whenever the columns are full,
each two neighbors become one. Memory and file do not depend on the length of the drive.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqnet_ros.core.array_files import read_npz
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import whole_file

BELIEF = 'belief.npz'
MOST_COLUMNS, MOST_ROWS = 600, 300
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class BeliefHistory:
    """How probable the places of the map were, over the results of a drive.

    Attributes:
        probabilities: float32 ``[C, R]``, for each group of successive results and of successive
            places the probability of these places, the largest over the results.
        stride: results in a group; in the last one there may be fewer.
        results: number of results.
        bounds: int64 ``[R + 1]``, first place of each group and one past the last of all.
    """

    probabilities: np.ndarray
    stride: int
    results: int
    bounds: np.ndarray

    @property
    def places(self) -> int:
        """Number of places."""
        return int(self.bounds[-1])


class BeliefRecorder:
    """Takes the belief after each result.

    Args:
        most_columns: groups of results at most, an even number.
        most_rows: groups of places at most.
    """

    def __init__(self, most_columns: int = MOST_COLUMNS, most_rows: int = MOST_ROWS) -> None:
        self._most_columns, self._most_rows = most_columns, most_rows
        self._columns = np.zeros((most_columns, 0), dtype=np.float32)
        self._bounds = np.zeros(1, dtype=np.int64)
        self._stride = 1
        self._results = 0

    def add(self, belief: np.ndarray) -> None:
        """Take the belief after one more result: float ``[N]``, the same places every time."""
        if not self._results:
            rows = min(self._most_rows, len(belief))
            self._bounds = np.linspace(0, len(belief), rows + 1).astype(np.int64)
            self._columns = np.zeros((self._most_columns, rows), dtype=np.float32)
        if self._results == self._stride * self._most_columns:
            self._halve()
        column = self._columns[self._results // self._stride]
        np.maximum(column, np.add.reduceat(belief, self._bounds[:-1]), out=column,
                   casting='same_kind')
        self._results += 1

    def _halve(self) -> None:
        """Put each two neighboring groups of results together."""
        half = self._most_columns // 2
        self._columns[:half] = np.maximum(self._columns[::2], self._columns[1::2])
        self._columns[half:] = 0.0
        self._stride *= 2

    def history(self) -> BeliefHistory | None:
        """Return what was taken so far; None without any."""
        if not self._results:
            return None
        filled = -(-self._results // self._stride)
        return BeliefHistory(
            self._columns[:filled].copy(), self._stride, self._results, self._bounds)


def write_belief(folder: Path, history: BeliefHistory | None) -> None:
    """Write the belief of a run; without one, remove that of an earlier run in the folder.

    Raises:
        InputError: it cannot be written.
    """
    path = folder / BELIEF
    if history is None:
        path.unlink(missing_ok=True)
        return
    content = io.BytesIO()
    np.savez_compressed(
        content, probabilities=history.probabilities, stride=np.int64(history.stride),
        results=np.int64(history.results), bounds=history.bounds)
    with whole_file(path) as file:
        file.write(content.getvalue())


def read_belief(folder: Path) -> BeliefHistory | None:
    """Read the belief of a run; None for a run without one, or from before there was any.

    Raises:
        InputError: it cannot be read.
    """
    path = folder / BELIEF
    if not path.exists():
        return None
    try:
        arrays = read_npz(path)
        history = BeliefHistory(arrays['probabilities'], int(arrays['stride']),
                                int(arrays['results']), arrays['bounds'])
        _check(history)
        return history
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path} is not the belief of an evaluation: {error}') from error


def _check(history: BeliefHistory) -> None:
    """Check the values of a file.

    Raises:
        ValueError: they are inconsistent.
    """
    probabilities, bounds = history.probabilities, history.bounds
    if probabilities.ndim != 2 or probabilities.dtype != np.float32:
        raise ValueError(f'probabilities are {probabilities.dtype} {list(probabilities.shape)}, '
                         'expected float32 [C, R]')
    columns, rows = probabilities.shape
    if not ((probabilities >= 0) & (probabilities <= 1 + _ROUNDING)).all():
        raise ValueError('a probability is not between 0 and 1')
    if bounds.shape != (rows + 1,) or bounds.dtype != np.int64:
        raise ValueError(f'bounds are {bounds.dtype} {list(bounds.shape)}, expected int64 '
                         f'[{rows + 1}]')
    if bounds[0] != 0 or not (np.diff(bounds) > 0).all():
        raise ValueError('bounds do not ascend from 0')
    if not (columns - 1) * history.stride < history.results <= columns * history.stride:
        raise ValueError(f'{columns} groups of {history.stride} cannot hold {history.results} '
                         'results')
