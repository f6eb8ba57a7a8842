"""Whether the map that a node makes misses images or has holes, and why."""

import time
from collections.abc import Callable
from concurrent.futures import Future

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from seqnet_ros.maps.completeness import WORTH_TELLING, Completeness
from seqnet_ros.nodes.diagnostics import Level, Report
from seqnet_ros.nodes.image_pipeline import ImagePipeline

_LOOK_S = 1.0
_FIRST_AFTER = 20
"""Images before the first warning: the first ones may be lost to discovery."""
_INTERVAL_S = 10.0


class MapCompleteness:
    """Warns while the node maps, and explains what is missing when the map is saved.

    Args:
        node: the logging node.
        pipeline: where the images come from.
        completeness: returns what the stamps and poses of the drive say, None without a drive; on
            the worker's thread.
        without_pose: returns how many images were left out because they have no pose.
    """

    def __init__(self, node: Node, pipeline: ImagePipeline,
                 completeness: Callable[[], Completeness | None],
                 without_pose: Callable[[], int]) -> None:
        self._node = node
        self._pipeline = pipeline
        self._completeness = completeness
        self._without_pose = without_pose
        self._cure_of_losses = ''
        self._judging: Future | None = None
        self.reset()
        self._timer = node.create_timer(
            _LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def reset(self) -> None:
        """Begin with a new map."""
        self._warned_missing = 0
        self._warned_s = 0.0
        self._latest: Completeness | None = None

    @property
    def known_missing(self) -> int:
        """Images that the node knows it lost, for whatever reason."""
        self._pipeline.count_lost()
        counts = self._pipeline.statistics
        return counts.lost + counts.missed + counts.dropped + self._without_pose()

    def explain(self, found: Completeness) -> str:
        """Return what is missing, the causes that the node knows, and what helps."""
        counts = self._pipeline.statistics
        self._cure_of_losses = self._pipeline.cure_of_losses or self._cure_of_losses
        causes = []
        if counts.lost:
            causes.append(f'{counts.lost} were lost between camera and node. '
                          f'{self._cure_of_losses}')
        if counts.missed:
            causes.append(f'{counts.missed} came while the process was suspended')
        if counts.dropped:
            causes.append(f'{counts.dropped} were left out because the node was busy. Raise '
                          'image_queue_mb, lower the rate of the camera, or use a faster model or '
                          'device')
        if unposed := self._without_pose():
            causes.append(f'{unposed} had no pose. Check the rate and the stamps of the odometry '
                          f'on {self._pipeline.odometry.topic}')
        if not causes:
            causes.append('All that arrived were used: check the stamps and the rate of the camera')
        return f'the map is incomplete: {found}. ' + '. '.join(causes)

    def _look(self) -> None:
        """Judge between two images: the worker owns the engine."""
        if self._judging is None or self._judging.done():
            self._judging = self._pipeline.worker.submit(self._judge)

    def _judge(self) -> None:
        """Warn when enough is missing, and again when it has doubled."""
        self._cure_of_losses = self._pipeline.cure_of_losses or self._cure_of_losses
        found = self._latest = self._read()
        if found is None or found.images + found.missing < _FIRST_AFTER:
            return
        now_s = time.monotonic()
        if (found.missing_share < WORTH_TELLING or found.missing < 2 * self._warned_missing
                or (self._warned_s and now_s - self._warned_s < _INTERVAL_S)):
            return
        self._warned_missing, self._warned_s = found.missing, now_s
        self._node.get_logger().warning(self.explain(found))

    def _read(self) -> Completeness | None:
        found = self._completeness()
        if found is None:
            return None
        return found.model_copy(update={'missing': max(found.missing, self.known_missing)})

    def report(self, report: Report) -> None:
        """Add what is missing to a report."""
        found = self._latest
        if found is None:
            return
        report.values.update({
            'map images': found.images,
            'map images missing': found.missing,
            'map images missing (%)': round(100 * found.missing_share, 1),
            'map holes': found.holes,
            'map longest hole (m)': round(found.longest_hole_m, 1),
        })
        if found.images + found.missing >= _FIRST_AFTER and found.incomplete:
            report.level, report.message = Level.WARN, self.explain(found)
