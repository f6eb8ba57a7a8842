"""San Francisco eXtra Large (SF-XL): where its images were taken, and the classes made of them.

Berton, Masone and Caputo, "Rethinking Visual Geo-localization for Large-Scale Applications"
(CosPlace), CVPR 2022, section 3: a class is a cell of the ground and a sector of headings, and a
group holds classes that are too far apart to be confused. File names carry everything::

    names = read_image_list('sf_xl/processed/train')
    partition = partition_images(read_views(names), PROCESSED)
    group = partition.groups[0]                     # [e, n, h]
    classes = partition.classes_of(0)               # rows of partition.classes
    images = partition.images_of(int(classes[0]))   # rows of names
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import read_image
from seqnet_ros.datasets.jist.at_sign_names import AtSignNames

EXAMPLE = ('@east@north@zone@letter@lat@lon@pano@tile@heading@pitch@roll@height@timestamp@note@'
           '.jpg')
EAST, NORTH, HEADING = 1, 2, 9

_ALL_IMAGES = 'all_images_paths.txt'
_OF_FOLDER = '_images_paths.txt'
TRAINING_PARTS = ('train', 'val/database', 'val/queries')
"""Folders that training needs."""

PARTS = (*TRAINING_PARTS, 'test/database', 'test/queries',
          'test/queries_v1', 'test/queries_v2', 'test/queries_night', 'test/queries_occlusion')


@dataclass(frozen=True, eq=False)
class ImageList:
    """The images of a folder, named by a list or found.

    Attributes:
        base: the names are relative to it.
        names: of N images.
        origin: human-readable source of the names.
    """

    base: Path
    names: AtSignNames
    origin: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.names)

    def path(self, row: int) -> Path:
        """Return the file of one image."""
        return self.base / self.names[row]


@dataclass(frozen=True, eq=False)
class Views:
    """Positions and headings of images.

    Attributes:
        east: UTM easting, meters, float64 ``[N]``.
        north: UTM northing, meters, float64 ``[N]``.
        heading: degrees counter-clockwise from north, float64 ``[N]``; of the leftmost column of
            a square crop.
    """

    east: np.ndarray
    north: np.ndarray
    heading: np.ndarray

    @property
    def positions(self) -> np.ndarray:
        """Easting and northing, meters, ``[N, 2]``."""
        return np.stack([self.east, self.north], axis=1)


@dataclass(frozen=True)
class Cells:
    """Division of images into classes and groups.

    Attributes:
        side: edge of a cell, meters (M).
        angle: sector of headings, degrees (alpha).
        apart: cells from one class of a group to the next (N).
        angles_apart: sectors from one class of a group to the next (L); ``small`` has one group
            with 12.
        min_images: classes with fewer images are skipped.
    """

    side: int = 10
    angle: int = 30
    apart: int = 5
    angles_apart: int = 2
    min_images: int = 10

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: a value is below 1.
        """
        values = vars(self)
        for name, value in values.items():
            if value < 1:
                raise InputError(f'{name} is {value}, expected 1 or more')


PROCESSED = Cells()
"""The cells that ``processed`` is cut for."""


@dataclass(frozen=True, eq=False)
class Partition:
    """Classes and groups of images; both in the order of their first image in the list.

    Attributes:
        classes: int64 ``[C, 3]``, lower edges of the cell (meters east and north) and of the
            sector (degrees).
        groups: int64 ``[G, 3]``, at most N x N x L of them.
        group_of_class: int64 ``[C]``, row in ``groups``.
        indptr: int64 ``[C + 1]``, where the images of each class begin and end.
        images: int64, rows of the list by class, in the order of the list.
    """

    classes: np.ndarray
    groups: np.ndarray
    group_of_class: np.ndarray
    indptr: np.ndarray
    images: np.ndarray

    def classes_of(self, group: int) -> np.ndarray:
        """Return the classes of a group, rows in ``classes``.

        Raises:
            InputError: there is no such group.
        """
        if not 0 <= group < len(self.groups):
            raise InputError(f'group {group} was requested, but these images form '
                             f'{len(self.groups)} groups')
        return np.flatnonzero(self.group_of_class == group)

    def images_of(self, class_row: int) -> np.ndarray:
        """Return the images of a class, rows of the list."""
        return self.images[self.indptr[class_row]: self.indptr[class_row + 1]]


@dataclass(frozen=True)
class FolderCheck:
    """Summary of a folder.

    Attributes:
        folder: relative to the root.
        origin: where the names come from.
        images: number of images named.
        opened: how many were opened, spread over the list.
        damaged: names and errors of images that could not be read.
    """

    folder: str
    origin: str
    images: int
    opened: int
    damaged: tuple[str, ...]


def read_image_list(folder: str | PathLike[str],
               names_file: str | PathLike[str] | None = None) -> ImageList:
    """List the images of a folder such as ``sf_xl/processed/train``.

    Without ``names_file`` the list is ``<folder>_images_paths.txt`` where that exists, else the
    lines about this folder in an ``all_images_paths.txt`` of a folder above, else the images in the
    folder, sorted. The listed images need not exist: a list is enough to make classes.

    Args:
        folder: the folder.
        names_file: a list with a path in each line. Paths are relative to the folder in a file
            named ``<folder>_images_paths.txt``, and to the list's own folder in any other.

    Raises:
        InputError: the list cannot be read, or there is no image.
    """
    place = Path(folder).absolute()
    file = _find_list(place) if names_file is None else Path(names_file).absolute()
    if file is None:
        return _search(place)
    if file.name == place.name + _OF_FOLDER:
        return ImageList(place, AtSignNames.read(file, EXAMPLE), str(file))
    if not place.is_relative_to(file.parent):
        raise InputError(f'{file} lists paths below {file.parent}, expected a list of {place}')
    prefix = place.relative_to(file.parent).as_posix()
    wanted = '' if prefix == '.' else f'{prefix}/'
    return ImageList(file.parent, AtSignNames.read(file, EXAMPLE, wanted), str(file))


def _find_list(folder: Path) -> Path | None:
    beside = folder.with_name(folder.name + _OF_FOLDER)
    above = [parent / _ALL_IMAGES for parent in folder.parents]
    return next((file for file in (beside, *above) if file.is_file()), None)


def _search(folder: Path) -> ImageList:
    if not folder.is_dir():
        raise InputError(f'{folder} does not exist, and no {folder.name}{_OF_FOLDER} or '
                         f'{_ALL_IMAGES} lists its images')
    found = sorted(file.relative_to(folder).as_posix() for file in folder.glob('**/*.jpg'))
    if not found:
        raise InputError(f'{folder} holds no .jpg image, expected names like {EXAMPLE}')
    return ImageList(folder, AtSignNames.of(found, EXAMPLE), str(folder))


def read_views(images: ImageList) -> Views:
    """Read the positions and headings of all images from their names.

    Raises:
        InputError: a name lacks its easting, northing or heading; the message names both.
    """
    fields = images.names.numbers({'UTM east': EAST, 'UTM north': NORTH, 'heading': HEADING})
    return Views(*fields.values())


def read_positions(images: ImageList) -> np.ndarray:
    """Read UTM easting and northing only, float64 ``[N, 2]``: photos of users have no heading.

    Raises:
        InputError: a name lacks one of them.
    """
    fields = images.names.numbers({'UTM east': EAST, 'UTM north': NORTH})
    return np.stack(list(fields.values()), axis=1)


def partition_images(views: Views, cells: Cells = PROCESSED) -> Partition:
    """Sort images into classes and classes into groups.

    A heading of 360 degrees, or a negative one, is in a sector of its own, as in the published
    code.

    Raises:
        InputError: no class has enough images.
    """
    corners = np.stack([_lower_edge(views.east, cells.side), _lower_edge(views.north, cells.side),
                        _lower_edge(views.heading, cells.angle)], axis=1)
    keys = _as_keys(corners)
    _, first, class_of_image, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True)
    kept = np.flatnonzero(counts >= cells.min_images)
    if not kept.size:
        raise InputError(
            f'no class has {cells.min_images} images: {len(keys)} images make {len(counts)} '
            f'classes of at most {counts.max(initial=0)}; expected more images, larger cells than '
            f'{cells.side} m and {cells.angle} degrees, or a smaller min_images')
    kept = kept[np.argsort(first[kept])]
    classes = corners[first[kept]]
    groups, group_of_class = _number_groups(classes, cells)
    indptr = np.concatenate([[0], counts[kept].cumsum()])
    return Partition(classes, groups, group_of_class, indptr,
                     _images_by_class(class_of_image, kept, len(counts)))


def _lower_edge(values: np.ndarray, size: int) -> np.ndarray:
    return (values // size * size).astype(np.int64)


def _as_keys(rows: np.ndarray) -> np.ndarray:
    """Return one number for each row ``[N, K]`` that is equal where the rows are."""
    if not len(rows):
        return np.empty(0, np.int64)
    shifted = rows - rows.min(axis=0)
    sizes = [int(size) for size in shifted.max(axis=0) + 1]
    if np.prod(sizes, dtype=np.float64) >= 2**63:
        raise InputError('positions span more than 2^63 meters and degrees, expected UTM '
                         'coordinates')
    keys = np.zeros(len(rows), np.int64)
    for column, size in zip(shifted.T, sizes, strict=True):
        keys = keys * size + column
    return keys


def _number_groups(classes: np.ndarray, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    sides = np.array([cells.side, cells.side, cells.angle])
    groups = classes % (sides * [cells.apart, cells.apart, cells.angles_apart]) // sides
    _, first, inverse = np.unique(_as_keys(groups), return_index=True, return_inverse=True)
    order = np.argsort(first)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    return groups[first[order]], position[inverse]


def _images_by_class(class_of_image: np.ndarray, kept: np.ndarray, classes: int) -> np.ndarray:
    """Return the images of the kept classes, class by class."""
    position = np.full(classes, len(kept))
    position[kept] = np.arange(len(kept))
    place = position[class_of_image]
    order = np.argsort(place, kind='stable')
    return order[: np.searchsorted(place[order], len(kept))]


def published_class_order(classes: np.ndarray) -> np.ndarray:
    """Return in which order the published code numbers the classes of one group.

    There a group is a Python set of tuples, whose order decides which row of a trained classifier
    belongs to which class.

    Args:
        classes: int ``[C, 3]``, in order of first appearance.

    Returns:
        int64 ``[C]``: row i of the published classifier belongs to ``classes[order[i]]``.
    """
    tuples = [tuple(row) for row in classes.tolist()]
    rows = {key: row for row, key in enumerate(tuples)}
    members: set[tuple[int, ...]] = set()
    for key in tuples:  # the order depends on how the set grew
        members.add(key)
    return np.array([rows[key] for key in members], dtype=np.int64)


def check_folders(root: str | PathLike[str], sample: int = 20) -> list[FolderCheck]:
    """Check the parts of SF-XL in a folder such as ``sf_xl/processed``.

    Nothing has to be converted; this lists the parts and opens a few images of each.

    Args:
        root: the folder that holds ``train``, ``val`` and ``test``.
        sample: images to open in each part.

    Raises:
        InputError: none of the parts is present, or a name lacks its position.
    """
    base = Path(root).absolute()
    parts = [part for part in PARTS if (base / part).is_dir()]
    if not parts:
        raise InputError(f'{base} holds none of {", ".join(PARTS)}, expected a folder of SF-XL '
                         "such as 'processed' or 'small'")
    return [_check(base, part, sample) for part in parts]


def _check(base: Path, part: str, sample: int) -> FolderCheck:
    images = read_image_list(base / part)
    read_views(images) if part == 'train' else read_positions(images)
    rows = np.unique(np.linspace(0, len(images) - 1, min(sample, len(images))).astype(np.int64))
    return FolderCheck(part, images.origin, len(images), len(rows), _damaged(images, rows.tolist()))


def _damaged(images: ImageList, rows: Sequence[int]) -> tuple[str, ...]:
    complaints = []
    for row in rows:
        try:
            read_image(images.path(row))
        except InputError as error:
            complaints.append(str(error))
    return tuple(complaints)
