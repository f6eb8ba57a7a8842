"""Images of several cameras taken at one moment."""

from collections import deque
from typing import Protocol, TypeVar

from seqnet_ros.core.poses import NANOSECONDS, RESTART_S

KEPT = 10
"""Images of each camera that wait for the others."""


class Stamped(Protocol):
    """An item with a stamp."""

    @property
    def stamp_ns(self) -> int:
        """When, nanoseconds."""
        ...


Item = TypeVar('Item', bound=Stamped)


class CameraSync:
    """Groups images of cameras whose clocks agree.

    A moment is complete when every camera has an image within a tolerance of that of the first;
    the newest complete one counts, and what is older is dropped. An image that is late, see
    `RESTART_S`, is dropped too; one further back restarts the cameras.
    """

    def __init__(self, cameras: int, tolerance_ns: int) -> None:
        self._waiting: list[deque] = [deque(maxlen=KEPT) for _ in range(cameras)]
        self._tolerance_ns = tolerance_ns
        self.incomplete = 0
        """Images of the first camera without matching images of the others."""

    def add(self, camera: int, item: Item) -> tuple[Item, ...] | None:
        """Add an image of a camera; return one of each where that completes a moment."""
        waiting = self._waiting[camera]
        back_ns = waiting[-1].stamp_ns - item.stamp_ns if waiting else 0
        if back_ns >= RESTART_S * NANOSECONDS:
            for images in self._waiting:
                images.clear()
        elif back_ns > 0:  # late
            self.incomplete += camera == 0
            return None
        if camera == 0 and len(waiting) == KEPT:
            self.incomplete += 1
        waiting.append(item)
        for first in reversed(self._waiting[0]):
            moment = [first, *(self._nearest(other, first.stamp_ns)
                               for other in self._waiting[1:])]
            if all(image is not None for image in moment):
                self._drop_until(moment)
                return tuple(moment)
        return None

    def _nearest(self, waiting: deque, stamp_ns: int) -> Stamped | None:
        near = min(waiting, key=lambda item: abs(item.stamp_ns - stamp_ns), default=None)
        if near is None or abs(near.stamp_ns - stamp_ns) > self._tolerance_ns:
            return None
        return near

    def _drop_until(self, moment: list) -> None:
        self.incomplete += sum(item.stamp_ns < moment[0].stamp_ns for item in self._waiting[0])
        for waiting, used in zip(self._waiting, moment, strict=True):
            while waiting and waiting[0].stamp_ns <= used.stamp_ns:
                waiting.popleft()
