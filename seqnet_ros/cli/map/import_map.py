"""``seqnet_ros map import``: the map of an archive."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import print_fields, working


def import_map(
    archive: Annotated[Path, typer.Argument(
        help='File that `seqnet_ros map export` wrote.', show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder of the map; the folder that holds it must exist.', show_default=False)],
    overwrite: Annotated[bool, typer.Option(
        '--overwrite', help='Replace the map at --output.')] = False,
    backup: Annotated[bool, typer.Option(help='Keep a map that is replaced as NAME~1.')] = True,
    allow_programs: Annotated[bool, typer.Option(
        '--allow-programs', help='Accept a TorchScript network, which is a program: only from '
                                 'those that you trust.')] = False,
) -> None:
    """Write the map of an archive, with its weights in the folder NAME.weights beside it.

    Everything is compared with its checksum before it is put in place. An archive that holds
    anything else than a map and weights that the map names is refused.
    """
    from seqnet_ros.maps import map_archive

    with working('reading'):
        archived = map_archive.import_map(archive, output, overwrite=overwrite, backup=backup,
                                          allow_programs=allow_programs)
    print_fields({'map': output, 'id': archived.manifest.map_id,
                  'places': archived.manifest.places,
                  'weights': ', '.join(archived.weights) or 'none'})
