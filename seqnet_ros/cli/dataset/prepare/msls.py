"""``seqnet_ros dataset prepare``: the public data that JIST trains and tests on."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import INCOMPLETE, print_fields, print_table, progress_bar, working
from seqnet_ros.errors import InputError

_logger = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True, help='Bring public data into the folders of JIST.')


@app.command()
def msls(
    folder: Annotated[Path, typer.Argument(
        help='The Mapillary Street-level Sequences: the folder that holds train_val.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder for train, val and test; what lies there stays.', show_default=False)],
    city: Annotated[list[str] | None, typer.Option(
        help='Only this city. Repeatable.', show_default='all that are there')] = None,
    copy: Annotated[bool, typer.Option(
        '--copy', help='Copy the images instead of linking them.', show_default=False)] = False,
) -> None:
    """Sort the images of MSLS into sequences, with hard links where the disk allows it.

    Cities go to the splits of SeqVLAD and JIST: test has Copenhagen and San Francisco. An
    interrupted run can be repeated.
    """
    from seqnet_ros.datasets.msls_sequences import cities_by_split, read_official
    from seqnet_ros.datasets.sequence_folders import SIDES

    rows = []
    images, lost = 0, ''
    for split, cities in cities_by_split(folder, city or ()).items():
        for side in SIDES:
            part = f'{split}/{side}'
            with working(f'reading the tables of {part}'):
                frames = read_official(folder, split, side, cities)
            with progress_bar(part, len(frames.table)) as show:
                written = frames.write(output / split / side, copy, show)
            broken = len(frames.problems)
            _tell(part, 'broken rows', broken, ''.join(frames.problems[:1]))
            _tell(part, 'missing images', written.lost, written.first_lost)
            lost = lost or written.first_lost
            images += written.images
            rows.append((part, ', '.join(cities), *map(str, (
                written.images, written.copied, frames.panoramas, broken, written.lost))))
    _refuse_none(images, str(folder), lost)
    print_table((f'part of {output}', 'cities', 'images', 'copied', 'panoramas', 'broken rows',
                 'missing'), rows)


@app.command()
def robotcar(
    folder: Annotated[Path, typer.Argument(
        help='Folder of laps: LAP/stereo/left and LAP/rtk.csv, LAP/gps/ins.csv or the like.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Folder for train, val and test; what lies there stays.', show_default=False)],
    lap: Annotated[list[str] | None, typer.Option(
        metavar='PART=LAP', show_default='those of the papers that are there',
        help='Use this lap, such as test/queries=2014-12-16-18-44-24. Repeatable.')] = None,
    positions: Annotated[str | None, typer.Option(
        help="Kind of positions: 'rtk', 'ins' or 'gps'.",
        show_default='the first of them that a lap has')] = None,
    spacing: Annotated[float, typer.Option(
        min=0, help='Distance between frames, at least, m.')] = 2.0,
) -> None:
    """Make sequences of laps of the Oxford RobotCar data set; raw images get their colours.

    An interrupted run can be repeated.
    """
    from seqnet_ros.datasets import robotcar as reader

    kinds = reader.POSITION_KINDS if positions is None else (positions,)
    if positions not in (None, *reader.POSITION_KINDS):
        raise InputError(f'--positions is {positions!r}, expected one of '
                         f'{", ".join(reader.POSITION_KINDS)}')
    rows = []
    for part, name in _laps(folder, lap or []).items():
        file = reader.find_positions(folder, name, kinds)
        with working(f'reading {name}'):
            found = reader.read_lap(folder / name / reader.IMAGES, file, name)
        frames = len(reader.thin(found.positions, spacing))
        with progress_bar(f'{part}: {name}', frames) as show:
            written = reader.write_lap(found, output / part, spacing, show)
        _refuse_none(written.images, f'lap {name}', written.first_lost)
        _tell(part, 'damaged images', written.lost, written.first_lost)
        rows.append((part, name, file.name, *map(str, (
            len(found.images), written.images, found.unplaced, found.broken, written.lost))))
    print_table((f'part of {output}', 'lap', 'positions', 'images', 'frames', 'without position',
                 'broken rows', 'damaged'), rows)


def _laps(folder: Path, chosen: list[str]) -> dict[str, str]:
    """Return the name of the lap of each part."""
    from seqnet_ros.datasets.robotcar import IMAGES, LAPS

    parts = {f'{split}/{side}': name for (split, side), name in LAPS.items()}
    if not chosen:
        there = {part: name for part, name in parts.items() if (folder / name / IMAGES).is_dir()}
        if not there:
            raise InputError(f'{folder} holds none of the laps {", ".join(parts.values())}, '
                             f'expected folders with {IMAGES}, or --lap')
        return there
    found = {}
    for text in chosen:
        part, _, name = text.partition('=')
        if part not in parts or not name:
            raise InputError(f'--lap is {text!r}, expected a part of {", ".join(parts)} and a lap, '
                             'such as test/queries=2014-12-16-18-44-24')
        found[part] = name
    return found


@app.command('sf-xl')
def sf_xl(
    folder: Annotated[Path, typer.Argument(
        help='Folder with train, val and test, such as sf_xl/processed or sf_xl/small.',
        show_default=False)],
    sample: Annotated[int, typer.Option(
        min=0, help='Images opened in each part.')] = 20,
) -> None:
    """Check and list what is there of SF-XL; nothing has to be converted.

    The exit status is 0 only where all that training needs is there and in order, else 1.
    """
    from seqnet_ros.datasets.sf_xl import PARTS, TRAINING_PARTS, check_folders

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
    """Print what classes the images make; return whether there are any."""
    import numpy as np

    from seqnet_ros.datasets.sf_xl import PROCESSED, partition_images, read_image_list, read_views

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


def _tell(part: str, what: str, count: int, first: str) -> None:
    """Say how many of something were left out, and what is wrong with the first."""
    if count:
        _logger.warning('%s: %d %s left out, such as: %s', part, count, what, first)


def _refuse_none(images: int, what: str, lost: str) -> None:
    if not images:
        raise InputError(f'no image of {what} can be used: {lost}')
