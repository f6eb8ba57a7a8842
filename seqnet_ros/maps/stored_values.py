"""Descriptors on disk in fewer bytes: float16, or int8.

In an open map they are float32 with exactly the stored values: new descriptors are rounded before
the map is searched, so that a map gives the same results before and after it is saved.

Rows of unit length are scaled so that their largest value is 127, rounded, and brought to unit
length again when they are read. Other rows have a scale each.
"""

from typing import Literal, NamedTuple, cast, get_args

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.core.scratch_arrays import row_blocks

Stored = Literal['float32', 'float16', 'int8']

_LARGEST = 127
_SCALE_BITS = 16
"""Bits of a scale: its product with 127 is exact, so that rounding twice changes nothing."""


class Encoded(NamedTuple):
    """Rows as they are stored.

    Attributes:
        values: float16 or int8 ``[N, D]``.
        scales: float32 ``[N]`` of int8 rows that are not of unit length, else None.
    """

    values: np.ndarray
    scales: np.ndarray | None


def check_stored(name: str) -> Stored:
    """Return the type of descriptors on disk that a user named.

    Raises:
        InputError: there is no such type.
    """
    if name not in get_args(Stored):
        raise InputError(f'stored is {name!r}, expected one of: {", ".join(get_args(Stored))}')
    return cast(Stored, name)


def scales_name(name: str) -> str:
    """Return the name of the array with the scales of another."""
    return f'{name}_scales'


def encode(rows: np.ndarray, stored: Stored, unit: bool) -> Encoded:
    """Encode float32 rows ``[N, D]`` for the disk.

    Args:
        rows: finite.
        stored: 'float16' or 'int8'.
        unit: they are of unit length, or zero.

    Raises:
        InputError: a value is too large for float16.
    """
    if stored == 'float16':
        with np.errstate(over='ignore'):
            half = rows.astype(np.float16)
        if not np.isfinite(half).all():
            raise InputError(f'a descriptor has the value {np.abs(rows).max():g}, expected at most '
                             '65504 to store it in float16')
        return Encoded(half, None)
    scales = _rounded_up(np.abs(rows).max(axis=1) / np.float32(_LARGEST))
    divisors = np.where(scales > 0, scales, 1).astype(np.float32)
    return Encoded(np.rint(rows / divisors[:, None]).astype(np.int8), None if unit else scales)


def decode(encoded: Encoded, unit: bool) -> np.ndarray:
    """Return stored rows as float32 ``[N, D]``."""
    rows = encoded.values.astype(np.float32)
    if encoded.scales is not None:
        return rows * encoded.scales[:, None]
    return normalize_rows(rows) if unit and encoded.values.dtype == np.int8 else rows


def round_in_place(array: np.ndarray, stored: Stored, unit: bool) -> None:
    """Round float32 rows ``[N, D]`` to the values that the stored type can represent."""
    if stored != 'float32':
        for block in row_blocks(array):
            array[block] = decode(encode(array[block], stored, unit), unit)


def _rounded_up(scales: np.ndarray) -> np.ndarray:
    """Return scales with few bits, at most a little larger."""
    mantissa, exponent = np.frexp(scales.astype(np.float64))
    return np.ldexp(np.ceil(mantissa * 2**_SCALE_BITS) / 2**_SCALE_BITS, exponent).astype(
        np.float32)
