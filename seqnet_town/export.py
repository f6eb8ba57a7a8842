"""Write the rendered town as the data sets that JIST trains on, with exact positions and headings.

Single images in the format of SF-XL and sequences in the folders of MSLS, any number of them::

    plan_sf_xl(Town(1), 'town/sf_xl/processed/train', (DAY, OVERCAST, DUSK)).write()
    for split, seed in (('train', 2), ('val', 3), ('test', 4)):
        plan_sequences(Town(seed), f'town/msls/{split}', city=f'town{seed}').write()
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import make_pose
from seqnet_ros.datasets.jist.sequence_writer import frame_name, write_jpeg
from seqnet_ros.datasets.utm_grid import from_utm, truncated
from seqnet_town import (
    AUTUMN,
    DAY,
    DUSK,
    OVERCAST,
    Camera,
    Condition,
    Drive,
    Renderer,
    Town,
)
from seqnet_town.processes import in_processes

SF_XL_FOV_DEG = 360 * 512 / 3328
"""Field of view of a 512 pixel wide crop of a 3328 pixel wide SF-XL panorama."""

_SPEED = 8.0
_HEADINGS = tuple(range(0, 360, 30))
_FIRST_YEAR = 2015


@dataclass(frozen=True)
class Origin:
    """Geographic origin of a town: the UTM coordinates of x = y = 0."""

    east: float = 500_000.0
    north: float = 5_000_000.0
    zone: int = 32
    letter: str = 'T'


ORIGIN = Origin()


class _Shot(NamedTuple):
    """An image to be: which frame of which drive, seen in which direction, and its file.

    ``yaw`` is in radians; None looks ahead.
    """

    drive: int
    frame: int
    yaw: float | None
    path: Path


class _Photographer:
    """Renders frames of several drives."""

    def __init__(self, drives: Sequence[Drive]) -> None:
        self._drives = list(drives)
        self._renderers: dict[int, Renderer] = {}

    def take(self, shot: _Shot) -> None:
        """Render an image and write it."""
        drive = self._drives[shot.drive]
        if shot.yaw is None:
            image = drive.render(shot.frame)
        else:
            x, y = drive.poses[shot.frame, :2].tolist()
            seed = (shot.drive, shot.frame, round(np.rad2deg(shot.yaw)) % 360)
            image = self._renderer(shot.drive).render(
                make_pose(x, y, yaw=shot.yaw), drive.cars(shot.frame), seed)
        write_jpeg(image, shot.path)

    def _renderer(self, number: int) -> Renderer:
        if number not in self._renderers:
            drive = self._drives[number]
            self._renderers[number] = Renderer(drive.town, drive.camera, drive.condition)
        return self._renderers[number]


@dataclass(frozen=True, eq=False)
class Export:
    """Images that are going to be rendered."""

    drives: tuple[Drive, ...]
    shots: tuple[_Shot, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.shots)

    def write(self, workers: int = 1, progress: Callable[[int], None] = lambda _: None) -> None:
        """Render and write the images.

        Args:
            workers: processes that render.
            progress: called with the number of images written.

        Raises:
            InputError: the folder cannot be written.
        """
        photographer = _Photographer(self.drives)
        for done, _ in enumerate(_taken(photographer, self.shots, workers), 1):
            progress(done)


def plan_sf_xl(town: Town, folder: str | PathLike[str],
               conditions: Sequence[Condition] = (DAY, OVERCAST, DUSK, AUTUMN), *,
               spacing: float = 2.5, headings: Sequence[int] = _HEADINGS, size: int = 512,
               length: float | None = None, origin: Origin = ORIGIN, seed: int = 0) -> Export:
    """Plan square crops in all directions along the route, in the format of SF-XL.

    With four conditions every 2.5 m, a class of 10 m and 30 degrees has about 16 images.

    Args:
        town: what to see.
        folder: such as ``sf_xl/processed/train``.
        conditions: one drive along the route in each of them.
        spacing: mean distance between places, meters.
        headings: degrees counter-clockwise from north of the leftmost column of a crop.
        size: edge of a crop, pixels; the real ones have 512.
        length: how far to drive, meters; once round where None.
        origin: position of the town.
        seed: decides drives and noise, not the town.

    Raises:
        InputError: an argument is out of range.
    """
    drives = _drives(town, conditions, Camera(size, size, SF_XL_FOV_DEG), spacing, length, seed,
                     lateral_offset=0.0)
    return Export(tuple(drives), tuple(
        _Shot(number, frame, _yaw_of_heading(heading),
              Path(folder) / _sf_xl_path(drive, number, frame, heading, origin))
        for number, drive in enumerate(drives)
        for frame in range(len(drive)) for heading in headings))


def _yaw_of_heading(heading: float) -> float:
    """Return the viewing direction, radians from east, of a crop whose left edge has a heading."""
    return float(np.deg2rad(heading + 90 - SF_XL_FOV_DEG / 2))


def _sf_xl_path(drive: Drive, number: int, frame: int, heading: int, origin: Origin) -> str:
    east, north = _utm(drive, frame, origin)
    latitude, longitude = from_utm(np.array([[east, north]]), origin.zone, origin.letter)[0]
    panorama = f'town{drive.town.seed}-{number}-{frame:05d}'
    fields = (truncated(east, 7, 2), truncated(north, 7, 2), str(origin.zone), origin.letter,
              truncated(latitude, 3, 5), truncated(longitude, 4, 5), panorama, '', str(heading),
              '', '', '', _month(number), drive.condition.name)
    return f'{latitude:.2f}/@{"@".join(fields)}@.jpg'


def plan_sequences(town: Town, folder: str | PathLike[str], city: str,
                   database: Sequence[Condition] = (DAY, OVERCAST),
                   queries: Sequence[Condition] = (DUSK,), *, spacing: float = 3.0,
                   frames: int = 40, camera: Camera | None = None, length: float | None = None,
                   origin: Origin = ORIGIN, seed: int = 0) -> Export:
    """Plan drives in the folders of MSLS, cut into sequences.

    Query drives keep a meter to the left of the database drives.

    Args:
        town: what to see.
        folder: a split such as ``msls/train``; several towns may share one.
        city: name in the names of the images.
        database: one drive along the route in each of these conditions.
        queries: the same for the queries.
        spacing: mean distance between frames, meters.
        frames: of each sequence; the last one of a drive may be shorter.
        camera: what to see with.
        length: how far to drive, meters; once round where None.
        origin: position of the town; towns of one split should not overlap.
        seed: decides drives and noise, not the town.

    Raises:
        InputError: an argument is out of range.
    """
    if frames < 1:
        raise InputError(f'sequences of {frames} frames were requested, expected 1 or more')
    camera = camera or Camera()
    drives: list[Drive] = []
    shots: list[_Shot] = []
    for side, conditions, offset in (('database', database, 0.0), ('queries', queries, 1.0)):
        made = _drives(town, conditions, camera, spacing, length, seed + len(drives), offset)
        for drive in made:
            number = len(drives)
            drives.append(drive)
            shots += [
                _Shot(number, frame, None,
                      Path(folder) / side / _frame_path(drive, number, frame, frames, city, origin))
                for frame in range(len(drive))]
    return Export(tuple(drives), tuple(shots))


def _frame_path(drive: Drive, number: int, frame: int, frames: int, city: str,
                origin: Origin) -> str:
    sequence = f'{city}-{drive.condition.name}-{number}-{frame // frames:03d}'
    east, north = _utm(drive, frame, origin)
    name = frame_name(east, north, sequence, frame % frames,
                      f'{city}-{number}-{frame:05d}', city, f'{_month(number)}01')
    return f'{sequence}/{name}'


def _utm(drive: Drive, frame: int, origin: Origin) -> tuple[float, float]:
    x, y = drive.poses[frame, :2].tolist()
    return origin.east + x, origin.north + y


def _month(number: int) -> str:
    return f'{_FIRST_YEAR + number // 12}{1 + number % 12:02d}'


def _drives(town: Town, conditions: Sequence[Condition], camera: Camera, spacing: float,
            length: float | None, seed: int, lateral_offset: float) -> list[Drive]:
    if not conditions or not spacing > 0:
        raise InputError(f'{len(conditions)} drives every {spacing} m were requested, expected at '
                         'least one and a distance above 0')
    return [Drive(town, condition, camera, lateral_offset=lateral_offset, speed=_SPEED,
                  rate=_SPEED / spacing, length=length, seed=seed + number)
            for number, condition in enumerate(conditions)]


def _taken(photographer: _Photographer, shots: Sequence[_Shot], workers: int) -> Iterator[None]:
    if workers <= 1:
        yield from map(photographer.take, shots)
        return
    yield from in_processes(photographer.take, shots, workers)
