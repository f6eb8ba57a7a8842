"""Progress reports of a pipeline."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Bars = Callable[[str, int], AbstractContextManager[Callable[[float], None]]]
"""Opens the display of one step, given its name and the number of its parts."""


@contextmanager
def no_bar(what: str, total: int) -> Iterator[Callable[[float], None]]:
    """Show no progress."""
    yield lambda done: None
