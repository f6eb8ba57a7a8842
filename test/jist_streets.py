"""Painted streets as the data sets that JIST trains on: small, quickly made, and learnable."""

from pathlib import Path

import cv2
import numpy as np

from seqnet_ros.datasets.sequence_export import frame_name, write_jpeg

_PIXELS_PER_METRE = 4


class Street:
    """A wall of random colours along a line; what a camera sees depends on where it is.

    Args:
        seed: of the wall.
        length: metres.
        height: of the images, pixels.
        width: of the images, pixels.
    """

    def __init__(self, seed: int, length: int, height: int = 32, width: int = 40) -> None:
        random = np.random.default_rng(seed)
        wall = random.integers(0, 256, (4, (length + 40) // 2, 3)).astype(np.uint8)
        self.length, self._width = length, width
        self._wall = cv2.resize(wall, ((length + 40) * _PIXELS_PER_METRE, height),
                                interpolation=cv2.INTER_CUBIC)

    def view(self, metres: float, light: int) -> np.ndarray:
        """Return what is seen RGB uint8 ``[H, W, 3]`` in one of several lights."""
        start = round(metres * _PIXELS_PER_METRE)
        seen = self._wall[:, start: start + self._width].astype(float)
        random = np.random.default_rng([light, start])
        tint = np.random.default_rng(light).uniform(0.4, 1.6, 3)
        return np.clip(seen * tint + random.normal(0, 12, seen.shape), 0, 255).astype(np.uint8)


def write_drives(street: Street, split: Path, city: str = 'street') -> None:
    """Write a drive to be searched and one that asks, 2 m a frame, in the folders of JIST."""
    for light, side in enumerate(('database', 'queries')):
        for number, metres in enumerate(range(light, street.length, 2)):
            name = frame_name(500_000 + metres, 5_000_000, side, number, str(number), city, '2020')
            write_jpeg(street.view(metres, light), split / side / side / name)


def write_crops(street: Street, folder: Path, lights: tuple[int, ...] = (2, 3, 4)) -> None:
    """Write images every metre in several lights, in the format of SF-XL; edges are the height."""
    for light in lights:
        for metres in range(street.length):
            name = (f'@{500_000 + metres:.2f}@5000000.00@32@T@45.0@9.0@{light}-{metres}@@0@@@@2020'
                    '@@.jpg')
            write_jpeg(street.view(metres, light), folder / name)
