"""From a training run to a model file that localises."""

import hashlib
from os import PathLike
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save

from seqnet_ros.config import ModelConfig, parse_model_config
from seqnet_ros.descriptors.describer import frame_dim
from seqnet_ros.descriptors.weights import local_path
from seqnet_ros.errors import InputError, ModelError
from seqnet_ros.place_model import load_model_config
from seqnet_ros.training.seqnet_run import SeqNetRun


def create_model(run: SeqNetRun, frame_model: str | Path,
                 output: str | PathLike[str]) -> ModelConfig:
    """Write a model of a trained SeqNet on the frame descriptors of another model.

    The weights lie beside the model file, as safetensors. Centring is off: SeqNet is trained on
    descriptors as they are.

    Args:
        run: the trained SeqNet.
        frame_model: name or YAML file of the model whose images, frame descriptors, keyframes and
            matching are taken over.
        output: the YAML file to write, named as the model shall be; it must not exist.

    Returns:
        The model as written; paths are relative to its file.

    Raises:
        ModelError: there is no such frame model, or its descriptors are of another length.
        InputError: the file exists, has another ending, or cannot be written.
    """
    path = Path(output)
    weights = path.with_suffix('.safetensors')
    if path.suffix != '.yaml':
        raise InputError(f'output is {path}, expected a file ending in .yaml')
    for file in (path, weights):
        if file.exists():
            raise InputError(f'{file} exists, expected a new file')
    frame, base_dir = load_model_config(frame_model)
    if frame_dim(frame) != run.in_dim:
        raise ModelError(f'model {frame.name} makes frame descriptors of length '
                         f'{frame_dim(frame)}, but the SeqNet takes {run.in_dim}')
    document = _document(run, frame, base_dir, path.stem)
    content = save({f'sequence.{name}': tensor.contiguous()
                    for name, tensor in run.module.state_dict().items()})
    document['sequence']['weights'] = {
        'path': weights.name, 'sha256': hashlib.sha256(content).hexdigest()}
    config = parse_model_config(document, str(path))
    _write(path, yaml.safe_dump(document, sort_keys=False), weights, content)
    return config


def _write(path: Path, text: str, weights: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            weights.write_bytes(content)
            path.write_text(text, encoding='utf-8')
        except BaseException:
            weights.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror or error}') from error


def _document(run: SeqNetRun, frame: ModelConfig, base_dir: Path, name: str) -> dict[str, Any]:
    """Return the model file of `frame` with SeqNet in place of its own sequences."""
    document = frame.model_dump(mode='json', exclude_unset=True)
    if frame.weights.path is not None:
        document['weights']['path'] = str(local_path(frame.weights.path, base_dir).absolute())
    document.update(
        name=name,
        description=f'SeqNet of {run.length} frames and kernel {run.kernel} on {frame.name}.',
        centring=False,
        sequence={'length': run.length, 'aggregator': 'seqnet', 'kernel': run.kernel,
                  'out_dim': run.out_dim})
    return document
