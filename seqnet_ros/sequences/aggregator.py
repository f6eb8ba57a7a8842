"""The interface of sequence aggregators: ``[B, L, D]`` frame descriptors to ``[B, D']``."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from seqnet_ros.config.model import AggregatorConfig


@dataclass(frozen=True)
class FrameShape:
    """The frames that an aggregator is built for.

    Attributes:
        length: frames L of a sequence.
        dim: length D of a frame descriptor.
        clusters: number of clusters of frames that are VLAD sums; None for other frames.
    """

    length: int
    dim: int
    clusters: int | None = None


class RollingDescriptor(Protocol):
    """The descriptor of the newest frames of a drive."""

    def clear(self) -> None:
        """Forget all frames."""

    def push(self, frame: np.ndarray) -> np.ndarray:
        """Add a frame ``[D]`` and return the descriptor ``[D']`` of the newest ones."""


class SequenceAggregator(nn.Module, ABC):
    """Base of all sequence aggregators."""

    @classmethod
    def build(cls, config: AggregatorConfig, frames: FrameShape) -> 'SequenceAggregator':
        """Create the untrained aggregator of a model.

        Raises:
            ModelError: it cannot describe such frames.
        """
        return cls()

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]``, oldest first, to ``[B, D']``."""

    def rolling(self, length: int, dim: int) -> RollingDescriptor | None:
        """Return an incremental version for a drive, frame by frame; None if there is none.

        Args:
            length: frames of the window.
            dim: length D of a frame descriptor.
        """
        return None
