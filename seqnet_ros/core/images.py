"""Pixels of any camera or file as RGB uint8 ``[H, W, 3]``, of a limited size.

Without ROS: the nodes use ``cv_bridge`` where a ROS installation brings it, with the same result.
"""

import math
import os
import re
from collections.abc import Sequence
from os import PathLike
from typing import Any, NamedTuple

import cv2
import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import read_limited
from seqnet_ros.core.image_header import FORMATS, ImageHeader, read_header

MAX_MEGAPIXELS = 'SEQNET_ROS_MAX_MEGAPIXELS'
"""Environment variable: size of the largest image that is decoded, in millions of pixels."""
DEFAULT_MEGAPIXELS = 64.0
_BYTES_PER_PIXEL = 8
"""Of a file, at most: raw pixels of four 16 bit channels."""
_ENCODED_MARGIN = 1 << 20
_SHOWN = 60
"""Characters of a text of unknown origin that an error quotes."""


class _Layout(NamedTuple):
    """Memory layout of one pixel of a raw image."""

    channels: int
    bytes_per_channel: int
    to_rgb: int | None
    """OpenCV conversion code, or None if the pixels are already RGB."""


# OpenCV names a mosaic by the second and third pixel of its second row.
_MOSAICS = {'rggb': cv2.COLOR_BayerBG2RGB, 'bggr': cv2.COLOR_BayerRG2RGB,
            'gbrg': cv2.COLOR_BayerGR2RGB, 'grbg': cv2.COLOR_BayerGB2RGB}
_LAYOUTS = {
    'rgb8': _Layout(3, 1, None),
    'bgr8': _Layout(3, 1, cv2.COLOR_BGR2RGB),
    'rgba8': _Layout(4, 1, cv2.COLOR_RGBA2RGB),
    'bgra8': _Layout(4, 1, cv2.COLOR_BGRA2RGB),
    'mono8': _Layout(1, 1, cv2.COLOR_GRAY2RGB),
    'rgb16': _Layout(3, 2, None),
    'bgr16': _Layout(3, 2, cv2.COLOR_BGR2RGB),
    'rgba16': _Layout(4, 2, cv2.COLOR_RGBA2RGB),
    'bgra16': _Layout(4, 2, cv2.COLOR_BGRA2RGB),
    'mono16': _Layout(1, 2, cv2.COLOR_GRAY2RGB),
    # OpenCV's own names say nothing about color; its convention is blue first.
    '8UC1': _Layout(1, 1, cv2.COLOR_GRAY2RGB),
    '8UC3': _Layout(3, 1, cv2.COLOR_BGR2RGB),
    '8UC4': _Layout(4, 1, cv2.COLOR_BGRA2RGB),
    '16UC1': _Layout(1, 2, cv2.COLOR_GRAY2RGB),
    '16UC3': _Layout(3, 2, cv2.COLOR_BGR2RGB),
    '16UC4': _Layout(4, 2, cv2.COLOR_BGRA2RGB),
    **{f'bayer_{name}8': _Layout(1, 1, code) for name, code in _MOSAICS.items()},
    **{f'bayer_{name}16': _Layout(1, 2, code) for name, code in _MOSAICS.items()},
    # One pixel of 4:2:2 takes two bytes; two neighbors share their color.
    'yuv422': _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
    'yuyv': _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
    # The rows of brightness, then half as many rows with the color of two by two pixels.
    'nv12': _Layout(1, 1, cv2.COLOR_YUV2RGB_NV12),
    'nv21': _Layout(1, 1, cv2.COLOR_YUV2RGB_NV21),
}
_SUBSAMPLED = ('yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv')
_TWO_PLANES = ('nv12', 'nv21')
_DEPTH = ('32FC1', '64FC1')
_NARROW = 16384
"""Values of 16 bits that span less than this quarter of the range are stretched."""
_OUTLIERS = 0.5
"""Percentage of values at either end that a stretch saturates."""
_SAMPLED = 200_000

RAW_ENCODINGS = tuple(_LAYOUTS)
"""The values of ``sensor_msgs/Image.encoding`` that `image_from_raw` converts."""


View = np.ndarray | Sequence[np.ndarray]
"""Images of the robot at one time: one image, or one per camera."""


def pixel_limit(megapixels: float | None = None) -> int:
    """Return the number of pixels of the largest image that may be decoded.

    Args:
        megapixels: the limit; None takes it from `MAX_MEGAPIXELS`, or is `DEFAULT_MEGAPIXELS`.

    Raises:
        InputError: the environment variable is no positive number.
    """
    if megapixels is None:
        text = os.environ.get(MAX_MEGAPIXELS) or str(DEFAULT_MEGAPIXELS)
        try:
            megapixels = float(text)
        except ValueError:
            megapixels = math.nan
        if not 0 < megapixels < math.inf:
            raise InputError(f'{MAX_MEGAPIXELS} is {text!r}, expected a positive number')
    return round(megapixels * 1e6)


def check_size(width: int, height: int, what: str, max_pixels: int | None = None,
               work: int = 0) -> None:
    """Refuse an image that is too large to be decoded.

    Args:
        width: columns.
        height: rows.
        what: what to call it in an error.
        max_pixels: the limit; None uses `pixel_limit`.
        work: pixels that decoding it costs, if more than it has.

    Raises:
        InputError: it has more pixels than the limit.
    """
    limit = pixel_limit() if max_pixels is None else max_pixels
    if max(width * height, work) > limit:
        passes = '' if width * height > limit else (
            ', stored in too many passes, too large tiles or 32 bits')
        raise InputError(
            f'{what} has {width}x{height} pixels{passes}, expected at most {limit / 1e6:g} '
            f'megapixels; the parameter max_image_megapixels or {MAX_MEGAPIXELS} sets this limit')


def first_image(view: View) -> np.ndarray:
    """Return the image of the first camera."""
    return view if isinstance(view, np.ndarray) else view[0]


def image_from_raw(data: Any, height: int, width: int, encoding: str, step: int,
                   is_bigendian: bool = False, max_pixels: int | None = None) -> np.ndarray:
    """Convert the fields of a ``sensor_msgs/Image`` message.

    Of 16 bits each value becomes 8 by `to_eight_bits`.

    Args:
        data: the message's bytes, any contiguous buffer.
        height: rows.
        width: pixels per row.
        encoding: one of `RAW_ENCODINGS`.
        step: bytes from one row to the next; rows may be padded to any length.
        is_bigendian: byte order of 16 bit images.
        max_pixels: the limit of its size; None uses `pixel_limit`.

    Returns:
        RGB uint8 ``[H, W, 3]``. For ``rgb8`` this is a view of ``data``, strided where the rows
        are padded and read-only where ``data`` is.

    Raises:
        InputError: the encoding is unknown or not an image, the size is zero or above the limit,
            or ``data`` or ``step`` is too small for the size.
    """
    check_raw(data, height, width, encoding, step, max_pixels)
    layout = _LAYOUTS[encoding]
    rows = _stored_rows(height, encoding)
    pixels = _view_pixels(data, rows, width, layout, step, is_bigendian)
    if layout.bytes_per_channel == 2:
        pixels = to_eight_bits(pixels)
    return pixels if layout.to_rgb is None else cv2.cvtColor(pixels, layout.to_rgb)


def check_raw(data: Any, height: int, width: int, encoding: str, step: int,
              max_pixels: int | None = None) -> None:
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
    if encoding in _TWO_PLANES and (width % 2 or height % 2):
        raise InputError(f'{size} has an odd size, expected an even one for 4:2:0 color')
    found = memoryview(data).nbytes
    rows = _stored_rows(height, encoding)
    if found < rows * step:
        raise InputError(f'{size} holds {found} bytes, expected {rows} rows of {step}')
    check_size(width, height, f'image in {encoding}', max_pixels)


def _stored_rows(height: int, encoding: str) -> int:
    """Return the rows of a raw image, including the color rows of 4:2:0 encodings."""
    return height * 3 // 2 if encoding in _TWO_PLANES else height


def _layout_of(encoding: str) -> _Layout:
    if encoding in _DEPTH:
        raise InputError(f'image encoding {encoding!r} holds depth, expected a camera image')
    if encoding not in _LAYOUTS:
        raise InputError(
            f'image encoding {encoding[:_SHOWN]!r} is unknown, expected one of '
            f'{", ".join(_LAYOUTS)}')
    return _LAYOUTS[encoding]


def _view_pixels(data: Any, height: int, width: int, layout: _Layout, step: int,
                 is_bigendian: bool) -> np.ndarray:
    """Return pixels ``[H, W]`` or ``[H, W, C]`` as a view, of 8 or 16 bits."""
    depth = layout.bytes_per_channel
    kind = np.dtype(np.uint8) if depth == 1 else np.dtype('>u2' if is_bigendian else '<u2')
    view: np.ndarray = np.ndarray(
        (height, width, layout.channels), kind, buffer=data,
        strides=(step, layout.channels * depth, depth))
    return view[..., 0] if layout.channels == 1 else view


def to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale pixels of more than 8 bits to uint8.

    - Of 16 bits the high byte (value // 256), where an image spans a quarter of the range or more.
    - Otherwise a stretch of this image: its 0.5th percentile becomes 0, its 99.5th 255. So images
      of cameras with 14 bits and less, and of thermal cameras, always fill the range.
    - Floats from 0 to 1 times 255; any other floats are stretched. What is no number becomes 0.

    Args:
        values: uint16 or float, ``[H, W]`` or ``[H, W, C]``; all channels are scaled alike.
    """
    sample = values.reshape(-1)[::max(values.size // _SAMPLED, 1)]
    is_float = values.dtype.kind == 'f'
    if is_float:
        sample = sample[np.isfinite(sample)]
    if not sample.size:
        return np.zeros(values.shape, np.uint8)
    low, high = (float(limit) for limit in np.percentile(sample, (_OUTLIERS, 100 - _OUTLIERS)))
    if is_float and sample.min() >= 0 and sample.max() <= 1:
        low, high = 0.0, 1.0
    elif not is_float and (high - low >= _NARROW or high <= low):
        return (values >> 8).astype(np.uint8)
    scale = 255 / (high - low) if high > low else 0.0
    scaled = values.astype(np.float32)  # the only copy: images may be large
    scaled -= np.float32(low)
    scaled *= np.float32(scale)
    np.nan_to_num(np.rint(scaled, out=scaled), copy=False)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def image_from_compressed(data: Any, image_format: str,
                          max_pixels: int | None = None) -> np.ndarray:
    """Decode the fields of a ``sensor_msgs/CompressedImage`` message.

    The bytes decide between the formats of `image_header.FORMATS`; the format's name only tells
    depth images apart, and the mosaics that cameras with a Bayer filter compress.

    Args:
        data: the message's bytes.
        image_format: the message's ``format``, e.g. ``jpeg`` or ``bgr8; png compressed bgr8``.
        max_pixels: the limit of its size; None uses `pixel_limit`.

    Returns:
        RGB uint8 ``[H, W, 3]``.

    Raises:
        InputError: the image is a compressed depth image, empty, damaged, too large or of another
            format.
    """
    if 'compressedDepth' in image_format:
        raise InputError(f'compressed image format {image_format[:_SHOWN]!r} holds depth, expected '
                         'a camera image')
    return _decode_rgb(data, f'compressed image of format {image_format[:_SHOWN]!r}',
                       _mosaic_of(image_format), max_pixels)


def _mosaic_of(image_format: str) -> int | None:
    """Return the conversion of a mosaic that was compressed as it is; None for other images.

    image_transport writes ``SOURCE; CODEC compressed TARGET``, without a target where it did not
    convert the image.
    """
    match = re.match(r'bayer_([rgb]{4})(8|16)\b', image_format)
    target = image_format.partition('compressed')[2].strip()
    if match is None or (target and not target.startswith('bayer')):
        return None
    return _MOSAICS.get(match[1])


def read_image(path: str | PathLike[str]) -> np.ndarray:
    """Read an image file.

    Gray images get three equal channels, alpha is dropped, 16 bits and floats are scaled by
    `to_eight_bits`. An EXIF orientation is applied, as image viewers do, so that the sky is up
    whichever way a phone was held.

    Returns:
        RGB uint8 ``[H, W, 3]``.

    Raises:
        InputError: the file is missing, empty, damaged, too large or not an image; the message
            names it.
    """
    return _decode_rgb(read_encoded(path), f'image {path}')


def read_encoded(path: str | PathLike[str]) -> bytes:
    """Read the bytes of an image file; `decode` decodes them.

    Raises:
        InputError: the file cannot be read, or is larger than any image within `pixel_limit`.
    """
    most = pixel_limit() * _BYTES_PER_PIXEL + _ENCODED_MARGIN
    return read_limited(path, most, 'image')


def decode(data: Any, what: str, flags: int = cv2.IMREAD_COLOR,
           max_pixels: int | None = None) -> np.ndarray:
    """Decode an image whose header states an acceptable size.

    Args:
        data: the encoded image.
        what: what to call it in an error.
        flags: of ``cv2.imdecode``.
        max_pixels: the limit of its size; None uses `pixel_limit`.

    Returns:
        As ``cv2.imdecode``: BGR uint8 ``[H, W, 3]`` unless ``flags`` say otherwise.

    Raises:
        InputError: it is empty, damaged, too large or of no known format.
    """
    return _decode(data, _checked_header(data, what, max_pixels), what, flags)


def _checked_header(data: Any, what: str, max_pixels: int | None) -> ImageHeader:
    """Read the header of an encoded image, and refuse what is not to be decoded."""
    content = np.frombuffer(data, np.uint8).data
    if not content.nbytes:
        raise InputError(f'{what} is empty, expected {FORMATS} data')
    header = read_header(content, what)
    check_size(header.width, header.height, what, max_pixels, header.work)
    if header.format == 'JPEG' and _is_cut_jpeg(content):
        raise InputError(f'{what} is truncated: the end marker of its JPEG data is missing')
    return header


def _decode(data: Any, header: ImageHeader, what: str, flags: int) -> np.ndarray:
    buffer = np.frombuffer(data, np.uint8)
    try:
        pixels = cv2.imdecode(buffer, flags)
    except cv2.error as error:
        raise InputError(f'{what} cannot be decoded: {error.err}') from error
    if pixels is None:
        raise InputError(f'{what} is damaged ({buffer.size} bytes of {header.format} data)')
    return pixels


def _decode_rgb(data: Any, what: str, mosaic: int | None = None,
                max_pixels: int | None = None) -> np.ndarray:
    """Decode to RGB uint8; with a conversion of mosaics, an image of one channel is a mosaic."""
    header = _checked_header(data, what, max_pixels)
    if mosaic is not None or header.wide:
        # OpenCV does not convert floats, and hides that a mosaic is gray.
        found = _decode(data, header, what, cv2.IMREAD_UNCHANGED)
        if found.dtype.kind == 'f':
            return _as_rgb(found if found.ndim == 2 else found[..., :3])
        if mosaic is not None and found.ndim == 2:
            return _as_rgb(found, mosaic)
    return _as_rgb(_decode(data, header, what, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH))


def _as_rgb(pixels: np.ndarray, mosaic: int = cv2.COLOR_GRAY2RGB) -> np.ndarray:
    if pixels.dtype != np.uint8:
        pixels = to_eight_bits(pixels)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, mosaic)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _is_cut_jpeg(data: memoryview) -> bool:
    """Tell whether JPEG data ends early; OpenCV before 4.12 fills the missing part with gray."""
    content = bytes(data)
    return content.rfind(b'\xff\xd9') < content.rfind(b'\xff\xda')
