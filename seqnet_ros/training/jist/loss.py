"""The triplet loss of JIST on sequence descriptors."""

from torch import Tensor
from torch.nn.functional import triplet_margin_loss


def sequence_triplet_loss(queries: Tensor, positives: Tensor, negatives: Tensor,
                          margin: float) -> Tensor:
    """Return the sum of ``max(0, d(q, p) - d(q, n) + margin)`` over all negatives of all queries.

    Distances are not squared; 1e-6 is added to every component of a difference, as PyTorch does.
    Divided by the ``B * n`` triplets it is the loss of Berton et al., "JIST: Joint Image and
    Sequence Training for Sequential Visual Place Recognition", RA-L 2024; the sequences of one step
    can be spread over several processes, so the mean is not taken here.

    Args:
        queries: float ``[B, D]``.
        positives: float ``[B, D]``, one for each query.
        negatives: float ``[B, n, D]``.
        margin: in the unit of the distances.
    """
    return triplet_margin_loss(queries[:, None], positives[:, None], negatives, margin=margin,
                               reduction='sum')
