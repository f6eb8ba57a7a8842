"""``seqnet_ros dataset info``: the content of a folder or a file of a data set."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli.console import print_fields

if TYPE_CHECKING:
    from seqnet_ros.datasets.jist.original_caches import ClassCache, SequenceCache
    from seqnet_ros.datasets.seqnet.db_struct import DbStruct

_logger = logging.getLogger(__name__)


def info(
    file: Annotated[Path, typer.Argument(
        help="A folder of images or of a data set, a .db struct, or a .torch cache of JIST's or "
             "CosPlace's published code.",
        show_default=False)],
) -> None:
    """Show what a folder or a file of a data set holds, and what reads it.

    For a folder: its layout, the images of each part, their order and positions, what will not
    work, and a command that reads it. The layouts are listed on the page Data sets.

    For a .db struct: the split, images and radii, and how many places its drives share.

    For a .torch cache of JIST's or CosPlace's published code: its sequences and matches, or its
    classes and groups. Such files are read without running code in them; no command needs them.
    """
    if file.is_dir():
        from seqnet_ros.datasets.folder_info import describe_folder

        found = describe_folder(file)
        for doubt in found.doubts:
            _logger.warning('%s', doubt)
        print_fields({'folder': file, 'layout': found.layout, **found.fields,
                      'read by': found.command})
        return
    if file.suffix == '.torch':
        from seqnet_ros.datasets.jist.original_caches import read_cache

        print_fields({'cache': file, **_describe_cache(read_cache(file))})
        return
    from seqnet_ros.datasets.seqnet.db_struct import read_struct

    print_fields({'struct': file, **struct_fields(read_struct(file))})


def _describe_cache(cache: 'SequenceCache | ClassCache') -> dict[str, object]:
    from seqnet_ros.datasets.jist.original_caches import ClassCache

    if isinstance(cache, ClassCache):
        sizes = [len(group) for group in cache.groups]
        return {'images': sum(map(len, cache.images.values())),
                'classes': len(cache.images),
                'groups': f'{len(sizes)} of {min(sizes, default=0)} to {max(sizes, default=0)} '
                          'classes'}
    matched = len(cache.matched_queries)
    mean = sum(map(len, cache.positives)) / max(1, matched)
    return {'sequences': f'{len(cache.database)} of the database, {len(cache.queries)} queries, '
                         f'of {cache.database.windows.shape[1]} frames',
            'cities': ', '.join(sorted(set(cache.database.frames.cities))),
            'queries without match': len(cache.queries) - matched,
            'matches per query': f'{mean:.2f}, over queries with a match'}


def struct_fields(struct: 'DbStruct') -> dict[str, object]:
    """Return the content of a struct, by name, in human-readable form."""
    from scipy.spatial import cKDTree

    found = cKDTree(struct.db_positions).query_ball_point(
        struct.q_positions, struct.radius, return_length=True)
    unit = 'frames' if struct.db_positions.shape[1] == 1 else 'm'
    positive = struct.positive_radius
    return {
        'name': struct.name,
        'split': struct.split,
        'images': f'{len(struct.db_images)} reference, {len(struct.q_images)} query',
        'positions': 'frame numbers' if unit == 'frames' else
        f'{struct.db_positions.shape[1]} coordinates, meters',
        'radius': f'{struct.radius:g} {unit}',
        'radius of positives': 'not stated' if positive is None else f'{positive:g} {unit}',
        'queries without match': int((found == 0).sum()),
        'matches per query': f'{found.mean():.2f}' if len(found) else 'none',
    }
