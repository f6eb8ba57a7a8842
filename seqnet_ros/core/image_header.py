"""The size of an encoded image, read from its header before anything is decoded.

A few bytes can state any size, and decoders allocate it: a GIF of 35 bytes took 8 GB. Formats
whose header is not read here are refused, whatever OpenCV could do with them.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from seqnet_ros.core.errors import InputError

FORMATS = 'JPEG, PNG, GIF, WebP, TIFF, BMP or PNM'
"""The formats whose size is known before they are decoded."""

_START_OF_FRAME = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xd0, 0xd9)})
_START_OF_SCAN, _END_OF_IMAGE = 0xda, 0xd9
_USUAL_SCANS = 16
_PNG_SIGNATURE = 8
_TIFF_TAGS = {256: 'width', 257: 'height', 258: 'bits', 277: 'samples',
              322: 'tile width', 323: 'tile height'}
_TIFF_TYPES = {1: 'B', 3: 'H', 4: 'I', 16: 'Q'}
_TIFF_ENTRIES = 4096
_TIFF_BITS, _TIFF_SAMPLES = 32, 4
_USUAL_BITS = 16
_MOST_DIGITS = 10


class ImageHeader(NamedTuple):
    """What the header of an image says.

    Attributes:
        format: as in `FORMATS`.
        width: columns.
        height: rows.
        work: pixels that the decoder has to process, where that is more than the image has: tiles
            of a TIFF, those of more than 16 bits twice, unusually many passes of a progressive
            JPEG.
        wide: its values have more than 16 bits, as the floats of a TIFF.
    """

    format: str
    width: int
    height: int
    work: int = 0
    wide: bool = False

    @property
    def pixels(self) -> int:
        """Pixels that decoding costs."""
        return max(self.width * self.height, self.work)


def read_header(data: bytes | memoryview, what: str) -> ImageHeader:
    """Read the size of an encoded image.

    Args:
        data: the image, whole.
        what: what to call it in an error.

    Raises:
        InputError: the format is unknown, or the header is damaged or states a size of zero.
    """
    start = bytes(data[:12])
    for name, matches, read in _READERS:
        if not matches(start):
            continue
        try:
            header = read(data)
        except (struct.error, IndexError, ValueError, KeyError, OverflowError) as error:
            raise InputError(f'{what} is damaged: the header of its {name} data is cut short or '
                             f'inconsistent ({len(data)} bytes)') from error
        if header.width < 1 or header.height < 1:
            raise InputError(f'{what} states {header.width}x{header.height} pixels, expected at '
                             'least one row and one column')
        return header
    raise InputError(f'{what} is damaged or of no known format ({len(data)} bytes), expected '
                     f'{FORMATS} data')


def _read_jpeg(data: bytes | memoryview) -> ImageHeader:
    content = bytes(data)
    position = 2
    while True:
        position = content.index(b'\xff', position)
        while content[position] == 0xff:
            position += 1
        marker = content[position]
        position += 1
        if marker == 0 or marker in _WITHOUT_LENGTH:
            continue
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            raise ValueError('no frame header')
        if marker in _START_OF_FRAME:
            height, width = struct.unpack_from('>HH', content, position + 3)
            scans = content.count(b'\xff\xda')
            work = width * height * scans // _USUAL_SCANS if scans > _USUAL_SCANS else 0
            return ImageHeader('JPEG', width, height, work)
        position += max(struct.unpack_from('>H', content, position)[0], 2)


def _read_png(data: bytes | memoryview) -> ImageHeader:
    length, kind, width, height = struct.unpack_from('>I4sII', data, 8)
    if kind != b'IHDR' or length != 13:
        raise ValueError('no IHDR')
    # OpenCV makes room for as many bytes as a chunk states, up to 4 GB.
    position = _PNG_SIGNATURE
    while position < len(data) and kind != b'IEND':
        length, kind = struct.unpack_from('>I4s', data, position)
        position += 12 + length
    if position > len(data):
        raise ValueError('a chunk exceeds the data')
    return ImageHeader('PNG', width, height)


def _read_gif(data: bytes | memoryview) -> ImageHeader:
    return ImageHeader('GIF', *struct.unpack_from('<HH', data, 6))


def _read_webp(data: bytes | memoryview) -> ImageHeader:
    kind = bytes(data[12:16])
    if kind == b'VP8X':
        low, high = struct.unpack_from('<IH', data, 24)
        return ImageHeader('WebP', (low & 0xffffff) + 1, (low >> 24 | high << 8) + 1)
    if kind == b'VP8L':
        signature, bits = struct.unpack_from('<BI', data, 20)
        if signature != 0x2f:
            raise ValueError('no lossless signature')
        return ImageHeader('WebP', (bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
    if kind != b'VP8 ' or bytes(data[23:26]) != b'\x9d\x01\x2a':
        raise ValueError('no frame')
    width, height = struct.unpack_from('<HH', data, 26)
    return ImageHeader('WebP', width & 0x3fff, height & 0x3fff)


def _read_bmp(data: bytes | memoryview) -> ImageHeader:
    size, = struct.unpack_from('<I', data, 14)
    width, height = struct.unpack_from('<HH' if size == 12 else '<ii', data, 18)
    return ImageHeader('BMP', width, abs(height))


def _read_pnm(data: bytes | memoryview) -> ImageHeader:
    position, numbers = 2, []
    for _ in range(2):
        position = _skip_blanks(data, position)
        digits = ''
        while chr(data[position]).isdigit() and len(digits) <= _MOST_DIGITS:
            digits += chr(data[position])
            position += 1
        numbers.append(int(digits))
    width, height = numbers
    return ImageHeader('PNM', width, height)


def _skip_blanks(data: bytes | memoryview, position: int) -> int:
    while chr(data[position]).isspace() or data[position] == ord('#'):
        if data[position] == ord('#'):
            while data[position] not in b'\r\n':
                position += 1
        position += 1
    return position


def _read_tiff(data: bytes | memoryview) -> ImageHeader:
    """Read the first directory; where a tag is repeated, the largest value counts."""
    order = '<' if bytes(data[:2]) == b'II' else '>'
    big = struct.unpack_from(f'{order}H', data, 2)[0] == 43
    directory, = struct.unpack_from(f'{order}Q' if big else f'{order}I', data, 8 if big else 4)
    count, = struct.unpack_from(f'{order}Q' if big else f'{order}H', data, directory)
    if count > _TIFF_ENTRIES:
        raise ValueError('too many entries')
    step, first = (20, directory + 8) if big else (12, directory + 2)
    found = dict.fromkeys(_TIFF_TAGS.values(), 0)
    for entry in range(first, first + count * step, step):
        tag, kind = struct.unpack_from(f'{order}HH', data, entry)
        if tag in _TIFF_TAGS and kind in _TIFF_TYPES:
            values = _tiff_values(data, entry + 4, order, _TIFF_TYPES[kind], big)
            found[_TIFF_TAGS[tag]] = max(found[_TIFF_TAGS[tag]], *values)
    if found['bits'] > _TIFF_BITS or found['samples'] > _TIFF_SAMPLES:
        raise InputError(
            f'a TIFF image of {found["samples"]} samples of {found["bits"]} bits is refused, '
            f'expected at most {_TIFF_SAMPLES} of {_TIFF_BITS}')
    pixels = found['width'] * found['height']
    wide = found['bits'] > _USUAL_BITS
    if wide:
        pixels *= 2
    return ImageHeader('TIFF', found['width'], found['height'],
                       max(pixels, found['tile width'] * found['tile height']), wide)


def _tiff_values(data: bytes | memoryview, position: int, order: str, kind: str,
                 big: bool) -> tuple[int, ...]:
    count, = struct.unpack_from(f'{order}Q' if big else f'{order}I', data, position)
    if not 1 <= count <= 16:
        raise ValueError('a size with too many values')
    at = position + (8 if big else 4)
    values = struct.Struct(f'{order}{count}{kind}')
    if values.size > (8 if big else 4):
        at, = struct.unpack_from(f'{order}Q' if big else f'{order}I', data, at)
    return values.unpack_from(data, at)


_Reader = Callable[[bytes | memoryview], ImageHeader]
_READERS: list[tuple[str, Callable[[bytes], bool], _Reader]] = [
    ('JPEG', lambda start: start[:2] == b'\xff\xd8', _read_jpeg),
    ('PNG', lambda start: start[:8] == b'\x89PNG\r\n\x1a\n', _read_png),
    ('GIF', lambda start: start[:6] in (b'GIF87a', b'GIF89a'), _read_gif),
    ('WebP', lambda start: start[:4] == b'RIFF' and start[8:12] == b'WEBP', _read_webp),
    ('TIFF', lambda start: start[:4] in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'), _read_tiff),
    ('BMP', lambda start: start[:2] == b'BM', _read_bmp),
    ('PNM', lambda start: start[:1] == b'P' and start[1:2] in b'123456' and len(start) > 1,
     _read_pnm),
]
