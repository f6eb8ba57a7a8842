"""Descriptors that were computed elsewhere: vectors take the place of images."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from pydantic import Field

from seqnet_ros.config.model import FrameConfig, ImageConfig, ModelConfig
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.normalize import normalize_rows

if TYPE_CHECKING:
    from torch import Tensor


class PrecomputedConfig(FrameConfig):
    """Vectors that were computed elsewhere, in the place of images."""

    kind: Literal['precomputed'] = 'precomputed'
    out_dim: int = Field(ge=1, le=1 << 20, description='Length of the vectors.')
    source: str = Field(
        '', exclude_if=lambda source: not source,
        description='What made them: maps and vectors of different sources are told apart by it.')

    def dim(self, image: ImageConfig) -> int:
        """Return the length of a vector."""
        return self.out_dim


class PrecomputedDescriber:
    """Takes vectors for descriptors of images.

    Args:
        dim: length of a vector.
        normalizes: bring vectors to unit length.
    """

    name = 'precomputed'
    weights_digest = ''
    sequence_tensors: 'Mapping[str, Tensor]' = MappingProxyType({})

    def __init__(self, dim: int, normalizes: bool = True) -> None:
        self.dim = dim
        self._normalizes = normalizes

    def describe(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        """Return vectors, floating-point ``[D]`` each, as descriptors.

        Returns:
            float32 ``[N, dim]``, rows of unit length.

        Raises:
            InputError: there is none, or one is no vector of this length, is not finite or zero.
        """
        if len(vectors) == 0:
            raise InputError('no descriptor, expected at least one')
        for vector in vectors:
            if (not isinstance(vector, np.ndarray) or vector.dtype.kind != 'f'
                    or vector.shape != (self.dim,)):
                found = (f'{vector.dtype} {list(vector.shape)}' if isinstance(vector, np.ndarray)
                         else type(vector).__name__)
                raise InputError(f'found {found}, expected floating-point numbers [{self.dim}]: '
                                 'this model takes descriptors that were computed elsewhere in '
                                 'the place of images')
            if not np.isfinite(vector).all() or not vector.any():
                raise InputError('a descriptor is zero or not finite, expected finite numbers that '
                                 'are not all zero')
        stacked = np.stack(vectors).astype(np.float32)
        return normalize_rows(stacked) if self._normalizes else stacked


def build_precomputed(config: ModelConfig, _device: object,
                      _base_dir: object) -> PrecomputedDescriber:
    """Build the describer of a model; it has no network."""
    return PrecomputedDescriber(cast(PrecomputedConfig, config.frame).out_dim)
