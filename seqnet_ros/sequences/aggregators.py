"""Builds sequence aggregators and applies them to many windows of frames."""

import math
from importlib import import_module

import numpy as np
import torch
from torch import nn

from seqnet_ros.config.model import AGGREGATORS, AggregatorConfig
from seqnet_ros.core.scratch_arrays import scratch_array
from seqnet_ros.sequences.aggregator import FrameShape, SequenceAggregator


def build_aggregator(config: AggregatorConfig, length: int, frame_dim: int,
                     clusters: int | None = None) -> SequenceAggregator:
    """Create the untrained aggregator that a model file names, in evaluation mode.

    Args:
        config: the aggregator.
        length: frames per sequence; the weights of some aggregators depend on it.
        frame_dim: length of a frame descriptor.
        clusters: number of clusters of the frames' VLAD sums, which SeqVLAD needs.

    Raises:
        ModelError: SeqVLAD lacks the number of clusters.
    """
    kind = AGGREGATORS.get(config.aggregator).build
    if isinstance(kind, str):
        module, _, name = kind.partition(':')
        kind = getattr(import_module(module), name)
    return kind.build(config, FrameShape(length, frame_dim, clusters)).eval()


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
        float32 ``[M, D']``; large ones in a temporary file.
    """
    parameter = next(module.parameters(), None)
    device = parameter.device if parameter is not None else torch.device('cpu')
    block = max(1, chunk_bytes // (4 * math.prod(windows.shape[1:]) * frames.shape[1]))
    with torch.inference_mode():
        for start in range(0, len(windows), block):
            gathered = np.asarray(frames[windows[start: start + block]], dtype=np.float32)
            made = module(torch.from_numpy(gathered).to(device)).cpu().numpy()
            if start == 0:
                descriptors = scratch_array((len(windows), made.shape[1]))
            descriptors[start: start + block] = made
    return descriptors
