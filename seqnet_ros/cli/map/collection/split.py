"""``seqnet_ros map collection split``: cut one map into tiles."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.map.collection.info import collection_fields


def split(
    path: options.MapPath,
    output: Annotated[Path, typer.Option(
        help='New folder of the collection; the folder that holds it must exist.',
        show_default=False)],
    cell: Annotated[str, typer.Option(help='Side of a cell of the grid.')] = '100m',
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Cut a map with poses into a grid of tiles, and make a collection of them.

    Tiles overlap along the drive by twice the length of a sequence, so that no sequence is lost at
    a border. Cells of few places join their neighbors.
    """
    from seqnet_ros.maps.collection.creation import check_new_folder
    from seqnet_ros.maps.collection.splitting import parse_cell
    from seqnet_ros.maps.map_reader import open_map
    from seqnet_ros.models.place_model import build_map_model
    from seqnet_ros.pipelines.split_map import split_map

    cell_m = parse_cell(cell)
    check_new_folder(output)
    place_map = open_map(path, verify=True)
    model = build_map_model(place_map.manifest.preset, device, weights=weights, map_path=path)
    made = split_map(place_map, model, output, cell_m, progress_bar)
    print_fields({'collection': output, **collection_fields(made)})
