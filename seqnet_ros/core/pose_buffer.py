"""The pose at a time while poses still arrive."""

import threading
from array import array
from bisect import bisect_left, bisect_right

import numpy as np

from seqnet_ros.core.poses import NANOSECONDS, find_neighbours, interpolate_pose


class PoseBuffer:
    """Poses in the order of their stamps. One thread adds them, another looks them up.

    A pose that is not newer than the last one is ignored. One that is older by more than
    ``restart_s`` restarts the buffer, as when a recording is played a second time.

    Args:
        max_gap_s: no pose is interpolated between two poses that are further apart.
        max_extrapolation_s: how far the motion of the last two poses is extrapolated.
        restart_s: how far stamps must go back to restart the buffer.
        min_step_s: of three poses within this time, the middle one is dropped; 0 keeps all.
        max_poses: the oldest poses beyond this number are dropped; None keeps all.
    """

    def __init__(self, max_gap_s: float, *, max_extrapolation_s: float = 0.0,
                 restart_s: float = 0.0, min_step_s: float = 0.0,
                 max_poses: int | None = None) -> None:
        self._max_gap_s = max_gap_s
        self._max_extrapolation_s = max_extrapolation_s
        self._restart_ns = round(restart_s * NANOSECONDS)  # whole: a float rounds stamps
        self._min_step_ns = min_step_s * NANOSECONDS
        self._max_poses = max_poses
        # Flat arrays: 64 bytes for each pose, where a list of NumPy arrays takes three times that.
        self._stamps = array('q')
        self._poses = array('d')
        self._changed = threading.Condition()
        self.restarts = 0
        """Number of restarts of the buffer."""

    def __len__(self) -> int:
        """Return the number of poses kept."""
        return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest pose; None where there is none."""
        with self._changed:
            return self._stamps[-1] if self._stamps else None

    def goes_back(self, stamp_ns: int) -> bool:
        """Return whether a pose of this time restarts the buffer."""
        with self._changed:
            return bool(self._stamps) and stamp_ns < self._stamps[-1] - self._restart_ns

    def covers(self, stamp_ns: int) -> bool:
        """Return whether a time is between the oldest and the newest pose, both included."""
        with self._changed:
            return bool(self._stamps) and self._stamps[0] <= stamp_ns <= self._stamps[-1]

    def add(self, stamp_ns: int, pose: np.ndarray) -> None:
        """Add a pose ``[7]``."""
        with self._changed:
            stamps = self._stamps
            if self.goes_back(stamp_ns):
                self._drop(len(stamps))
                self.restarts += 1
            elif stamps and stamp_ns <= stamps[-1]:
                return
            elif len(stamps) > 1 and stamp_ns - stamps[-2] < self._min_step_ns:
                del stamps[-1], self._poses[-7:]
            stamps.append(stamp_ns)
            self._poses.extend(pose.tolist())
            if self._max_poses is not None:
                self._drop(len(stamps) - self._max_poses)
            self._changed.notify()

    def at(self, stamp_ns: int, patience_s: float = 0.0) -> np.ndarray | None:
        """Return the pose ``[7]`` at a time; None outside the poses and inside a gap.

        Args:
            stamp_ns: the time.
            patience_s: how long to wait for a pose of this time or later. There is no wait if the
                newest pose is older than the longest gap, because none is expected.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._late(stamp_ns), patience_s)
            found = find_neighbours(
                self._stamps, stamp_ns, self._max_gap_s, self._max_extrapolation_s)
            if found is None:
                return None
            first, second = self._pose(found.first), self._pose(found.second)
        # The lock is free again: the thread that adds poses does not wait for the arithmetic.
        return interpolate_pose(first, second, found.fraction)

    def last_before(self, stamp_ns: int) -> int | None:
        """Return the stamp of the newest pose before a time; None where there is none."""
        with self._changed:
            row = bisect_left(self._stamps, stamp_ns) - 1
            return self._stamps[row] if row >= 0 else None

    def between(self, after_ns: int, before_ns: int) -> list[tuple[int, np.ndarray]]:
        """Return stamps and poses ``[7]`` after one time and before another, in their order."""
        with self._changed:
            rows = range(bisect_right(self._stamps, after_ns), bisect_left(self._stamps, before_ns))
            return [(self._stamps[row], self._pose(row)) for row in rows]

    def forget_before(self, stamp_ns: int) -> None:
        """Drop the poses before a time."""
        with self._changed:
            self._drop(bisect_left(self._stamps, stamp_ns))

    def _late(self, stamp_ns: int) -> bool:
        if not self._stamps:
            return False
        return 0 < stamp_ns - self._stamps[-1] < self._max_gap_s * NANOSECONDS

    def _pose(self, row: int) -> np.ndarray:
        return np.array(self._poses[7 * row: 7 * row + 7])

    def _drop(self, count: int) -> None:
        """Drop the oldest poses; a count below zero drops none."""
        if count > 0:
            del self._stamps[:count], self._poses[:7 * count]
