"""Options that say what is searched: a map, or a collection in a folder or on a server."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqnet_ros.cli.settings import take_section
from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from seqnet_ros.pipelines.searched_map import SearchedMap

FleetMap = Annotated[str, typer.Argument(
    metavar='ADDRESS', show_default=False,
    help='milvus://host:port/collection, or milvuss:// for TLS.')]
Searched = Annotated[str, typer.Option(
    '--map', help='Folder of the map or of a collection of maps, or the address of a map on a '
                  'server, milvus://host:port/collection.', show_default=False)]
Store = Annotated[str, typer.Option(
    help='With a map on a server: folder or https address with the archives of the tiles.',
    show_default=False)]
Region = Annotated[str, typer.Option(
    help="With a map on a server: only tiles in this region: 'xy:X,Y,X,Y' in the frame of the "
         "map, m, or 'geo:LAT,LON,LAT,LON' in degrees, two opposite corners.",
    show_default='all')]
Session = Annotated[str, typer.Option(
    help='With a map on a server: only tiles of this session.', show_default='all')]
Cache = Annotated[str, typer.Option(
    help='With a map on a server: folder for copies of tiles.',
    show_default="seqnet_ros/fleet in the user's cache")]


def open_searched_map(text: str, settings: dict[str, Any],
                      fleet: Mapping[str, str]) -> 'SearchedMap':
    """Open what ``--map`` names.

    Args:
        text: a folder or an address.
        settings: by dotted name; those of `CollectionConfig` and `FleetConfig` are taken out.
        fleet: options by the name of their field in `FleetConfig`; '' where not given.

    Raises:
        MapError: it cannot be used.
        InputError: a setting is unknown or out of range, or is not one of such a map.
    """
    from seqnet_ros.maps.fleet.address import FleetAddress, map_place
    from seqnet_ros.pipelines.searched_map import SearchedMap

    place = map_place(text)
    given = {name: value for name, value in fleet.items() if value}
    if not isinstance(place, FleetAddress):
        named = [f'--{name}' for name in given] + [
            f'--set {name}' for name in settings if name.startswith('fleet.')]
        if named:
            raise InputError(f'{named[0]} was given for the folder {place}, expected the address '
                             'of a map on a server')
    config = take_section(settings, 'fleet', FleetConfig, given)
    return SearchedMap(place, take_section(settings, 'collection', CollectionConfig), config)
