"""Tuples to train SeqNet on: for each query a positive and the hardest negatives.

The recipe of NetVLAD (Arandjelovic et al., CVPR 2016, section 4) as SeqNet uses it: descriptors of
the whole training set are computed once, the positive is the nearest of the places that may match,
the negatives are the nearest of a random draw and of those remembered from the last time, and only
those that still violate the margin count.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from seqnet_ros.core.errors import InputError

_BLOCK_VALUES = 32 << 20
_SPARE = 8
NONE = -1
"""Fills index arrays where there is nothing."""


@dataclass(frozen=True)
class Mined:
    """Positives and negatives of each query.

    Attributes:
        positives: int64 ``[Q]``, reference rows; `NONE` where nothing may match.
        negatives: int64 ``[Q, n]``, reference rows, nearest first, filled up with `NONE`.
    """

    positives: Tensor
    negatives: Tensor

    @property
    def usable(self) -> Tensor:
        """Bool ``[Q]``: there is a positive and at least one negative that violates the margin."""
        return (self.positives != NONE) & (self.negatives[:, 0] != NONE)


def mine(references: Tensor, queries: Tensor, positive_indptr: Tensor, positive_indices: Tensor,
         candidates: Tensor, margin: float, count: int = 10) -> Mined:
    """Choose positive and negatives by descriptor, as block-wise matrix products.

    Args:
        references: float32 ``[N, D]``.
        queries: float32 ``[Q, D]``, on the same device.
        positive_indptr: int64 ``[Q + 1]``.
        positive_indices: int64, reference rows that may match each query.
        candidates: int64 ``[Q, S]``, reference rows that cannot match: drawn and remembered ones,
            in any order, repeated or not, filled up with `NONE`.
        margin: of the triplet loss; distances have to differ by its square root.
        count: negatives wanted for each query.

    Memory is bounded whatever N and Q are. Ties go to the lower row.

    Raises:
        InputError: the arrays do not belong together.
    """
    if references.shape[1] != queries.shape[1]:
        raise InputError(f'references have {references.shape[1]} values, queries '
                         f'{queries.shape[1]}: expected the same number')
    if len(positive_indptr) != len(queries) + 1 or len(candidates) != len(queries):
        raise InputError(f'{len(queries)} queries, but positives of {len(positive_indptr) - 1} and '
                         f'candidates of {len(candidates)}')
    squares = torch.einsum('nd,nd->n', references, references)
    parts = [
        _mine_block(references, squares, queries[rows],
                    positive_indptr[rows.start: rows.stop + 1], positive_indices,
                    candidates[rows], margin, count)
        for rows in _blocks(queries, references, count)]
    return Mined(torch.cat([part.positives for part in parts]),
                 torch.cat([part.negatives for part in parts]))


def _blocks(queries: Tensor, references: Tensor, count: int) -> Iterator[slice]:
    values = max(len(references), (count + _SPARE) * references.shape[1])
    size = max(1, _BLOCK_VALUES // values)
    for start in range(0, len(queries), size):
        yield slice(start, min(start + size, len(queries)))


def _mine_block(references: Tensor, squares: Tensor, queries: Tensor, indptr: Tensor,
                indices: Tensor, candidates: Tensor, margin: float, count: int) -> Mined:
    # Squared distances but for the length of the query, which changes no order.
    rough = torch.addmm(squares, queries, references.T, alpha=-2)
    positives, near = _nearest(rough, references, queries, _padded(indptr, indices), 1)
    negatives, far = _nearest(rough, references, queries, candidates, count)
    violating = far.isfinite() & near.isfinite() & (far < near + margin ** 0.5)
    filled = torch.full((len(queries), count), NONE, dtype=torch.int64, device=queries.device)
    filled[:, :negatives.shape[1]] = torch.where(violating, negatives, NONE)
    return Mined(torch.where(near[:, 0].isinf(), NONE, positives[:, 0]), filled)


def _padded(indptr: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of a CSR list as int64 ``[Q, S]``, filled up with `NONE`, S at least 1."""
    counts = indptr.diff()
    column = torch.arange(max(int(counts.max()), 1), device=indptr.device)
    present = column < counts[:, None]
    padded = torch.full(present.shape, NONE, dtype=torch.int64, device=indices.device)
    padded[present] = indices[indptr[0]: indptr[-1]]
    return padded


def _nearest(rough: Tensor, references: Tensor, queries: Tensor, listed: Tensor,
             count: int) -> tuple[Tensor, Tensor]:
    """Return the nearest of the listed references and their distances, nearest first.

    A matrix product orders them roughly; of the first few the difference itself is taken, since
    the product is wrong in the sixth digit. What is missing is infinitely far.
    """
    listed = listed.sort(dim=1).values
    distances = rough.gather(1, listed.clamp(min=0))
    distances[listed == NONE] = torch.inf
    distances[:, 1:][listed[:, 1:] == listed[:, :-1]] = torch.inf
    some, position = distances.topk(min(count + _SPARE, listed.shape[1]), dim=1, largest=False)
    # Whatever order topk gives to equal distances, ours is by row.
    position, order = position.sort(dim=1)
    chosen = listed.gather(1, position)
    exact = torch.linalg.vector_norm(references[chosen] - queries[:, None], dim=2)
    exact[some.gather(1, order).isinf()] = torch.inf
    exact, order = exact.sort(dim=1, stable=True)
    return chosen.gather(1, order)[:, :count], exact[:, :count]


def draw_negatives(excluded_indptr: Tensor, excluded_indices: Tensor, references: int, count: int,
                   generator: torch.Generator) -> Tensor:
    """Draw rows that cannot match, uniformly and with replacement, as int64 ``[Q, count]``.

    Args:
        excluded_indptr: int64 ``[Q + 1]``.
        excluded_indices: int64, reference rows that match each query, ascending.
        references: number of references N.
        count: rows drawn for each query; `NONE` where all references match.
        generator: of random numbers, on the CPU.
    """
    excluded = _padded(excluded_indptr, excluded_indices)
    # The j-th excluded row has this many allowed ones before it.
    before = torch.where(
        excluded == NONE, references, excluded - torch.arange(excluded.shape[1]))
    allowed = references - excluded_indptr.diff()
    drawn = torch.rand((len(allowed), count), dtype=torch.float64, generator=generator)
    drawn = (drawn * allowed[:, None]).long()
    drawn += torch.searchsorted(before, drawn, right=True)
    drawn[allowed == 0] = NONE
    return drawn
