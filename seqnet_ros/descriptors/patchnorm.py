"""SeqSLAM's patch-normalized thumbnails (Milford and Wyeth, ICRA 2012, section III-A)."""

from typing import Literal, cast

import numpy as np
from pydantic import Field

from seqnet_ros.config.model import FrameConfig, ImageConfig, ModelConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.handcrafted import HandcraftedDescriber

# A patch darker or flatter than this many gray levels holds sensor noise, not texture.
_FLAT_PATCH_STD = 1e-3


class PatchNormConfig(FrameConfig):
    """SeqSLAM's patch-normalized thumbnails (Milford and Wyeth, ICRA 2012)."""

    kind: Literal['patchnorm'] = 'patchnorm'
    patch: int = Field(8, ge=2, le=64, description='Patch edge, pixels.')

    def dim(self, image: ImageConfig) -> int:
        """Return the length of a patch-normalized vector.

        Raises:
            ModelError: the patches do not tile the image.
        """
        if image.width % self.patch or image.height % self.patch:
            raise ModelError(
                f'image {image.width}x{image.height} is not a whole number of patches of '
                f'{self.patch} pixels')
        return image.width * image.height


class PatchNormDescriber(HandcraftedDescriber):
    """SeqSLAM's patch normalization (Milford and Wyeth, ICRA 2012, section III-A).

    Raises:
        ModelError: the patches do not tile the image.
    """

    name = 'patchnorm'

    def __init__(self, image: ImageConfig, config: PatchNormConfig) -> None:
        super().__init__(image, config.dim(image))
        self._patch = config.patch

    def _describe_grey(self, grey: np.ndarray) -> np.ndarray:
        height, width = grey.shape
        patch = self._patch
        tiles = grey.astype(np.float32).reshape(height // patch, patch, width // patch, patch)
        mean = tiles.mean(axis=(1, 3), keepdims=True)
        std = tiles.std(axis=(1, 3), keepdims=True)
        flat = std < _FLAT_PATCH_STD
        return np.where(flat, 0, (tiles - mean) / np.where(flat, 1, std)).ravel()


def build_patchnorm(config: ModelConfig, _device: object, _base_dir: object) -> PatchNormDescriber:
    """Build the describer of a model; it runs on the CPU and has no weights.

    Raises:
        ModelError: the patches do not tile the image.
    """
    return PatchNormDescriber(config.image, cast(PatchNormConfig, config.frame))
