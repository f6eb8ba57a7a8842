"""Downloads weights once, into the user's cache."""

import hashlib
import http.client
import logging
import os
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seqnet_ros.core.errors import ModelError

_logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
_TIMEOUT_S = 30
_SCHEMES = ('http', 'https', 'file')
MAX_BYTES = 4 << 30
"""Size of a download, at most."""
MAX_SECONDS = 3600.0
"""Duration of a download, at most: a server that sends one byte at a time never times out."""


def cache_dir() -> Path:
    """Return the directory of downloaded weights (``$XDG_CACHE_HOME``, else ``~/.cache``)."""
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(base).expanduser() / 'seqnet_ros' / 'weights'


def cached_path(url: str, sha256: str) -> Path:
    """Return the path in the cache of the download of ``url``."""
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or 'weights'
    return cache_dir() / f'{sha256[:16]}-{name}'


def download(url: str, sha256: str) -> Path:
    """Return the cached file of ``url``, fetching it where it is missing or damaged.

    A file appears in the cache whole and verified, or not at all.

    Args:
        url: address; http, https and file are usual.
        sha256: expected hash, 64 lower-case hexadecimal digits.

    Raises:
        ModelError: the address cannot be read, delivers a file with another hash, more than
            `MAX_BYTES`, or takes longer than `MAX_SECONDS`.
    """
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in _SCHEMES:
        raise ModelError(f'could not download {url}: its scheme is {scheme!r}, expected '
                         f'{", ".join(_SCHEMES)}')
    target = cached_path(url, sha256)
    if target.is_file() and file_sha256(target) == sha256:
        return target
    _logger.info('downloading %s to %s', url, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download_to(target, url, sha256)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ModelError(
            f'could not download {url}: {_reason(error)}; download it manually and pass its path'
        ) from error
    return target


def file_sha256(path: Path) -> str:
    """Return the hash of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _download_to(target: Path, url: str, sha256: str) -> None:
    """Write a temporary file beside the target, verify, then rename: readers never see a part."""
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f'.{target.name}.')
    temporary = Path(name)
    try:
        with os.fdopen(handle, 'wb') as file, \
                urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            for chunk in _chunks(response, url):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256:
            target.unlink(missing_ok=True)
            raise ModelError(
                f'{url} has sha256 {digest.hexdigest()}, expected {sha256}; the file was discarded')
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _chunks(response: Any, url: str) -> Iterator[bytes]:
    """Yield the content of a download within its limits of size and time."""
    ends_s = time.monotonic() + MAX_SECONDS
    stated = response.headers.get('Content-Length') or ''
    left = MAX_BYTES
    if stated.isdecimal() and int(stated) > left:
        raise ModelError(f'{url} has {stated} bytes, expected at most {MAX_BYTES}')
    # `read` would wait for a whole chunk, however slowly it comes.
    read = getattr(response, 'read1', response.read)
    while chunk := read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise ModelError(f'{url} has more than {MAX_BYTES} bytes; the file was discarded')
        if time.monotonic() > ends_s:
            raise ModelError(f'{url} took longer than {MAX_SECONDS:g} s; the file was discarded')
        yield chunk


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return str(error.reason)
    return str(error) or type(error).__name__
