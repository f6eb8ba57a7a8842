"""HOG: a histogram of oriented gradients over the whole image (Dalal and Triggs, CVPR 2005)."""

from typing import Literal, cast

import cv2
import numpy as np
from pydantic import Field

from seqnet_ros.config.model import FrameConfig, ImageConfig, ModelConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.handcrafted import HandcraftedDescriber


class HogConfig(FrameConfig):
    """OpenCV's histogram of oriented gradients over a fixed grid."""

    kind: Literal['hog'] = 'hog'
    cell: int = Field(32, ge=4, le=256, description='Cell edge, pixels.')
    block: int = Field(64, ge=4, le=512, description='Block edge, pixels (block stride = cell).')
    bins: int = Field(9, ge=2, le=36, description='Orientation bins.')

    def dim(self, image: ImageConfig) -> int:
        """Return the length of a HOG vector.

        Raises:
            ModelError: cells, blocks and image size do not tile.
        """
        cell, block = self.cell, self.block
        if block % cell:
            raise ModelError(f'HOG block of {block} pixels is not a multiple of the cell of {cell}')
        for side, length in (('width', image.width), ('height', image.height)):
            if length < block or (length - block) % cell:
                raise ModelError(
                    f'image {side} {length} does not fit HOG blocks of {block} pixels '
                    f'in steps of {cell}')
        blocks = ((image.width - block) // cell + 1) * ((image.height - block) // cell + 1)
        return blocks * (block // cell) ** 2 * self.bins


class HogDescriber(HandcraftedDescriber):
    """Histogram of oriented gradients over the whole image (Dalal and Triggs, CVPR 2005).

    Raises:
        ModelError: cells, blocks and image size do not tile.
    """

    name = 'hog'

    def __init__(self, image: ImageConfig, config: HogConfig) -> None:
        super().__init__(image, config.dim(image))
        size, block, cell = (image.width, image.height), config.block, config.cell
        self._hog = cv2.HOGDescriptor(
            size, (block, block), (cell, cell), (cell, cell), config.bins)

    def _describe_grey(self, grey: np.ndarray) -> np.ndarray:
        return np.asarray(self._hog.compute(grey)).ravel()


def build_hog(config: ModelConfig, _device: object, _base_dir: object) -> HogDescriber:
    """Build the describer of a model; it runs on the CPU and has no weights.

    Raises:
        ModelError: cells, blocks and image size do not tile.
    """
    return HogDescriber(config.image, cast(HogConfig, config.frame))
