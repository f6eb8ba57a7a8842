"""How well the self-search of a map foretells where robots of a later drive are found.

``python -m benchmarks.coverage DATA`` maps the first drive of each pair of `benchmarks.recall_sets`
and classifies its places as `seqnet_ros map coverage` does, within 20 m or 20 frames. Then robots
are switched on along the second drive, which is in other light, another season or another lane. A
row says how many of those at places of each class are found, at the right place, within 30; and how
much more alike successive places of the map are than places far apart.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.maps import CACHE
from benchmarks.recall_sets import (
    DrivePair,
    described_by,
    header_lines,
    recorded_pairs,
    town_pairs,
)
from seqnet_ros.evaluation.coverage.coverage import Coverage, Kind
from seqnet_ros.evaluation.coverage.later_drive import NOWHERE, places_shown, search_drive
from seqnet_ros.evaluation.coverage.self_search import search_itself
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.recordings import Recordings
from seqnet_ros.evaluation.replay.reference_map import ReferenceMap, map_recordings
from seqnet_ros.maps.mapper import Mapper

_FORETOLD_WITHIN, _WITHIN = 20.0, 30.0


def later_keyframes(described: DescriptorCache, pair: DrivePair,
                    mapped: ReferenceMap) -> tuple[Mapper, np.ndarray]:
    """Return the keyframes of the second drive and the place that each shows."""
    recordings = Recordings(pair.queries)
    mapper, files = Mapper(described.model), described.files(recordings)
    shown = []
    table = {} if pair.pairs is None else {
        int(query) - 1: int(place) - 1 for query, place in np.loadtxt(
            pair.pairs, delimiter=',', skiprows=header_lines(pair.pairs))[:, :2]}
    for found in recordings:
        if mapper.push_lazily(
                described.reader(files, found), found.frame.stamp_ns, found.frame.pose):
            number = found.number if pair.pairs is None else table.get(found.number, NOWHERE)
            shown.append(found.truth if found.truth is not None else number)
    if mapped.place_map.manifest.has_poses:
        return mapper, places_shown(mapped.place_map, np.array(shown))
    place_of = dict(zip(mapped.place_frames.tolist(), range(len(mapped.place_map)), strict=True))
    return mapper, np.array([place_of.get(number, NOWHERE) for number in shown])


def kind_of_place(coverage: Coverage) -> list[Kind]:
    """Return the class of each place of a map."""
    kinds = [Kind.BLIND] * len(coverage.place_map)
    for spot in coverage.spots:
        for place in spot.places:
            kinds[place] = spot.kind
    return kinds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.coverage', description=__doc__)
    parser.add_argument('data', type=Path)
    parser.add_argument('--models', nargs='+', default=['hog', 'lite0-cells'])
    parser.add_argument('--only', default='', metavar='WORD', help='drives with this in their name')
    arguments = parser.parse_args()
    pairs = [pair for pair in recorded_pairs(arguments.data) if arguments.only in pair.name]
    pairs += town_pairs(CACHE / 'town', arguments.only)
    table = Table('drives', 'model', 'contrast', *(f'{kind.value}, share' for kind in Kind),
                  *(f'found at {kind.value}' for kind in Kind))
    for name in arguments.models:
        with described_by(name) as described:
            for pair in pairs:
                table.add_row(pair.name, name, *measure(described, pair))
    Console(width=140).print(table)


def measure(described: DescriptorCache, pair: DrivePair) -> list[str]:
    """Return the cells of the table."""
    mapped = map_recordings(described, Recordings(pair.maps), lambda done: None)
    foretold = search_itself(mapped.place_map, _FORETOLD_WITHIN)
    drive, places = later_keyframes(described, pair, mapped)
    real = search_drive(mapped.place_map, drive, places, pair.name, _WITHIN)
    kinds = kind_of_place(foretold)
    cells = [f'{mapped.place_map.scene_change.contrast:.1f}',
             *(f'{foretold.share(kind):.0%}' for kind in Kind)]
    for kind in Kind:
        there = [spot for spot in real.spots if kinds[spot.place] is kind]
        found = sum(spot.kind is Kind.COVERED for spot in there)
        cells.append(f'{found} of {len(there)}' + (
            f' ({found / len(there):.0%})' if there else ''))
    return cells


if __name__ == '__main__':
    main()
