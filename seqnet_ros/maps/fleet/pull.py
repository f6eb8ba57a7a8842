"""Copying tiles from a server and its store to a folder."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from seqnet_ros.core.errors import FleetError
from seqnet_ros.core.files import explain_write_errors
from seqnet_ros.maps.collection.collection_file import CollectionManifest
from seqnet_ros.maps.collection.creation import check_new_folder, create_collection
from seqnet_ros.maps.fleet.directory import Directory, TileEntry
from seqnet_ros.maps.fleet.store import Store
from seqnet_ros.maps.map_archive import import_map
from seqnet_ros.models.place_model import weights_folder

_ARCHIVE = '.zip'


def pull(directory: Directory, store: Store, output: Path, *, allow_programs: bool = False,
         progress: Callable[[int], None] = lambda _: None) -> CollectionManifest:
    """Make a collection of the tiles of a map, or of a part of it.

    Args:
        directory: the tiles.
        store: where their archives are.
        output: new folder of the collection.
        allow_programs: accept networks that are programs (TorchScript).
        progress: told how many tiles are there.

    Raises:
        MapWriteError: something is at the output, or it cannot be written.
        FleetError: the store lacks an archive, or has another one.
        MapError: an archive cannot be used.
    """
    check_new_folder(output)
    with explain_write_errors(output):
        output.mkdir(exist_ok=True)
    for number, entry in enumerate(directory.entries):
        with explain_write_errors(output):
            (output / entry.tile.name).parent.mkdir(parents=True, exist_ok=True)
        fetch_tile(entry, store, output / entry.tile.name, allow_programs=allow_programs)
        progress(number + 1)
    tiles = [entry.tile for entry in directory.entries]
    return create_collection(
        output, [output / tile.name for tile in tiles],
        areas={tile.name: tile.area for tile in tiles if tile.area},
        frames={tile.name: tile.frame for tile in tiles if tile.extent is not None})


def fetch_tile(entry: TileEntry, store: Store, path: Path, *,
               allow_programs: bool = False) -> None:
    """Write the map of a tile.

    Args:
        entry: the tile.
        store: where its archive is.
        path: directory of the map, which must not exist; the folder that holds it must.
        allow_programs: accept a network that is a program (TorchScript).

    Raises:
        FleetError: the store lacks the archive, or it is that of another map.
        MapError: it cannot be used or the map cannot be written.
    """
    with explain_write_errors(path.parent), tempfile.TemporaryDirectory(
            prefix='.part-', dir=path.parent) as folder:
        archive = Path(folder) / f'tile{_ARCHIVE}'
        store.get(entry.archive, _ARCHIVE, archive)
        unpacked = Path(folder) / 'map'
        found = import_map(archive, unpacked, allow_programs=allow_programs).manifest
        if found.map_id != entry.tile.map_id or found.fingerprint != entry.fingerprint:
            raise FleetError(f'the archive of tile {entry.tile.name} holds map {found.map_id}, but '
                             f'the server names {entry.tile.map_id}')
        _move(unpacked, path)


def _move(unpacked: Path, path: Path) -> None:
    """Put a map and its weights in place; weights first, which the map names."""
    for source in (unpacked.with_name(weights_folder(unpacked)), unpacked):
        target = path.with_name(path.name + source.name.removeprefix(unpacked.name))
        if source.is_dir() and not target.exists():  # another process may have been faster
            source.replace(target)
