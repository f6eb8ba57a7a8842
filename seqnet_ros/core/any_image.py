"""Images as Python programs hold them: files, Pillow images, arrays and tensors, color or gray."""

from os import PathLike
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image

AnyImage = Any
"""A path, a Pillow image, an array ``[H, W]`` or ``[H, W, C]``, or a tensor ``[H, W]`` or
``[C, H, W]``."""

_CHANNELS = (1, 3, 4)
_EXPECTED = ('expected a path, a Pillow image, an array [H, W] or [H, W, C], or a tensor [H, W] or '
             '[C, H, W], with 1, 3 or 4 channels')


def as_rgb(image: AnyImage) -> np.ndarray:
    """Return an image of any kind as the package takes it.

    Gray images get three equal channels, alpha is dropped, 16 bit keeps the high byte, and
    floating-point numbers are from 0 to 1. The EXIF orientation of files and Pillow images is
    applied.

    Args:
        image: see `AnyImage`; the channels of arrays and tensors are RGB.

    Returns:
        RGB uint8 ``[H, W, 3]``.

    Raises:
        InputError: it is of another type, damaged, or has values outside the range of an image.
    """
    if isinstance(image, (str, PathLike)):
        return read_image(image)
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if is_tensor(image):
        return _of_array(_channels_last(image.detach().cpu().numpy()))
    if isinstance(image, np.ndarray):
        return _of_array(image)
    raise InputError(f'found an image of type {type(image).__name__}, {_EXPECTED}')


def is_tensor(value: object) -> bool:
    """Return whether a value is a tensor of torch, which is not imported for it."""
    return type(value).__module__.partition('.')[0] == 'torch' and hasattr(value, 'detach')


def _of_pillow(image: Image.Image) -> np.ndarray:
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith(('I', 'F')):
            pixels = np.asarray(upright)
            return _of_array(pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels)
        return np.asarray(upright.convert('RGB'))
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f'a Pillow image cannot be read: {error}') from error


def _channels_last(array: np.ndarray) -> np.ndarray:
    return array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] in _CHANNELS else array


def _of_array(array: np.ndarray) -> np.ndarray:
    if (array.ndim not in (2, 3) or 0 in array.shape
            or (array.ndim == 3 and array.shape[2] not in _CHANNELS)):
        raise InputError(f'found an image of shape {list(array.shape)}, {_EXPECTED}')
    pixels = _to_bytes(array)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(pixels[..., :3])


def _to_bytes(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype.kind == 'f':
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            raise InputError(f'found an image of {array.dtype} from {low:g} to {high:g}, expected '
                             '0 to 1: the model normalizes images itself')
        return np.rint(array * 255).astype(np.uint8)
    raise InputError(f'found an image of {array.dtype}, expected uint8, uint16, or floating-point '
                     'numbers from 0 to 1')
