"""Cutting a map into tiles: the cells of a grid over its poses."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from seqnet_ros.core.errors import InputError, quoted
from seqnet_ros.maps.collection.collection_file import MOST_TILES
from seqnet_ros.maps.place_map import PlaceMap

_CELL = re.compile(r'\s*(\d+(?:\.\d+)?)\s*m?\s*')
_FEWEST = 20
"""A cell with fewer places joins the nearest that has more."""


class Cell(NamedTuple):
    """A tile to be made.

    Attributes:
        name: 'x3_y-2', its column and row in the grid.
        places: int64 ``[K]``, ascending: the places in the cell and in its overlap.
    """

    name: str
    places: np.ndarray


def parse_cell(text: str) -> float:
    """Read the side of a cell like '100m', meters.

    Raises:
        InputError: the text is not a length in meters.
    """
    match = _CELL.fullmatch(text)
    if match is None or not 1 <= float(match[1]) <= 1e6:
        raise InputError(f"cell {quoted(text)} is invalid, expected meters from 1 to 1e6 such "
                         "as '100m'")
    return float(match[1])


def cut_cells(place_map: PlaceMap, cell_m: float, overlap: int) -> Iterator[Cell]:
    """Yield the cells of a map.

    Args:
        place_map: the map.
        cell_m: side of a cell, meters.
        overlap: places along the drive that a tile has beyond its cell, on both sides.

    Raises:
        InputError: the map has no measured poses, or too many cells.
    """
    if not place_map.manifest.has_poses:
        raise InputError(f'map {place_map.manifest.map_id} has no measured poses, expected them to '
                         'cut it into cells')
    grid = np.floor(place_map.positions[:, :2] / cell_m).astype(np.int64)
    cells, row, counts = np.unique(grid, axis=0, return_inverse=True, return_counts=True)
    row = _without_small(cells, row.ravel(), counts)
    numbers = np.unique(row)
    if len(numbers) > MOST_TILES:
        raise InputError(f'cells of {cell_m:g} m are {len(numbers)}, expected at most '
                         f'{MOST_TILES}: take larger ones')
    for number in numbers.tolist():
        column, line = cells[number].tolist()
        yield Cell(f'x{column}_y{line}', _grown(
            np.flatnonzero(row == number), place_map, overlap))


def _without_small(cells: np.ndarray, row: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the cell of each place, of small cells the nearest large one."""
    large = np.flatnonzero(counts >= _FEWEST)
    if not len(large):
        return np.zeros_like(row)
    joined = np.arange(len(cells))
    for small in np.flatnonzero(counts < _FEWEST).tolist():
        apart = np.linalg.norm(cells[large] - cells[small], axis=1)
        joined[small] = large[np.argmin(apart)]
    return joined[row]


def _grown(places: np.ndarray, place_map: PlaceMap, overlap: int) -> np.ndarray:
    """Return places and those before and after them on the same stretch, ascending."""
    first, end = place_map.stretches(places)
    low = np.maximum(places - overlap, first)
    high = np.minimum(places + overlap + 1, end)
    change = np.zeros(len(place_map) + 1, np.int64)
    np.add.at(change, low, 1)
    np.add.at(change, high, -1)
    return np.flatnonzero(np.cumsum(change)[:-1] > 0)
