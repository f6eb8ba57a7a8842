"""What networks brought by users share: their settings, their input, and checks of their output."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from seqnet_ros.config.model import FrameConfig, ImageConfig, ModelConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.image_checks import check_images, resize_antialiased
from seqnet_ros.descriptors.other_files import why_not_network

if TYPE_CHECKING:
    from torch import Tensor

Run = Callable[[np.ndarray], np.ndarray]
"""Normalized images, float32 ``[N, 3, H, W]``, to vectors ``[N, D]``."""

_SOURCE_LINE = 'Exception from '  # OpenVINO begins with a line of its own source


class OwnNetworkConfig(FrameConfig):
    """Base of the settings of networks brought by users."""

    out_dim: int = Field(ge=1, le=1 << 20, description='Length of its vectors.')
    normalise: bool = Field(
        True, exclude_if=lambda normalise: normalise, description='L2-normalize its vectors.')
    summed_clusters: int | None = Field(
        None, ge=1, le=1024, exclude_if=lambda clusters: clusters is None,
        description='Number of clusters, if its vectors are VLAD sums for the aggregator seqvlad.')

    @property
    def normalizes(self) -> bool:
        """Whether the vectors have unit length."""
        return self.normalise and self.summed_clusters is None

    @property
    def vlad_clusters(self) -> int | None:
        """Number of clusters of vectors that are VLAD sums; None for other vectors."""
        return self.summed_clusters

    def dim(self, image: ImageConfig) -> int:
        """Return the length of a vector; the network is checked against it when it is loaded."""
        return self.out_dim


class OwnNetworkDescriber:
    """Describes images with a network brought by a user, one after the other.

    Args:
        name: human-readable name, and what messages call the network.
        run: the network.
        config: the model.
        weights_digest: hash of its content.

    Raises:
        ModelError: the network fails, or gives something else than a finite vector of this length.
    """

    sequence_tensors: 'Mapping[str, Tensor]' = MappingProxyType({})

    def __init__(self, name: str, run: Run, config: ModelConfig, weights_digest: str) -> None:
        image = config.image
        self.name = name
        self.dim = config.frame.dim(image)
        self.weights_digest = weights_digest
        self._run = run
        self._image = image
        self._normalizes = config.frame.normalizes
        self.describe([np.zeros((image.height, image.width, 3), np.uint8)])

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Describe RGB uint8 ``[H, W, 3]`` images, each of any size.

        Returns:
            float32 ``[N, dim]``, rows of unit length unless the settings say otherwise.

        Raises:
            InputError: there is no image, or one is not RGB uint8 ``[H, W, 3]``.
            ModelError: the network fails, or its output changed its shape.
        """
        check_images(images)
        vectors = np.concatenate([self._describe(image) for image in images])
        return normalize_rows(vectors) if self._normalizes else vectors.astype(np.float32)

    def _describe(self, image: np.ndarray) -> np.ndarray:
        try:
            output = self._run(network_input(image, self._image))
        except ModelError:
            raise
        except Exception as error:  # whatever a network from outside raises
            raise ModelError(f'{self.name} cannot describe an image of {self._image.width}x'
                             f'{self._image.height} pixels: {first_line(error)}') from error
        vector = np.asarray(output)
        if vector.dtype.kind != 'f' or vector.size != self.dim or vector.shape[:1] != (1,):
            raise ModelError(f'{self.name} gave {vector.dtype} {list(vector.shape)} for one image, '
                             f'expected floating-point numbers [1, {self.dim}]: correct '
                             'frame.out_dim or frame.output')
        return vector.reshape(1, self.dim)


def network_input(image: np.ndarray, config: ImageConfig) -> np.ndarray:
    """Return what a network sees of an RGB uint8 ``[H, W, 3]`` image.

    Returns:
        Resized and normalized float32 ``[1, 3, height, width]``.
    """
    pixels = resize_antialiased(image, config.height, config.width, config.resize)
    scaled = pixels.astype(np.float32) / np.float32(255)
    mean, std = (np.array(values, np.float32) for values in (config.mean, config.std))
    normalized = (scaled - mean) / std
    return np.ascontiguousarray(normalized.transpose(2, 0, 1))[None]


def find_network(config: ModelConfig, base_dir: Path | None) -> Path:
    """Return the file of a model whose weights are a whole network.

    Raises:
        ModelError: it names no file, or the file is missing, has another hash or is recognized as
            something else.
    """
    # Heavy to import, and needed here only.
    from seqnet_ros.descriptors.weights import find_weights

    path = find_weights(config.weights, base_dir)
    if path is None:
        raise ModelError(f'model {config.name} names no network, expected frame.path')
    try:
        other = why_not_network(path, config.frame.kind)
    except OSError as error:
        raise ModelError(f'{path} cannot be read: {error.strerror or error}') from error
    if other is not None:
        raise ModelError(f'{path} is {other}')
    return path


def first_line(error: Exception) -> str:
    """Return the beginning of what a library says about an error."""
    lines = [line.strip() for line in str(error).splitlines()
             if line.strip() and not line.startswith(_SOURCE_LINE)]
    return lines[0][:200] if lines else type(error).__name__
