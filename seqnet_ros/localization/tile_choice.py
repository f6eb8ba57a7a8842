"""Which tiles of a collection are searched next."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.maps.collection.collection_file import Tile
from seqnet_ros.maps.collection.tile_boxes import TileBoxes

_KEPT_REACH = 1.5
"""A tile in use is kept up to this many times the distance at which it is taken."""
_OPENED_REACH = 2.0
_NEW_TILES = 2
"""Tiles that one search of the summary brings, at most."""


@dataclass(frozen=True)
class Choice:
    """Tiles to be searched, the most likely first, and others to be opened."""

    used: tuple[int, ...]
    opened: tuple[int, ...] = ()


def around(tiles: Sequence[Tile], boxes: TileBoxes, config: CollectionConfig, here: int,
           position: np.ndarray | None, used: Sequence[int],
           allowed: Sequence[int] | None = None) -> Choice:
    """Choose the tiles around a robot that is followed in one of them.

    Args:
        tiles: all tiles.
        boxes: boxes of all tiles.
        config: the settings.
        here: the tile that the robot is in.
        position: where it is in the frame of the tile, ``[3]``, meters; None where it is not known.
        used: the tiles that are searched so far.
        allowed: the tiles that priors leave; None for all.
    """
    if tiles[here].extent is None:
        return Choice((here,))
    if position is None:
        kept = [number for number in used if number != here]
        return Choice((here, *kept[:config.used_tiles - 1]))
    near = boxes.near(position, here, config.reach_m * _OPENED_REACH, allowed)
    taken = [number for distance, number in near
             if distance <= config.reach_m * (_KEPT_REACH if number in used else 1.0)]
    taken = taken[:config.used_tiles - 1]
    return Choice((here, *taken), tuple(number for _, number in near if number not in taken)[
        :max(config.open_tiles - 1 - len(taken), 0)])


def among_ranked(ranked: Sequence[int], config: CollectionConfig, used: Sequence[int]) -> Choice:
    """Choose tiles for a robot that is lost: the best ranked, and tiles that are searched so far.

    Args:
        ranked: numbers of the tiles, best first.
        config: the settings.
        used: the tiles that are searched so far, the newest first.
    """
    new = list(ranked[:min(_NEW_TILES, config.used_tiles)])
    kept = [number for number in used if number not in new]
    return Choice(tuple([*new, *kept][:config.used_tiles]))
