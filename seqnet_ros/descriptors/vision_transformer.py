"""The DINOv2 vision transformers of timm, as trunks that give maps like convolutional ones.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024. Tensors have
the names of Meta's files, which are timm's.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.network import VISION_TRANSFORMERS, NetworkConfig

PATCH = 14
"""Edge of a patch, pixels."""

_GRID = 37  # patches along each side of the images that the position embeddings belong to
_FACETS = ('query', 'key', 'value')


class VisionTransformer(nn.Module):
    """Normalized images ``[N, 3, H, W]`` to maps ``[N, C, H / 14, W / 14]`` of their patches.

    With the class token the map is ``[N, C, 1, 1 + P]`` instead: the class token, then the patches
    row by row.

    Args:
        config: which transformer, how many of its blocks, and what is taken of them.
        image: the input size.

    Raises:
        ModelError: timm is not installed, or `grid_shape` refuses the settings.
    """

    def __init__(self, config: NetworkConfig, image: ImageConfig) -> None:
        super().__init__()
        _, self._height, self._width = grid_shape(config, image)
        model = _timm_model(config.backbone)
        self.cls_token: nn.Parameter = model.cls_token
        self.pos_embed: nn.Parameter = model.pos_embed
        self.patch_embed: nn.Module = model.patch_embed
        self.blocks: nn.Sequential = model.blocks[:_depth(config)]
        self.norm: nn.Module = model.norm
        self._facet = config.facet
        self._final_norm = config.final_norm
        self._class_token = config.pooling.takes_class_token
        self.register_buffer('_fixed_positions', None, persistent=False)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.blocks)

    def fix_positions(self) -> 'VisionTransformer':
        """Compute the position embedding of this image size now, instead of with every image."""
        with torch.no_grad():
            self._fixed_positions = self._positions().detach()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return the map of the tokens, or of the facet."""
        patches = cast(nn.Conv2d, self.patch_embed.proj)(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1)
        fixed = cast(Tensor | None, self._fixed_positions)
        tokens = tokens + (self._positions() if fixed is None else fixed)
        if self._facet == 'token':
            tokens = self.blocks(tokens)
        else:
            last = cast(Any, self.blocks[-1])
            tokens = last.attn.qkv(last.norm1(self.blocks[:-1](tokens)))
            tokens = tokens.chunk(3, dim=2)[_FACETS.index(self._facet)]
        if self._final_norm:
            tokens = self.norm(tokens)
        channels = tokens.transpose(1, 2)
        if self._class_token:
            return channels.unsqueeze(2)
        return channels[:, :, 1:].unflatten(2, (self._height, self._width))

    def _positions(self) -> Tensor:
        return resize_positions(self.pos_embed, self._height, self._width)


def resize_positions(embedding: Tensor, height: int, width: int) -> Tensor:
    """Resize the position embedding of 37 x 37 patches as Meta's code does.

    Bicubic without antialiasing, in float32. Positions are sampled by scale factors that belong to
    a grid a tenth of a patch larger, which the trained weights of all networks on DINOv2 expect.

    Args:
        embedding: ``[1, 1 + 37 * 37, C]``, that of the class token first.
        height: number of rows of patches.
        width: number of columns of patches.

    Returns:
        ``[1, 1 + height * width, C]``.
    """
    if height == width == _GRID:
        return embedding
    first, patches = embedding[:, :1], embedding[:, 1:].float()
    grid = patches.unflatten(1, (_GRID, _GRID)).permute(0, 3, 1, 2)
    scales = (height + 0.1) / _GRID, (width + 0.1) / _GRID
    resized = functional.interpolate(grid, scale_factor=scales, mode='bicubic', antialias=False)
    return torch.cat([first, resized.flatten(2).transpose(1, 2).to(first.dtype)], dim=1)


def grid_shape(config: NetworkConfig, image: ImageConfig) -> tuple[int, int, int]:
    """Return channels, rows and columns of the patches of an image.

    Raises:
        ModelError: the sides of the image are not multiples of the patch, or there are fewer
            blocks than the layer.
    """
    if image.height % PATCH or image.width % PATCH:
        raise ModelError(
            f'image {image.width}x{image.height} is not a whole number of patches of {PATCH} '
            f'pixels, expected sides that are multiples of {PATCH} for {config.backbone}')
    _depth(config)
    return VISION_TRANSFORMERS[config.backbone][0], image.height // PATCH, image.width // PATCH


def _depth(config: NetworkConfig) -> int:
    most = VISION_TRANSFORMERS[config.backbone][1]
    if config.layer is not None and config.layer > most:
        raise ModelError(f'{config.backbone} has layers 1 to {most}, found layer {config.layer}')
    return config.layer or most


def _timm_model(name: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise ModelError(f'the trunk {name} needs the package timm, which is not installed; run '
                         '`pip install timm`') from error
    return timm.create_model(name, pretrained=False, num_classes=0)
