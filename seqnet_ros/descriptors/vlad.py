"""VLAD with hard assignment, whose clusters are fitted to images instead of trained.

Jegou et al., "Aggregating Local Descriptors into a Compact Image Representation", CVPR 2010, as
Keetha et al., "AnyLoc: Towards Universal Visual Place Recognition", RA-L 2024, apply it to the
features of a vision transformer.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Vlad(nn.Module):
    """Maps ``[N, C, H, W]`` to unit vectors ``[N, K * C]``.

    Local features have unit length, and belong to the center with the smallest angle.

    Args:
        clusters: number K of cluster centers.
        channels: number C of channels of the map.
    """

    def __init__(self, clusters: int, channels: int) -> None:
        super().__init__()
        self.dim = clusters * channels
        self.centroids = nn.Parameter(torch.randn(clusters, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, H, W]``."""
        features = functional.normalize(x.flatten(2), dim=1)
        similarities = functional.normalize(self.centroids, dim=1) @ features
        nearest = similarities.argmax(dim=1)
        clusters = torch.arange(len(self.centroids), device=x.device)
        members = (nearest[:, None] == clusters[:, None]).to(x.dtype)
        # The sum of x - c over the members of a cluster.
        sums = members @ features.transpose(1, 2)
        residuals = sums - members.sum(dim=2, keepdim=True) * self.centroids
        return functional.normalize(functional.normalize(residuals, dim=2).flatten(1), dim=1)
