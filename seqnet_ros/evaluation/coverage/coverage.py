"""Where a robot that is switched on is found, and where not: classes of places, and stretches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import NamedTuple

import numpy as np

from seqnet_ros.maps.place_map import PlaceMap

MOST_STARTS = 300


class Kind(Enum):
    """What happens to a robot that is switched on at a place."""

    COVERED = 'covered'
    AMBIGUOUS = 'ambiguous'
    BLIND = 'blind'


MEANINGS = {
    Kind.COVERED: 'found after a short way', Kind.AMBIGUOUS: 'other places look like these',
    Kind.BLIND: 'no place stands out'}


@dataclass(frozen=True)
class Start:
    """A robot that is switched on somewhere along a route.

    Attributes:
        first: number of the keyframe it starts at.
        end: one past the last keyframe that it may take to be found.
        last: keyframe of the next start, or the last of the way.
        length: distance to the next start, for which this one stands.
        begins: whether it begins an unbroken way.
    """

    first: int
    end: int
    last: int
    length: float
    begins: bool


class Run(NamedTuple):
    """What became of a start.

    Attributes:
        after: keyframes until the robot was found, from 1; None where it was not.
        rival: another start, from where the robot would be at a place that was accepted, or that
            held much of the belief in the end; None without.
    """

    after: int | None
    rival: int | None


@dataclass(frozen=True)
class Spot:
    """What can be expected of a robot that is switched on here.

    Attributes:
        places: places on the way to the next start, in order, or to the end.
        kind: what can be expected.
        after: distance until it is found, in the unit of the coverage; None where it is not.
        rival: the place that looks like this one; None without.
        length: distance that this start stands for, in the unit of the coverage.
        begins: whether it begins an unbroken way.
    """

    places: tuple[int, ...]
    kind: Kind
    after: float | None
    rival: int | None
    length: float
    begins: bool

    @property
    def place(self) -> int:
        """Number of the place on the map."""
        return self.places[0]


@dataclass(frozen=True)
class Coverage:
    """The spots of a route, in order.

    Attributes:
        place_map: the map.
        asked: what was looked for in it.
        within: distance after which a robot should be found, in ``unit``.
        spots: what was found.
        doubt: why that tells little; empty where it does not.
    """

    place_map: PlaceMap
    asked: str
    within: float
    spots: tuple[Spot, ...]
    doubt: str = ''

    @property
    def unit(self) -> str:
        """Unit of distances: meters, or frames where the places have no poses."""
        return 'm' if self.place_map.manifest.has_poses else 'frames'

    def length(self, kind: Kind | None = None) -> float:
        """Return the distance along spots of a kind, or of all."""
        return sum(spot.length for spot in self.spots if kind in (None, spot.kind))

    def share(self, kind: Kind) -> float:
        """Return the share of the route that is of a kind."""
        return self.length(kind) / max(self.length(), 1e-9)

    def stretches(self) -> list[tuple[Spot, ...]]:
        """Return successive spots of one kind on an unbroken way."""
        found: list[tuple[Spot, ...]] = []
        for _, way in groupby(self._with_way(), lambda item: (item[0], item[1].kind)):
            found.append(tuple(spot for _, spot in way))
        return found

    def worst(self, most: int) -> list[tuple[Spot, ...]]:
        """Return the longest stretches that are not covered, longest first."""
        lacking = [way for way in self.stretches() if way[0].kind is not Kind.COVERED]
        return sorted(lacking, key=lambda way: -sum(spot.length for spot in way))[:most]

    def _with_way(self) -> Iterator[tuple[int, Spot]]:
        way = 0
        for spot in self.spots:
            way += spot.begins
            yield way, spot


def places_along(stretch: Sequence[Spot]) -> np.ndarray:
    """Return the places along successive spots, in order, int ``[K]``."""
    places = np.concatenate([spot.places for spot in stretch])
    return places[np.append(True, places[1:] != places[:-1])]


def choose_starts(route: np.ndarray, starts: np.ndarray, within: float,
                  most: int = MOST_STARTS) -> list[Start]:
    """Return where robots are switched on, spread over a route.

    Where less than the distance is left to the end of a way, the last start before stands for it.

    Args:
        route: distance along the route at each keyframe, ``[N]``.
        starts: first keyframe of the unbroken way each is on, int ``[N]``.
        within: distance after which a robot should be found.
        most: about as many starts at most.
    """
    step = max(1, -(-len(route) // most))
    ends = np.append(np.flatnonzero(np.diff(starts)) + 1, len(starts)).tolist()
    chosen = []
    for first, end in zip([0, *ends[:-1]], ends, strict=True):
        way = route[first:end]
        whole = max(int((way + within <= way[-1]).sum()), 1)
        numbers = list(range(first, first + whole, step))
        for number, following in zip(numbers, [*numbers[1:], end - 1], strict=True):
            last = int(np.searchsorted(way, route[number] + within, side='right'))
            chosen.append(Start(number, first + last, following,
                                float(route[following] - route[number]), number == first))
    return chosen


def spots_of(starts: Sequence[Start], route: np.ndarray, places: np.ndarray,
             run: Callable[[Start], Run], progress: Callable[[float], None]) -> tuple[Spot, ...]:
    """Try all starts.

    Args:
        starts: as of `choose_starts`.
        route: distance along the route at each keyframe, ``[N]``.
        places: the place that each keyframe shows, or a negative number, int ``[N]``.
        run: tries a start.
        progress: called with the number of starts done.
    """
    spots = []
    for number, start in enumerate(starts):
        after, rival = run(start)
        kind, way = (Kind.BLIND if rival is None else Kind.AMBIGUOUS), None
        if after is not None:
            kind, way = Kind.COVERED, float(route[start.first + after - 1] - route[start.first])
        shown = places[start.first:start.last + 1]
        spots.append(Spot(
            tuple(shown[shown >= 0].tolist()), kind, way, rival, start.length, start.begins))
        progress(number + 1)
    return tuple(spots)


def start_before(place: int, after: int, starts: np.ndarray) -> int:
    """Return where a robot started that is at a place after so many keyframes, from 1.

    Args:
        place: where it is.
        after: keyframes so far, the first among them.
        starts: first place of the unbroken stretch each place is on, int ``[N]``.
    """
    return max(place - after + 1, int(starts[place]))


def route_of(positions: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the distance along a route at each keyframe, ``[N]``; breaks have no length.

    Args:
        positions: ``[N, 3]``.
        starts: first keyframe of the unbroken way each is on, int ``[N]``.
    """
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    return np.append(0.0, np.cumsum(np.where(starts[1:] == starts[:-1], steps, 0.0)))
