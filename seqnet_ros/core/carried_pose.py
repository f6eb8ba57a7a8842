"""A pose in the map that odometry carries on."""

import math

import numpy as np

from seqnet_ros.core.poses import distance, pose_from_matrix, pose_matrix


class CarriedPose:
    """The pose of the robot at a match, carried on by odometry.

    Args:
        in_map: pose ``[7]`` of the robot in the map, meters.
        in_odometry: its pose ``[7]`` by odometry at the same time; None without odometry.

    Attributes:
        start: the pose at the match.
    """

    def __init__(self, in_map: np.ndarray, in_odometry: np.ndarray | None) -> None:
        self._map_from_odometry = None if in_odometry is None else (
            pose_matrix(in_map) @ np.linalg.inv(pose_matrix(in_odometry)))
        self.start = in_map
        self._last = in_odometry
        self._distance_m = 0.0

    def move(self, in_odometry: np.ndarray | None) -> None:
        """Note the next pose ``[7]`` by odometry; without one, nothing carries the pose any more.

        Odometry that comes back may have begun anew elsewhere.
        """
        if self._last is None or in_odometry is None:
            self._last = None
            return
        self._distance_m += distance(in_odometry, self._last)
        self._last = in_odometry

    @property
    def distance_m(self) -> float:
        """Length of the way since the match, meters; NaN where odometry does not know it."""
        return math.nan if self._last is None else self._distance_m

    @property
    def moved_m(self) -> float:
        """Straight distance from where the match was, meters; NaN as above."""
        pose = self.pose
        return math.nan if pose is None else distance(pose, self.start)

    @property
    def pose(self) -> np.ndarray | None:
        """Pose ``[7]`` of the robot in the map now, meters; None where odometry does not know."""
        if self._last is None or self._map_from_odometry is None:
            return None
        return pose_from_matrix(self._map_from_odometry @ pose_matrix(self._last))
