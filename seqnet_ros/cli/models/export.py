"""``seqnet_ros models export``: a network as one file for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, working
from seqnet_ros.core.errors import InputError


def export(
    model: Annotated[str, typer.Argument(
        help='Model: a name from `seqnet_ros models list`, or a YAML file.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='New .yaml file of a model that runs the exported network; the network is written '
             'beside it.', show_default=False)],
    onnx: Annotated[bool, typer.Option('--onnx', help='Write an ONNX file.')] = False,
    openvino: Annotated[bool, typer.Option(
        '--openvino', help='Write an OpenVINO model (.xml and .bin).')] = False,
    weights: options.Weights = None,
) -> None:
    """Write the network of a model as one ONNX or OpenVINO file, with a model that uses it.

    The network takes a normalized image [1, 3, H, W] and gives the frame descriptor [1, D]. The
    difference to the original, on one image and relative to the largest value, is shown. Maps of
    the original are not maps of the exported model, which has a fingerprint of its own.
    """
    from seqnet_ros.models.exporting import export_model

    if onnx == openvino:
        raise InputError(f"{'both' if onnx else 'neither'} of --onnx and --openvino "
                         f"{'were' if onnx else 'was'} given, expected one of them")
    with working('exporting'):
        exported = export_model(model, output, 'onnx' if onnx else 'openvino', weights)
    print_fields({'model': output, 'network': exported.network, 'descriptors': exported.dim,
                  'largest difference': f'{exported.difference:.1e}'})
