"""The localizer in a process of its own, as a launch file would start it."""

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from demo.errors import DemoError

STOPPING_S = 15.0
_SHOWN_LINES = 15


class NodeProcess:
    """A localizer node that runs while the block lasts; its output goes to a file.

    Args:
        arguments: what follows ``--ros-args``.
        log: the file.
    """

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._command = [
            sys.executable, '-m', 'seqnet_ros.nodes', 'localizer', '--ros-args', *arguments]
        self._log = log

    def __enter__(self) -> 'NodeProcess':
        """Start the node."""
        with self._log.open('wb') as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT)
        return self

    def check(self) -> None:
        """Raise where the node has ended.

        Raises:
            DemoError: it has; the message ends with what it printed last.
        """
        if self._process.poll() is not None:
            raise DemoError(self._explain(f'ended with status {self._process.returncode}'))

    def stop(self) -> None:
        """Interrupt the node, as Ctrl-C does, and wait for its end.

        Raises:
            DemoError: it does not end, or not cleanly.
        """
        self.check()
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(STOPPING_S)
        except subprocess.TimeoutExpired as error:
            raise DemoError(self._explain(f'did not end within {STOPPING_S:g} s')) from error
        if status not in (0, -signal.SIGINT, 128 + signal.SIGINT):
            raise DemoError(self._explain(f'ended with status {status}'))

    def _explain(self, what: str) -> str:
        lines = self._log.read_text(errors='replace').splitlines()[-_SHOWN_LINES:]
        return f'the localizer {what}; the end of {self._log}:\n' + '\n'.join(lines)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """End the node if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
