"""Downloads weights once, into the user's cache."""

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from seqnet_ros.core.errors import ModelError

_logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
_TIMEOUT_S = 30


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
        ModelError: the address cannot be read, or delivers a file with another hash.
    """
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
            while chunk := response.read(_CHUNK):
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


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return str(error.reason)
    return str(error) or type(error).__name__
