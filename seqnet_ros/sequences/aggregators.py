"""Sequence descriptors: ``[B, L, D]`` frame descriptors, oldest first, become ``[B, D']``.

SeqNet, Delta and smoothing after Garg and Milford, "SeqNet: Learning Descriptors for
Sequence-Based Hierarchical Place Recognition", RA-L 2021; SeqGeM after Berton et al., "JIST:
Joint Image and Sequence Training for Sequential Visual Place Recognition", RA-L 2024.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from seqnet_ros.config import SequenceConfig
from seqnet_ros.errors import InputError


class Smooth(nn.Module):
    """Mean over the sequence, L2-normalised."""

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to unit-norm ``[B, D]``."""
        return normalize(frames.mean(dim=1), dim=-1)


class Delta(nn.Module):
    """Second half minus first half of the sequence, L2-normalised.

    The middle frame of an odd sequence belongs to the second half, so the weights do not sum to
    zero (as in the published SeqNet code).
    """

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to unit-norm ``[B, D]``."""
        length = frames.shape[1]
        weight = frames.new_full((length, 1), 2.0 / length)
        weight[: length // 2] *= -1
        return normalize((weight * frames).sum(dim=1), dim=-1)


class SeqNet(nn.Module):
    """Learned temporal convolution, averaged over time, L2-normalised.

    Convolution and mean are both linear, so the mean is taken first: one product of width
    ``kernel * D`` for each sequence, whatever its length.
    """

    def __init__(self, in_dim: int, out_dim: int, kernel: int) -> None:
        """Create the layer with PyTorch's default initialisation of ``Conv1d``."""
        super().__init__()
        self.conv = nn.Conv1d(in_dim, out_dim, kernel_size=kernel)

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, in_dim]`` to unit-norm ``[B, out_dim]``.

        Raises:
            InputError: the sequence is shorter than the kernel.
        """
        length, kernel = frames.shape[1], self.conv.kernel_size[0]
        if length < kernel:
            raise InputError(
                f'a sequence of {length} frames is shorter than the SeqNet kernel of {kernel}')
        steps = length - kernel + 1
        means = torch.stack([frames[:, k: k + steps].mean(dim=1) for k in range(kernel)], dim=2)
        # The same as `self.conv(means)`, and on a CPU more than twice as fast.
        return normalize(
            linear(means.flatten(1), self.conv.weight.flatten(1), self.conv.bias), dim=-1)


class SeqGeM(nn.Module):
    """Generalised mean over the sequence, not normalised (JIST's ranking depends on the norm).

    The largest frame value is factored out of the power, which equals the plain formula and
    does not underflow for large exponents.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        """Create the pooling with a learnable exponent ``p``."""
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p], dtype=torch.float32))
        self.eps = eps

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, D]``, every value at least ``eps``."""
        clamped = frames.clamp(min=self.eps)
        largest = clamped.amax(dim=1, keepdim=True).detach()
        mean = (clamped / largest).pow(self.p).mean(dim=1)
        return largest.squeeze(1) * mean.pow(1.0 / self.p)


class Concat(nn.Module):
    """All frame descriptors one after the other, oldest first."""

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, L * D]``."""
        return frames.flatten(1)


class Mean(nn.Module):
    """Mean over the sequence, not normalised."""

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, D]``."""
        return frames.mean(dim=1)


class Max(nn.Module):
    """Largest value over the sequence, not normalised."""

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to ``[B, D]``."""
        return frames.amax(dim=1)


def build_aggregator(config: SequenceConfig, frame_dim: int) -> nn.Module:
    """Create the untrained aggregator that a model file names, in evaluation mode."""
    if config.aggregator == 'seqnet':
        module: nn.Module = SeqNet(frame_dim, config.out_dim or frame_dim, config.kernel)
    elif config.aggregator == 'seqgem':
        module = SeqGeM(config.p)
    else:
        module = {'smooth': Smooth, 'delta': Delta, 'concat': Concat, 'mean': Mean,
                  'max': Max}[config.aggregator]()
    return module.eval()


def aggregate(
    module: nn.Module, frames: np.ndarray, windows: np.ndarray, chunk_bytes: int = 4 << 20,
) -> np.ndarray:
    """Compute the sequence descriptors of many windows in bounded memory.

    Args:
        module: an aggregator; its device is used.
        frames: float32 ``[N, D]`` frame descriptors (may be memory-mapped).
        windows: int ``[M, L]`` frame indices, oldest first.
        chunk_bytes: size of the gathered ``[B, L, D]`` blocks.

    Returns:
        float32 ``[M, D']``.
    """
    parameter = next(module.parameters(), None)
    device = parameter.device if parameter is not None else torch.device('cpu')
    block = max(1, chunk_bytes // (4 * math.prod(windows.shape[1:]) * frames.shape[1]))
    parts = []
    with torch.inference_mode():
        for start in range(0, len(windows), block):
            gathered = np.asarray(frames[windows[start: start + block]], dtype=np.float32)
            parts.append(module(torch.from_numpy(gathered).to(device)).cpu().numpy())
    return np.concatenate(parts)
