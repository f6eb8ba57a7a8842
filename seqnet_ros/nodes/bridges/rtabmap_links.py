"""Loop closures between stamps become links between the numbered nodes of a graph, without ROS."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.pose_buffer import PoseBuffer
from seqnet_ros.core.poses import pose_from_matrix, pose_matrix
from seqnet_ros.nodes.bridges.loop_closure import Closure
from seqnet_ros.sequences.keyframes import NANOSECONDS


def make_drive_buffer() -> PoseBuffer:
    """Return a buffer for the odometry of a whole drive."""
    # The links of a graph are metric, so no motion is guessed across a hole of a second. Poses
    # are never dropped, as a loop reaches back to any time: thinned to at most 20 a second, they
    # take 4.6 MB an hour.
    return PoseBuffer(max_gap_s=1.0, min_step_s=0.1)


class GraphNodes:
    """The nodes of a graph by stamp.

    A node counts once both its stamp and its place in the graph are known: graphs drop nodes again
    (a robot that stands still) or keep only those near the robot.
    """

    def __init__(self) -> None:
        self._stamps: list[int] = []
        self._ids: list[int] = []
        self._in_graph: frozenset[int] = frozenset()
        self._graph_ns = -1

    def __len__(self) -> int:
        """Return the number of nodes whose stamps are known."""
        return len(self._ids)

    def add(self, node_id: int, stamp_ns: int) -> None:
        """Add the newest node; a node older than the last one restarts the graph."""
        if self._ids and (node_id < self._ids[-1] or stamp_ns < self._stamps[-1]):
            self._stamps.clear()
            self._ids.clear()
        if self._ids and node_id == self._ids[-1]:  # dropped, and its number used again
            self._stamps[-1] = stamp_ns
            return
        self._stamps.append(stamp_ns)
        self._ids.append(node_id)

    def keep(self, node_ids: Iterable[int], stamp_ns: int) -> None:
        """Set the nodes that the graph has at a time."""
        self._in_graph = frozenset(node_ids)
        self._graph_ns = stamp_ns

    def reach(self, stamp_ns: int) -> bool:
        """Return whether there are nodes up to a time, so that the nearest one is known."""
        return bool(self._stamps) and min(self._stamps[-1], self._graph_ns) >= stamp_ns

    def nearest(self, stamp_ns: int) -> tuple[int, int] | None:
        """Return id and stamp of the node in the graph that is nearest in time."""
        right = bisect_left(self._stamps, stamp_ns)
        before = next((i for i in range(right - 1, -1, -1) if self._ids[i] in self._in_graph), None)
        after = next((i for i in range(right, len(self._ids)) if self._ids[i] in self._in_graph),
                     None)
        found = [i for i in (before, after) if i is not None]
        if not found:
            return None
        best = min(found, key=lambda i: abs(self._stamps[i] - stamp_ns))
        return self._ids[best], self._stamps[best]


@dataclass(frozen=True, eq=False)
class GraphLink:
    """A link between two nodes of a graph.

    Attributes:
        from_id: the older node.
        to_id: the newer node.
        pose: of the newer node in the older one, ``[7]``, meters.
        information: inverse of the covariance of ``pose``, ``[6, 6]``: x, y, z and rotations about
            x, y, z, along the axes of the newer node, as optimizers of graphs take it.
    """

    from_id: int
    to_id: int
    pose: np.ndarray
    information: np.ndarray


@dataclass(frozen=True)
class LinkLimits:
    """Maximum time between a node and a stamp, and maximum wait for a node, seconds.

    Attributes:
        offset_s: if odometry gives the motion between the two.
        offset_without_odometry_s: if it does not.
        timeout_s: how long a closure waits for its nodes.
    """

    offset_s: float
    offset_without_odometry_s: float
    timeout_s: float


@dataclass(frozen=True, eq=False)
class Dropped:
    """A closure without a link, and the reason."""

    closure: Closure
    reason: str


class LinkQueue:
    """Closures that wait for the nodes that they link.

    Args:
        nodes: of the graph.
        odometry: of the drive.
        limits: maximum times, see `LinkLimits`.
    """

    def __init__(self, nodes: GraphNodes, odometry: PoseBuffer, limits: LinkLimits) -> None:
        self._nodes = nodes
        self._odometry = odometry
        self._limits = limits
        self._waiting: list[tuple[float, Closure]] = []
        self.counts: Counter[str] = Counter()
        """Number of closures 'linked', 'dropped', and 'without a metric pose'."""

    def __len__(self) -> int:
        """Return the number of waiting closures."""
        return len(self._waiting)

    def add(self, closure: Closure, now_s: float) -> bool:
        """Add a closure at a time of any steady clock; return False if it has no pose."""
        if closure.pose is None:
            self.counts['without a metric pose'] += 1
            return False
        self._waiting.append((now_s, closure))
        return True

    def take(self, now_s: float) -> tuple[list[GraphLink], list[Dropped]]:
        """Return the links that can be made now, and the closures that waited too long."""
        links: list[GraphLink] = []
        dropped: list[Dropped] = []
        waiting = []
        for since_s, closure in self._waiting:
            late = now_s - since_s >= self._limits.timeout_s
            if not (late or self._nodes.reach(closure.to_ns)):
                waiting.append((since_s, closure))
                continue
            try:
                links.append(self._link(closure))
            except InputError as error:
                if late:
                    dropped.append(Dropped(closure, str(error)))
                else:
                    waiting.append((since_s, closure))
        self._waiting = waiting
        self.counts['linked'] += len(links)
        self.counts['dropped'] += len(dropped)
        return links, dropped

    def _link(self, closure: Closure) -> GraphLink:
        """Return the link of a closure.

        Raises:
            InputError: it cannot be made, or not yet.
        """
        assert closure.pose is not None
        assert closure.covariance is not None
        older_id, to_older = self._node_at(closure.from_ns)
        newer_id, to_newer = self._node_at(closure.to_ns)
        if older_id == newer_id:
            raise InputError(f'both frames are nearest to node {older_id}')
        measured = pose_matrix(closure.pose)
        covariance = _moved_covariance(closure.covariance, measured, to_newer)
        try:
            np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            raise InputError('its covariance is not positive definite') from None
        moved = np.linalg.inv(to_older) @ measured @ to_newer
        return GraphLink(older_id, newer_id, pose_from_matrix(moved), np.linalg.inv(covariance))

    def _node_at(self, stamp_ns: int) -> tuple[int, np.ndarray]:
        """Return the nearest node, and its pose ``[4, 4]`` in the robot at a time.

        Raises:
            InputError: there is none near enough.
        """
        found = self._nodes.nearest(stamp_ns)
        if found is None:
            raise InputError('the graph has no nodes yet')
        node_id, node_ns = found
        offset_s = abs(node_ns - stamp_ns) / NANOSECONDS
        here, there = self._odometry.at(stamp_ns), self._odometry.at(node_ns)
        known = here is not None and there is not None
        limit = self._limits.offset_s if known else self._limits.offset_without_odometry_s
        if offset_s > limit:
            why = '' if known else ' without odometry'
            raise InputError(f'the nearest node, {node_id}, is {offset_s:.3f} s from the frame at '
                             f'{stamp_ns / NANOSECONDS:.3f} s, expected at most {limit:g} s{why}')
        if here is None or there is None:
            return node_id, np.eye(4)
        return node_id, np.linalg.inv(pose_matrix(here)) @ pose_matrix(there)


def _moved_covariance(covariance: np.ndarray, measured: np.ndarray,
                      onward: np.ndarray) -> np.ndarray:
    """Return the covariance of ``measured @ onward`` along the axes of its end.

    Args:
        covariance: of ``measured``, ``[6, 6]``, along the axes of its beginning.
        measured: pose ``[4, 4]``.
        onward: exact pose ``[4, 4]``; its length is a lever for the rotation.
    """
    to_end = np.kron(np.eye(2), measured[:3, :3].T)
    x, y, z = onward[:3, 3]
    lever = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = onward[:3, :3].T
    jacobian = np.block([[turn, -turn @ lever], [np.zeros((3, 3)), turn]]) @ to_end
    return jacobian @ covariance @ jacobian.T
