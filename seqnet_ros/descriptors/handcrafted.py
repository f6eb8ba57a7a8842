"""The base of descriptors without training: gray thumbnails, described one by one."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.image_checks import check_images

if TYPE_CHECKING:
    from torch import Tensor


def _grey_thumbnail(image: np.ndarray, config: ImageConfig) -> np.ndarray:
    """Return gray uint8 ``[config.height, config.width]``."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (config.width, config.height), interpolation=cv2.INTER_AREA)


class HandcraftedDescriber:
    """Describes image by image; subclasses say how one gray thumbnail becomes a vector.

    Args:
        image: size of the thumbnail.
        dim: length of a vector.
    """

    name: str
    dim: int
    weights_digest = ''
    sequence_tensors: 'Mapping[str, Tensor]' = MappingProxyType({})

    def __init__(self, image: ImageConfig, dim: int) -> None:
        self._image = image
        self.dim = dim

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
