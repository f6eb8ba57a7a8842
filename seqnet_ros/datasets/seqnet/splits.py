"""The data sets of the SeqNet papers by name, and other data sets in the same layout.

A folder contains ``structFiles`` (positions and radii, ``.db``), ``structFiles/seqBoundsFiles``,
``structFiles/imageNamesFiles`` and ``data/descData/<descriptors>``, as in the published code and as
``seqnet_ros dataset create`` writes them::

    split = open_split('nordland-sf', 'test', folder=Path('seqnet_data'))
    split = open_split('town/', 'train')

A split of a named data set is a part of its files: of Nordland fixed ranges of frames, of Oxford
the rows that a file lists, of MSLS a whole city (Garg and Milford, RA-L 2021, supplement, table I;
the ranges are those of the published code).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.dataset_files import (
    Traverses,
    open_descriptors,
    read_bounds,
    read_descriptors,
    read_names,
    read_splits,
)
from seqnet_ros.datasets.seqnet.db_struct import DbStruct, read_struct

NAMES = ('nordland-sw', 'nordland-sf', 'oxford-v1.0', 'oxford-pnv', 'msls')
SPLITS = ('train', 'val', 'test')
STRUCTS = Path('structFiles')
BOUNDS = STRUCTS / 'seqBoundsFiles'
IMAGE_NAMES = STRUCTS / 'imageNamesFiles'
DESCRIPTORS = Path('data') / 'descData'
PUBLISHED_DESCRIPTORS = 'netvlad-pytorch'

MSLS_CITIES = {'train': 'melbourne', 'val': 'austin', 'test': 'austin'}

_RADII = 'd-*_d2-*.db'
_NORDLAND_SEASONS = {'nordland-sw': ('summer', 'winter'), 'nordland-sf': ('spring', 'fall')}
_NORDLAND_ROWS = {'train': (0, 15000), 'test': (15100, 18100), 'val': (18200, 21200)}
_NORDLAND_FRAMES = 27592
_OXFORD_DRIVES = ('2015-03-17-11-08-44', '2014-12-16-18-44-24')
_OXFORD_FRAMES = (4599, 4550)
_CITY = re.compile(r'[A-Za-z0-9-]+')


@dataclass(frozen=True, eq=False)
class DatasetSplit:
    """One split of a data set: reference drive and query drive.

    Attributes:
        name: of the data set.
        split: 'train', 'val' or 'test'.
        struct: positions, image names and radii of its frames.
        descriptors: of reference and query, float32 ``[N, D]`` and ``[M, D]``.
        bounds: int64 ``[N, 2]`` and ``[M, 2]``, for every frame the first and one-past-last frame
            of its sequence, counted within the split.
    """

    name: str
    split: str
    struct: DbStruct
    descriptors: tuple[np.ndarray, np.ndarray]
    bounds: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class SplitFiles:
    """The files of a split.

    Attributes:
        name: of the data set.
        struct: positions and radii.
        descriptors: of the reference and of the query.
        bounds: of their sequences; None where each is one sequence.
        names: lists of the images of all rows of the descriptors; they may be missing.
        rows: which rows of the descriptors belong to the split, or a file that lists them; None
            where all do.
        split: 'train', 'val' or 'test'.
        published_rows: how many rows the published descriptors have, or None.
    """

    name: str
    struct: Path
    descriptors: tuple[Path, Path]
    bounds: tuple[Path, Path] | None
    names: tuple[Path, Path]
    rows: Traverses | Path | None
    split: str
    published_rows: tuple[int, int] | None = None

    def read_rows(self) -> Traverses | None:
        """Return which rows of the descriptors belong to the split; None where all do.

        Raises:
            InputError: the file that lists them is missing, damaged or lacks the split.
        """
        if not isinstance(self.rows, Path):
            return self.rows
        splits = read_splits(self.rows)
        if self.split not in splits:
            raise InputError(f'{self.rows} lists the rows of {", ".join(splits)}, expected '
                             f'{self.split} among them')
        return splits[self.split]


def open_split(dataset: str | Path, split: str, folder: Path | None = None,
               descriptors: str | None = None, city: str | None = None) -> DatasetSplit:
    """Read one split of a data set; only its rows of the descriptors are read.

    Args:
        dataset: one of `NAMES`, or the folder of another data set.
        split: 'train', 'val' or 'test'. Oxford and MSLS have one set for the last two.
        folder: folder of the files of a named data set; None is the working directory.
        descriptors: name of the folder of the descriptors; None takes 'netvlad-pytorch', or the
            only one of another data set.
        city: of MSLS; None takes Melbourne for training and Austin else, as the published code.

    Raises:
        InputError: the data set or split is unknown, a file is missing or damaged, or files are
            inconsistent.
    """
    files = find_split(dataset, split, folder, descriptors, city)
    struct, rows, bounds = check_together(files)
    arrays = [read_descriptors(path, None if rows is None else rows[drive])
              for drive, path in enumerate(files.descriptors)]
    return DatasetSplit(files.name, split, struct, (arrays[0], arrays[1]), bounds)


def check_together(files: SplitFiles,
                   ) -> tuple[DbStruct, Traverses | None, tuple[np.ndarray, np.ndarray]]:
    """Read a split without its descriptors, of which only the shapes are checked.

    Returns:
        The struct; the rows of the descriptors, None for all; the bounds, see `DatasetSplit`.

    Raises:
        InputError: a file is damaged, or files are inconsistent.
    """
    struct = read_struct(files.struct)
    counts = len(struct.db_images), len(struct.q_images)
    rows = files.read_rows()
    shapes = [open_descriptors(path).shape for path in files.descriptors]
    if shapes[0][1] != shapes[1][1]:
        raise InputError(f'{files.descriptors[0]} has {shapes[0][1]} values a row, '
                         f'{files.descriptors[1]} {shapes[1][1]}, expected as many')
    for drive in (0, 1):
        _check_rows(files, drive, counts[drive], None if rows is None else rows[drive])
        _check_names(files, drive, (struct.db_images, struct.q_images)[drive],
                     None if rows is None else rows[drive])
    if files.bounds is None:
        return struct, rows, (_one_sequence(counts[0]), _one_sequence(counts[1]))
    bounds = read_bounds(files.bounds[0]), read_bounds(files.bounds[1])
    for path, found, count in zip(files.bounds, bounds, counts, strict=True):
        _check_count(path, len(found), files.struct, count)
    return struct, rows, bounds


def find_split(dataset: str | Path, split: str, folder: Path | None = None,
               descriptors: str | None = None, city: str | None = None) -> SplitFiles:
    """Return the files of a split; arguments as for `open_split`.

    Raises:
        InputError: the data set or split is unknown, or a file is missing.
    """
    if str(dataset) not in NAMES:
        if folder is not None:
            raise InputError(f'the folder {folder} was given with the data set {dataset}, expected '
                             f'it with {", ".join(NAMES)} only')
        if city is not None:
            raise InputError(f'the city {city} was given with {dataset}, expected it with msls '
                             'only')
        return _find_own(Path(dataset), split, descriptors)
    name = str(dataset)
    files = locate_split(name, split, folder or Path(), descriptors, city)
    for path in _needed(files):
        if not path.is_file():
            raise InputError(f'{path} is missing, expected a file of {name}; `seqnet_ros dataset '
                             f'download {name}` shows its source')
    return files


def _needed(files: SplitFiles) -> list[Path]:
    rows = [files.rows] if isinstance(files.rows, Path) else []
    return [files.struct, *files.descriptors, *(files.bounds or ()), *rows]


def locate_split(name: str, split: str, folder: Path, descriptors: str | None = None,
                 city: str | None = None) -> SplitFiles:
    """Return the expected files of a named data set; the struct may be a pattern.

    Raises:
        InputError: the data set or split is unknown, or several structs fit.
    """
    if name not in NAMES:
        raise InputError(f'data set {name!r} is unknown, expected one of {", ".join(NAMES)}')
    _check_split(split)
    if city is not None and name != 'msls':
        raise InputError(f'the city {city} was given with {name}, expected it with msls only')
    kind = descriptors or PUBLISHED_DESCRIPTORS
    if name in _NORDLAND_SEASONS:
        return _locate_nordland(name, split, folder, kind)
    if name == 'msls':
        return _locate_msls(split, folder, kind, city)
    return _locate_oxford(name, split, folder, kind)


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise InputError(f'the split is {split!r}, expected one of {", ".join(SPLITS)}')


def _locate_nordland(name: str, split: str, folder: Path, kind: str) -> SplitFiles:
    stems = [f'nordland-clean-{season}' for season in _NORDLAND_SEASONS[name]]
    names = folder / IMAGE_NAMES / 'nordland_clean_imageNames.txt'
    rows = np.arange(*_NORDLAND_ROWS[split])
    return SplitFiles(
        name, _locate_struct(folder, f'nordland_{split}_{_RADII}'),
        _descriptor_files(folder, kind, stems), None, (names, names), Traverses(rows, rows), split,
        (_NORDLAND_FRAMES, _NORDLAND_FRAMES))


def _locate_oxford(name: str, split: str, folder: Path, kind: str) -> SplitFiles:
    # Val and test are one set, and so is their struct.
    stored = 'test' if split == 'val' else split
    lists = [folder / IMAGE_NAMES / f'oxford_{drive}_imagenames_subsampled-2m.txt'
             for drive in _OXFORD_DRIVES]
    stems = [f'oxford_{drive}_stereo_left' for drive in _OXFORD_DRIVES]
    return SplitFiles(
        name, _locate_struct(folder, f'{name}_{"_".join(_OXFORD_DRIVES)}_{stored}_{_RADII}'),
        _descriptor_files(folder, kind, stems), None, (lists[0], lists[1]),
        folder / STRUCTS / f'{name}_splitInds.npz', split, _OXFORD_FRAMES)


def _locate_msls(split: str, folder: Path, kind: str, city: str | None) -> SplitFiles:
    city = MSLS_CITIES[split] if city is None else city
    if not _CITY.fullmatch(city):
        raise InputError(f'the city is {city!r}, expected a name such as melbourne')
    stem = f'msls_{city}'
    return _files_of_stem(stem, split, folder, kind, _locate_struct(folder, f'{stem}_{_RADII}'))


def _files_of_stem(stem: str, split: str, folder: Path, kind: str, struct: Path) -> SplitFiles:
    """Return the files of a data set whose names start with its name."""
    stems = [f'{stem}_{part}' for part in ('database', 'query')]
    bounds, names = ([folder / place / f'{part}{ending}' for part in stems]
                     for place, ending in ((BOUNDS, '_seqBounds.txt'),
                                           (IMAGE_NAMES, '_imageNames.txt')))
    return SplitFiles(stem, struct, _descriptor_files(folder, kind, stems),
                      (bounds[0], bounds[1]), (names[0], names[1]), None, split)


def _find_own(folder: Path, split: str, descriptors: str | None) -> SplitFiles:
    _check_split(split)
    if not folder.is_dir():
        raise InputError(f'data set {folder} is unknown, expected one of {", ".join(NAMES)} or the '
                         'folder of a data set')
    if not (folder / STRUCTS).is_dir():
        raise InputError(f'{folder} holds no {STRUCTS}, expected a folder that `seqnet_ros dataset '
                         'create` wrote')
    struct = _locate_struct(folder, f'*_{split}_{_RADII}')
    if not struct.is_file():
        found = ', '.join(sorted(path.name for path in (folder / STRUCTS).glob('*.db')))
        raise InputError(f'{struct} is missing, found {found or "no struct"}')
    stem = struct.name.rpartition(f'_{split}_d-')[0]
    kind = _only_descriptors(folder) if descriptors is None else descriptors
    files = _files_of_stem(stem, split, folder, kind, struct)
    for path in _needed(files):
        if not path.is_file():
            raise InputError(f'{path} is missing, expected it beside {struct}')
    return files


def _locate_struct(folder: Path, pattern: str) -> Path:
    """Return the file that matches a pattern, with any radii in its name; else the pattern."""
    found = sorted((folder / STRUCTS).glob(pattern))
    if len(found) > 1:
        listed = ', '.join(path.name for path in found)
        raise InputError(f'{folder / STRUCTS} holds {listed}, expected one file {pattern}')
    return found[0] if found else folder / STRUCTS / pattern


def _only_descriptors(folder: Path) -> str:
    place = folder / DESCRIPTORS
    found = sorted(path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else []
    if len(found) != 1:
        raise InputError(f'{place} contains {", ".join(found) or "no folder"}, expected one folder '
                         'of descriptors, or its name')
    return found[0]


def _descriptor_files(folder: Path, kind: str, stems: list[str]) -> tuple[Path, Path]:
    place = folder / DESCRIPTORS / kind
    return place / f'{stems[0]}.npy', place / f'{stems[1]}.npy'


def _one_sequence(count: int) -> np.ndarray:
    return np.tile(np.array([0, count], dtype=np.int64), (count, 1))


def _check_rows(files: SplitFiles, drive: int, count: int, rows: np.ndarray | None) -> None:
    """Check that struct, rows and descriptors have the same number of frames."""
    path = files.descriptors[drive]
    stored = len(open_descriptors(path))
    if rows is None:
        _check_count(path, stored, files.struct, count)
    elif len(rows) != count:
        raise InputError(f'{files.struct} lists {count} frames of {path.stem}, but the split has '
                         f'{len(rows)} rows')
    elif rows.max(initial=-1) >= stored:
        raise InputError(f'{path} has {stored} rows, but the split goes up to row {rows.max()}')


def _check_count(path: Path, found: int, struct: Path, expected: int) -> None:
    if found != expected:
        raise InputError(f'{path} has {found} frames, but {struct} lists {expected}')


def _check_names(files: SplitFiles, drive: int, images: tuple[str, ...],
                 rows: np.ndarray | None) -> None:
    """Check that the list of images, where there is one, names the frames of the struct."""
    path = files.names[drive]
    if not path.is_file():
        return
    names = read_names(path)
    stored = len(open_descriptors(files.descriptors[drive]))
    if len(names) != stored:
        raise InputError(f'{path} lists {len(names)} images, but {files.descriptors[drive]} has '
                         f'{stored} rows')
    chosen = names if rows is None else tuple(names[row] for row in rows)
    for frame, (name, image) in enumerate(zip(chosen, images, strict=True)):
        if name != image:
            raise InputError(f'{files.struct} names frame {frame} {image}, but {path} {name}')
