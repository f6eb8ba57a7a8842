"""Where on the earth the frame of a map begins."""

import re

from pydantic import Field

from seqnet_ros.config.settings import Settings
from seqnet_ros.core.geodesy import GeoPoint

_IN_POSE_ORIGIN = re.compile(r'east and north of (-?[\d.]+), (-?[\d.]+)')


class Datum(Settings):
    """The point on the earth, WGS-84, where a map begins; its axes lead east, north and up."""

    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False, description='Degrees north.')
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False, description='Degrees east.')
    altitude: float = Field(
        0.0, ge=-1e7, le=1e7, allow_inf_nan=False, description='Above the ellipsoid, m.')

    @classmethod
    def of(cls, point: GeoPoint | None) -> 'Datum | None':
        """Return a point in the form in which manifests store it; None if there is no point."""
        return None if point is None else cls(
            latitude=point.latitude, longitude=point.longitude, altitude=point.altitude)

    @property
    def point(self) -> GeoPoint:
        """The point."""
        return GeoPoint(self.latitude, self.longitude, self.altitude)


def datum_in(pose_origin: str) -> GeoPoint | None:
    """Return the point that the text of a pose origin names, to 0.1 m; None if it names no point.

    Maps from before they held a datum name it like this.
    """
    match = _IN_POSE_ORIGIN.search(pose_origin)
    if match is None:
        return None
    latitude, longitude = map(float, match.groups())
    return GeoPoint(latitude, longitude)
