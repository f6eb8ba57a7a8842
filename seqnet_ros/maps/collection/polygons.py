"""Distances of polygons in the plane, of many pairs at once."""

import numpy as np


def polygon_distances(polygons: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distance of the two polygons of each pair, 0 where they meet.

    Args:
        polygons: corners in order, float64 ``[K, M, 2]``.
        others: corners in order, float64 ``[K, L, 2]``.

    Returns:
        float64 ``[K]``.
    """
    inside = _contain(polygons, others[:, 0]) | _contain(others, polygons[:, 0])
    least = np.where(inside, 0.0, np.inf)
    for corner in range(polygons.shape[1]):
        a, b = polygons[:, corner - 1], polygons[:, corner]
        for other in range(others.shape[1]):
            c, d = others[:, other - 1], others[:, other]
            apart = np.min([_to_segment(a, c, d), _to_segment(b, c, d), _to_segment(c, a, b),
                            _to_segment(d, a, b)], axis=0)
            least = np.minimum(least, np.where(_cross(a, b, c, d), 0.0, apart))
    return least


def _contain(polygons: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return which points ``[K, 2]`` are inside their polygons, by rays along x, bool ``[K]``."""
    after, x, y = np.roll(polygons, -1, axis=1), points[:, :1], points[:, 1:]
    spans = (polygons[..., 1] > y) != (after[..., 1] > y)
    rise = np.where(spans, after[..., 1] - polygons[..., 1], 1.0)
    crossing = polygons[..., 0] + (y - polygons[..., 1]) * (
        after[..., 0] - polygons[..., 0]) / rise
    return np.asarray((spans & (x < crossing)).sum(axis=1) % 2 == 1)


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return whether segments from a to b and from c to d, all ``[K, 2]``, meet."""
    apart_ends = (_side(a, b, c) * _side(a, b, d) <= 0) & (_side(c, d, a) * _side(c, d, b) <= 0)
    overlap = np.maximum(np.minimum(a, b), np.minimum(c, d)) <= np.minimum(
        np.maximum(a, b), np.maximum(c, d))
    return np.asarray(apart_ends & overlap.all(axis=1))


def _side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Return on which side of the line from p to q the points r are, by the sign, ``[K]``."""
    (px, py), (qx, qy), (rx, ry) = p.T, q.T, r.T
    return np.asarray((qx - px) * (ry - py) - (qy - py) * (rx - px))


def _to_segment(points: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the distances of points to segments between two points, all ``[K, 2]``."""
    along = second - first
    length = (along ** 2).sum(axis=1)
    share = np.where(length == 0, 0.0, np.clip(
        ((points - first) * along).sum(axis=1) / np.where(length == 0, 1.0, length), 0.0, 1.0))
    return np.asarray(np.linalg.norm(points - first - share[:, None] * along, axis=1))
