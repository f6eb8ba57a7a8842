"""Loop closures on their way to a pose graph, without ROS."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Closure:
    """A revisited place.

    Attributes:
        from_ns: stamp of the older frame.
        to_ns: stamp of the newer frame.
        pose: of the robot at the newer frame in the robot at the older one, ``[7]``, meters; None
            where it is not known, or only its direction.
        covariance: of ``pose``, ``[6, 6]``: x, y, z and rotations about x, y, z, along the axes of
            the older frame; None with it.
    """

    from_ns: int
    to_ns: int
    pose: np.ndarray | None = None
    covariance: np.ndarray | None = None
