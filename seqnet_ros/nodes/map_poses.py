"""Whether the places of a map have poses."""

import time
from collections.abc import Callable

import numpy as np
from rclpy.node import Node

from seqnet_ros.nodes.diagnostics import Level, Report
from seqnet_ros.nodes.inputs.odometry_subscriber import OdometrySubscriber

DISCOVERY_S = 1.0
"""Odometry may be discovered this much later than the images."""


class MapPoses:
    """Decides at the first images of a map whether its places get poses: all do, or none does.

    So the first images wait for odometry that is announced, or that may not have been discovered
    yet.

    Args:
        node: the logging node.
        odometry: where poses come from.
        pose_at: returns the pose ``[7]`` at a time, or None.
        patience_s: returns how long announced odometry is waited for, seconds.

    Attributes:
        skipped: images without a pose, left out because the other places have one.
    """

    def __init__(self, node: Node, odometry: OdometrySubscriber,
                 pose_at: Callable[[int], np.ndarray | None],
                 patience_s: Callable[[], float]) -> None:
        self._node = node
        self._odometry = odometry
        self._pose_at = pose_at
        self._patience_s = patience_s
        self.reset()

    def reset(self) -> None:
        """Decide again, as for a new map."""
        self.skipped = 0
        self._posed: bool | None = None
        self._first_image_s: float | None = None

    def find(self, stamp_ns: int) -> tuple[bool, np.ndarray | None]:
        """Return whether an image can become a place, and its pose ``[7]`` where places have one.

        An image cannot while the decision is open, nor where the map has poses and odometry has
        none for this image.
        """
        pose = self._pose_at(stamp_ns) if self._posed is not False else None
        if self._posed is None:
            self._posed = self._decide(pose)
        elif self._posed and pose is None:
            self.skipped += 1
        return self._posed is False or pose is not None, pose

    def _decide(self, pose: np.ndarray | None) -> bool | None:
        if pose is not None:
            return True
        if self._odometry.subscribed:
            now = time.monotonic()
            self._first_image_s = self._first_image_s or now
            patience = self._patience_s() if self._odometry.announced else DISCOVERY_S
            if now - self._first_image_s < patience:
                return None
            self._node.get_logger().warning(
                f'no odometry on {self._odometry.topic}: the places of this map are put one meter '
                'apart on a line, frame number = metres')
        return False

    def report(self, report: Report) -> None:
        """Add what was decided to a report."""
        report.values['poses'] = {None: 'not decided yet', True: 'odometry',
                                  False: 'frame number = metres'}[self._posed]
        if self._posed is False and self._odometry.subscribed:
            report.level = Level.WARN
            report.message += ', no odometry'
