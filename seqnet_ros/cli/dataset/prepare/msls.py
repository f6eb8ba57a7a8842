"""``seqnet_ros dataset prepare msls``: MSLS in the folders of JIST."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli.console import print_table, progress_bar, working
from seqnet_ros.cli.dataset.prepare.skipped import require_images, warn_left_out


def msls(
    folder: Annotated[Path, typer.Argument(
        help='Folder of the Mapillary Street-level Sequences that contains train_val.',
        show_default=False)],
    output: Annotated[Path, typer.Option(
        help='Output folder for train, val and test; existing files are '
             'kept.', show_default=False)],
    city: Annotated[list[str] | None, typer.Option(
        help='Only this city. Repeatable.', show_default='all available')] = None,
    copy: Annotated[bool, typer.Option(
        '--copy', help='Copy the images instead of linking them.', show_default=False)] = False,
) -> None:
    """Sort the images of MSLS into sequences, with hard links where the disk allows it.

    Cities go to the splits of SeqVLAD and JIST: Copenhagen and San Francisco to test, Amsterdam and
    Manila to val, the other twenty to train; missing cities are skipped. A table shows for each
    part how many images are in place, how many are copies, and what was skipped: panoramas,
    incomplete or contradictory rows, and missing or empty images.

    The command can be repeated: it keeps images that are in place, and stops if a different file is
    there.
    """
    from seqnet_ros.datasets.jist.msls_sequences import cities_by_split, read_official
    from seqnet_ros.datasets.jist.sequence_folders import SIDES

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
            warn_left_out(part, 'broken rows', broken, ''.join(frames.problems[:1]))
            warn_left_out(part, 'missing images', written.lost, written.first_lost)
            lost = lost or written.first_lost
            images += written.images
            rows.append((part, ', '.join(cities), *map(str, (
                written.images, written.copied, frames.panoramas, broken, written.lost))))
    require_images(images, str(folder), lost)
    print_table((f'part of {output}', 'cities', 'images', 'copied', 'panoramas', 'broken rows',
                 'missing'), rows)
