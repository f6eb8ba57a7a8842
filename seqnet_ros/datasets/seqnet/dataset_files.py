"""The files around a SeqNet data set: sequence bounds, image names, splits, descriptors, results.

The layouts are those of the published SeqNet code, which can read the files written here. Files are
read without running code in them. The struct with the positions is in
`seqnet_ros.datasets.seqnet.db_struct`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seqnet_ros.core.array_files import map_npy, read_npz, save_array
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import read_text, whole_file

_PathLike = str | PathLike[str]
_SPLITS = ('train', 'val', 'test')
_BLOCK_BYTES = 16 << 20
_FLOATS = (np.float16, np.float32, np.float64)
_NAMES = '_imageNames.txt'


class Traverses(NamedTuple):
    """Rows of the two descriptor files of a data set.

    Attributes:
        db: int64 ``[N]``, rows of the reference.
        query: int64 ``[M]``, rows of the query.
    """

    db: np.ndarray
    query: np.ndarray


@dataclass(frozen=True, eq=False)
class SeqNetResults:
    """Results file of one evaluation of the published code.

    Attributes:
        predictions: int64 ``[Q, K]``, reference rows, best first.
        recalls: Recall@N by N.
        recalls_by_radius: float64 ``[R, len(recalls)]``, or None.
        options: the options of the run.
    """

    predictions: np.ndarray
    recalls: dict[int, float] = field(default_factory=dict)
    recalls_by_radius: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)


def read_bounds(path: _PathLike) -> np.ndarray:
    """Read sequence bounds: a line ``first end`` for every frame, ``end`` excluded.

    Returns:
        int64 ``[N, 2]``.

    Raises:
        InputError: the file is missing or malformed, or the sequences do not follow one another
            without gap or overlap; the message names the line.
    """
    file = Path(path)
    rows = []
    for number, line in enumerate(_lines(file), 1):
        fields = line.split()
        # Lists of frames are often written as floating-point numbers.
        values = [_whole(text) for text in fields]
        if len(fields) != 2 or None in values:
            raise InputError(f'{file} line {number} holds {line.strip()!r}, expected two whole '
                             'numbers: first frame and one past the last')
        rows.append(values)
    if not rows:
        raise InputError(f'{file} is empty, expected the bounds of a sequence for every frame')
    bounds = np.array(rows, dtype=np.int64)
    check_bounds(bounds, str(file))
    return bounds


def _whole(text: str) -> int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() and abs(value) < 2**53 else None


def check_bounds(bounds: np.ndarray, origin: str = 'sequence bounds') -> None:
    """Check that sequences ``[N, 2]`` follow one another from 0 to N.

    Raises:
        InputError: they do not; the message names the first wrong frame.
    """
    if bounds.ndim != 2 or bounds.shape[1] != 2 or bounds.dtype.kind not in 'iu':
        raise InputError(f'{origin} are {bounds.dtype} {list(bounds.shape)}, expected integers '
                         '[N, 2]')
    frame = 0
    while frame < len(bounds):
        first, end = (int(value) for value in bounds[frame])
        if first != frame or not frame < end <= len(bounds):
            raise InputError(f'{origin}: frame {frame} has the bounds {first} {end}, expected a '
                             f'sequence that starts at {frame} and ends by {len(bounds)}')
        different = np.flatnonzero((bounds[frame:end] != bounds[frame]).any(axis=1))
        if different.size:
            wrong = frame + int(different[0])
            found = ' '.join(map(str, bounds[wrong]))
            raise InputError(f'{origin}: frame {wrong} has the bounds {found}, expected {first} '
                             f'{end} like the frames before it')
        frame = end


def bounds_of_starts(starts: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """Return the bounds of ``count`` frames whose sequences begin at ``starts``, ascending from 0.

    Returns:
        int64 ``[count, 2]``.
    """
    edges = np.append(np.asarray(starts, dtype=np.int64), count)
    return np.repeat(np.stack([edges[:-1], edges[1:]], axis=1), np.diff(edges), axis=0)


def write_bounds(bounds: np.ndarray, path: _PathLike) -> None:
    """Write sequence bounds ``[N, 2]``.

    Raises:
        InputError: they do not tile the frames, or the file cannot be written.
    """
    check_bounds(bounds)
    _write_text(Path(path), ''.join(f'{first} {end}\n' for first, end in bounds.tolist()))


def read_names(path: _PathLike) -> tuple[str, ...]:
    """Read a list of images, a relative path in each line.

    Raises:
        InputError: the file is missing, is not text, is empty or has an empty line in the middle.
    """
    file = Path(path)
    names = [line.rstrip('\r') for line in _lines(file)]
    if not names:
        raise InputError(f'{file} is empty, expected an image name in each line')
    if '' in names:
        raise InputError(f'{file} line {names.index("") + 1} is empty, expected an image name')
    return tuple(names)


def names_path(descriptors: _PathLike) -> Path:
    """Return where the names of the images of a descriptor file are, one in each line."""
    return Path(descriptors).with_suffix('').with_name(f'{Path(descriptors).stem}{_NAMES}')


def names_beside(descriptors: _PathLike, count: int) -> tuple[str, ...]:
    """Return the names of the images of a descriptor file; numbers of rows where there are none.

    Raises:
        InputError: there is a list, and it cannot be read or names another number of images.
    """
    file = names_path(descriptors)
    if not file.is_file():
        return tuple(map(str, range(count)))
    names = read_names(file)
    if len(names) != count:
        raise InputError(f'{file} names {len(names)} images, but {descriptors} has {count} rows')
    return names


def write_names(names: Sequence[str], path: _PathLike) -> None:
    """Write a list of images.

    Raises:
        InputError: a name is empty or has more than one line, or the file cannot be written.
    """
    for name in names:
        if name.splitlines() != [name]:
            raise InputError(f'image name {name!r} cannot be listed, expected one line of text')
    _write_text(Path(path), ''.join(f'{name}\n' for name in names))


def read_splits(path: _PathLike) -> dict[str, Traverses]:
    """Read which rows of the descriptor files belong to 'train', 'val' and 'test'.

    Both layouts are understood: the published one (``trainInds``, an object array of two index
    vectors) and the plain one (``train_db`` and ``train_query``).

    Raises:
        InputError: the file is missing or has another layout, or an index is negative.
    """
    file = Path(path)
    arrays = read_arrays(file)
    splits = {name: split for name in _SPLITS
              if (split := _split_of(arrays, name, file)) is not None}
    if not splits:
        raise InputError(f'{file} holds {", ".join(arrays) or "nothing"}, expected trainInds, '
                         'valInds, testInds or train_db, train_query, ...')
    return splits


def _split_of(arrays: Mapping[str, np.ndarray], name: str, file: Path) -> Traverses | None:
    if f'{name}Inds' in arrays:
        pair = arrays[f'{name}Inds']
        if len(pair.shape) == 0 or len(pair) != 2:
            raise InputError(f'{file}: {name}Inds is {list(pair.shape)}, expected two vectors')
        return Traverses(*(_indices(rows, f'{file}: {name}Inds') for rows in pair))
    keys = f'{name}_db', f'{name}_query'
    found = [key for key in keys if key in arrays]
    if not found:
        return None
    if len(found) == 1:
        raise InputError(f'{file} holds only {found[0]}, expected {keys[0]} and {keys[1]}')
    return Traverses(*(_indices(arrays[key], f'{file}: {key}') for key in keys))


def _indices(values: Any, origin: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype == object:
        array = np.array(array.tolist())
    if array.ndim != 1 or (array.size and array.dtype.kind not in 'iu'):
        raise InputError(f'{origin} is {array.dtype} {list(array.shape)}, expected a vector of '
                         'whole numbers')
    array = array.astype(np.int64)
    if array.size and array.min() < 0:
        raise InputError(f'{origin} holds the index {array.min()}, expected 0 or more')
    return array


def open_descriptors(path: _PathLike) -> np.ndarray:
    """Map a descriptor file into memory, without reading it.

    Returns:
        Read-only float16, float32 or float64 ``[N, D]``; `read_descriptors` checks values, too.

    Raises:
        InputError: the file is missing, truncated, not an ``.npy`` file, or of another shape or
            type.
    """
    file = Path(path)
    array = map_npy(file)
    if array.ndim != 2 or 0 in array.shape or array.dtype not in _FLOATS:
        raise InputError(f'{file} holds {array.dtype} {list(array.shape)}, expected float16, '
                         'float32 or float64 [N, D]')
    return array


def read_descriptors(path: _PathLike, rows: np.ndarray | None = None) -> np.ndarray:
    """Read frame descriptors; only the requested rows are read and checked.

    Args:
        path: a descriptor file.
        rows: int ``[n]``; None reads all.

    Returns:
        float32 ``[n, D]``, finite.

    Raises:
        InputError: as `open_descriptors`, a row is beyond the end, or a value is not finite.
    """
    mapped = open_descriptors(path)
    chosen = np.arange(len(mapped)) if rows is None else np.asarray(rows)
    outside = (chosen < 0) | (chosen >= len(mapped))
    if outside.any():
        raise InputError(f'{path} has {len(mapped)} rows, but row {chosen[outside][0]} was '
                         'requested')
    descriptors = np.empty((len(chosen), mapped.shape[1]), dtype=np.float32)
    step = max(1, _BLOCK_BYTES // mapped[0].nbytes)
    for start in range(0, len(chosen), step):
        block = slice(start, start + step)
        with np.errstate(over='ignore'):  # reported below, as infinite
            descriptors[block] = mapped[chosen[block]]
        finite = np.isfinite(descriptors[block]).all(axis=1)
        if not finite.all():
            wrong = chosen[block][~finite][0]
            raise InputError(f'{path}: row {wrong} holds a value that is not finite')
    return descriptors


def write_descriptors(descriptors: np.ndarray, path: _PathLike) -> None:
    """Write frame descriptors ``[N, D]`` as float32.

    Raises:
        InputError: they are not ``[N, D]``, or the file cannot be written.
    """
    if descriptors.ndim != 2:
        raise InputError(f'descriptors are {list(descriptors.shape)}, expected [N, D]')
    with whole_file(path) as file:
        save_array(file, descriptors.astype(np.float32, copy=False))


def read_predictions(path: _PathLike) -> np.ndarray:
    """Read the predictions of a results file and nothing else, to re-rank them.

    Returns:
        int64 ``[Q, K]``, reference rows, best first.

    Raises:
        InputError: the file is missing, damaged or holds no predictions.
    """
    return _predictions(read_arrays(path), Path(path))


def _predictions(arrays: Mapping[str, np.ndarray], file: Path) -> np.ndarray:
    predictions = arrays.get('preds')
    if predictions is None:
        raise InputError(f'{file} holds {", ".join(arrays) or "nothing"}, expected preds')
    if predictions.ndim != 2 or predictions.dtype.kind not in 'iu':
        raise InputError(f'{file}: preds are {predictions.dtype} {list(predictions.shape)}, '
                         'expected whole numbers [Q, K]')
    return predictions.astype(np.int64)


def read_results(path: _PathLike) -> SeqNetResults:
    """Read a results file of the published code; only the predictions are required.

    Raises:
        InputError: the file is missing, damaged or holds no predictions.
    """
    file = Path(path)
    arrays = read_arrays(file)
    recalls = _dictionary(arrays, 'recalls', file)
    try:
        plain = {int(n): float(value) for n, value in recalls.items()}
    except (TypeError, ValueError):
        raise InputError(f'{file}: recalls are {recalls}, expected numbers by N') from None
    return SeqNetResults(_predictions(arrays, file), plain, arrays.get('rAtL'),
                         _dictionary(arrays, 'args', file))


def _dictionary(arrays: Mapping[str, np.ndarray], name: str, file: Path) -> dict[Any, Any]:
    array = arrays.get(name)
    if array is None:
        return {}
    if array.shape != () or not isinstance(array.item(), dict):
        raise InputError(f'{file}: {name} is {array.dtype} {list(array.shape)}, expected a '
                         'dictionary')
    return array.item()


def write_results(results: SeqNetResults, path: _PathLike) -> None:
    """Write results in the published layout, whose options and recalls are object arrays.

    Raises:
        InputError: the file cannot be written.
    """
    arrays: dict[str, Any] = {
        'args': np.array(results.options, dtype=object),
        'recalls': np.array(results.recalls, dtype=object),
        'dbEmb': np.array(None, dtype=object),
        'qEmb': np.array(None, dtype=object),
        'preds': results.predictions.astype(np.int64),
    }
    if results.recalls_by_radius is not None:
        arrays['rAtL'] = results.recalls_by_radius.astype(np.float64)
    with whole_file(path) as file:
        np.savez(file, **arrays)


def read_arrays(path: _PathLike) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` file; object arrays only where they hold plain data.

    Raises:
        InputError: the file is missing or damaged, or an array cannot be read without running code.
    """
    return read_npz(path, objects=True)


def _lines(file: Path) -> list[str]:
    text = read_text(file)
    return text.rstrip().split('\n') if text.strip() else []


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())
