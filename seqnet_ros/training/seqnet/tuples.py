"""The tuples of one round of SeqNet training: cached descriptors, draws, remembered negatives."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth
from seqnet_ros.evaluation.seqnet.drives import Drive
from seqnet_ros.training.common.distributed import ProcessGroupSlice
from seqnet_ros.training.seqnet.config import SeqNetTrainingConfig
from seqnet_ros.training.seqnet.data import DrivePair
from seqnet_ros.training.seqnet.mining import NONE, Mined, draw_negatives, mine

_CACHE_BYTES = 64 << 20
_DRAW_VALUES = 4 << 20


class TupleBatch(NamedTuple):
    """Tuples for one step.

    Attributes:
        queries: int64 ``[B]``, query rows.
        positives: int64 ``[B]``, reference rows.
        negatives: int64 ``[B, n]``, reference rows, filled up with `NONE`.
        triplets: number of pairs of query and negative in this step, over all processes.
    """

    queries: Tensor
    positives: Tensor
    negatives: Tensor
    triplets: int


class DriveWindows:
    """Frame descriptors of a drive and the windows of its rows, on the device of the training."""

    def __init__(self, drive: Drive, length: int) -> None:
        """Wrap a drive; its descriptors are copied only if necessary.

        Raises:
            InputError: no sequence of the drive has this length.
        """
        frames = np.require(drive.descriptors, dtype=np.float32, requirements=['C', 'W'])
        self._frames = torch.from_numpy(frames)
        self._windows = torch.from_numpy(drive.windows(length))

    def move_to(self, device: torch.device) -> None:
        """Move everything to another device."""
        self._frames, self._windows = self._frames.to(device), self._windows.to(device)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._windows)

    @property
    def device(self) -> torch.device:
        """Device of the frames."""
        return self._frames.device

    def frames(self, rows: Tensor) -> Tensor:
        """Return the frames ``[B, L, D]`` of the windows of some rows."""
        return self._frames[self._windows[rows]]

    def describe(self, layer: nn.Module, rows: Tensor) -> Tensor:
        """Return the sequence descriptors ``[B, D']`` of any number of rows, without gradients."""
        block = max(1, _CACHE_BYTES // (self._windows.shape[1] * self._frames.shape[1] * 4))
        with torch.no_grad():
            return torch.cat([layer(self.frames(part)) for part in rows.split(block)])


class TupleMiner:
    """Chooses the tuples of each round and remembers the negatives of each query.

    A round covers all queries, or the number of queries after which descriptors are recomputed.
    What it chooses depends on the network, the seed and the number of the round alone, and not
    on the number of processes.
    """

    def __init__(self, pair: DrivePair, config: SeqNetTrainingConfig) -> None:
        """Prepare the ground truth of all queries."""
        self._config = config
        self._excluded, self._positives = pair.truth(), pair.positives()
        count = len(pair.query.rows)
        self._chunk = min(config.refresh_every or count, count)
        self.rounds_per_epoch = -(-count // self._chunk)
        self.remembered = torch.full((count, config.negatives), NONE, dtype=torch.int64)

    @property
    def trainable_queries(self) -> int:
        """Queries that have a positive and a negative."""
        fewer = np.diff(self._excluded.indptr) < self._excluded.references
        return int(np.count_nonzero(self._positives.has_match & fewer))

    def choose(self, layer: nn.Module, reference: DriveWindows, query: DriveWindows, number: int,
               shared: ProcessGroupSlice) -> list[TupleBatch]:
        """Choose the tuples of a round, in the order of training.

        Args:
            layer: the network as it is now, ``[B, L, D]`` to ``[B, D']``.
            reference: windows of the reference drive.
            query: windows of the query drive, on the same device.
            number: of the round, from 0.
            shared: how the processes share work; each of them has to call this.

        Returns:
            This process's share of every batch; a share can be empty.
        """
        rows = self._rows(number)
        generator = torch.Generator().manual_seed(self._config.seed * 1_000_003 + number)
        candidates = torch.cat([self._draw(rows, generator), self.remembered[rows]], dim=1)
        references = _describe_all(shared, layer, reference)
        queries = query.describe(layer, rows[shared.positions(len(rows))].to(query.device))
        mined = self._mine(references, queries, rows, candidates, shared)
        self.remembered[rows] = torch.where(
            mined.usable[:, None], mined.negatives, self.remembered[rows])
        usable = mined.usable.nonzero()[:, 0]
        usable = usable[torch.randperm(len(usable), generator=generator)]
        return [self._batch(rows, mined, chosen, shared)
                for chosen in usable.split(self._config.batch_size)]

    def _rows(self, number: int) -> Tensor:
        first = number % self.rounds_per_epoch * self._chunk
        return torch.arange(first, min(first + self._chunk, len(self.remembered)))

    def _draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        count = self._config.drawn
        return torch.cat([
            draw_negatives(*_rows_of(self._excluded, part), self._excluded.references, count,
                           generator)
            for part in rows.split(max(1, _DRAW_VALUES // count))])

    def _mine(self, references: Tensor, queries: Tensor, rows: Tensor, candidates: Tensor,
              shared: ProcessGroupSlice) -> Mined:
        own = shared.positions(len(rows))
        indptr, indices = _rows_of(self._positives, rows[own])
        device = references.device
        found = mine(references, queries, indptr.to(device), indices.to(device),
                     candidates[own].to(device), self._config.margin, self._config.negatives)
        return Mined(shared.join(found.positives, len(rows)).cpu(),
                     shared.join(found.negatives, len(rows)).cpu())

    @staticmethod
    def _batch(rows: Tensor, mined: Mined, chosen: Tensor, shared: ProcessGroupSlice) -> TupleBatch:
        triplets = int((mined.negatives[chosen] != NONE).sum())
        own = chosen[shared.rank::shared.world]
        return TupleBatch(rows[own], mined.positives[own], mined.negatives[own], triplets)


def _describe_all(shared: ProcessGroupSlice, layer: nn.Module, drive: DriveWindows) -> Tensor:
    """Return the descriptors of all rows of a drive, of which each process describes its share."""
    own = shared.positions(len(drive)).to(drive.device)
    return shared.join(drive.describe(layer, own), len(drive))


def _rows_of(truth: GroundTruth, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return some rows of a compressed list, as indptr and indices."""
    wanted = rows.numpy()
    starts, counts = truth.indptr[wanted], np.diff(truth.indptr)[wanted]
    indptr = np.concatenate([[0], np.cumsum(counts)])
    positions = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
    return torch.from_numpy(indptr), torch.from_numpy(truth.indices[positions])

