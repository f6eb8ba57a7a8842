"""Shorter frame descriptors: a linear map, fitted or random, behind any frame descriptor.

Principal components with whitening: Jegou and Chum, "Negative Evidences and Co-occurences in Image
Retrieval: The Benefit of PCA and Whitening", ECCV 2012. Random projections keep distances without
being fitted: Achlioptas, "Database-friendly random projections", JCSS 2003.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqnet_ros.config.model import ModelConfig, ReductionConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.describer import FrameDescriber

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT = 'reduction.weight'
"""Name of the matrix ``[dim, D]`` in a file of weights."""


class ReducedDescriber:
    """Shortens the vectors of another describer and brings them to unit length again.

    Args:
        describer: makes the vectors ``[N, D]``.
        weight: float32 ``[dim, D]``.
        weights_digest: hash of the tensors of both.
    """

    def __init__(self, describer: FrameDescriber, weight: np.ndarray,
                 weights_digest: str) -> None:
        self._describer = describer
        self._weight = np.ascontiguousarray(weight.T)
        self.name = f'{describer.name}, {len(weight)} values'
        self.dim = len(weight)
        self.weights_digest = weights_digest

    @property
    def sequence_tensors(self) -> 'Mapping[str, Tensor]':
        """Tensors of the weights file that belong to the sequence aggregator."""
        return self._describer.sequence_tensors

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Describe RGB uint8 ``[H, W, 3]`` images, each of any size.

        Returns:
            float32 ``[N, dim]``, rows of unit length.

        Raises:
            InputError: there is no image, or one is not RGB uint8 ``[H, W, 3]``.
        """
        return normalize_rows(self._describer.describe(images) @ self._weight)


def shorten(describer: FrameDescriber, config: ModelConfig, reduction: ReductionConfig,
            base_dir: Path | None) -> ReducedDescriber:
    """Return a describer whose vectors are shortened.

    Args:
        describer: makes the vectors of the model.
        config: the model.
        reduction: its reduction.
        base_dir: directory of the model file, where relative weight paths start.

    Raises:
        ModelError: the weights are missing or do not fit, or the vectors are shorter already.
    """
    if reduction.dim > describer.dim:
        raise ModelError(f'reduction.dim is {reduction.dim}, expected at most the '
                         f'{describer.dim} values of {describer.name}')
    if reduction.kind == 'random':
        weight = random_weight(reduction, describer.dim)
    else:
        weight = _read(config, reduction, describer.dim, base_dir)
    import torch

    from seqnet_ros.descriptors.weights import digest_tensors

    digest = digest_tensors({WEIGHT: torch.from_numpy(weight)})
    return ReducedDescriber(describer, weight, describer.weights_digest + digest)


def random_weight(reduction: ReductionConfig, length: int) -> np.ndarray:
    """Return the random projection of a seed, float32 ``[dim, length]``."""
    signs = np.random.default_rng(reduction.seed).integers(
        0, 2, (reduction.dim, length), np.int8)
    return (signs.astype(np.float32) * 2 - 1) / np.float32(np.sqrt(reduction.dim))


def _read(config: ModelConfig, reduction: ReductionConfig, length: int,
          base_dir: Path | None) -> np.ndarray:
    # Heavy to import, and needed here only.
    from seqnet_ros.descriptors.weights import find_weights, read_tensors

    path = find_weights(reduction.weights, base_dir)
    if path is None:
        raise ModelError(f'model {config.name} needs reduction.weights: make them with '
                         '`seqnet_ros models fit-reduction`')
    found = {name: tensor.numpy() for name, tensor in read_tensors(path).items()}
    expected = {WEIGHT: [reduction.dim, length]}
    shapes = {name: list(array.shape) for name, array in found.items()}
    if shapes != expected:
        raise ModelError(f'weights {path} hold {shapes}, expected {expected}: they are not of this '
                         'model')
    if not np.isfinite(found[WEIGHT]).all():
        raise ModelError(f'weights {path} hold values that are not finite')
    return found[WEIGHT]
