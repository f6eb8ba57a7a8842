"""Odometry poses of the robot at image times."""

from seqnet_ros.core.pose_buffer import PoseBuffer
from seqnet_ros.core.poses import RESTART_S

PATIENCE_S = 0.2
"""Maximum time an image waits for an odometry message newer than its stamp."""
KEPT = 10_000
"""Poses kept: the newest minute and more at 100 Hz, because images may wait in a queue."""


def make_odometry_buffer() -> PoseBuffer:
    """Return a buffer for recent odometry."""
    # Odometry comes at 10 Hz and more: over a hole of a second, a robot may have turned around.
    # Where it is late, half a second of straight motion is better than an image without a pose.
    return PoseBuffer(
        max_gap_s=1.0, max_extrapolation_s=0.5, restart_s=RESTART_S, max_poses=KEPT)
