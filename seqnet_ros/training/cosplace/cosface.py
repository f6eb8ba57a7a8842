"""Image classification with a margin between classes: the loss of CosPlace and of JIST's images."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

_FLOOR = 1e-8


class CosFace(nn.Module):
    """Scaled cosines to one direction per class, less a margin for the true class.

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018, with the
    scale and margin of Berton et al., "Rethinking Visual Geo-localization for Large-Scale
    Applications", CVPR 2022.

    Args:
        dim: length D of the descriptors.
        classes: number C of classes.
        scale: of the logits.
        margin: taken off the cosine of the true class.
    """

    def __init__(self, dim: int, classes: int, scale: float = 30.0, margin: float = 0.4) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, dim)))
        self.scale, self.margin = scale, margin

    def forward(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """Return the logits ``[B, C]`` of descriptors ``[B, D]`` with labels int64 ``[B]``."""
        norms = descriptors.norm(dim=1)[:, None] * self.weight.norm(dim=1)
        cosines = descriptors @ self.weight.T / norms.clamp(min=_FLOOR)
        return self.scale * (cosines - self.margin * one_hot(labels, len(self.weight)))

    def loss(self, descriptors: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the cross-entropies of descriptors ``[B, D]``; over B it is the loss.

        The images of one step can be spread over several processes, so the mean is not taken here.
        """
        return cross_entropy(self(descriptors, labels), labels, reduction='sum')
