"""Raw image messages: `cv_bridge` and the converter of this package give the same pixels."""

from array import array
from typing import Any

import numpy as np
import pytest

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import RAW_ENCODINGS

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytestmark = pytest.mark.requires_ros

HEIGHT, WIDTH = 6, 8


@pytest.fixture
def bridge() -> Any:
    """The installed cv_bridge: that of ROS 2, or the one from PyPI, whose API is the same."""
    package = pytest.importorskip('cv_bridge', reason='cv_bridge is not installed')
    return package.CvBridge()


def image_message(encoding: str, padding: int = 0, is_bigendian: bool = False) -> Any:
    """Return random pixels as a message whose rows end with unused bytes."""
    from sensor_msgs.msg import Image

    channels = {'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1, '8UC1': 1}
    pixel = 1 if encoding.startswith('bayer') else channels.get(encoding, 2)
    step = WIDTH * pixel + padding
    pixels = np.random.default_rng(3).integers(0, 256, HEIGHT * step, dtype=np.uint8)
    return Image(height=HEIGHT, width=WIDTH, encoding=encoding, step=step,
                 is_bigendian=int(is_bigendian), data=array('B', pixels.tobytes()))


def compare(message: Any, bridge: Any) -> None:
    """Assert that a message gives the same pixels with a bridge and without."""
    from seqnet_ros.nodes.raw_images import convert

    image = convert(message, bridge)
    assert (image.shape, image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    np.testing.assert_array_equal(image, convert(message, None))


@pytest.mark.parametrize('encoding', RAW_ENCODINGS)
def test_both_ways_give_the_same_pixels(encoding, bridge):
    from seqnet_ros.nodes.raw_images import ros_cv_bridge

    if ros_cv_bridge() is None and encoding in ('bayer_grbg8', 'yuv422', 'yuv422_yuy2'):
        pytest.skip("PyPI's cv_bridge does not convert it")
    compare(image_message(encoding), bridge)


@pytest.mark.parametrize('encoding', RAW_ENCODINGS)
@pytest.mark.parametrize('padding', [1, 12])
def test_rows_may_be_padded(encoding, padding):
    """Only whole pixels of padding go to ROS 2's cv_bridge; PyPI's ignores the step."""
    from seqnet_ros.nodes.raw_images import ros_cv_bridge

    if ros_cv_bridge() is None:
        pytest.skip("ROS 2's cv_bridge is not installed")
    compare(image_message(encoding, padding), ros_cv_bridge())


@pytest.mark.parametrize('encoding', ['rgb8', 'mono8', 'mono16'])
def test_big_endian_images_are_read(encoding, bridge):
    compare(image_message(encoding, is_bigendian=True), bridge)


@pytest.mark.parametrize(('change', 'words'), [
    ({'height': 0}, 'no pixels'), ({'step': 23}, 'rows of 23 bytes, expected at least 24'),
    ({'encoding': 'rgb9'}, "'rgb9' is unknown"), ({'encoding': '32FC1'}, 'holds depth'),
    ({'data': array('B', bytes(9))}, 'holds 9 bytes, expected 6 rows of 24')])
def test_the_same_is_refused(change, words, bridge):
    from seqnet_ros.nodes.raw_images import convert

    message = image_message('rgb8')
    for name, value in change.items():
        setattr(message, name, value)
    for converter in (bridge, None):
        with pytest.raises(InputError, match=words):
            convert(message, converter)


def test_every_encoding_left_to_cv_bridge_has_its_size():
    from seqnet_ros.nodes.raw_images import BYTES_PER_PIXEL

    assert set(BYTES_PER_PIXEL) <= set(RAW_ENCODINGS)
    for encoding, pixel in BYTES_PER_PIXEL.items():
        assert image_message(encoding).step == WIDTH * pixel


def test_only_what_the_ament_index_lists_is_used():
    from ament_index_python.packages import get_packages_with_prefixes

    from seqnet_ros.nodes.raw_images import ros_cv_bridge

    if 'cv_bridge' in get_packages_with_prefixes():
        assert type(ros_cv_bridge()).__name__ == 'CvBridge'
    else:
        assert ros_cv_bridge() is None
