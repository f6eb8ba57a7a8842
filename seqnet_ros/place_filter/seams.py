"""Seams: where the way goes on at the end of a stretch, on another stretch of the same street."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from seqnet_ros.core.poses import same_heading

_REACH_M = 4.0
"""Two drives along a street are no further apart."""
_REACH_STEPS = 1.5
"""How far the way may go on ahead, in usual distances between successive places."""
_CONSIDERED = 32
_NO_PAIRS = np.zeros((0, 2), np.int64)


@dataclass(frozen=True)
class Seams:
    """Pairs of states: one at the end of its stretch, and one step further another stretch's.

    Attributes:
        ahead: the last state of a stretch, and where the next step leads, int64 ``[K, 2]``.
        behind: the first state of a stretch, and where a step back leads, int64 ``[K, 2]``.
    """

    ahead: np.ndarray = field(default_factory=lambda: _NO_PAIRS)
    behind: np.ndarray = field(default_factory=lambda: _NO_PAIRS)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.ahead) + len(self.behind)

    @property
    def pairs(self) -> np.ndarray:
        """All pairs, int64 ``[K, 2]``."""
        return np.concatenate([self.ahead, self.behind])

    def crossing(self, steps: int,
                 starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return from which states so many steps lead over a seam.

        Args:
            steps: along the map; negative ones lead back.
            starts: first state of the unbroken stretch each state is on, int ``[N]``.

        Returns:
            The states, where the steps lead, both int64 ``[K]``, and their share, ``[K]``: where
            the way goes on at several stretches, each is as probable.
        """
        pairs, way = (self.ahead, 1) if steps > 0 else (self.behind, -1)
        edges, others = pairs[:, :1], pairs[:, 1:]
        short = np.arange(abs(steps))  # of the edge
        sources, targets = edges - way * short, others + way * (abs(steps) - 1 - short)
        inside = (sources >= 0) & (sources < len(starts))
        inside &= (targets >= 0) & (targets < len(starts))
        for states, ends in ((sources, edges), (targets, others)):
            inside &= starts[np.clip(states, 0, len(starts) - 1)] == starts[ends]
        shares = np.broadcast_to(1 / np.bincount(edges[:, 0])[edges], inside.shape)
        return sources[inside], targets[inside], shares[inside]

    def among(self, states: np.ndarray) -> 'Seams':
        """Return the seams of some states, numbered among them.

        Args:
            states: int64 ``[K]``, ascending.
        """
        if not len(self) or not len(states):
            return Seams()
        return Seams(*(np.searchsorted(states, pairs[np.isin(pairs, states).all(axis=1)])
                       for pairs in (self.ahead, self.behind)))


def find_seams(bounds: Sequence[int], starts: np.ndarray, poses: np.ndarray,
               trees: Sequence[cKDTree | None], leads_to: Sequence[Sequence[int]],
               steps_m: Sequence[float]) -> Seams:
    """Find where the way goes on at the ends of stretches.

    Args:
        bounds: first state of each map and one past the last of all, ``[M + 1]``.
        starts: first state of the unbroken stretch each state is on, int ``[N]``.
        poses: float64 ``[N, 7]``, meters.
        trees: KD-trees over the positions of each map; None for maps that no other leads to.
        leads_to: for each map the numbers of the maps in which its stretches may continue.
        steps_m: usual distance between successive places of each map, meters.
    """
    firsts = np.flatnonzero(starts == np.arange(len(starts)))
    lasts = np.append(firsts[1:], len(starts)) - 1
    return Seams(*(
        _go_on(way, edges, bounds, starts, poses, trees, leads_to, steps_m)
        for way, edges in ((1, lasts), (-1, firsts))))


def _go_on(way: int, edges: np.ndarray, bounds: Sequence[int], starts: np.ndarray,
           poses: np.ndarray, trees: Sequence[cKDTree | None], leads_to: Sequence[Sequence[int]],
           steps_m: Sequence[float]) -> np.ndarray:
    """Return pairs of edges and where one more step leads, int64 ``[K, 2]``."""
    onward = _directions(way, edges, starts, poses)
    of_map = np.searchsorted(bounds, edges, side='right') - 1
    found = [_NO_PAIRS]
    for number, tree in enumerate(trees):
        asking = np.flatnonzero(np.isin(of_map, [
            other for other, numbers in enumerate(leads_to) if number in numbers]))
        if tree is None or not len(asking):
            continue
        step_m, asked = steps_m[number], edges[asking]
        apart, rows = tree.query(poses[asked, :3], k=_CONSIDERED, distance_upper_bound=float(
            np.hypot(_REACH_M, _REACH_STEPS * step_m)))
        edge, rank = np.nonzero(np.isfinite(apart))
        states = rows[edge, rank] + bounds[number]
        ahead_m = np.einsum('ij,ij->i', poses[states, :3] - poses[asked[edge], :3],
                            onward[asking[edge]])
        alike = same_heading(poses[states, 3:], poses[asked[edge], 3:])
        kept = (alike & (starts[states] != starts[asked[edge]]) & (ahead_m >= step_m / 2)
                & (ahead_m <= _REACH_STEPS * step_m))
        edge, states, off_m = edge[kept], states[kept], np.abs(ahead_m[kept] - step_m)
        order = np.lexsort((off_m, starts[states], edge))
        _, first = np.unique(np.stack([edge, starts[states]])[:, order], axis=1,
                             return_index=True)  # one for each stretch
        found.append(np.stack([asked[edge[order[first]]], states[order[first]]], axis=1))
    return np.concatenate(found).astype(np.int64)


def _directions(way: int, edges: np.ndarray, starts: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Return where the way leads at edges, unit vectors ``[E, 3]``; 0 for single places."""
    inner = np.clip(edges - way, 0, len(starts) - 1)
    moved = np.where((starts[inner] == starts[edges])[:, None],
                     poses[edges, :3] - poses[inner, :3], 0.0)
    return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)
