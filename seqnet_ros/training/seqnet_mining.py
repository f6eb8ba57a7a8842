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

from seqnet_ros.errors import InputError

_BLOCK_VALUES = 32 << 20
_SPARE = 8
NONE = -1
"""Fills index arrays where there is nothing."""


@dataclass(frozen=True)
class Mined:
    """What was found for each query.

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
                         f'{queries.shape[1]}: expected as many')
    if len(positive_indptr) != len(queries) + 1 or len(candidates) != len(queries):
        raise InputError(f'{len(queries)} queries, but positives of {len(positive_indptr) - 1} and '
                         f'candidates of {len(candidates)}')
    parts = [
        _mine_block(references, queries[rows], positive_indptr[rows.start: rows.stop + 1],
                    positive_indices, candidates[rows], margin, count)
        for rows in _blocks(queries, references, count)]
    return Mined(torch.cat([part.positives for part in parts]),
                 torch.cat([part.negatives for part in parts]))


def _blocks(queries: Tensor, references: Tensor, count: int) -> Iterator[slice]:
    values = max(len(references), (count + _SPARE) * references.shape[1])
    size = max(1, _BLOCK_VALUES // values)
    for start in range(0, len(queries), size):
        yield slice(start, min(start + size, len(queries)))


def _mine_block(references: Tensor, queries: Tensor, indptr: Tensor, indices: Tensor,
                candidates: Tensor, margin: float, count: int) -> Mined:
    rough = torch.cdist(queries, references, compute_mode='use_mm_for_euclid_dist')
    row = torch.repeat_interleave(
        torch.arange(len(queries), device=indptr.device), indptr.diff())
    column = indices[indptr[0]: indptr[-1]]
    positives, near = _nearest(rough, references, queries, row, column, 1)

    present = candidates != NONE
    row = torch.arange(len(queries), device=candidates.device)[:, None].expand_as(candidates)
    negatives, far = _nearest(rough, references, queries, row[present], candidates[present], count)
    violating = far.isfinite() & near.isfinite() & (far < near + margin ** 0.5)
    filled = torch.full((len(queries), count), NONE, dtype=torch.int64, device=queries.device)
    filled[:, :negatives.shape[1]] = torch.where(violating, negatives, NONE)
    return Mined(torch.where(near[:, 0].isinf(), NONE, positives[:, 0]), filled)


def _nearest(rough: Tensor, references: Tensor, queries: Tensor, row: Tensor, column: Tensor,
             count: int) -> tuple[Tensor, Tensor]:
    """Return the nearest of the listed references and their distances, nearest first.

    A matrix product orders them roughly; of the first few the difference itself is taken, since
    the product is wrong in the sixth digit. What is missing is infinitely far.
    """
    listed = torch.full_like(rough, torch.inf)
    listed[row, column] = rough[row, column]
    some, chosen = listed.topk(min(count + _SPARE, rough.shape[1]), dim=1, largest=False)
    # Whatever order topk gives to equal distances, ours is by row.
    chosen, order = chosen.sort(dim=1)
    exact = torch.linalg.vector_norm(references[chosen] - queries[:, None], dim=2)
    exact[some.gather(1, order).isinf()] = torch.inf
    exact, order = exact.sort(dim=1, stable=True)
    return chosen.gather(1, order)[:, :count], exact[:, :count]


def draw_negatives(negative_mask: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw rows that cannot match, with replacement, as int64 ``[Q, count]``.

    Args:
        negative_mask: bool ``[Q, N]``, the references that cannot match; make it for a block of
            queries at a time.
        count: rows drawn for each query.
        generator: of random numbers.
    """
    weights = negative_mask.float()
    drawable = weights.sum(dim=1) > 0
    drawn = torch.full((len(weights), count), NONE, dtype=torch.int64)
    if drawable.any():
        drawn[drawable] = torch.multinomial(
            weights[drawable], count, replacement=True, generator=generator)
    return drawn
