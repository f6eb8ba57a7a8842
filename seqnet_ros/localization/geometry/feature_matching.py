"""Matching of the local features of two images by appearance."""

import numpy as np

from seqnet_ros.descriptors.local_features import (
    DESCRIPTOR_BYTES,
    LocalFeatures,
    squared_distances,
)


def match_features(a: LocalFeatures, b: LocalFeatures, ratio: float) -> np.ndarray:
    """Match features that are nearest to one another and pass the ratio test.

    A pixel with several orientations has several features; it is matched once.

    Args:
        a: features of one image.
        b: features of another.
        ratio: largest distance relative to the second nearest feature's (Lowe, IJCV 2004).

    Returns:
        int64 ``[M, 2]``: rows of ``a`` and ``b``, in the order of ``a``.
    """
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), np.int64)
    distances = squared_distances(a.descriptors, b.descriptors)
    # Hamming distances are not squared.
    bound = ratio if a.descriptors.shape[1] == DESCRIPTOR_BYTES['orb'] else ratio * ratio
    best = distances.argmin(axis=1)
    rows = np.arange(len(a))
    mutual = distances.argmin(axis=0)[best] == rows
    clear = mutual & _clear(distances, b.points, bound)
    matches = np.column_stack([rows, best])[clear]
    return _once_a_pixel(matches, a.points, b.points)


def _clear(distances: np.ndarray, points: np.ndarray, bound: float) -> np.ndarray:
    """Return which rows have a nearest column that is clearly nearer than any other pixel's."""
    two = np.argpartition(distances, 1, axis=1)[:, :2]
    values = np.take_along_axis(distances, two, axis=1)
    order = np.argsort(values, axis=1, kind='stable')
    values = np.take_along_axis(values, order, axis=1)
    two = np.take_along_axis(two, order, axis=1)
    clear = values[:, 0] < bound * values[:, 1]
    # The second nearest may be the same pixel in another orientation.
    twin = (points[two[:, 0]] == points[two[:, 1]]).all(axis=1) & ~clear
    for row in np.flatnonzero(twin):
        elsewhere = (points != points[two[row, 0]]).any(axis=1)
        others = distances[row, elsewhere]
        clear[row] = len(others) > 0 and values[row, 0] < bound * others.min()
    return clear


def _once_a_pixel(matches: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    kept = np.ones(len(matches), bool)
    for column, points in ((0, a), (1, b)):
        _, first = np.unique(points[matches[:, column]], axis=0, return_index=True)
        once = np.zeros(len(matches), bool)
        once[first] = True
        kept &= once
    return matches[kept]
