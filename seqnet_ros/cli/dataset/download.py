"""``seqnet_ros dataset download``: where published data sets come from."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import INCOMPLETE, print_fields, print_table


def download(
    name: Annotated[str, typer.Argument(
        help='nordland-sw, nordland-sf, oxford-v1.0, oxford-pnv or msls.', show_default=False)],
    folder: Annotated[Path, typer.Option(
        help='Folder of structFiles and data of the data set.')] = Path(),
    descriptors: Annotated[str | None, typer.Option(
        help='Folder of the descriptors within data/descData.',
        show_default='netvlad-pytorch')] = None,
    city: Annotated[str | None, typer.Option(
        help='msls: the city.', show_default='melbourne and austin')] = None,
) -> None:
    """Show where a published data set comes from, and check the parts that are present.

    Nothing is downloaded: most parts are on their owners' websites, without a stable address.
    Structs, splits, bounds and image names must be readable with the right number of entries;
    descriptors must have the right shape and unit length (a sample of rows is checked); the files
    of each split must go together. The exit status is 0 only if everything needed is present and
    valid, else 1.
    """
    from seqnet_ros.datasets.seqnet.downloads import inspect, is_complete, sources

    parts = inspect(name, folder, descriptors, city)
    print_fields(sources(name))
    print_table((f'part in {folder}', 'state', ''), [
        (part.name, part.state, part.detail) for part in parts])
    if not is_complete(parts):
        raise typer.Exit(INCOMPLETE)
