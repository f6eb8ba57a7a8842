"""A painted street, and a small model to see it with: places in milliseconds."""

import functools

import cv2
import numpy as np

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.place_model import PlaceModel, build_model


def small_model(**values: object) -> PlaceModel:
    """Return HOG for images of 64 x 64 pixels, sequences of five; values replace its settings."""
    return build_model(parse_preset({
        'name': 'small', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 16, 'block': 32}, 'sequence': {'length': 5},
        **values}), 'cpu')


class Street:
    """A long painted wall, seen through a square window; one metre is eight pixels."""

    def __init__(self, seed: int, metres: int = 120) -> None:
        random = np.random.default_rng(seed)
        paint = random.uniform(0, 255, (16, metres * 2 + 40, 3)).astype(np.float32)
        self._wall = cv2.resize(paint, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)

    @functools.cache  # noqa: B019 - streets live as long as their tests
    def view(self, x: float, seed: int | None = None) -> np.ndarray:
        """Return the view at a place; with a seed another day's light and noise."""
        left = round(x * 8)
        image = self._wall[:, left: left + 64].copy()
        if seed is not None:
            noise = np.random.default_rng([seed, left]).normal(0, 12, image.shape)
            image = 0.7 * image + 20 + noise
        return np.clip(image, 0, 255).astype(np.uint8)
