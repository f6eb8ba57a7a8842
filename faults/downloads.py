"""``models fetch`` from a server on this machine that does everything wrong, over https."""

import contextlib
import hashlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from faults.certificate import server_context
from faults.children import Limits, run_cases
from faults.command_lines import DONE, Run, run_command
from faults.outcome import HALF, REFUSED, Outcome

CONTENT = random.Random(0).randbytes(200_000)
_MODEL = {'image': {'height': 32, 'width': 40}, 'license': 'MIT',
          'frame': {'kind': 'network', 'backbone': 'mobilenet_v2', 'layer': 4}}
_TIMEOUT_S = 1.0
_PATIENT_S = 30.0
_MOST_SECONDS = 10.0
_SERVER_SECONDS = 15.0
_MEGABYTES = 1
_LIMITS = Limits(mib=500, seconds=60)


def downloads(outcome: Outcome, folder: Path, chance: random.Random, count: int) -> None:
    """Fetch weights from a server that misbehaves, and again when it does not."""
    if shutil.which('openssl') is None:
        return  # no certificate can be made
    how_now, cache, model = folder / 'how', folder / 'cache', folder / 'model.yaml'

    def fetch(how: str, limit_s: float = _TIMEOUT_S, ends_s: float = _MOST_SECONDS) -> Run:
        def before() -> None:
            os.environ.update(SSL_CERT_FILE=str(folder / 'certificate.pem'),
                              XDG_CACHE_HOME=str(cache))
            for name in ('https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'):
                os.environ.pop(name, None)
            signal.setitimer(signal.ITIMER_REAL, ends_s)

        how_now.write_text(how)
        return run_command(['models', 'fetch', str(model), '--yes', '--timeout', str(limit_s),
                            '--max-size', str(_MEGABYTES)], before)

    def run(case: tuple[str, bool, float]) -> str:
        how, knows_hash, after_s = case
        shutil.rmtree(cache, ignore_errors=True)
        model.write_text(yaml.safe_dump({**_MODEL, 'weights': {
            'url': f'{address}/weights.pth', 'path': 'weights.pth',
            **({'sha256': hashlib.sha256(CONTENT).hexdigest()} if knows_hash else {})}}))
        if how == _KILLED:
            done = fetch(_STEADY, _PATIENT_S, after_s)
            ending = DONE if done.status == 0 else _KILLED
        else:
            ending = fetch(how).require(DONE, REFUSED)
        found = _fetched(cache)
        if found not in (None, CONTENT):
            if knows_hash or how not in _UNNOTICED:
                return HALF
            return 'another file, of which nobody knew better'
        fetch(_WHOLE, _PATIENT_S, 2 * _PATIENT_S).require(DONE)
        if _fetched(cache) != CONTENT:
            return HALF
        return 'fetched' if ending == DONE else 'fetched when repeated'

    with _server(folder, how_now) as address:
        hows = [*_ANSWERS, _KILLED, _KILLED]
        chance.shuffle(hows)
        cases = [(hows[number % len(hows)], bool(chance.getrandbits(1)), chance.uniform(0.2, 1.5))
                 for number in range(count)]
        run_cases(cases, run, outcome, _LIMITS)


def _fetched(cache: Path) -> bytes | None:
    """Return the weights in a cache; None without any."""
    found = [path for path in cache.rglob('*') if path.is_file()
             and not path.name.startswith('.') and path.suffix != '.sha256']
    return found[0].read_bytes() if found else None


@dataclass(frozen=True)
class _Request:
    """A request that a server has read.

    Attributes:
        is_get: whether the content is wanted.
        start: first byte that is wanted.
        address: of the server.
        send: writes bytes.
    """

    is_get: bool
    start: int
    address: str
    send: Callable[[bytes], object]

    def answer(self, status: str, headers: tuple[str, ...] = (), body: bytes = b'') -> None:
        """Send status and headers, and the body if it is wanted."""
        lines = [f'HTTP/1.1 {status}', *headers, 'Connection: close', '', '']
        self.send('\r\n'.join(lines).encode() + (body if self.is_get else b''))

    def repeat(self, what: bytes, pause_s: float = 0.0) -> None:
        """Send something until the other side has enough."""
        while True:
            self.send(what)
            time.sleep(pause_s)


def _length(size: int) -> str:
    return f'Content-Length: {size}'


_TAG = 'ETag: "one"'


def _whole(request: _Request) -> None:
    if request.start:
        request.answer('206 Partial Content', (
            _TAG, _length(len(CONTENT) - request.start),
            f'Content-Range: bytes {request.start}-{len(CONTENT) - 1}/{len(CONTENT)}'),
            CONTENT[request.start:])
    else:
        request.answer('200 OK', (_TAG, _length(len(CONTENT))), CONTENT)


def _steady(request: _Request) -> None:
    request.answer('200 OK', (_TAG, _length(len(CONTENT))))
    for start in range(0, len(CONTENT) if request.is_get else 0, 10_000):
        request.send(CONTENT[start:start + 10_000])
        time.sleep(0.02)


def _cut(request: _Request) -> None:
    request.answer('200 OK', (_TAG, _length(len(CONTENT))), CONTENT[:70_000])


def _stalled(request: _Request) -> None:
    _cut(request)
    time.sleep(_SERVER_SECONDS if request.is_get else 0)


def _dripping(request: _Request) -> None:
    request.answer('200 OK', (_TAG, _length(len(CONTENT))))
    for byte in CONTENT if request.is_get else b'':
        request.send(bytes([byte]))
        time.sleep(0.1)


def _of_length(stated: str) -> Callable[[_Request], None]:
    return lambda request: request.answer('200 OK', (_TAG, stated), CONTENT)


def _other(request: _Request) -> None:
    request.answer('200 OK', (_TAG, _length(len(CONTENT))), CONTENT[::-1])


def _changed_later(request: _Request) -> None:
    if request.start:
        _other(request)
    else:
        _cut(request)


def _wrong_range(request: _Request) -> None:
    request.answer('206 Partial Content', (
        _TAG, _length(100), f'Content-Range: bytes 5-104/{len(CONTENT)}'), CONTENT[5:105])


def _endless(request: _Request) -> None:
    request.answer('200 OK')
    if request.is_get:
        request.repeat(bytes(10_000))


def _to(target: str) -> Callable[[_Request], None]:
    return lambda request: request.answer('302 Found', (
        f'Location: {target.format(address=request.address)}', _length(0)))


def _endless_headers(request: _Request) -> None:
    request.send(b'HTTP/1.1 200 OK\r\n')
    request.repeat(b'X-More: and more\r\n')


def _dripping_headers(request: _Request) -> None:
    request.send(b'HTTP/1.1 200 OK\r\nX-More: ')
    request.repeat(b'x', 0.1)


def _endless_waiting(request: _Request) -> None:
    request.repeat(b'HTTP/1.1 100 Continue\r\n\r\n', 0.001)


def _chunked(*after: bytes) -> Callable[[_Request], None]:
    def answer(request: _Request) -> None:
        request.answer('200 OK', ('Transfer-Encoding: chunked',))
        if request.is_get:
            request.send(b'%x\r\n' % len(CONTENT) + CONTENT + b'\r\n')
            request.send(after[0])
            if len(after) > 1:
                request.repeat(after[1], 0.001)

    return answer


_WHOLE, _STEADY, _KILLED, _NO_TLS = 'whole', 'steady', 'killed', 'no TLS'
_ANSWERS: dict[str, Callable[[_Request], object]] = {
    _WHOLE: _whole, _STEADY: _steady, 'cut': _cut, 'stalled': _stalled, 'dripping': _dripping,
    'no length': lambda request: request.answer('200 OK', (), CONTENT),
    'longer than stated': _of_length(_length(len(CONTENT) - 10)),
    'shorter than stated': _of_length(_length(len(CONTENT) + 10)),
    'length below zero': _of_length(_length(-1)), 'length is text': _of_length('Content-Length: x'),
    'too long': _of_length(_length(10**15)), 'other content': _other,
    'other content later': _changed_later, 'wrong range': _wrong_range, 'endless': _endless,
    'to http': _to('http://127.0.0.1:9/'), 'to a file': _to('file:///etc/passwd'),
    'to itself': _to('{address}/weights.pth'), 'to nowhere': _to('https://'),
    'to a port that is none': _to('https://127.0.0.1:99999/'), 'to text': _to('::[x'),
    'missing': lambda request: request.answer('404 Not Found'),
    'out of order': lambda request: request.answer('503 Service Unavailable'),
    'never satisfied': lambda request: request.answer('416 Range Not Satisfiable'),
    'silent': lambda request: None, 'mute': lambda request: time.sleep(_SERVER_SECONDS),
    'no HTTP': lambda request: request.send(b'220 mail.example ESMTP\r\n'),
    'bytes': lambda request: request.send(random.randbytes(1000)),
    'endless headers': _endless_headers, 'dripping headers': _dripping_headers,
    'endless line': lambda request: request.repeat(bytes(10_000)),
    'endless waiting': _endless_waiting, 'chunked': _chunked(b'0\r\n\r\n'),
    'chunk without end': _chunked(b'ffff\r\nabc'), 'chunk of text': _chunked(b'xyz\r\n'),
    'endless size of a chunk': _chunked(b'', b'0'),
    'endless trailers': _chunked(b'0\r\n', b'X-More: and more\r\n'),
    _NO_TLS: _whole}
_UNNOTICED = ('other content', 'longer than stated', 'length below zero', 'length is text')
"""Answers that another file may hide behind, where nobody knows its hash."""


@contextlib.contextmanager
def _server(folder: Path, how: Path) -> Iterator[str]:
    """Run a server that answers as a file says; yields its address."""
    context, _ = server_context(folder)
    with socket.create_server(('127.0.0.1', 0)) as listening:
        address = f'https://127.0.0.1:{listening.getsockname()[1]}'
        process = multiprocessing.get_context('fork').Process(
            target=_serve, args=(listening, context, how, address), daemon=True)
        process.start()
        try:
            yield address
        finally:
            process.kill()
            process.join()


def _serve(listening: socket.socket, context: ssl.SSLContext, how: Path, address: str) -> None:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_answer, args=(connection, context, how.read_text(), address),
                         daemon=True).start()


def _answer(connection: socket.socket, context: ssl.SSLContext, how: str, address: str) -> None:
    connection.settimeout(_SERVER_SECONDS)
    with contextlib.suppress(OSError), connection:
        if how == _NO_TLS:
            connection.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
            return
        with context.wrap_socket(connection, server_side=True) as secured:
            asked = b''
            while b'\r\n\r\n' not in asked:
                asked += secured.recv(10_000) or b'\r\n\r\n'
            wanted = re.search(rb'(?i)^range: bytes=(\d+)-', asked, re.MULTILINE)
            _ANSWERS[how](_Request(asked.startswith(b'GET'), int(wanted[1]) if wanted else 0,
                                   address, secured.sendall))
