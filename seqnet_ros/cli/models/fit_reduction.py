"""``seqnet_ros models fit-reduction``: a model with shorter descriptors."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.core.errors import InputError


def fit_reduction(
    output: Annotated[Path, typer.Option(
        help='New .yaml file; the weights are written beside it as .safetensors.',
        show_default=False)],
    dim: Annotated[int, typer.Option(
        min=1, max=65536, help='Number of values to keep of a descriptor.', show_default=False)],
    recordings: Annotated[list[Path] | None, typer.Argument(
        help='Image folders, videos or rosbags: that of the map, or others like it, with more '
             'images than values; none with --random.', show_default=False)] = None,
    model: options.Model = '',
    random: Annotated[bool, typer.Option(
        '--random', help='Random signs in place of principal components.')] = False,
    whitening: Annotated[float, typer.Option(
        min=0, max=1, help='Power of the deviation of each component that it is divided by: 0 only '
                           'rotates, 1 makes all equal.')] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help='Seed of random signs.')] = 0,
    weights: options.Weights = None,
    topic: options.Topic = None,
    device: options.Device = 'auto',
) -> None:
    """Make a model with shorter frame descriptors from another model and images.

    Where the network ends with a linear layer, as those of MegaLoc, CosPlace and EigenPlaces do,
    the matrix becomes part of it, and the network smaller; otherwise it is a stage of the new
    model, `reduction`. Build the map with the new model.
    """
    from seqnet_ros.datasets.recordings.open_recording import open_source
    from seqnet_ros.descriptors.device import select_device
    from seqnet_ros.models.place_model import load_preset
    from seqnet_ros.training.common.model_files import new_model_path
    from seqnet_ros.training.reduction import fitting

    path = new_model_path(output, '.safetensors')
    if random and recordings:
        raise InputError('recordings were given for random signs, expected none')
    preset, folder = load_preset(model, weights)
    fitting.check_reducible(preset.model, dim)
    sources = [open_source(recording, topic) for recording in recordings or []]
    if not random and (found := sum(map(len, sources))) <= dim:
        raise InputError(f'{found} images cannot give {dim} components, expected more images than '
                         'values')
    with progress_bar('reading images', sum(map(len, sources))) as show:
        fitted = fitting.fit_reduction(path, preset, folder, sources, dim, select_device(device),
                                       kind='random' if random else 'pca', seed=seed,
                                       whitening=whitening, progress=show)
    kept = {} if fitted.kept is None else {'kept': f'{fitted.kept:.3f} of the squares'}
    print_fields({
        'model': output, 'images': fitted.images, 'descriptors': dim, **kept,
        'stage': 'part of the last linear layer' if fitted.folded else 'reduction'})
