"""Loop closures as edges of a pose graph keyed by stamps, without ROS."""

from dataclasses import dataclass

import numpy as np

from seqnet_ros.nodes.bridges.loop_closure import Closure

UNKNOWN_VARIANCE = 1e6
"""Variance of an edge without a pose, m^2 and rad^2."""


@dataclass(frozen=True, eq=False)
class GraphEdge:
    """An edge between two stamps.

    Attributes:
        key_from: the older frame, nanoseconds.
        key_to: the newer frame, nanoseconds.
        rejected: it is reported, but not accepted.
        pose: of the newer frame in the older one, ``[7]``, meters.
        covariance: of ``pose``, ``[6, 6]``, along the axes of the older frame.
    """

    key_from: int
    key_to: int
    rejected: bool
    pose: np.ndarray
    covariance: np.ndarray


def make_edge(closure: Closure, rejected: bool) -> GraphEdge | None:
    """Return the edge of a closure; None if an accepted one has no metric pose.

    A rejected one without a metric pose is placed at the origin, with a very large
    variance.
    """
    pose, covariance = closure.pose, closure.covariance
    if pose is None or covariance is None:
        if not rejected:
            return None
        pose, covariance = np.array([0.0] * 6 + [1.0]), UNKNOWN_VARIANCE * np.eye(6)
    return GraphEdge(closure.from_ns, closure.to_ns, rejected, pose, covariance)
