"""From a map ``[N, C, H, W]`` to one vector ``[N, D]``: GeM and its kin, cells, NetVLAD.

VLAD, SALAD and BoQ are in files of their own.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.boq import BoQ
from seqnet_ros.descriptors.network import (
    BoqConfig,
    CellsConfig,
    GemConfig,
    NetVladConfig,
    NetworkConfig,
    PlainPoolingConfig,
    SaladConfig,
    VladConfig,
    VladSumsConfig,
)
from seqnet_ros.descriptors.salad import Salad
from seqnet_ros.descriptors.vlad import Vlad


class L2Norm(nn.Module):
    """Scale to unit length over dimension 1 (the channels of a map, the entries of a vector)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with dimension 1 of unit length; zeros stay zeros."""
        return functional.normalize(x, dim=1)


class GeM(nn.Module):
    """Generalized mean over the map (Radenovic et al., TPAMI 2019), exponent learnable.

    Args:
        p: exponent before any weights are loaded; 1 is the mean, large p nears the maximum.
        eps: floor of the activations: the power is only defined for positive values.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, H, W]`` to ``[N, C, 1, 1]``."""
        powered = x.clamp(min=self.eps).pow(self.p)
        return powered.mean(dim=(2, 3), keepdim=True).pow(1.0 / self.p)


class SPoC(nn.Module):
    """Mean over the map (Babenko and Lempitsky, ICCV 2015)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, H, W]`` to ``[N, C, 1, 1]``."""
        return x.mean(dim=(2, 3), keepdim=True)


class MAC(nn.Module):
    """Maximum over the map (Tolias et al., ICLR 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, H, W]`` to ``[N, C, 1, 1]``."""
        return x.amax(dim=(2, 3), keepdim=True)


class RMAC(nn.Module):
    """Sum of the maxima of the map and of square regions of it, each of unit length.

    Tolias et al., "Particular object retrieval with integral max-pooling of CNN activations",
    ICLR 2016.

    Args:
        levels: sizes of regions; those of the first are as large as the map is high or wide.
        eps: added to the length of a maximum before it is divided by it.
    """

    def __init__(self, levels: int = 3, eps: float = 1e-6) -> None:
        super().__init__()
        self.levels = levels
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, H, W]`` to ``[N, C, 1, 1]``, of any length."""
        total = self._maximum(x)
        for top, left, edge in square_regions(x.shape[2], x.shape[3], self.levels):
            total = total + self._maximum(x[:, :, top:top + edge, left:left + edge])
        return total

    def _maximum(self, x: Tensor) -> Tensor:
        largest = x.amax(dim=(2, 3), keepdim=True)
        return largest / (largest.norm(dim=1, keepdim=True) + self.eps)


class Cells(nn.Module):
    """Every cell of the map, each of unit length: keeps the layout of the image.

    Args:
        grid: rows and columns of larger cells, the means of those of the map; None keeps these.
    """

    def __init__(self, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Flatten ``[N, C, H, W]`` to ``[N, H * W * C]``, one cell after the other."""
        if self.grid is not None:
            x = functional.adaptive_avg_pool2d(x, self.grid)
        cells = functional.normalize(x, dim=1).permute(0, 2, 3, 1)
        return functional.normalize(cells.flatten(1), dim=1)


class NetVLAD(nn.Module):
    """Soft-assigned residuals to cluster centers (Arandjelovic et al., CVPR 2016).

    Args:
        clusters: number K of cluster centers.
        channels: number C of channels of the map.
        bias: whether the soft assignment has a bias (the ``vladv2`` form).
        normalise_input: whether local features are brought to unit length first.
    """

    def __init__(self, clusters: int, channels: int, bias: bool = False,
                 normalise_input: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, clusters, kernel_size=1, bias=bias)
        self.centroids = nn.Parameter(torch.rand(clusters, channels))
        self.normalise_input = normalise_input

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, H, W]`` to unit vectors ``[N, K * C]``."""
        vlad = functional.normalize(self.residual_sums(x), dim=2)
        return functional.normalize(vlad.flatten(1), dim=1)

    def residual_sums(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, H, W]`` to the sums ``[N, K, C]`` before any normalization."""
        if self.normalise_input:
            x = functional.normalize(x, dim=1)
        assignment = self.conv(x).flatten(2).softmax(dim=1)
        # sum_i a_ki (x_i - c_k), expanded so that the [N, K, C, H * W] residuals never exist.
        weighted = assignment @ x.flatten(2).transpose(1, 2)
        return weighted - assignment.sum(dim=2, keepdim=True) * self.centroids


class VladSums(NetVLAD):
    """NetVLAD without its normalization, so that the vectors of frames can be added up."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``[N, C, H, W]`` to sums ``[N, K * C]``, of any length."""
        return self.residual_sums(x).flatten(1)


_PLAIN: dict[str, type[nn.Module]] = {'spoc': SPoC, 'mac': MAC, 'rmac': RMAC}
_MOST_REGIONS_MORE = 6
_WANTED_STEP = 0.6  # of a region's edge, from one to the next: they share 40 %


def square_regions(height: int, width: int, levels: int) -> list[tuple[int, int, int]]:
    """Lay square regions over a map, as R-MAC does: top row, first column and edge of each.

    At level l there are l regions along the short side and as many more along the long one as let
    those of the first level overlap by 40 % at best.
    """
    short, long = sorted((height, width))
    more = 0 if short == long else min(
        range(1, _MOST_REGIONS_MORE + 1),
        key=lambda count: abs((long - short) / (count * short) - _WANTED_STEP))
    regions = []
    for level in range(1, levels + 1):
        edge = 2 * short // (level + 1)
        if edge > 0:
            rows, columns = (_starts(side, edge, level + (more if side > short else 0))
                             for side in (height, width))
            regions += [(top, left, edge) for top in rows for left in columns]
    return regions


def _starts(side: int, edge: int, count: int) -> list[int]:
    return [i * (side - edge) // max(1, count - 1) for i in range(count)]


def build_pooling(config: NetworkConfig, shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    """Build the pooling for maps of ``shape`` (channels, height, width).

    The positions in the returned Sequential are CosPlace's: exponent at 1, linear layer at 3.

    Returns:
        The pooling, whose output rows have unit length unless the configuration says otherwise,
        and their number of values D.
    """
    return _BUILDERS[config.pooling.kind](config.pooling, shape)


def _build_gem(config: GemConfig, shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    stages: list[nn.Module] = [L2Norm(), GeM(config.p), nn.Flatten()]
    if config.fc_dim is not None:
        stages.append(nn.Linear(shape[0], config.fc_dim))
    return _sequential(stages, config.normalise), config.fc_dim or shape[0]


def _build_plain(config: PlainPoolingConfig,
                 shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    return _sequential([L2Norm(), _PLAIN[config.kind](), nn.Flatten()], config.normalise), shape[0]


def _build_cells(config: CellsConfig,
                 shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    channels, *cells = shape
    if config.grid is not None and any(
            wanted > found for wanted, found in zip(config.grid, cells, strict=True)):
        raise ModelError(f'cells has grid {list(config.grid)}, expected at most the {cells} cells '
                         'of the map')
    return nn.Sequential(Cells(config.grid)), channels * math.prod(config.grid or cells)


def _build_netvlad(config: NetVladConfig,
                   shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    netvlad = NetVLAD(config.clusters, shape[0], config.bias, config.normalise_input)
    return _with_linear(netvlad, config.clusters * shape[0], config.wpca_dim)


def _build_vlad_sums(config: VladSumsConfig,
                     shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    sums = VladSums(config.clusters, shape[0], normalise_input=config.normalise_input)
    return nn.Sequential(sums), config.clusters * shape[0]


def _build_vlad(config: VladConfig, shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    vlad = Vlad(config.clusters, shape[0])
    return _with_linear(vlad, vlad.dim, config.wpca_dim)


def _build_salad(config: SaladConfig, shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    salad = Salad(shape[0], shape[1] * shape[2], config.clusters, config.cluster_dim,
                  config.token_dim)
    return _with_linear(salad, salad.dim, config.fc_dim)


def _build_boq(config: BoqConfig, shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    boq = BoQ(shape[0], config.width, config.queries, config.layers, config.rows)
    return nn.Sequential(boq), boq.dim


def _with_linear(pooling: nn.Module, dim: int,
                 out_dim: int | None) -> tuple[nn.Sequential, int]:
    """Return a pooling of ``dim`` values, with a whitening or linear layer if there is one."""
    if out_dim is None:
        return nn.Sequential(pooling), dim
    return nn.Sequential(pooling, nn.Linear(dim, out_dim), L2Norm()), out_dim


def _sequential(stages: list[nn.Module], normalise: bool) -> nn.Sequential:
    return nn.Sequential(*stages, *([L2Norm()] if normalise else []))


_BUILDERS: dict[str, Callable[[Any, tuple[int, int, int]], tuple[nn.Sequential, int]]] = {
    'gem': _build_gem, **dict.fromkeys(_PLAIN, _build_plain), 'cells': _build_cells,
    'netvlad': _build_netvlad, 'vlad_sums': _build_vlad_sums, 'vlad': _build_vlad,
    'salad': _build_salad, 'boq': _build_boq}
