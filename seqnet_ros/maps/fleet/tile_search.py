"""Which tiles a drive may be in, by a search among the places of all."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from seqnet_ros.maps.fleet.server import FleetServer, Hits, where

_QUERIES = 8
_NEIGHBOURS = 64
_MOST_NAMED = 200
"""With more tiles than these, all are searched, and those that are not meant are left out."""


def order_tiles(server: FleetServer, sequences: np.ndarray, fingerprint: str,
                among: Sequence[str] = (), timeout_s: float | None = None) -> list[str]:
    """Return the names of the tiles that were found, best first.

    Args:
        server: holds the places.
        sequences: float32 ``[W, D']``, the sequence descriptors of the last keyframes.
        fingerprint: of the model that made them.
        among: names of the tiles that come into question; none for all.
        timeout_s: how long the server may take, s.

    Raises:
        FleetError: the server refuses or does not answer.
    """
    spread = np.unique(np.linspace(0, len(sequences) - 1, _QUERIES).round().astype(int))
    found = server.search(
        sequences[spread], _NEIGHBOURS,
        where(fingerprint=fingerprint, tiles=among if len(among) <= _MOST_NAMED else ()),
        timeout_s)
    return by_distance(found)


def by_distance(found: Sequence[Hits]) -> list[str]:
    """Return the names of the tiles in the hits of several queries, best first.

    A tile is as far from a query as its nearest place that was found; where none was found, as the
    farthest one of all. The mean of the queries decides.
    """
    total: dict[str, float] = defaultdict(float)
    for hits in found:
        if not len(hits.distances):
            continue
        farthest = float(hits.distances[-1])
        gain: dict[str, float] = {}
        for tile, distance in zip(hits.tiles, hits.distances.tolist(), strict=True):
            gain.setdefault(tile, farthest - distance)
        for tile, value in gain.items():
            total[tile] += value
    return sorted(total, key=lambda tile: (-total[tile], tile))
