"""Which frames of two drives show the same place, where only their names and order can tell.

Frames often are files with a number in the name. If some were removed, the numbers still tell which
frames belong together, and positions in the folder do not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePath
from typing import Literal, get_args

import numpy as np

from seqnet_ros.core.errors import InputError, shortened

PairBy = Literal['auto', 'position', 'name', 'number']
PAIR_BY: tuple[PairBy, ...] = get_args(PairBy)

_LEAST_SHARED = 0.5
# Larger numbers are times, which two drives do not share.
_MOST = 2**53
_Names = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True, eq=False)
class FramePairing:
    """The frames of two drives on one axis, in frames of the reference.

    Attributes:
        by: what they were paired by: 'position', 'name' or 'number'.
        reference: float64 ``[N]``.
        query: float64 ``[M]``; NaN for a frame whose name the reference lacks.
        note: what a reader must know to trust the pairs; empty where there is no doubt.
    """

    by: PairBy
    reference: np.ndarray
    query: np.ndarray
    note: str = ''


def check_pair_by(text: str) -> PairBy:
    """Return a word that frames are paired by.

    Raises:
        InputError: it is none.
    """
    for by in PAIR_BY:
        if text == by:
            return by
    raise InputError(f'frames are to be paired by {text!r}, expected one of {", ".join(PAIR_BY)}')


def pair_drives(counts: tuple[int, int], names: _Names | None, by: PairBy,
                firsts: tuple[int, int] = (0, 0)) -> FramePairing:
    """Pair the frames of two drives, and say where that is in doubt.

    Args:
        counts: frames of the reference and of the query that take part.
        names: of all their frames; None unless they are names of files.
        by: what to pair by.
        firsts: numbers of the first frames that take part; by position these are one place.

    Raises:
        InputError: the frames cannot be paired like that.
    """
    if names is None and by not in ('auto', 'position'):
        raise InputError(f'frames are to be paired by {by}, expected one folder of images on each '
                         'side')
    found = None if names is None else pair_frames(*names, by)
    if found is not None and found.by != 'position':
        return found
    frames = [np.arange(float(first + count))
              for first, count in zip(firsts, counts, strict=True)]
    uneven = (f'frame i of both drives is taken for the same place, although they have {counts[0]} '
              f'and {counts[1]} frames') if counts[0] != counts[1] else ''
    notes = ('' if found is None else found.note, uneven)
    return FramePairing('position', frames[0], frames[1] + (firsts[0] - firsts[1]),
                        '; '.join(note for note in notes if note))


def pair_frames(reference: Sequence[str], query: Sequence[str],
                by: PairBy = 'auto') -> FramePairing:
    """Pair the frames of two drives.

    Numbers are those fields of digits that ascend from name to name. 'auto' pairs by numbers or
    names where at least half of the frames of the shorter drive have a counterpart and these are
    elsewhere than positions say, otherwise by position.

    Args:
        reference: names of the frames of the reference, in their order.
        query: the same for the query.
        by: what to pair by.

    Raises:
        InputError: the names do not allow it.
    """
    positions = FramePairing('position', np.arange(float(len(reference))),
                             np.arange(float(len(query))))
    if by == 'position':
        return positions
    names = (reference, query)
    numbers = _numbers(names)
    if by == 'number' or (by == 'auto' and numbers is not None):
        if numbers is None:
            raise InputError(f'the names of frames, such as {_examples(names)}, hold no ascending '
                             'numbers on both sides, expected such numbers to pair frames by them')
        return _choose(_by_number(numbers, names), positions, _share(*numbers), by, names)
    stems = tuple([PurePath(name).stem for name in side] for side in names)
    unique = all(len(set(side)) == len(side) for side in stems)
    shared = len(set(stems[0]) & set(stems[1])) / max(1, min(map(len, stems)))
    if by == 'name' and (not unique or not shared):
        raise InputError(f'the names of frames, such as {_examples(names)}, '
                         f'{"do not occur on both sides" if unique else "occur several times"}, '
                         'expected names that pair the frames')
    if not unique or not shared:
        return positions
    return _choose(_by_name(stems, names), positions, shared, by, names)


def _choose(found: FramePairing, positions: FramePairing, shared: float, by: PairBy,
            names: _Names) -> FramePairing:
    """Return the pairs by name or number, or those by position where they say as much."""
    if by != 'auto':
        return found
    if shared < _LEAST_SHARED:
        return replace(positions, note=f'frames are paired by their position, although their '
                                       f'{found.by}s disagree, such as {_examples(names)}')
    known = np.isfinite(found.query)
    same = (np.array_equal(found.reference, positions.reference)
            and np.array_equal(found.query[known], positions.query[known]))
    return positions if same else found


def _numbers(names: _Names) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the numbers of both sides, int64; None where names have no ascending ones."""
    columns = [ascending_fields(side) for side in names]
    pairs = [(columns[0][field], columns[1][field]) for field in sorted(columns[0])
             if field in columns[1]]
    return max(reversed(pairs), key=lambda pair: _share(*pair), default=None)


def ascending_fields(names: Sequence[str]) -> dict[int, np.ndarray]:
    """Return the fields of digits that ascend from name to name, int64 ``[N]`` by place in them."""
    parts = [re.split(r'([0-9]+)', PurePath(name).stem)[1::2] for name in names]
    if not parts or len(set(map(len, parts))) != 1:
        return {}
    found = {}
    for field, texts in enumerate(zip(*parts, strict=True)):
        values = [int(text) for text in texts]
        if max(values) < _MOST and all(a < b for a, b in pairwise(values)):
            found[field] = np.array(values, dtype=np.int64)
    return found


def _share(reference: np.ndarray, query: np.ndarray) -> float:
    return len(np.intersect1d(reference, query)) / max(1, min(len(reference), len(query)))


def _by_number(numbers: tuple[np.ndarray, np.ndarray], names: _Names) -> FramePairing:
    reference, query = numbers
    # A drive of which every tenth frame was kept has numbers ten apart.
    stride = float(np.median(np.diff(reference))) if len(reference) > 1 else 1.0
    first = reference[0]
    missing = int((~np.isin(query, reference)).sum())
    note = (f'frames are paired by the numbers in their names, such as {_examples(names)}: '
            f'{len(query) - missing} of {len(query)} query frames have the number of a reference '
            'frame')
    return FramePairing('number', (reference - first) / stride, (query - first) / stride, note)


def _by_name(stems: tuple[Sequence[str], ...], names: _Names) -> FramePairing:
    places = {stem: place for place, stem in enumerate(stems[0])}
    query = np.array([places.get(stem, np.nan) for stem in stems[1]], dtype=np.float64)
    note = (f'frames are paired by their names, such as {_examples(names)}: '
            f'{int(np.isfinite(query).sum())} of {len(query)} query frames have the name of a '
            'reference frame')
    return FramePairing('name', np.arange(float(len(stems[0]))), query, note)


def _examples(names: _Names) -> str:
    return ' and '.join(shortened(side[0]) if len(side) else 'none' for side in names)
