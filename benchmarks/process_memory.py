"""Memory of a process, now and at most while a block runs."""

import threading
from pathlib import Path
from typing import NamedTuple


class ProcessMemory(NamedTuple):
    """Memory of a process, bytes.

    Attributes:
        resident: all that is in memory, pages of files among it.
        anonymous: the part that belongs to the process alone.
    """

    resident: int
    anonymous: int


def process_memory(pid: int | None = None) -> ProcessMemory:
    """Return the memory of a process; None for this one."""
    status = Path(f'/proc/{"self" if pid is None else pid}/status').read_text()
    lines = dict(line.split(':', 1) for line in status.splitlines() if ':' in line)
    return ProcessMemory(*(int(lines[key].split()[0]) * 1024 for key in ('VmRSS', 'RssAnon')))


class MemoryWatch:
    """Samples the memory of this process while a block runs.

    Args:
        period_s: between two samples.

    Attributes:
        first: at the start of the block.
        most: the most of each.
    """

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s

    def __enter__(self) -> 'MemoryWatch':
        """Begin."""
        self.first = self.most = process_memory()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    @property
    def grown(self) -> ProcessMemory:
        """The most of each beyond what it was at first."""
        return ProcessMemory(*(most - first for most, first in zip(
            self.most, self.first, strict=True)))

    def _sample(self) -> None:
        while not self._ended.is_set():
            self.most = ProcessMemory(*map(max, self.most, process_memory()))
            self._ended.wait(self._period_s)
