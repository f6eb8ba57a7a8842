"""Drives through collections of recorded and rendered maps: are they found in the right tile?

``python -m benchmarks.collection_sets DATA`` maps ``DATA/nordland_64x32/summer`` in six tiles and
``DATA/gardens_point/day_left`` in one, and finds six parts of the winter and ``day_right`` among
them. Two rendered towns (`benchmarks.recall_sets`) are mapped by day in four tiles each; the drives
by night and at dusk through one of them cross its tiles, which have one frame, or one each.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.maps import CACHE
from benchmarks.recall_sets import described_by, recorded_pairs, town_pairs
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.recordings import RecordingOptions, Recordings
from seqnet_ros.evaluation.replay.reference_map import map_recordings
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.collection.creation import create_collection
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map

_PARTS = {'Nordland': 6, 'Gardens': 1, 'town': 4}
_TOWNS = 11, 12
_NEAR_M = 5.0
_NEAR_FRAMES = 2


@dataclass
class Found:
    """Results of drives.

    Attributes:
        results: keyframes.
        right: accepted, in the right tile and near the place.
        far: accepted, in the right tile, elsewhere.
        other_tile: accepted in another tile.
        first: keyframes to the first right match of each drive.
    """

    results: int = 0
    right: int = 0
    far: int = 0
    other_tile: int = 0
    first: list[int] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Return them for a table."""
        first = f'{np.median(self.first):.0f}' if self.first else '-'
        return f'{self.right:,}', f'{self.far:,}', f'{self.other_tile:,}', first


@dataclass(frozen=True)
class _Tile:
    name: str
    mapped: Recordings


def _parts(options: RecordingOptions, count: int) -> Iterator[RecordingOptions]:
    images = len(Recordings(options))
    bounds = [images * part // count for part in range(count + 1)]
    for first, end in pairwise(bounds):
        yield replace(options, frames=(first, end))


def _write(described: DescriptorCache, mapped: Sequence[tuple[str, RecordingOptions]],
           folder: Path, shared: bool = False) -> list[_Tile]:
    """Make a collection of drives, each of as many tiles as its name says.

    Args:
        described: the model.
        mapped: names and drives.
        folder: where to write.
        shared: the tiles of a drive share their coordinates.
    """
    tiles, frames = [], {}
    for name, options in mapped:
        parts = next(count for word, count in _PARTS.items() if word in name)
        for number, part in enumerate(_parts(options, parts)):
            tile = _Tile(f'{name}-{number}', Recordings(part))
            made = map_recordings(described, tile.mapped, lambda done: None,
                                  described.model.engine)
            save_map(made.place_map, folder / tile.name)
            tiles.append(tile)
            if shared:
                frames[tile.name] = name
    create_collection(folder, [folder / tile.name for tile in tiles], areas={}, frames=frames)
    return tiles


def _follow(described: DescriptorCache, localizer: Localizer, names: dict[str, str],
            tiles: dict[str, _Tile], queries: Recordings, first: str, found: Found) -> None:
    """Find a drive, and count.

    Args:
        described: the model.
        localizer: the engine.
        names: names of tiles by the ids of their maps.
        tiles: by their names.
        queries: the drive.
        first: what the names of right tiles begin with.
        found: counts.
    """
    files, keyframes, met = described.files(queries), 0, False
    for frame in queries:
        result = localizer.push_lazily(
            described.reader(files, frame), frame.frame.stamp_ns, frame.frame.pose)
        if result is None:
            continue
        keyframes += 1
        found.results += 1
        if not result.accepted or result.best is None:
            continue
        name = names[result.best.map_id]
        if not name.startswith(first):
            found.other_tile += 1
            continue
        if frame.truth is not None:
            near = float(np.linalg.norm(result.best.pose[:2] - frame.truth[:2])) <= _NEAR_M
        else:
            place = tiles[name].mapped.first + result.best.pose[0]
            near = abs(place - frame.number) <= _NEAR_FRAMES
        found.right += near
        found.far += not near
        if near and not met:
            met = True
            found.first.append(keyframes)


def _search(described: DescriptorCache, folder: Path, tiles: Sequence[_Tile],
            drives: Sequence[tuple[str, RecordingOptions]], alone: bool) -> tuple[Found, Found]:
    """Find drives in a collection, and where asked each in the one map that shows it."""
    known = {tile.name: tile for tile in tiles}
    together, apart = Found(), Found()
    for first, options in drives:
        queries = Recordings(options)
        localizer = CollectionLocalizer(described.model, MapCollection(folder))
        names = {tile.map_id: tile.name for tile in localizer.collection.tiles}
        _follow(described, localizer, names, known, queries, first, together)
        localizer.close()
        if alone:
            place_map = open_map(folder / first, described.model)
            _follow(described, Localizer(described.model, place_map),
                    {place_map.manifest.map_id: first}, known, queries, first, apart)
    return together, apart


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.collection_sets', description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--models', nargs='+', default=['hog', 'lite0-cells'])
    arguments = parser.parse_args()
    recorded = {pair.name.split(',')[0]: pair for pair in recorded_pairs(arguments.data)
                if pair.name.split(',')[0] in _PARTS}
    towns = {seed: town_pairs(CACHE / 'town', seed=seed) for seed in _TOWNS}
    table = Table('drives', 'model', 'results', 'right', 'far', 'other tile', 'first fix',
                  'right alone', 'far', 'first fix',
                  title='Drives found in collections, and each in its own map alone')
    for name in arguments.models:
        with described_by(name) as described, tempfile.TemporaryDirectory() as work:
            folder = Path(work) / 'recorded'
            folder.mkdir()
            tiles = _write(described, [(key, pair.maps) for key, pair in recorded.items()], folder)
            for key, pair in recorded.items():
                drives = [(f'{key}-{number}', part)
                          for number, part in enumerate(_parts(pair.queries, _PARTS[key]))]
                together, apart = _search(described, folder, tiles, drives, True)
                right, far, _, first = apart.cells()
                table.add_row(pair.name, name, f'{together.results:,}', *together.cells(), right,
                              far, first)
            for shared, frame in ((True, 'one frame'), (False, 'a frame each')):
                folder = Path(work) / frame
                folder.mkdir()
                tiles = _write(described, [(f'town{seed}', pairs[0].maps)
                                           for seed, pairs in towns.items()], folder, shared)
                for pair in towns[_TOWNS[0]]:
                    together, _ = _search(
                        described, folder, tiles, [(f'town{_TOWNS[0]}', pair.queries)], False)
                    table.add_row(f'{pair.name}, {frame}', name, f'{together.results:,}',
                                  *together.cells())
    Console(width=120).print(table)


if __name__ == '__main__':
    main()
