"""Principal components of descriptors, without whitening or normalizing: fewer bytes per place."""

from dataclasses import dataclass

import numpy as np
import torch

from seqnet_ros.core.errors import InputError

FITTED_ROWS = 1 << 14
"""Maximum number of rows that the published code of SeqVLAD fits to."""


@dataclass(frozen=True, eq=False)
class Pca:
    """A projection to the directions of largest variance.

    Attributes:
        mean: float32 ``[D]``.
        components: orthonormal rows, float32 ``[K, D]``, the largest variance first.
        explained: share of the variance that each of them has, float32 ``[K]``.
    """

    mean: np.ndarray
    components: np.ndarray
    explained: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Project float32 ``[N, D]`` to ``[N, K]``."""
        return (rows - self.mean) @ self.components.T


def check_components(shape: tuple[int, ...], dim: int) -> None:
    """Check that rows and values of this number have ``dim`` components.

    Raises:
        InputError: they do not.
    """
    if not 1 <= dim <= min(shape):
        raise InputError(f'{dim} principal components were requested, but {shape[0]} descriptors '
                         f'of {shape[1]} values have 1 to {min(shape)}')


def fit_pca(rows: np.ndarray, dim: int) -> Pca:
    """Find the principal components of descriptors, exactly.

    The largest entry of each component is positive, which fixes its sign.

    Args:
        rows: float32 ``[N, D]``.
        dim: components wanted, at most N and D.

    Raises:
        InputError: there are not enough rows or dimensions.
    """
    check_components(rows.shape, dim)
    values = torch.from_numpy(np.asarray(rows, dtype=np.float64))
    mean = values.mean(dim=0)
    centred = values - mean
    # The smaller of the two products has the same eigenvalues.
    if centred.shape[1] <= centred.shape[0]:
        variances, vectors = torch.linalg.eigh(centred.T @ centred)
        components = vectors.T.flip(0)[:dim]
    else:
        variances, vectors = torch.linalg.eigh(centred @ centred.T)
        components = torch.nn.functional.normalize(
            vectors.T.flip(0)[:dim] @ centred, dim=1, eps=1e-300)
    variances = variances.clamp(min=0).flip(0)
    largest = components.abs().argmax(dim=1, keepdim=True)
    components = components * components.gather(1, largest).sign()
    explained = variances[:dim] / variances.sum().clamp(min=1e-300)
    return Pca(*(part.numpy().astype(np.float32) for part in (mean, components, explained)))
