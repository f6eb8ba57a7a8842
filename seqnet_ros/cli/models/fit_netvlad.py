"""``seqnet_ros models fit-netvlad``: a NetVLAD model from images alone."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar, working

Output = Annotated[Path, typer.Option(
    help='New .yaml file; the weights are written beside it as .safetensors.',
    show_default=False)]
Clusters = Annotated[int | None, typer.Option(
    help='Number of clusters.', show_default="the model's")]
WpcaDim = Annotated[int | None, typer.Option(
    help='Length of the whitened descriptors.', show_default="the model's")]
MostImages = Annotated[int, typer.Option(
    '--images', min=1, help='Largest number of images used, drawn at random.')]
DescriptorsPerImage = Annotated[int, typer.Option(
    min=1, help='Local descriptors drawn from each of the at most 500 clustered images.')]
Seed = Annotated[int, typer.Option(min=0, help='Seed of the random draws and the clustering.')]


def fit_netvlad(
    images: Annotated[Path, typer.Argument(
        help='Image folder, video or rosbag with images similar to those to be described.',
        show_default=False)],
    output: Output,
    model: Annotated[str, typer.Option(
        help='Model with NetVLAD whose image size, trunk and settings are used: a name or a YAML '
             'file; seqvlad-resnet18 gives a SeqVLAD.')] = 'netvlad-vgg16',
    trunk_weights: Annotated[Path | None, typer.Option(
        help="Local weights of the trunk in torchvision's layout.",
        show_default="the model's, if they are in this layout")] = None,
    clusters: Clusters = None,
    wpca_dim: WpcaDim = None,
    most_images: MostImages = 10_000,
    descriptors_per_image: DescriptorsPerImage = 100,
    seed: Seed = 0,
    topic: options.Topic = None,
    device: options.Device = 'auto',
) -> None:
    """Make a NetVLAD model from images and a trained trunk, without training.

    Clusters and soft assignment are those that NetVLAD's training starts from: k-means over local
    features, where the second nearest cluster gets a hundredth of the share of the nearest. The
    whitening is fitted to the NetVLAD vectors of all images used. On one machine the same images
    and seed give the same file, byte for byte.

    The whitening needs more images than it has dimensions, better twice as many, of the kind to be
    localized later. Memory grows with the square of the number of images (0.8 GB for 10,000), plus
    the whitening (0.5 GB for 4096 of 32,768 dimensions). A temporary file beside the output takes
    131 kB per image at that size.
    """
    fit(images, output, model, trunk_weights, clusters, wpca_dim, most_images,
        descriptors_per_image, seed, topic, device)


def fit(images: Path, output: Path, model: str, trunk_weights: Path | None, clusters: int | None,
        wpca_dim: int | None, most_images: int, descriptors_per_image: int, seed: int,
        topic: str | None, device: str) -> None:
    """Fit the clusters of a model, and its whitening, to images; options as in `fit_netvlad`."""
    from seqnet_ros.datasets.recordings.open_recording import open_source
    from seqnet_ros.descriptors.device import select_device
    from seqnet_ros.models.place_model import load_preset
    from seqnet_ros.training.common.model_files import new_model_path
    from seqnet_ros.training.netvlad import fitting

    path = new_model_path(output, '.safetensors')
    preset, folder = load_preset(model)
    preset = fitting.netvlad_to_fit(preset, clusters, wpca_dim)
    config = preset.model
    source = open_source(images, topic, with_poses=False)
    sampling = fitting.Sampling(most_images, descriptors_per_image, seed)
    trunk = fitting.load_trunk(config, folder, trunk_weights)
    total = fitting.images_to_read(config, len(source), sampling)
    with progress_bar('reading images', total) as show:
        fit = fitting.fit_netvlad(config, trunk, source, select_device(device), sampling,
                                  path.parent, show)
    with working('writing'):
        written = fitting.write_fit(path, preset, folder, fit)
    fields: dict[str, object] = {
        'model': output, 'weights': output.with_name(str(written.model.weights.path)),
        'images': fit.images, 'descriptors': fit.dim}
    if fit.explained is not None:
        fields['variance kept'] = f'{fit.explained:.3f}'
    print_fields(fields)
