"""``seqnet_ros describe``: the frame descriptors of a recording as one array."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import refuse_existing, whole_file
from seqnet_ros.core.printable import printable


def describe(
    source: options.Source,
    output: Annotated[Path, typer.Option(help='The .npy file to write.', show_default=False)],
    overwrite: Annotated[bool, typer.Option(
        '--overwrite', help='Replace existing files.')] = False,
    model: options.Model = '',
    topic: options.Topic = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Describe every image of a recording as a row of a float32 array, shape N by D.

    The names of the images are written beside it, one in a line, to OUTPUT without .npy and with
    _imageNames.txt.

    Descriptors are L2-normalized and not centered, except for SeqVLAD models and pooling with
    `normalise: false`, whose descriptors are not normalized.
    """
    from seqnet_ros.core.array_files import save_array
    from seqnet_ros.datasets.recordings.open_recording import open_source
    from seqnet_ros.datasets.seqnet.dataset_files import names_path, write_names
    from seqnet_ros.models.place_model import load_model
    from seqnet_ros.pipelines.describe_recording import describe_recording

    if output.suffix != '.npy' or output.is_dir():
        raise InputError(f'output is {output}, expected a file ending in .npy')
    if not overwrite:
        refuse_existing((output, names_path(output)))
    recording = open_source(source, topic=topic, with_poses=False)
    place_model = load_model(model, device, weights)
    described = describe_recording(recording, place_model, progress_bar)
    descriptors = described.descriptors
    with whole_file(output) as file:
        save_array(file, descriptors)
    # Names of files need not be text.
    write_names([printable(name) or '-' for name in described.names], names_path(output))
    damaged = {'damaged images': len(described.damaged)} if described.damaged else {}
    print_fields({'file': output, 'names': names_path(output), 'images': len(descriptors),
                  **damaged, 'dimensions': descriptors.shape[1],
                  'model': f'{place_model.config.name} ({place_model.fingerprint[:8]})'})
