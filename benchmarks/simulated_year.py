"""A map that is refreshed over a simulated year, beside one that is not.

``python -m benchmarks.simulated_year`` maps a rendered town on a summer day, and drives through it
20 times more: through autumn, winter and the next summer, by day, at dusk, by night, in rain and
under clouds. Every drive has odometry of its own that drifts by 2 %. Before `map refresh` takes it
in, robots are switched on along it and looked for in both maps: a row says how many are found, at
the right place, within 30 m.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.sessions import odometry_of
from seqnet_ros.config.upkeep import UpkeepConfig
from seqnet_ros.core.errors import SessionAlignmentError
from seqnet_ros.evaluation.coverage.coverage import Kind
from seqnet_ros.evaluation.coverage.later_drive import places_shown, search_drive
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, load_model
from seqnet_ros.pipelines.refresh import refresh_map
from seqnet_town import CONDITIONS, Camera, Drive, Town

Season = Literal['summer', 'autumn', 'winter']
_BLOCKS = (2, 1)
_CAMERA = Camera(320, 240)
_RATE = 5.0
_SEASONS: tuple[Season, ...] = (
    *('summer',) * 3, *('autumn',) * 5, *('winter',) * 7, *('summer',) * 5)
_LIGHTS = 'day', 'dusk', 'night', 'rain', 'overcast'
_WITHIN_M, _STARTS = 30.0, 40


def drives(town: Town) -> Iterator[tuple[str, Drive]]:
    """Yield the drives of a year; each in another lane, at another speed."""
    for number, season in enumerate(_SEASONS):
        light = _LIGHTS[number % len(_LIGHTS)]
        # The presets of autumn and winter are their days.
        looks = CONDITIONS[season if light == 'day' and season != 'summer' else light]
        yield f'{season}, {light}', Drive(
            town, replace(looks, season=season), _CAMERA, rate=_RATE, seed=number + 1,
            lateral_offset=0.3 * (number % 3), speed=6.0 + 0.4 * (number % 4))


def keyframes(model: PlaceModel, drive: Drive, odometry: np.ndarray) -> tuple[Mapper, np.ndarray]:
    """Return the keyframes of a drive, and their true poses ``[N, 7]``."""
    mapper, truth = Mapper(model), []
    for frame, pose in zip(drive, odometry, strict=True):
        if mapper.push_lazily(frame.read, frame.stamp_ns, pose):
            truth.append(frame.pose)
    return mapper, np.array(truth)


def found(place_map: PlaceMap, drive: Mapper, truth: np.ndarray, name: str) -> float:
    """Return the share of the robots switched on along a drive that are found."""
    places = places_shown(place_map, truth)
    return search_drive(
        place_map, drive, places, name, _WITHIN_M, _STARTS).share(Kind.COVERED)


def megabytes(place_map: PlaceMap) -> float:
    """Return the size of the arrays of a map."""
    return sum(array.nbytes for array in place_map.arrays().values()) / 1e6


def main() -> None:
    """Drive and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.simulated_year',
                                     description=__doc__)
    parser.add_argument('--model', default='hog')
    parser.add_argument('--town', type=int, default=4)
    parser.add_argument('--views', type=int, default=UpkeepConfig().most_views)
    arguments = parser.parse_args()
    model, town = load_model(arguments.model, 'cpu'), Town(arguments.town, _BLOCKS)
    config = UpkeepConfig(most_views=arguments.views)
    first = Drive(town, CONDITIONS['day'], _CAMERA, rate=_RATE)
    frozen = refreshed = keyframes(model, first, first.poses)[0].finish('first', 'exact')
    table = Table('drive', 'found, first map', 'found, refreshed', 'places', 'MB', 'added, m',
                  'retired, views', title=f'{arguments.model}, town {arguments.town}')
    shares = []
    for number, (name, drive) in enumerate(drives(town), 1):
        mapper, truth = keyframes(model, drive, odometry_of(drive, number))
        shares.append([found(place_map, mapper, truth, name) for place_map in (frozen, refreshed)])
        try:
            result = refresh_map(refreshed, mapper, name, 'odometry', config)
        except SessionAlignmentError as error:
            changed = [f'refused: {error}', '']
        else:
            refreshed = result.place_map
            step = refreshed.step_m
            changed = [f'{sum(map(len, result.added)) * step:.0f}', str(len(result.retired))]
        row = [f'{number} {name}', *(f'{share:.0%}' for share in shares[-1]),
               str(len(refreshed)), f'{megabytes(refreshed):.1f}', *changed]
        print(' | '.join(row), flush=True)
        table.add_row(*row)
    table.add_section()
    table.add_row('mean', *(f'{share:.1%}' for share in np.mean(shares, axis=0)))
    Console(width=140).print(table)


if __name__ == '__main__':
    main()
