"""Seams: where a stretch of one map goes on in another that shares its coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

_REACH = 1.5
"""Distance at which two places may be one, in usual distances between successive places."""
_ONE_PLACE = 0.5
"""Among places that are nearer by less than this, one is taken at which its stretch goes on."""
_HEADING = np.cos(np.deg2rad(45.0) / 2)
"""A stretch goes on in a place whose heading differs by at most 45 degrees."""
_CONSIDERED = 4
_NONE = np.zeros((0, 2), np.int64)


@dataclass(frozen=True)
class Seams:
    """Pairs of states that show the same place: one at an end of its stretch, one on another map.

    Attributes:
        ahead: the last state of a stretch and where it goes on, int64 ``[K, 2]``.
        behind: the first state of a stretch and where it comes from, int64 ``[K, 2]``.
    """

    ahead: np.ndarray = field(default_factory=lambda: _NONE)
    behind: np.ndarray = field(default_factory=lambda: _NONE)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.ahead) + len(self.behind)

    @property
    def pairs(self) -> np.ndarray:
        """All pairs, int64 ``[K, 2]``."""
        return np.concatenate([self.ahead, self.behind])

    def crossing(self, steps: int, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return from which states so many steps lead over a seam, and to which, int64 ``[K]``.

        Args:
            steps: along the map; negative ones lead back.
            starts: first state of the unbroken stretch each state is on, int ``[N]``.
        """
        pairs, way = (self.ahead, 1) if steps > 0 else (self.behind, -1)
        beyond = np.arange(1, abs(steps) + 1)
        ends, places = pairs[:, :1], pairs[:, 1:]
        sources = (ends - way * (abs(steps) - beyond)).ravel()
        targets = (places + way * beyond).ravel()
        inside = (np.minimum(sources, targets) >= 0) & (
            np.maximum(sources, targets) < len(starts))
        sources, targets = sources[inside], targets[inside]
        ends, places = (np.broadcast_to(column, (len(pairs), abs(steps))).ravel()[inside]
                        for column in (ends, places))
        same = (starts[sources] == starts[ends]) & (starts[targets] == starts[places])
        return sources[same], targets[same]

    def among(self, states: np.ndarray) -> 'Seams':
        """Return the seams of some states, numbered among them.

        Args:
            states: int64 ``[K]``, ascending.
        """
        if not len(self) or not len(states):
            return Seams()
        parts = []
        for pairs in (self.ahead, self.behind):
            rows = np.minimum(np.searchsorted(states, pairs), len(states) - 1)
            parts.append(rows[(states[rows] == pairs).all(axis=1)])
        return Seams(*parts)


def find_seams(bounds: Sequence[int], starts: np.ndarray, poses: np.ndarray,
               frames: Sequence[int], trees: Sequence[cKDTree], steps_m: Sequence[float]) -> Seams:
    """Find where stretches go on in other maps.

    Args:
        bounds: first state of each map and one past the last of all, ``[M + 1]``.
        starts: first state of the unbroken stretch each state is on, int ``[N]``.
        poses: float64 ``[N, 7]``, meters.
        frames: number of the coordinate frame of each map, ``[M]``.
        trees: of the positions of each map.
        steps_m: usual distance between successive places of each map, meters.
    """
    firsts = np.unique(starts)
    lasts = np.append(firsts[1:], len(starts)) - 1
    found = []
    for edges, onward in ((lasts, 1), (firsts, -1)):
        best = np.full(len(edges), -1)
        nearest = np.full(len(edges), np.inf)
        of_map = np.searchsorted(bounds, edges, side='right') - 1
        for number, tree in enumerate(trees):
            sharing = np.array([frame == frames[number] for frame in frames])
            sharing[number] = False
            asking = np.flatnonzero(sharing[of_map])
            if not len(asking):
                continue
            apart, rows = tree.query(poses[edges[asking], :3], k=_CONSIDERED,
                                     distance_upper_bound=_REACH * steps_m[number])
            states = np.where(np.isfinite(apart), rows + bounds[number], bounds[number])
            apart = np.where(_alike(poses, edges[asking], states), apart, np.inf)
            as_near = apart <= apart.min(axis=1, keepdims=True) + _ONE_PLACE * steps_m[number]
            apart = np.where(as_near & _goes_on(states, onward, starts), apart, np.inf)
            closest = apart.argmin(axis=1)
            apart, states = (np.take_along_axis(table, closest[:, None], 1)[:, 0]
                             for table in (apart, states))
            better = apart < nearest[asking]
            nearest[asking[better]], best[asking[better]] = apart[better], states[better]
        kept = best >= 0
        found.append(np.stack([edges[kept], best[kept]], axis=1).astype(np.int64))
    return Seams(*found)


def _goes_on(states: np.ndarray, onward: int, starts: np.ndarray) -> np.ndarray:
    """Return from which states ``[K, C]`` the stretch goes on that way."""
    after = np.clip(states + onward, 0, len(starts) - 1)
    return np.asarray((after != states) & (starts[after] == starts[states]))


def _alike(poses: np.ndarray, edges: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return which states ``[K, C]`` have about the heading of edges ``[K]``."""
    agreement = np.einsum('ij,ikj->ik', poses[edges, 3:], poses[states, 3:])
    return np.abs(agreement) >= _HEADING
