"""The ``dbStruct`` of a place-recognition data set: images, positions and radii of two drives.

A MATLAB v5 file with one struct, the layout that NetVLAD introduced for Pittsburgh and that
SeqNet's code reads and writes. Positions are ``[N, K]``: meters, or with K = 1 a frame number.
"""

import math
import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.core.errors import InputError, shortened
from seqnet_ros.core.files import whole_file
from seqnet_ros.datasets.seqnet.mat_file import read_mat

_STRUCT = 'dbStruct'
_REQUIRED = ('whichSet', 'dbImageFns', 'qImageFns', 'numImages', 'numQueries', 'utmDb', 'utmQ',
             'posDistThr', 'posDistSqThr')
_OPTIONAL = ('dataset', 'nonTrivPosDistSqThr', 'gpsDb', 'gpsQ', 'dbTimeStamp', 'qTimeStamp')


@dataclass(frozen=True)
class DbStruct:
    """Two drives with their positions: the database, which is searched, and the queries.

    Attributes:
        name: name of the data set.
        split: 'train', 'val' or 'test'.
        db_images: N relative file names.
        q_images: M relative file names.
        db_positions: float64 ``[N, K]``.
        q_positions: float64 ``[M, K]``.
        radius: two places within this distance (inclusive) are the same.
        positive_radius: training positives are within this distance (inclusive); None where the
            file does not state it.
        db_gps: float64 ``[N, 2]`` latitude and longitude, degrees, or None.
        q_gps: the same for the queries.
        db_stamps: ``[N]`` or None.
        q_stamps: ``[M]`` or None.
    """

    name: str
    split: str
    db_images: tuple[str, ...]
    q_images: tuple[str, ...]
    db_positions: np.ndarray
    q_positions: np.ndarray
    radius: float
    positive_radius: float | None = None
    db_gps: np.ndarray | None = None
    q_gps: np.ndarray | None = None
    db_stamps: np.ndarray | None = None
    q_stamps: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the fields are consistent.

        Raises:
            InputError: counts or dimensions differ, or a position or radius is not finite.
        """
        self._check_extras()
        for what, images, positions in (('database', self.db_images, self.db_positions),
                                        ('query', self.q_images, self.q_positions)):
            if positions.ndim != 2 or len(images) != len(positions):
                raise InputError(f'{self.name}: {len(images)} {what} images but positions of shape '
                                 f'{list(positions.shape)}, expected [{len(images)}, K]')
            if not np.isfinite(positions).all():
                raise InputError(f'{self.name}: a {what} position is not finite, expected finite '
                                 'coordinates')
        if self.db_positions.shape[1] != self.q_positions.shape[1]:
            raise InputError(f'{self.name}: database positions have {self.db_positions.shape[1]} '
                             f'coordinates, query positions {self.q_positions.shape[1]}')
        if not np.isfinite(self.radius) or self.radius < 0:
            raise InputError(f'{self.name}: the radius is {self.radius}, expected 0 or more')
        positive = self.positive_radius
        if positive is not None and not (np.isfinite(positive) and positive >= 0):
            raise InputError(f'{self.name}: the radius of positives is {positive}, expected 0 or '
                             'more')

    def _check_extras(self) -> None:
        extras = (('latitudes and longitudes of the database', self.db_gps, self.db_images),
                  ('latitudes and longitudes of the queries', self.q_gps, self.q_images),
                  ('database times', self.db_stamps, self.db_images),
                  ('query times', self.q_stamps, self.q_images))
        for what, values, images in extras:
            if values is not None and len(values) != len(images):
                raise InputError(f'{self.name}: {len(values)} {what}, expected {len(images)}')


def read_struct(path: str | PathLike[str]) -> DbStruct:
    """Read a ``.db`` struct.

    Raises:
        InputError: the file is missing, is not such a struct, or is inconsistent.
    """
    path = Path(path)
    if not os.path.isfile(path):  # noqa: PTH113 - accepts every name, unlike `Path.is_file`
        raise InputError(f'struct {path} does not exist')
    content = read_mat(path)
    if _STRUCT not in content:
        found = ', '.join(content) or 'nothing'
        raise InputError(f'struct {path} holds {shortened(found)}, expected {_STRUCT}')
    structs = content[_STRUCT]
    if not isinstance(structs, list) or len(structs) != 1:
        found = f'{len(structs)} structs' if isinstance(structs, list) else 'something else'
        raise InputError(f'struct {path} holds {found}, expected 1')
    missing = [name for name in _REQUIRED if name not in structs[0]]
    if missing:
        raise InputError(f'struct {path} lacks the fields {", ".join(missing)}')
    return _from_fields(structs[0], path)


def _from_fields(fields: dict[str, Any], path: Path) -> DbStruct:
    for name, value in fields.items():
        if isinstance(value, list) and name in (*_REQUIRED, *_OPTIONAL):
            raise InputError(f'struct {path}: {name} is a struct, expected numbers or text')
    def number(name: str) -> float:
        return _number(fields[name], f'struct {path}: {name}')

    def rows(name: str) -> np.ndarray | None:
        return _rows(fields.get(name), f'struct {path}: {name}')

    positions = [rows(name) for name in ('utmDb', 'utmQ')]
    if positions[0] is None or positions[1] is None:
        raise InputError(f'struct {path} has no positions in utmDb or utmQ')
    squared = (number('nonTrivPosDistSqThr')
               if 'nonTrivPosDistSqThr' in fields and fields['nonTrivPosDistSqThr'].size else None)
    if squared is not None and squared < 0:
        raise InputError(f'struct {path}: nonTrivPosDistSqThr is {squared:g}, expected 0 or more')
    struct = DbStruct(
        name=_text(fields.get('dataset')) or path.stem,
        split=_text(fields['whichSet']),
        db_images=_names(fields['dbImageFns']),
        q_images=_names(fields['qImageFns']),
        db_positions=positions[0],
        q_positions=positions[1],
        radius=number('posDistThr'),
        positive_radius=None if squared is None else math.sqrt(squared),
        db_gps=rows('gpsDb'), q_gps=rows('gpsQ'),
        db_stamps=_flat(fields.get('dbTimeStamp')), q_stamps=_flat(fields.get('qTimeStamp')))
    for name, images in (('numImages', struct.db_images), ('numQueries', struct.q_images)):
        if number(name) != len(images):
            raise InputError(f'struct {path}: {name} is {number(name):g}, but {len(images)} names '
                             'are listed')
    return struct


def _number(value: np.ndarray, origin: str) -> float:
    if value.size != 1 or value.dtype.kind not in 'iuf':
        raise InputError(f'{origin} is {value.dtype} {list(value.shape)}, expected one number')
    return float(value.item())


def _text(value: np.ndarray | None) -> str:
    return '' if value is None or not value.size else str(value.ravel()[0])


def _names(cells: np.ndarray) -> tuple[str, ...]:
    return tuple(_text(np.asarray(cell)) for cell in cells.ravel())


def _rows(value: np.ndarray | None, origin: str) -> np.ndarray | None:
    if value is None or not value.size:
        return None
    if value.ndim != 2 or value.dtype.kind not in 'iuf':
        raise InputError(f'{origin} is {value.dtype} {list(value.shape)}, expected numbers [K, N]')
    return value.T.astype(np.float64)


def _flat(value: np.ndarray | None) -> np.ndarray | None:
    return None if value is None or not value.size else value.ravel()


def write_struct(struct: DbStruct, path: str | PathLike[str]) -> None:
    """Write a struct that SeqNet's code and `read_struct` read.

    Raises:
        InputError: the file cannot be written.
    """
    from scipy.io import savemat

    fields: dict[str, Any] = {
        'whichSet': struct.split,
        'dataset': struct.name,
        'dbImageFns': _cells(struct.db_images),
        'qImageFns': _cells(struct.q_images),
        'numImages': len(struct.db_images),
        'numQueries': len(struct.q_images),
        'utmDb': struct.db_positions.T,
        'utmQ': struct.q_positions.T,
        'posDistThr': struct.radius,
        'posDistSqThr': struct.radius ** 2,
    }
    optional = {
        'nonTrivPosDistSqThr': None if struct.positive_radius is None
        else struct.positive_radius ** 2,
        'gpsDb': None if struct.db_gps is None else struct.db_gps.T,
        'gpsQ': None if struct.q_gps is None else struct.q_gps.T,
        'dbTimeStamp': struct.db_stamps,
        'qTimeStamp': struct.q_stamps,
    }
    fields.update((name, value) for name, value in optional.items() if value is not None)
    with whole_file(path) as file:
        savemat(file, {_STRUCT: fields}, format='5')


def _cells(names: tuple[str, ...]) -> np.ndarray:
    cells = np.empty((len(names), 1), dtype=object)
    for row, name in enumerate(names):
        cells[row, 0] = np.array([name])
    return cells
