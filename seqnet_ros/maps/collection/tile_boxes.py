"""The boxes of all tiles of a collection, compared with a position at once."""

from collections.abc import Sequence

import numpy as np

from seqnet_ros.maps.collection.collection_file import Tile
from seqnet_ros.maps.collection.extent import distance_from


class TileBoxes:
    """Finds the tiles near a position.

    Args:
        tiles: all tiles.
    """

    def __init__(self, tiles: Sequence[Tile]) -> None:
        unknown = (np.nan,) * 3
        self._low = np.array([tile.extent.low if tile.extent else unknown for tile in tiles])
        self._high = np.array([tile.extent.high if tile.extent else unknown for tile in tiles])
        names = [tile.frame for tile in tiles]
        self._frames = np.unique(names, return_inverse=True)[1]

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
