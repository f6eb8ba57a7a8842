"""Options that say what is searched: a map, or a collection in a folder or on a server."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqnet_ros.cli.settings import take_section
from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from seqnet_ros.maps.fleet.address import FleetAddress

FleetMap = Annotated[str, typer.Argument(
    metavar='ADDRESS', show_default=False,
    help='milvus://host:port/collection, or milvuss:// for TLS.')]
Searched = Annotated[str, typer.Option(
    '--map', help='Folder of the map or of a collection of maps, or the address of a map on a '
                  'server, milvus://host:port/collection.', show_default=False)]
SearchedInstead = Annotated[str, typer.Option(
    '--map', help='Instead of building a map: folder of an existing one or of a collection of '
                  'maps, or the address of a map on a server, milvus://host:port/collection.',
    show_default=False)]
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


def searched_place(text: str, settings: dict[str, Any], fleet: Mapping[str, str],
                   ) -> tuple['Path | FleetAddress | None', FleetConfig, CollectionConfig]:
    """Read what ``--map`` names, and the settings of collections.

    Args:
        text: a folder or an address; '' for none.
        settings: by dotted name; those of `FleetConfig` and `CollectionConfig` are taken out.
        fleet: options by the name of their field in `FleetConfig`; '' where not given.

    Returns:
        The folder, the address or None, and the settings.

    Raises:
        InputError: the address is invalid, or a setting is unknown, out of range, or not one of
            such a map.
    """
    from seqnet_ros.maps.fleet.address import FleetAddress, map_place

    place = map_place(text) if text else None
    given = {name: value for name, value in fleet.items() if value}
    if not isinstance(place, FleetAddress):
        named = [f'--{name}' for name in given] + [
            f'--set {name}' for name in settings if name.startswith('fleet.')]
        if named:
            where = '' if place is None else f' for the folder {place}'
            raise InputError(f'{named[0]} was given{where}, expected --map with the address of a '
                             'map on a server')
    config = take_section(settings, 'fleet', FleetConfig, given)
    return place, config, take_section(settings, 'collection', CollectionConfig)
