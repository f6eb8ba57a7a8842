"""The boxes of all tiles of a collection, compared with a position at once."""

from collections.abc import Sequence

import numpy as np

from seqnet_ros.core.geodesy import geodetic_to_enu
from seqnet_ros.maps.collection.collection_file import Tile
from seqnet_ros.maps.collection.extent import distance_from


class TileBoxes:
    """Where all tiles are; finds those near a position.

    Args:
        tiles: all tiles.

    Attributes:
        names: of the tiles, str ``[N]``.
        areas: of the tiles, str ``[N]``; empty for tiles without.
        known: which tiles have a box, bool ``[N]``.
        corners: of the bases of the boxes, in order, float64 ``[N, 4, 2]``, meters; not numbers
            where the box is unknown.
    """

    def __init__(self, tiles: Sequence[Tile]) -> None:
        self.names = np.array([tile.name for tile in tiles], dtype=object)
        self.areas = np.array([tile.area for tile in tiles], dtype=object)
        unknown = (np.nan,) * 3
        self._low = np.array([tile.extent.low if tile.extent else unknown for tile in tiles])
        self._high = np.array([tile.extent.high if tile.extent else unknown for tile in tiles])
        self.known = np.isfinite(self._low[:, 0])
        (left, bottom), (right, top) = self._low.T[:2], self._high.T[:2]
        self.corners = np.stack([left, bottom, right, bottom, right, top, left, top],
                                axis=1).reshape(-1, 4, 2)
        self._frame_names, self._frames = np.unique(
            [tile.frame for tile in tiles], return_inverse=True)
        points = [tile.datum.point if tile.datum else None for tile in tiles]
        numbers = {point: number for number, point in enumerate(dict.fromkeys(points))}
        self._datums, self._datum_of = list(numbers), np.array([numbers[one] for one in points])

    def in_frame(self, frame: str) -> np.ndarray:
        """Return which tiles have coordinates in a frame of this name, bool ``[N]``."""
        return np.asarray((self._frame_names == frame)[self._frames])

    def to_frames(self, latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        """Return positions on the earth in the frame of each tile.

        Args:
            latitude: degrees ``[K]``, WGS-84.
            longitude: degrees ``[K]``.

        Returns:
            x and y, float64 ``[N, K, 2]``, meters; not numbers for tiles without a datum.
        """
        unknown = np.full((len(latitude), 2), np.nan)
        return np.stack([
            unknown if datum is None else geodetic_to_enu(
                latitude, longitude, np.full(len(latitude), datum.altitude), datum)[:, :2]
            for datum in self._datums])[self._datum_of]

    def distances(self, positions: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Return how far tiles are from positions.

        Args:
            positions: one position ``[C]`` or one for each tile ``[N, C]``, meters; C is 2, where
                the height does not count, or 3.
            asked: the tiles in whose frames the positions are, bool ``[N]``.

        Returns:
            float64 ``[N]``, meters; 0 inside a box, infinite for other tiles and those whose box
            is unknown.
        """
        count = positions.shape[-1]
        apart = distance_from(self._low[:, :count], self._high[:, :count], positions)
        return np.where(asked & self.known, apart, np.inf)

    def near(self, position: np.ndarray, here: int, within_m: float,
             among: Sequence[int] | None = None) -> list[tuple[float, int]]:
        """Return the distances and numbers of other tiles near a position, nearest first.

        Args:
            position: ``[3]``, in the frame of a tile, meters.
            here: that tile, which is left out.
            within_m: how near, meters.
            among: the tiles that come into question; None for all.
        """
        numbers = np.arange(len(self._low)) if among is None else np.asarray(among, int)
        numbers = numbers[(numbers != here) & (self._frames[numbers] == self._frames[here])]
        apart = distance_from(self._low[numbers], self._high[numbers], position)
        near = apart <= within_m  # not where the box is unknown
        return sorted(zip(apart[near].tolist(), numbers[near].tolist(), strict=True))
