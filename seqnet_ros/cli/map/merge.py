"""``seqnet_ros map merge``: one map of the parts that several processes made."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.cli.map.info import manifest_fields
from seqnet_ros.core.files import is_same_path


def merge(
    parts: Annotated[list[Path], typer.Argument(
        help='All parts of the map, as `map build --shard` writes them, in any order.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder of the map; the folder that holds it must exist.', show_default=False)],
    extend: Annotated[Path | None, typer.Option(
        help='Map to add the drive to, the one that the parts were made with; it stays unchanged '
             'unless it is also --output.', show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option(
        '--overwrite', help='Replace the map at --output.')] = False,
    backup: Annotated[bool, typer.Option(
        help='Keep a map that is replaced or extended as NAME~1.')] = True,
    weights: options.Weights = None,
    device: options.Device = 'auto',
) -> None:
    """Make the map of a recording of which several processes described a shard each.

    The map is the one that `map build` without --shard makes, to the byte. Parts that were made
    with --extend need that map, which must not have changed. The recording is needed only where an
    image could not be read and the places after it moved: images that no part has are described
    now.
    """
    from seqnet_ros.maps.map_writer import check_target, save_map

    in_place = extend is not None and is_same_path(output, extend)
    check_target(output, overwrite=overwrite or in_place)
    from seqnet_ros.maps.map_reader import open_map, read_manifest
    from seqnet_ros.models.place_model import build_map_model
    from seqnet_ros.pipelines.shards import merge_parts

    replaced = read_manifest(extend)[0].map_id if in_place and extend is not None else None
    mapped = merge_parts(
        parts, lambda manifest: build_map_model(manifest.preset, device, weights, extend),
        lambda built: None if extend is None else open_map(extend, built, verify=True),
        progress_bar)
    kept = save_map(mapped.place_map, output, overwrite=overwrite, backup=backup,
                    replaces=replaced)
    print_fields({'map': output, **({} if kept is None else {'previous map': kept}),
                  **({'damaged images': len(mapped.damaged)} if mapped.damaged else {}),
                  **manifest_fields(mapped.place_map.manifest)})
