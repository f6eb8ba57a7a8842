"""Trunks: convolutional ones, cut and numbered as CosPlace numbers them, or DINOv2.

A convolutional trunk is one flat ``nn.Sequential``: ResNet 0..7 is conv1, bn1, relu, maxpool,
layer1..layer4; VGG-16, MobileNetV2 and EfficientNet keep the numbering of their ``features``;
EfficientNet-Lite0 is the stem, its batch norm, and one module for each stage. Checkpoints of
CosPlace, JIST and NetVLAD use these indices. Nothing here downloads weights.
"""

from functools import cache

import torch
import torchvision
from torch import nn
from torchvision.models.vgg import cfgs as vgg_configurations
from torchvision.models.vgg import make_layers

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors import efficientnet_lite
from seqnet_ros.descriptors.network import VISION_TRANSFORMERS, NetworkConfig
from seqnet_ros.descriptors.vision_transformer import VisionTransformer, grid_shape

_RESNET_STEM = 4
_RESNET_STAGES = 4
# CosPlace and NetVLAD drop the last ReLU and max-pool of VGG-16.
_VGG16_MODULES = 29


def build_trunk(config: NetworkConfig,
                image: ImageConfig | None = None) -> nn.Sequential | VisionTransformer:
    """Build a trunk with random weights, on torch's current default device.

    Args:
        config: the trunk.
        image: the input size, which vision transformers depend on.

    Raises:
        ModelError: ``config.layer`` is beyond the network, a package that has it is missing, or a
            vision transformer cannot be built for this input size.
    """
    if config.backbone in VISION_TRANSFORMERS:
        return VisionTransformer(config, image or ImageConfig())
    if config.backbone == 'efficientnet_lite0':
        return efficientnet_lite.build_efficientnet_lite(
            _stage_count(config, efficientnet_lite.STAGES))
    if config.backbone.startswith('resnet'):
        stages = _stage_count(config, _RESNET_STAGES)
        network = torchvision.models.get_model(config.backbone, weights=None)
        return nn.Sequential(*list(network.children())[:_RESNET_STEM + stages])
    if config.backbone == 'vgg16':
        count = _stage_count(config, _VGG16_MODULES)
        # Not `vgg16()`: its unused classifier has 120 million weights to initialize.
        return make_layers(vgg_configurations['D'])[:count]
    features = torchvision.models.get_model(config.backbone, weights=None).features
    return features[:_stage_count(config, len(features))]


def map_shape(config: NetworkConfig, image: ImageConfig) -> tuple[int, int, int]:
    """Return channels, height and width of the trunk's map, without computing it.

    That of a vision transformer is of its patches, whether or not it gives the class token too.

    Raises:
        ModelError: the layer is beyond the network, or the image too small for it.
    """
    if config.backbone in VISION_TRANSFORMERS:
        return grid_shape(config, image)
    if config.backbone == 'efficientnet_lite0':
        stages = _stage_count(config, efficientnet_lite.STAGES)
        return efficientnet_lite.map_shape(stages, image.height, image.width)
    # Only what the shape depends on: models share trunks, and differ in the rest.
    return _map_shape(NetworkConfig(backbone=config.backbone, layer=config.layer), image.height,
                      image.width)


@cache
def _map_shape(config: NetworkConfig, height: int, width: int) -> tuple[int, int, int]:
    with torch.device('meta'), torch.inference_mode():
        trunk = build_trunk(config).eval()
        try:
            shape = trunk(torch.empty(1, 3, height, width)).shape
        except RuntimeError as error:
            raise ModelError(f'image {width}x{height} is too small for {config.backbone}'
                             ) from error
    return shape[1], shape[2], shape[3]


def _stage_count(config: NetworkConfig, most: int) -> int:
    if config.layer is not None and config.layer > most:
        raise ModelError(f'{config.backbone} has layers 1 to {most}, found layer {config.layer}')
    return config.layer or most
