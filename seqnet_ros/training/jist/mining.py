"""Selection of JIST's training triplets: the partial mining of every round.

Some queries and some places are drawn; among the places near a query, the one with the nearest
descriptor is its positive, and the nearest of the drawn places further away are its negatives
(Berton et al., RA-L 2024, after Warburg et al., "Mapillary Street-Level Sequences", CVPR 2020).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.jist.sequence_folders import Sequences
from seqnet_ros.evaluation.metrics.ground_truth import GroundTruth
from seqnet_ros.training.jist.config import JistTrainingConfig
from seqnet_ros.training.jist.data import SequencePair, Triplets

_BLOCK_BYTES = 64 << 20
_QUERIES, _PLACES = range(2, 4)


class Draw(NamedTuple):
    """Sequences that a round selects from.

    Attributes:
        queries: int64 ``[Q]``, windows of the queries.
        places: int64 ``[P]``, windows of the database, ascending: those drawn and all positives.
        drawn: bool ``[P]``, which of them can be negatives.
        positives: of these queries, windows of the database.
        near: of these queries, the windows of the database that are no negatives.
    """

    queries: np.ndarray
    places: np.ndarray
    drawn: np.ndarray
    positives: GroundTruth
    near: GroundTruth

    @classmethod
    def of(cls, pair: SequencePair, queries: np.ndarray, drawn: np.ndarray,
           config: JistTrainingConfig) -> 'Draw':
        """Complete drawn windows of the queries and of the database."""
        positives = pair.truth(config.positive_radius, queries)
        near = pair.truth(config.negative_radius, queries)
        places = np.union1d(drawn, positives.indices)
        return cls(queries, places, np.isin(places, drawn), positives, near)


class TripletSource:
    """Draws the candidates of each round, which depend on the seed and the round alone."""

    def __init__(self, pair: SequencePair, config: JistTrainingConfig) -> None:
        """Find the queries that can be trained on.

        Raises:
            InputError: no query has a positive, or too few places are far from a query.
        """
        self._pair, self._config = pair, config
        self._trainable = np.flatnonzero(pair.truth(config.positive_radius).has_match)
        if not self._trainable.size:
            raise InputError(f'none of the {len(pair.queries)} query sequences has a place within '
                             f'{config.positive_radius:g} m, expected some to train on')
        draw = self.draw(0)
        owners = np.repeat(np.arange(len(draw.queries)), np.diff(draw.near.indptr))
        taken = np.isin(draw.near.indices, draw.places[draw.drawn])
        far = draw.drawn.sum() - np.bincount(owners[taken], minlength=len(draw.queries))
        if far.max() < config.negatives:
            raise InputError(f'at most {far.max()} of {draw.drawn.sum()} sampled places are '
                             f'farther than {config.negative_radius:g} m from a query, expected at '
                             f'least as many as negatives: {config.negatives}')

    def draw(self, number: int) -> Draw:
        """Draw queries that have a positive, and places, for a round."""
        config = self._config
        queries = self._choose(_QUERIES, number, self._trainable, config.queries)
        drawn = self._choose(_PLACES, number, np.arange(len(self._pair.database)), config.drawn)
        return Draw.of(self._pair, queries, drawn, config)

    def _choose(self, what: int, number: int, rows: np.ndarray, count: int) -> np.ndarray:
        generator = np.random.default_rng([self._config.seed, what, number])
        return generator.choice(rows, min(count, len(rows)), replace=False)


class WindowDescriptors(NamedTuple):
    """Descriptors of some windows.

    Attributes:
        values: float32 ``[W, D]``.
        lost: bool ``[W]``, windows with a frame that could not be read.
    """

    values: Tensor
    lost: Tensor


def frames_of(sequences: Sequences, rows: np.ndarray) -> np.ndarray:
    """Return the frames that some windows are made of, each once, ascending."""
    return np.unique(sequences.windows[rows])


def pool_windows(sequences: Sequences, rows: np.ndarray, descriptors: Tensor, lost: Tensor,
                 aggregator: nn.Module) -> WindowDescriptors:
    """Describe windows by the descriptors of their frames.

    Args:
        sequences: windows of frames.
        rows: int ``[W]``, the windows to describe.
        descriptors: float32 ``[F, D]``, of `frames_of` these windows.
        lost: bool ``[F]``, which of these frames could not be read.
        aggregator: maps ``[B, L, D]`` to ``[B, D']``, on the device of the descriptors.
    """
    windows = sequences.windows[rows]
    position = np.searchsorted(frames_of(sequences, rows), windows)
    positions = torch.from_numpy(position).to(descriptors.device)
    block = max(1, _BLOCK_BYTES // (4 * windows.shape[1] * descriptors.shape[1]))
    with torch.no_grad():
        values = torch.cat([aggregator(descriptors[part]) for part in positions.split(block)])
    return WindowDescriptors(values, lost[positions].any(dim=1))


def choose_triplets(draw: Draw, queries: WindowDescriptors, places: WindowDescriptors,
                    negatives: int) -> Triplets:
    """Choose the best positive and the hardest negatives of each query drawn.

    Queries without a positive or with fewer negatives than required are skipped, as are windows
    with lost frames.

    Args:
        draw: the candidates.
        queries: of ``draw.queries``, in this order.
        places: of ``draw.places``, in this order.
        negatives: number of negatives n.

    Returns:
        Triplets in the order of the draw, on the CPU.
    """
    best, positive = _nearest_positives(draw, queries.values, places)
    hardest, enough = _hardest_negatives(draw, queries.values, places, negatives)
    usable = (positive & enough & ~queries.lost).cpu()
    window_of = torch.from_numpy(draw.places)
    return Triplets(torch.from_numpy(draw.queries)[usable], window_of[best.cpu()[usable]],
                    window_of[hardest.cpu()[usable]])


def _nearest_positives(draw: Draw, queries: Tensor,
                       places: WindowDescriptors) -> tuple[Tensor, Tensor]:
    """Return int64 ``[Q]``, rows of the places, and bool ``[Q]``, whether there is one."""
    device = queries.device
    counts = np.diff(draw.positives.indptr)
    owners = torch.from_numpy(np.repeat(np.arange(len(counts)), counts)).to(device)
    rows = torch.from_numpy(np.searchsorted(draw.places, draw.positives.indices)).to(device)
    block = max(1, _BLOCK_BYTES // (4 * queries.shape[1]))
    distances = torch.cat([
        (places.values[row] - queries[owner]).square().sum(dim=1)
        for row, owner in zip(rows.split(block), owners.split(block), strict=True)])
    distances = distances.masked_fill(places.lost[rows], torch.inf)
    # By query, and the nearest first.
    order = distances.argsort(stable=True)
    order = order[owners[order].argsort(stable=True)]
    first = torch.from_numpy(draw.positives.indptr[:-1]).to(device)
    known = torch.from_numpy(counts > 0).to(device)
    best = torch.zeros(len(counts), dtype=torch.int64, device=device)
    nearest = order[first[known]]
    best[known] = rows[nearest]
    known[known.clone()] = distances[nearest].isfinite()
    return best, known


def _hardest_negatives(draw: Draw, queries: Tensor, places: WindowDescriptors,
                       count: int) -> tuple[Tensor, Tensor]:
    """Return int64 ``[Q, n]``, rows of the places, and bool ``[Q]``, whether there are as many."""
    device = queries.device
    drawn = np.flatnonzero(draw.drawn & ~places.lost.cpu().numpy())
    if len(drawn) < count:
        none = torch.zeros(len(queries), count, dtype=torch.int64, device=device)
        return none, none.new_zeros(len(queries), dtype=torch.bool)
    values = places.values[torch.from_numpy(drawn).to(device)]
    squares = values.square().sum(dim=1)
    block = max(1, _BLOCK_BYTES // (4 * len(drawn)))
    hardest, enough = [], []
    for rows in torch.arange(len(queries)).split(block):
        near = _marked(draw.near, draw.places[drawn], rows).to(device)
        # The length of the query is the same for all places and changes no order.
        distances = torch.addmm(squares, queries[rows.to(device)], values.T, alpha=-2)
        hardest.append(distances.masked_fill_(near, torch.inf).topk(
            count, largest=False).indices)
        enough.append(len(drawn) - near.sum(dim=1) >= count)
    chosen = torch.from_numpy(drawn).to(device)[torch.cat(hardest)]
    return chosen, torch.cat(enough)


def _marked(truth: GroundTruth, places: np.ndarray, rows: Tensor) -> Tensor:
    """Return bool ``[B, P]``: this place is in the ground truth of a query."""
    first, last = int(rows[0]), int(rows[-1]) + 1
    owners = np.repeat(np.arange(last - first), np.diff(truth.indptr[first: last + 1]))
    named = truth.indices[truth.indptr[first]: truth.indptr[last]]
    column = np.searchsorted(places, named).clip(max=len(places) - 1)
    known = places[column] == named
    marked = torch.zeros(last - first, len(places), dtype=torch.bool)
    marked[torch.from_numpy(owners[known]), torch.from_numpy(column[known])] = True
    return marked
