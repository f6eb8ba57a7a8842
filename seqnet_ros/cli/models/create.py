"""``seqnet_ros models``: what models there are, and new ones from training runs and images."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, print_table, progress_bar, working

app = typer.Typer(no_args_is_help=True, help='List models, and make new ones.')


@app.command('list')
def list_models() -> None:
    """List the models, the length of their descriptors and whether their weights are here."""
    from seqnet_ros import place_model

    print_table(
        ('name', 'dim', 'weights', 'description'),
        [(model.name, str(model.dim), 'here' if model.weights_available else 'missing',
          model.description) for model in place_model.list_models()])


@app.command()
def create(
    run: Annotated[Path, typer.Option(
        '--from', help='Folder of a SeqNet training run, or one of its checkpoints.',
        show_default=False)],
    frame_model: Annotated[str, typer.Option(
        help='Model whose frame descriptors it was trained on: a name or a YAML file.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='The .yaml file to write; the weights are put beside it.', show_default=False)],
    match_run: Annotated[Path | None, typer.Option(
        '--match-from', show_default='frames as they are',
        help='Run with kernel 1 (S1) whose descriptors sequence matching compares: HVPR.')] = None,
    best: Annotated[bool, typer.Option(
        '--best', help='Take the best checkpoint of the runs, not the latest.')] = False,
) -> None:
    """Make a model of a trained SeqNet, ready to build maps and to localize with."""
    from seqnet_ros.training.seqnet.model import create_model
    from seqnet_ros.training.seqnet.run import load_run

    trained = load_run(run, 'best' if best else 'latest')
    matching = None if match_run is None else load_run(match_run, 'best' if best else 'latest')
    config = create_model(trained, frame_model, output, matching)
    fields: dict[str, object] = {
        'model': output, 'weights': output.with_name(str(config.sequence.weights.path)),
        'sequence': f'{config.sequence.length} frames, kernel {config.sequence.kernel}',
        'descriptors': f'{trained.in_dim} per frame, {trained.out_dim} per sequence'}
    if matching is not None and config.projection is not None:
        fields['matching'] = (f'{output.with_name(str(config.projection.weights.path))}, '
                              f'{matching.out_dim} per frame')
    print_fields(fields)


@app.command('fit-netvlad')
def fit_netvlad(
    images: Annotated[Path, typer.Argument(
        help='Image folder, video or rosbag with images of the kind to be described.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='The .yaml file to write; the weights are put beside it.', show_default=False)],
    model: Annotated[str, typer.Option(
        help='Model with NetVLAD whose image size, trunk and settings are taken over: a name or a '
             'YAML file.')] = 'netvlad-vgg16',
    trunk_weights: Annotated[Path | None, typer.Option(
        help="Local weights of the trunk with torchvision's names.",
        show_default="the model's, if they are such")] = None,
    clusters: Annotated[int | None, typer.Option(
        help='Number of clusters.', show_default="the model's")] = None,
    wpca_dim: Annotated[int | None, typer.Option(
        help='Length of the whitened descriptors.', show_default="the model's")] = None,
    most_images: Annotated[int, typer.Option(
        '--images', min=1, help='Most images used, drawn at random.')] = 10_000,
    descriptors_per_image: Annotated[int, typer.Option(
        min=1, help='Local descriptors drawn of each clustered image.')] = 100,
    seed: Annotated[int, typer.Option(min=0, help='Of the random draws.')] = 0,
    topic: options.Topic = None,
    device: options.Device = 'auto',
) -> None:
    """Make a NetVLAD model of a trained trunk from images alone, without training.

    Clusters and soft assignment are what NetVLAD's training starts from; whitening is fitted to the
    NetVLAD vectors of the images.
    """
    from seqnet_ros.datasets.sources import open_source
    from seqnet_ros.descriptors.device import select_device
    from seqnet_ros.place_model import load_model_config
    from seqnet_ros.training.model_files import new_model_path
    from seqnet_ros.training.netvlad import fitting

    path = new_model_path(output, '.safetensors')
    config, folder = load_model_config(model)
    config = fitting.netvlad_to_fit(config, clusters, wpca_dim)
    source = open_source(images, topic)
    sampling = fitting.Sampling(most_images, descriptors_per_image, seed)
    trunk = fitting.load_trunk(config, folder, trunk_weights)
    total = fitting.images_to_read(config, len(source), sampling)
    with progress_bar('reading images', total) as show:
        fit = fitting.fit_netvlad(config, trunk, source, select_device(device), sampling,
                                  path.parent, show)
    with working('writing'):
        written = fitting.write_fit(path, config, folder, fit)
    fields: dict[str, object] = {
        'model': output, 'weights': output.with_name(str(written.weights.path)),
        'images': fit.images, 'descriptors': fit.dim}
    if fit.explained is not None:
        fields['variance kept'] = f'{fit.explained:.3f}'
    print_fields(fields)
