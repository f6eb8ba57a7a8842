"""Rendering in several processes."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2


def in_processes(act: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
    """Yield ``act(item)`` for every item, in order, computed by several processes.

    Args:
        act: a method of what renders; it is sent to each process once, which paints and keeps it.
        items: what to act on.
        workers: number of processes.
    """
    # Forking a process with the threads of OpenCV in it can hang.
    with multiprocessing.get_context('spawn').Pool(workers, _Worker.start, [act]) as pool:
        yield from pool.imap(_Worker.run, items, chunksize=8)


class _Worker:
    """A rendering process."""

    act: Callable[[Any], Any]

    @classmethod
    def start(cls, act: Callable[[Any], Any]) -> None:
        cv2.setNumThreads(1)  # the processes are what runs in parallel
        cls.act = staticmethod(act)

    @classmethod
    def run(cls, item: Any) -> Any:
        return cls.act(item)
