"""Poses of a robot from a transform tree as published on ``/tf``."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from seqnet_ros.core.poses import Trajectory, make_trajectory

ROBOT_FRAMES = ('base_link', 'base_footprint')


class Transform(NamedTuple):
    """The pose ``[7]`` of a frame in its parent, at a time or, where static, at all times."""

    parent: str
    child: str
    stamp_ns: int
    pose: np.ndarray
    static: bool = False


class _Edge(NamedTuple):
    stamps_ns: np.ndarray
    poses: np.ndarray

    def at(self, stamps_ns: np.ndarray) -> np.ndarray:
        """Return the newest poses ``[N, 7]`` at some times; before the first pose, the first."""
        rows = np.searchsorted(self.stamps_ns, stamps_ns, side='right') - 1
        return self.poses[np.maximum(rows, 0)]


def follow_transforms(transforms: Iterable[Transform], origin: str) -> Trajectory | None:
    """Return the poses of the robot in the topmost frame above it, such as ``map``.

    The robot is ``base_link``, else ``base_footprint``, else the frame that moves most often. There
    is a pose whenever a transform on the path to the top frame was published.

    Args:
        transforms: of one recording, in any order.
        origin: their human-readable name.

    Returns:
        None where nothing moves.
    """
    collected: dict[str, list[Transform]] = {}
    for transform in transforms:
        collected.setdefault(transform.child, []).append(transform)
    moving = [child for child, found in collected.items() if not all(t.static for t in found)]
    if not moving:
        return None
    robot = next((name for name in ROBOT_FRAMES if name in collected),
                 max(moving, key=lambda child: len(collected[child])))
    chain = _way_up(robot, collected)
    edges = [_edge(collected[child]) for child in chain]
    parts = [edge.stamps_ns for child, edge in zip(chain, edges, strict=True) if child in moving]
    if not parts:
        return None
    stamps = np.unique(np.concatenate(parts))
    # Before the first transform of each of them, the pose of the robot is not known.
    stamps = stamps[stamps >= max(int(part[0]) for part in parts)]
    poses = edges[-1].at(stamps)
    for edge in edges[-2::-1]:
        poses = _compose(poses, edge.at(stamps))
    top = collected[chain[-1]][0].parent
    return make_trajectory(stamps, poses, f'{origin}, {robot} in {top}')


def _way_up(robot: str, collected: dict[str, list[Transform]]) -> list[str]:
    chain = [robot]
    while (parent := collected[chain[-1]][0].parent) in collected and parent not in chain:
        chain.append(parent)
    return chain


def _edge(found: list[Transform]) -> _Edge:
    ordered = sorted(found, key=lambda transform: transform.stamp_ns)
    return _Edge(np.array([transform.stamp_ns for transform in ordered], dtype=np.int64),
                 np.stack([transform.pose for transform in ordered]))


def _compose(parents: np.ndarray, children: np.ndarray) -> np.ndarray:
    """Return poses ``[N, 7]`` within poses ``[N, 7]``, in the frame of the latter's parents."""
    # Heavy to import, and needed here only.
    from scipy.spatial.transform import Rotation

    turned = Rotation.from_quat(parents[:, 3:])
    positions = parents[:, :3] + turned.apply(children[:, :3])
    return np.concatenate(
        [positions, (turned * Rotation.from_quat(children[:, 3:])).as_quat()], axis=1)
