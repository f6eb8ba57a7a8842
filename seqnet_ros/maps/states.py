"""The places of maps as states of the place filter."""

from collections.abc import Sequence

import numpy as np

from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.place_filter.state_space import StateSpace

_REACH_M = 4.0
"""Two drives along a street are no further apart."""
_SAME_M = 3.0
_HALF_HEADING = np.cos(np.deg2rad(45.0) / 2)
_MANY = 20_000
"""Places of a map of which those that show one place are a small share."""


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
    links, distinct = zip(*((_links(place_map) + first, distinct_places(place_map) + first)
                            for place_map, first in zip(maps, bounds, strict=False)), strict=True)
    return StateSpace(
        tuple(bounds), np.concatenate(starts),
        np.concatenate([place_map.poses for place_map in maps]),
        tuple(place_map.mean_step_m for place_map in maps),
        posed, np.concatenate(known) if all(posed) and len(known) == len(maps) else None,
        tuple(list(dict.fromkeys(frames)).index(frame) for frame in frames),
        np.concatenate(links),
        np.concatenate(distinct) if sum(map(len, distinct)) < bounds[-1] else None)


def distinct_places(place_map: PlaceMap) -> np.ndarray:
    """Return the places of a refreshed map without later views of them, int64 ``[J]``.

    Several views of the true place are a large share of the places of a small map; how far places
    stand out among all of them would be underrated.
    """
    distinct = np.ones(len(place_map), dtype=bool)
    if place_map.manifest.views and len(place_map) <= _MANY:
        from scipy.spatial import cKDTree  # only refreshed maps need it

        pairs = cKDTree(place_map.positions).query_pairs(_SAME_M, output_type='ndarray')
        first, second = np.sort(pairs, axis=1).T
        starts, rotations = place_map.segment_starts, place_map.poses[:, 3:]
        alike = np.abs(np.einsum('ij,ij->i', rotations[first], rotations[second])) >= _HALF_HEADING
        distinct[second[alike & (starts[first] != starts[second])]] = False
    return np.flatnonzero(distinct)


def _links(place_map: PlaceMap) -> np.ndarray:
    """Return where the way goes on at the ends of the stretches of a refreshed map, ``[K, 2]``.

    A street that is known in some light only for a part goes on in other views of it.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    if not place_map.manifest.views:
        return found[0]
    from scipy.spatial import cKDTree  # only refreshed maps need it
    from scipy.spatial.transform import Rotation

    starts, positions, rotations = (
        place_map.segment_starts, place_map.positions, place_map.poses[:, 3:])
    ends = np.append(np.flatnonzero(np.diff(starts)), len(starts) - 1)
    step_m = place_map.mean_step_m
    near = cKDTree(positions).query_ball_point(positions[ends], _REACH_M)
    for last, forward, places in zip(
            ends.tolist(), Rotation.from_quat(rotations[ends]).apply([1.0, 0.0, 0.0]), near,
            strict=True):
        beside = np.array(places)
        ahead_m = (positions[beside] - positions[last]) @ forward
        following = ((starts[beside] != starts[last]) & (ahead_m >= step_m / 2)
                     & (np.abs(rotations[beside] @ rotations[last]) >= _HALF_HEADING))
        beside = beside[following][np.argsort(np.abs(ahead_m[following] - step_m), kind='stable')]
        _, first = np.unique(starts[beside], return_index=True)  # one for each stretch
        found.append(np.stack([np.full(len(first), last), beside[first]], axis=1))
    return np.concatenate(found)


def frame_distances(frames: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the L2 distances of a unit vector ``[D]`` to others ``[N, D]``, float64 ``[N]``."""
    return np.sqrt(np.maximum(2 - 2 * (frames @ frame).astype(np.float64), 0.0))
