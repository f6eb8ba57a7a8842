"""From trained weights to a model file that localises."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from seqnet_ros.config import ModelConfig, parse_model_config
from seqnet_ros.descriptors.describer import frame_dim
from seqnet_ros.descriptors.download import file_sha256
from seqnet_ros.descriptors.weights import local_path
from seqnet_ros.errors import InputError, ModelError
from seqnet_ros.files import explain_write_errors
from seqnet_ros.place_model import load_model_config
from seqnet_ros.training.seqnet_run import SeqNetRun


class WeightsFile(NamedTuple):
    """Tensors to be written beside a model file.

    Attributes:
        suffix: what follows the name of the model, ``.safetensors`` included.
        section: the part of the model's document whose ``weights`` name the file.
        tensors: what it holds.
    """

    suffix: str
    section: dict[str, Any]
    tensors: dict[str, Tensor]


def create_model(run: SeqNetRun, frame_model: str | Path, output: str | PathLike[str],
                 match_run: SeqNetRun | None = None) -> ModelConfig:
    """Write a model of a trained SeqNet on the frame descriptors of another model.

    The weights lie beside the model file, as safetensors. Centring is off: SeqNet is trained on
    descriptors as they are.

    Args:
        run: the trained SeqNet.
        frame_model: name or YAML file of the model whose images, frame descriptors, keyframes and
            matching are taken over.
        output: the YAML file to write, named as the model shall be; it must not exist.
        match_run: a SeqNet with kernel 1 that describes frames for sequence matching (the paper's
            HVPR); None matches frames as they are.

    Returns:
        The model as written; paths are relative to its file.

    Raises:
        ModelError: there is no such frame model, its descriptors are of another length, or the
            kernel of ``match_run`` is not 1.
        InputError: the file exists, has another ending, or cannot be written.
    """
    path = new_model_path(output, '.safetensors', '-matching.safetensors')
    frame, base_dir = load_model_config(frame_model)
    _check_run(run, frame)
    document = document_of(frame, base_dir)
    document.update(
        name=path.stem,
        description=f'SeqNet of {run.length} frames and kernel {run.kernel} on {frame.name}.',
        centring=False,
        sequence={'length': run.length, 'aggregator': 'seqnet', 'kernel': run.kernel,
                  'out_dim': run.out_dim})
    document.pop('projection', None)
    files = [WeightsFile('.safetensors', document['sequence'], _tensors(run))]
    if match_run is not None:
        _check_run(match_run, frame)
        if match_run.kernel != 1:
            raise ModelError('the run for sequence matching describes single frames, but its '
                             f'kernel spans {match_run.kernel}, expected 1')
        document['description'] += f' Frames are matched in {match_run.out_dim} dimensions.'
        document['projection'] = {'out_dim': match_run.out_dim}
        files.append(WeightsFile('-matching.safetensors', document['projection'],
                                 _tensors(match_run)))
    return write_model(path, document, files)


def new_model_path(output: str | PathLike[str], *suffixes: str) -> Path:
    """Check where a model shall be written, before the work of making it.

    Args:
        output: the YAML file.
        suffixes: of the files beside it.

    Raises:
        InputError: a file exists, or the model file has another ending.
        ModelError: the name of the file is no name of a model.
    """
    path = Path(output)
    if path.suffix != '.yaml':
        raise InputError(f'output is {path}, expected a file ending in .yaml')
    parse_model_config({'name': path.stem}, str(path))
    for file in (path, *(path.with_name(path.stem + suffix) for suffix in suffixes)):
        if file.exists():
            raise InputError(f'{file} exists, expected a new file')
    return path


def document_of(config: ModelConfig, base_dir: Path) -> dict[str, Any]:
    """Return what a model file says, to be changed and written to another folder.

    Args:
        config: the model as read.
        base_dir: folder of its file.
    """
    document = config.model_dump(mode='json', exclude_unset=True)
    if config.weights.path is not None:
        document['weights']['path'] = str(local_path(config.weights.path, base_dir).absolute())
    return document


def write_model(path: Path, document: dict[str, Any],
                files: Sequence[WeightsFile]) -> ModelConfig:
    """Write a model file with its weights beside it: all of it or nothing.

    Args:
        path: the model file, see `new_model_path`.
        document: what it says; the ``weights`` of the sections of ``files`` are filled in.
        files: the weights, named after the model.

    Returns:
        The model as written; paths are relative to its file.

    Raises:
        InputError: a file cannot be written.
        ModelError: the document is not a valid model.
    """
    written = [path.with_name(path.stem + file.suffix) for file in files]
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            for target, file in zip(written, files, strict=True):
                save_tensors(target, file.tensors)
                file.section['weights'] = {'path': target.name, 'sha256': file_sha256(target)}
            config = parse_model_config(document, str(path))
            path.write_text(yaml.safe_dump(document, sort_keys=False), encoding='utf-8')
        except BaseException:
            for target in (path, *written):
                target.unlink(missing_ok=True)
            raise
    return config


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; one that lies there is replaced.

    Raises:
        InputError: it cannot be written.
    """
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        raise InputError(f'{path} cannot be written: {error}') from error
    path.chmod(0o644)  # safetensors lets nobody else read it


def _check_run(run: SeqNetRun, frame: ModelConfig) -> None:
    if frame_dim(frame) != run.in_dim:
        raise ModelError(f'model {frame.name} makes frame descriptors of length '
                         f'{frame_dim(frame)}, but the SeqNet takes {run.in_dim}')


def _tensors(run: SeqNetRun) -> dict[str, Tensor]:
    return {f'sequence.{name}': tensor for name, tensor in run.module.state_dict().items()}
