"""Exports of models: the network as one file, and a model file that runs it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from safetensors.torch import save_file

from seqnet_ros.config.model import ImageConfig, ModelConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.files import move_new_files, refuse_existing, staging_folder
from seqnet_ros.datasets.recordings.frame_walk import FrameWalk, image_reader, warn_damaged
from seqnet_ros.datasets.recordings.frames import FrameSource
from seqnet_ros.descriptors.describer import build_camera_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.download import file_sha256
from seqnet_ros.descriptors.export import export_onnx, export_openvino
from seqnet_ros.descriptors.image_checks import resize_antialiased
from seqnet_ros.descriptors.network import VISION_TRANSFORMERS, NetworkConfig
from seqnet_ros.descriptors.network_describer import load_frame_network
from seqnet_ros.descriptors.quantization import MOST_IMAGES, import_nncf
from seqnet_ros.descriptors.weights import of_aggregator
from seqnet_ros.models.model_weights import as_loaded, portable_document
from seqnet_ros.models.place_model import load_preset

Format = Literal['onnx', 'openvino']
_NAMES = {'onnx': 'ONNX', 'openvino': 'OpenVINO'}
_SUFFIXES: dict[str, tuple[str, ...]] = {'onnx': ('.onnx',), 'openvino': ('.xml', '.bin')}
_SEQUENCE = '-sequence.safetensors'
_COMPARED = 20
"""Images that an int8 network is compared with the original on."""


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes:
        network: its file.
        dim: length of a descriptor.
        difference: largest difference of a value of a descriptor to the original, relative to the
            largest value.
        similarity: mean cosine of a descriptor and the original.
        images: number of images that int8 was calibrated with; 0 for a network of float32.
    """

    network: Path
    dim: int
    difference: float
    similarity: float
    images: int = 0


def export_model(name: str, output: Path, form: Format, weights: Path | None = None,
                 quantized_for: Sequence[np.ndarray] = ()) -> Exported:
    """Write the network of a model, and a model file that runs it.

    Args:
        name: name or file of the model.
        output: the new YAML file; the network is written beside it under the same name, and so are
            weights of the aggregator that were in one file with it.
        form: 'onnx' or 'openvino'.
        weights: local weights to use in place of those the model names.
        quantized_for: RGB uint8 images ``[H, W, 3]`` that make an OpenVINO network one of int8,
            see `images_of`; none for float32.

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
    if quantized_for:
        check_quantizable(config)
    if output.suffix != '.yaml':
        raise InputError(f'output is {output}, expected a file ending in .yaml')
    names = [f'{output.stem}{suffix}' for suffix in (*_SUFFIXES[form], _SEQUENCE)]
    refuse_existing((output, *(output.with_name(name) for name in names)))
    single = config.model_copy(update={'cameras': 1})
    images = list(quantized_for[:_COMPARED]) or [np.random.default_rng(0).integers(
        0, 256, (config.image.height, config.image.width, 3), np.uint8)]
    device = select_device('cpu')
    expected = build_camera_describer(single, device, folder).describe(images)
    network, sequence = load_frame_network(config, config.frame, folder)
    dim = network.dim
    with staging_folder(output) as staging:
        files = [staging / name for name in names]
        if form == 'onnx':
            export_onnx(network, config.image, files[0])
        else:
            export_openvino(network, config.image, files[0], quantized_for)
        del network
        absolute = replace(preset, model=as_loaded(config, folder))
        document = absolute.document(exclude_unset=True) | {
            'name': output.stem, 'frame': _frame(config.frame, dim),
            'description': _description(config.name, form, len(quantized_for)),
            'weights': {'path': files[0].name, 'sha256': file_sha256(files[0])}}
        if sequence:
            # The weights of the aggregator came in the file of the network.
            tensors = {f'sequence.{name}': tensor.contiguous()
                       for name, tensor in of_aggregator(sequence).items()}
            save_file(tensors, files[-1])
            document['sequence']['weights'] = {
                'path': files[-1].name, 'sha256': file_sha256(files[-1])}
        exported = parse_preset(document, str(output)).model.model_copy(update={'cameras': 1})
        found = build_camera_describer(exported, device, staging).describe(images)
        (staging / output.name).write_text(
            yaml.safe_dump(portable_document(document, output.parent), sort_keys=False))
        move_new_files(staging, output)
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    similarity = float(np.mean((found * expected).sum(axis=1) / lengths))
    return Exported(output.with_name(names[0]), dim, difference, similarity, len(quantized_for))


def check_quantizable(config: ModelConfig) -> None:
    """Check that int8 makes sense for a model, and that what it takes is installed.

    Raises:
        ModelError: it has no convolutional network, or nncf is not installed.
    """
    frame = config.frame
    if not isinstance(frame, NetworkConfig) or frame.backbone in VISION_TRANSFORMERS:
        found = 'a vision transformer' if isinstance(frame, NetworkConfig) else frame.label
        raise ModelError(f'model {config.name} has {found}, expected a convolutional network for '
                         'int8')
    import_nncf()


def images_of(sources: Sequence[FrameSource], image: ImageConfig, most: int = MOST_IMAGES,
              progress: Callable[[int], None] = lambda _: None) -> list[np.ndarray]:
    """Return images spread evenly over recordings, resized for a network.

    Damaged images are skipped.

    Args:
        sources: the recordings.
        image: size of the input of the network.
        most: largest number of images.
        progress: called with the number of images read.

    Returns:
        RGB uint8 ``[height, width, 3]``.

    Raises:
        InputError: no image can be read.
    """
    total = sum(map(len, sources))
    chosen = set(np.linspace(0, total - 1, min(most, total)).astype(int).tolist())
    wanted = (frame for number, frame in enumerate(chain.from_iterable(sources))
              if number in chosen)
    walk = FrameWalk(wanted, progress=progress)
    images = [resized for _, resized in walk.results(lambda frame: resize_antialiased(
        image_reader(frame)(), image.height, image.width, image.resize))]
    walk.require_used(sources[0].name)
    warn_damaged(walk.damaged, walk.total)
    return images


def _description(name: str, form: Format, images: int) -> str:
    kind = f', int8 calibrated with {images} images' if images else ''
    return f'{name}, exported to {_NAMES[form]}{kind}.'


def _frame(frame: NetworkConfig, dim: int) -> dict[str, Any]:
    """Return the settings of the frame descriptor that runs the exported network."""
    clusters = {} if frame.vlad_clusters is None else {'summed_clusters': frame.vlad_clusters}
    length = {} if frame.normalizes or clusters else {'normalise': False}
    return {'kind': 'onnx', 'out_dim': dim, **length, **clusters}
