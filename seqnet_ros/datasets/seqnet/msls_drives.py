"""A city of the Mapillary Street-level Sequences as the two drives of a SeqNet data set."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.msls import CITIES, PARTS, CityPart, cities_in, read_city_part
from seqnet_ros.datasets.seqnet.dataset_files import bounds_of_starts

_LISTED = 'Mapillary_Street_Level_Sequences'


@dataclass(frozen=True, eq=False)
class MslsDrive:
    """The database frames or the query frames of one city.

    Attributes:
        names: N names, as in the lists of SeqNet's published code.
        images: N image files; they need not exist.
        positions: float64 ``[N, 2]``, easting and northing, meters.
        gps: float64 ``[N, 2]``, latitude and longitude, degrees.
        bounds: int64 ``[N, 2]``, for every frame the first and one-past-last frame of its
            sequence: frames of one key with successive numbers.
        panoramas: number of skipped panoramas.
    """

    names: tuple[str, ...]
    images: tuple[Path, ...]
    positions: np.ndarray
    gps: np.ndarray
    bounds: np.ndarray
    panoramas: int

    def without(self, lost: np.ndarray) -> 'MslsDrive':
        """Return the drive without some frames; its sequences break there.

        Args:
            lost: bool ``[N]``, the frames to skip.
        """
        kept = np.flatnonzero(~lost)
        # A sequence also breaks where the frame before was skipped.
        first = self.bounds[kept, 0]
        begins = (np.diff(first, prepend=-1) != 0) | (np.diff(kept, prepend=-2) != 1)
        return replace(
            self, names=tuple(self.names[row] for row in kept),
            images=tuple(self.images[row] for row in kept), positions=self.positions[kept],
            gps=self.gps[kept], bounds=bounds_of_starts(np.flatnonzero(begins).tolist(), len(kept)))

    @property
    def sequences(self) -> int:
        """Number of sequences."""
        return len(np.unique(self.bounds[:, 0]))


def read_city(folder: Path, city: str) -> tuple[MslsDrive, MslsDrive]:
    """Read the database and the queries of a city.

    Args:
        folder: the official folder, which holds ``train_val``.
        city: name of its folder.

    Raises:
        InputError: a file or column is missing or a row is broken; the message names file and
            line.
    """
    cities = cities_in(folder)
    if city not in cities:
        raise InputError(f'{folder / CITIES} has no city {city!r}, found '
                         f'{", ".join(cities) or "none"}')
    database, query = (_to_drive(read_city_part(folder, city, part, strict=True),
                                 f'{_LISTED}/{CITIES}/{city}/{part}') for part in PARTS)
    return database, query


def _to_drive(part: CityPart, listed: str) -> MslsDrive:
    frames = part.frames
    if not frames:
        raise InputError(f'{part.folder} has no image other than panoramas, expected at least one')
    return MslsDrive(
        names=tuple(f'{listed}/images/{frame.key}.jpg' for frame in frames),
        images=tuple(part.image(frame) for frame in frames),
        positions=part.read_projected(),
        gps=np.array([(frame.latitude, frame.longitude) for frame in frames]),
        bounds=_bounds(part), panoramas=part.panoramas)


def _bounds(part: CityPart) -> np.ndarray:
    starts = [0]
    for index in range(1, len(part.frames)):
        before, frame = part.frames[index - 1], part.frames[index]
        if frame[:2] != (before.sequence, before.number + 1):
            starts.append(index)
    return bounds_of_starts(starts, len(part.frames))
