"""Which layout of images a folder has, what is in it, and what reads it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image
from seqnet_ros.datasets.frame_pairing import ascending_fields, pair_drives
from seqnet_ros.datasets.jist.msls_sequences import is_official, read_side, split_folder
from seqnet_ros.datasets.jist.sequence_folders import SIDES, SPLITS, FrameTable
from seqnet_ros.datasets.msls import cities_in
from seqnet_ros.datasets.recordings.bag_files import is_bag
from seqnet_ros.datasets.recordings.image_folder import list_images

RADIUS_M = 25.0
"""Usual radius of a match in benchmarks of visual place recognition."""

_STRUCTS = 'structFiles'
_OPENED = 20


@dataclass(frozen=True)
class FolderInfo:
    """The content of a folder.

    Attributes:
        layout: what it is, in words.
        fields: its content by name, human-readable.
        doubts: what will not work, or not as expected.
        command: a command that reads it.
    """

    layout: str
    fields: dict[str, str]
    doubts: tuple[str, ...]
    command: str


def describe_folder(folder: Path) -> FolderInfo:
    """Find out the layout of a folder, and describe it; of images only a sample is opened.

    Raises:
        InputError: it cannot be listed, or holds nothing that any command reads.
    """
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir())
        images = list_images(folder)
        drives = {path: found for path in below if (found := list_images(path))}
    except OSError as error:
        raise InputError(f'{error.filename or folder} cannot be listed: '
                         f'{error.strerror or error}') from error
    if is_bag(folder):
        return FolderInfo('a bag', {}, (),
                          f'seqnet_ros map build {folder} --output OUTPUT')
    if (folder / _STRUCTS).is_dir():
        return _describe_structs(folder)
    if is_official(folder, SPLITS[-1]):
        return FolderInfo(
            'the official folder of MSLS', {'cities': ', '.join(cities_in(folder))}, (),
            f'seqnet_ros evaluate sequences {folder} -L 1 --subtask all')
    splits = [split for split in SPLITS
              if all((split_folder(folder, split) / side).is_dir() for side in SIDES)]
    if splits:
        return _describe_splits(folder, splits)
    if images:
        return _describe_images(folder, images)
    if drives:
        return _describe_drives(drives)
    raise InputError(f'{folder} holds no images, no bag, no {_STRUCTS} and no {", ".join(SPLITS)} '
                     f'with {" and ".join(SIDES)}, found {_listed(below) or "no folders"}')


def _describe_structs(folder: Path) -> FolderInfo:
    structs = [path.name for path in sorted((folder / _STRUCTS).glob('*.db'))]
    return FolderInfo("a data set in the files of SeqNet's published code",
                      {'structs': _listed([Path(name) for name in structs]) or 'none'},
                      () if structs else (f'{folder / _STRUCTS} holds no .db file',),
                      f'seqnet_ros evaluate --dataset {folder} --method single')


def _describe_splits(folder: Path, splits: list[str]) -> FolderInfo:
    fields: dict[str, str] = {}
    doubts: list[str] = []
    longest = 0
    # A folder that is a split itself counts for each of them.
    one = split_folder(folder, splits[0]) == folder
    for split in splits[-1:] if one else splits:
        tables: dict[str, FrameTable] = {}
        for side in SIDES:
            name = side if one else f'{split} {side}'
            try:
                tables[side] = read_side(folder, split, side)
                fields[name], run = _describe_table(tables[side])
                longest = max(longest, run)
            except InputError as error:
                fields[name] = 'cannot be read'
                doubts.append(str(error))
        if len(tables) == len(SIDES):
            far = _without_match(tables[SIDES[0]], tables[SIDES[1]])
            total = len(tables[SIDES[1]])
            fields['queries without match' if one else f'{split} queries without match'] = (
                f'{far} of {total}, farther than {RADIUS_M:g} m from any image of the database')
            if far == total:
                doubts.append(f'no query of {split} is within {RADIUS_M:g} m of the database: '
                              'positions are in different frames, or coordinates are exchanged')
    single = ' -L 1' if longest <= 1 else ''
    return FolderInfo('splits of images with positions in their names', fields, tuple(doubts),
                      f'seqnet_ros evaluate sequences {folder} --split {splits[-1]}{single}')


def _describe_table(table: FrameTable) -> tuple[str, int]:
    """Return a summary, and the length of the longest run of successive numbers."""
    follows = (np.diff(table.numbers) == 1) & (np.diff(table.folders) == 0)
    runs = np.bincount(np.concatenate([[0], np.cumsum(~follows)]))
    extent = table.positions.max(axis=0) - table.positions.min(axis=0)
    cities = sorted(set(table.cities) - {''})
    # Cities are too far apart for one extent.
    where = f', of {", ".join(cities)}' if cities else f', over {extent[0]:.0f} x {extent[1]:.0f} m'
    longest = int(runs.max())
    return (f'{len(table)} images, {len(runs)} runs of successive numbers of at most {longest}'
            f'{where}'), longest


def _without_match(database: FrameTable, queries: FrameTable) -> int:
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(database.positions).query(queries.positions)
    return int((distances > RADIUS_M).sum())


def _describe_images(folder: Path, images: list[Path]) -> FolderInfo:
    fields = {'images': str(len(images)), 'names': f'{images[0].name} to {images[-1].name}'}
    doubts = []
    numbers = ascending_fields([path.name for path in images])
    if numbers:
        values = list(numbers.values())[-1]
        steps = np.diff(values)
        usual = int(np.median(steps)) if len(steps) else 1
        missing = steps >= 2 * usual
        gaps = int(missing.sum())
        fields['numbers'] = f'{values[0]} to {values[-1]}, gaps: {gaps}'
        if gaps:
            doubts.append(f'numbers of images are missing, first after {values[:-1][missing][0]}: '
                          'frames without poses are paired by number')
    else:
        fields['numbers'] = 'no field of digits ascends from name to name'
    sample = [images[row] for row in np.unique(
        np.linspace(0, len(images) - 1, _OPENED).astype(int)).tolist()]
    sizes = []
    for image in sample:
        try:
            sizes.append(read_image(image).shape[:2])
        except InputError as error:
            doubts.append(str(error))
    fields['sizes'] = ', '.join(dict.fromkeys(f'{width} x {height}' for height, width in sizes)) + (
        f', of {len(sample)} images opened')
    return FolderInfo('a folder of images', fields, tuple(doubts),
                      f'seqnet_ros map build {folder} --output OUTPUT')


def _describe_drives(drives: dict[Path, list[Path]]) -> FolderInfo:
    fields = {path.name: f'{len(images)} images, {images[0].name} to {images[-1].name}'
              for path, images in drives.items()}
    (first, references), *others = drives.items()
    doubts = []
    for other, images in others:
        names = [path.name for path in references], [path.name for path in images]
        found = pair_drives((len(references), len(images)), names, 'auto')
        if found.note:
            doubts.append(f'{first.name} and {other.name}: {found.note}')
    query = others[0][0] if others else 'QUERIES'
    return FolderInfo('folders of images', fields, tuple(doubts),
                      f'seqnet_ros evaluate bags --map-source {first} --query-source {query} '
                      '--tolerance 2frames --output OUTPUT')


def _listed(paths: list[Path]) -> str:
    shown = ', '.join(path.name for path in paths[:5])
    return shown if len(paths) <= 5 else f'{shown} and {len(paths) - 5} more'
