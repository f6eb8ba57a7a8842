"""``seqnet_ros dataset prepare robotcar``: laps of RobotCar in the folders of JIST."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import print_table, progress_bar, working
from seqnet_ros.cli.dataset.prepare.skipped import require_images, warn_left_out
from seqnet_ros.core.errors import InputError, quoted


def robotcar(
    folder: Annotated[Path, typer.Argument(
        help='Folder of laps: LAP/stereo/left and LAP/rtk.csv, LAP/gps/ins.csv or similar.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Output folder for train, val and test; existing files are '
             'kept.', show_default=False)],
    lap: Annotated[list[str] | None, typer.Option(
        metavar='PART=LAP', show_default='the available laps of the papers',
        help='Use this lap, such as test/queries=2014-12-16-18-44-24. Repeatable.')] = None,
    positions: Annotated[str | None, typer.Option(
        help="Kind of positions: 'rtk', 'ins' or 'gps'.",
        show_default='the first one that a lap has')] = None,
    spacing: Annotated[float, typer.Option(
        min=0, help='Minimum distance between frames, m.')] = 2.0,
) -> None:
    """Make sequences of laps of the Oxford RobotCar data set; raw images are debayered.

    Each image gets the position nearest in time; images without one within a second are skipped. A
    lap is one sequence. The command can be repeated; it stops if the folder has images of another
    lap or spacing, because these would join the sequence.
    """
    from seqnet_ros.datasets.jist import robotcar as reader

    kinds = reader.POSITION_KINDS if positions is None else (positions,)
    if positions not in (None, *reader.POSITION_KINDS):
        raise InputError(f'--positions is {quoted(positions)}, expected one of '
                         f'{", ".join(reader.POSITION_KINDS)}')
    rows = []
    for part, name in _laps(folder, lap or []).items():
        file = reader.find_positions(folder, name, kinds)
        with working(f'reading {name}'):
            found = reader.read_lap(folder / name / reader.IMAGES, file, name)
        frames = len(reader.thin(found.positions, spacing))
        with progress_bar(f'{part}: {name}', frames) as show:
            written = reader.write_lap(found, output / part, spacing, show)
        require_images(written.images, f'lap {name}', written.first_lost)
        warn_left_out(part, 'damaged images', written.lost, written.first_lost)
        rows.append((part, name, file.name, *map(str, (
            len(found.images), written.images, found.unplaced, found.broken, written.lost))))
    print_table((f'part of {output}', 'lap', 'positions', 'images', 'frames', 'without position',
                 'broken rows', 'damaged'), rows)


def _laps(folder: Path, chosen: list[str]) -> dict[str, str]:
    """Return the name of the lap of each part."""
    from seqnet_ros.datasets.jist.robotcar import IMAGES, LAPS

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
            raise InputError(f'--lap is {quoted(text)}, expected a part of {", ".join(parts)} and '
                             'a lap, such as test/queries=2014-12-16-18-44-24')
        found[part] = name
    return found
