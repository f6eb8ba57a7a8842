"""Parts of the map of a fleet, by coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass

from seqnet_ros.core.errors import InputError, quoted
from seqnet_ros.core.geodesy import check_geodetic
from seqnet_ros.core.poses import MAX_COORDINATE_M
from seqnet_ros.maps.collection.collection_file import Tile

FORM = "'xy:X,Y,X,Y' in m or 'geo:LAT,LON,LAT,LON' in degrees, two opposite corners"


@dataclass(frozen=True)
class Region:
    """A box, in the frame of the tiles or on the earth.

    Attributes:
        low: smallest x and y, m, or latitude and longitude, degrees.
        high: largest ones.
        on_earth: whether they are degrees.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    on_earth: bool

    def meets(self, tile: Tile) -> bool:
        """Return whether places of a tile may be in it; False for tiles without coordinates."""
        if self.on_earth:
            box = tile.geographic
            return box is not None and self._meets((box.south, box.west), (box.north, box.east))
        extent = tile.extent
        return extent is not None and self._meets(extent.low[:2], extent.high[:2])

    def _meets(self, low: Sequence[float], high: Sequence[float]) -> bool:
        return all(self.low[axis] <= high[axis] and low[axis] <= self.high[axis]
                   for axis in range(2))

    def __str__(self) -> str:
        """Return it in the form that `parse_region` reads."""
        return f'{"geo" if self.on_earth else "xy"}:' + ','.join(
            f'{value!r}' for value in (*self.low, *self.high))


def parse_region(text: str) -> Region:
    """Read a region.

    Raises:
        InputError: it is none.
    """
    kind, _, corners = text.strip().partition(':')
    try:
        values = [float(part) for part in corners.split(',')]
    except ValueError:
        values = []
    if kind not in ('xy', 'geo') or len(values) != 4:
        raise InputError(f'region {quoted(text)} is invalid, expected {FORM}')
    for first, second in (values[:2], values[2:]):
        if kind == 'geo':
            check_geodetic(first, second)
        elif not max(abs(first), abs(second)) <= MAX_COORDINATE_M:
            raise InputError(f'region {quoted(text)} is invalid, expected coordinates '
                             f'within {MAX_COORDINATE_M:g} m')
    pairs = [sorted(pair) for pair in zip(values[:2], values[2:], strict=True)]
    return Region((pairs[0][0], pairs[1][0]), (pairs[0][1], pairs[1][1]), kind == 'geo')
