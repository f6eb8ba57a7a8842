"""Compression of bags: of whole files, of chunks and of single messages."""

import shutil
import sys
from pathlib import Path

from lz4.frame import LZ4FrameDecompressor

from seqnet_ros.core.errors import InputError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_SUFFIX = '.zstd'
_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


def decompress_start(data: bytes, compression: str, size: int) -> bytes:
    """Return what can be decompressed of data that may be cut short.

    Args:
        data: compressed bytes.
        compression: '', 'zstd' or 'lz4'.
        size: length of the whole, decompressed; more is not returned.

    Raises:
        InputError: the compression is unknown, or the data are damaged.
    """
    if not compression:
        return data[:size]
    if compression not in ('zstd', 'lz4'):
        raise InputError(f'is compressed by {compression!r}, expected zstd or lz4')
    decompressor = zstd.ZstdDecompressor() if compression == 'zstd' else LZ4FrameDecompressor()
    try:
        return bytes(decompressor.decompress(data, max_length=size))
    except (zstd.ZstdError, RuntimeError) as error:
        raise InputError(f'holds a damaged chunk: {error}') from error


def decompress_message(content: bytes) -> bytes:
    """Return a message that the recorder may have compressed.

    A message that is not compressed starts with its byte order, so that the content tells; the
    metadata, which say it too, are often lost. Damaged content becomes empty: it is then counted as
    any message that cannot be decoded.
    """
    if content[:4] != _ZSTD_MAGIC:
        return content
    try:
        return zstd.decompress(content)
    except zstd.ZstdError:
        return b''


def decompress_file(file: Path, folder: Path) -> Path:
    """Decompress a file ``NAME.zstd`` into a folder, and return the new file there.

    Raises:
        InputError: the file is damaged, or the folder has no room for it.
    """
    target = folder / file.name.removesuffix(ZSTD_SUFFIX)
    try:
        with zstd.open(file, 'rb') as packed, target.open('wb') as unpacked:
            shutil.copyfileobj(packed, unpacked)
    except EOFError:
        pass  # cut short: its reader says what is missing
    except (OSError, zstd.ZstdError) as error:
        raise InputError(f'bag {file} cannot be decompressed into {folder}: {error}') from error
    return target
