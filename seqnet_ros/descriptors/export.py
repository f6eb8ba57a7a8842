"""Writes a frame network as one file for other runtimes: ONNX, or OpenVINO."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.inference_backends import import_openvino, ready_for_inference
from seqnet_ros.descriptors.quantization import quantize

INPUT, OUTPUT = 'image', 'descriptor'
"""Names of the input, ``[1, 3, H, W]`` float32, and of the output, ``[1, D]`` float32."""


class _Whole(nn.Module):
    """A trunk and its pooling, ready to be exported."""

    def __init__(self, network: FrameNetwork) -> None:
        super().__init__()
        self.trunk = ready_for_inference(network.eval().requires_grad_(False).backbone)
        self.pooling = network.aggregation

    def forward(self, image: Tensor) -> Tensor:
        """Describe normalized images."""
        vectors: Tensor = self.pooling(self.trunk(image))
        return vectors


def export_onnx(network: FrameNetwork, image: ImageConfig, path: Path) -> None:
    """Write a network as an ONNX file of fixed sizes.

    Args:
        network: with its weights, on the CPU; it is of no use afterward.
        image: size of its input.
        path: the new file. Networks beyond 2 GB have their weights in a second file beside it.

    Raises:
        ModelError: a package that this takes is not installed.
        InputError: the file cannot be written.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ModelError(f'the export to ONNX needs the package {error.name}, which is not '
                         'installed; run `pip install onnx onnxscript`') from error
    example = torch.zeros(1, 3, image.height, image.width)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter('ignore')
        logging.getLogger('onnxscript').setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Whole(network), (example,), dynamo=True, input_names=[INPUT], output_names=[OUTPUT],
            verbose=False)
    assert program is not None
    try:
        program.save(path, external_data=_size(network) > _LARGEST_ONNX)
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror or error}') from error


def export_openvino(network: FrameNetwork, image: ImageConfig, path: Path,
                    quantized_for: Sequence[np.ndarray] = ()) -> None:
    """Write a network as an OpenVINO model of fixed sizes, float32 or int8.

    Args:
        network: with its weights, on the CPU; it is of no use afterward.
        image: size of its input.
        path: the new ``.xml`` file; the weights are written beside it as ``.bin``.
        quantized_for: RGB uint8 images ``[H, W, 3]`` that set the ranges of int8; none for float32.

    Raises:
        ModelError: openvino is not installed, or nncf, which int8 needs.
        InputError: the file cannot be written.
    """
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise ModelError('the export to OpenVINO needs the package openvino, which is not '
                         'installed; run `pip install openvino`') from error
    shape = 1, 3, image.height, image.width
    model = openvino.convert_model(torch.export.export(_Whole(network), (torch.zeros(shape),)))
    model.reshape(shape)
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    if quantized_for:
        model = quantize(model, quantized_for, image)
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except (OSError, RuntimeError) as error:
        raise InputError(f'{path} cannot be written: {error}') from error


_LARGEST_ONNX = 2_000_000_000  # bytes; a protocol buffer holds 2 GiB


def _size(network: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
