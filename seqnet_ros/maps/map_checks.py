"""Checks of the arrays of a map, before any search uses them."""

import numpy as np

from seqnet_ros.core.errors import InputError, MapError
from seqnet_ros.core.poses import check_poses

_UNIT_TOLERANCE = 1e-3
_BLOCK_ROWS = 65536


def check_array(name: str, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> None:
    """Check shape and type of an array.

    Raises:
        MapError: they differ; the message names both.
    """
    if array.shape != shape or array.dtype != dtype:
        raise MapError(f'{name} is {array.dtype} {list(array.shape)}, '
                       f'expected {dtype} {list(shape)}')


def check_route(arrays: dict[str, np.ndarray]) -> None:
    """Check mean, poses, stamps and segments, the small arrays of a map.

    Args:
        arrays: all arrays of the map by name, of the right shapes and types.

    Raises:
        MapError: a value is impossible; the message names it.
    """
    if not np.isfinite(arrays['mean']).all():
        raise MapError('mean holds values that are not finite, expected finite numbers')
    try:
        check_poses(arrays['poses'], 'poses')
    except InputError as error:
        raise MapError(str(error)) from error
    starts, places = arrays['segment_starts'], np.arange(len(arrays['segment_starts']))
    steps = np.diff(starts)
    # A segment starts at its own first place, and a new one at the place where the value changes.
    wrong = (starts < 0) | (starts > places)
    wrong[1:] |= (steps != 0) & (starts[1:] != places[1:])
    if wrong.any() or starts[0] != 0:
        place = int(np.flatnonzero(wrong)[0]) if wrong.any() else 0
        raise MapError(f'segment_starts of place {place} is {starts[place]}, expected the first '
                       'place of an unbroken stretch')
    backwards = np.flatnonzero((np.diff(arrays['stamps_ns']) < 0) & (steps == 0))
    if len(backwards):
        raise MapError(f'stamps_ns go back at place {int(backwards[0]) + 1}, expected ascending '
                       'stamps along an unbroken stretch')


def check_descriptors(name: str, rows: np.ndarray, unit: bool, first: int = 0) -> None:
    """Check descriptors.

    Args:
        name: what to call them in an error.
        rows: float32 ``[M, D]``.
        unit: they must be of unit length, or zero where an image has no structure.
        first: place of the first row, for the message.

    Raises:
        MapError: one is not finite or not of unit length; the message names its place.
    """
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start: start + _BLOCK_ROWS]
        lengths = np.sqrt(np.einsum('nd,nd->n', block, block))
        infinite = np.flatnonzero(~np.isfinite(lengths))
        if len(infinite):
            raise MapError(f'{name} holds values that are not finite at place '
                           f'{first + start + int(infinite[0])}')
        odd = np.flatnonzero((np.abs(lengths - 1) > _UNIT_TOLERANCE) & (lengths > 0))
        if unit and len(odd):
            raise MapError(f'{name} of place {first + start + int(odd[0])} has length '
                           f'{lengths[odd[0]]:.4g}, expected 1')
