"""SALAD: local features assigned to clusters by optimal transport, beside the class token.

Izquierdo and Civera, "Optimal Transport Aggregation for Visual Place Recognition", CVPR 2024,
written from the formulas of its section 3.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqnet_ros.core.errors import ModelError

_HIDDEN = 512
_DROPOUT = 0.3
_ITERATIONS = 3


class Salad(nn.Module):
    """Class token and patches ``[N, C, 1, 1 + P]`` to unit vectors ``[N, token_dim + l * m]``.

    The class token comes first, then the features of the clusters, cluster fastest; both parts
    have the length that their own normalization gives them.

    Args:
        channels: number C of channels.
        patches: number P of patches of an image.
        clusters: number m of clusters.
        cluster_dim: values l of each cluster.
        token_dim: values of the class token.

    Raises:
        ModelError: there are not more patches than clusters.
    """

    def __init__(self, channels: int, patches: int, clusters: int, cluster_dim: int,
                 token_dim: int) -> None:
        super().__init__()
        if patches <= clusters:
            raise ModelError(f'an image has {patches} patches, expected more than the {clusters} '
                             'clusters of salad pooling: use larger images')
        self.dim = token_dim + cluster_dim * clusters
        self.token_features = nn.Sequential(
            nn.Linear(channels, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, token_dim))
        self.cluster_features = _per_patch(channels, cluster_dim)
        self.score = _per_patch(channels, clusters)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, 1, 1 + P]``."""
        token = self.token_features(x[:, :, 0, 0])
        patches = x[:, :, :, 1:]
        features = self.cluster_features(patches).flatten(2)
        shares = self._transport(self.score(patches).flatten(2))
        clusters = functional.normalize(features @ shares.transpose(1, 2), dim=1)
        parts = functional.normalize(token, dim=1), clusters.flatten(1)
        return functional.normalize(torch.cat(parts, dim=1), dim=1)

    def _transport(self, scores: Tensor) -> Tensor:
        """Return the shares ``[N, m, P]`` of the patches in the clusters (Sinkhorn, log domain)."""
        count, clusters, patches = scores.shape
        dust = self.dust_bin.expand(count, 1, patches)
        costs = torch.cat([scores, dust], dim=1)
        unit = -math.log(patches + clusters)
        rows = costs.new_full((clusters + 1,), unit)
        # Whatever the clusters do not take is left to the dustbin.
        rows[-1] = unit + math.log(patches - clusters)
        of_patches = costs.new_zeros(count, 1, patches)
        of_rows = of_patches
        for _ in range(_ITERATIONS):
            of_rows = rows[:, None] - (costs + of_patches).logsumexp(dim=2, keepdim=True)
            of_patches = unit - (costs + of_rows).logsumexp(dim=1, keepdim=True)
        return (costs + of_rows + of_patches - unit).exp()[:, :clusters]


def _per_patch(channels: int, values: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, _HIDDEN, 1), nn.Dropout(_DROPOUT), nn.ReLU(),
                         nn.Conv2d(_HIDDEN, values, 1))
