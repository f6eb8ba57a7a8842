"""Single images with positions, in the folders that most visual place recognition is measured on.

``<root>/{train,val,test}/{database,queries}/@east@north@...@.jpg``, also in folders below. This is
the layout of VPR-datasets-downloader, of the evaluation of CosPlace and its successors, and of
SF-XL::

    frames = read_flat('pitts30k/images/test', 'database')

Sequences follow from the names where these state an order:

========================================================  ========================================
name                                                      a sequence
========================================================  ========================================
`seqnet_ros.datasets.jist.sf_xl.EXAMPLE`, numbered        images of one tile whose panorama numbers
panoramas                                                 follow each other
the same, with times                                      images in the order of their times, until
                                                          two are over 25 m apart
``@east@north@sequence@number@key@city@date@.jpg``        as in `sequence_folders`
``@north@east@lap@number@timestamp@.jpg``                 as in `sequence_folders`
any other                                                 none: windows of one image only
========================================================  ========================================
"""

import os
from os import PathLike
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.csv_tables import whole
from seqnet_ros.datasets.jist.at_sign_names import AtSignNames
from seqnet_ros.datasets.jist.sequence_folders import (
    FIELDS_OF_ROBOTCAR,
    FIELDS_WITH_CITY,
    SIDES,
    FrameTable,
    cities_of,
    parse_names,
)
from seqnet_ros.datasets.jist.sf_xl import EAST, EXAMPLE, NORTH
from seqnet_ros.datasets.recordings.image_folder import IMAGE_SUFFIXES
from seqnet_ros.datasets.utm_grid import are_degrees

_PANORAMA, _TILE, _TIMESTAMP = 7, 8, 13
_FIELDS = EXAMPLE.count('@')
_SEQUENCE = 3
_LARGEST_STEP_M = 25.0
_Order = tuple[np.ndarray, np.ndarray]
"""Sequence, as text, and number in it of each image."""


def is_flat(folder: str | PathLike[str]) -> bool:
    """Return whether a folder holds single images, or folders of names with the fields of SF-XL."""
    first = next(iter(_images_of(Path(folder), 1)), None)
    if first is None:
        return False
    return '/' not in first or first.rpartition('/')[2].count('@') == _FIELDS


def read_flat(split: str | PathLike[str], side: str) -> FrameTable:
    """Read the images of one side of a split from their names; no image is opened.

    Numbers of images without an order are two apart, so that no window spans two of them.

    Args:
        split: folder such as ``<root>/test``.
        side: 'database' or 'queries'.

    Raises:
        InputError: the folder cannot be listed, or a name lacks a position in meters; the message
            names it.
    """
    if side not in SIDES:
        raise InputError(f'side is {side!r}, expected {" or ".join(SIDES)}')
    root = Path(split).absolute()
    paths = [f'{side}/{name}' for name in sorted(_images_of(root / side))]
    if not paths:
        raise InputError(f'{root / side} holds no image, expected names like {EXAMPLE}')
    names = AtSignNames.of(paths, EXAMPLE)
    counts = set(names.field_counts().tolist())
    if counts in ({FIELDS_WITH_CITY}, {FIELDS_OF_ROBOTCAR}):
        positions, numbers = parse_names(paths)
        sequences = names.texts(_SEQUENCE)
    else:
        fields = names.numbers({'UTM east': EAST, 'UTM north': NORTH})
        positions = np.stack(list(fields.values()), axis=1)
        sequences, numbers = _order(names, positions) or _no_order(len(paths))
    known, first, folders = np.unique(sequences, return_index=True, return_inverse=True)
    if are_degrees(positions, np.arange(len(paths))):
        raise InputError(f'image {paths[0]} states the position {positions[0, 0]:g}, '
                         f'{positions[0, 1]:g}, and all of {root / side} look like degrees, '
                         'expected easting and northing in meters (UTM)')
    order = np.lexsort((numbers, folders))
    return FrameTable(root, tuple(paths[row] for row in order.tolist()), positions[order],
                      numbers[order], folders[order], tuple(map(os.fsdecode, known.tolist())),
                      cities_of([paths[row] for row in first.tolist()])
                      if counts == {FIELDS_WITH_CITY} else ('',) * len(known))


def _images_of(folder: Path, most: int | None = None) -> list[str]:
    """Return the paths of images below a folder, relative to it."""
    found: list[str] = []

    def fail(error: OSError) -> None:
        raise InputError(f'{error.filename or folder} cannot be listed: '
                         f'{error.strerror or error}') from error

    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        below = Path(place).relative_to(folder).as_posix()
        found += [name if below == '.' else f'{below}/{name}' for name in files
                  if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith('.')]
        if most is not None and len(found) >= most:
            break
    return found


def _order(names: AtSignNames, positions: np.ndarray) -> _Order | None:
    """Return the order that names state, None if they state none."""
    if (names.field_counts() < _FIELDS).any():
        return None
    tiles = names.texts(_TILE)
    panoramas = [whole(os.fsdecode(text)) for text in names.texts(_PANORAMA).tolist()]
    if None not in panoramas:
        numbers = np.array(panoramas, dtype=np.int64)
        if len(np.unique(np.stack([np.unique(tiles, return_inverse=True)[1], numbers]),
                         axis=1).T) == len(numbers):
            return tiles, numbers
    times = [whole(os.fsdecode(text)) for text in names.texts(_TIMESTAMP).tolist()]
    if None in times or len(set(times)) < len(times):
        return None
    order = np.argsort(np.array(times, dtype=np.int64))
    jumps = np.linalg.norm(np.diff(positions[order], axis=0), axis=1) > _LARGEST_STEP_M
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.arange(len(order)) + np.concatenate([[0], jumps.cumsum()])
    return np.full(len(order), b'by time'), numbers


def _no_order(count: int) -> _Order:
    return np.full(count, b'single images'), 2 * np.arange(count)
