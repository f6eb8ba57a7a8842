"""``seqnet_ros map collection create``: a collection of maps that exist."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.map.collection.info import collection_fields
from seqnet_ros.core.errors import InputError, quoted


def create(
    folders: Annotated[list[Path], typer.Argument(
        help='Maps, or folders of maps, inside the folder of the collection.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder of the collection, which holds the maps.', show_default=False)],
    area: Annotated[list[str] | None, typer.Option(
        metavar='TILE=NAME', show_default=False,
        help='The floor or site of a tile, by the path of its map in the folder. Repeatable.',
    )] = None,
    frame: Annotated[str, typer.Option(
        help='Name of the coordinate frame that the poses of all maps are in.',
        show_default='one for each map, or for each origin on the earth')] = '',
    overwrite: Annotated[bool, typer.Option(
        '--overwrite', help='Replace the collection at --output; maps are never changed.')] = False,
) -> None:
    """Make one collection of maps, to search them as one.

    Writes collection.json, which lists the maps, and a summary, by which they are told apart
    without opening them. All maps must be made with one model, sequence length and spacing. After a
    map was replaced, run the command again with --overwrite.
    """
    from seqnet_ros.maps.collection.creation import create_collection, find_maps

    maps = find_maps(folders)
    with progress_bar('summarizing', len(maps)) as progress:
        made = create_collection(output, maps, areas=read_areas(area or ()), frame=frame,
                                 overwrite=overwrite, progress=progress)
    print_fields({'collection': output, **collection_fields(made)})


def read_areas(assignments: Sequence[str]) -> dict[str, str]:
    """Read options of the form ``TILE=NAME``.

    Raises:
        InputError: one has another form, or names a tile twice.
    """
    areas: dict[str, str] = {}
    for text in assignments:
        tile, found, name = text.rpartition('=')
        if not found or not tile or not name:
            raise InputError(f"--area is {quoted(text)}, expected a tile and a name "
                             "like 'hall=floor 2'")
        if tile in areas:
            raise InputError(f'--area names tile {tile} twice, expected one area for each')
        areas[tile] = name
    return areas
