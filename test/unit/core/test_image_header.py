"""The size of an image is known before it is decoded, and limits what decoding may take."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.image_header import read_header
from seqnet_ros.core.images import (
    MAX_MEGAPIXELS,
    decode,
    image_from_compressed,
    image_from_raw,
    pixel_limit,
    read_image,
)

CORPUS = Path(__file__).parents[2] / 'corpus' / 'images'
WIDTH, HEIGHT = 37, 21


def encoded(kind: str, mode: str = 'RGB', **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (WIDTH, HEIGHT)).save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return (struct.pack('>I', len(content)) + kind + content
            + struct.pack('>I', zlib.crc32(kind + content)))


def gif(width: int, height: int) -> bytes:
    return (b'GIF89a' + struct.pack('<HHBBB', width, height, 0, 0, 0) + b'\x2c'
            + struct.pack('<HHHHB', 0, 0, width, height, 0) + b'\x02\x02\x44\x01\x00\x3b')


def png(width: int, height: int) -> bytes:
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + png_chunk(b'IHDR', header)
            + png_chunk(b'IDAT', zlib.compress(bytes(100))) + png_chunk(b'IEND', b''))


def tiff(width: int, height: int, *more: tuple[int, int]) -> bytes:
    entries = [(256, width), (257, height), (258, 8), (262, 1), (273, 8), (277, 1),
               (278, height), (279, 4), *more]
    directory = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in entries)
    return b'II*\0' + struct.pack('<IH', 8, len(entries)) + directory + bytes(4)


def jpeg_size(data: bytes, width: int, height: int) -> bytes:
    """Return a JPEG with another size in its header."""
    at = data.index(b'\xff\xc0') + 5
    return data[:at] + struct.pack('>HH', height, width) + data[at + 4:]


BOMBS = {
    'gif': gif(65535, 65535), 'png': png(30000, 30000),
    'jpeg': jpeg_size(encoded('JPEG'), 65000, 65000),
    'webp': encoded('WEBP', lossless=True)[:21] + struct.pack('<I', 0x0fffffff) + bytes(40),
    'webp, extended': b'RIFF\x60\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0' + b'\xff' * 6 + bytes(70),
    'bmp': b'BM' + struct.pack('<IHHIIiiHHIIiiII', 90, 0, 0, 54, 40, 40000, -40000, 1, 24, 0, 0,
                               0, 0, 0, 0) + bytes(40),
    'pnm': b'P6\n# a comment\n100000 100000\n255\n' + bytes(60),
    'tiff': tiff(60000, 60000), 'tiff, tiles': tiff(16, 16, (322, 30000), (323, 30000)),
}


@pytest.mark.parametrize(('kind', 'mode', 'options'), [
    ('JPEG', 'RGB', {}), ('JPEG', 'L', {'progressive': True}), ('JPEG', 'CMYK', {}),
    ('PNG', 'RGB', {}), ('PNG', 'I;16', {}), ('GIF', 'P', {}), ('BMP', 'RGB', {}),
    ('WEBP', 'RGB', {'lossless': True}), ('WEBP', 'RGB', {}), ('WEBP', 'RGBA', {}),
    ('WEBP', 'RGB', {'exif': b'Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0'}),
    ('TIFF', 'RGB', {}), ('TIFF', 'RGB', {'compression': 'tiff_lzw'}),
    ('TIFF', 'RGB', {'big_tiff': True}), ('PPM', 'RGB', {}), ('PPM', 'L', {}), ('PPM', '1', {})])
def test_sizes_are_those_of_the_decoder(kind: str, mode: str, options: dict) -> None:
    data = encoded(kind, mode, **options)
    header = read_header(data, 'image')
    assert (header.width, header.height) == (WIDTH, HEIGHT)
    assert decode(data, 'image').shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize('name', BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(
        name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def never(*_: object) -> None:
        raise AssertionError('the image was decoded')

    monkeypatch.setattr(cv2, 'imdecode', never)
    with pytest.raises(InputError, match=r'has \d+x\d+ pixels.*expected at most 64 megapixels'):
        image_from_compressed(BOMBS[name], 'jpeg')
    file = tmp_path / 'bomb.png'
    file.write_bytes(BOMBS[name])
    with pytest.raises(InputError, match=r'bomb.png has \d+x\d+ pixels'):
        read_image(file)


def test_chunks_of_a_png_lie_within_it() -> None:
    """OpenCV made room for 4 GB because a chunk of a few bytes said so."""
    data = bytearray(encoded('PNG'))
    at = data.index(b'IDAT') - 4
    data[at:at + 4] = struct.pack('>I', 0x7fffffff)
    with pytest.raises(InputError, match='cut short or inconsistent'):
        decode(bytes(data), 'image')


def test_many_passes_count_as_pixels() -> None:
    data = encoded('JPEG', progressive=True)
    passes = data[:-2] + 1000 * b'\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00' + data[-2:]
    assert read_header(passes, 'image').pixels > 50 * WIDTH * HEIGHT
    with pytest.raises(InputError, match='in too many passes'):
        decode(passes, 'image', max_pixels=10 * WIDTH * HEIGHT)


@pytest.mark.parametrize(('data', 'words'), [
    (b'', 'is empty'), (b'\0' * 40, 'of no known format'), (b'\xff\xd8\xff', 'cut short'),
    (b'\x89PNG\r\n\x1a\n' + bytes(4), 'cut short'), (b'GIF89a\0', 'cut short'),
    (gif(0, 7), 'states 0x7 pixels'), (b'P6 12', 'cut short'), (b'P6 a b', 'cut short'),
    (tiff(4, 4, (258, 64)), 'samples of 64 bits is refused'),
    (b'\0\0\0\x1cftypavif' + bytes(40), 'of no known format'),
    (b'#?RADIANCE\n', 'of no known format')])
def test_what_has_no_readable_size_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        image_from_compressed(data, 'jpeg')


def test_the_limit_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded('PNG')
    assert decode(data, 'image', max_pixels=WIDTH * HEIGHT).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(InputError, match='max_image_megapixels'):
        decode(data, 'image', max_pixels=WIDTH * HEIGHT - 1)
    with pytest.raises(InputError, match='37x21 pixels'):
        image_from_raw(bytes(3 * WIDTH * HEIGHT), HEIGHT, WIDTH, 'rgb8', 3 * WIDTH,
                       max_pixels=100)
    monkeypatch.setenv(MAX_MEGAPIXELS, '0.0001')
    assert pixel_limit() == 100
    with pytest.raises(InputError, match=r'expected at most 0.0001 megapixels'):
        decode(data, 'image')
    monkeypatch.setenv(MAX_MEGAPIXELS, 'many')
    with pytest.raises(InputError, match=f"{MAX_MEGAPIXELS} is 'many', expected a positive"):
        decode(data, 'image')


def test_pipes_and_devices_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='not a regular file'):
        read_image('/dev/zero')
    pipe = tmp_path / 'pipe.png'
    subprocess.run(['mkfifo', pipe], check=True)
    with pytest.raises(InputError, match='not a regular file'):
        read_image(pipe)
    with pytest.raises(InputError, match='File name too long'):
        read_image(tmp_path / ('x' * 300))
    with pytest.raises(InputError, match='null byte'):
        read_image('a\0b.png')


@settings(max_examples=300)
@given(st.sampled_from(sorted(CORPUS.iterdir())), st.data())
def test_damaged_images_decode_to_the_stated_size_or_are_refused(path: Path, data: st.DataObject,
                                                                 ) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 200) - 1))
        content[at] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(content), 'image', cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
                        max_pixels=1 << 20)
    except InputError:
        return
    header = read_header(bytes(content), 'image')
    assert pixels.shape == (header.height, header.width, 3)
    assert pixels.dtype == np.uint8


@given(st.binary(max_size=100), st.sampled_from(
    [b'', b'\xff\xd8', b'\x89PNG\r\n\x1a\n', b'GIF89a', b'RIFF0000WEBP', b'II*\0', b'MM\0+', b'BM',
     b'P5 ']))
def test_any_bytes_give_a_size_or_one_sentence(data: bytes, start: bytes) -> None:
    try:
        header = read_header(start + data, 'image')
    except InputError:
        return
    assert header.width > 0
    assert header.height > 0


def test_decoding_stays_within_the_stated_memory(tmp_path: Path) -> None:
    """Sixteen megapixels of the most expensive kinds, in a process of its own."""
    side = 4096
    images = {'progressive.jpg': ('JPEG', 'CMYK', {'progressive': True}),
              'plain.gif': ('GIF', 'P', {}), 'lossless.webp': ('WEBP', 'RGBA', {'lossless': True})}
    script = ('import sys; from seqnet_ros.core.images import read_image; '
              'import pathlib; used = lambda: int(next(line for line in open("/proc/self/status") '
              'if line.startswith("VmHWM")).split()[1]); before = used(); '
              'read_image(sys.argv[1]); print((used() - before) * 1024)')
    for name, (kind, mode, options) in images.items():
        Image.new(mode, (side, side)).save(tmp_path / name, kind, **options)
        done = subprocess.run([sys.executable, '-c', script, tmp_path / name], check=True,
                              capture_output=True, text=True)
        assert int(done.stdout) < 20 * side * side, name
