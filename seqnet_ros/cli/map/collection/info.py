"""``seqnet_ros map collection info``: show the tiles of a collection."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli.console import print_fields, print_table

if TYPE_CHECKING:
    from seqnet_ros.maps.collection.collection_file import CollectionManifest, Tile

CollectionPath = Annotated[Path, typer.Argument(
    help='Folder of the collection.', show_default=False)]


def info(path: CollectionPath) -> None:
    """Show the tiles of a collection: size, area, frame and extent; no map is opened."""
    from seqnet_ros.maps.collection.collection_file import read_collection

    manifest = read_collection(path)
    print_fields({'collection': path, **collection_fields(manifest)})
    print_table(('tile', 'map id', 'places', 'area', 'frame', 'extent, m', 'on the earth'),
                [_row(tile) for tile in manifest.tiles])


def collection_fields(manifest: 'CollectionManifest') -> dict[str, object]:
    """Return the content of a collection, by name, in human-readable form."""
    return {
        'tiles': len(manifest.tiles),
        'places': manifest.places,
        'model': f'{manifest.model} ({manifest.fingerprint[:8]})',
        'sequence length': manifest.sequence_length,
        'spacing': manifest.spacing,
        **({'areas': ', '.join(manifest.areas)} if manifest.areas else {}),
        'frames': len({tile.frame for tile in manifest.tiles}),
        'size': f'{sum(tile.bytes for tile in manifest.tiles) / 1e6:.1f} MB, '
                f'summary {manifest.summary.rows.bytes / 1e6:.1f} MB',
    }


def _row(tile: 'Tile') -> tuple[str, ...]:
    extent, earth = tile.extent, tile.geographic
    box = '-' if extent is None else ' '.join(
        f'{low:.0f}..{high:.0f}' for low, high in zip(extent.low, extent.high, strict=True))
    return (tile.name, tile.map_id, str(tile.places), tile.area or '-', tile.frame, box,
            '-' if earth is None else f'{earth.south:.5f}..{earth.north:.5f} '
                                      f'{earth.west:.5f}..{earth.east:.5f}')
