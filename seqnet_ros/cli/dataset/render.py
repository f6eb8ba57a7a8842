"""``seqnet_ros dataset render``: the rendered town as the data that JIST trains and tests on."""

import importlib
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.core.errors import InputError

_TOWN = 'seqnet_town'


def render(
    folder: Annotated[Path, typer.Argument(
        help='Folder for sf_xl/processed and msls, new or empty.', show_default=False)],
    seed: Annotated[int, typer.Option(
        min=0, help='Seed of the town of train; val and test use the next seeds.')] = 1,
    length: Annotated[float | None, typer.Option(
        help='Length of the drive through each town, m.',
        show_default='once round')] = None,
    blocks: Annotated[tuple[int, int], typer.Option(
        help='Columns and rows of blocks in a town.')] = (4, 2),
    condition: Annotated[list[str] | None, typer.Option(
        help='Light, weather or season; rendered for the single images and for one drive of the '
             'database each. Repeatable.',
        show_default='day, overcast, autumn')] = None,
    query_condition: Annotated[list[str] | None, typer.Option(
        help='The same for the query drives. Repeatable.', show_default='dusk')] = None,
    image_size: Annotated[int, typer.Option(
        min=16, help='Edge length of the single images, pixels; 512 in SF-XL.')] = 512,
    frame_width: Annotated[int, typer.Option(
        min=16, help='Width of the sequence images, pixels; the height is 3/4 of it.')] = 640,
    no_images: Annotated[bool, typer.Option(
        '--no-images', help='Do not render single images.', show_default=False)] = False,
    no_sequences: Annotated[bool, typer.Option(
        '--no-sequences', help='Render no sequences.', show_default=False)] = False,
    workers: Annotated[int | None, typer.Option(
        min=1, help='Processes that render.', show_default='one per core')] = None,
) -> None:
    """Render towns as single images and sequences with exact positions: data to try JIST with.

    The folder gets sf_xl/processed with train, val/database and val/queries, and msls with train,
    val and test; each split is another town. The same options give the same images, byte for byte,
    with any number of processes. A class of 10 m and 30 degrees along the route has about 16 single
    images.

    The renderer, seqnet_town, is part of the source repository only: outside `source build/env.sh`,
    add the checkout to PYTHONPATH.
    """
    jist_data = _import_town()
    if no_images and no_sequences:
        raise InputError('both --no-images and --no-sequences were given, expected at most one of '
                         'them')
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f'{folder} exists, expected a new or empty folder')
    if length is not None and not 0 < length < float('inf'):
        raise InputError(f'--length is {length:g}, expected more than 0 meters')
    data = jist_data.JistData(folder, seed, blocks, condition or ['day', 'overcast', 'autumn'],
                              query_condition or ['dusk'], length)
    plans = {**({} if no_images else data.plan_images(image_size)),
             **({} if no_sequences else data.plan_sequences(frame_width))}
    for part, plan in plans.items():
        with progress_bar(f'rendering {part}', len(plan)) as show:
            plan.write(workers or os.cpu_count() or 1, show)
    print_fields({part: f'{len(plan)} images' for part, plan in plans.items()})


def _import_town() -> Any:
    """Return the module of the rendered town that plans data; the town is never installed.

    Raises:
        InputError: the town is not on the Python path.
    """
    try:
        return importlib.import_module(f'{_TOWN}.jist_data')
    except ModuleNotFoundError as error:
        if error.name != _TOWN:
            raise
        raise InputError(
            f'the rendered town is not installed: found no package {_TOWN}, expected the one in '
            'the source repository of seqnet_ros; add a checkout of it to PYTHONPATH') from error
