"""A part of a large map, as much of it as the belief needs.

A map of a million places is not compared with every frame. The filter then works on places that
may matter: those that hold the belief, those it may move to, the nearest by the coarse index, and a
sample spread over the map that tells how near wrong places are. All others have no mass; the robot
being there counts as off the map until the index finds the place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from seqnet_ros.place_filter.state_space import StateSpace

BLOCK = 16
"""Places are taken in runs of this many, so that the belief can move in them."""
_SAMPLE, _LEAST_SAMPLE = 1024, 64
_LEAST_MASS = 1e-6
_MOST_BLOCKS = 64


@dataclass(frozen=True)
class ActiveStates:
    """Some places of a space, in their order.

    Attributes:
        places: their numbers in the whole space, int64 ``[K]``, ascending.
        space: these places as a space of their own.
        sample: which of them are the sample, int64 ``[J]``.
    """

    places: np.ndarray
    space: StateSpace
    sample: np.ndarray


def spread_sample(count: int, most: int = _SAMPLE) -> np.ndarray:
    """Return at most ``most`` places spread evenly over ``count``, int64 ``[J]``."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def joint_sample(bounds: Sequence[int]) -> np.ndarray:
    """Return places spread evenly over several maps, one after the other, int64 ``[J]``.

    The places of a map are some of its own `spread_sample`, whatever the others are: who keeps
    that has all that any sample needs of the map.

    Args:
        bounds: first place of each map and one past the last of all, ``[M + 1]``.
    """
    parts = []
    for first, end in pairwise(bounds):
        own = spread_sample(end - first)
        share = max(_SAMPLE * (end - first) // max(bounds[-1], 1), _LEAST_SAMPLE)
        parts.append(own[spread_sample(len(own), share)] + first)
    return np.concatenate(parts)


def choose_states(whole: StateSpace, sample: np.ndarray, marginal: np.ndarray,
                  places: np.ndarray, found: np.ndarray,
                  before: ActiveStates | None = None) -> ActiveStates:
    """Return the places that matter for the next keyframe.

    Args:
        whole: all places.
        sample: places that are always among them, ``[J]``, see `joint_sample`.
        marginal: belief over the places that mattered so far, ``[K]``.
        places: numbers of these places, ``[K]``.
        found: places that the index found, ``[F]``, nearest first.
        before: the states chosen so far, which are returned where nothing changes.
    """
    held = _held_blocks(marginal, places)
    beyond = _beyond_seams(whole, np.append(held, held + 1))
    blocks = np.unique(np.concatenate([
        held, held + 1, beyond, beyond + 1, found // BLOCK, (found + BLOCK) // BLOCK]))
    runs = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
    chosen = np.unique(np.concatenate([runs[runs < len(whole)], sample]))
    if before is not None and np.array_equal(chosen, before.places):
        return before
    return ActiveStates(chosen, _part(whole, chosen), np.searchsorted(chosen, sample))


def _held_blocks(marginal: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the blocks that hold the belief, int64."""
    blocks, row = np.unique(places // BLOCK, return_inverse=True)
    mass = np.bincount(row, weights=marginal, minlength=len(blocks))
    kept = np.argsort(-mass, kind='stable')[:_MOST_BLOCKS]
    return blocks[kept[mass[kept] > _LEAST_MASS]]


def _beyond_seams(whole: StateSpace, blocks: np.ndarray) -> np.ndarray:
    """Return the blocks in which the way goes on at ends of stretches in some, int64."""
    pairs = whole.seams.pairs // BLOCK
    return np.asarray(pairs[np.isin(pairs[:, 0], blocks), 1])


def origins(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return where places are among others, both ascending; -1 where they are not, ``[K]``."""
    if not len(before):
        return np.full(len(after), -1)
    position = np.minimum(np.searchsorted(before, after), len(before) - 1)
    return np.where(before[position] == after, position, -1)


def _part(whole: StateSpace, places: np.ndarray) -> StateSpace:
    """Return some places as a space; a gap between them ends a stretch."""
    first = np.ones(len(places), dtype=bool)
    first[1:] = (np.diff(places) != 1) | (whole.starts[places[1:]] != whole.starts[places[:-1]])
    starts = np.maximum.accumulate(np.where(first, np.arange(len(places)), 0))
    bounds = tuple(np.searchsorted(places, whole.bounds).tolist())
    return StateSpace(bounds, starts, whole.poses[places], whole.mean_step_m, whole.posed,
                      None if whole.turns is None else whole.turns[places], whole.frames,
                      whole.seams.among(places), whole=whole.map_places)
