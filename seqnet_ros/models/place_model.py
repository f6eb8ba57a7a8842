"""Models: finding, reading and identifying them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.model import AGGREGATORS, AggregatorConfig, ModelConfig
from seqnet_ros.config.preset import Preset, parse_preset
from seqnet_ros.core.documents import read_yaml
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.images import View
from seqnet_ros.descriptors.describer import FrameDescriber, build_describer, frame_dim
from seqnet_ros.descriptors.device import Device, select_device
from seqnet_ros.descriptors.download import cache_dir
from seqnet_ros.descriptors.weights import (
    digest_tensors,
    find_weights,
    load_strictly,
    of_aggregator,
    read_aggregator,
    repeatable_random,
)
from seqnet_ros.models.default_model import default_model
from seqnet_ros.models.model_path import MODEL_PATH, find_named_model, named_models
from seqnet_ros.models.model_weights import (
    as_loaded,
    is_here,
    missing_weights,
    weights_available,
    weights_of,
    with_found_weights,
    with_weights,
)
from seqnet_ros.models.pretrained import Pretrained
from seqnet_ros.sequences.aggregator import SequenceAggregator
from seqnet_ros.sequences.aggregators import build_aggregator
from seqnet_ros.sequences.centring import centre
from seqnet_ros.sequences.seqnet_aggregators import Smooth

_SUFFIXES = ('.yaml', '.yml')


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be loaded by name.

    Attributes:
        name: its name.
        path: its file.
        description: one or two human-readable sentences.
        dim: length of a frame descriptor.
        weights_available: whether it can be loaded without a download or another file.
        license: license of its weights, where it is known.
        paper: the paper that describes it, where there is one.
        pretrained: its weights; None if it needs none.
        config: what identifies its descriptors.
    """

    name: str
    path: Path
    description: str
    dim: int
    weights_available: bool
    license: str | None
    paper: str | None
    pretrained: Pretrained | None
    config: ModelConfig


@dataclass(frozen=True)
class PlaceModel:
    """A model ready to run.

    Attributes:
        config: what identifies its descriptors; weights have absolute paths and their sha256.
        engine: the settings that its file gives; the defaults of localizer, mapper and loop closer.
        describer: images to frame descriptors ``[N, D]``.
        aggregator: frame descriptors ``[B, L, D]`` to sequence descriptors ``[B, D']``.
        fingerprint: equal if and only if descriptors can be compared.
        device: where networks run.
        projection: frame descriptors ``[B, 1, D]`` to those that sequence matching compares,
            unit-norm ``[B, D'']``; None where it compares frame descriptors as they are.
    """

    config: ModelConfig
    engine: EngineConfig
    describer: FrameDescriber
    aggregator: SequenceAggregator
    fingerprint: str
    device: Device
    projection: SequenceAggregator | None = None

    @property
    def preset(self) -> Preset:
        """The model and its settings, as a model file holds them."""
        return Preset(self.config, self.engine)

    def describe(self, view: View) -> np.ndarray:
        """Return the frame descriptor ``[D]`` of what the robot sees at one moment.

        Raises:
            InputError: it is not one RGB uint8 ``[H, W, 3]`` image of each camera of the model, or
                the descriptor is not finite.
        """
        descriptor = self.describer.describe([cast(np.ndarray, view)])[0]
        if not np.isfinite(descriptor).all():
            raise InputError(f'model {self.config.name} gave a descriptor that is not finite')
        return descriptor

    def prepare(self, frames: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
        """Return frames as the aggregator and the projection take them, float32 ``[N, D]``.

        They are centered if a mean is given, and of unit length; frames of models that do not
        normalize them are returned unchanged.
        """
        return centre(frames, mean) if self.config.normalises_frames else frames


def load_model(name_or_path: str | Path = '', device: str = 'auto',
               weights: Path | None = None) -> PlaceModel:
    """Load a model by name or file, with its weights.

    Args:
        name_or_path: name of a shipped model, or path of a YAML file; '' is the default model.
        device: 'auto', 'cuda', 'cpu' or 'openvino'.
        weights: local weights to use in place of those the file names: a file for those of the
            frames, or a folder.

    Raises:
        ModelError: there is no such model, or it cannot be loaded; the message says why.
    """
    preset, base_dir = load_preset(name_or_path, weights)
    return build_model(preset, device, base_dir)


def build_model(preset: Preset, device: str = 'auto', base_dir: Path | None = None,
                weights: Path | None = None) -> PlaceModel:
    """Load the model that a model file or a map describes.

    Without the folder of a model file it is that of a map, which may come from anywhere: it may
    name Python functions only if an installed model names the same ones.

    Raises:
        ModelError: its weights are missing or do not fit, or it names another function.
    """
    config = preset.model if weights is None else with_weights(preset.model, weights)
    if base_dir is None and config.frame.runs_code:
        _check_installed(config)
    if base_dir is not None:
        config = with_found_weights(config, base_dir)
    length = preset.engine.sequence.length
    chosen = select_device(device)
    describer = build_describer(config, chosen, base_dir)
    aggregator = _load_aggregator(config, length, describer, base_dir)
    projection = _load_projection(config, describer.dim, aggregator, base_dir)
    digest = describer.weights_digest
    for module in (aggregator, projection):
        if module is not None and module.state_dict():
            digest += digest_tensors(module.state_dict())
    return PlaceModel(as_loaded(config, base_dir), preset.engine, describer, aggregator,
                      config_fingerprint(config, digest), chosen, projection)


def build_map_model(preset: Preset, device: str = 'auto', weights: Path | None = None,
                    map_path: Path | None = None) -> PlaceModel:
    """Load the model that a map describes.

    Its weights are those at the path that the map names, else those beside the map or in
    ``MAP.weights``, else those in the cache; a map of this version knows their sha256. The caller
    compares the fingerprint, see `seqnet_ros.maps.map_reader.check_model`.

    A map may come from anywhere, so nothing is downloaded because it says so: an address counts
    only if the file is in the cache already, or an installed model names the same one.

    Args:
        preset: of the manifest.
        device: 'auto', 'cuda', 'cpu' or 'openvino'.
        weights: local weights to use in place of those the map names: a file for those of the
            frames, or a folder.
        map_path: directory of the map; without, nothing is looked for beside it.

    Raises:
        ModelError: its weights are missing, would have to be downloaded, or do not fit.
    """
    config = preset.model if weights is None else with_weights(preset.model, weights)
    if map_path is not None:
        beside = map_path.expanduser().absolute().parent
        config = with_found_weights(config, beside, [beside / weights_folder(map_path)],
                                    same_tensors=True)
        if missing := missing_weights(config, beside):
            raise ModelError(
                f'the weights {missing[0]} of the map are neither where it says nor in {beside} '
                f'or the cache {cache_dir()}: place the file beside the map, or pass --weights '
                'with the file or its folder')
    foreign = [one for one in weights_of(config)
               if one.path is None and one.url is not None and not is_here(one, Path())]
    if foreign:
        installed = {(one.url, one.sha256) for path in named_models().values()
                     for one in weights_of(_read_model_file(path).model)}
        for one in foreign:
            if (one.url, one.sha256) not in installed:
                raise ModelError(
                    f'the map names weights at {one.url}, which no installed model does: nothing '
                    'was downloaded, expected the weights as a local file')
    return build_model(replace(preset, model=config), device)


def weights_folder(map_path: Path) -> str:
    """Return the name of the folder beside a map for the weights that came with it."""
    return f'{map_path.absolute().name}.weights'


def find_model_file(name_or_path: str | Path) -> Path | None:
    """Return the file of a model given by name or by path; None where there is none."""
    path = Path(name_or_path).expanduser()
    if path.suffix in _SUFFIXES:
        return path if path.is_file() else None
    return find_named_model(str(name_or_path))


def list_models() -> list[ModelInfo]:
    """Return the available models, by name.

    Raises:
        ModelError: one of their files is not a model.
    """
    return [_model_info(path) for _, path in sorted(named_models().items())]


def _expected_model(name_or_path: str | Path) -> str:
    """Return what could have been meant, without the long list of names where it is clear."""
    if Path(name_or_path).suffix in _SUFFIXES:
        return 'there is no such file'
    names = sorted(named_models())
    close = get_close_matches(str(name_or_path), names, n=3)
    return f'expected a YAML file or one of: {", ".join(close or names) or "none"}'


def load_preset(name_or_path: str | Path, weights: Path | None = None) -> tuple[Preset, Path]:
    """Read a model file.

    Args:
        name_or_path: name of a shipped model, or path of a YAML file; '' is the default model.
        weights: local weights to use in place of those the file names, in the same layout.

    Returns:
        The content of the file and the directory its relative paths start from.

    Raises:
        ModelError: there is no such model, its file is not a valid one, or it takes no weights.
    """
    name_or_path = name_or_path or default_model()
    path = find_model_file(name_or_path)
    if path is None:
        raise ModelError(f'no model {str(name_or_path)!r}: {_expected_model(name_or_path)}')
    preset = _read_model_file(path)
    if weights is not None:
        preset = replace(preset, model=with_weights(preset.model, weights))
    return preset, path.absolute().parent


def config_fingerprint(config: ModelConfig, weights_digest: str) -> str:
    """Return a sha256 that is equal if and only if descriptors can be compared.

    Args:
        config: the model.
        weights_digest: hash over the weight tensors, not their file.
    """
    meaning = {**config.identity(), 'weights_digest': weights_digest}
    canonical = json.dumps(meaning, sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _model_info(path: Path) -> ModelInfo:
    preset = _read_model_file(path)
    config = preset.model
    return ModelInfo(
        name=path.stem, path=path, description=config.description, dim=frame_dim(config),
        weights_available=weights_available(config, path.parent), license=preset.license,
        paper=preset.paper, pretrained=Pretrained.of(preset), config=config)


def _check_installed(config: ModelConfig) -> None:
    """Check that an installed model has the same frame descriptor."""
    for path in named_models().values():
        if _read_model_file(path).model.frame == config.frame:
            return
    raise ModelError(f'the map names the Python function {config.frame.label}, but no model file '
                     f'in the folders of {MODEL_PATH} does: nothing was run; put the model file '
                     'into one of them')


def _read_model_file(path: Path) -> Preset:
    try:
        values = read_yaml(path)
    except InputError as error:
        raise ModelError(str(error)) from error
    if not isinstance(values, dict):
        raise ModelError(f'{path} holds a {type(values).__name__}, expected the fields of a model')
    named = {str(name): value for name, value in values.items()}
    return parse_preset({'name': path.stem, **named}, str(path))


def _load_aggregator(config: ModelConfig, length: int, describer: FrameDescriber,
                     base_dir: Path | None) -> SequenceAggregator:
    """Build the aggregator, with weights from its own file or from the file of the frames."""
    sequence = config.sequence
    kind = AGGREGATORS.get(sequence.aggregator)
    if not kind.learned:
        return build_aggregator(sequence, length, describer.dim, config.frame.vlad_clusters)
    path = find_weights(sequence.weights, base_dir)
    if path is not None:
        return _trained(sequence, length, describer.dim,
                        read_aggregator(path, sequence.weights.layout), str(path))
    # A JIST file without the weights of its aggregator is invalid.
    of_jist = config.weights.named and config.weights.layout == 'jist'
    if describer.sequence_tensors or (of_jist and not kind.own_weights):
        return _trained(sequence, length, describer.dim,
                        of_aggregator(describer.sequence_tensors), describer.name)
    if kind.trained and not sequence.weights.random:
        raise ModelError(
            f'model {config.name} needs sequence.weights for {sequence.aggregator}')
    with repeatable_random():
        return build_aggregator(sequence, length, describer.dim)


def _load_projection(config: ModelConfig, dim: int, aggregator: SequenceAggregator,
                     base_dir: Path | None) -> SequenceAggregator | None:
    """Build the projection of single frames: a SeqNet with kernel 1.

    The sums of SeqVLAD become comparable by SeqVLAD itself, as sequences of one frame: NetVLAD.
    Other frames that are not of unit length become comparable by normalizing them.
    """
    if AGGREGATORS.get(config.sequence.aggregator).sums_frames:
        return aggregator
    if not config.normalises_frames:
        return Smooth()
    if config.projection is None:
        return None
    weights = config.projection.weights
    layer = AggregatorConfig(aggregator='seqnet', kernel=1, out_dim=config.projection.out_dim)
    path = find_weights(weights, base_dir)
    if path is not None:
        return _trained(layer, 1, dim, read_aggregator(path, weights.layout), str(path))
    if not weights.random:
        raise ModelError(f'model {config.name} needs projection.weights, found none')
    with repeatable_random():
        return build_aggregator(layer, 1, dim)


def _trained(config: AggregatorConfig, length: int, dim: int, tensors: Mapping[str, Tensor],
             origin: str) -> SequenceAggregator:
    with torch.device('meta'):
        module = build_aggregator(config, length, dim)
    load_strictly(module, tensors, origin)
    return module
