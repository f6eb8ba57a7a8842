"""What the place filter accepts on small maps, where few places say what is unusual.

``python -m benchmarks.small_maps DATA`` maps pieces of a drive, and the whole drive, and searches
later drives in each. ``DATA/nordland_64x32/summer`` is searched in winter, within three frames;
each of several rendered towns by day is searched by night, within 5 m, and by the night drives of
the other towns, whose houses have the same fronts. What is accepted elsewhere is wrong.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.maps import CACHE
from benchmarks.recall_sets import DrivePair, described_by, recorded_pairs, town_pairs
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.recordings import Recordings
from seqnet_ros.evaluation.replay.reference_map import map_recordings
from seqnet_ros.evaluation.replay.replay import engine_for
from seqnet_ros.maps.place_map import PlaceMap

_IMAGES = 50, 100, 200, 400
_WHOLE = 0
_STARTS = 0.1, 0.4, 0.7
"""Where the pieces begin, as shares of the drive."""
_NEAR_M = 5.0
_NEAR_FRAMES = 3
_TOWNS = 22, 23, 24  # settings were chosen on none of them
_BY_NIGHT = 'night'
_ANOTHER = 'town by day, another by night'


@dataclass
class Count:
    """Keyframes of the later drives.

    Attributes:
        maps: that were searched.
        places: of the maps together.
        shown: keyframes whose place is on the map.
        right: accepted, and near the place.
        wrong: accepted, and not.
        elsewhere: keyframes whose place is not on the map.
    """

    maps: int = 0
    places: int = 0
    shown: int = 0
    right: int = 0
    wrong: int = 0
    elsewhere: int = 0


def pieces(pair: DrivePair, images: int) -> Iterator[Recordings]:
    """Yield pieces of the drive to map, or the whole drive for `_WHOLE`."""
    if images == _WHOLE:
        yield Recordings(pair.maps)
        return
    count = len(Recordings(pair.maps))
    for start in _STARTS:
        first = int(start * count)
        yield Recordings(replace(pair.maps, frames=(first, min(first + images, count))))


def search(described: DescriptorCache, piece: Recordings, place_map: PlaceMap, queries: Recordings,
           count: Count, elsewhere: bool) -> None:
    """Search a whole drive in the map of a piece, and count what is accepted.

    Args:
        described: the model.
        piece: what was mapped.
        place_map: its map.
        queries: the later drive.
        count: counts.
        elsewhere: the later drive has nothing to do with the first.
    """
    model = described.model
    localizer, files = engine_for(model, place_map, model.engine)(), described.files(queries)
    near = _NEAR_M if place_map.manifest.has_poses else _NEAR_FRAMES
    for found in queries:
        result = localizer.push_lazily(
            described.reader(files, found), found.frame.stamp_ns, found.frame.pose)
        if result is None:
            continue
        if elsewhere:
            away = np.full(len(place_map), np.inf)
        elif place_map.manifest.has_poses:
            assert found.truth is not None
            away = np.linalg.norm(place_map.positions[:, :2] - found.truth[:2], axis=1)
        else:
            away = abs(piece.first + place_map.positions[:, 0] - found.number)
        shown = bool(away.min() <= near)
        count.shown += shown
        count.elsewhere += not shown
        if result.accepted:
            right = bool(away[result.candidates[0].place_id] <= near)
            count.right += right
            count.wrong += not right


def counts_of(described: DescriptorCache, mapped: Sequence[DrivePair],
              images: int) -> dict[str, Count]:
    """Map pieces of all drives, and search all later drives in each.

    Args:
        described: the model.
        mapped: pairs of drives that have nothing to do with each other.
        images: of a piece.

    Returns:
        counts of the later drives of the same pair, and of the others.
    """
    counts = {'own': Count(), 'others': Count()}
    for pair in mapped:
        for piece in pieces(pair, images):
            place_map = map_recordings(
                described, piece, lambda done: None, described.model.engine).place_map
            for other in mapped:
                count = counts['own' if other is pair else 'others']
                count.maps += 1
                count.places += len(place_map)
                search(described, piece, place_map, Recordings(other.queries), count,
                       elsewhere=other is not pair)
    return counts


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.small_maps', description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--models', nargs='+', default=['lite0-cells', 'hog'])
    parser.add_argument('--towns', nargs='*', type=int, default=_TOWNS)
    arguments = parser.parse_args()
    towns = [pair for seed in arguments.towns
             for pair in town_pairs(CACHE / 'town', _BY_NIGHT, seed)]
    railway = [pair for pair in recorded_pairs(arguments.data) if 'Nordland' in pair.name]
    table = Table('drives', 'model', 'images mapped', 'places', 'queries on the map', 'accepted',
                  'queries elsewhere', 'wrong', title='Small maps, later drives searched in each')
    for name in arguments.models:
        with described_by(name) as described:
            for pairs, sizes in ((railway, _IMAGES), (towns, (*_IMAGES, _WHOLE))):
                for images in sizes if pairs else ():
                    for whose, count in counts_of(described, pairs, images).items():
                        if not count.maps:
                            continue
                        title = _ANOTHER if whose == 'others' else pairs[0].name
                        table.add_row(
                            title, name, str(images or 'all'), f'{count.places / count.maps:.0f}',
                            f'{count.shown:,}', f'{count.right:,}', f'{count.elsewhere:,}',
                            f'{count.wrong:,}')
    Console(width=120).print(table)


if __name__ == '__main__':
    main()
