"""What is known from outside about where the robot is, and which tiles that leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import check_geodetic, geodetic_to_enu
from seqnet_ros.maps.collection.collection_file import Tile


class Prior(Protocol):
    """Knowledge of where the robot is."""

    def distance(self, tile: Tile) -> float:
        """Return how far a tile is from where the robot may be, meters.

        0 where it may be in the tile; infinite where the tile says nothing of it, or contradicts.
        """
        ...

    def __str__(self) -> str:
        """Return it in words, to follow 'near' or 'in'."""
        ...


@dataclass(frozen=True)
class AreaPrior:
    """The robot is on a floor or at a site."""

    area: str

    def distance(self, tile: Tile) -> float:
        """Return 0 for tiles of the area, which may also be named by the tile itself."""
        return 0.0 if self.area in (tile.area, tile.name) else np.inf

    def __str__(self) -> str:
        """Return the area."""
        return f'area {self.area}'


@dataclass(frozen=True)
class PosePrior:
    """The robot is near a position in a coordinate frame.

    Attributes:
        frame: name of the frame of the tiles.
        position: ``(x, y)`` or ``(x, y, z)``, meters; without z on any floor.
        radius_m: how far it may be from there.
    """

    frame: str
    position: tuple[float, ...]
    radius_m: float

    def distance(self, tile: Tile) -> float:
        """Return the distance to the places of a tile beyond the radius."""
        if tile.extent is None or tile.frame != self.frame:
            return np.inf
        return max(tile.extent.distance(np.array(self.position)) - self.radius_m, 0.0)

    def __str__(self) -> str:
        """Return the position."""
        return f'{self.radius_m:g} m around {", ".join(f"{value:g}" for value in self.position)}'


@dataclass(frozen=True)
class FixPrior:
    """The robot is near a position on the earth.

    Attributes:
        latitude: degrees, WGS-84.
        longitude: degrees.
        radius_m: how far it may be from there, meters.
    """

    latitude: float
    longitude: float
    radius_m: float

    def __post_init__(self) -> None:
        """Check the position.

        Raises:
            InputError: it is not on the earth.
        """
        check_geodetic(self.latitude, self.longitude)

    def distance(self, tile: Tile) -> float:
        """Return the horizontal distance to the places of a tile beyond the radius."""
        if tile.extent is None or tile.datum is None:
            return np.inf
        position = _to_frame([(self.latitude, self.longitude)], tile)[0]
        return max(tile.extent.distance(position) - self.radius_m, 0.0)

    def __str__(self) -> str:
        """Return the position."""
        return f'{self.radius_m:g} m around {self.latitude:.6f}, {self.longitude:.6f}'


@dataclass(frozen=True)
class PolygonPrior:
    """The robot is within a polygon.

    Attributes:
        corners: at least three, ``(x, y)`` in meters, or ``(latitude, longitude)`` in degrees.
        frame: the frame of the tiles that x and y are in; '' for degrees.
    """

    corners: tuple[tuple[float, float], ...]
    frame: str = ''

    def __post_init__(self) -> None:
        """Check the corners.

        Raises:
            InputError: there are fewer than three, or one is not finite or not on the earth.
        """
        if len(self.corners) < 3 or not np.isfinite(self.corners).all():
            raise InputError(f'a polygon has {len(self.corners)} corners, expected at least three '
                             'of finite coordinates')
        if not self.frame:
            check_geodetic(*np.transpose(self.corners))

    def distance(self, tile: Tile) -> float:
        """Return 0 for a tile whose box meets the polygon, else the distance of the two."""
        if tile.extent is None or (self.frame and tile.frame != self.frame) or (
                not self.frame and tile.datum is None):
            return np.inf
        corners = np.array(self.corners) if self.frame else _to_frame(self.corners, tile)
        return _polygon_distance(corners, tile.extent.corners)

    def __str__(self) -> str:
        """Return what it is."""
        return f'a polygon of {len(self.corners)} corners'


def tiles_within(tiles: Sequence[Tile], priors: Sequence[Prior]) -> list[int]:
    """Return the numbers of the tiles that all priors leave.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    distances = [max(prior.distance(tile) for prior in priors) for tile in tiles]
    found = [number for number, distance in enumerate(distances) if distance == 0]
    if found:
        return found
    what = ' and '.join(map(str, priors))
    nearest = int(np.argmin(distances))
    hint = (f'the nearest, {tiles[nearest].name}, is {distances[nearest]:.0f} m away'
            if np.isfinite(distances[nearest]) else 'no tile says where it is in this way')
    raise InputError(f'no tile has places in {what}: {hint}')


def _to_frame(positions: Sequence[tuple[float, float]], tile: Tile) -> np.ndarray:
    """Return latitudes and longitudes in the frame of a tile with a datum, ``[N, 2]``, meters."""
    assert tile.datum is not None
    degrees = np.array(positions, dtype=np.float64)
    height = np.full(len(degrees), tile.datum.altitude)
    return geodetic_to_enu(degrees[:, 0], degrees[:, 1], height, tile.datum.point)[:, :2]


def _polygon_distance(polygon: np.ndarray, box: np.ndarray) -> float:
    """Return the distance of two polygons ``[N, 2]``, 0 where they meet."""
    if _contains(polygon, box[0]) or _contains(box, polygon[0]):
        return 0.0
    least = np.inf
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        for c, d in zip(box, np.roll(box, -1, axis=0), strict=True):
            if _cross(a, b, c, d):
                return 0.0
            least = min(least, _to_segment(a, c, d), _to_segment(b, c, d), _to_segment(c, a, b),
                        _to_segment(d, a, b))
    return least


def _contains(polygon: np.ndarray, point: np.ndarray) -> bool:
    """Return whether a ray from the point crosses the polygon an odd number of times."""
    after = np.roll(polygon, -1, axis=0)
    spans = (polygon[:, 1] > point[1]) != (after[:, 1] > point[1])
    rise = np.where(spans, after[:, 1] - polygon[:, 1], 1.0)
    crossing = polygon[:, 0] + (point[1] - polygon[:, 1]) * (after[:, 0] - polygon[:, 0]) / rise
    return bool((spans & (point[0] < crossing)).sum() % 2)


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return (side(a, b, c) * side(a, b, d) <= 0 and side(c, d, a) * side(c, d, b) <= 0
            and max(min(a[0], b[0]), min(c[0], d[0])) <= min(max(a[0], b[0]), max(c[0], d[0]))
            and max(min(a[1], b[1]), min(c[1], d[1])) <= min(max(a[1], b[1]), max(c[1], d[1])))


def _to_segment(point: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    along = second - first
    length = float(along @ along)
    share = 0.0 if length == 0 else min(max(float((point - first) @ along) / length, 0.0), 1.0)
    return float(np.linalg.norm(point - first - share * along))
