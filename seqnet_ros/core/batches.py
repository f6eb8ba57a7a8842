"""Items of a stream, some at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

_Item = TypeVar('_Item')


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield items in lists of ``size``, the last one shorter; as ``itertools.batched`` of 3.12."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
