"""The cache files of the published code of JIST and CosPlace.

They are torch files of Python lists and NumPy object arrays, read without running any code in them.
They are never needed, because this package computes their content in seconds.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.safe_pickle import read_plain_torch
from seqnet_ros.datasets.jist.sequence_folders import FrameTable, Sequences, cities_of, parse_names

_KEYS = ('db_paths', 'q_paths', 'qIdx', 'pIdx', 'nonNegIdx')
# Windows are paths joined by commas, and folders may have commas in their names.
_JOINT = re.compile(',(?=(?:database|queries)/)')


@dataclass(frozen=True, eq=False)
class SequenceCache:
    """``msls_seq<length>_<city>.torch``: windows and their matches.

    Attributes:
        database: all database windows.
        queries: all query windows.
        matched_queries: int64 ``[M]``, the query windows that have a positive.
        positives: for each of these the database windows that match, int64.
        non_negatives: for each of these the database windows too near for a negative, int64.
    """

    database: Sequences
    queries: Sequences
    matched_queries: np.ndarray
    positives: tuple[np.ndarray, ...]
    non_negatives: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class ClassCache:
    """``processed_M10_N5_mipc10.torch``: classes of SF-XL.

    Attributes:
        groups: int64 ``[C, 3]`` for each group: class i is row i of its trained classifier.
        images: relative paths by class (meters east, meters north, degrees).
    """

    groups: tuple[np.ndarray, ...]
    images: dict[tuple[int, int, int], tuple[str, ...]]


def read_cache(path: str | PathLike[str]) -> SequenceCache | ClassCache:
    """Read either kind of cache; paths of sequences are relative to its folder.

    Raises:
        InputError: the file is not such a cache.
    """
    file = Path(path)
    content = read_plain_torch(file)
    if isinstance(content, dict):
        return _sequence_cache(content, file)
    return _class_cache(content, file)


def _sequence_cache(content: dict[Any, Any], file: Path) -> SequenceCache:
    if any(key not in content for key in _KEYS):
        raise InputError(f'{file} is not a cache of sequences: expected a dictionary with '
                         f'{", ".join(_KEYS)}')
    database, queries = (
        _sequences(content[key], file.parent.absolute(), f'{file}: {key}')
        for key in ('db_paths', 'q_paths'))
    matched = _indices([content['qIdx']], len(queries), f'{file}: qIdx')[0]
    positives, near = (_indices(content[key], len(database), f'{file}: {key}')
                       for key in ('pIdx', 'nonNegIdx'))
    if not len(matched) == len(positives) == len(near):
        raise InputError(f'{file} has {len(matched)} queries, but matches of {len(positives)} and '
                         f'{len(near)}')
    return SequenceCache(database, queries, matched, positives, near)


def _sequences(joined: Any, split: Path, origin: str) -> Sequences:
    if not isinstance(joined, list) or not all(isinstance(text, str) for text in joined):
        raise InputError(f'{origin} is not a list of paths')
    rows = [_JOINT.split(text) for text in joined]
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise InputError(f'{origin} has windows of {sorted(lengths)} frames, expected one length')
    frames, position = _table({path for row in rows for path in row}, split)
    matched = np.array([[position[path] for path in row] for row in rows])
    return Sequences(frames, matched, matched, compat=True)


def _table(paths: Iterable[str], split: Path) -> tuple[FrameTable, dict[str, int]]:
    found = sorted(paths)
    positions, numbers = parse_names(found)
    names = [path.split('/')[1] for path in found]
    known, first, folders = np.unique(names, return_index=True, return_inverse=True)
    order = np.lexsort((numbers, folders))
    ordered = tuple(found[row] for row in order.tolist())
    cities = cities_of([found[row] for row in first.tolist()])
    table = FrameTable(split, ordered, positions[order], numbers[order], folders[order],
                       tuple(known.tolist()), cities)
    return table, {path: row for row, path in enumerate(ordered)}


def _indices(lists: Any, count: int, origin: str) -> tuple[np.ndarray, ...]:
    """Return lists of rows below ``count``; equally long ones may come as one array."""
    try:
        arrays = tuple(np.asarray(rows).astype(np.int64) for rows in lists)
    except (TypeError, ValueError) as error:
        raise InputError(f'{origin} is not a list of integers: {error}') from error
    for array in arrays:
        if array.ndim != 1 or (array.size and not 0 <= array.min() <= array.max() < count):
            raise InputError(f'{origin} refers to windows that do not exist, expected 0 to '
                             f'{count - 1}')
    return arrays


def _class_cache(content: Any, file: Path) -> ClassCache:
    try:
        groups, images = content
        numbered = tuple(_class_rows(group) for group in groups)
        named = {(int(east), int(north), int(heading)): tuple(paths)
                 for (east, north, heading), paths in images.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f'{file} is not a cache of classes: expected groups of classes and the '
                         'images of each class') from error
    return ClassCache(numbered, named)


def _class_rows(group: Sequence[Any]) -> np.ndarray:
    return np.array(group, dtype=np.int64).reshape(len(group), 3)
