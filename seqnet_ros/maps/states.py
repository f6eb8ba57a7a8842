"""The places of maps as states of the place filter."""

from collections.abc import Sequence

import numpy as np

from seqnet_ros.core.poses import same_heading
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.place_filter.seams import Seams, find_seams
from seqnet_ros.place_filter.state_space import StateSpace

_SAME_M = 3.0
_MANY = 20_000
"""Places of a map of which those that show one place are a small share."""


def state_space(maps: Sequence[PlaceMap], frames: Sequence[str] = (),
                whole: int | None = None) -> StateSpace:
    """Return the places of maps, one map after the other.

    Args:
        maps: the maps.
        frames: name of the coordinate frame of each; empty where each has its own.
        whole: places of all maps that the robot may be on, where these are some of them.
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
    distinct = [distinct_places(place_map) + first
                for place_map, first in zip(maps, bounds, strict=False)]
    return StateSpace(
        tuple(bounds), starts, poses, steps_m, posed,
        np.concatenate(known) if all(posed) and len(known) == len(maps) else None, numbers,
        _seams(maps, numbers or range(len(maps)), bounds, starts, poses),
        np.concatenate(distinct) if sum(map(len, distinct)) < bounds[-1] else None, whole)


def _seams(maps: Sequence[PlaceMap], frames: Sequence[int], bounds: Sequence[int],
           starts: np.ndarray, poses: np.ndarray) -> Seams:
    """Return where the way goes on: in maps of one frame, and among the views of a street."""
    leads_to = [[other for other, frame in enumerate(frames) if frame == frames[number]
                 and (other != number or place_map.manifest.views)]
                for number, place_map in enumerate(maps)]
    led_to = {number for others in leads_to for number in others}
    if not led_to:
        return Seams()
    return find_seams(
        bounds, starts, poses,
        [one.position_tree if number in led_to else None for number, one in enumerate(maps)],
        leads_to, [place_map.mean_step_m for place_map in maps])


def distinct_places(place_map: PlaceMap) -> np.ndarray:
    """Return the places of a refreshed map without later views of them, int64 ``[J]``.

    Several views of the true place are a large share of the places of a small map; how far places
    stand out among all of them would be underrated.
    """
    distinct = np.ones(len(place_map), dtype=bool)
    if place_map.manifest.views and len(place_map) <= _MANY:
        pairs = place_map.position_tree.query_pairs(_SAME_M, output_type='ndarray')
        first, second = np.sort(pairs, axis=1).T
        starts, rotations = place_map.segment_starts, place_map.poses[:, 3:]
        alike = same_heading(rotations[first], rotations[second])
        distinct[second[alike & (starts[first] != starts[second])]] = False
    return np.flatnonzero(distinct)


def frame_distances(frames: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the L2 distances of a unit vector ``[D]`` to others ``[N, D]``, float64 ``[N]``."""
    return np.sqrt(np.maximum(2 - 2 * (frames @ frame).astype(np.float64), 0.0))
