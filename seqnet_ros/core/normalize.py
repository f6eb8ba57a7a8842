"""Arithmetic on descriptors that every layer shares."""

import numpy as np


def normalize_rows(vectors: np.ndarray) -> np.ndarray:
    """Return float32 ``[..., D]`` with rows of unit length; rows of zeros stay zeros."""
    vectors = np.asarray(vectors, dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, np.float32(1e-12))
