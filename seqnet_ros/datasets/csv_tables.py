"""Tables with a header line, as in many data sets: rows by column name."""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import read_text


def read_rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield the location of each row and its values in some columns; empty if it is too short.

    Raises:
        InputError: the file cannot be read, is not a table, or lacks a column.
    """
    try:
        table = csv.DictReader(io.StringIO(read_text(file), newline=''), restval='')
        found = table.fieldnames or ()
        missing = [name for name in columns if name not in found]
        if missing:
            raise InputError(f'{file} has the columns {", ".join(found) or "none"}, expected '
                             f'{", ".join(missing)} among them')
        for row in table:
            yield f'{file} line {table.line_num}', [row[name].strip() for name in columns]
    except csv.Error as error:
        raise InputError(f'{file} is not a table: {error}') from error


def finite(text: str) -> float | None:
    """Return a finite number, or None for any other text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def whole(text: str) -> int | None:
    """Return a whole number of 64 bits, or None; ``12.0`` is accepted, too."""
    try:
        return int(text) if abs(int(text)) < 2**63 else None
    except ValueError:
        value = finite(text)
        return int(value) if value is not None and value.is_integer() and abs(value) < 2**53 \
            else None
