"""Sources of the parts of the published data sets, and which parts are present.

Nothing is downloaded: descriptors and images are on their owners' websites, without stable
addresses of single files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.dataset_files import (
    open_descriptors,
    read_bounds,
    read_names,
    read_splits,
)
from seqnet_ros.datasets.seqnet.db_struct import read_struct
from seqnet_ros.datasets.seqnet.splits import (
    MSLS_CITIES,
    PUBLISHED_DESCRIPTORS,
    SPLITS,
    SplitFiles,
    check_together,
    locate_split,
)

State = Literal['found', 'missing', 'wrong']

_SEQNET = 'https://github.com/oravus/seqNet'
_SEQMATCHNET = 'https://github.com/oravus/SeqMatchNet'
_BOX = 'https://universityofadelaide.box.com/s'
_ADELAIDE = {
    'descriptors': f'{_BOX}/p8uh5yncsaxk7g8lwr8pihnwkqbc2pkf',
    'trained models': f'{_BOX}/mp45yapl0j0by6aijf5kj8obt8ky0swk',
}
_IMAGES = {
    'nordland': f'{_BOX}/zkfk1akpbo5318fzqmtvlpp7030ex4up',
    'oxford': 'https://robotcar-dataset.robots.ox.ac.uk',
    'msls': 'https://www.mapillary.com/dataset/places',
}
_SAMPLED_ROWS = 64
_UNIT_TOLERANCE = 1e-3
_PUBLISHED_DIM = 4096


@dataclass(frozen=True)
class Part:
    """State of a file of a data set, or of all files of a split together.

    Attributes:
        name: path within the folder of the data set, a pattern where the name varies.
        state: whether it is present and valid.
        detail: its content, or its error.
        needed: False for a file that is optional.
    """

    name: str
    state: State
    detail: str = ''
    needed: bool = True


def sources(name: str) -> dict[str, str]:
    """Return where the parts of a data set come from, by kind."""
    images = _IMAGES[name.partition('-')[0]]
    if name == 'msls':
        return {
            'structs, bounds': f'`seqnet_ros dataset create-msls`, or {_SEQNET} (structFiles, no '
                               'license stated) for melbourne, austin and amman',
            'descriptors': 'not published; create them with `seqnet_ros dataset create-msls`',
            'images': images}
    structs = (f'{_SEQNET} (structFiles, no license stated)' if name == 'oxford-pnv'
               else f'{_SEQMATCHNET} (structFiles, MIT)')
    return {'structs': structs, **_ADELAIDE, 'images': images,
            'image names': f'{_SEQNET} (structFiles/imageNamesFiles, no license stated)'}


def inspect(name: str, folder: Path, descriptors: str | None = None,
            city: str | None = None) -> list[Part]:
    """Check every file of a data set, and then whether the files of each split are consistent.

    Args:
        name: one of `seqnet_ros.datasets.seqnet.splits.NAMES`.
        folder: folder of its files.
        descriptors: name of the folder of the descriptors; None takes 'netvlad-pytorch'.
        city: of MSLS; None checks the cities of the published splits.

    Raises:
        InputError: the data set is unknown, or several structs are there in place of one.
    """
    cities = [city] if name != 'msls' or city else list(dict.fromkeys(MSLS_CITIES.values()))
    splits = SPLITS if name != 'msls' else ('test',)
    all_files = [locate_split(name, split, folder, descriptors, each)
                 for each in cities for split in splits]
    dim = _PUBLISHED_DIM if descriptors in (None, PUBLISHED_DESCRIPTORS) else None
    parts: dict[str, Part] = {}
    for files in all_files:
        for part in _look_at(files, folder, dim):
            parts.setdefault(part.name, part)
    found = list(parts.values())
    if is_complete(found):
        found += [_together(files) for files in all_files]
    return found


def is_complete(parts: list[Part]) -> bool:
    """Return whether all required files are present and no file is invalid."""
    return all(part.state == 'found' or (part.state == 'missing' and not part.needed)
               for part in parts)


def _look_at(files: SplitFiles, folder: Path, dim: int | None) -> list[Part]:
    rows = files.published_rows or (None, None)
    looks: list[tuple[Path, Callable[[Path], str], bool]] = [
        (files.struct, partial(_describe_struct, files=files), True)]
    if isinstance(files.rows, Path):
        looks.append((files.rows, _describe_splits, True))
    for drive in (0, 1):
        if files.bounds is not None:
            looks.append((files.bounds[drive], _describe_bounds, True))
        looks += [
            (files.descriptors[drive], partial(_describe_array, rows=rows[drive], dim=dim), True),
            (files.names[drive], partial(_describe_names, count=rows[drive]), False)]
    return [_look(path, folder, describe, needed) for path, describe, needed in looks]


def _look(path: Path, folder: Path, describe: Callable[[Path], str], needed: bool) -> Part:
    """Check one file; ``describe`` returns its content in words or raises `InputError`."""
    name = str(path.relative_to(folder))
    if not path.is_file():
        return Part(name, 'missing', '' if needed else 'not needed', needed)
    try:
        return Part(name, 'found', describe(path), needed)
    except InputError as error:
        return Part(name, 'wrong', str(error), needed)


def _describe_struct(path: Path, files: SplitFiles) -> str:
    struct = read_struct(path)
    counts = len(struct.db_images), len(struct.q_images)
    if not isinstance(files.rows, Path) and files.rows is not None:
        expected = len(files.rows.db), len(files.rows.query)
        if counts != expected:
            raise InputError(f'it lists {counts[0]} and {counts[1]} frames, expected '
                             f'{expected[0]} and {expected[1]}')
    return f'{counts[0]} and {counts[1]} frames, radius {struct.radius:g}'


def _describe_splits(path: Path) -> str:
    return ', '.join(f'{split}: {len(rows.db)} and {len(rows.query)} rows'
                     for split, rows in read_splits(path).items())


def _describe_bounds(path: Path) -> str:
    bounds = read_bounds(path)
    return f'{len(bounds)} frames, {len(np.unique(bounds[:, 0]))} sequences'


def _describe_array(path: Path, rows: int | None, dim: int | None) -> str:
    array = open_descriptors(path)
    expected = [rows or len(array), dim or array.shape[1]]
    if list(array.shape) != expected:
        raise InputError(f'its shape is {list(array.shape)}, expected {expected}')
    sample = np.linspace(0, len(array) - 1, min(len(array), _SAMPLED_ROWS)).astype(int)
    lengths = np.linalg.norm(array[sample].astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT_TOLERANCE))
    if wrong.size:
        raise InputError(f'row {sample[wrong[0]]} has the length {lengths[wrong[0]]:.4g}, '
                         'expected 1')
    return f'{array.shape[0]} x {array.shape[1]}, {array.dtype}'


def _describe_names(path: Path, count: int | None) -> str:
    found = len(read_names(path))
    if count is not None and found != count:
        raise InputError(f'it lists {found} images, expected {count}')
    return f'{found} images'


def _together(files: SplitFiles) -> Part:
    name = f'{files.name} {files.split}'
    try:
        check_together(files)
    except InputError as error:
        return Part(name, 'wrong', str(error))
    return Part(name, 'found', 'the files are consistent')
