"""A queue that delays its items, without ROS."""

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar('Item')


class DelayQueue(Generic[Item]):
    """Returns items in order, each after a delay.

    Args:
        delay_s: the delay, seconds.
    """

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, Item]] = deque()

    def __len__(self) -> int:
        """Return the number of waiting items."""
        return len(self._waiting)

    def add(self, item: Item, now_s: float) -> None:
        """Add an item at a time of any steady clock."""
        self._waiting.append((now_s + self._delay_s, item))

    def take(self, now_s: float) -> list[Item]:
        """Return the items that are due."""
        due = []
        while self._waiting and self._waiting[0][0] <= now_s:
            due.append(self._waiting.popleft()[1])
        return due
