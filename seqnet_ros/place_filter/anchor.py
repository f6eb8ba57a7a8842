"""The last fix, carried on by odometry: where on the map a robot can come back onto it.

A robot that left the map 30 m ago does not come onto it again 100 m away, unless it was carried.
"""

from dataclasses import dataclass

import numpy as np

from seqnet_ros.core.carried_pose import CarriedPose
from seqnet_ros.place_filter.state_space import StateSpace

_CARRIED = 0.02
"""Probability that a robot that comes onto the map was carried there unnoticed."""
_OFFSET_M = 3.0
_DRIFT = 0.1
"""Standard deviation of the carried position: an offset, and a share of the distance."""


@dataclass(frozen=True)
class Anchor:
    """A fix.

    Attributes:
        map_number: the map it is in.
        carried: where the robot was on the map, carried on by odometry.
    """

    map_number: int
    carried: CarriedPose

    def entry(self, space: StateSpace) -> np.ndarray:
        """Return how probable it is to come onto the map at each place, ``[N]``.

        The sum is 1 where the map is near, and smaller where the robot can only have been carried.
        """
        pose = self.carried.pose
        assert pose is not None
        spread = _OFFSET_M + _DRIFT * self.carried.distance_m
        near = np.zeros(len(space))
        parts = space.slices()
        for number in space.sharing(self.map_number):
            apart = np.linalg.norm(space.poses[parts[number], :3] - pose[:3], axis=1)
            near[parts[number]] = np.exp(-0.5 * (apart / spread) ** 2)
        return (1 - _CARRIED) * near / max(float(near.sum()), 1.0) + _CARRIED / len(space)
