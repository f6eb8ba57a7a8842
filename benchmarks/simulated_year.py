"""A map that is refreshed over a simulated year, beside one that is not.

``python -m benchmarks.simulated_year`` maps a rendered town on a summer day, and drives through it
20 times more: through autumn, winter and the next summer, by day, at dusk, by night, in rain and
under clouds. Every drive has odometry of its own that drifts by 2 %. Before `map refresh` takes it
in, it is localized with the first map and with the refreshed one:

- *found* is the share of robots, switched on along it, that are at the right place when a place is
  first accepted, within 30 m;
- *right* and *wrong* are the shares of its keyframes with an accepted place within 5 m of the true
  position, and farther away, where one robot drives all the way.

The last columns are the size of the refreshed map, what changed, and the median error of the
positions of its places.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.sessions import odometry_of
from seqnet_ros.config.upkeep import UpkeepConfig
from seqnet_ros.core.errors import SessionAlignmentError
from seqnet_ros.evaluation.coverage.coverage import Kind
from seqnet_ros.evaluation.coverage.later_drive import places_shown, search_drive
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, load_model
from seqnet_ros.models.precomputed_model import with_precomputed
from seqnet_ros.pipelines.refresh import refresh_map
from seqnet_town import CONDITIONS, Camera, Drive, Town

Season = Literal['summer', 'autumn', 'winter']
_BLOCKS = (2, 1)
_CAMERA = Camera(320, 240)
_RATE = 5.0
_SEASONS: tuple[Season, ...] = (
    *('summer',) * 3, *('autumn',) * 5, *('winter',) * 7, *('summer',) * 5)
_LIGHTS = 'day', 'dusk', 'night', 'rain', 'overcast'
_WITHIN_M, _STARTS, _RIGHT_M = 30.0, 40, 5.0
_DAY_NS = 18 * 86_400 * 10**9
"""Twenty drives are a year."""


def drives(town: Town) -> Iterator[tuple[str, Drive]]:
    """Yield the drives of a year; each in another lane, at another speed."""
    for number, season in enumerate(_SEASONS):
        light = _LIGHTS[number % len(_LIGHTS)]
        # The presets of autumn and winter are their days.
        looks = CONDITIONS[season if light == 'day' and season != 'summer' else light]
        yield f'{season}, {light}', Drive(
            town, replace(looks, season=season), _CAMERA, rate=_RATE, seed=number + 1,
            lateral_offset=0.3 * (number % 3), speed=6.0 + 0.4 * (number % 4))


def keyframes(model: PlaceModel, drive: Drive, odometry: np.ndarray,
              day: int) -> tuple[Mapper, np.ndarray]:
    """Return the keyframes of a drive on some day, and their true poses ``[N, 7]``."""
    mapper, truth = Mapper(model), []
    for frame, pose in zip(drive, odometry, strict=True):
        if mapper.push_lazily(frame.read, frame.stamp_ns + day * _DAY_NS, pose):
            truth.append(frame.pose)
    return mapper, np.array(truth)


@dataclass(frozen=True)
class Localized:
    """How a drive is localized on a map, as shares.

    Attributes:
        found: robots that are found.
        right: keyframes accepted at the right place.
        wrong: keyframes accepted elsewhere.
    """

    found: float
    right: float
    wrong: float

    def cells(self) -> list[str]:
        """Return the cells of the table."""
        return [f'{self.found:.0%}', f'{self.right:.1%}', f'{self.wrong:.1%}']


def localize(place_map: PlaceMap, drive: Mapper, truth: np.ndarray, name: str) -> Localized:
    """Localize a drive on a map.

    Args:
        place_map: the map.
        drive: the keyframes, with odometry.
        truth: their true poses ``[N, 7]``.
        name: name of the drive.
    """
    found = search_drive(place_map, drive, places_shown(place_map, truth), name, _WITHIN_M, _STARTS)
    engine = place_map.manifest.preset.with_settings({
        'keyframes.every': '1', 'keyframes.min_change': '0'}).engine
    localizer = Localizer(with_precomputed(drive.model), place_map, engine)
    away = []
    for number, pose in enumerate(truth):
        keyframe = drive[number]
        result = localizer.push(keyframe.descriptor, keyframe.stamp_ns, keyframe.pose)
        if result is not None and result.accepted:
            assert result.best is not None
            place = place_map.positions[result.best.place_id]
            away.append(float(np.linalg.norm(place[:2] - pose[:2])))
    right = sum(distance <= _RIGHT_M for distance in away)
    return Localized(found.share(Kind.COVERED), right / len(truth),
                     (len(away) - right) / len(truth))


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
    frozen = refreshed = keyframes(model, first, first.poses, 0)[0].finish('first', 'exact')
    route_m = frozen.manifest.route_length_m
    true_positions = {int(stamp): pose[:2] for stamp, pose in zip(
        frozen.stamps_ns, frozen.poses, strict=True)}
    columns = ('found', 'right', 'wrong')
    table = Table('drive', *(f'{name}, first map' for name in columns),
                  *(f'{name}, refreshed' for name in columns), 'places', 'kB per m', 'changed',
                  'error, m', title=f'{arguments.model}, town {arguments.town}, {route_m:.0f} m, '
                                    f'{len(frozen)} places, {megabytes(frozen):.1f} MB at first')
    results = []
    for number, (name, drive) in enumerate(drives(town), 1):
        mapper, truth = keyframes(model, drive, odometry_of(drive, number), number)
        pair = [localize(place_map, mapper, truth, name) for place_map in (frozen, refreshed)]
        results.append([value for one in pair for value in (one.found, one.right, one.wrong)])
        try:
            result = refresh_map(refreshed, mapper, name, 'odometry', config)
        except SessionAlignmentError as error:
            changed = f'refused: {error}'
        else:
            refreshed = result.place_map
            changed = f'{len(result.added)} added, {len(result.retired)} retired'
        true_positions.update((mapper[at].stamp_ns, pose[:2]) for at, pose in enumerate(truth))
        error_m = np.median(np.linalg.norm(refreshed.positions[:, :2] - [
            true_positions[int(stamp)] for stamp in refreshed.stamps_ns], axis=1))
        row = [f'{number} {name}', *pair[0].cells(), *pair[1].cells(), str(len(refreshed)),
               f'{1e3 * megabytes(refreshed) / route_m:.0f}', changed, f'{error_m:.2f}']
        print(' | '.join(row), flush=True)
        table.add_row(*row)
    table.add_section()
    table.add_row('mean', *(f'{share:.1%}' for share in np.mean(results, axis=0)))
    Console(width=150).print(table)


if __name__ == '__main__':
    main()
