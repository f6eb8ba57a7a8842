"""``seqnet_ros map push``: put maps on a server, for a fleet."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.map_options import FleetMap

if TYPE_CHECKING:
    from seqnet_ros.maps.fleet.directory import Directory


def push(
    path: Annotated[Path, typer.Argument(
        help='Folder of the map, or of a collection.', show_default=False)],
    address: FleetMap,
    store: Annotated[str, typer.Option(
        help='Folder for the archives of the tiles, such as a mounted share.',
        show_default=False)],
    name: Annotated[str, typer.Option(
        help='Name of the tile that the map becomes.', show_default='that of its folder')] = '',
    session: Annotated[str, typer.Option(
        help='The drive, or the time, that the maps are from.',
        show_default='the recording of each')] = '',
    index: Annotated[str, typer.Option(
        help="Index over the places of a map that is new on the server: 'HNSW' keeps descriptors "
             "in memory, 'DISKANN' on disk.")] = 'HNSW',
    shards: Annotated[int, typer.Option(
        min=1, max=16, help='Channels that the places of a map that is new on the server are '
                            'written to, each by one node of a cluster.')] = 1,
    with_weights: Annotated[bool, typer.Option(
        '--with-weights/--without-weights',
        help='Put the weights of the model into each archive.')] = False,
) -> None:
    """Put a map, or all tiles of a collection, on a Milvus server.

    Descriptors and positions of the places go to the server, whole maps as archives to the store. A
    tile that is there already is replaced: readers see its old version or the new one. Credentials
    are better in SEQNET_ROS_MILVUS_CREDENTIALS than in the address; see docs/scale.md.
    """
    from seqnet_ros.maps.fleet.address import parse_address
    from seqnet_ros.maps.fleet.push import push as push_maps
    from seqnet_ros.maps.fleet.server import FleetServer, parse_index
    from seqnet_ros.maps.fleet.store import Store

    kind = parse_index(index)
    server = FleetServer(parse_address(address))
    try:
        pushed = push_maps(path, server, Store(store), name=name, session=session, index=kind,
                           shards=shards, with_weights=with_weights, bars=progress_bar)
    finally:
        server.close()
    print_fields({'map': server.address, 'tiles written': len(pushed.tiles),
                  'tiles unchanged': len(pushed.unchanged), 'places written': pushed.places,
                  **directory_fields(pushed.directory)})


def directory_fields(directory: 'Directory') -> dict[str, object]:
    """Return what a map on a server holds, by name, in human-readable form."""
    entries = directory.entries
    return {
        'tiles': len(entries),
        'places': sum(entry.tile.places for entry in entries),
        'model': f'{directory.first.model} ({directory.first.fingerprint[:8]})',
        'sessions': ', '.join(sorted({entry.session for entry in entries})),
        'archives': f'{sum(entry.archive.bytes for entry in entries) / 1e6:.1f} MB',
    }
