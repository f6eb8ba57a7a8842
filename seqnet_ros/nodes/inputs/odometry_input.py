"""Where odometry says the robot was when an image was taken."""

import threading
import time
from collections import deque
from itertools import islice

import numpy as np

from seqnet_ros.poses import Trajectory, interpolate_pose
from seqnet_ros.sequences.keyframes import NANOSECONDS

PATIENCE_S = 0.2
"""How long an image waits for the odometry message after its stamp."""
ALIVE_S = 1.0
"""Odometry that ends longer than this before the image's stamp is not waited for."""
EXTRAPOLATED_S = 0.5
"""How far a pose is carried on from the last two where odometry is late."""
MAX_GAP_S = 1.0
"""No pose is interpolated across a longer hole in the odometry."""
KEPT = 1000


class OdometryBuffer:
    """Recent odometry. One thread adds, another asks."""

    def __init__(self) -> None:
        self._poses: deque[tuple[int, np.ndarray]] = deque(maxlen=KEPT)
        self._changed = threading.Condition()
        self.restarts = 0
        """How often stamps went back, as when a recording starts anew."""

    def __len__(self) -> int:
        """Return the number of poses kept."""
        return len(self._poses)

    def add(self, stamp_ns: int, pose: np.ndarray) -> None:
        """Add a pose ``[7]``; one older than the last starts anew."""
        with self._changed:
            if self._poses and stamp_ns < self._poses[-1][0]:
                self._poses.clear()
                self.restarts += 1
            if not self._poses or stamp_ns > self._poses[-1][0]:
                self._poses.append((stamp_ns, pose))
            self._changed.notify()

    def at(self, stamp_ns: int, patience_s: float = PATIENCE_S) -> np.ndarray | None:
        """Return the pose ``[7]`` at a time, or None where odometry does not say.

        Waits a little for odometry that arrives after the image it belongs to, and carries the
        last motion on for a moment where it does not come.
        """
        deadline = time.monotonic() + patience_s
        with self._changed:
            while self._worth_waiting(stamp_ns):
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            return self._interpolate(stamp_ns)

    def _worth_waiting(self, stamp_ns: int) -> bool:
        if not self._poses:
            return False
        behind = stamp_ns - self._poses[-1][0]
        return 0 < behind < ALIVE_S * NANOSECONDS

    def _interpolate(self, stamp_ns: int) -> np.ndarray | None:
        if not self._poses:
            return None
        if stamp_ns > self._poses[-1][0]:
            return self._extrapolate(stamp_ns)
        stamps, poses = zip(*self._poses, strict=True)
        trajectory = Trajectory(np.array(stamps), np.stack(poses), 'odometry')
        return trajectory.at(stamp_ns, MAX_GAP_S)

    def _extrapolate(self, stamp_ns: int) -> np.ndarray | None:
        (last_ns, last), *before = islice(reversed(self._poses), 2)
        if stamp_ns - last_ns > EXTRAPOLATED_S * NANOSECONDS or not before:
            return None
        first_ns, first = before[0]
        if last_ns - first_ns > MAX_GAP_S * NANOSECONDS:
            return None
        return interpolate_pose(first, last, (stamp_ns - first_ns) / (last_ns - first_ns))
