"""The one thread that runs the engine, so that torch is never entered twice at once."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar('Item')
Answer = TypeVar('Answer')


@dataclass(frozen=True, eq=False)
class _Job:
    run: Callable[[], Any]
    future: Future


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Item]):
    item: Item
    size: int


class Worker(Generic[Item]):
    """A thread that processes items, and runs jobs between them.

    Items wait in their order while they fit the capacity. Where they do not, every second one is
    left out, so that what is missing is spread; the newest always stays.

    Args:
        process: called with each item.
        on_error: called with what ``process`` raised; the thread continues.
        name: of the thread.

    Attributes:
        capacity: size of the items that may wait together, in the unit of `offer`; 0 keeps the
            newest only.
    """

    def __init__(self, process: Callable[[Item], None], on_error: Callable[[Exception], None],
                 name: str) -> None:
        self._process = process
        self._on_error = on_error
        self.capacity = 0
        self._waiting: deque[_Waiting[Item] | _Job] = deque()
        self._items = 0
        self._size = 0
        self._jobs: deque[_Job] = deque()
        self._name = name
        self._stopping = True
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether there is a thread, from `start` until `stop` is done."""
        return self._thread is not None

    @property
    def waiting(self) -> int:
        """Number of items that wait."""
        return self._items

    @property
    def waiting_size(self) -> int:
        """Their size together."""
        return self._size

    def __len__(self) -> int:
        """Return the number of jobs that wait."""
        return len(self._jobs)

    def start(self) -> None:
        """Start the thread; it may have been stopped before."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def offer(self, item: Item, size: int = 0) -> int:
        """Give an item to process; return how many waiting ones were left out for it."""
        with self._changed:
            if self._stopping:
                return 0
            self._waiting.append(_Waiting(item, size))
            self._items += 1
            self._size += size
            before = self._items
            while self._items > 1 and (self._size > self.capacity or not self.capacity):
                self._thin_out()
            self._changed.notify_all()
            return before - self._items

    def submit(self, job: Callable[[], Answer], *,
               after_waiting: bool = False) -> 'Future[Answer]':
        """Run a job after the current item.

        Args:
            job: what to run.
            after_waiting: run it after the items that wait now, too, instead of before them.
        """
        future: Future[Answer] = Future()
        with self._changed:
            if self._stopping:
                future.cancel()
                return future
            (self._waiting if after_waiting else self._jobs).append(_Job(job, future))
            self._changed.notify_all()
        return future

    def call(self, job: Callable[[], Answer]) -> Answer:
        """Run a job, wait for it and return what it returns or raise what it raises."""
        return self.submit(job).result()

    def drain(self, patience_s: float = 0.0) -> int:
        """Wait until the thread is idle; return how many waiting items were dropped for that.

        Args:
            patience_s: how long waiting items are still processed before the rest is dropped.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, patience_s)
            dropped = self._items
            jobs = [entry for entry in self._waiting if isinstance(entry, _Job)]
            self._forget_waiting()
            self._jobs.extend(jobs)
        with contextlib.suppress(CancelledError):
            self.call(lambda: None)
        return dropped

    def stop(self) -> None:
        """End the thread, if it runs, after its item or job; waiting jobs are canceled."""
        with self._changed:
            self._stopping = True
            for entry in (*self._jobs, *self._waiting):
                if isinstance(entry, _Job):
                    entry.future.cancel()
            self._jobs.clear()
            self._forget_waiting()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _thin_out(self) -> None:
        """Leave out every second item, counted from the newest, which stays."""
        kept: deque[_Waiting[Item] | _Job] = deque()
        number = 0
        for entry in reversed(self._waiting):
            if isinstance(entry, _Job):
                kept.appendleft(entry)
                continue
            if number % 2 == 0:
                kept.appendleft(entry)
            else:
                self._items -= 1
                self._size -= entry.size
            number += 1
        self._waiting = kept

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._items = self._size = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopping or self._jobs or self._waiting)
                if self._stopping:
                    return
                entry = self._jobs.popleft() if self._jobs else self._waiting.popleft()
                if isinstance(entry, _Waiting):
                    self._items -= 1
                    self._size -= entry.size
                self._changed.notify_all()
            if isinstance(entry, _Job):
                _finish(entry)
            else:
                self._try(entry.item)
            del entry  # an image is large: do not keep it while waiting

    def _try(self, item: Item) -> None:
        try:
            self._process(item)
        except Exception as error:
            self._on_error(error)


def _finish(job: _Job) -> None:
    if not job.future.set_running_or_notify_cancel():
        return
    try:
        answer = job.run()
    except BaseException as error:
        job.future.set_exception(error)
    else:
        job.future.set_result(answer)
