"""``seqnet_ros dataset create-msls``: a data set of a city of MSLS."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.dataset.info import struct_fields


def create_msls(
    folder: Annotated[Path, typer.Argument(
        help='Folder of the Mapillary Street-level Sequences that contains train_val.',
        show_default=False)],
    city: Annotated[str, typer.Argument(
        help='A folder in train_val, such as melbourne.', show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Output folder; other cities in it are kept.', show_default=False)],
    radius: Annotated[float, typer.Option(
        help='Images within this distance show the same place, m.')] = 10.0,
    positive_radius: Annotated[float, typer.Option(
        help='Positives for training are within this distance, m.')] = 10.0,
    split: Annotated[str, typer.Option(help="'train', 'val' or 'test'.")] = 'test',
    model: options.Model = '',
    no_describe: Annotated[bool, typer.Option(
        '--no-describe', help='Make no descriptors, even if there are images.',
        show_default=False)] = False,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Make a SeqNet data set of a city of MSLS, for `--dataset msls --city CITY` of other commands.

    Of each half of the city seq_info.csv, postprocessed.csv (easting and northing) and raw.csv are
    read. Sequences are frames of one key with successive numbers. Panoramas are skipped and break
    their sequence. Without an images folder no descriptors are made. Cities of the official test
    set have no published positions and cannot be used.
    """
    from seqnet_ros.datasets.seqnet.msls_drives import read_city
    from seqnet_ros.models.place_model import load_model
    from seqnet_ros.training.seqnet import msls_builder
    from seqnet_ros.training.seqnet.dataset_builder import check_matches, check_split_and_radii

    check_split_and_radii(split, radius, positive_radius)
    drives = read_city(folder, city)
    struct = msls_builder.city_struct(city, drives, split, radius, positive_radius)
    check_matches(struct)
    described = not no_describe and all(drive.images[0].parent.is_dir() for drive in drives)
    place_model = load_model(model, device, weights) if described else None
    kind = None if place_model is None else place_model.config.name
    files = msls_builder.city_files(city, radius, positive_radius, kind, output)
    images = sum(len(drive.images) for drive in drives)
    with progress_bar(f'describing {city}', images) as show:
        struct, drives = msls_builder.write_city(
            struct, drives, files, output, place_model, show)
    print_fields({
        'struct': files.struct,
        'descriptors': f'none, expected in {files.descriptors[0].parent}' if kind is None
        else files.descriptors[0].parent,
        'sequences': f'{drives[0].sequences} and {drives[1].sequences}',
        'panoramas skipped': f'{drives[0].panoramas} and {drives[1].panoramas}',
        **struct_fields(struct)})
