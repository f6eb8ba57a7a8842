"""Requirements on the images of a describer, and guarantees on its vectors."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from seqnet_ros.core.errors import InputError


def check_images(images: Sequence[np.ndarray]) -> None:
    """Refuse anything but a non-empty sequence of RGB uint8 ``[H, W, 3]`` images.

    Raises:
        InputError: the sequence is empty, or an image has another type or shape.
    """
    if len(images) == 0:
        raise InputError('no image to describe: expected at least one')
    for position, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            raise InputError(
                f'image {position} is a {type(image).__name__}, expected a NumPy array')
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(
                f'image {position} is {image.dtype} {list(image.shape)}, '
                'expected RGB uint8 [H, W, 3]')


def resize_antialiased(image: np.ndarray, height: int, width: int,
                       resize: str = 'bilinear') -> np.ndarray:
    """Resize RGB uint8 ``[H, W, 3]`` with the antialiased filter a network is trained with.

    OpenCV has no such filter, and torch's is off by one gray level on some pixels.
    """
    if image.shape[:2] == (height, width):
        return image
    resized = Image.fromarray(image).resize((width, height), Image.Resampling[resize.upper()])
    return np.asarray(resized)
