"""Memory that building and opening a map takes: ``python -m benchmarks.map_memory [PLACES ...]``.

Random vectors as long as MegaLoc's are mapped, saved, opened and searched, each number of places in
a process of its own. Memory is what belongs to the process alone; pages of files, which the system
takes back when it needs them, do not count.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.process_memory import MemoryWatch
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import PlaceModel, build_model

DIM = 8448
_PLACES = 2500, 5000, 10_000
_PERIOD_S = 0.005


class Peaks(NamedTuple):
    """Most memory of the process, bytes, beyond what it had at first.

    Attributes:
        build: while a map is built and saved.
        open: while it is opened and searched.
    """

    build: int
    open: int


def main() -> None:
    """Print a row for each number of places, and what a place adds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('places', type=int, nargs='*', default=list(_PLACES))
    parser.add_argument('--alone', action='store_true', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        print(*measure(arguments.places[0]))
        return
    print('| places | descriptors, MB | building, MB | opening, MB |\n| --- | --- | --- | --- |')
    found = {}
    for places in arguments.places:
        found[places] = peaks = measure_apart(places)
        print(f'| {places:,} | {4 * DIM * places / 1e6:.0f} | {peaks.build / 1e6:.0f} | '
              f'{peaks.open / 1e6:.0f} |', flush=True)
    first, last = min(found), max(found)
    if first < last:
        slopes = [(late - early) / (last - first) / 1e3
                  for early, late in zip(found[first], found[last], strict=True)]
        print(f'\nA place of {4 * DIM / 1e3:.1f} kB adds {slopes[0]:.1f} kB while a map is built, '
              f'{slopes[1]:.1f} kB while it is opened.')


def measure_apart(places: int) -> Peaks:
    """Measure in a new process."""
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.map_memory', '--alone', str(places)],
        cwd=Path(__file__).resolve().parent.parent, capture_output=True, text=True, check=True)
    return Peaks(*map(int, done.stdout.split()))


def measure(places: int) -> Peaks:
    """Map random vectors, save the map, open it and search it."""
    model = build_model(parse_preset({
        'name': 'long', 'frame': {'kind': 'precomputed', 'out_dim': DIM},
        'sequence': {'length': 5}}), 'cpu')
    with tempfile.TemporaryDirectory() as folder:
        _drive(model, 50, Path(folder) / 'small')  # imports and buffers of libraries
        return _drive(model, places, Path(folder) / 'map')


def _drive(model: PlaceModel, places: int, path: Path) -> Peaks:
    with MemoryWatch(_PERIOD_S) as build:
        mapper = Mapper(model)
        for number in range(places):
            mapper.push(_vector(number), number * 100_000_000)
        save_map(mapper.finish(), path)
        del mapper
    with MemoryWatch(_PERIOD_S) as opened:
        localizer = Localizer(model, open_map(path, model))
        for number in range(20):
            localizer.push(_vector(number), number * 100_000_000)
    return Peaks(build.grown.anonymous, opened.grown.anonymous)


def _vector(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(DIM, np.float32)


if __name__ == '__main__':
    main()
