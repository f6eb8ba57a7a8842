"""The seven sequence aggregators of JIST, and a related one: ``[B, L, D]`` frames to ``[B, D']``.

Berton et al., "JIST: Joint Image and Sequence Training for Sequential Visual Place Recognition",
RA-L 2024. None of them normalizes its output: JIST's ranking depends on its length. The linear
layer of SeqVLAD's project (`FullyConnected`) is one like them.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from seqnet_ros.config.model import AggregatorConfig
from seqnet_ros.core.errors import InputError
from seqnet_ros.sequences.aggregator import FrameShape, SequenceAggregator
from seqnet_ros.sequences.rolling_seqgem import RollingSeqGeM


class JistAggregator(SequenceAggregator):
    """Base of JIST's aggregators.

    Args:
        normalise: whether the output is L2-normalized, which JIST does not do.
    """

    def __init__(self, normalise: bool = False) -> None:
        super().__init__()
        self.normalise = normalise

    @classmethod
    def build(cls, config: AggregatorConfig, frames: FrameShape) -> 'JistAggregator':
        """Create the untrained aggregator of a model."""
        return cls(config.normalise)

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]``, oldest first, to ``[B, D']``."""
        pooled = self.pool(frames)
        return normalize(pooled, dim=-1) if self.normalise else pooled

    @abstractmethod
    def pool(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, D']``, not normalized."""


class Concat(JistAggregator):
    """All frame descriptors one after the other, oldest first."""

    def pool(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, L * D]``."""
        return frames.flatten(1)


class Mean(JistAggregator):
    """Mean over the sequence."""

    def pool(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, D]``."""
        return frames.mean(dim=1)


class Max(JistAggregator):
    """Largest value over the sequence."""

    def pool(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, D]``."""
        return frames.amax(dim=1)


class OfOneLength(JistAggregator):
    """Base of aggregators whose weights are for sequences of one length.

    Args:
        length: frames L of a sequence.
        normalise: as in `JistAggregator`.
    """

    def __init__(self, length: int, normalise: bool = False) -> None:
        super().__init__(normalise)
        self.length = length

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]``, oldest first, to ``[B, D']``.

        Raises:
            InputError: the weights are for sequences of another length.
        """
        if frames.shape[1] != self.length:
            raise InputError(f'a sequence has {frames.shape[1]} frames, expected the {self.length} '
                             'that the weights of its aggregator are for')
        return super().forward(frames)


class SimpleFc(OfOneLength):
    """Linear layer over the concatenated sequence, without bias: JIST's ``simplefc``.

    Args:
        dim: length D of a frame descriptor.
        length: frames L of a sequence.
        normalise: as in `JistAggregator`.
    """

    def __init__(self, dim: int, length: int, normalise: bool = False) -> None:
        super().__init__(length, normalise)
        self.final_fc = nn.Linear(length * dim, dim, bias=False)

    @classmethod
    def build(cls, config: AggregatorConfig, frames: FrameShape) -> 'SimpleFc':
        """Create the untrained aggregator of a model."""
        return cls(frames.dim, frames.length, config.normalise)

    def pool(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, D]``."""
        return self.final_fc(frames.flatten(1))


class MeanFc(SimpleFc):
    """The same layer, starting as the mean over the sequence: JIST's ``meanfc``."""

    def __init__(self, dim: int, length: int, normalise: bool = False) -> None:
        """Create the layer; arguments as for `SimpleFc`."""
        super().__init__(dim, length, normalise)
        with torch.no_grad():
            self.final_fc.weight.copy_(torch.eye(dim).repeat(1, length) / length)


class FullyConnected(OfOneLength):
    """Linear layer over the concatenated sequence, with bias: ``fc`` of SeqVLAD's project.

    Mereu et al., "Learning Sequential Descriptors for Sequence-based Visual Place Recognition",
    RA-L 2022.

    Args:
        dim: length D of a frame descriptor.
        length: frames L of a sequence.
        out_dim: length of a sequence descriptor.
        normalise: as in `JistAggregator`.
    """

    def __init__(self, dim: int, length: int, out_dim: int, normalise: bool = False) -> None:
        super().__init__(length, normalise)
        self.fc = nn.Linear(length * dim, out_dim)

    @classmethod
    def build(cls, config: AggregatorConfig, frames: FrameShape) -> 'FullyConnected':
        """Create the untrained aggregator of a model."""
        return cls(frames.dim, frames.length, config.out_dim or frames.dim, config.normalise)

    def pool(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, out_dim]``."""
        return self.fc(frames.flatten(1))


class TimeConvolution(OfOneLength):
    """Convolution over time as wide as the sequence: JIST's ``conv1d``; arguments of `SimpleFc`."""

    def __init__(self, dim: int, length: int, normalise: bool = False) -> None:
        super().__init__(length, normalise)
        self.conv1d = nn.Conv1d(dim, dim, kernel_size=length)

    @classmethod
    def build(cls, config: AggregatorConfig, frames: FrameShape) -> 'TimeConvolution':
        """Create the untrained aggregator of a model."""
        return cls(frames.dim, frames.length, config.normalise)

    def pool(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, D]``."""
        return self.conv1d(frames.transpose(1, 2)).squeeze(2)


class SeqGeM(JistAggregator):
    """Generalized mean over the sequence.

    The largest frame value is factored out of the power, which equals the plain formula and
    does not underflow for large exponents.

    Args:
        p: exponent before any weights are loaded, learnable.
        eps: floor of the frame values.
        normalise: as in `JistAggregator`.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6, normalise: bool = False) -> None:
        super().__init__(normalise)
        self.p = nn.Parameter(torch.tensor([p], dtype=torch.float32))
        self.eps = eps

    @classmethod
    def build(cls, config: AggregatorConfig, frames: FrameShape) -> 'SeqGeM':
        """Create the untrained aggregator of a model."""
        return cls(config.p, normalise=config.normalise)

    def pool(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, D]``, every value at least ``eps``."""
        clamped = frames.clamp(min=self.eps)
        largest = clamped.amax(dim=1, keepdim=True).detach()
        mean = (clamped / largest).pow(self.p).mean(dim=1)
        return largest.squeeze(1) * mean.pow(1.0 / self.p)

    def rolling(self, length: int, dim: int) -> RollingSeqGeM:
        """Return what follows a drive frame by frame, in two additions for each."""
        return RollingSeqGeM(self, length, dim)
