"""The methods of the SeqNet paper on whole drives: descriptors, sequence matching, and both.

Garg and Milford, "SeqNet: Learning Descriptors for Sequence-Based Hierarchical Place
Recognition", RA-L 2021. Windows are centered, as in its published code::

    reference, query = Drive.of(ref_descriptors), Drive.of(query_descriptors)
    truth = matches_within(*row_positions(struct, reference, query), struct.radius)
    found = search(build_method('seqnet', 5, layer), reference, query)          # S5
    print(recall_at(found.indices, truth).values)
    hvpr = rerank(build_method('s1+seqmatch', 5, s1_layer), reference, query,   # S5 -> S1
                  found.indices[:, :20])
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from seqnet_ros.config.model import AggregatorConfig
from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.nearest_neighbors import (
    Predictions,
    match_windows,
    nearest_descriptors,
    rerank_windows,
)
from seqnet_ros.evaluation.seqnet.drives import Drive, join_as_published
from seqnet_ros.evaluation.seqnet.method_names import S1, SEQMATCH, SINGLE, is_named, poolings
from seqnet_ros.sequences.aggregators import aggregate, build_aggregator
from seqnet_ros.sequences.seqnet_aggregators import SeqNet

TOP_K = 100

_LAYER_CHUNK = 64 << 20
_MEAN_CHUNK = 4 << 20


@dataclass(frozen=True)
class DescriptorSearch:
    """Compares the sequence descriptors of windows.

    Attributes:
        aggregator: ``[B, L, D]`` to ``[B, D']``.
        length: frames per window.
    """

    aggregator: nn.Module
    length: int


@dataclass(frozen=True)
class SequenceMatching:
    """Compares windows frame by frame: the mean L2 distance of frames at the same position.

    Attributes:
        aggregator: describes single frames, ``[B, 1, D]`` to unit-norm ``[B, D']``.
        length: frames per window.
        speeds: speeds of the query relative to the reference that are tried, in reference frames
            for each query frame; the published method tries 1 only.
    """

    aggregator: nn.Module
    length: int
    speeds: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        """Check the speeds.

        Raises:
            InputError: no speed, or one that is not above 0.
        """
        if not self.speeds or not all(0 < speed < np.inf for speed in self.speeds):
            raise InputError(f'the speeds are {list(self.speeds)}, expected at least one, all '
                             'above 0')


Method = DescriptorSearch | SequenceMatching


def build_method(pooling: str, length: int, layer: SeqNet | None = None,
                 speeds: tuple[float, ...] = (1.0,)) -> Method:
    """Make a method by the name that SeqNet's code gives it.

    Args:
        pooling: one of `poolings`. 'seqnet' with length 1 and a kernel of 1 is the paper's S1.
        length: frames per window; 1 for 'single'.
        layer: trained layer, for 'seqnet' and 's1+seqmatch'.
        speeds: for the two ending in '+seqmatch', see `SequenceMatching`.

    Raises:
        InputError: the name is unknown, or arguments do not apply to it.
    """
    if not is_named(pooling, poolings):
        raise InputError(f'pooling is {pooling!r}, expected one of {", ".join(poolings())}')
    if length < 1 or (pooling == SINGLE and length != 1):
        expected = '1' if pooling == SINGLE else '1 or more'
        raise InputError(f'the sequence length of {pooling} is {length}, expected {expected}')
    if pooling in ('seqnet', S1 + SEQMATCH):
        aggregator: nn.Module = _checked_layer(pooling, length, layer)
    elif layer is not None:
        raise InputError(f'{pooling} was given trained weights, but has nothing to train')
    else:
        name = pooling.removesuffix(SEQMATCH)
        untrained = AggregatorConfig(aggregator='smooth' if name == SINGLE else name)
        # Without weights it is the same for frames of any dimension.
        aggregator = build_aggregator(untrained, length, frame_dim=1)
    if pooling.endswith(SEQMATCH):
        return SequenceMatching(aggregator, length, speeds)
    return DescriptorSearch(aggregator, length)


def search(method: Method, reference: Drive, query: Drive, top_k: int = TOP_K,
           compat: bool = False) -> Predictions:
    """Search every row of one drive among all rows of the other.

    Args:
        method: how windows are compared.
        reference: reference drive.
        query: query drive.
        top_k: number of predictions for each query; all where there are fewer references.
        compat: windows of too short sequences spill over as in the published code.

    Raises:
        InputError: descriptors of the two drives or of the method differ in dimension, or windows
            do not fit the sequences.
    """
    if top_k < 1:
        raise InputError(f'top_k is {top_k}, expected 1 or more')
    reference, query = _prepared(method, reference, query, compat)
    if isinstance(method, SequenceMatching):
        return match_windows(*_frames_to_match(method, reference, query), top_k)
    # Frames near the ends of a sequence share a window, which is described once.
    windows, columns = _distinct(reference.windows(method.length))
    references = _describe(method.aggregator, reference.descriptors, windows)
    queries = _describe(method.aggregator, query.descriptors, query.windows(method.length))
    return nearest_descriptors(queries, references, columns, top_k)


def rerank(method: SequenceMatching, reference: Drive, query: Drive, candidates: np.ndarray,
           compat: bool = False) -> Predictions:
    """Sort the predictions of any first stage by sequence matching (the paper's HVPR).

    Args:
        method: the second stage; its length need not be that of the first.
        reference: the drive that was searched.
        query: query drive.
        candidates: int ``[M, K]`` reference rows; the paper takes the first 20.
        compat: windows of too short sequences spill over as in the published code.

    Raises:
        InputError: as for `search`, or candidates are not rows of these drives.
    """
    candidates = np.asarray(candidates)
    if candidates.ndim != 2 or len(candidates) != len(query.rows) or not candidates.shape[1]:
        raise InputError(f'the candidates have shape {list(candidates.shape)}, '
                         f'expected [{len(query.rows)}, K]')
    if candidates.min() < 0 or candidates.max() >= len(reference.rows):
        raise InputError(f'the candidates are references {candidates.min()} to '
                         f'{candidates.max()}, expected 0 to {len(reference.rows) - 1}')
    reference, query = _prepared(method, reference, query, compat)
    return rerank_windows(*_frames_to_match(method, reference, query), candidates)


def _checked_layer(pooling: str, length: int, layer: SeqNet | None) -> SeqNet:
    if layer is None:
        raise InputError(f'{pooling} needs trained weights, found none')
    kernel = layer.conv.kernel_size[0]
    if pooling == S1 + SEQMATCH and kernel != 1:
        raise InputError(f's1+seqmatch describes single frames, but the kernel of its layer spans '
                         f'{kernel} frames, expected 1')
    if length < kernel:
        raise InputError(f'a sequence of {length} frames is shorter than the SeqNet kernel of '
                         f'{kernel}')
    return layer


def _prepared(method: Method, reference: Drive, query: Drive,
              compat: bool) -> tuple[Drive, Drive]:
    dims = reference.descriptors.shape[1], query.descriptors.shape[1]
    if dims[0] != dims[1]:
        raise InputError(f'reference descriptors have {dims[0]} values, query descriptors '
                         f'{dims[1]}, expected as many')
    if isinstance(method.aggregator, SeqNet) and method.aggregator.conv.in_channels != dims[0]:
        raise InputError(f'the SeqNet weights are for descriptors of '
                         f'{method.aggregator.conv.in_channels} values, found {dims[0]}')
    return join_as_published(reference, query) if compat else (reference, query)


def _frames_to_match(
    method: SequenceMatching, reference: Drive, query: Drive,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
    """Describe the frames that windows use; return these and the windows of both drives."""
    q_frames, (q_windows,) = _describe_used(
        method, query.descriptors, [query.windows(method.length)])
    r_frames, r_windows = _describe_used(
        method, reference.descriptors,
        [reference.windows(method.length, speed) for speed in method.speeds])
    return q_frames, q_windows, r_frames, r_windows


def _describe(aggregator: nn.Module, descriptors: np.ndarray, windows: np.ndarray) -> np.ndarray:
    # A layer is fastest with large matrix products, a mean if its frames fit the cache.
    chunk_bytes = _LAYER_CHUNK if isinstance(aggregator, SeqNet) else _MEAN_CHUNK
    return aggregate(aggregator, descriptors, windows, chunk_bytes)


def _distinct(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``[U, L]`` without repeated neighbors, and the row ``[N]`` of each window in it."""
    is_new = np.append(True, (windows[1:] != windows[:-1]).any(axis=1))
    return windows[is_new], np.cumsum(is_new) - 1


def _describe_used(method: SequenceMatching, descriptors: np.ndarray,
                   windows: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    used = np.zeros(len(descriptors), dtype=bool)
    for frames in windows:
        used[frames] = True
    position = np.cumsum(used) - 1
    described = _describe(method.aggregator, descriptors, np.flatnonzero(used)[:, None])
    return described, [position[frames] for frames in windows]
