"""Position priors, such as a GNSS fix or an area, and the tiles that agree with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import check_geodetic
from seqnet_ros.maps.collection.polygons import polygon_distances
from seqnet_ros.maps.collection.tile_boxes import TileBoxes


class Prior(Protocol):
    """A prior on the position of the robot."""

    def distances(self, boxes: TileBoxes) -> np.ndarray:
        """Return how far each tile is from where the robot may be, float64 ``[N]``, meters.

        0 where it may be in the tile; infinite where the tile has no such coordinates or
        contradicts the prior.
        """
        ...

    def __str__(self) -> str:
        """Return a phrase for messages, to follow 'near' or 'in'."""
        ...


@dataclass(frozen=True)
class AreaPrior:
    """The robot is on a floor or at a site."""

    area: str

    def distances(self, boxes: TileBoxes) -> np.ndarray:
        """Return 0 for tiles of the area, which may also be named by the tile itself, ``[N]``."""
        return np.where((boxes.areas == self.area) | (boxes.names == self.area), 0.0, np.inf)

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

    def distances(self, boxes: TileBoxes) -> np.ndarray:
        """Return the distance to the box of each tile beyond the radius, ``[N]``, meters."""
        apart = boxes.distances(np.array(self.position), boxes.in_frame(self.frame))
        return np.maximum(apart - self.radius_m, 0.0)

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

    def distances(self, boxes: TileBoxes) -> np.ndarray:
        """Return the horizontal distance to the box of each tile beyond the radius, ``[N]``, m."""
        positions = boxes.to_frames(np.array([self.latitude]), np.array([self.longitude]))[:, 0]
        apart = boxes.distances(positions, np.isfinite(positions[:, 0]))
        return np.maximum(apart - self.radius_m, 0.0)

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

    def distances(self, boxes: TileBoxes) -> np.ndarray:
        """Return the distance of the polygon to the box of each tile, ``[N]``, meters."""
        corners = np.array(self.corners, dtype=np.float64)
        if self.frame:
            polygons = np.broadcast_to(corners, (len(boxes.names), *corners.shape))
            asked = boxes.in_frame(self.frame)
        else:
            polygons = boxes.to_frames(*corners.T)
            asked = np.isfinite(polygons[:, 0, 0])
        asked = np.flatnonzero(asked & boxes.known)
        distances = np.full(len(boxes.names), np.inf)
        distances[asked] = polygon_distances(polygons[asked], boxes.corners[asked])
        return distances

    def __str__(self) -> str:
        """Return the number of corners."""
        return f'a polygon of {len(self.corners)} corners'


def tiles_within(boxes: TileBoxes, priors: Sequence[Prior]) -> list[int]:
    """Return the numbers of the tiles that agree with all priors.

    Args:
        boxes: of all tiles.
        priors: at least one.

    Raises:
        InputError: no tile is left; the message names the nearest.
    """
    distances = np.max([prior.distances(boxes) for prior in priors], axis=0)
    found: list[int] = np.flatnonzero(distances == 0).tolist()
    if found:
        return found
    what = ' and '.join(map(str, priors))
    nearest = int(np.argmin(distances))
    hint = (f'the nearest, {boxes.names[nearest]}, is {distances[nearest]:.0f} m away'
            if np.isfinite(distances[nearest]) else 'no tile says where it is in this way')
    raise InputError(f'no tile has places in {what}: {hint}')
