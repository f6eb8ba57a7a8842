"""Times and numbers in text files.

Times without a unit are seconds, unless they are whole numbers that as seconds would be beyond the
year 30000: of 12 to 14 digits milliseconds, of 15 or 16 microseconds, of more nanoseconds.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import TypeVar

import numpy as np

from seqnet_ros.core.errors import InputError, quoted

_Number = TypeVar('_Number', float, Decimal)

_UNIT_NS = {'s': 10**9, 'ms': 10**6, 'us': 10**3, 'ns': 1}
_TIME_COLUMN = re.compile(r'#?\s*(stamp|timestamp|time|t)(?:[_ ]?[\[(]?(s|sec|ms|us|ns)[\])]?)?')


def find_time_column(names: Sequence[str]) -> tuple[int, int | None] | None:
    """Return the time column's index and nanoseconds per unit (None where it has no unit)."""
    for index, name in enumerate(names):
        if match := _TIME_COLUMN.fullmatch(name.strip().lower()):
            unit = match[2]
            return index, None if unit is None else _UNIT_NS['s' if unit == 'sec' else unit]
    return None


def parse_time(field: str, unit_ns: int | None, where: str) -> int:
    """Return a time in nanoseconds; decimals, since a float cannot hold today's nanoseconds.

    Args:
        field: the number.
        unit_ns: nanoseconds per unit; None decides by the number, see the module.
        where: file and line, for messages.

    Raises:
        InputError: it is not a number, not finite or beyond 292 years.
    """
    value = parse_number(field, where, Decimal)
    if unit_ns is None:
        unit_ns = _likely_unit_ns(field.strip())
    stamp = int(value * unit_ns)
    if not -2**63 <= stamp < 2**63:
        raise InputError(f'{where} has the time {field.strip()}, expected less than 292 years')
    return stamp


def _likely_unit_ns(digits: str) -> int:
    if not digits.isdecimal() or len(digits) < 12:
        return _UNIT_NS['s']
    return _UNIT_NS['ms' if len(digits) < 15 else 'us' if len(digits) < 17 else 'ns']


def parse_number(field: str, where: str, kind: Callable[[str], _Number]) -> _Number:
    """Return a number.

    Raises:
        InputError: the field is not a finite number.
    """
    try:
        value = kind(field.strip())
        finite = np.isfinite(float(value))
    except (ValueError, InvalidOperation):
        raise InputError(f'{where} holds {quoted(field.strip())}, expected a number') from None
    if not finite:
        raise InputError(f'{where} holds {quoted(field.strip())}, expected a finite number')
    return value
