"""Pixels of any camera or file as RGB uint8 ``[H, W, 3]``.

Without ROS: the nodes use ``cv_bridge`` where a ROS installation brings it, with the same result.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from seqnet_ros.core.errors import InputError


class _Layout(NamedTuple):
    """Memory layout of one pixel of a raw image."""

    channels: int
    bytes_per_channel: int
    to_rgb: int | None
    """OpenCV conversion code, or None if the pixels are already RGB."""


_LAYOUTS = {
    'rgb8': _Layout(3, 1, None),
    'bgr8': _Layout(3, 1, cv2.COLOR_BGR2RGB),
    'rgba8': _Layout(4, 1, cv2.COLOR_RGBA2RGB),
    'bgra8': _Layout(4, 1, cv2.COLOR_BGRA2RGB),
    'mono8': _Layout(1, 1, cv2.COLOR_GRAY2RGB),
    'mono16': _Layout(1, 2, cv2.COLOR_GRAY2RGB),
    # OpenCV's own names say nothing about color; its convention is blue first.
    '8UC1': _Layout(1, 1, cv2.COLOR_GRAY2RGB),
    '8UC3': _Layout(3, 1, cv2.COLOR_BGR2RGB),
    '16UC1': _Layout(1, 2, cv2.COLOR_GRAY2RGB),
    # OpenCV names a mosaic by the second and third pixel of its second row.
    'bayer_rggb8': _Layout(1, 1, cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': _Layout(1, 1, cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': _Layout(1, 1, cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': _Layout(1, 1, cv2.COLOR_BayerGB2RGB),
    # One pixel of 4:2:2 takes two bytes; two neighbors share their color.
    'yuv422': _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
    'yuyv': _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
}
_SUBSAMPLED = ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv')
_DEPTH = ('32FC1', '64FC1')

RAW_ENCODINGS = tuple(_LAYOUTS)
"""The values of ``sensor_msgs/Image.encoding`` that `image_from_raw` converts."""


View = np.ndarray | Sequence[np.ndarray]
"""Images of the robot at one time: one image, or one per camera."""


def first_image(view: View) -> np.ndarray:
    """Return the image of the first camera."""
    return view if isinstance(view, np.ndarray) else view[0]


def image_from_raw(data: Any, height: int, width: int, encoding: str, step: int,
                   is_bigendian: bool = False) -> np.ndarray:
    """Convert the fields of a ``sensor_msgs/Image`` message.

    16 bit images keep their high byte (value // 256), so full scale stays full scale; a camera
    that fills only the lower 12 of 16 bits comes out dark.

    Args:
        data: the message's bytes, any contiguous buffer.
        height: rows.
        width: pixels per row.
        encoding: one of `RAW_ENCODINGS`.
        step: bytes from one row to the next; rows may be padded to any length.
        is_bigendian: byte order of 16 bit images.

    Returns:
        RGB uint8 ``[H, W, 3]``. For ``rgb8`` this is a view of ``data``, strided where the rows
        are padded and read-only where ``data`` is.

    Raises:
        InputError: the encoding is unknown or not an image, the size is zero, or ``data`` or
            ``step`` is too small for the size.
    """
    check_raw(data, height, width, encoding, step)
    layout = _LAYOUTS[encoding]
    pixels = _view_pixels(data, height, width, layout, step, is_bigendian)
    return pixels if layout.to_rgb is None else cv2.cvtColor(pixels, layout.to_rgb)


def check_raw(data: Any, height: int, width: int, encoding: str, step: int) -> None:
    """Check the fields of a ``sensor_msgs/Image`` message; the arguments of `image_from_raw`.

    Raises:
        InputError: see `image_from_raw`.
    """
    layout = _layout_of(encoding)
    row_bytes = width * layout.channels * layout.bytes_per_channel
    size = f'image of {width}x{height} pixels in {encoding}'
    if height < 1 or width < 1:
        raise InputError(f'{size} has no pixels, expected at least one row and one column')
    if step < row_bytes:
        raise InputError(f'{size} has rows of {step} bytes, expected at least {row_bytes}')
    if encoding in _SUBSAMPLED and width % 2:
        raise InputError(f'{size} has an odd width, expected an even one for 4:2:2 color')
    found = memoryview(data).nbytes
    if found < height * step:
        raise InputError(f'{size} holds {found} bytes, expected {height} rows of {step}')


def _layout_of(encoding: str) -> _Layout:
    if encoding in _DEPTH:
        raise InputError(f'image encoding {encoding!r} holds depth, expected a camera image')
    if encoding not in _LAYOUTS:
        raise InputError(
            f'image encoding {encoding!r} is unknown, expected one of {", ".join(_LAYOUTS)}')
    return _LAYOUTS[encoding]


def _view_pixels(data: Any, height: int, width: int, layout: _Layout, step: int,
                 is_bigendian: bool) -> np.ndarray:
    """Return 8 bit pixels ``[H, W]`` or ``[H, W, C]`` as a view; 16 bit shows its high byte."""
    depth = layout.bytes_per_channel
    pixel_bytes = layout.channels * depth
    view: np.ndarray = np.ndarray(
        (height, width, layout.channels), np.uint8, buffer=data,
        offset=depth - 1 if not is_bigendian else 0, strides=(step, pixel_bytes, depth))
    return view[..., 0] if layout.channels == 1 else view


def image_from_compressed(data: Any, image_format: str) -> np.ndarray:
    """Decode the fields of a ``sensor_msgs/CompressedImage`` message.

    The bytes decide between JPEG, PNG and whatever else OpenCV reads; the format's name only
    tells depth images apart.

    Args:
        data: the message's bytes.
        image_format: the message's ``format``, e.g. ``jpeg`` or ``bgr8; png compressed bgr8``.

    Returns:
        RGB uint8 ``[H, W, 3]``.

    Raises:
        InputError: the image is a compressed depth image, empty, damaged or of another format.
    """
    if 'compressedDepth' in image_format:
        raise InputError(
            f'compressed image format {image_format!r} holds depth, expected a camera image')
    return _decode(data, f'compressed image of format {image_format!r}')


def read_image(path: str | PathLike[str]) -> np.ndarray:
    """Read an image file.

    Gray images get three equal channels, alpha is dropped, 16 bit keeps the high byte. An EXIF
    orientation is applied, as image viewers do, so that the sky is up whichever way a phone was
    held.

    Returns:
        RGB uint8 ``[H, W, 3]``.

    Raises:
        InputError: the file is missing, empty, damaged or not an image; the message names it.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f'image {path} cannot be read: {error.strerror or error}') from error
    return _decode(data, f'image {path}')


def _decode(data: Any, what: str) -> np.ndarray:
    buffer = np.frombuffer(data, np.uint8)
    if not buffer.size:
        raise InputError(f'{what} is empty, expected JPEG or PNG data')
    if _is_cut_jpeg(bytes(buffer[:2]), data):
        raise InputError(f'{what} is truncated: the end marker of its JPEG data is missing')
    try:
        pixels = cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f'{what} cannot be decoded: {error.err}') from error
    if pixels is None:
        raise InputError(
            f'{what} is damaged or of no known format ({buffer.size} bytes), '
            'expected JPEG or PNG data')
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _is_cut_jpeg(magic: bytes, data: Any) -> bool:
    """Tell whether JPEG data ends early; OpenCV before 4.12 fills the missing part with gray."""
    if magic != b'\xff\xd8':
        return False
    content = data if isinstance(data, bytes) else bytes(data)
    return content.rfind(b'\xff\xd9') < content.rfind(b'\xff\xda')
