"""The places that an evaluation can find, and where they truly are."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from seqnet_ros.localization.result import Candidate
from seqnet_ros.maps.place_map import MapManifest, PlaceMap, array_names

_MOST_COMPARED = 4096


class TilePlace(NamedTuple):
    """A place of one of several maps: the number of the map, and that of the place in it."""

    tile: int
    place: int


class ReferencePlaces(ABC):
    """The places of a map, or of several maps one after the other, numbered from 0 over all.

    Attributes:
        place_frames: int64 ``[N]``, numbers of frames in their row of recordings; -1 where not
            known.
        truth: float64 ``[N, 7]``, true poses of the places, NaN where not known.
        left_out: images without a pose, which have no place.
        damaged: why images could not be read.
        names: of the tiles, where the maps are those of a collection; else empty.
    """

    place_frames: np.ndarray
    truth: np.ndarray
    left_out: int = 0
    damaged: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    @abstractmethod
    def manifests(self) -> tuple[MapManifest, ...]:
        """The manifests of the maps, in their order."""

    @property
    @abstractmethod
    def poses(self) -> np.ndarray:
        """Poses of the places in their maps, float64 ``[N, 7]``."""

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Size of the arrays of the maps."""

    @abstractmethod
    def compared_frames(self) -> np.ndarray:
        """Return frames of places as they are compared, float32 ``[R, D]``; see `spread_rows`."""

    @cached_property
    def starts(self) -> np.ndarray:
        """First place of each map, and the number of all places, int64 ``[M + 1]``."""
        return np.cumsum([0, *(manifest.places for manifest in self.manifests)])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """The number of each map, by its id."""
        return {manifest.map_id: number for number, manifest in enumerate(self.manifests)}

    def __len__(self) -> int:
        """Return the number of places."""
        return int(self.starts[-1])

    def number_of(self, candidate: Candidate) -> int:
        """Return the number of a place that was found."""
        return int(self.starts[self._numbers[candidate.map_id]]) + candidate.place_id

    def tile_place(self, number: int) -> TilePlace:
        """Return which map a place is in, and its number there."""
        tile = int(np.searchsorted(self.starts, number, side='right')) - 1
        return TilePlace(tile, number - int(self.starts[tile]))

    def spread(self, belief: np.ndarray, map_ids: Iterable[str]) -> np.ndarray:
        """Return the belief in the places of some maps as that in all places, float64 ``[N]``.

        Args:
            belief: of the places of these maps, one after the other.
            map_ids: their ids; places of other maps get 0.
        """
        if len(self.manifests) == 1:
            return belief
        spread = np.zeros(len(self))
        begin = 0
        for number in map(self._numbers.__getitem__, map_ids):
            start, end = self.starts[number:number + 2]
            spread[start:end] = belief[begin:begin + end - start]
            begin += end - start
        return spread


def array_bytes(place_map: PlaceMap) -> int:
    """Return the size of the arrays of a map."""
    return sum(getattr(place_map, name).nbytes
               for name in array_names(place_map.manifest.model))


def spread_rows(count: int) -> np.ndarray:
    """Return which of ``count`` frames a picture of all compares, evenly spread, int64 ``[R]``."""
    if count <= _MOST_COMPARED:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, _MOST_COMPARED).astype(int))
