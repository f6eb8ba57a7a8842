"""``seqnet_ros map collection verify``: check a collection and its maps."""

from pathlib import Path

from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.map.collection.info import CollectionPath, collection_fields


def verify(path: CollectionPath) -> None:
    """Check that a collection and its maps belong together, and all their checksums and values."""
    from seqnet_ros.maps.collection.collection_file import read_collection
    from seqnet_ros.maps.collection.map_collection import check_tile, open_summary
    from seqnet_ros.maps.map_reader import verify_map

    manifest = read_collection(path)
    open_summary(path, manifest, verify=True)
    with progress_bar('verifying', len(manifest.tiles)) as progress:
        for number, tile in enumerate(manifest.tiles):
            check_tile(tile, verify_map(Path(path) / tile.name), manifest)
            progress(number + 1)
    print_fields({'collection': path, 'verdict': 'sound', **collection_fields(manifest)})
