"""A node in a process of its own, as a launch file would start it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from soak.errors import SoakError

_STOPPING_S = 30.0
_ALLOCATOR = {'MALLOC_ARENA_MAX': '2'}
"""glibc gives every new thread memory of its own to allocate from, until there are eight for each
core, and a node starts a thread whenever it is configured. That is bounded but looks like a leak
for the first 10,000 images, so it is bounded earlier here."""
_SHOWN_LINES = 15


class NodeProcess:
    """A node that runs while the block lasts; what it prints goes to a file.

    Args:
        name: of its executable.
        parameters: that it starts with.
        log: the file.
    """

    def __init__(self, name: str, parameters: dict[str, object], log: Path) -> None:
        self._name = name
        self._log = log
        self._command = [sys.executable, '-m', 'seqnet_ros.nodes', name, '--ros-args']
        for key, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            self._command += ['-p', f'{key}:={text}']

    def __enter__(self) -> 'NodeProcess':
        """Start the node."""
        with self._log.open('wb') as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **_ALLOCATOR})
        return self

    def check(self) -> None:
        """Raise where the node has ended.

        Raises:
            SoakError: it has; the message ends with what it printed last.
        """
        if self._process.poll() is not None:
            raise SoakError(self._explain(f'ended with status {self._process.returncode}'))

    def stop(self) -> None:
        """Interrupt the node, as Ctrl-C does, and wait for its end.

        Raises:
            SoakError: it does not end, or not cleanly.
        """
        self.check()
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(_STOPPING_S)
        except subprocess.TimeoutExpired as error:
            raise SoakError(self._explain(f'did not end within {_STOPPING_S:g} s')) from error
        if status:
            raise SoakError(self._explain(f'ended with status {status}'))

    def signal(self, number: int) -> None:
        """Send a signal to the node, and wait for its end."""
        self._process.send_signal(number)
        self._process.wait(_STOPPING_S)

    @property
    def resident_bytes(self) -> int:
        """Memory that the node has now."""
        pages = int(Path(f'/proc/{self._process.pid}/statm').read_text().split()[1])
        return pages * os.sysconf('SC_PAGE_SIZE')

    @property
    def handles(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f'/proc/{self._process.pid}/fd').iterdir()))

    @property
    def threads(self) -> int:
        """Threads that run."""
        return len(list(Path(f'/proc/{self._process.pid}/task').iterdir()))

    @property
    def cpu_seconds(self) -> float:
        """CPU time that the node has used, of all threads."""
        fields = Path(f'/proc/{self._process.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    @property
    def printed(self) -> str:
        """Console output of the node."""
        return self._log.read_text(errors='replace')

    def _explain(self, what: str) -> str:
        lines = self.printed.splitlines()[-_SHOWN_LINES:]
        return f'{self._name} {what}; the end of {self._log}:\n' + '\n'.join(lines)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """End the node if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
