"""Exports of models: the network as one file, and a model file that runs it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from safetensors.torch import save_file

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.files import explain_write_errors, whole_file
from seqnet_ros.descriptors.describer import build_camera_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.download import file_sha256
from seqnet_ros.descriptors.export import export_onnx, export_openvino
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.descriptors.network_describer import load_frame_network
from seqnet_ros.descriptors.weights import of_aggregator
from seqnet_ros.models.model_weights import as_loaded, portable_document
from seqnet_ros.models.place_model import load_preset

Format = Literal['onnx', 'openvino']
_SUFFIXES: dict[str, tuple[str, ...]] = {'onnx': ('.onnx',), 'openvino': ('.xml', '.bin')}
_SEQUENCE = '-sequence.safetensors'


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes:
        network: its file.
        dim: length of a descriptor.
        difference: largest difference of a value of a descriptor to the original, relative to the
            largest value.
    """

    network: Path
    dim: int
    difference: float


def export_model(name: str, output: Path, form: Format, weights: Path | None = None) -> Exported:
    """Write the network of a model, and a model file that runs it.

    Args:
        name: name or file of the model.
        output: the new YAML file; the network is written beside it under the same name, and so are
            weights of the aggregator that were in one file with it.
        form: 'onnx' or 'openvino'.
        weights: local weights to use in place of those the model names.

    Raises:
        ModelError: there is no such model, it has no network, its weights are missing, a package
            is not installed, or its network leaves the range of the exported format.
        InputError: a file exists or cannot be written.
    """
    preset, folder = load_preset(name, weights)
    config = preset.model
    if not isinstance(config.frame, NetworkConfig):
        raise ModelError(f'model {config.name} describes frames by {config.frame.label}, expected '
                         'a network to export')
    if output.suffix != '.yaml':
        raise InputError(f'output is {output}, expected a file ending in .yaml')
    files = [*(output.with_suffix(suffix) for suffix in _SUFFIXES[form]),
             output.with_name(output.stem + _SEQUENCE)]
    for file in (output, *files):
        if file.exists():
            raise InputError(f'{file} exists, expected a new file')
    single = config.model_copy(update={'cameras': 1})
    image = np.random.default_rng(0).integers(
        0, 256, (config.image.height, config.image.width, 3), np.uint8)
    device = select_device('cpu')
    expected = build_camera_describer(single, device, folder).describe([image])
    network, sequence = load_frame_network(config, config.frame, folder)
    dim = network.dim
    with explain_write_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    try:
        {'onnx': export_onnx, 'openvino': export_openvino}[form](network, config.image, files[0])
        del network
        absolute = replace(preset, model=as_loaded(config, folder))
        document = absolute.document(exclude_unset=True) | {
            'name': output.stem, 'frame': _frame(config.frame, dim),
            'description': f'{config.name}, exported to {files[0].suffix[1:].upper()}.',
            'weights': {'path': files[0].name, 'sha256': file_sha256(files[0])}}
        if sequence:
            # The weights of the aggregator came in the file of the network.
            tensors = {f'sequence.{name}': tensor.contiguous()
                       for name, tensor in of_aggregator(sequence).items()}
            save_file(tensors, files[-1])
            document['sequence']['weights'] = {
                'path': files[-1].name, 'sha256': file_sha256(files[-1])}
        document = portable_document(document, output.parent)
        exported = parse_preset(document, str(output)).model.model_copy(update={'cameras': 1})
        found = build_camera_describer(exported, device, output.parent).describe([image])
        with whole_file(output) as target:
            target.write(yaml.safe_dump(document, sort_keys=False).encode())
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    return Exported(files[0], dim, difference)


def _frame(frame: NetworkConfig, dim: int) -> dict[str, Any]:
    """Return the settings of the frame descriptor that runs the exported network."""
    clusters = {} if frame.vlad_clusters is None else {'summed_clusters': frame.vlad_clusters}
    length = {} if frame.normalizes or clusters else {'normalise': False}
    return {'kind': 'onnx', 'out_dim': dim, **length, **clusters}
