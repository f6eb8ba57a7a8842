"""The network that CosPlace and JIST train: its initial weights, frozen layers and files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from seqnet_ros.config.model import AGGREGATORS, ModelConfig
from seqnet_ros.config.preset import Preset, parse_preset
from seqnet_ros.core.errors import ModelError
from seqnet_ros.core.files import explain_write_errors, whole_file
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.network import VISION_TRANSFORMERS, GemConfig, NetworkConfig
from seqnet_ros.descriptors.weights import (
    find_weights,
    load_strictly,
    of_aggregator,
    read_tensors,
    translate,
    without_stages_beyond,
    write_torch,
)
from seqnet_ros.models.place_model import load_preset
from seqnet_ros.sequences.aggregators import build_aggregator
from seqnet_ros.training.common.model_files import document_of, save_tensors
from seqnet_ros.training.cosplace.config import BatchNormUpdate

MODEL, TENSORS, BEST = 'model.yaml', 'model.safetensors', 'best_model.pth'

_RESNET_STEM = 4
_LINEAR = 'aggregation.3.'


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network in training.

    Attributes:
        preset: the model file of the network; its weights and sequences are replaced by those of
            the training.
        base_dir: where paths in ``preset`` start.
        network: images to frame descriptors, on the CPU.
        aggregator: frame descriptors of a sequence to its descriptor; None trains single images.
    """

    preset: Preset
    base_dir: Path
    network: FrameNetwork
    aggregator: nn.Module | None = None

    @property
    def config(self) -> ModelConfig:
        """The model."""
        return self.preset.model

    @property
    def frame(self) -> NetworkConfig:
        """Configuration of the network."""
        assert isinstance(self.config.frame, NetworkConfig)
        return self.config.frame

    def published_state(self) -> dict[str, Tensor]:
        """Return all tensors under the names of CosPlace or, with an aggregator, of JIST."""
        if self.aggregator is None:
            return dict(self.network.state_dict())
        return {
            **{f'model.{name}': tensor for name, tensor in self.network.state_dict().items()},
            **{_published_name(name): tensor
               for name, tensor in self.aggregator.state_dict().items()}}

    def load_published(self, tensors: Mapping[str, Tensor], origin: str) -> None:
        """Take over tensors with the names of `published_state`.

        Raises:
            ModelError: they are of another architecture; the message names what differs.
        """
        names = {_published_name(name): name for name in (
            () if self.aggregator is None else self.aggregator.state_dict())}
        load_strictly(self.network, {
            name.removeprefix('model.'): tensor for name, tensor in tensors.items()
            if name not in names}, origin)
        if self.aggregator is not None:
            load_strictly(self.aggregator, {names[name]: tensor for name, tensor in tensors.items()
                                            if name in names}, origin)

    def save(self, folder: Path, description: str) -> None:
        """Write the model as it is now, for `--model` and for the published code.

        ``model.yaml`` and ``model.safetensors`` are a model of this package, ``best_model.pth``
        holds the same tensors under the published names. Each file is replaced when it is
        complete.

        Raises:
            InputError: a file cannot be written.
        """
        document = self._document(folder, description)
        state = {name: tensor.detach().cpu() for name, tensor in self.published_state().items()}
        write_torch(folder / BEST, state)
        part = folder / f'{TENSORS}.part'
        save_tensors(part, self._own_tensors())
        with explain_write_errors(folder / TENSORS):
            part.replace(folder / TENSORS)
        with whole_file(folder / MODEL) as file:
            file.write(yaml.safe_dump(document, sort_keys=False).encode())

    def _own_tensors(self) -> dict[str, Tensor]:
        sequence = {} if self.aggregator is None else self.aggregator.state_dict()
        return {name: tensor.detach().cpu() for name, tensor in (
            *self.network.state_dict().items(),
            *((f'sequence.{name}', tensor) for name, tensor in sequence.items()))}

    def _document(self, folder: Path, description: str) -> dict[str, Any]:
        document = document_of(self.preset, self.base_dir)
        document = {'name': _model_name(folder), 'description': description,
                    **{part: value for part, value in document.items()
                       if part not in ('name', 'description')},
                    'weights': {'path': TENSORS}}
        parse_preset(document, str(folder / MODEL))
        return document


def _published_name(name: str) -> str:
    """Return what JIST calls a tensor of an aggregator."""
    return 'seq_gem.p' if name == 'p' else name


def _model_name(folder: Path) -> str:
    try:
        return parse_preset({'name': folder.name}, '').model.name
    except ModelError:
        return Path(MODEL).stem


def start_model(frame_model: str | Path, fc_dim: int | None, seed: int,
                sequence: Mapping[str, Any] | None = None) -> TrainedModel:
    """Build the network to be trained, with the weights it starts from.

    Only the trunk of ImageNet weights is used. Parts without weights are initialized at random: all
    of a model that allows random weights, and the linear layer where the model has none of that
    size.

    Args:
        frame_model: name or YAML file of a model of a network with GeM.
        fc_dim: length of the frame descriptors; None keeps that of the model.
        seed: of the random weights.
        sequence: how sequences are described, as ``sequence`` of a model file; None trains single
            images.

    Raises:
        ModelError: there is no such model, it is of another kind, or its weights are missing or
            do not fit.
    """
    preset, base_dir = load_preset(frame_model)
    config = preset.model
    frame = config.frame
    if not isinstance(frame, NetworkConfig) or not isinstance(frame.pooling, GemConfig):
        raise ModelError(f'model {config.name} describes frames by {frame.label}, expected a '
                         'network with GeM to train')
    if frame.backbone in VISION_TRANSFORMERS:
        raise ModelError(f'model {config.name} has the trunk {frame.backbone}, expected a '
                         'convolutional one: vision transformers are not trained')
    same_linear = fc_dim in (None, frame.pooling.fc_dim)
    if fc_dim is not None:
        pooling = frame.pooling.model_copy(update={'fc_dim': fc_dim})
        frame = frame.model_copy(update={'pooling': pooling})
    document = document_of(preset, base_dir)
    document['frame'] = frame.model_dump(mode='json', exclude_unset=True)
    if sequence is not None:
        document.update(sequence=dict(sequence), centring=False)
    elif AGGREGATORS.get(config.sequence.aggregator).learned:  # on other descriptors
        document['sequence'] = {'length': preset.engine.sequence.length}
    document.pop('projection', None)
    trained = parse_preset(document, str(frame_model))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FrameNetwork(frame, config.image)
        aggregator = None if sequence is None else build_aggregator(
            trained.model.sequence, trained.engine.sequence.length, network.dim)
    _load_weights(network, aggregator, config, base_dir, same_linear)
    return TrainedModel(trained, base_dir, network, aggregator)


def _load_weights(network: FrameNetwork, aggregator: nn.Module | None, config: ModelConfig,
                  base_dir: Path, same_linear: bool) -> None:
    path = find_weights(config.weights, base_dir)
    if path is None:
        if not config.weights.random:
            raise ModelError(f'model {config.name} needs weights to start from: set weights.path, '
                             'or weights.random: true')
        return
    found = translate(read_tensors(path), config.weights.layout)
    tensors = found.frame
    drawn = {name: tensor for name, tensor in network.state_dict().items()
             if name.startswith('aggregation.')}
    if config.weights.layout == 'torchvision':
        tensors = {**drawn, **without_stages_beyond(tensors, len(network.backbone))}
    elif not same_linear:
        tensors = {
            **{name: tensor for name, tensor in tensors.items() if not name.startswith(_LINEAR)},
            **{name: tensor for name, tensor in drawn.items() if name.startswith(_LINEAR)}}
    load_strictly(network, tensors, str(path))
    started = of_aggregator(found.sequence)
    if aggregator is not None and started.keys() == aggregator.state_dict().keys() != set():
        load_strictly(aggregator, started, str(path))


def fix_layers(model: TrainedModel, layers: int | None, usual: Mapping[str, int]) -> None:
    """Keep the weights of the first layers of the trunk as they are.

    Args:
        model: the network.
        layers: how many, counted as ``frame.layer`` of a model is; of a ResNet the first takes
            everything before it along. None takes the usual number.
        usual: that number by the beginning of the trunk's name.

    Raises:
        ModelError: the trunk has fewer.
    """
    name, trunk = model.frame.backbone, list(model.network.backbone.children())
    stem = _RESNET_STEM if name.startswith('resnet') else 0
    most = len(trunk) - stem
    if layers is None:
        layers = min(most, next(count for start, count in usual.items() if name.startswith(start)))
    if layers > most:
        raise ModelError(f'{name} has {most} layers, but frozen_layers is {layers}')
    for module in trunk[: stem + layers if layers else 0]:
        module.requires_grad_(False)


def set_training_mode(model: TrainedModel, update: BatchNormUpdate) -> None:
    """Bring the network into training mode; the other batch norms keep their statistics.

    Args:
        model: the network.
        update: batch norms that normalize by the current batch and update their statistics.
    """
    for module in (model.network, model.aggregator):
        if module is not None:
            module.train()
    for module in model.network.modules():
        if isinstance(module, _BatchNorm):
            trained = any(weights.requires_grad for weights in module.parameters())
            module.train(update == 'all' or (update == 'trained' and trained))
