"""``seqnet_ros models fit-vlad``: a VLAD model of the own images on DINOv2."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.models.fit_netvlad import (
    Clusters,
    DescriptorsPerImage,
    MostImages,
    Output,
    Seed,
    WpcaDim,
    fit,
)


def fit_vlad(
    images: Annotated[Path, typer.Argument(
        help='Image folder, video or rosbag of the route to be mapped, or similar images.',
        show_default=False)],
    output: Output,
    model: Annotated[str, typer.Option(
        help='Model with VLAD whose image size, trunk, layer and facet are used: a name or a YAML '
             'file.')] = 'dinov2-vlad',
    trunk_weights: Annotated[Path | None, typer.Option(
        help="Local weights of the trunk in DINOv2's layout.", show_default="the model's")] = None,
    clusters: Clusters = None,
    wpca_dim: WpcaDim = None,
    most_images: MostImages = 10_000,
    descriptors_per_image: DescriptorsPerImage = 100,
    seed: Seed = 0,
    topic: options.Topic = None,
    device: options.Device = 'auto',
) -> None:
    """Make a VLAD model from your own images and a trunk that was never trained for places.

    The clusters are those of spherical k-means over local features, as AnyLoc fits them. With
    --wpca-dim the descriptors are shortened and whitened by the principal components of the
    images, which needs more images than dimensions. Build the map with the new model.
    """
    fit(images, output, model, trunk_weights, clusters, wpca_dim, most_images,
        descriptors_per_image, seed, topic, device)
