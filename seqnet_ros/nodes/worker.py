"""The one thread that runs the engine, so that torch is never entered twice at once."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar

Item = TypeVar('Item')
Answer = TypeVar('Answer')


class Worker(Generic[Item]):
    """A thread that processes the newest item, and runs jobs between items.

    Args:
        process: called with the newest item.
        on_error: called with what ``process`` raised; the thread continues.
        name: of the thread.
    """

    def __init__(self, process: Callable[[Item], None], on_error: Callable[[Exception], None],
                 name: str) -> None:
        self._process = process
        self._on_error = on_error
        self._newest: Item | None = None
        self._jobs: deque[tuple[Callable[[], Any], Future]] = deque()
        self._name = name
        self._stopping = True
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether there is a thread, from `start` until `stop` is done."""
        return self._thread is not None

    def __len__(self) -> int:
        """Return the number of jobs that wait."""
        return len(self._jobs)

    def start(self) -> None:
        """Start the thread; it may have been stopped before."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def offer(self, item: Item) -> bool:
        """Give an item to process; return True when it takes the place of a waiting one."""
        with self._changed:
            if self._stopping:
                return False
            replaced = self._newest is not None
            self._newest = item
            self._changed.notify()
        return replaced

    def submit(self, job: Callable[[], Answer]) -> 'Future[Answer]':
        """Run a job after the current item and before any waiting one."""
        future: Future[Answer] = Future()
        with self._changed:
            if self._stopping:
                future.cancel()
                return future
            self._jobs.append((job, future))
            self._changed.notify()
        return future

    def call(self, job: Callable[[], Answer]) -> Answer:
        """Run a job, wait for it and return what it returns or raise what it raises."""
        return self.submit(job).result()

    def drain(self) -> None:
        """Drop the waiting item and wait until the current one is done."""
        with self._changed:
            self._newest = None
        with contextlib.suppress(CancelledError):
            self.call(lambda: None)

    def stop(self) -> None:
        """End the thread, if it runs, after its item or job; waiting jobs are cancelled."""
        with self._changed:
            self._stopping = True
            self._newest = None
            while self._jobs:
                self._jobs.popleft()[1].cancel()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopping or self._jobs or self._newest is not None)
                if self._stopping:
                    return
                job = self._jobs.popleft() if self._jobs else None
                if job is None:
                    item, self._newest = self._newest, None
            if job is not None:
                _finish(*job)
            elif item is not None:
                self._try(item)
                item = None  # an image is large: do not keep it while waiting

    def _try(self, item: Item) -> None:
        try:
            self._process(item)
        except Exception as error:
            self._on_error(error)


def _finish(job: Callable[[], Any], future: Future) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        answer = job()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(answer)
