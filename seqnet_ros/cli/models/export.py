"""``seqnet_ros models export``: a network as one file for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar, working
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
    int8: Annotated[list[Path] | None, typer.Option(
        help='Image folder, video or rosbag of the route: makes the OpenVINO model one of int8, '
             'calibrated with images of this recording. Repeatable.',
        show_default='float32')] = None,
    topic: options.Topic = None,
    weights: options.Weights = None,
) -> None:
    """Write the network of a model as one ONNX or OpenVINO file, with a model that uses it.

    The network takes a normalized image [1, 3, H, W] and gives the frame descriptor [1, D]. The
    difference to the original, on one image and relative to the largest value, is shown. Maps of
    the original are not maps of the exported model, which has a fingerprint of its own.

    With --int8 a convolutional network becomes smaller and faster, and its descriptors differ: the
    mean cosine to the original is shown. Compare its recall with that of the original by
    `seqnet_ros evaluate bags`.
    """
    from seqnet_ros.datasets.recordings.open_recording import open_source
    from seqnet_ros.descriptors.quantization import MOST_IMAGES
    from seqnet_ros.models.exporting import check_quantizable, export_model, images_of
    from seqnet_ros.models.place_model import load_preset

    if onnx == openvino:
        raise InputError(f"{'both' if onnx else 'neither'} of --onnx and --openvino "
                         f"{'were' if onnx else 'was'} given, expected one of them")
    images = []
    if int8:
        if not openvino:
            raise InputError('--int8 was given with --onnx, expected --openvino')
        config = load_preset(model, weights)[0].model
        check_quantizable(config)
        sources = [open_source(recording, topic, with_poses=False) for recording in int8]
        with progress_bar('reading images', min(MOST_IMAGES, sum(map(len, sources)))) as show:
            images = images_of(sources, config.image, progress=show)
    with working('exporting and quantizing, some minutes' if images else 'exporting'):
        exported = export_model(model, output, 'onnx' if onnx else 'openvino', weights, images)
    compared = ({'calibrated with': f'{exported.images} images',
                 'mean cosine to the original': f'{exported.similarity:.4f}'} if images
                else {'largest difference': f'{exported.difference:.1e}'})
    print_fields({'model': output, 'network': exported.network, 'descriptors': exported.dim,
                  **compared})
