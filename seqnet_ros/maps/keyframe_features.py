"""Optional content of a map: local features and small images of its places.

Both are ragged: the rows of all places are in flat arrays, one after the other, and offsets state
where each place begins. Such arrays can be memory-mapped, so that only the rows of the requested
places are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from seqnet_ros.core.errors import InputError, MapError
from seqnet_ros.core.images import image_from_compressed
from seqnet_ros.descriptors.local_features import DESCRIPTOR_BYTES, LocalFeatures
from seqnet_ros.maps.map_checks import check_array

THUMBNAIL_WIDTH = 320
"""Wider images are shrunk to this, pixels."""
_JPEG_QUALITY = 85


@dataclass(frozen=True, eq=False)
class KeyframeFeatures:
    """The local features of all places of a map.

    Attributes:
        offsets: int64 ``[N + 1]``; place i has rows ``offsets[i]`` to ``offsets[i + 1]``.
        points: float32 ``[M, 2]``, pixels.
        descriptors: uint8 ``[M, B]``.
        sizes: int32 ``[N, 2]``, width and height of the image of every place.
    """

    offsets: np.ndarray
    points: np.ndarray
    descriptors: np.ndarray
    sizes: np.ndarray

    @classmethod
    def collect(cls, features: Sequence[LocalFeatures], kind: str) -> 'KeyframeFeatures':
        """Combine the features of all places; ``kind`` is 'sift' or 'orb'."""
        width = DESCRIPTOR_BYTES[kind]
        return cls(
            _offsets([len(found) for found in features]),
            np.concatenate([np.zeros((0, 2), np.float32), *(each.points for each in features)]),
            np.concatenate([np.zeros((0, width), np.uint8),
                            *(each.descriptors for each in features)]),
            np.array([(each.width, each.height) for each in features], np.int32).reshape(-1, 2))

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.offsets) - 1

    def of(self, place: int) -> LocalFeatures:
        """Return the features of one place."""
        rows = slice(int(self.offsets[place]), int(self.offsets[place + 1]))
        width, height = (int(value) for value in self.sizes[place])
        return LocalFeatures(np.asarray(self.points[rows]), np.asarray(self.descriptors[rows]),
                             width, height)

    def joined(self, other: 'KeyframeFeatures') -> 'KeyframeFeatures':
        """Return the features of these places and of others that follow."""
        return KeyframeFeatures(
            _join_offsets(self.offsets, other.offsets),
            np.concatenate([self.points, other.points]),
            np.concatenate([self.descriptors, other.descriptors]),
            np.concatenate([self.sizes, other.sizes]))

    def of_places(self, places: np.ndarray) -> 'KeyframeFeatures':
        """Return the features of some places, int ``[K]``."""
        offsets, rows = _select(self.offsets, places)
        return KeyframeFeatures(
            offsets, self.points[rows], self.descriptors[rows], self.sizes[places])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by the names of their files."""
        return {'feature_offsets': self.offsets, 'feature_points': self.points,
                'feature_descriptors': self.descriptors, 'feature_sizes': self.sizes}

    @classmethod
    def of_arrays(cls, arrays: dict[str, np.ndarray]) -> 'KeyframeFeatures':
        """Create them from the result of `arrays`."""
        return cls(arrays['feature_offsets'], arrays['feature_points'],
                   arrays['feature_descriptors'], arrays['feature_sizes'])

    def check(self, places: int, kind: str) -> None:
        """Check shapes, types and offsets.

        Raises:
            MapError: they are inconsistent; the message names the array.
        """
        _check_offsets('feature_offsets', self.offsets, places, len(self.points))
        count = len(self.points)
        check_array('feature_points', self.points, (count, 2), 'float32')
        check_array('feature_descriptors', self.descriptors, (count, DESCRIPTOR_BYTES[kind]),
                    'uint8')
        check_array('feature_sizes', self.sizes, (places, 2), 'int32')

    def check_values(self) -> None:
        """Check that every feature is inside its image.

        Raises:
            MapError: one is not; the message names its place.
        """
        for place in range(len(self)):
            points = self.points[self.offsets[place]: self.offsets[place + 1]]
            size = self.sizes[place]
            if not ((points >= -0.5) & (points <= size - 0.5)).all():
                raise MapError(f'feature_points of place {place} are outside its image of '
                               f'{size[0]}x{size[1]} pixels')


@dataclass(frozen=True, eq=False)
class KeyframeImages:
    """A small picture of every place of a map, as JPEG.

    Attributes:
        offsets: int64 ``[N + 1]``; place i has bytes ``offsets[i]`` to ``offsets[i + 1]``.
        data: uint8 ``[M]``.
    """

    offsets: np.ndarray
    data: np.ndarray

    @classmethod
    def collect(cls, jpegs: Sequence[bytes]) -> 'KeyframeImages':
        """Combine the pictures of all places."""
        return cls(_offsets([len(jpeg) for jpeg in jpegs]),
                   np.frombuffer(b''.join(jpegs), np.uint8))

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.offsets) - 1

    def jpeg(self, place: int) -> bytes:
        """Return the picture of a place as the bytes of a JPEG file."""
        return self.data[int(self.offsets[place]): int(self.offsets[place + 1])].tobytes()

    def read(self, place: int) -> np.ndarray:
        """Return the picture of a place, RGB uint8 ``[H, W, 3]``.

        Raises:
            MapError: it is damaged.
        """
        try:
            return image_from_compressed(self.jpeg(place), 'jpeg')
        except InputError as error:
            raise MapError(f'the image of place {place}: {error}') from error

    def joined(self, other: 'KeyframeImages') -> 'KeyframeImages':
        """Return the pictures of these places and of others that follow."""
        return KeyframeImages(_join_offsets(self.offsets, other.offsets),
                              np.concatenate([self.data, other.data]))

    def of_places(self, places: np.ndarray) -> 'KeyframeImages':
        """Return the pictures of some places, int ``[K]``."""
        offsets, rows = _select(self.offsets, places)
        return KeyframeImages(offsets, self.data[rows])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by the names of their files."""
        return {'image_offsets': self.offsets, 'image_data': self.data}

    @classmethod
    def of_arrays(cls, arrays: dict[str, np.ndarray]) -> 'KeyframeImages':
        """Create them from the result of `arrays`."""
        return cls(arrays['image_offsets'], arrays['image_data'])

    def check(self, places: int) -> None:
        """Check shapes, types and offsets.

        Raises:
            MapError: they are inconsistent; the message names the array.
        """
        _check_offsets('image_offsets', self.offsets, places, len(self.data))
        check_array('image_data', self.data, (len(self.data),), 'uint8')

    def check_values(self) -> None:
        """Check that every picture can be decoded.

        Raises:
            MapError: one cannot; the message names its place.
        """
        for place in range(len(self)):
            self.read(place)


def make_thumbnail(image: np.ndarray) -> bytes:
    """Return an RGB uint8 ``[H, W, 3]`` image as a JPEG file no wider than `THUMBNAIL_WIDTH`."""
    height, width = image.shape[:2]
    if width > THUMBNAIL_WIDTH:
        size = (THUMBNAIL_WIDTH, max(1, round(height * THUMBNAIL_WIDTH / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                              [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise InputError(f'an image of {width}x{height} pixels cannot be written as JPEG')
    return data.tobytes()


def _offsets(counts: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


def _select(offsets: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the offsets of some places when they are put together, and the rows they have."""
    counts = np.diff(offsets)[places]
    selected = _offsets(counts.tolist())
    rows = np.repeat(offsets[places] - selected[:-1], counts) + np.arange(selected[-1])
    return selected, rows


def _join_offsets(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.concatenate([first, first[-1] + second[1:]])


def _check_offsets(name: str, offsets: np.ndarray, places: int, total: int) -> None:
    check_array(name, offsets, (places + 1,), 'int64')
    if offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) < 0).any():
        raise MapError(f'{name} runs from {offsets[0]} to {offsets[-1]}, expected ascending '
                       f'offsets from 0 to {total}')
