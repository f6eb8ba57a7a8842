"""Sequences that JIST is trained and validated on, and the frames of its triplets."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqnet_ros.datasets.jist.msls_sequences import read_windows
from seqnet_ros.datasets.jist.sequence_folders import Sequences
from seqnet_ros.evaluation.jist.sequence_ground_truth import sequence_ground_truth
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth
from seqnet_ros.training.common.image_reading import ImageSize, read_batch


@dataclass(frozen=True, eq=False)
class SequencePair:
    """Database and query sequences, all of one length.

    Attributes:
        database: sequences that are searched.
        queries: sequences to search for.
    """

    database: Sequences
    queries: Sequences

    @classmethod
    def of(cls, folder: str | PathLike[str], split: str, length: int,
           cities: Sequence[str] = ()) -> 'SequencePair':
        """Read a split of a data set.

        Args:
            folder: holds the split, or is the official folder of MSLS.
            split: 'train', 'val' or 'test'.
            length: frames per sequence.
            cities: only sequences of these; all where empty.

        Raises:
            InputError: a side is missing, holds no sequence that long, or a name cannot be read.
        """
        return cls(*read_windows(folder, split, length, cities))

    def truth(self, radius: float, rows: np.ndarray | None = None) -> GroundTruth:
        """Return the database windows with a frame within a radius of one of a query's frames.

        Args:
            radius: meters, inclusive.
            rows: the queries to look at; all where None.
        """
        return sequence_ground_truth(self.database, self.queries, radius, rows=rows)


class Triplets(NamedTuple):
    """Queries with their positives and negatives; all values are rows of windows.

    Attributes:
        queries: int64 ``[T]``.
        positives: int64 ``[T]``, rows of the database.
        negatives: int64 ``[T, n]``, rows of the database, nearest first.
    """

    queries: Tensor
    positives: Tensor
    negatives: Tensor


class SequenceBatch(NamedTuple):
    """Frames of the triplets of one step.

    Attributes:
        pixels: uint8 ``[B * (2 + n) * L, H, W, 3]``, RGB; of each query the sequences of the
            query, the positive and the negatives.
        queries: number B of queries.
        complaints: errors of unreadable images; their queries are skipped.
    """

    pixels: Tensor
    queries: int
    complaints: tuple[str, ...]


class TripletReader:
    """Reads the frames of triplets, step by step."""

    def __init__(self, pair: SequencePair, triplets: Triplets, batch: int, size: ImageSize) -> None:
        self._pair, self._batch, self._size = pair, batch, size
        self._queries = triplets.queries.numpy()
        self._places = torch.cat([triplets.positives[:, None], triplets.negatives], dim=1).numpy()

    def __len__(self) -> int:
        """Return the number of steps."""
        return -(-len(self._queries) // self._batch)

    def read(self, step: int, rank: int = 0, world: int = 1) -> SequenceBatch:
        """Read the frames of a step, or this process's share of them."""
        start = step * self._batch
        rows = range(start, min(start + self._batch, len(self._queries)))[rank::world]
        read = [read_batch(self._files(row), self._size) for row in rows]
        complaints = tuple(text for one in read for text in one.complaints)
        whole = [one.pixels for one in read if not one.complaints]
        nothing = torch.empty((0, *self._size, 3), dtype=torch.uint8)
        return SequenceBatch(torch.cat(whole) if whole else nothing, len(whole), complaints)

    def _files(self, row: int) -> list[Path]:
        queries, database = self._pair.queries, self._pair.database
        frames = database.windows[self._places[row]].ravel().tolist()
        return [*(queries.frames.path(frame)
                  for frame in queries.windows[self._queries[row]].tolist()),
                *(database.frames.path(frame) for frame in frames)]
