"""Where the places of a map are: boxes in its frame and on the earth."""

import numpy as np
from pydantic import Field, model_validator

from seqnet_ros.config.settings import Settings
from seqnet_ros.core.geodesy import GeoPoint, enu_to_latlon
from seqnet_ros.core.poses import MAX_COORDINATE_M

_Coordinates = tuple[float, float, float]


class Extent(Settings):
    """The smallest box that holds the positions of a map."""

    low: _Coordinates = Field(description='Smallest x, y and z, m.')
    high: _Coordinates = Field(description='Largest x, y and z, m.')

    @model_validator(mode='after')
    def _is_a_box(self) -> 'Extent':
        corners = np.array([self.low, self.high])
        if not ((np.abs(corners) <= MAX_COORDINATE_M).all() and (corners[0] <= corners[1]).all()):
            raise ValueError(f'the box from {self.low} to {self.high} is none, expected ascending '
                             f'coordinates within {MAX_COORDINATE_M:g} m')
        return self

    @classmethod
    def of(cls, positions: np.ndarray) -> 'Extent':
        """Return the box of positions, float64 ``[N, 3]``, meters."""
        low, high = positions.min(axis=0).tolist(), positions.max(axis=0).tolist()
        return cls(low=tuple(low), high=tuple(high))

    def distance(self, position: np.ndarray) -> float:
        """Return how far a position ``[2]`` or ``[3]`` is from the box, meters; 0 inside.

        Of two coordinates the height does not count.
        """
        here = np.asarray(position, dtype=np.float64)
        count = len(here)
        return float(distance_from(np.array(self.low[:count]), np.array(self.high[:count]), here))


def distance_from(low: np.ndarray, high: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return how far a position ``[C]`` is from boxes ``[..., C]``, meters; 0 inside."""
    beyond = np.maximum(np.maximum(low - position, position - high), 0.0)
    return np.asarray(np.linalg.norm(beyond, axis=-1))


class GeoExtent(Settings):
    """The box of a map on the earth, WGS-84."""

    south: float = Field(ge=-90, le=90, allow_inf_nan=False, description='Degrees.')
    west: float = Field(ge=-180, le=180, allow_inf_nan=False, description='Degrees.')
    north: float = Field(ge=-90, le=90, allow_inf_nan=False, description='Degrees.')
    east: float = Field(ge=-180, le=180, allow_inf_nan=False, description='Degrees.')

    @classmethod
    def of(cls, positions: np.ndarray, datum: GeoPoint) -> 'GeoExtent':
        """Return the box of positions, float64 ``[N, 3]``, meters east, north and up of a datum."""
        degrees = enu_to_latlon(positions, datum)
        (south, west), (north, east) = degrees.min(axis=0).tolist(), degrees.max(axis=0).tolist()
        return cls(south=south, west=west, north=north, east=east)
