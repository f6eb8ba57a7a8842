"""The places of maps as states of the place filter."""

from collections.abc import Sequence

import numpy as np

from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.place_filter.state_space import StateSpace


def state_space(maps: Sequence[PlaceMap], frames: Sequence[str] = ()) -> StateSpace:
    """Return the places of maps, one map after the other.

    Args:
        maps: the maps.
        frames: name of the coordinate frame of each; empty where each has its own.
    """
    bounds = np.cumsum([0, *map(len, maps)]).tolist()
    starts = [place_map.segment_starts + first
              for place_map, first in zip(maps, bounds, strict=False)]
    posed = tuple(place_map.manifest.has_poses for place_map in maps)
    turns = [place_map.turns for place_map in maps]
    known = [turn for turn in turns if turn is not None]
    return StateSpace(
        tuple(bounds), np.concatenate(starts),
        np.concatenate([place_map.poses for place_map in maps]),
        tuple(place_map.mean_step_m for place_map in maps),
        posed, np.concatenate(known) if all(posed) and len(known) == len(maps) else None,
        tuple(list(dict.fromkeys(frames)).index(frame) for frame in frames))


def frame_distances(frames: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the L2 distances of a unit vector ``[D]`` to others ``[N, D]``, float64 ``[N]``."""
    return np.sqrt(np.maximum(2 - 2 * (frames @ frame).astype(np.float64), 0.0))
