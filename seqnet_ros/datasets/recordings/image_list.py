"""Images in memory, or named one by one, as a recording."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from seqnet_ros.core.any_image import AnyImage, as_rgb
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import check_pose, make_pose
from seqnet_ros.datasets.recordings.frames import Frame
from seqnet_ros.datasets.recordings.image_folder import DEFAULT_RATE_HZ

_SECOND_NS = 1_000_000_000


class ImageListSource:
    """A `FrameSource` of images of any kind.

    Args:
        images: see `seqnet_ros.core.any_image.as_rgb`.
        poses: floating-point ``[N, 7]``, or positions ``[N, 2]`` or ``[N, 3]``, meters; None where
            they are not known.
        stamps_ns: integer ``[N]``, ascending; None for ten images a second.

    Raises:
        InputError: there is no image, or the numbers of images, poses and stamps differ.
    """

    def __init__(self, images: Sequence[AnyImage], poses: np.ndarray | None = None,
                 stamps_ns: Sequence[int] | None = None) -> None:
        if not len(images):
            raise InputError('there is no image, expected at least one')
        self.name = f'{len(images)} images'
        self.pose_origin = 'none' if poses is None else 'given'
        self.problems: list[str] = []
        self.timed = stamps_ns is not None
        self._images = images
        self._poses = None if poses is None else _poses(np.asarray(poses, np.float64), len(images))
        self._stamps = [round(index * _SECOND_NS / DEFAULT_RATE_HZ)
                        for index in range(len(images))]
        if stamps_ns is not None:
            self._stamps = [int(stamp) for stamp in stamps_ns]
            if len(self._stamps) != len(images) or (np.diff(self._stamps) < 0).any():
                raise InputError(f'found {len(self._stamps)} stamps for {len(images)} images, '
                                 'expected one for each, ascending')

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images in their order."""
        for index, stamp in enumerate(self._stamps):
            pose = None if self._poses is None else self._poses[index]
            yield Frame(index, stamp, partial(self._read, index), pose, f'image {index}')

    def _read(self, index: int) -> np.ndarray:
        return as_rgb(self._images[index])


def _poses(poses: np.ndarray, count: int) -> np.ndarray:
    if poses.ndim != 2 or len(poses) != count or poses.shape[1] not in (2, 3, 7):
        raise InputError(f'found poses {list(poses.shape)} for {count} images, expected '
                         f'[{count}, 7], or positions [{count}, 2] or [{count}, 3]')
    if poses.shape[1] == 7:
        return np.stack([check_pose(pose) for pose in poses])
    full = np.tile(make_pose(0.0, 0.0), (count, 1))
    full[:, :poses.shape[1]] = poses
    return np.stack([check_pose(pose) for pose in full])
