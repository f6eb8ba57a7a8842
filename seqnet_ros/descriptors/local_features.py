"""Local features of an image: corners and blobs that another view of the place shows again.

SIFT (Lowe, IJCV 2004) in the form of RootSIFT (Arandjelovic and Zisserman, CVPR 2012), or ORB
(Rublee et al., ICCV 2011), both as OpenCV computes them.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from seqnet_ros.config.engine import GeometryConfig
from seqnet_ros.core.errors import InputError

DESCRIPTOR_BYTES = {'sift': 128, 'orb': 32}
_ROOT_SIFT_SCALE = 512.0
_SIFT_CONTRAST = 0.02
"""Half of OpenCV's default, because images of corridors and at dusk have little contrast."""


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Features of one image, strongest first.

    Attributes:
        points: float32 ``[N, 2]``, pixels of the original image; (0, 0) is the center of the
            first pixel.
        descriptors: uint8 ``[N, 128]`` (SIFT) or ``[N, 32]`` (ORB, bits).
        width: of the original image, pixels.
        height: of the original image, pixels.
    """

    points: np.ndarray
    descriptors: np.ndarray
    width: int
    height: int

    def __len__(self) -> int:
        """Return the number of features."""
        return len(self.points)

    def subset(self, rows: np.ndarray) -> 'LocalFeatures':
        """Return some of the features."""
        return LocalFeatures(self.points[rows], self.descriptors[rows], self.width, self.height)


class LocalFeatureExtractor:
    """Finds local features. The same image gives the same features. Not thread-safe."""

    def __init__(self, config: GeometryConfig) -> None:
        self._config = config
        count = config.max_features
        self._detector: cv2.Feature2D = (
            cv2.SIFT.create(count, contrastThreshold=_SIFT_CONTRAST)
            if config.features == 'sift' else cv2.ORB.create(count))

    def extract(self, image: np.ndarray) -> LocalFeatures:
        """Return the features of an RGB uint8 ``[H, W, 3]`` image.

        Raises:
            InputError: it is not such an image.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise InputError(f'the image is {image.dtype} {list(image.shape)}, expected RGB uint8 '
                             '[H, W, 3]')
        height, width = image.shape[:2]
        grey, scale = self._shrink(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        keypoints, descriptors = self._detector.detectAndCompute(grey, None)
        size = DESCRIPTOR_BYTES[self._config.features]
        if descriptors is None:
            return LocalFeatures(
                np.zeros((0, 2), np.float32), np.zeros((0, size), np.uint8), width, height)
        points = (np.array([point.pt for point in keypoints]) + 0.5) / scale - 0.5
        strength = np.array([point.response for point in keypoints])
        order = np.argsort(-strength, kind='stable')[:self._config.max_features]
        if self._config.features == 'sift':
            descriptors = _root_sift(descriptors)
        return LocalFeatures(points[order].astype(np.float32), descriptors[order], width, height)

    def _shrink(self, grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the image no wider than requested, and the scales of its width and height."""
        height, width = grey.shape
        if width <= self._config.max_width:
            return grey, np.ones(2)
        new_width = self._config.max_width
        new_height = max(1, round(height * new_width / width))
        small = cv2.resize(grey, (new_width, new_height), interpolation=cv2.INTER_AREA)
        return small, np.array([new_width / width, new_height / height])


def _root_sift(descriptors: np.ndarray) -> np.ndarray:
    """Return RootSIFT in whole numbers: a quarter of the space, and sums of them are exact."""
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-12)
    scaled = np.rint(np.sqrt(descriptors / total) * _ROOT_SIFT_SCALE)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distances between descriptors ``[N, B]`` and ``[M, B]``, float32 ``[N, M]``.

    For SIFT, squared L2 distances; for ORB, the number of bits that differ, which is the squared L2
    distance of the bits. All values are whole numbers that float32 holds exactly: no order of
    summation, hence no number of threads, changes them.
    """
    if a.shape[1] == DESCRIPTOR_BYTES['orb']:
        a, b = np.unpackbits(a, axis=1), np.unpackbits(b, axis=1)
    a, b = a.astype(np.float32), b.astype(np.float32)
    distances = a @ b.T
    distances *= -2
    distances += np.einsum('ij,ij->i', a, a)[:, None]
    distances += np.einsum('ij,ij->i', b, b)
    return distances
