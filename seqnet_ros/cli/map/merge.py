"""``seqnet_ros map merge``: one map of the parts that several processes made."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.map.info import manifest_fields


def merge(
    parts: Annotated[list[Path], typer.Argument(
        help='All parts of the map, as `map build --shard` writes them, in any order.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder of the map; the folder that holds it must exist.', show_default=False)],
    overwrite: Annotated[bool, typer.Option(
        '--overwrite', help='Replace the map at --output.')] = False,
    backup: Annotated[bool, typer.Option(
        help='Keep a map that is replaced as NAME~1.')] = True,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Make the map of a recording of which several processes described a shard each.

    The map is the one that `map build` without --shard makes, to the byte. The recording is needed
    only where an image could not be read and the places after it moved: images that no part has are
    described now.
    """
    from seqnet_ros.maps.map_writer import check_target, save_map

    check_target(output, overwrite=overwrite)
    from seqnet_ros.models.place_model import build_map_model
    from seqnet_ros.pipelines.shards import merge_parts

    mapped = merge_parts(
        parts, lambda manifest: build_map_model(manifest.preset, device, weights), progress_bar)
    kept = save_map(mapped.place_map, output, overwrite=overwrite, backup=backup)
    print_fields({'map': output, **({} if kept is None else {'previous map': kept}),
                  **({'damaged images': len(mapped.damaged)} if mapped.damaged else {}),
                  **manifest_fields(mapped.place_map.manifest)})
