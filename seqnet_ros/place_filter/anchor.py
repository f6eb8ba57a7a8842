"""The last fix, carried on by odometry: where on the map a robot can come back onto it.

A robot that left the map 30 m ago does not come onto it again 100 m away, unless it was carried.
"""

from dataclasses import dataclass, replace

import numpy as np

from seqnet_ros.core.poses import distance, pose_matrix
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
        pose: where the robot was on the map, ``[7]``, meters.
        odometry: where odometry saw it then, ``[7]``, meters.
        newest: where odometry sees it now, ``[7]``, meters.
        travelled_m: distance since then, meters.
    """

    map_number: int
    pose: np.ndarray
    odometry: np.ndarray
    newest: np.ndarray
    travelled_m: float = 0.0

    def carried(self, odometry: np.ndarray) -> 'Anchor':
        """Return the same after the robot moved on to an odometry pose ``[7]``."""
        return replace(self, newest=odometry,
                       travelled_m=self.travelled_m + distance(self.newest, odometry))

    @property
    def position(self) -> np.ndarray:
        """Where the robot is on the map by odometry, ``[3]``, meters."""
        moved = np.linalg.inv(pose_matrix(self.odometry)) @ pose_matrix(self.newest)
        return np.asarray((pose_matrix(self.pose) @ moved)[:3, 3])

    def entry(self, space: StateSpace) -> np.ndarray:
        """Return how probable it is to come onto the map at each place, ``[N]``.

        The sum is 1 where the map is near, and smaller where the robot can only have been carried.
        """
        spread = _OFFSET_M + _DRIFT * self.travelled_m
        near = np.zeros(len(space))
        part = space.slices()[self.map_number]
        apart = np.linalg.norm(space.poses[part, :3] - self.position, axis=1)
        near[part] = np.exp(-0.5 * (apart / spread) ** 2)
        return (1 - _CARRIED) * near / max(float(near.sum()), 1.0) + _CARRIED / len(space)
