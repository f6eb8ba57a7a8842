"""``seqnet_ros dataset render``: the rendered town as the data that JIST trains and tests on."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli.console import print_fields, progress_bar
from seqnet_ros.errors import InputError

if TYPE_CHECKING:
    from seqnet_town import Condition, Town
    from seqnet_town.export import Export

_SPLITS = ('train', 'val', 'test')
_IMAGES_A_CLASS = 16
_CLASS_M = 10.0
_FEW_HEADINGS = (0, 90, 180, 270)


def render(
    folder: Annotated[Path, typer.Argument(
        help='Folder for sf_xl/processed and msls, new or empty.', show_default=False)],
    seed: Annotated[int, typer.Option(
        min=0, help='Decides the town of train; val and test have those of the next seeds.')] = 1,
    length: Annotated[float | None, typer.Option(
        help='How much of the way through each town is driven, m.',
        show_default='once round')] = None,
    blocks: Annotated[tuple[int, int], typer.Option(
        help='Columns and rows of blocks of a town.')] = (4, 2),
    condition: Annotated[list[str] | None, typer.Option(
        help='Light, weather or season: each is seen by the single images and by a drive of the '
             'database. Repeatable.',
        show_default='day, overcast, autumn')] = None,
    query_condition: Annotated[list[str] | None, typer.Option(
        help='The same for the drives that ask. Repeatable.', show_default='dusk')] = None,
    image_size: Annotated[int, typer.Option(
        min=16, help='Edge of the single images, pixels; 512 as in SF-XL.')] = 512,
    frame_width: Annotated[int, typer.Option(
        min=16, help='Width of the images of sequences, pixels; the height is 3/4 of it.')] = 640,
    no_images: Annotated[bool, typer.Option(
        '--no-images', help='Render no single images.', show_default=False)] = False,
    no_sequences: Annotated[bool, typer.Option(
        '--no-sequences', help='Render no sequences.', show_default=False)] = False,
    workers: Annotated[int | None, typer.Option(
        min=1, help='Processes that render.', show_default='one a core')] = None,
) -> None:
    """Render towns as single images and sequences, with exact positions: data to try JIST with.

    Single images are named and sorted as those of SF-XL, sequences as those of MSLS in the splits
    of JIST. The same options give the same images to the byte.
    """
    from seqnet_town import Town

    if no_images and no_sequences:
        raise InputError('found --no-images and --no-sequences, expected at most one of them')
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f'{folder} exists, expected a new or empty folder')
    if length is not None and not 0 < length < float('inf'):
        raise InputError(f'--length is {length:g}, expected more than 0 metres')
    seen = _conditions(condition or ['day', 'overcast', 'autumn'])
    asked = _conditions(query_condition or ['dusk'])
    towns = {split: Town(seed + number, blocks) for number, split in enumerate(_SPLITS)}
    plans: dict[str, Export] = {}
    if not no_images:
        plans.update(_plan_images(folder, towns, seen, asked, image_size, length))
    if not no_sequences:
        plans.update(_plan_sequences(folder, towns, seen, asked, frame_width, length))
    for part, plan in plans.items():
        with progress_bar(f'rendering {part}', len(plan)) as show:
            plan.write(workers or os.cpu_count() or 1, show)
    print_fields({part: f'{len(plan)} images' for part, plan in plans.items()})


def _conditions(names: list[str]) -> 'list[Condition]':
    from seqnet_town import CONDITIONS

    unknown = [name for name in names if name not in CONDITIONS]
    if unknown:
        raise InputError(f'{unknown[0]!r} is no condition, expected some of '
                         f'{", ".join(CONDITIONS)}')
    return [CONDITIONS[name] for name in names]


def _plan_images(folder: Path, towns: 'dict[str, Town]', seen: 'list[Condition]',
                 asked: 'list[Condition]', size: int, length: float | None) -> 'dict[str, Export]':
    """Plan single images: dense for classes, sparse for the search that validates."""
    from seqnet_town.export import plan_sf_xl

    root = Path('sf_xl', 'processed')
    train, database, queries = (
        str(root / part) for part in ('train', 'val/database', 'val/queries'))
    return {
        train: plan_sf_xl(towns['train'], folder / train, seen, size=size, length=length,
                          spacing=_CLASS_M * len(seen) / _IMAGES_A_CLASS),
        database: plan_sf_xl(towns['val'], folder / database, seen[:1], size=size, length=length,
                             spacing=_CLASS_M),
        queries: plan_sf_xl(towns['val'], folder / queries, asked[:1], size=size, length=length,
                            spacing=_CLASS_M, headings=_FEW_HEADINGS, seed=1)}


def _plan_sequences(folder: Path, towns: 'dict[str, Town]', seen: 'list[Condition]',
                    asked: 'list[Condition]', width: int,
                    length: float | None) -> 'dict[str, Export]':
    from seqnet_town import Camera
    from seqnet_town.export import plan_sequences

    camera = Camera(width, width * 3 // 4)
    parts = {str(Path('msls', split)): town for split, town in towns.items()}
    return {part: plan_sequences(town, folder / part, f'town{town.seed}', seen, asked,
                                 camera=camera, length=length)
            for part, town in parts.items()}
