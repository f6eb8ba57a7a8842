"""What the place filter accepts on small maps, where few places say what is unusual.

``python -m benchmarks.small_maps DATA`` maps pieces of a drive and searches a whole later drive in
each. Pieces of the rendered town of `benchmarks.recall_sets` are searched by night, within 5 m;
pieces of ``DATA/nordland_64x32/summer`` in winter, within three frames. A third drive goes by night
through another town, whose houses have the same fronts. What is accepted elsewhere is wrong.
"""

import argparse
from collections.abc import Iterator
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

_IMAGES = 50, 100, 200, 400
_STARTS = 0.1, 0.4, 0.7
"""Where the pieces begin, as shares of the drive."""
_NEAR_M = 5.0
_NEAR_FRAMES = 3
_OTHER_TOWN = 12
_BY_NIGHT = 'night'
_ANOTHER = 'town by day, another by night'


@dataclass
class Count:
    """Keyframes of the later drive.

    Attributes:
        places: of the maps.
        shown: keyframes whose place is on the map.
        right: accepted, and near the place.
        wrong: accepted, and not.
        elsewhere: keyframes whose place is not on the map.
    """

    places: int = 0
    shown: int = 0
    right: int = 0
    wrong: int = 0
    elsewhere: int = 0


def pieces(pair: DrivePair, images: int) -> Iterator[Recordings]:
    """Yield pieces of the drive to map."""
    count = len(Recordings(pair.maps))
    for start in _STARTS:
        first = int(start * count)
        yield Recordings(replace(pair.maps, frames=(first, min(first + images, count))))


def search(described: DescriptorCache, piece: Recordings, queries: Recordings,
           count: Count, elsewhere: bool) -> None:
    """Search a whole drive in the map of a piece, and count what is accepted.

    Args:
        described: the model.
        piece: what to map.
        queries: the later drive.
        count: counts.
        elsewhere: the later drive has nothing to do with the first.
    """
    model = described.model
    place_map = map_recordings(described, piece, lambda done: None, model.engine).place_map
    count.places += len(place_map)
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
            away = ((place_map.positions[:, :2] - found.truth[:2]) ** 2).sum(axis=1) ** 0.5
        else:
            away = abs(piece.first + place_map.positions[:, 0] - found.number)
        shown = bool(away.min() <= near)
        count.shown += shown
        count.elsewhere += not shown
        if result.accepted:
            right = bool(away[result.candidates[0].place_id] <= near)
            count.right += right
            count.wrong += not right


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.small_maps', description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--models', nargs='+', default=['hog', 'lite0-cells'])
    arguments = parser.parse_args()
    pairs = [pair for pair in recorded_pairs(arguments.data) if 'Nordland' in pair.name]
    pairs += town_pairs(CACHE / 'town', _BY_NIGHT)
    another = town_pairs(CACHE / 'town', _BY_NIGHT, _OTHER_TOWN)
    pairs += [replace(pair, name=_ANOTHER, queries=other.queries)
              for pair, other in zip(pairs[-1:], another, strict=True)]
    table = Table('drives', 'model', 'images mapped', 'places', 'queries on the map', 'accepted',
                  'queries elsewhere', 'wrong',
                  title='Small maps, a later drive searched in each of three')
    for name in arguments.models:
        with described_by(name) as described:
            for pair in pairs:
                for images in _IMAGES:
                    count = Count()
                    for piece in pieces(pair, images):
                        search(described, piece, Recordings(pair.queries), count,
                               pair.name == _ANOTHER)
                    table.add_row(
                        pair.name, name, str(images), f'{count.places / len(_STARTS):.0f}',
                        f'{count.shown:,}', f'{count.right:,}', f'{count.elsewhere:,}',
                        f'{count.wrong:,}')
    Console(width=120).print(table)


if __name__ == '__main__':
    main()
