"""Metrics of a search: recall, precision, time and memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqnet_ros.core.memory import give_back_memory
from seqnet_ros.evaluation.metrics.ground_truth import (
    RECALL_NS,
    RECALL_RADII,
    GroundTruth,
    Recalls,
    explain_no_match,
    matches_within,
    recall_at,
    recalls_by_radius,
    require_matches,
    warn_trivial,
)
from seqnet_ros.evaluation.metrics.precision_recall import PrecisionRecall, precision_recall
from seqnet_ros.evaluation.nearest_neighbors import Predictions

_RESET_PEAK = '5'


@dataclass(frozen=True, eq=False)
class SearchRun:
    """A search and its metrics.

    Attributes:
        predictions: the references found.
        recalls: Recall@N.
        by_radius: float64 ``[R, N]``, Recall@N by radius, see `recalls_by_radius`.
        curve: precision and recall of the first predictions.
        seconds: time of the search.
        memory_bytes: see `PeakMemory`; None where it is not known.
    """

    predictions: Predictions
    recalls: Recalls
    by_radius: np.ndarray
    curve: PrecisionRecall
    seconds: float
    memory_bytes: int | None

    @property
    def milliseconds_per_query(self) -> float:
        """Time of the search for each query."""
        return 1000 * self.seconds / len(self.predictions.indices)


@dataclass
class PeakMemory:
    """Peak growth of the resident memory of this process within a block.

    Attributes:
        grown_bytes: the peak within the block, less the size before it; pages of memory-mapped
            files count when they are first read. None while the block runs, and where the system
            is not Linux with glibc or does not let the peak be reset.
    """

    grown_bytes: int | None = None


@contextmanager
def watch_memory() -> Iterator[PeakMemory]:
    """Measure the growth of memory within a block."""
    memory = PeakMemory()
    before = _reset_peak()
    yield memory
    if before is not None:
        memory.grown_bytes = max(0, _status_bytes('VmHWM') - before)


def _reset_peak() -> int | None:
    """Start a new peak of the resident memory; return the present size."""
    try:
        # Memory freed before must not hide memory allocated now.
        give_back_memory()
        Path('/proc/self/clear_refs').write_text(_RESET_PEAK)
        return _status_bytes('VmRSS')
    except OSError:
        return None


def _status_bytes(name: str) -> int:
    status = Path('/proc/self/status').read_text()
    line = next(line for line in status.splitlines() if line.startswith(f'{name}:'))
    return 1024 * int(line.split()[1])


def run_search(search: Callable[[], Predictions], db_positions: np.ndarray, q_positions: np.ndarray,
               radius: float, truth: GroundTruth | None = None) -> SearchRun:
    """Run a search and compare its predictions with the ground truth.

    Args:
        search: finds references for all queries.
        db_positions: ``[N, K]``, of the references.
        q_positions: ``[M, K]``, of the queries.
        radius: places within this distance (inclusive) are the same.
        truth: the true matches, where they do not follow from positions; there is then no recall by
            radius.

    Raises:
        InputError: no query has a true match, or the search fails or does not fit the positions.
    """
    given = truth is not None
    if truth is None:
        truth = matches_within(db_positions, q_positions, radius)
        require_matches(truth, lambda: explain_no_match(db_positions, q_positions, radius))
    else:
        require_matches(truth, lambda: 'the ground truth lists none')
    warn_trivial(truth)
    with watch_memory() as memory:
        started = time.perf_counter()
        found = search()
        seconds = time.perf_counter() - started
    return SearchRun(
        found, recall_at(found.indices, truth),
        np.full((len(RECALL_RADII), len(RECALL_NS)), np.nan) if given
        else recalls_by_radius(found.indices, db_positions, q_positions),
        precision_recall(found, truth), seconds, memory.grown_bytes)
