"""The loop closer: images in, places seen before on the same drive out."""

from typing import Any

import numpy as np

from seqnet_ros.camera import CameraModel
from seqnet_ros.config.engine import EngineConfig, LoopConfig
from seqnet_ros.matching.loop_closer import LoopCloser
from seqnet_ros.matching.result import LoopResult, Reason
from seqnet_ros.msg import LoopClosure, PlaceMatch
from seqnet_ros.nodes.conversions import loop_to_message, match_to_message
from seqnet_ros.nodes.diagnostics import Report
from seqnet_ros.nodes.inputs.image_input import StampedImage
from seqnet_ros.nodes.map_saver import MappingNode
from seqnet_ros.nodes.outputs.markers import loop_markers
from seqnet_ros.nodes.outputs.shown import Remembered, Shown
from seqnet_ros.nodes.outputs.throttle import STATIONARY_EVERY_NS, Throttle
from seqnet_ros.nodes.run import run
from seqnet_ros.nodes.settings import LoopCloserSettings
from seqnet_ros.place_model import PlaceModel

ENGINE_PARAMETERS = ('sequence', 'keyframes', 'matching', 'acceptance')
_DRAWN_EVERY_NS = 1_000_000_000
_SHOWN_LOOPS = 2000


class LoopCloserNode(MappingNode):
    """Publishes ``~/loop_closure`` for loops that are believed, and those that are not apart."""

    engine: LoopCloser | None

    def __init__(self, **options: Any) -> None:
        """Declare the parameters; options as of `rclpy.node.Node`."""
        super().__init__('loop_closer', LoopCloserSettings(), ENGINE_PARAMETERS,
                         {'loop': LoopConfig()}, live=True, **options)
        self._drive = ''
        self._last: LoopResult | None = None
        self._standing = Throttle(STATIONARY_EVERY_NS)
        self._drawing = Throttle(_DRAWN_EVERY_NS)
        self._edges: list[tuple[int, int, bool]] = []
        self._loops = 0
        self._matches = self.create_lifecycle_publisher(PlaceMatch, '~/place_match', 10)
        self._closures = self.create_lifecycle_publisher(LoopClosure, '~/loop_closure', 10)
        self._rejected = self.create_lifecycle_publisher(
            LoopClosure, '~/rejected_loop_closure', 10)
        self._shown = Shown(self)

    # Configuring, on the worker's thread.

    def _open(self, settings: LoopCloserSettings, model: PlaceModel,
              config: EngineConfig) -> None:
        self._config = config
        self.engine = self._new_engine(settings, model)
        self._check_target(settings)

    def _new_engine(self, settings: LoopCloserSettings, model: PlaceModel) -> LoopCloser:
        return LoopCloser(model, self._config, self.settings.read('loop'),
                          keep_images=settings.keep_images, camera=self.camera_model)

    def _use_settings(self) -> None:
        assert self.model is not None
        assert self.engine is not None
        config = self.settings.read_engine(self.model.preset)
        self.engine.use_settings(config)
        self._config = config

    def _use_camera(self, camera: CameraModel) -> None:
        if self.engine is not None:
            self.engine.use_camera(camera)

    def _forget_places(self) -> str:
        assert self.model is not None
        count = self._places
        self._close()
        self.engine = self._new_engine(self.settings.read(), self.model)
        return f'{count} places were forgotten'

    def _close(self) -> None:
        super()._close()
        self._drive = ''
        self._last = None
        self._standing.reset()
        self._drawing.reset()
        self._edges.clear()
        self._loops = 0

    # Images, on the worker's thread.

    def _push(self, image: StampedImage, pose: np.ndarray | None) -> None:
        engine = self.engine
        assert engine is not None
        read = Remembered(image.read)
        result = engine.push_lazily(read, image.stamp_ns, pose)
        if result is None:
            return
        self._drive = self._drive or f'drive-{image.stamp_ns}'
        self._last = result
        self.statistics.describe.add(result.describe_seconds)
        if result.reason is Reason.STATIONARY and not self._standing.due(result.stamp_ns):
            return
        if result.candidates:
            self.statistics.match.add(result.match_seconds)
            self._publish_loop(result, image.frame_id)
        self._matches.publish(match_to_message(result, image.frame_id, self._drive))
        self._shown.show_pair(
            read, image.frame_id, result,
            lambda: None if result.best is None else engine.picture(result.best.place_id))
        self._show_drive(result.stamp_ns, engine)

    def _publish_loop(self, result: LoopResult, frame_id: str) -> None:
        assert result.best is not None
        assert result.place_id is not None
        publisher = self._closures if result.accepted else self._rejected
        publisher.publish(loop_to_message(result, frame_id, self._drive))
        self._loops += result.accepted
        self._edges.append((result.best.place_id, result.place_id, result.accepted))
        del self._edges[:-_SHOWN_LOOPS]

    def _show_drive(self, stamp_ns: int, engine: LoopCloser) -> None:
        """Show the drive about once a second, since all of it is sent."""
        if self._drawing.due(stamp_ns):
            self._shown.show_markers(lambda: loop_markers(
                engine.positions, self._edges, self.odometry_frame, stamp_ns))

    # Diagnostics.

    def _judge(self, report: Report) -> None:
        super()._judge(report)
        engine, last = self.engine, self._last
        if engine is None:
            return
        report.values.update({
            'drive': self._drive or 'not begun',
            'places old enough': engine.searchable,
            'loops closed': self._loops,
            'accepted distance': f'{engine.threshold:.4f}',
            'last result': 'none yet' if last is None else last.reason.name,
        })


def main() -> None:
    """Run the node until it is interrupted."""
    run(LoopCloserNode)
