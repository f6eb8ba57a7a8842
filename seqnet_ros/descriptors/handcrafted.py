"""Descriptors that need no training: HOG and SeqSLAM's patch-normalised thumbnails."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import cv2
import numpy as np
from torch import Tensor

from seqnet_ros.config.model import HogConfig, ImageConfig, PatchNormConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.image_checks import check_images

# A patch darker or flatter than this many gray levels holds sensor noise, not texture.
_FLAT_PATCH_STD = 1e-3


def _grey_thumbnail(image: np.ndarray, config: ImageConfig) -> np.ndarray:
    """Return gray uint8 ``[config.height, config.width]``."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (config.width, config.height), interpolation=cv2.INTER_AREA)


class _HandcraftedDescriber:
    """Describes image by image; subclasses say how one gray thumbnail becomes a vector."""

    name: str
    dim: int
    weights_digest = ''
    sequence_tensors: Mapping[str, Tensor] = MappingProxyType({})

    def __init__(self, image: ImageConfig) -> None:
        self._image = image

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Describe RGB uint8 ``[H, W, 3]`` images of any size.

        Returns:
            float32 ``[N, dim]``, rows of unit length (an image without any texture gives zeros).

        Raises:
            InputError: there is no image, or one is not RGB uint8 ``[H, W, 3]``.
        """
        check_images(images)
        return normalize_rows(
            np.stack([self._describe_grey(_grey_thumbnail(i, self._image)) for i in images]))

    def _describe_grey(self, grey: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class HogDescriber(_HandcraftedDescriber):
    """Histogram of oriented gradients over the whole image (Dalal and Triggs, CVPR 2005).

    Raises:
        ModelError: cells, blocks and image size do not tile.
    """

    name = 'hog'

    def __init__(self, image: ImageConfig, config: HogConfig) -> None:
        super().__init__(image)
        self.dim = hog_dim(image, config)
        size, block, cell = (image.width, image.height), config.block, config.cell
        self._hog = cv2.HOGDescriptor(
            size, (block, block), (cell, cell), (cell, cell), config.bins)

    def _describe_grey(self, grey: np.ndarray) -> np.ndarray:
        return np.asarray(self._hog.compute(grey)).ravel()


class PatchNormDescriber(_HandcraftedDescriber):
    """SeqSLAM's patch normalization (Milford and Wyeth, ICRA 2012, section III-A).

    Raises:
        ModelError: the patches do not tile the image.
    """

    name = 'patchnorm'

    def __init__(self, image: ImageConfig, config: PatchNormConfig) -> None:
        super().__init__(image)
        self.dim = patchnorm_dim(image, config)
        self._patch = config.patch

    def _describe_grey(self, grey: np.ndarray) -> np.ndarray:
        height, width = grey.shape
        patch = self._patch
        tiles = grey.astype(np.float32).reshape(height // patch, patch, width // patch, patch)
        mean = tiles.mean(axis=(1, 3), keepdims=True)
        std = tiles.std(axis=(1, 3), keepdims=True)
        flat = std < _FLAT_PATCH_STD
        return np.where(flat, 0, (tiles - mean) / np.where(flat, 1, std)).ravel()


def hog_dim(image: ImageConfig, config: HogConfig) -> int:
    """Return the length of a HOG vector.

    Raises:
        ModelError: cells, blocks and image size do not tile.
    """
    cell, block = config.cell, config.block
    if block % cell:
        raise ModelError(f'HOG block of {block} pixels is not a multiple of the cell of {cell}')
    for side, length in (('width', image.width), ('height', image.height)):
        if length < block or (length - block) % cell:
            raise ModelError(
                f'image {side} {length} does not fit HOG blocks of {block} pixels '
                f'in steps of {cell}')
    blocks = ((image.width - block) // cell + 1) * ((image.height - block) // cell + 1)
    return blocks * (block // cell) ** 2 * config.bins


def patchnorm_dim(image: ImageConfig, config: PatchNormConfig) -> int:
    """Return the length of a patch-normalised vector.

    Raises:
        ModelError: the patches do not tile the image.
    """
    if image.width % config.patch or image.height % config.patch:
        raise ModelError(
            f'image {image.width}x{image.height} is not a whole number of patches of '
            f'{config.patch} pixels')
    return image.width * image.height
