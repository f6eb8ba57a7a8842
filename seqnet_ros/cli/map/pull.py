"""``seqnet_ros map pull``: copy tiles of a map on a server."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.map.collection.info import collection_fields
from seqnet_ros.cli.map_options import FleetMap


def pull(
    address: FleetMap,
    output: Annotated[Path, typer.Option(
        help='New folder of the collection; the folder that holds it must exist.',
        show_default=False)],
    store: Annotated[str, typer.Option(
        help='Folder or https address with the archives of the tiles.', show_default=False)],
    region: Annotated[str, typer.Option(
        help="Only tiles in this region: 'xy:X,Y,X,Y' in the frame of the map, m, or "
             "'geo:LAT,LON,LAT,LON' in degrees, two opposite corners.",
        show_default='all')] = '',
    tile: Annotated[list[str] | None, typer.Option(
        help='Only this tile. Repeatable.', show_default='all')] = None,
    session: Annotated[list[str] | None, typer.Option(
        help='Only tiles of this session. Repeatable.', show_default='all')] = None,
    allow_programs: Annotated[bool, typer.Option(
        '--allow-programs', help='Accept a TorchScript network, which is a program: only from '
                                 'those that you trust.')] = False,
) -> None:
    """Copy a map of a fleet, or a part of it, as a collection.

    Tiles are copied whole. Archives are read only from --store, whatever the server says, and
    compared with the hashes that it names. All commands read the collection.
    """
    from seqnet_ros.maps.fleet.address import parse_address
    from seqnet_ros.maps.fleet.pull import pull as pull_maps
    from seqnet_ros.maps.fleet.push import read_directory
    from seqnet_ros.maps.fleet.region import parse_region
    from seqnet_ros.maps.fleet.server import FleetServer
    from seqnet_ros.maps.fleet.store import Store

    wanted = parse_region(region) if region else None
    source = Store(store)
    server = FleetServer(parse_address(address))
    try:
        directory = read_directory(server).select(wanted, tile or (), session or ())
    finally:
        server.close()
    with progress_bar('copying', len(directory.entries)) as progress:
        made = pull_maps(directory, source, output, allow_programs=allow_programs,
                         progress=progress)
    print_fields({'collection': output, **collection_fields(made)})
