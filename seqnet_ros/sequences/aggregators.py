"""Sequence descriptors: ``[B, L, D]`` frame descriptors, oldest first, become ``[B, D']``.

SeqNet, Delta and smoothing after Garg and Milford, "SeqNet: Learning Descriptors for
Sequence-Based Hierarchical Place Recognition", RA-L 2021; the others have modules of their own.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from seqnet_ros.config.model import AggregatorConfig
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.sequences.jist_aggregators import (
    Concat,
    FullyConnected,
    Max,
    Mean,
    MeanFc,
    SeqGeM,
    SimpleFc,
    TimeConvolution,
)
from seqnet_ros.sequences.seqvlad import SeqVlad

LEARNED = ('seqnet', 'simplefc', 'meanfc', 'conv1d', 'seqgem', 'fc')
"""Aggregators with weights."""

TRAINED = ('seqnet', 'simplefc', 'conv1d', 'fc')
"""Aggregators that are useless before training; the others are initialized as means."""


class Smooth(nn.Module):
    """Mean over the sequence, L2-normalized."""

    def forward(self, frames: Tensor) -> Tensor:
        """Map ``[B, L, D]`` to unit-norm ``[B, D]``."""
        return normalize(frames.mean(dim=1), dim=-1)


class Delta(nn.Module):
    """Second half minus first half of the sequence, L2-normalized.

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
    """Learned temporal convolution, averaged over time, L2-normalized.

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
        sums = [frames[:, :steps].sum(dim=1)]
        for k in range(kernel - 1):
            sums.append(sums[k] + frames[:, k + steps] - frames[:, k])
        means = torch.stack(sums, dim=2) / steps
        # The same as `self.conv(means)`, and on a CPU more than twice as fast.
        return normalize(
            linear(means.flatten(1), self.conv.weight.flatten(1), self.conv.bias), dim=-1)


def build_aggregator(config: AggregatorConfig, length: int, frame_dim: int,
                     clusters: int | None = None) -> nn.Module:
    """Create the untrained aggregator that a model file names, in evaluation mode.

    Args:
        config: the aggregator.
        length: frames per sequence; the weights of some aggregators depend on it.
        frame_dim: length of a frame descriptor.
        clusters: number of clusters of the frames' VLAD sums, which SeqVLAD needs.

    Raises:
        ModelError: SeqVLAD lacks the number of clusters.
    """
    normalise = config.normalise
    match config.aggregator:
        case 'smooth':
            module: nn.Module = Smooth()
        case 'delta':
            module = Delta()
        case 'seqnet':
            module = SeqNet(frame_dim, config.out_dim or frame_dim, config.kernel)
        case 'concat':
            module = Concat(normalise)
        case 'mean':
            module = Mean(normalise)
        case 'max':
            module = Max(normalise)
        case 'simplefc':
            module = SimpleFc(frame_dim, length, normalise)
        case 'meanfc':
            module = MeanFc(frame_dim, length, normalise)
        case 'conv1d':
            module = TimeConvolution(frame_dim, length, normalise)
        case 'seqgem':
            module = SeqGeM(config.p, normalise=normalise)
        case 'fc':
            module = FullyConnected(frame_dim, length, config.out_dim or frame_dim, normalise)
        case 'seqvlad':
            if clusters is None:
                raise ModelError('seqvlad needs frames described by vlad_sums, found others')
            module = SeqVlad(clusters)
    return module.eval()


def describe_frames(module: nn.Module, frames: np.ndarray) -> np.ndarray:
    """Apply a module to frames one by one, each a sequence of its own.

    Args:
        module: an aggregator, such as a SeqNet with kernel 1.
        frames: float32 ``[N, D]`` frame descriptors (may be memory-mapped).

    Returns:
        float32 ``[N, D']``.
    """
    return aggregate(module, frames, np.arange(len(frames))[:, None])


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
    with torch.inference_mode():
        for start in range(0, len(windows), block):
            gathered = np.asarray(frames[windows[start: start + block]], dtype=np.float32)
            made = module(torch.from_numpy(gathered).to(device)).cpu().numpy()
            if start == 0:
                descriptors = np.empty((len(windows), made.shape[1]), dtype=np.float32)
            descriptors[start: start + block] = made
    return descriptors
