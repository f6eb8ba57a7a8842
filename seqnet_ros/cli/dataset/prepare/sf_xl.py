"""``seqnet_ros dataset prepare sf-xl``: check a folder of SF-XL."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import INCOMPLETE, print_fields, print_table, working
from seqnet_ros.core.errors import InputError

_logger = logging.getLogger(__name__)


def sf_xl(
    folder: Annotated[Path, typer.Argument(
        help='Folder with train, val and test, such as sf_xl/processed or sf_xl/small.',
        show_default=False)],
    sample: Annotated[int, typer.Option(
        min=0, help='Number of images to open in each part.')] = 20,
) -> None:
    """Check and list the parts of SF-XL that are present; nothing has to be converted.

    For each part the number of images is shown, how many of a sample were opened, how many of these
    are damaged, and whether the names come from a list or the folder; for train also the views,
    classes and groups. The exit status is 0 only if train, val/database and val/queries are present
    and in order, else 1.
    """
    from seqnet_ros.datasets.jist.sf_xl import PARTS, TRAINING_PARTS, check_folders

    with working('reading names'):
        checks = {check.folder: check for check in check_folders(folder, sample)}
    print_table((f'part of {folder}', 'images', 'opened', 'damaged', 'names from'), [
        (part, str(check.images), str(check.opened), str(len(check.damaged)), check.origin)
        if (check := checks.get(part)) else (part, 'missing', '', '', '') for part in PARTS])
    damaged = [problem for check in checks.values() for problem in check.damaged]
    for problem in damaged:
        _logger.warning('%s', problem)
    sound = not damaged and all(part in checks for part in TRAINING_PARTS)
    if 'train' in checks:
        sound = _list_classes(folder) and sound
    if not sound:
        raise typer.Exit(INCOMPLETE)


def _list_classes(folder: Path) -> bool:
    """Print the classes that the images form; return whether there are any."""
    import numpy as np

    from seqnet_ros.datasets.jist.sf_xl import (
        PROCESSED,
        partition_images,
        read_image_list,
        read_views,
    )

    with working('sorting into classes'):
        views = read_views(read_image_list(folder / 'train'))
        try:
            partition = partition_images(views)
        except InputError as error:
            _logger.warning('%s', error)
            return False
    sizes = np.bincount(partition.group_of_class)
    print_fields({
        'views': len(views.east),
        'in classes': len(partition.images),
        'classes': f'{len(partition.classes)} of {PROCESSED.side} m and {PROCESSED.angle} degrees '
                   f'with {PROCESSED.min_images} images or more',
        'groups': f'{len(partition.groups)} of {sizes.min()} to {sizes.max()} classes'})
    return True
