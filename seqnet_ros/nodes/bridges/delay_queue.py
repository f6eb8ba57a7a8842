"""Things that are handed on after a while, without ROS."""

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar('Item')


class DelayQueue(Generic[Item]):
    """Gives things back in order, each once it has waited long enough.

    Args:
        delay_s: how long, seconds.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, Item]] = deque()

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def add(self, item: Item, now_s: float) -> None:
        """Take in something at a time of any steady clock."""
        self._waiting.append((now_s + self._delay_s, item))

    def take(self, now_s: float) -> list[Item]:
        """Return what is due."""
        due = []
        while self._waiting and self._waiting[0][0] <= now_s:
            due.append(self._waiting.popleft()[1])
        return due
