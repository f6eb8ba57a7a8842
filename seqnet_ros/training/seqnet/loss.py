"""The triplet loss of SeqNet."""

import torch
from torch import Tensor
from torch.nn.functional import pairwise_distance


def triplet_loss(queries: Tensor, positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """Return the mean of ``max(0, d(q, p) - d(q, n) + sqrt(margin))`` over all triplets.

    Distances are not squared; 1e-6 is added to every component of a difference, as PyTorch does
    (Garg and Milford, RA-L 2021, equation 1).

    Args:
        queries: float ``[T, D]``, one row for each triplet.
        positives: float ``[T, D]``.
        negatives: float ``[T, D]``.
        margin: its square root is the margin of the distances.
    """
    near = pairwise_distance(queries, positives)
    far = pairwise_distance(queries, negatives)
    return torch.relu(near - far + margin ** 0.5).mean()
