"""Raw image messages to RGB, by ``cv_bridge`` where a ROS installation brings it."""

from functools import cache
from typing import Any

import numpy as np
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from sensor_msgs.msg import Image

from seqnet_ros.core.images import check_raw, image_from_raw

BYTES_PER_PIXEL = {
    'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1,
    'bayer_rggb8': 1, 'bayer_bggr8': 1, 'bayer_gbrg8': 1, 'bayer_grbg8': 1,
    'yuv422': 2, 'yuv422_yuy2': 2,
}
"""Encodings that ``cv_bridge`` converts as `image_from_raw` does. It scales 16 bits otherwise,
refuses 8UC1, 8UC3 and 16UC1 as being no color, and does not know uyvy and yuyv."""


def image_from_message(message: Image, max_pixels: int | None = None) -> np.ndarray:
    """Return an image message as RGB uint8 ``[H, W, 3]``.

    Raises:
        InputError: the message is not a camera image, or is inconsistent.
    """
    return convert(message, ros_cv_bridge(), max_pixels)


def convert(message: Image, bridge: Any, max_pixels: int | None = None) -> np.ndarray:
    """Return an image message as RGB uint8 ``[H, W, 3]``.

    Args:
        message: the image.
        bridge: a ``CvBridge``, used for the encodings in `BYTES_PER_PIXEL`; None for no other
            converter than `image_from_raw`.
        max_pixels: the limit of its size; None uses `core.images.pixel_limit`.

    Raises:
        InputError: the message is not a camera image, or is inconsistent.
    """
    fields = (message.data, message.height, message.width, message.encoding, message.step)
    if bridge is None or not _suits_cv_bridge(message):
        return image_from_raw(*fields, bool(message.is_bigendian), max_pixels)
    check_raw(*fields, max_pixels)
    return bridge.imgmsg_to_cv2(message, 'rgb8')


def _suits_cv_bridge(message: Image) -> bool:
    """Tell whether ``cv_bridge`` reads a message correctly.

    It takes rows for whole pixels, and its swapping of bytes fails with NumPy 2.
    """
    pixel = BYTES_PER_PIXEL.get(message.encoding)
    return pixel is not None and message.step % pixel == 0 and not message.is_bigendian


@cache
def ros_cv_bridge() -> Any:
    """Return a ``CvBridge`` of ROS 2; None where it is absent, or built for another NumPy.

    A package of that name from PyPI is ROS 1's, which knows no padded rows: the ament index does
    not list it.
    """
    try:
        get_package_prefix('cv_bridge')
        from cv_bridge import CvBridge

        bridge = CvBridge()
        bridge.encoding_to_dtype_with_channels('rgb8')  # needs the compiled half
    except (PackageNotFoundError, ImportError):
        return None
    return bridge
