"""The weights of a model: which it needs, and where they are."""

from pathlib import Path

from seqnet_ros.config.model import AGGREGATORS, ModelConfig, WeightsConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.download import cached_path
from seqnet_ros.descriptors.network import NetworkConfig, VladConfig
from seqnet_ros.descriptors.weights import TRUNK_LAYOUTS, local_path, weights_path

# Layouts of files that hold the weights of frames and of sequences.
_WITH_SEQUENCE = ('seqnet_ros', 'jist', 'vg_transformers')


def weights_available(config: ModelConfig, base_dir: Path) -> bool:
    """Return whether a model can be loaded without a download or another file."""
    return not needs_fitting(config) and all(
        is_here(weights, base_dir) for weights in needed_weights(config))


def needs_fitting(config: ModelConfig) -> bool:
    """Return whether a model has a trunk only, and its clusters are yet to be fitted to images."""
    frame = config.frame
    return isinstance(frame, NetworkConfig) and isinstance(
        frame.pooling, VladConfig) and config.weights.layout in TRUNK_LAYOUTS


def needed_weights(config: ModelConfig) -> list[WeightsConfig]:
    """Return the weights that a model cannot be loaded without, those of the frames first."""
    needed = []
    in_frame_file = False
    if config.frame.takes_weights:
        needed.append(config.weights)
        in_frame_file = config.weights.named and config.weights.layout in _WITH_SEQUENCE
    sequence = config.sequence
    aggregator = AGGREGATORS.get(sequence.aggregator)
    expected = aggregator.trained and not in_frame_file
    if aggregator.learned and (sequence.weights.named or expected):
        needed.append(sequence.weights)
    if config.projection is not None:
        needed.append(config.projection.weights)
    return needed


def weights_of(config: ModelConfig) -> list[WeightsConfig]:
    """Return all weights that a model could name, those of the frames first."""
    projection = [] if config.projection is None else [config.projection.weights]
    return [config.weights, config.sequence.weights, *projection]


def is_here(weights: WeightsConfig, base_dir: Path) -> bool:
    """Return whether weights are a local or installed file, in the cache, or random."""
    path = weights_path(weights, base_dir)
    if path is not None and path.is_file():
        return True
    if weights.url:
        return cached_path(weights.url, weights.sha256).is_file()
    return weights.path is None and weights.random


def with_absolute_paths(config: ModelConfig, base_dir: Path | None) -> ModelConfig:
    """Make weight paths independent of the model file, so that a map can name its model."""
    def absolute(weights: WeightsConfig) -> WeightsConfig:
        if weights.path is None or weights.package is not None:
            return weights
        return weights.model_copy(
            update={'path': str(local_path(weights.path, base_dir).absolute())})

    sequence = config.sequence.model_copy(
        update={'weights': absolute(config.sequence.weights)})
    projection = config.projection and config.projection.model_copy(
        update={'weights': absolute(config.projection.weights)})
    return config.model_copy(update={
        'weights': absolute(config.weights), 'sequence': sequence, 'projection': projection})


def with_weights(config: ModelConfig, weights: Path) -> ModelConfig:
    """Return a model that takes the weights of its frames from another local file.

    Raises:
        ModelError: it takes no weights.
    """
    if not config.frame.takes_weights:
        raise ModelError(f'model {config.name} takes no weights, found {weights}')
    replaced = WeightsConfig(
        path=str(weights.expanduser().absolute()), layout=config.weights.layout)
    return config.model_copy(update={'weights': replaced})
