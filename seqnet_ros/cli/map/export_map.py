"""``seqnet_ros map export``: a map and its weights as one file."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, working


def export_map(
    path: options.MapPath,
    output: Annotated[Path, typer.Option(help='The new file.', show_default=False)],
    with_weights: Annotated[bool, typer.Option(
        '--with-weights/--without-weights',
        help='Include the weights of the model, after checking that they are those of the map.',
    )] = True,
    weights: options.Weights = None,
) -> None:
    """Write a map and the weights that it needs to one file, for another machine.

    The file is a zip archive without compression, with the size and SHA-256 of everything in it.
    Weights in an installed package are not copied. License and paper of weights are not in a map:
    see `models list` before passing them on.
    """
    from seqnet_ros.maps import map_archive

    with working('writing'):
        archived = map_archive.export_map(
            path, output, with_weights=with_weights, weights=weights)
    print_fields({'archive': output, 'id': archived.manifest.map_id,
                  'places': archived.manifest.places,
                  'weights': ', '.join(archived.weights) or 'none',
                  'size': f'{archived.bytes / 1e6:.1f} MB'})
