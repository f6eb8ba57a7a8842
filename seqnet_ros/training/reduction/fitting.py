"""Shorter frame descriptors of a model: principal components of images, or random signs.

The components are those of the second moments of the descriptors, without subtracting their mean:
a matrix without an offset, followed by unit length, which a linear layer in front of it absorbs
exactly. Models center the descriptors of each drive afterwards.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from seqnet_ros.config.model import AGGREGATORS, ModelConfig, ReductionConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.datasets.recordings.frame_walk import RecordingWalk, image_reader
from seqnet_ros.datasets.recordings.frames import FrameSource
from seqnet_ros.descriptors.describer import build_camera_describer, frame_dim
from seqnet_ros.descriptors.device import Device
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.descriptors.network_describer import load_frame_network
from seqnet_ros.descriptors.pooling import L2Norm
from seqnet_ros.descriptors.reduction import WEIGHT, random_weight
from seqnet_ros.descriptors.weights import Tensors
from seqnet_ros.training.common.described_images import described_images
from seqnet_ros.training.common.model_files import WeightsFile, document_of, write_model
from seqnet_ros.training.common.whitening import fit_components

Kind = Literal['pca', 'random']

WHITENING = 0.0
"""Whitening helps in one place and harms in another; docs/models.md has the table."""

_WIDTHS = {'gem': 'fc_dim', 'salad': 'fc_dim', 'netvlad': 'wpca_dim', 'vlad': 'wpca_dim'}
"""The setting of the linear layer behind each kind of pooling that may have one."""


class FittedReduction(NamedTuple):
    """The outcome.

    Attributes:
        preset: the model as written; paths are relative to its file.
        images: number of images it was fitted to.
        kept: share of the squares of the descriptors that the components keep; None of random ones.
        folded: whether it became part of the last linear layer of the network.
    """

    preset: Preset
    images: int
    kept: float | None
    folded: bool


def check_reducible(config: ModelConfig, dim: int) -> None:
    """Check that the descriptors of a model can be shortened.

    Raises:
        ModelError: they are shortened already, or other weights were trained on their length.
    """
    if config.reduction is not None:
        raise ModelError(f'model {config.name} has a reduction to {config.reduction.dim} values '
                         'already, expected a model without')
    if AGGREGATORS.get(config.sequence.aggregator).trained or config.projection is not None:
        raise ModelError(f'model {config.name} has a {config.sequence.aggregator} aggregator '
                         'that was trained on its descriptors: shorten those of its frame model, '
                         'and train it on them')
    if not config.normalises_frames:
        raise ModelError(f'model {config.name} has {config.frame.label}, expected descriptors of '
                         'unit length')
    length = frame_dim(config.model_copy(update={'cameras': 1}))
    if dim >= length:
        raise ModelError(f'the descriptors of model {config.name} have {length} values, expected '
                         f'fewer to be kept (found {dim})')


def fit_reduction(path: Path, preset: Preset, base_dir: Path, sources: Sequence[FrameSource],
                  dim: int, device: Device, *, kind: Kind = 'pca', seed: int = 0,
                  whitening: float = WHITENING,
                  progress: Callable[[float], None] = lambda _: None) -> FittedReduction:
    """Write a model whose descriptors are shorter.

    Args:
        path: the new file, see `new_model_path`; the weights are written beside it.
        preset: the model to shorten.
        base_dir: folder of its file.
        sources: recordings similar to those to be described; more images than ``dim``. Random
            projections need none.
        dim: number of values to keep.
        device: where the network runs.
        kind: principal components, or random signs.
        seed: of random signs.
        whitening: of components, 0 to 1; see `fit_components`.
        progress: called with the number of images read.

    Raises:
        ModelError: see `check_reducible`.
        InputError: there are too few images, or a file cannot be written.
    """
    config = preset.model
    check_reducible(config, dim)
    single = config.model_copy(update={'cameras': 1})
    length = frame_dim(single)
    reduction = ReductionConfig(kind=kind, dim=dim, seed=seed)
    if kind == 'random':
        weight, images, kept = random_weight(reduction, length), 0, None
    else:
        describer = build_camera_describer(single, device, base_dir)
        with described_images(describer, _images(sources, progress), path.parent) as vectors:
            fitted = fit_components(vectors, dim, whitening)
            weight, images, kept = fitted.weight, len(vectors), fitted.kept
    fitted_to = f'fitted to {images} images' if images else f'random with seed {seed}'
    document = document_of(preset, base_dir)
    document.update(name=path.stem,
                    description=f'{config.name} with {dim} values, {fitted_to}.')
    folded = _folded_network(config, base_dir, weight)
    if folded is not None:
        document['frame']['pooling'][_WIDTHS[document['frame']['pooling']['kind']]] = dim
        files = [WeightsFile('.safetensors', document, folded)]
    else:
        section: dict[str, Any] = {'kind': kind, 'dim': dim} | ({'seed': seed} if seed else {})
        document['reduction'] = section
        files = [] if kind == 'random' else [
            WeightsFile('.safetensors', section, {WEIGHT: torch.from_numpy(weight)})]
    return FittedReduction(write_model(path, document, files), images, kept, folded is not None)


def _folded_network(config: ModelConfig, base_dir: Path, weight: np.ndarray) -> Tensors | None:
    """Return the tensors of the network with the matrix in its last linear layer, if it has one."""
    frame = config.frame
    if not isinstance(frame, NetworkConfig) or not getattr(
            frame.pooling, _WIDTHS.get(frame.pooling.kind, ''), None):
        return None
    network, sequence = load_frame_network(config, frame, base_dir)
    layer = _last_linear(network)
    if sequence or layer is None:
        return None
    matrix = torch.from_numpy(weight)
    with torch.inference_mode():
        layer.weight = nn.Parameter(matrix @ layer.weight, requires_grad=False)
        layer.bias = nn.Parameter(matrix @ layer.bias, requires_grad=False)
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _last_linear(network: FrameNetwork) -> nn.Linear | None:
    """Return the linear layer in front of the last normalization."""
    layers = list(network.aggregation)
    if len(layers) > 1 and isinstance(layers[-1], L2Norm) and isinstance(layers[-2], nn.Linear):
        return layers[-2]
    return None


def _images(sources: Sequence[FrameSource],
            progress: Callable[[float], None]) -> Iterator[np.ndarray]:
    if not sources:
        raise InputError('no recording was given, expected images to fit the components to')
    done = 0
    for source in sources:
        before = done

        def show(count: float, before: int = before) -> None:
            progress(before + count)

        walk = RecordingWalk(source, show, require_poses=False)
        for _, image in walk.results(lambda frame: image_reader(frame)()):
            yield image
        walk.finish()
        done += len(source)
