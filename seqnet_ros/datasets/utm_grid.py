"""UTM coordinates: meters on the ground, as MSLS, RobotCar and SF-XL use them."""

from typing import NamedTuple

import numpy as np

from seqnet_ros.core.errors import InputError


class UtmPositions(NamedTuple):
    """Positions in one zone.

    Attributes:
        positions: easting and northing, meters, float64 ``[N, 2]``.
        zone: number of the zone, 1 to 60.
        letter: latitude band of the middle position, C to X.
    """

    positions: np.ndarray
    zone: int
    letter: str


_LARGEST_ANGLE = 180
_LARGEST_EXTENT = 1.0
_LARGEST_STEP = 1e-3


def are_degrees(positions: np.ndarray, groups: np.ndarray | None = None) -> bool:
    """Return whether positions look like degrees where meters are expected.

    They do if all are possible angles, no group reaches over a degree, and neighbors are closer
    than a thousandth: 100 m if these are degrees, 1 mm if they are meters.

    Args:
        positions: ``[N, 2]``, in any order of the coordinates.
        groups: int ``[N]``, positions of one drive; all are of one where None.
    """
    from scipy.spatial import cKDTree

    different = np.unique(positions, axis=0)
    if len(different) < 2 or np.abs(positions).max() > _LARGEST_ANGLE:
        return False
    owners = np.zeros(len(positions), np.int64) if groups is None else groups
    low = np.full((int(owners.max()) + 1, 2), np.inf)
    high = -low
    np.minimum.at(low, owners, positions)
    np.maximum.at(high, owners, positions)
    steps = cKDTree(different).query(different, k=2)[0][:, 1]
    return bool((high - low)[np.unique(owners)].max() < _LARGEST_EXTENT
                and np.median(steps) < _LARGEST_STEP)


def to_utm(latitude: np.ndarray, longitude: np.ndarray) -> UtmPositions:
    """Project WGS-84 positions to the zone of the middle one.

    One zone for all: on the border of two zones coordinates would jump otherwise.

    Args:
        latitude: degrees ``[N]``.
        longitude: degrees ``[N]``.

    Raises:
        InputError: there is no position, or one is not finite or too near a pole.
    """
    import utm

    latitude, longitude = np.asarray(latitude, float), np.asarray(longitude, float)
    if not len(latitude):
        raise InputError('no position was given to project, expected at least one')
    wrong = np.flatnonzero(~((np.abs(longitude) <= 180) & (latitude >= -80) & (latitude <= 84)))
    if wrong.size:
        row = int(wrong[0])
        raise InputError(f'position {row} is {latitude[row]}, {longitude[row]}, expected degrees '
                         'north (-80 to 84) and east (-180 to 180)')
    middle = float(np.median(latitude)), float(np.median(longitude))
    zone = utm.latlon_to_zone_number(*middle)
    east, north, _, _ = utm.from_latlon(
        latitude, longitude, force_zone_number=zone, force_northern=middle[0] >= 0)
    return UtmPositions(np.stack([east, north], axis=1), zone,
                        utm.latitude_to_zone_letter(middle[0]))


def from_utm(positions: np.ndarray, zone: int, letter: str) -> np.ndarray:
    """Return latitude and longitude, degrees, float64 ``[N, 2]``.

    Raises:
        InputError: the positions are not UTM coordinates of that zone.
    """
    import utm

    try:
        latitude, longitude = utm.to_latlon(
            positions[:, 0], positions[:, 1], zone, letter)
    except (utm.OutOfRangeError, ValueError) as error:
        raise InputError(f'positions of zone {zone}{letter} cannot be converted: {error}') \
            from error
    return np.stack([latitude, longitude], axis=1)


def truncated(value: float, digits: int, decimals: int) -> str:
    """Return a number with leading zeros, cut off after some decimals as in names of images.

    Args:
        value: the number.
        digits: characters before the point, the sign included.
        decimals: digits after the point.
    """
    whole, _, fraction = repr(float(abs(value))).partition('.')
    sign = '-' if value < 0 else ''
    return f'{sign}{int(whole):0{digits - len(sign)}d}.{fraction[:decimals]:<0{decimals}}'
