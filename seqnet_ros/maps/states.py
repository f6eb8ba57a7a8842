"""The places of maps as states of the place filter."""

from collections.abc import Sequence

import numpy as np

from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.place_filter.seams import Seams, find_seams
from seqnet_ros.place_filter.state_space import StateSpace


def state_space(maps: Sequence[PlaceMap], frames: Sequence[str] = ()) -> StateSpace:
    """Return the places of maps, one map after the other.

    Args:
        maps: the maps.
        frames: name of the coordinate frame of each; empty where each has its own.
    """
    bounds = np.cumsum([0, *map(len, maps)]).tolist()
    stretches = [place_map.segment_starts + first
                 for place_map, first in zip(maps, bounds, strict=False)]
    posed = tuple(place_map.manifest.has_poses for place_map in maps)
    turns = [place_map.turns for place_map in maps]
    known = [turn for turn in turns if turn is not None]
    starts, poses = np.concatenate(stretches), np.concatenate([one.poses for one in maps])
    steps_m = tuple(place_map.mean_step_m for place_map in maps)
    numbers = tuple(list(dict.fromkeys(frames)).index(frame) for frame in frames)
    leads_to = [[other for other, frame in enumerate(numbers)
                 if other != number and frame == numbers[number]]
                for number in range(len(numbers))] or [[] for _ in maps]
    led_to = {number for others in leads_to for number in others}
    seams = Seams()
    if led_to:
        seams = find_seams(
            bounds, starts, poses,
            [one.position_tree if number in led_to else None for number, one in enumerate(maps)],
            leads_to, steps_m)
    return StateSpace(
        tuple(bounds), starts, poses, steps_m, posed,
        np.concatenate(known) if all(posed) and len(known) == len(maps) else None, numbers, seams)


def frame_distances(frames: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the L2 distances of a unit vector ``[D]`` to others ``[N, D]``, float64 ``[N]``."""
    return np.sqrt(np.maximum(2 - 2 * (frames @ frame).astype(np.float64), 0.0))
