"""Your own network as an ONNX file, or as an OpenVINO model, run by OpenVINO or onnxruntime."""

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, cast

import numpy as np
from pydantic import Field

from seqnet_ros.config.model import ImageConfig, ModelConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.download import file_sha256
from seqnet_ros.descriptors.own_network import (
    OwnNetworkConfig,
    OwnNetworkDescriber,
    Run,
    find_network,
    first_line,
)

if TYPE_CHECKING:
    from seqnet_ros.descriptors.device import Device

# Files beside a network that hold its weights, by the ending that replaces or follows its own.
_SIDE_FILES = ('.bin', '.data')
_SUFFIXES = ('.onnx', '.xml')
_ORT_TYPES = {'tensor(float)': np.float32, 'tensor(float16)': np.float16}

Shape = tuple[int | None, ...]
"""Sizes of an array; None for one that the network leaves open."""


class OnnxConfig(OwnNetworkConfig):
    """A network in an ONNX file (or OpenVINO .xml), from normalized images to vectors.

    `frame.path` names the file, as `weights.path` does.
    """

    takes_weights: ClassVar[bool] = True
    is_file: ClassVar[bool] = True

    kind: Literal['onnx'] = 'onnx'
    output: str | None = Field(
        None, description='Name of the output with the vectors; none for the only one.')


class _Opened(NamedTuple):
    """A network as its runtime sees it.

    Attributes:
        inputs: shape of each input by name.
        outputs: shape of each output by name.
        prepare: returns what runs the network to one output, for images of one size.
    """

    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    prepare: Any


def build_onnx(config: ModelConfig, device: 'Device', base_dir: Path | None,
               ) -> OwnNetworkDescriber:
    """Build the describer of a model.

    OpenVINO runs the network on the CPU if it is installed, else onnxruntime, which also uses a
    GPU if its package has one.

    Raises:
        ModelError: there is no file or no runtime, or the network does not fit the settings: its
            images have another size, its output has another or an open length.
    """
    frame = cast(OnnxConfig, config.frame)
    path = find_network(config, base_dir)
    opened = _open(path, device)
    _check_input(path, opened.inputs, config.image)
    output = _choose_output(path, opened.outputs, frame.output)
    _check_output(path, output, opened.outputs[output], frame.out_dim)
    run: Run = opened.prepare(output, config.image)
    return OwnNetworkDescriber(path.name, run, config, _digest(path))


def _open(path: Path, device: 'Device') -> _Opened:
    on_cpu = device.device.type == 'cpu'
    try:
        if find_spec('openvino') is not None and (on_cpu or path.suffix == '.xml'):
            return _open_with_openvino(path)
        if path.suffix == '.xml':
            raise ModelError(f'{path} is an OpenVINO model, but the package openvino is not '
                             'installed; run `pip install openvino`')
        if find_spec('onnxruntime') is None:
            raise ModelError(f'{path} needs openvino or onnxruntime, which are not installed; run '
                             '`pip install onnxruntime`')
        return _open_with_onnxruntime(path, on_cpu)
    except ModelError:
        raise
    except Exception as error:  # the runtimes raise exceptions of their own
        raise ModelError(f'{path} is not a network that can be read: {first_line(error)}'
                         ) from error


def _open_with_openvino(path: Path) -> _Opened:
    from seqnet_ros.descriptors.inference_backends import compile_openvino, import_openvino

    model = import_openvino().Core().read_model(path)

    def shapes(ports: Any) -> dict[str, Shape]:
        return {port.any_name: _openvino_shape(port.partial_shape) for port in ports}

    def prepare(output: str, image: ImageConfig) -> Run:
        model.reshape((1, 3, image.height, image.width))
        compiled = compile_openvino(model, precise=True)
        port = compiled.output(output)
        return lambda images: np.asarray(compiled(images)[port])

    return _Opened(shapes(model.inputs), shapes(model.outputs), prepare)


def _openvino_shape(shape: Any) -> Shape:
    if shape.rank.is_dynamic:
        return ()
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)


def _open_with_onnxruntime(path: Path, on_cpu: bool) -> _Opened:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted = ['CPUExecutionProvider'] if on_cpu else [
        'CUDAExecutionProvider', 'CPUExecutionProvider']
    available = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(
        str(path), options, providers=[name for name in wanted if name in available])

    def shapes(ports: Any) -> dict[str, Shape]:
        return {port.name: tuple(size if isinstance(size, int) else None for size in port.shape)
                for port in ports}

    def prepare(output: str, _: ImageConfig) -> Run:
        port = session.get_inputs()[0]
        kind = _ORT_TYPES.get(port.type)
        if kind is None:
            raise ModelError(f'{path} takes images of {port.type}, expected tensor(float)')
        return lambda images: np.asarray(
            session.run([output], {port.name: images.astype(kind)})[0])

    return _Opened(shapes(session.get_inputs()), shapes(session.get_outputs()), prepare)


def _check_input(path: Path, inputs: dict[str, Shape], image: ImageConfig) -> None:
    if len(inputs) != 1:
        raise ModelError(f'{path} has the inputs {_names(inputs)}, expected a single one')
    (name, shape), = inputs.items()
    wanted = 1, 3, image.height, image.width
    if len(shape) != 4 or any(
            size not in (None, expected) for size, expected in zip(shape, wanted, strict=True)):
        raise ModelError(f'{path} takes {name} {_shown(shape)}, expected {list(wanted)}, which '
                         'image.height and image.width of the model say')


def _choose_output(path: Path, outputs: dict[str, Shape], wanted: str | None) -> str:
    if wanted is None and len(outputs) == 1:
        return next(iter(outputs))
    if wanted is None or wanted not in outputs:
        found = 'frame.output is not set' if wanted is None else f'frame.output is {wanted!r}'
        raise ModelError(f'{path} has the outputs {_names(outputs)}, but {found}')
    return wanted


def _check_output(path: Path, name: str, shape: Shape, dim: int) -> None:
    values = shape[1:]
    if not values or None in values:
        raise ModelError(f'{path} has an output of open length, {name} {_shown(shape)}, expected '
                         f'[1, {dim}]: export it with fixed sizes')
    found = int(np.prod(cast(Sequence[int], values)))
    if found != dim:
        raise ModelError(f'{path} gives {name} {_shown(shape)}, but frame.out_dim is {dim}, '
                         f'expected {found}')


def _digest(path: Path) -> str:
    """Return a hash over the file and those beside it that hold its weights."""
    digest = hashlib.sha256()
    for file in (path, *side_files(path)):
        digest.update(file_sha256(file).encode())
    return digest.hexdigest()


def side_files(path: Path, existing: bool = True) -> list[Path]:
    """Return the files beside an ONNX file or OpenVINO model that hold its weights.

    Args:
        path: the file, which may hold other weights: then there are none.
        existing: return those that exist, not all that could.
    """
    if path.suffix not in _SUFFIXES:
        return []
    return [candidate for ending in _SIDE_FILES for candidate in (
        path.with_suffix(ending), path.with_name(path.name + ending))
        if not existing or candidate.is_file()]


def _names(ports: dict[str, Shape]) -> str:
    return ', '.join(f'{name!r}' for name in ports)


def _shown(shape: Shape) -> str:
    return f'[{", ".join("?" if size is None else str(size) for size in shape)}]'
