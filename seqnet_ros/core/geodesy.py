"""Positions on the earth: latitude and longitude to meters east, north and up, and back.

WGS-84, degrees, meters above the ellipsoid.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from seqnet_ros.core.errors import InputError

_MAX_ALTITUDE_M = 1e7
_WGS84_SEMI_MAJOR_M = 6378137.0
_WGS84_FLATTENING = 1 / 298.257223563
_WGS84_ECCENTRICITY_2 = _WGS84_FLATTENING * (2 - _WGS84_FLATTENING)


@dataclass(frozen=True)
class GeoPoint:
    """A point on or above the WGS-84 ellipsoid: degrees north and east, meters up."""

    latitude: float
    longitude: float
    altitude: float = 0.0

    def __str__(self) -> str:
        """Return the point, human-readable."""
        return f'{self.latitude:.6f}, {self.longitude:.6f}'


def check_geodetic(latitude: Any, longitude: Any, altitude: Any = 0.0) -> None:
    """Check WGS-84 positions: degrees ``[N]``, and meters above the ellipsoid.

    Raises:
        InputError: a latitude is beyond 90 degrees, a longitude beyond 180, an altitude beyond
            1e7 m, or one is not finite; the message names the first such row.
    """
    rows = np.broadcast_arrays(*np.atleast_1d(latitude, longitude, altitude))
    inside = [np.abs(values) <= limit
              for values, limit in zip(rows, (90, 180, _MAX_ALTITUDE_M), strict=True)]
    wrong = np.flatnonzero(~np.all(inside, axis=0))
    if len(wrong):
        row = int(wrong[0])
        found = ', '.join(f'{values[row]:g}' for values in rows)
        raise InputError(f'position {row} is {found} (latitude, longitude, altitude), expected '
                         'degrees within 90 and 180 and meters within 1e7')


def is_fix(latitude: float, longitude: float) -> bool:
    """Return whether degrees are a position that a receiver has found.

    Receivers without reception report NaN, values out of range, or 0, 0.
    """
    return abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude, longitude) != (0.0, 0.0)


def geodetic_to_enu(latitude: np.ndarray, longitude: np.ndarray, altitude: np.ndarray,
                    datum: GeoPoint) -> np.ndarray:
    """Convert WGS-84 positions to meters east, north and up of a datum.

    The exact conversion through earth-centered coordinates (Hofmann-Wellenhof et al., GNSS, 2008,
    sections 8.2.1 and 8.2.2), not a small-angle approximation.

    Args:
        latitude: degrees ``[N]``.
        longitude: degrees ``[N]``.
        altitude: meters above the ellipsoid ``[N]``.
        datum: where the plane touches the earth.

    Returns:
        float64 ``[N, 3]``.

    Raises:
        InputError: a position is not on the earth.
    """
    check_geodetic(latitude, longitude, altitude)
    centre = _earth_centred(datum.latitude, datum.longitude, datum.altitude)
    offset = _earth_centred(latitude, longitude, altitude) - centre
    return offset @ _enu_axes(datum).T


def enu_to_latlon(positions: np.ndarray, datum: GeoPoint) -> np.ndarray:
    """Convert meters east, north and up of a datum to WGS-84, as of `enu_to_geodetic`.

    Returns:
        float64 ``[N, 2]``, latitude and longitude in degrees.
    """
    return enu_to_geodetic(positions, datum)[:, :2]


def enu_to_geodetic(positions: np.ndarray, datum: GeoPoint) -> np.ndarray:
    """Convert meters east, north and up of a datum to WGS-84, the inverse of `geodetic_to_enu`.

    Args:
        positions: ``[N, 3]``.
        datum: where the plane touches the earth.

    Returns:
        float64 ``[N, 3]``, latitude and longitude in degrees, and meters above the ellipsoid.
    """
    centre = _earth_centred(datum.latitude, datum.longitude, datum.altitude)
    x, y, z = (centre + np.asarray(positions) @ _enu_axes(datum)).T
    from_axis = np.hypot(x, y)
    latitude = np.arctan2(z, from_axis)
    # Each step shrinks the error by the squared eccentricity, 0.0067.
    for _ in range(8):
        sine = np.sin(latitude)
        radius = _WGS84_SEMI_MAJOR_M / np.sqrt(1 - _WGS84_ECCENTRICITY_2 * sine**2)
        latitude = np.arctan2(z + _WGS84_ECCENTRICITY_2 * radius * sine, from_axis)
    # Near the equator by the distance from the axis, near the poles by that from the equator.
    sine, cosine = np.sin(latitude), np.cos(latitude)
    radius = _WGS84_SEMI_MAJOR_M / np.sqrt(1 - _WGS84_ECCENTRICITY_2 * sine**2)
    altitude = (from_axis * cosine + (z + _WGS84_ECCENTRICITY_2 * radius * sine) * sine) - radius
    return np.stack([np.rad2deg(latitude), np.rad2deg(np.arctan2(y, x)), altitude], axis=1)


def _enu_axes(datum: GeoPoint) -> np.ndarray:
    """Return the directions east, north and up of a datum, ``[3, 3]``, earth-centered rows."""
    sin_lat, cos_lat = _sin_cos(datum.latitude)
    sin_lon, cos_lon = _sin_cos(datum.longitude)
    east = [-sin_lon, cos_lon, 0.0]
    north = [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat]
    up = [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat]
    return np.array([east, north, up])


def _earth_centred(latitude: Any, longitude: Any, altitude: Any) -> np.ndarray:
    sin_lat, cos_lat = _sin_cos(latitude)
    sin_lon, cos_lon = _sin_cos(longitude)
    radius = _WGS84_SEMI_MAJOR_M / np.sqrt(1 - _WGS84_ECCENTRICITY_2 * sin_lat**2)
    return np.stack([
        (radius + altitude) * cos_lat * cos_lon,
        (radius + altitude) * cos_lat * sin_lon,
        (radius * (1 - _WGS84_ECCENTRICITY_2) + altitude) * sin_lat], axis=-1)


def _sin_cos(degrees: Any) -> tuple[Any, Any]:
    radians = np.deg2rad(degrees)
    return np.sin(radians), np.cos(radians)
