"""The weights of a model: which it needs, and where they are."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from seqnet_ros.config.model import AGGREGATORS, ModelConfig, WeightsConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.download import cached_path, file_sha256, find_cached_content
from seqnet_ros.descriptors.network import NetworkConfig, VladConfig
from seqnet_ros.descriptors.weights import (
    TRUNK_LAYOUTS,
    find_weights,
    local_path,
    weights_path,
)

# Layouts of files that hold the weights of frames and of sequences.
_WITH_SEQUENCE = ('seqnet_ros', 'jist', 'vg_transformers')
# Endings of files that may be weights under another name.
_SUFFIXES = ('.safetensors', '.pth', '.pt', '.ckpt', '.tar', '.bin', '.onnx', '.xml')

_logger = logging.getLogger(__name__)


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
    if config.reduction is not None and config.reduction.kind == 'pca':
        needed.append(config.reduction.weights)
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
    parts = (config.sequence, config.reduction, config.projection)
    return [config.weights, *(part.weights for part in parts if part is not None)]


def is_here(weights: WeightsConfig, base_dir: Path) -> bool:
    """Return whether weights are a local or installed file, in the cache, or random."""
    path = weights_path(weights, base_dir)
    if path is not None and path.is_file():
        return True
    if weights.url:
        return cached_path(weights.url, weights.sha256).is_file()
    return weights.path is None and weights.random


def as_loaded(config: ModelConfig, base_dir: Path | None) -> ModelConfig:
    """Return a model that was just loaded as a map names it: weights by path and content.

    Paths are absolute, and the sha256 of every file is filled in, so that the weights are found
    wherever the map is opened.

    Args:
        config: the model.
        base_dir: folder of its file.

    Raises:
        ModelError: a file disappeared since the model was loaded.
    """
    def name(weights: WeightsConfig) -> WeightsConfig:
        if weights.package is not None or not weights.named:
            return weights
        found = None if weights.sha256 else find_weights(weights, base_dir)
        path = weights.path and str(local_path(weights.path, base_dir).absolute())
        return weights.model_copy(update={
            'path': path, 'sha256': weights.sha256 if found is None else file_sha256(found)})

    return with_changed_weights(config, name)


def with_weights(config: ModelConfig, weights: Path) -> ModelConfig:
    """Return a model that takes its weights from another local file, or from a folder.

    A file replaces the weights of the frames. In a folder, the weights of frames, sequences and
    projection are found by name and content.

    Raises:
        ModelError: it takes no weights, or the folder holds none of them.
    """
    weights = weights.expanduser().absolute()
    if not weights.is_dir():
        if not config.frame.takes_weights:
            raise ModelError(f'model {config.name} takes no weights, found {weights}')
        replaced = WeightsConfig(path=str(weights), layout=config.weights.layout)
        return config.model_copy(update={'weights': replaced})
    files = [_find_in([weights], one) for one in needed_weights(config)]
    if not any(files):
        wanted = ' or '.join(_shown(one) for one in needed_weights(config)) or 'none'
        raise ModelError(f'the folder {weights} holds no weights of model {config.name}, expected '
                         f'{wanted}')
    return with_changed_weights(config, lambda one: _at(one, _find_in([weights], one)))


def with_found_weights(config: ModelConfig, base_dir: Path, folders: Sequence[Path] = (), *,
                       same_tensors: bool = False) -> ModelConfig:
    """Return a model whose weights that are not where it says are found elsewhere, if they can be.

    They are looked for under their name in the folders, then by their sha256 in the folders and in
    the cache. Nothing is downloaded.

    Args:
        config: the model.
        base_dir: where relative paths start.
        folders: where to look, in this order; ``base_dir`` comes last.
        same_tensors: where no file has the sha256, take one of the same name: the caller compares
            the fingerprint, which is of the tensors and not of their file. Not of programs.
    """
    loose = same_tensors and not config.frame.is_program

    def find(weights: WeightsConfig) -> WeightsConfig:
        original = weights
        if weights.package is not None or not weights.named:
            return weights
        if _is_there(weights, base_dir):
            return weights if weights.path is None else _at(
                weights, local_path(weights.path, base_dir))
        found = _find_in([*folders, base_dir], weights) or (
            None if weights.sha256 is None else find_cached_content(weights.sha256))
        if found is None and loose:
            weights = weights.model_copy(update={'sha256': None})
            if weights.path is not None and (at := local_path(weights.path, base_dir)).is_file():
                return _at(weights, at)
            found = _find_in([*folders, base_dir], weights)
        if found is not None:
            _logger.info('weights %s: using %s', _shown(weights), found)
            return _at(weights, found)
        return original

    return with_changed_weights(config, find)


def with_changed_weights(config: ModelConfig,
                         change: Callable[[WeightsConfig], WeightsConfig]) -> ModelConfig:
    """Return a model with each of the weights that it needs replaced."""
    needed = needed_weights(config)

    def changed(weights: WeightsConfig) -> WeightsConfig:
        return change(weights) if any(weights is one for one in needed) else weights

    sequence = config.sequence.model_copy(
        update={'weights': changed(config.sequence.weights)})
    projection = config.projection and config.projection.model_copy(
        update={'weights': changed(config.projection.weights)})
    reduction = config.reduction and config.reduction.model_copy(
        update={'weights': changed(config.reduction.weights)})
    return config.model_copy(update={
        'weights': changed(config.weights), 'sequence': sequence, 'projection': projection,
        'reduction': reduction})


def portable_document(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the content of a model file whose weights are found where the file is moved with them.

    Absolute paths into its folder become relative, and every local file gets its sha256, by which
    it is found elsewhere.

    Args:
        document: the content.
        folder: the folder of the model file.
    """
    def portable(weights: dict[str, Any]) -> dict[str, Any]:
        path = weights.get('path')
        if path is None or weights.get('package') is not None:
            return weights
        file = local_path(path, folder).absolute()
        if not file.is_file():
            return weights
        inside = file.is_relative_to(folder.absolute())
        return {**weights, 'path': str(file.relative_to(folder.absolute()) if inside else file),
                'sha256': weights.get('sha256') or file_sha256(file)}

    changed = dict(document)
    if changed.get('weights'):
        changed['weights'] = portable(changed['weights'])
    for section in ('sequence', 'projection', 'reduction'):
        if (changed.get(section) or {}).get('weights'):
            changed[section] = {
                **changed[section], 'weights': portable(changed[section]['weights'])}
    return changed


def missing_weights(config: ModelConfig, base_dir: Path) -> list[str]:
    """Return the weights that are neither on this machine nor have an address, by name."""
    return [_shown(weights) for weights in needed_weights(config)
            if weights.path is not None and weights.package is None and weights.url is None
            and not is_here(weights, base_dir)]


def _is_there(weights: WeightsConfig, base_dir: Path) -> bool:
    """Return whether weights are where they are said to be, and not others in their place."""
    if weights.path is None:
        return is_here(weights, base_dir)
    path = local_path(weights.path, base_dir)
    if not path.is_file():
        # Not downloaded yet, or in the cache under the hash of its address.
        return weights.url is not None and is_here(weights, base_dir)
    return weights.sha256 is None or file_sha256(path) == weights.sha256


def _find_in(folders: Sequence[Path], weights: WeightsConfig) -> Path | None:
    """Return the file of weights in one of the folders; of a known hash, it has that."""
    if weights.package is not None or not weights.named:
        return None
    name = _file_name(weights)
    for folder in folders:
        named = folder / name
        if named.is_file() and weights.sha256 in (None, file_sha256(named)):
            return named
    if weights.sha256 is None:
        return None
    for folder in folders:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
        for entry in entries:
            if (entry.suffix in _SUFFIXES and entry.name != name and entry.is_file()
                    and file_sha256(entry) == weights.sha256):
                return entry
    return None


def _at(weights: WeightsConfig, path: Path | None) -> WeightsConfig:
    return weights if path is None else weights.model_copy(update={'path': str(path.absolute())})


def _file_name(weights: WeightsConfig) -> str:
    if weights.path is not None:
        return Path(weights.path).name
    return Path(unquote(urlsplit(weights.url or '').path)).name or 'weights'


def _shown(weights: WeightsConfig) -> str:
    known = '' if weights.sha256 is None else f' (sha256 {weights.sha256[:8]}...)'
    return f'{_file_name(weights)}{known}'
