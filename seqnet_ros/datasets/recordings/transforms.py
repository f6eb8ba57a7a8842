"""Poses of a robot from a transform tree as published on ``/tf``."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import NANOSECONDS, Trajectory, make_trajectory

ROBOT_FRAMES = ('base_link', 'base_footprint')
"""Frames of a robot (REP-105), in order of preference; a namespace may be before them."""
WORLD_FRAMES = ('earth', 'map', 'odom', 'world')
"""Frames that a robot moves in. Poses of these in each other are corrections that jump."""
_MAX_GAP_NS = 2 * NANOSECONDS

_logger = logging.getLogger(__name__)


class NoRobotError(InputError):
    """Transforms that do not tell where a robot is."""


class Transform(NamedTuple):
    """The pose ``[7]`` of a frame in its parent, at a time or, where static, at all times."""

    parent: str
    child: str
    stamp_ns: int
    pose: np.ndarray
    static: bool = False


class _Edge(NamedTuple):
    """The poses of a frame in its parent.

    Attributes:
        parent: the parent.
        child: the frame.
        static: whether the pose holds at all times.
        stamps_ns: int64 ``[N]``, ascending, each once.
        poses: float64 ``[N, 7]``.
    """

    parent: str
    child: str
    static: bool
    stamps_ns: np.ndarray
    poses: np.ndarray

    @property
    def jumps(self) -> bool:
        """Whether a pose holds until the next one: static ones, and corrections of odometry."""
        return self.static or _plain(self.child) in WORLD_FRAMES

    def known_at(self, stamps_ns: np.ndarray) -> np.ndarray:
        """Return which times the poses cover, bool ``[N]``."""
        if self.static:
            return np.ones(len(stamps_ns), bool)
        after = np.searchsorted(self.stamps_ns, stamps_ns)
        begun = stamps_ns >= self.stamps_ns[0]
        if self.jumps:
            return begun
        inside = begun & (after < len(self.stamps_ns))
        row = np.clip(after, 1, len(self.stamps_ns) - 1)
        if len(self.stamps_ns) == 1:
            return inside
        near = self.stamps_ns[row] - self.stamps_ns[row - 1] <= _MAX_GAP_NS
        return inside & (near | np.isin(stamps_ns, self.stamps_ns))

    def at(self, stamps_ns: np.ndarray) -> np.ndarray:
        """Return the poses ``[N, 7]`` at times that are covered."""
        if self.jumps or len(self.stamps_ns) == 1:
            rows = np.searchsorted(self.stamps_ns, stamps_ns, side='right') - 1
            return self.poses[np.maximum(rows, 0)]
        # Heavy to import, and needed here only.
        from scipy.spatial.transform import Rotation, Slerp

        start = self.stamps_ns[0]
        known, wanted = (self.stamps_ns - start).astype(float), (stamps_ns - start).astype(float)
        positions = [np.interp(wanted, known, self.poses[:, axis]) for axis in range(3)]
        turns = Slerp(known, Rotation.from_quat(self.poses[:, 3:]))(wanted)
        return np.column_stack([*positions, turns.as_quat()])


def follow_transforms(transforms: Iterable[Transform], origin: str, topic: str = '/tf',
                      frames: Sequence[str] = ()) -> Trajectory | None:
    """Return the poses of the robot in the topmost frame above it, such as ``map``.

    The robot is ``base_link``, else ``base_footprint``, also within a namespace, else the one frame
    that moves directly in a frame such as ``odom``. As in tf2, a frame that moves has lost its
    static parent. There is a pose whenever a transform on the path to the top frame was published;
    others on it are interpolated, except for corrections such as ``map`` to ``odom``: the newest
    holds.

    Args:
        transforms: of one recording, in any order.
        origin: their human-readable name.
        topic: their topic, for messages.
        frames: the robot, or the parent that its poses are to be in and the robot.

    Returns:
        None where nothing moves.

    Raises:
        NoRobotError: no frame is a robot, or not the given one.
        InputError: a frame has two parents that both move it, or there are two robots.
    """
    tree = _Tree(transforms, origin, topic)
    if not tree.moving:
        return None
    robot = frames[-1].strip('/') if frames else tree.find_robot()
    chain = (tree.path(robot, frames[0].strip('/')) if len(frames) == 2
             else list(tree.way_up(robot)))
    parts = [edge for edge in chain if not edge.static]
    if not parts:
        return None
    stamps = np.unique(np.concatenate([edge.stamps_ns for edge in parts]))
    stamps = stamps[np.all([edge.known_at(stamps) for edge in parts], axis=0)]
    if not len(stamps):
        raise NoRobotError(f'{origin}: the transforms from {chain[-1].parent} to {robot} are never '
                           'known at one time')
    poses = chain[-1].at(stamps)
    for edge in chain[-2::-1]:
        poses = _compose(poses, edge.at(stamps))
    return make_trajectory(stamps, poses, f'{origin}, {robot} in {chain[-1].parent}')


class _Tree:
    """The frames of a recording, each with what was published as its parents."""

    def __init__(self, transforms: Iterable[Transform], origin: str, topic: str) -> None:
        found: dict[str, dict[str, list[Transform]]] = {}
        for transform in transforms:
            found.setdefault(transform.child, {}).setdefault(transform.parent, []).append(transform)
        self._origin, self._topic = origin, topic
        self._parents = {child: [_make_edge(items) for items in parents.values()]
                         for child, parents in found.items()}
        self.moving = {child for child, edges in self._parents.items()
                       if not all(edge.static for edge in edges)}

    def find_robot(self) -> str:
        """Return the frame of the robot, see `follow_transforms`."""
        for name in ROBOT_FRAMES:
            found = sorted(frame for frame in self._parents if _plain(frame) == name)
            if len(found) > 1:
                raise self._ambiguous(f'{len(found)} robots', found)
            if found:
                return found[0]
        above = {edge.parent for edges in self._parents.values() for edge in edges}
        if any(_plain(frame) in ROBOT_FRAMES for frame in above):
            raise NoRobotError(f'{self._origin}: nothing tells where {" or ".join(ROBOT_FRAMES)} '
                               'is, only what is below it')
        found = sorted(
            child for child in self.moving if _plain(child) not in WORLD_FRAMES
            and any(_plain(edge.parent) in WORLD_FRAMES for edge in self._parents[child]))
        found = found or sorted(self.moving)
        if len(found) > 1:
            raise NoRobotError(f'{self._origin}: no frame is called {" or ".join(ROBOT_FRAMES)}, '
                               f'and {len(found)} frames move: {_choices(self._topic, found)}')
        return found[0]

    def way_up(self, robot: str) -> Iterator[_Edge]:
        """Yield the transforms from the robot to the topmost frame."""
        frame, seen = robot, {robot}
        while frame in self._parents:
            edge = self._parent(frame, robot)
            yield edge
            if edge.parent in seen:
                raise InputError(f'{self._origin}: the frames {", ".join(sorted(seen))} are in a '
                                 'circle, expected a tree')
            frame = edge.parent
            seen.add(frame)
        if frame == robot:
            raise NoRobotError(f'{self._origin}: no transform leads to {robot}, frames found: '
                               f'{", ".join(sorted(self._parents))}')

    def path(self, robot: str, top: str) -> list[_Edge]:
        """Return the transforms from the robot to a frame above it."""
        paths = [[edge] for edge in self._parents.get(robot, [])]
        for _ in range(len(self._parents)):
            for path in paths:
                if path[-1].parent == top:
                    return path
            paths = [[*path, edge] for path in paths
                     for edge in self._parents.get(path[-1].parent, [])]
        raise NoRobotError(f'{self._origin}: no transforms lead from {top} to {robot}')

    def _parent(self, frame: str, robot: str) -> _Edge:
        edges = self._parents[frame]
        moving = [edge for edge in edges if not edge.static]
        if len(moving) > 1 or (not moving and len(edges) > 1):
            ways = [f'{edge.parent}:{robot}' for edge in moving or edges]
            raise self._ambiguous(f'{len(ways)} parents of {frame}', ways)
        if moving and len(edges) > 1:
            lost = ', '.join(edge.parent for edge in edges if edge.static)
            _logger.warning('%s: %s is static in %s and moves in %s: as in tf2, the motion counts',
                            self._origin, frame, lost, moving[0].parent)
        return (moving or edges)[0]

    def _ambiguous(self, what: str, choices: list[str]) -> InputError:
        return InputError(f'{self._origin} has {what}, specify one with --pose-topic: '
                          f'{_choices(self._topic, choices)}')


def _choices(topic: str, frames: Sequence[str]) -> str:
    return ', '.join(f'{topic}:{frame}' for frame in frames)


def _plain(frame: str) -> str:
    """Return the name of a frame without its namespace."""
    return frame.rsplit('/', 1)[-1]


def _make_edge(found: list[Transform]) -> _Edge:
    stamps = np.array([transform.stamp_ns for transform in found], dtype=np.int64)
    unique, rows = np.unique(stamps, return_index=True)
    return _Edge(found[0].parent, found[0].child, all(item.static for item in found), unique,
                 np.stack([found[row].pose for row in rows]))


def _compose(parents: np.ndarray, children: np.ndarray) -> np.ndarray:
    """Return poses ``[N, 7]`` within poses ``[N, 7]``, in the frame of the latter's parents."""
    # Heavy to import, and needed here only.
    from scipy.spatial.transform import Rotation

    turned = Rotation.from_quat(parents[:, 3:])
    positions = parents[:, :3] + turned.apply(children[:, :3])
    return np.concatenate(
        [positions, (turned * Rotation.from_quat(children[:, 3:])).as_quat()], axis=1)
