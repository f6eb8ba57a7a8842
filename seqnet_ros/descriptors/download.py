"""Downloads weights once, into the user's cache; a download that broke off is continued."""

import hashlib
import http.client
import logging
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from seqnet_ros.core.errors import ModelError
from seqnet_ros.core.files import lock_part, whole_file

_logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
_TIMEOUT_S = 30
_SCHEMES = ('http', 'https', 'file')
_AGENT = 'seqnet_ros'
# torchvision and torch.hub publish the beginning of the hash in the name of a file.
_HASH_IN_NAME = re.compile(r'-([0-9a-f]{8,64})\.\w+$')
_NO_HEAD = (403, 405, 501)
MAX_BYTES = 4 << 30
"""Size of a download, at most."""
MAX_SECONDS = 3600.0
"""Duration of a download, at most: a server that sends one byte at a time never times out."""

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes so far and, where it is known, of all."""


@dataclass(frozen=True)
class Limits:
    """What a download may take.

    Attributes:
        bytes: size of the file; None for `MAX_BYTES`.
        seconds: duration; None for `MAX_SECONDS`.
    """

    bytes: int | None = None
    seconds: float | None = None


def cache_dir() -> Path:
    """Return the directory of downloaded weights (``$XDG_CACHE_HOME``, else ``~/.cache``)."""
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(base).expanduser() / 'seqnet_ros' / 'weights'


def cached_path(url: str, sha256: str | None) -> Path:
    """Return the path in the cache of the download of ``url``."""
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or 'weights'
    digits = sha256 or hashlib.sha256(url.encode()).hexdigest()
    return cache_dir() / f'{digits[:16]}-{name}'


def find_cached(url: str, sha256: str | None) -> Path | None:
    """Return the verified file of ``url`` in the cache; None if it was not downloaded.

    Args:
        url: its address.
        sha256: its hash; None takes the one that was recorded when it was downloaded.

    Raises:
        ModelError: the file was changed since.
    """
    path = cached_path(url, sha256)
    if not path.is_file():
        return None
    expected = sha256 or _recorded_hash(path)
    if expected is None:
        raise ModelError(f'weights {path} have no recorded hash beside them: download them again '
                         'with `seqnet_ros models fetch`')
    if (found := file_sha256(path)) != expected:
        raise ModelError(f'weights {path} have sha256 {found}, expected {expected}: download them '
                         'again with `seqnet_ros models fetch`')
    return path


def find_cached_content(sha256: str) -> Path | None:
    """Return the file in the cache that has this hash, whatever it was downloaded from."""
    folder = cache_dir()
    if not folder.is_dir():
        return None
    for path in sorted(folder.iterdir()):
        named = path.name.startswith(f'{sha256[:16]}-') or (
            _record(path).is_file() and _recorded_hash(path) == sha256)
        if (named and path.suffix != '.sha256' and path.is_file()
                and file_sha256(path) == sha256):
            return path
    return None


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
    return _fetch(url, sha256, _SCHEMES, Limits(), lambda *_: None)


def fetch(url: str, sha256: str | None, limits: Limits | None = None,
          progress: Progress = lambda *_: None) -> Path:
    """Return the cached file of ``url``, fetching it over https where it is missing or damaged.

    Without ``sha256`` the hash of the first download is recorded beside the file, and later ones
    must have the same. A download that broke off is continued where the server allows it.

    Args:
        url: https address; redirections must be too.
        sha256: expected hash, 64 lower-case hexadecimal digits, where it is known.
        limits: what the download may take.
        progress: called now and then.

    Raises:
        ModelError: the address is not https or cannot be read, delivers a file with another hash,
            or exceeds a limit.
    """
    return _fetch(url, sha256, ('https',), limits or Limits(), progress)


def remote_size(url: str, limits: Limits | None = None) -> int | None:
    """Return the number of bytes that an https address would deliver; None if it does not say.

    Args:
        url: its address.
        limits: what the download may take; half a minute for this answer, at most.

    Raises:
        ModelError: the address is not https, or cannot be reached.
    """
    _check_scheme(url, ('https',))
    request = urllib.request.Request(url, method='HEAD', headers={'User-Agent': _AGENT})
    seconds = None if limits is None else limits.seconds
    try:
        with (_Deadline(min(seconds or _TIMEOUT_S, _TIMEOUT_S)) as deadline,
              _opener(('https',), deadline).open(request, timeout=_TIMEOUT_S) as response):
            return _stated_size(response)
    except urllib.error.HTTPError as error:
        if error.code in _NO_HEAD:  # an address that was signed for GET only
            return None
        raise _unreachable(url, error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from error


def file_sha256(path: Path) -> str:
    """Return the hash of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch(url: str, sha256: str | None, schemes: tuple[str, ...], limits: Limits,
           progress: Progress) -> Path:
    _check_scheme(url, schemes)
    target = cached_path(url, sha256)
    expected = sha256 or _recorded_hash(target)
    if target.is_file() and expected is not None and file_sha256(target) == expected:
        return target
    _logger.info('downloading %s to %s', url, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _part_of(target) as part:
            _receive(part, url, schemes, limits, progress)
            _verify(part, url, target, expected)
            if sha256 is None and expected is None:
                with whole_file(_record(target)) as record:
                    record.write(f'{file_sha256(part.path)}  {target.name}\n'.encode())
            part.path.replace(target)
            part.validator.unlink(missing_ok=True)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from error
    return target


@dataclass(frozen=True)
class _Part:
    """A download that is not complete.

    Attributes:
        file: its content so far, open for appending, locked against other processes.
        path: path of the file.
        validator: file with what the server calls this version of the content.
    """

    file: IO[bytes]
    path: Path
    validator: Path

    @property
    def can_be_continued(self) -> bool:
        """Whether the server will know this version of the content again."""
        return self.validator.is_file() and self.validator.stat().st_size > 0

    @property
    def outlook(self) -> str:
        """What becomes of it, for messages."""
        return ('the same command continues' if self.can_be_continued
                else 'the file was discarded')


@contextmanager
def _part_of(target: Path) -> Iterator[_Part]:
    """Open the part of a download, which no other process may write at the same time."""
    path = target.with_name(f'.{target.name}.part')
    validator = target.with_name(f'.{target.name}.validator')
    with path.open('a+b') as file:
        if not lock_part(file, path):
            raise ModelError(f'another process is downloading {target.name}: wait for it')
        part = _Part(file, path, validator)
        try:
            yield part
        finally:
            file.flush()
            if path.is_file() and not (path.stat().st_size and part.can_be_continued):
                path.unlink()
                validator.unlink(missing_ok=True)


def _receive(part: _Part, url: str, schemes: tuple[str, ...], limits: Limits,
             progress: Progress) -> None:
    """Append what is missing of a download, or start it again."""
    seconds = MAX_SECONDS if limits.seconds is None else limits.seconds
    with _Deadline(seconds) as deadline:
        try:
            _receive_until(deadline, part, url, schemes, limits, progress)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not deadline.has_passed:
                raise
            raise _too_slow(url, seconds, part) from error
        if deadline.has_passed:
            raise _too_slow(url, seconds, part)


def _too_slow(url: str, seconds: float, part: _Part) -> ModelError:
    return ModelError(f'{url} took longer than {seconds:g} s; {part.outlook}')


def _receive_until(deadline: '_Deadline', part: _Part, url: str, schemes: tuple[str, ...],
                   limits: Limits, progress: Progress) -> None:
    most = MAX_BYTES if limits.bytes is None else limits.bytes
    with _open(part, url, schemes, deadline) as response:
        done = part.file.seek(0, os.SEEK_END)
        stated = _stated_size(response)
        total = None if stated is None else done + stated
        if total is not None and total > most:
            part.file.truncate(0)
            raise ModelError(f'{url} has {total} bytes, expected at most {most}')
        progress(done, total)
        # `read` would wait for a whole chunk, however slowly it comes.
        read = getattr(response, 'read1', response.read)
        while chunk := read(_CHUNK):
            done += len(chunk)
            if done > most:
                part.file.truncate(0)
                raise ModelError(
                    f'{url} has more than {most} bytes; the file was discarded')
            part.file.write(chunk)
            progress(done, total)
            if deadline.has_passed:
                return
    part.file.flush()
    os.fsync(part.file.fileno())
    if total is not None and done < total and not deadline.has_passed:
        raise ModelError(f'the download of {url} broke off after {done} of {total} bytes; '
                         f'{part.outlook}')


def _open(part: _Part, url: str, schemes: tuple[str, ...], deadline: '_Deadline') -> Any:
    """Open an address at the end of a part; the part is emptied if the server starts again."""
    done = part.file.seek(0, os.SEEK_END)
    validator = part.validator.read_text() if done and part.can_be_continued else None
    headers = {'User-Agent': _AGENT}
    if validator:
        headers |= {'Range': f'bytes={done}-', 'If-Range': validator}
    opener = _opener(schemes, deadline)
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if not validator or error.code != 416:
            raise
        part.file.truncate(0)  # the file became shorter, or the part is not of it
        response = opener.open(
            urllib.request.Request(url, headers={'User-Agent': _AGENT}), timeout=_TIMEOUT_S)
    continued = response.headers.get('Content-Range', '').startswith(f'bytes {done}-')
    is_part = getattr(response, 'status', None) == 206
    if not (validator and is_part and continued):
        part.file.truncate(0)
        if is_part:
            response.close()
            raise urllib.error.URLError('it sent a part of the file that nobody asked for')
    strong = response.headers.get('ETag') or response.headers.get('Last-Modified') or ''
    part.validator.write_text('' if strong.startswith('W/') else strong)
    return response


def _verify(part: _Part, url: str, target: Path, expected: str | None) -> None:
    found = file_sha256(part.path)
    in_name = _HASH_IN_NAME.search(urllib.parse.urlsplit(url).path)
    if expected is None and in_name and not found.startswith(in_name[1]):
        expected = f'{in_name[1]}... as in its name'
    if expected is not None and found != expected:
        part.file.truncate(0)
        target.unlink(missing_ok=True)
        recorded = f'; {_record(target)} records it' if _record(target).is_file() else ''
        raise ModelError(
            f'{url} has sha256 {found}, expected {expected}{recorded}; the file was discarded')


def _record(path: Path) -> Path:
    return path.with_name(f'{path.name}.sha256')


def _recorded_hash(path: Path) -> str | None:
    """Return the hash that was recorded at the first download; None if there was none."""
    try:
        found = re.match(r'[0-9a-f]{64}(?= )', _record(path).read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelError(f'{_record(path)} cannot be read: {error}') from error
    if found is None:
        raise ModelError(f'{_record(path)} holds no sha256, expected 64 hexadecimal digits')
    return found[0]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but none to a scheme that was not allowed for the address itself."""

    def __init__(self, schemes: tuple[str, ...]) -> None:
        self._allowed = schemes

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any,
                         newurl: str) -> urllib.request.Request | None:
        """Return the request for where an address redirects to."""
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in self._allowed:
            raise urllib.error.URLError(f'it redirects to {newurl}, expected an https address')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Deadline:
    """Ends connections that take too long in all.

    A timeout of a socket limits each wait for data only: a server that sends headers without end,
    or a byte now and then, never exceeds it.

    Args:
        seconds: duration of the block.
    """

    def __init__(self, seconds: float) -> None:
        self._ends_s = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    @property
    def has_passed(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._ends_s

    def __enter__(self) -> '_Deadline':
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for one in self._sockets:
                one.close()
            self._sockets.clear()

    def watch(self, connected: socket.socket) -> None:
        """End a connection at the deadline."""
        with self._lock:
            # Another descriptor of the same connection: this one may be closed meanwhile.
            self._sockets.append(socket.socket(fileno=os.dup(connected.fileno())))
        if self.has_passed:
            self._end()

    def _end(self) -> None:
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):  # the other side was faster
                    one.shutdown(socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    """Opens connections that end at a deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open an address."""
        return self.do_open(_watched(http.client.HTTPConnection, self._deadline), req)


class _Https(urllib.request.HTTPSHandler):
    """Opens encrypted connections that end at a deadline."""

    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Open an address."""
        return self.do_open(_watched(http.client.HTTPSConnection, self._deadline), req)


def _watched(kind: type[http.client.HTTPConnection],
             deadline: _Deadline) -> type[http.client.HTTPConnection]:
    class Watched(kind):  # type: ignore[valid-type, misc]
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    return Watched


def _opener(schemes: tuple[str, ...], deadline: _Deadline) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects(schemes), _Http(deadline), _Https(deadline))


def _check_scheme(url: str, schemes: tuple[str, ...]) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in schemes:
        raise ModelError(f'could not download {url}: its scheme is {scheme!r}, expected '
                         f'{", ".join(schemes)}; download it manually and pass its path')


def _stated_size(response: Any) -> int | None:
    stated = response.headers.get('Content-Length') or ''
    return int(stated) if stated.isdecimal() else None


def _unreachable(url: str, error: Exception) -> ModelError:
    return ModelError(
        f'could not download {url}: {_reason(error)}; download it manually and pass its path')


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return str(error.reason)
    return str(error) or type(error).__name__
