"""The frame network: a trunk followed by a pooling."""

import torch
from torch import Tensor, nn

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.descriptors.backbones import build_trunk, map_shape
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.descriptors.pooling import build_pooling


class FrameNetwork(nn.Module):
    """Normalized images ``[N, 3, H, W]`` to vectors ``[N, dim]``, of unit length except VLAD sums.

    Its state dictionary has CosPlace's names: ``backbone.*``, ``aggregation.1.p``,
    ``aggregation.3.weight`` and ``aggregation.3.bias``. NetVLAD, VLAD, SALAD and BoQ are
    ``aggregation.0``, a whitening or linear layer after them ``aggregation.1``. Built under
    ``torch.device('meta')`` it allocates nothing and still knows its ``dim``.

    Args:
        config: the trunk and the pooling.
        image: the input size, which decides the length of a ``cells`` vector and the position
            embedding of a vision transformer.

    Raises:
        ModelError: the layer is beyond the trunk, or the image too small for it.
    """

    def __init__(self, config: NetworkConfig, image: ImageConfig) -> None:
        super().__init__()
        shape = map_shape(config, image)
        self.backbone = build_trunk(config, image)
        self.aggregation, self.dim = build_pooling(config, shape)

    def forward(self, images: Tensor) -> Tensor:
        """Describe images; only the trunk may run in half precision.

        GeM's powers, NetVLAD's sums and SALAD's transport leave the range of float16.
        """
        return self.aggregation(self.backbone(images).float())


def network_dim(config: NetworkConfig, image: ImageConfig) -> int:
    """Return the length of the network's vectors without allocating it.

    Raises:
        ModelError: as `FrameNetwork`.
    """
    with torch.device('meta'):
        return build_pooling(config, map_shape(config, image))[1]
