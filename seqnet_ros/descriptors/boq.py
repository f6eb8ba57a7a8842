"""BoQ: learned queries that attend to the local features of an image.

Ali-bey, Chaib-draa and Giguere, "BoQ: A Place is Worth a Bag of Learnable Queries", CVPR 2024.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_HEAD = 64  # channels of each head of the attention


class BoqLayer(nn.Module):
    """An encoder of the local features, and queries that read them.

    Args:
        width: number E of channels.
        queries: number of queries.
    """

    def __init__(self, width: int, queries: int) -> None:
        super().__init__()
        heads = width // _HEAD
        self.encoder = nn.TransformerEncoderLayer(
            width, heads, dim_feedforward=4 * width, dropout=0.0, batch_first=True)
        self.queries = nn.Parameter(torch.randn(1, queries, width))
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm_q = nn.LayerNorm(width)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm_out = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the encoded features ``[N, P, E]`` and what the queries read, ``[N, Q, E]``."""
        features = self.encoder(features)
        # The queries do not depend on the image: one pass serves the whole batch.
        attended, _ = self.self_attn(self.queries, self.queries, self.queries, need_weights=False)
        queries = self.norm_q(self.queries + attended).expand(len(features), -1, -1)
        read, _ = self.cross_attn(queries, features, features, need_weights=False)
        return features, self.norm_out(read)


class BoQ(nn.Module):
    """Maps ``[N, C, H, W]`` to unit vectors ``[N, E * rows]``.

    Args:
        channels: number C of channels of the map.
        width: number E of channels of the attention, a multiple of 64.
        queries: number of queries of each layer.
        layers: number of layers.
        rows: values kept of each channel.
    """

    def __init__(self, channels: int, width: int, queries: int, layers: int, rows: int) -> None:
        super().__init__()
        self.dim = width * rows
        self.proj_c = nn.Conv2d(channels, width, 3, padding=1)
        self.norm_input = nn.LayerNorm(width)
        self.boqs = nn.ModuleList(BoqLayer(width, queries) for _ in range(layers))
        self.fc = nn.Linear(layers * queries, rows)

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, H, W]``."""
        features = self.norm_input(self.proj_c(x).flatten(2).transpose(1, 2))
        outputs = []
        for layer in self.boqs:
            features, read = layer(features)
            outputs.append(read)
        mixed = self.fc(torch.cat(outputs, dim=1).transpose(1, 2))
        return functional.normalize(mixed.flatten(1), dim=1)
