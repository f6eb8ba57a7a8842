"""Work that several processes share, each computing a part of one list."""

from collections.abc import Callable

import torch
from torch import Tensor

Gather = Callable[[Tensor], Tensor]
"""Gathers a tensor of every process, ``[world, ...]``."""


def gather_alone(values: Tensor) -> Tensor:
    """Gather in a single process."""
    return values[None]


class ProcessGroupSlice:
    """Slice of a list for this process, and gathering of all slices."""

    def __init__(self, rank: int = 0, world: int = 1, gather: Gather = gather_alone) -> None:
        self.rank, self.world, self._gather = rank, world, gather

    def positions(self, count: int) -> Tensor:
        """Return the positions of this process; all processes get as many, the last repeats."""
        each = -(-count // self.world)
        return (torch.arange(each) * self.world + self.rank).clamp(max=count - 1)

    def join(self, share: Tensor, count: int) -> Tensor:
        """Return the whole list of all shares."""
        return self._gather(share).transpose(0, 1).flatten(0, 1)[:count]
