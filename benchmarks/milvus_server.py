"""A real Milvus server on this machine, in a virtual environment of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from seqnet_ros.core.files import lock_part
from seqnet_ros.maps.fleet.address import FleetAddress, parse_address

REQUIREMENTS = 'milvus==2.3.5', 'setuptools<81'
"""The newest server on PyPI; its module needs the setuptools that still have pkg_resources."""
_INSTALL_S, _START_S, _STOP_S = 240, 90, 20


class ServerError(Exception):
    """The server cannot be installed or started."""


class MilvusServer:
    """One server; its data outlive it.

    Args:
        python: Python of the environment that it is installed in.
        folder: its data.
        settings: what differs from its default settings, by name.
    """

    def __init__(self, python: Path, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._python = python
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, collection: str, tls: bool = False) -> FleetAddress:
        """Return the address of a map on it."""
        return parse_address(f'milvus{"s" if tls else ""}://127.0.0.1:{self.port}/{collection}')

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it says that it is healthy.

        Raises:
            ServerError: it does not start.
        """
        web = free_port()
        arguments = [f'{name}={value}' for name, value in self._settings.items()]
        self.folder.mkdir(parents=True, exist_ok=True)
        output = self.folder / 'output.log'
        with output.open('wb') as log:
            self._process = subprocess.Popen(
                [self._python, '-I', Path(__file__).with_name('milvus_process.py'), self.folder,
                 str(self.port), str(web), *arguments],
                stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + _START_S
        while not _is_healthy(web):
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                lines = output.read_text(errors='replace').splitlines()
                told = [line for line in lines if 'ERROR' in line or 'panic' in line]
                raise ServerError(f'the Milvus server did not start: {(told or lines or [""])[-1]}')
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once, as a power failure does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end."""
        self._end(signal.SIGTERM)

    def _end(self, first: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for sent in (first, signal.SIGKILL):
            try:
                os.killpg(process.pid, sent)
                process.wait(_STOP_S)
            except ProcessLookupError:
                process.wait()
            except subprocess.TimeoutExpired:
                continue
            return


def install(folder: Path) -> Path:
    """Make the environment of the server, where it is not there yet; return its Python.

    Takes half a minute once. Another process that makes the same one is waited for.

    Raises:
        ServerError: it cannot be installed.
    """
    if sys.platform != 'linux':
        raise ServerError(f'the Milvus server runs on Linux, found {sys.platform}')
    python, done = folder / 'bin' / 'python', folder / 'installed'
    lock = folder.with_name(f'{folder.name}.lock')
    with lock.open('a') as file:
        end = time.monotonic() + _INSTALL_S
        while not lock_part(file, lock):
            if time.monotonic() > end:
                raise ServerError(f'another process holds {lock}')
            time.sleep(0.5)
        if not done.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _run([sys.executable, '-m', 'venv', str(folder)])
            _run([str(python), '-m', 'pip', 'install', '-q', '--no-input',
                  '--disable-pip-version-check', *REQUIREMENTS])
            done.touch()
    return python


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_S)
    except subprocess.CalledProcessError as error:
        told = (error.stderr or '').strip().splitlines() or [str(error)]
        raise ServerError(f'the Milvus server cannot be installed: {told[-1]}') from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f'the Milvus server cannot be installed: {error}') from error


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/healthz', timeout=2) as answer:
            return b'OK' in answer.read()
    except OSError:
        return False
