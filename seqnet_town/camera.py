"""The camera: a pinhole that stands upright on the robot."""

from dataclasses import dataclass

import numpy as np

FAR = 1e4
"""Depth of what is infinitely far away, meters."""


@dataclass(frozen=True)
class Camera:
    """An ideal pinhole camera above ``base_link``, level with the ground.

    Attributes:
        width: pixels.
        height: pixels.
        fov_deg: horizontal field of view, degrees.
        yaw_deg: viewing direction relative to the robot, degrees, left positive.
        mount_height: height above the ground, meters.
    """

    width: int = 640
    height: int = 480
    fov_deg: float = 75.0
    yaw_deg: float = 0.0
    mount_height: float = 1.5

    @property
    def focal_length(self) -> float:
        """Focal length, pixels."""
        return self.width / 2 / np.tan(np.deg2rad(self.fov_deg) / 2)

    @property
    def matrix(self) -> np.ndarray:
        """Intrinsic matrix K, ``[3, 3]``."""
        return np.array([[self.focal_length, 0, (self.width - 1) / 2],
                         [0, self.focal_length, (self.height - 1) / 2],
                         [0, 0, 1]])


class PixelRays:
    """The rays of a camera's pixels, as tangents in its level axes (forward, left, up).

    Attributes:
        rise: how far a row looks up, float32 ``[H]``.
        side: how far a column looks left, float32 ``[W]``.
        edge: ``side`` of the outermost column.
        horizon: the first row that looks at the ground.
        ground_depth: forward distance of the ground in each row, meters, float32 ``[H]``.
    """

    def __init__(self, camera: Camera) -> None:
        focal = np.float32(camera.focal_length)
        rows = np.arange(camera.height, dtype=np.float32)
        columns = np.arange(camera.width, dtype=np.float32)
        self.rise = ((camera.height - 1) / 2 - rows) / focal
        self.side = ((camera.width - 1) / 2 - columns) / focal
        self.edge = float(self.side[0])
        self.horizon = int(np.count_nonzero(self.rise >= 0))
        self.ground_depth = np.full(camera.height, FAR, np.float32)
        self.ground_depth[self.horizon:] = -camera.mount_height / self.rise[self.horizon:]
