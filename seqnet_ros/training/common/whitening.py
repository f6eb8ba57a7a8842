"""Principal components with whitening, as one linear layer.

Jegou and Chum, "Negative Evidences and Co-occurences in Image Retrieval: The Benefit of PCA and
Whitening", ECCV 2012; NetVLAD's descriptors are shortened by it.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh

from seqnet_ros.core.errors import InputError

_BLOCK_BYTES = 64 << 20
_FLAT = 1e-10
"""Share of the largest variance below which a direction holds nothing but rounding."""


class Whitening(NamedTuple):
    """``weight @ x + bias``: mean 0, variance 1 and no correlation over the vectors it is made of.

    Attributes:
        weight: float32 ``[dim, D]``, by falling variance of the directions.
        bias: float32 ``[dim]``.
        explained: share of the variance of the vectors along these directions.
    """

    weight: np.ndarray
    bias: np.ndarray
    explained: float


def fit_whitening(vectors: np.ndarray, dim: int) -> Whitening:
    """Fit principal components that are scaled to variance 1.

    With fewer vectors than entries the eigenvectors come from the products between the vectors
    ``[N, N]``, else from the covariance ``[D, D]``; either is held in memory in float64, and the
    vectors are read in blocks.

    Args:
        vectors: float32 ``[N, D]``, may be memory-mapped.
        dim: number of components, below N and at most D.

    Raises:
        InputError: the vectors do not span that many dimensions.
    """
    return _fit(vectors, dim, vectors.mean(axis=0, dtype=np.float64))


class Components(NamedTuple):
    """``weight @ x``: uncorrelated about 0 over the vectors it is made of.

    Attributes:
        weight: float32 ``[dim, D]``, by falling moment of the directions.
        kept: share of the squares of the vectors along these directions.
    """

    weight: np.ndarray
    kept: float


def fit_components(vectors: np.ndarray, dim: int, whitening: float) -> Components:
    """Fit principal components about 0: as `fit_whitening`, but the mean stays, and no offset.

    Args:
        vectors: as for `fit_whitening`.
        dim: number of components, below N and at most D.
        whitening: power of the deviation along each direction by which it is divided: 0 is a
            rotation, 1 makes all directions equal.

    Raises:
        InputError: the vectors do not span that many dimensions.
    """
    fitted = _fit(vectors, dim, np.zeros(vectors.shape[1]))
    lengths = np.linalg.norm(fitted.weight, axis=1, keepdims=True)  # one over the deviation
    return Components(fitted.weight * lengths ** np.float32(whitening - 1), fitted.explained)


def _fit(vectors: np.ndarray, dim: int, mean: np.ndarray) -> Whitening:
    count, length = vectors.shape
    if count <= dim or length < dim:
        raise InputError(f'{count} vectors of length {length} have at most '
                         f'{min(count - 1, length)} principal components, but {dim} were requested')
    dual = count < length
    products = _products_between_rows(vectors, mean) if dual else _covariance(vectors, mean)
    total = float(np.trace(products))
    size = len(products)
    values, directions = eigh(products, subset_by_index=[size - dim, size - 1], overwrite_a=True)
    values, directions = values[::-1], np.ascontiguousarray(directions.T[::-1])
    if values[-1] <= _FLAT * max(values[0], np.finfo(float).tiny):
        spanned = int((values > _FLAT * values[0]).sum()) if values[0] > 0 else 0
        raise InputError(f'the {count} vectors span only {spanned} dimensions, but {dim} principal '
                         'components were requested')
    # The squares summed over the vectors are the values; a variance divides them by N - 1.
    scales = np.sqrt(count - 1) / (values if dual else np.sqrt(values))
    directions *= scales[:, None]
    weight, offset = _combine_rows(directions, vectors, mean) if dual else (
        directions.astype(np.float32), directions @ mean)
    return Whitening(weight, -offset.astype(np.float32), float(values.sum()) / total)


def _products_between_rows(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return float64 ``[N, N]``."""
    products = np.zeros((len(vectors), len(vectors)))
    for columns in _blocks(vectors.shape[1], len(vectors)):
        part = vectors[:, columns] - mean[columns]
        products += part @ part.T
    return products


def _covariance(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return float64 ``[D, D]``, not divided by the number of vectors."""
    products = np.zeros((vectors.shape[1], vectors.shape[1]))
    for rows in _blocks(len(vectors), vectors.shape[1]):
        part = vectors[rows] - mean
        products += part.T @ part
    return products


def _combine_rows(shares: np.ndarray, vectors: np.ndarray,
                  mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum the centered vectors with the weights ``[dim, N]``; also multiply that with the mean.

    Returns:
        float32 ``[dim, D]`` and float64 ``[dim]``.
    """
    combined = np.empty((len(shares), vectors.shape[1]), dtype=np.float32)
    offset = np.zeros(len(shares))
    for columns in _blocks(vectors.shape[1], len(vectors)):
        part = shares @ (vectors[:, columns] - mean[columns])
        combined[:, columns] = part
        offset += part @ mean[columns]
    return combined, offset


def _blocks(count: int, across: int) -> list[slice]:
    """Return slices of rows or columns, sized so that a block in float64 stays small."""
    step = max(1, _BLOCK_BYTES // (8 * across))
    return [slice(start, start + step) for start in range(0, count, step)]
