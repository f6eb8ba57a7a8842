"""Where odometry said the robot was, all along the drive, without ROS."""

from array import array
from bisect import bisect_left

import numpy as np

from seqnet_ros.poses import interpolate_pose
from seqnet_ros.sequences.keyframes import NANOSECONDS

STEP_S = 0.1
"""Three poses within this time are thinned to two: at most 20 a second, 4.6 MB an hour."""
MAX_GAP_S = 1.0
"""No pose is interpolated across a longer hole."""


class PoseLog:
    """All odometry of a drive; poses that come with an earlier stamp begin it anew."""

    def __init__(self) -> None:
        self._stamps = array('q')
        self._poses = array('d')

    def __len__(self) -> int:
        """Return the number of poses kept."""
        return len(self._stamps)

    def add(self, stamp_ns: int, pose: np.ndarray) -> None:
        """Add a pose ``[7]``."""
        stamps = self._stamps
        if stamps and stamp_ns < stamps[-1]:
            self._stamps, self._poses = stamps, _ = array('q'), array('d')
        elif stamps and (stamp_ns == stamps[-1] or (
                len(stamps) > 1 and stamp_ns - stamps[-2] < STEP_S * NANOSECONDS)):
            del stamps[-1], self._poses[-7:]
        stamps.append(stamp_ns)
        self._poses.extend(pose.tolist())

    def at(self, stamp_ns: int) -> np.ndarray | None:
        """Return the interpolated pose ``[7]`` at a time, None where odometry does not say."""
        right = bisect_left(self._stamps, stamp_ns)
        if right == len(self._stamps):
            return None
        if self._stamps[right] == stamp_ns:
            return self._pose(right)
        if not right:
            return None
        before, after = self._stamps[right - 1], self._stamps[right]
        if after - before > MAX_GAP_S * NANOSECONDS:
            return None
        return interpolate_pose(self._pose(right - 1), self._pose(right),
                                (stamp_ns - before) / (after - before))

    def _pose(self, number: int) -> np.ndarray:
        return np.array(self._poses[7 * number: 7 * number + 7])
