"""Views: stretches of places, and how often later drives matched them.

A street that was driven by day and by night has two views, each a stretch of its own; the place
filter takes places that are near in space and in heading for one place.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from pydantic import Field, model_validator

from seqnet_ros.config.settings import Settings


class View(Settings):
    """A stretch of successive places."""

    first: int = Field(ge=0, description='First place.')
    end: int = Field(ge=1, description='One past the last place.')
    matched: int = Field(0, ge=0, description='Drives that it matched better than other views.')
    passed: int = Field(
        0, ge=0, description='Drives in a row, the newest among them, that passed it and did not.')
    matched_ns: int = Field(0, ge=0, description='When it last matched; 0 for never.')

    @model_validator(mode='after')
    def _has_places(self) -> 'View':
        if self.end <= self.first:
            raise ValueError(f'a view goes from place {self.first} to {self.end}, expected one '
                             'place at least')
        return self

    def __len__(self) -> int:
        """Return the number of places."""
        return self.end - self.first


def check_views(views: Sequence[View], places: int) -> None:
    """Check that views follow one another from the first place on.

    Places at the end may be in none: a drive that was added since then has no views yet.

    Raises:
        ValueError: a view does not start where the one before ends.
    """
    firsts, ends = [view.first for view in views], [0, *(view.end for view in views)]
    if firsts != ends[:-1] or ends[-1] > places:
        raise ValueError('the views do not follow one another, expected all of the first '
                         f'{ends[-1]} of {places} places in one view each')


def views_of(known: Sequence[View], starts: np.ndarray, stretch: int) -> tuple[View, ...]:
    """Return the views of a map; where none are known its drives are cut into stretches.

    Args:
        known: views in the manifest; may end before the last place, where a drive was added.
        starts: first place of the unbroken stretch that each place is on, int ``[N]``.
        stretch: places of a new view.
    """
    done = known[-1].end if known else 0
    ends = np.append(np.flatnonzero(np.diff(starts)) + 1, len(starts)).tolist()
    cut = []
    for first, end in zip([0, *ends[:-1]], ends, strict=True):
        first = max(first, done)
        if first >= end:
            continue
        parts = max(1, round((end - first) / stretch))
        bounds = np.linspace(first, end, parts + 1).astype(int).tolist()
        cut += [View(first=low, end=high) for low, high in pairwise(bounds)]
    return (*known, *cut)


def select_views(views: Sequence[View], places: np.ndarray) -> tuple[View, ...]:
    """Return the views of some places of a map, numbered as they are then.

    Args:
        views: all views of the map.
        places: the places, ascending, int ``[K]``.
    """
    selected = []
    for view in views:
        first, end = np.searchsorted(places, [view.first, view.end]).tolist()
        if first < end:
            selected.append(view.model_copy(update={'first': first, 'end': end}))
    return tuple(selected)
