"""Where on the earth the frame of a map begins."""

import re
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from seqnet_ros.config.settings import Settings
from seqnet_ros.core.geodesy import GeoPoint

if TYPE_CHECKING:
    from seqnet_ros.maps.place_map import MapManifest

_IN_POSE_ORIGIN = re.compile(r'east and north of (-?[\d.]+), (-?[\d.]+)')


class Datum(Settings):
    """The point on the earth, WGS-84, where a map begins; its axes lead east, north and up."""

    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False, description='Degrees north.')
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False, description='Degrees east.')
    altitude: float = Field(
        0.0, ge=-1e7, le=1e7, allow_inf_nan=False, description='Above the ellipsoid, m.')

    @classmethod
    def of(cls, point: GeoPoint | None) -> 'Datum | None':
        """Return a point as it is stored; None for none."""
        return None if point is None else cls(
            latitude=point.latitude, longitude=point.longitude, altitude=point.altitude)

    @property
    def point(self) -> GeoPoint:
        """The point."""
        return GeoPoint(self.latitude, self.longitude, self.altitude)


def datum_of(manifest: 'MapManifest') -> GeoPoint | None:
    """Return the origin of a map on the earth; None where it is not known.

    Maps of earlier versions name it, to a tenth of a meter, in the origin of their poses.
    """
    if manifest.datum is not None:
        return manifest.datum.point
    match = _IN_POSE_ORIGIN.search(manifest.pose_origin)
    if match is None:
        return None
    latitude, longitude = np.array(match.groups(), dtype=float).tolist()
    return GeoPoint(latitude, longitude)
