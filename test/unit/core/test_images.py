"""Images of every encoding come out as the RGB pixels that went in, or are refused in words."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import (
    RAW_ENCODINGS,
    image_from_compressed,
    image_from_raw,
    read_image,
    to_eight_bits,
)

GARDENS = Path(__file__).parents[4] / 'shared/data/gardens_point/day_left'


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def padded(pixels: np.ndarray, padding: int) -> tuple[bytes, int]:
    """Return rows of bytes with rubbish after each, and their step."""
    rows = pixels.reshape(len(pixels), -1).view(np.uint8)
    rubbish = np.full((len(rows), padding), 171, np.uint8)
    return np.concatenate([rows, rubbish], axis=1).tobytes(), rows.shape[1] + padding


@pytest.mark.parametrize('padding', [0, 1, 13])
@pytest.mark.parametrize(('encoding', 'order'), [
    ('rgb8', [0, 1, 2]), ('bgr8', [2, 1, 0]), ('8UC3', [2, 1, 0]),
    ('rgba8', [0, 1, 2, 0]), ('bgra8', [2, 1, 0, 0])])
def test_colour_is_restored_from_padded_rows(rgb, encoding, order, padding):
    data, step = padded(np.ascontiguousarray(rgb[..., order]), padding)
    np.testing.assert_array_equal(image_from_raw(data, 6, 8, encoding, step), rgb)


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_grey_fills_three_channels(rgb, encoding):
    data, step = padded(rgb[..., 0].copy(), 3)
    image = image_from_raw(data, 6, 8, encoding, step)
    np.testing.assert_array_equal(image, np.repeat(rgb[..., :1], 3, axis=2))


@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
@pytest.mark.parametrize('is_bigendian', [False, True])
@pytest.mark.parametrize('padding', [0, 5])
def test_sixteen_bits_keep_the_high_byte(encoding, is_bigendian, padding):
    values = np.random.default_rng(1).integers(0, 65536, (5, 7)).astype(np.uint16)
    data, step = padded(values.astype('>u2' if is_bigendian else '<u2'), padding)
    image = image_from_raw(data, 5, 7, encoding, step, is_bigendian)
    np.testing.assert_array_equal(image[..., 1], values // 256)


@pytest.mark.parametrize(('encoding', 'order'), [
    ('rgb16', [0, 1, 2]), ('bgr16', [2, 1, 0]), ('16UC3', [2, 1, 0]),
    ('rgba16', [0, 1, 2, 0]), ('bgra16', [2, 1, 0, 0]), ('16UC4', [2, 1, 0, 0])])
@pytest.mark.parametrize('is_bigendian', [False, True])
def test_colour_of_sixteen_bits(rgb, encoding, order, is_bigendian):
    values = np.ascontiguousarray(rgb[..., order]).astype('>u2' if is_bigendian else '<u2') * 257
    data, step = padded(values.astype(values.dtype), 5)
    image = image_from_raw(data, 6, 8, encoding, step, is_bigendian)
    np.testing.assert_array_equal(image, rgb)


def test_four_channels_of_opencv_are_blue_first(rgb):
    data, step = padded(np.dstack([rgb[..., ::-1], rgb[..., 0]]), 3)
    np.testing.assert_array_equal(image_from_raw(data, 6, 8, '8UC4', step), rgb)


@pytest.mark.parametrize(('low', 'high'), [(0, 4095), (0, 1023), (0, 16383), (7300, 8100)])
@pytest.mark.parametrize('encoding', ['mono16', '16UC1'])
def test_part_of_sixteen_bits_is_stretched(low, high, encoding):
    """Of 12, 10 and 14 bits, and of a thermal camera."""
    values = np.linspace(low, high, 64 * 80).reshape(64, 80)
    data, step = padded(values.astype('<u2'), 4)
    image = image_from_raw(data, 64, 80, encoding, step)[..., 0].astype(int)
    expected = np.linspace(0, 255, 64 * 80).reshape(64, 80)
    assert np.abs(image - expected).max() <= 3
    assert len(np.unique(image)) == 256


def test_outliers_do_not_spoil_a_stretch():
    values = np.linspace(7300, 8100, 64 * 80).reshape(64, 80).astype(np.uint16)
    values[10, 10:14] = 65535
    assert np.unique(to_eight_bits(values)).size == 256


def test_image_of_one_value_keeps_its_high_byte():
    values = np.full((4, 4), 0x1234, np.uint16)
    np.testing.assert_array_equal(to_eight_bits(values), np.full((4, 4), 0x12))


@pytest.mark.parametrize('encoding', ['nv12', 'nv21'])
@pytest.mark.parametrize('padding', [0, 6])
def test_two_planes_follow_bt601(encoding, padding):
    # Studio range red: Y = 81, U = 90, V = 240.
    colour = [90, 240] if encoding == 'nv12' else [240, 90]
    planes = np.concatenate([np.full((4, 8), 81), np.tile(colour, (2, 4))]).astype(np.uint8)
    data, step = padded(planes, padding)
    image = image_from_raw(data, 4, 8, encoding, step)
    assert image.shape == (4, 8, 3)
    assert np.abs(image.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_mosaic_gives_its_colour_back(pattern, bits):
    colour = {'r': 200, 'g': 90, 'b': 30}
    tile = np.array([colour[name] for name in pattern], np.uint8).reshape(2, 2)
    mosaic = np.tile(tile, (5, 6))
    data, step = padded(mosaic if bits == 8 else mosaic.astype('<u2') * 257, 4)
    image = image_from_raw(data, 10, 12, f'bayer_{pattern}{bits}', step)
    np.testing.assert_array_equal(image, np.broadcast_to([200, 90, 30], (10, 12, 3)))


@pytest.mark.parametrize(('image_format', 'suffix', 'is_mosaic'), [
    ('bayer_rggb8; jpeg compressed ', '.jpg', True), ('bayer_rggb8; png compressed ', '.png', True),
    ('bayer_rggb8; png compressed bayer_rggb8', '.png', True), ('bayer_rggb8', '.png', True),
    ('bayer_rggb8; jpeg compressed mono8', '.jpg', False),
    ('mono8; png compressed ', '.png', False), ('jpeg', '.jpg', False)])
def test_compressed_mosaic(image_format, suffix, is_mosaic):
    mosaic = np.tile(np.array([[200, 90], [90, 30]], np.uint8), (16, 16))
    data = cv2.imencode(suffix, mosaic, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    image = image_from_compressed(data, image_format).astype(int)
    if is_mosaic:
        assert np.abs(image - [200, 90, 30]).max() <= 4
    else:
        assert np.abs(image - mosaic[..., None]).max() <= 4


def test_colour_of_a_bayer_camera_is_no_mosaic(rgb):
    image = image_from_compressed(encode(rgb, '.png'), 'bayer_rggb8; png compressed bgr8')
    np.testing.assert_array_equal(image, rgb)
    deep = np.tile(np.array([[200, 90], [90, 30]], np.uint16), (8, 8)) * 257
    data = cv2.imencode('.png', deep)[1].tobytes()
    image = image_from_compressed(data, 'bayer_rggb16; png compressed ')
    np.testing.assert_array_equal(image, np.broadcast_to([200, 90, 30], (16, 16, 3)))


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('scale', [1.0, 1000.0])
def test_float_tiff(tmp_path, channels, scale):
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    pixels = np.stack([ramp, ramp.T, ramp[::-1]], axis=-1)[..., :channels].squeeze()
    file = tmp_path / 'float.tif'
    assert cv2.imwrite(str(file), (scale * pixels).astype(np.float32))
    image = read_image(file).astype(int)
    expected = 255 * (pixels[..., None] if channels == 1 else pixels[..., ::-1])
    assert np.abs(image - expected).max() <= 3
    pixels[0, 0] = np.nan
    cv2.imwrite(str(file), pixels.astype(np.float32))
    assert read_image(file)[0, 0].max() == 0


@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_a_tiff_of_integers_is_decoded_once_and_equals_a_png(tmp_path, monkeypatch, kind, channels):
    most = np.iinfo(kind).max
    pixels = np.random.default_rng(3).integers(0, most, (24, 32, channels), endpoint=True)
    for name in ('image.tif', 'image.png'):
        assert cv2.imwrite(str(tmp_path / name), pixels.astype(kind).squeeze())
    decoded = []
    imdecode = cv2.imdecode
    monkeypatch.setattr(cv2, 'imdecode', lambda *given: decoded.append(1) or imdecode(*given))
    image = read_image(tmp_path / 'image.tif')
    assert len(decoded) == 1
    np.testing.assert_array_equal(image, read_image(tmp_path / 'image.png'))


def test_twelve_bits_in_a_file_are_stretched(tmp_path):
    values = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    cv2.imwrite(str(tmp_path / 'deep.png'), values)
    assert np.abs(read_image(tmp_path / 'deep.png')[..., 0].astype(int) - values / 16).max() <= 3


@pytest.mark.parametrize(('encoding', 'luma_at'), [
    ('yuv422', 1), ('uyvy', 1), ('yuv422_yuy2', 0), ('yuyv', 0)])
def test_yuv_follows_bt601(encoding, luma_at):
    # Studio range red: Y = 81, U = 90, V = 240.
    pair = [0, 0, 0, 0]
    pair[luma_at], pair[luma_at + 2] = 81, 81
    pair[1 - luma_at], pair[3 - luma_at] = 90, 240
    data, step = padded(np.tile(np.array(pair, np.uint8), (4, 3)), 2)
    image = image_from_raw(data, 4, 6, encoding, step)
    assert np.abs(image.astype(int) - [255, 0, 0]).max() <= 2


def test_rgb_is_not_copied(rgb):
    data, step = padded(rgb, 4)
    buffer = np.frombuffer(data, np.uint8)
    assert np.shares_memory(image_from_raw(buffer, 6, 8, 'rgb8', step), buffer)


def test_every_listed_encoding_converts():
    for encoding in RAW_ENCODINGS:
        image = image_from_raw(bytes(9 * 64), 6, 8, encoding, 64)
        assert (image.shape, image.dtype) == ((6, 8, 3), np.uint8)


@pytest.mark.parametrize(('arguments', 'words'), [
    ((b'', 0, 0, 'rgb8', 0), '0x0 .* no pixels'),
    ((bytes(24), 1, 0, 'rgb8', 24), 'no pixels'),
    ((bytes(47), 2, 8, 'rgb8', 24), '47 bytes, expected 2 rows of 24'),
    ((bytes(99), 2, 8, 'rgb8', 23), 'rows of 23 bytes, expected at least 24'),
    ((bytes(99), 2, 8, 'mono16', 15), 'rows of 15 bytes, expected at least 16'),
    ((bytes(99), 2, 7, 'yuv422', 14), 'odd width'),
    ((bytes(99), 3, 8, 'nv12', 8), 'odd size'),
    ((bytes(16), 2, 8, 'nv21', 8), '16 bytes, expected 3 rows of 8'),
    ((bytes(99), 2, 8, 'rgb9', 24), "'rgb9' is unknown, expected one of rgb8, bgr8"),
    ((bytes(99), 2, 8, '', 24), "'' is unknown"),
    ((bytes(99), 2, 2, '32FC1', 8), "'32FC1' holds depth"),
])
def test_unusable_raw_image_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        image_from_raw(*arguments)


def encode(rgb: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, rgb[..., ::-1])[1].tobytes()


def test_png_message_is_lossless(rgb):
    image = image_from_compressed(np.frombuffer(encode(rgb, '.png'), np.uint8), 'png')
    np.testing.assert_array_equal(image, rgb)


def test_jpeg_message_keeps_colours_in_place():
    red = np.full((16, 16, 3), [220, 30, 10], np.uint8)
    image = image_from_compressed(encode(red, '.jpg'), 'rgb8; jpeg compressed bgr8')
    assert np.abs(image.astype(int) - red).max() <= 4


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('share', [0.3, 0.6, 0.99])
def test_cut_image_is_refused(suffix, share):
    noise = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(noise, suffix)
    with pytest.raises(InputError, match=r'truncated|damaged'):
        image_from_compressed(data[:int(share * len(data))], suffix[1:])


@pytest.mark.parametrize(('data', 'image_format', 'words'), [
    (b'', 'jpeg', 'is empty'),
    (b'\0\0\0\1gB', 'h264', "'h264' is damaged or of no known format"),
    (b'xx', '16UC1; compressedDepth', 'holds depth'),
])
def test_unusable_compressed_image_is_refused(data, image_format, words):
    with pytest.raises(InputError, match=words):
        image_from_compressed(data, image_format)


def test_files_of_all_kinds_are_rgb(tmp_path, rgb):
    cv2.imwrite(str(tmp_path / 'grey.png'), rgb[..., 0])
    cv2.imwrite(str(tmp_path / 'alpha.png'), np.dstack([rgb[..., ::-1], rgb[..., 0]]))
    cv2.imwrite(str(tmp_path / 'deep.png'), rgb[..., ::-1].astype(np.uint16) * 257)
    grey = read_image(tmp_path / 'grey.png')
    np.testing.assert_array_equal(grey, np.repeat(rgb[..., :1], 3, axis=2))
    np.testing.assert_array_equal(read_image(tmp_path / 'alpha.png'), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / 'deep.png'), rgb)


def test_exif_orientation_is_applied(tmp_path):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8] = 255
    data = encode(upright, '.jpg')
    # One directory entry: tag 0x0112 (orientation), type short, count 1, value 6 (turn right).
    tiff = b'II*\0' + struct.pack('<IHHHIHHI', 8, 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b'Exif\0\0' + tiff
    (tmp_path / 'turned.jpg').write_bytes(
        data[:2] + b'\xff\xe1' + struct.pack('>H', len(segment) + 2) + segment + data[2:])
    image = read_image(tmp_path / 'turned.jpg')
    assert image.shape == (32, 16, 3)
    assert image[:, :6].max() < 10
    assert image[:, 10:].min() > 245


@pytest.mark.parametrize(('content', 'words'), [
    (None, 'No such file'), (b'', 'is empty'), (b'not an image', 'damaged or of no known format')])
def test_unusable_file_is_named(tmp_path, content, words):
    file = tmp_path / 'broken.jpg'
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=f'broken.jpg.*{words}'):
        read_image(file)


@pytest.mark.skipif(not GARDENS.is_dir(), reason='the Gardens Point images are not here')
def test_real_photograph_is_read_once_right():
    file = sorted(GARDENS.glob('*.jpg'))[0]
    image = read_image(file)
    assert image.shape == (360, 640, 3)
    np.testing.assert_array_equal(image[..., ::-1], cv2.imread(str(file)))
    whole = file.read_bytes()
    with pytest.raises(InputError, match='truncated'):
        image_from_compressed(whole[:len(whole) // 2], 'jpeg')
