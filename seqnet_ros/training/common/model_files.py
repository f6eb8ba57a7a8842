"""Model files with trained weights beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from seqnet_ros.config.preset import Preset, parse_preset
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import move_new_files, refuse_existing, staging_folder
from seqnet_ros.descriptors.download import file_sha256
from seqnet_ros.descriptors.weights import local_path
from seqnet_ros.models.model_weights import portable_document


class WeightsFile(NamedTuple):
    """Tensors to be written beside a model file.

    Attributes:
        suffix: what follows the name of the model, ``.safetensors`` included.
        section: the part of the model's document whose ``weights`` name the file.
        tensors: its content.
    """

    suffix: str
    section: dict[str, Any]
    tensors: dict[str, Tensor]


def new_model_path(output: str | PathLike[str], *suffixes: str) -> Path:
    """Check the path of a new model before the model is made.

    Args:
        output: the YAML file.
        suffixes: of the files beside it.

    Raises:
        InputError: a file exists, or the model file has another ending.
        ModelError: the name of the file is not a valid model name.
    """
    path = Path(output)
    if path.suffix != '.yaml':
        raise InputError(f'output is {path}, expected a file ending in .yaml')
    parse_preset({'name': path.stem}, str(path))
    refuse_existing((path, *(path.with_name(path.stem + suffix) for suffix in suffixes)))
    return path


def document_of(preset: Preset, base_dir: Path) -> dict[str, Any]:
    """Return the content of a model file, to be changed and written to another folder.

    License and paper belong to its weights, not to new ones, so they are omitted.

    Args:
        preset: the model file as read.
        base_dir: folder of its file.
    """
    document = replace(preset, license=None, paper=None).document(exclude_unset=True)
    path = preset.model.weights.path
    if path is not None:
        document['weights']['path'] = str(local_path(path, base_dir).absolute())
    return document


def write_model(path: Path, document: dict[str, Any],
                files: Sequence[WeightsFile]) -> Preset:
    """Write a model file with its weights beside it: all of it or nothing.

    Args:
        path: the model file, see `new_model_path`.
        document: its content; the ``weights`` of the sections of ``files`` are filled in.
        files: the weights, named after the model.

    Returns:
        The model as written; paths into its folder are relative to it.

    Raises:
        InputError: a file cannot be written.
        ModelError: the document is not a valid model.
    """
    with staging_folder(path) as staging:
        for file in files:
            target = staging / (path.stem + file.suffix)
            save_tensors(target, file.tensors)
            file.section['weights'] = {'path': target.name, 'sha256': file_sha256(target)}
        document = portable_document(document, path.parent)
        preset = parse_preset(document, str(path))
        (staging / path.name).write_text(yaml.safe_dump(document, sort_keys=False))
        move_new_files(staging, path)
    return preset


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file; an existing one is replaced.

    Raises:
        InputError: it cannot be written.
    """
    try:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        raise InputError(f'{path} cannot be written: {error}') from error
    path.chmod(0o644)  # safetensors makes it readable for its owner only
