"""The loop closer: images in, places seen before on the same drive out."""

from typing import Any

from seqnet_ros.config.engine import LoopConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.localization.loop_closer import LoopCloser
from seqnet_ros.localization.result import LoopResult, Reason
from seqnet_ros.models.place_model import PlaceModel, load_preset
from seqnet_ros.msg import LoopClosure, PlaceMatch
from seqnet_ros.nodes.conversions import loop_to_message, match_to_message
from seqnet_ros.nodes.diagnostics import DiagnosticsReporter, Report
from seqnet_ros.nodes.image_pipeline import ImagePipeline
from seqnet_ros.nodes.inputs.image_input import StampedImage
from seqnet_ros.nodes.managed_node import ManagedNode
from seqnet_ros.nodes.map_poses import MapPoses
from seqnet_ros.nodes.map_saver import MapSaver
from seqnet_ros.nodes.model_loading import describe_model, load_mapping_model, model_values
from seqnet_ros.nodes.outputs.markers import loop_markers
from seqnet_ros.nodes.outputs.throttle import STATIONARY_EVERY_NS, Throttle
from seqnet_ros.nodes.outputs.visualization import CachedImage, VisualizationPublisher
from seqnet_ros.nodes.parameters import NodeParameters
from seqnet_ros.nodes.run import run
from seqnet_ros.nodes.services import ServiceGroup
from seqnet_ros.nodes.settings import LoopCloserSettings

ENGINE_PARAMETERS = (
    'sequence', 'keyframes', 'localization', 'filter', 'matching', 'acceptance')
_MARKERS_EVERY_NS = 1_000_000_000
_MOST_EDGES = 2000
"""Older loops are no longer drawn."""


class LoopCloserNode(ManagedNode):
    """Publishes accepted loops on ``~/loop_closure``, others on ``~/rejected_loop_closure``.

    Attributes:
        model: describes the images, None while the node is unconfigured.
        engine: finds loops and collects places, None while the node is unconfigured; the
            pipeline's worker owns it.
    """

    def __init__(self, **options: Any) -> None:
        """Declare parameters, topics and services; options as for `rclpy.node.Node`."""
        super().__init__('loop_closer', **options)
        self.model: PlaceModel | None = None
        self.engine: LoopCloser | None = None
        services = ServiceGroup(self)
        self.pipeline = ImagePipeline(
            self, services, lambda: self.phase, process=self._process,
            use_camera=self._use_camera, clear=self._clear)
        self._map_poses = MapPoses(
            self, self.pipeline.odometry, self.pipeline.pose_at,
            lambda: self.settings.read().silence_after_s)
        self._map_saver = MapSaver(
            self, services, self.pipeline, lambda: self.settings.read(), lambda: self.engine,
            lambda: self._map_poses.skipped)
        self._matches = self.create_lifecycle_publisher(PlaceMatch, '~/place_match', 10)
        self._closures = self.create_lifecycle_publisher(LoopClosure, '~/loop_closure', 10)
        self._rejected = self.create_lifecycle_publisher(
            LoopClosure, '~/rejected_loop_closure', 10)
        self._visualization = VisualizationPublisher(self)
        self._stationary = Throttle(STATIONARY_EVERY_NS)
        self._markers = Throttle(_MARKERS_EVERY_NS)
        self._start_drive(None)
        # After the parts: if a parameter is rejected, the node is destroyed with all of them.
        self.settings = NodeParameters(
            self, LoopCloserSettings(), ENGINE_PARAMETERS, {'loop': LoopConfig()},
            lambda: self.phase, _preset,
            lambda: self.pipeline.apply_settings(self._use_settings))
        self.diagnostics = DiagnosticsReporter(
            self, self.get_parameter('diagnostics_period_s').value, self.report_state,
            self._report, self.pipeline.report, self.report_trouble)

    # Lifecycle.

    def configure(self) -> None:
        """Load the model, on the worker's thread."""
        settings: LoopCloserSettings = self.settings.read()
        self.pipeline.open(settings, lambda: self._load(settings))

    def activate(self) -> None:
        """Subscribe to images, odometry and the camera's calibration."""
        assert self.model is not None
        settings: LoopCloserSettings = self.settings.read()
        calibrated = self.model.engine.geometry is not None and settings.use_camera_info
        self.pipeline.start(settings, self.model.config.cameras, calibrated)

    def deactivate(self) -> None:
        """Unsubscribe, wait for the image in work, and save the map where that is set."""
        self.pipeline.stop()
        self._map_saver.save_unsaved()

    def cleanup(self) -> None:
        """Stop the worker and release model and drive."""
        self.pipeline.close()
        self.model = None
        self._start_drive(None)

    # Model and drive, on the worker's thread.

    def _load(self, settings: LoopCloserSettings) -> None:
        self.model = model = load_mapping_model(settings)
        self._base_frame, self._robot_id = settings.base_frame, settings.robot_id
        self._config = self.settings.read_engine(_preset(settings))
        self._start_drive(self._new_engine(settings, model))
        self._map_saver.check_target()
        self.get_logger().info(describe_model(model))

    def _new_engine(self, settings: LoopCloserSettings, model: PlaceModel) -> LoopCloser:
        return LoopCloser(model, self._config, self.settings.read('loop'),
                          keep_images=settings.keep_images, camera=self.pipeline.camera)

    def _start_drive(self, engine: LoopCloser | None) -> None:
        self.engine = engine
        self._map_poses.reset()
        self._map_saver.reset()
        self._drive = ''
        self._last: LoopResult | None = None
        self._edges: list[tuple[int, int, bool]] = []
        self._loops = 0
        self._stationary.reset()
        self._markers.reset()

    def _use_settings(self) -> None:
        assert self.model is not None
        assert self.engine is not None
        config = self.settings.read_engine(self.model.preset)
        self.engine.use_settings(config)
        self._config = config

    def _use_camera(self, camera: CameraModel) -> None:
        if self.engine is not None:
            self.engine.use_camera(camera)

    def _clear(self) -> str:
        assert self.model is not None
        places = self._map_saver.places
        self._start_drive(self._new_engine(self.settings.read(), self.model))
        return f'discarded {places} places'

    # Images, on the worker's thread.

    def _process(self, image: StampedImage) -> None:
        engine = self.engine
        assert engine is not None
        usable, pose = self._map_poses.find(image.stamp_ns)
        if not usable:
            return
        read = CachedImage(image.read)
        result = engine.push_lazily(read, image.stamp_ns, pose)
        if result is None:
            return
        self._drive = self._drive or f'drive-{image.stamp_ns}'
        self._last = result
        self.pipeline.statistics.describe.add(result.describe_seconds)
        if result.reason is Reason.STATIONARY and not self._stationary.due(result.stamp_ns):
            return
        if result.candidates:
            self.pipeline.statistics.match.add(result.match_seconds)
            self._publish_loop(result, image.frame_id)
        self._matches.publish(match_to_message(
            result, image.frame_id, self._drive, self.pipeline.odometry.frame, self._robot_id))
        self._visualization.publish_debug_image(
            read, image.frame_id, result,
            lambda: None if result.best is None else engine.picture(result.best.place_id))
        self._publish_drive(result.stamp_ns, engine)

    def _publish_loop(self, result: LoopResult, frame_id: str) -> None:
        assert result.best is not None
        assert result.place_id is not None
        publisher = self._closures if result.accepted else self._rejected
        publisher.publish(loop_to_message(
            result, frame_id, self._drive, self._base_frame, self._robot_id))
        self._loops += result.accepted
        self._edges.append((result.best.place_id, result.place_id, result.accepted))
        del self._edges[:-_MOST_EDGES]

    def _publish_drive(self, stamp_ns: int, engine: LoopCloser) -> None:
        """Publish the markers of the drive about once a second, since all of it is sent."""
        if self._markers.due(stamp_ns):
            self._visualization.publish_markers(lambda: loop_markers(
                engine.positions, self._edges, self.pipeline.odometry.frame, stamp_ns))

    # Diagnostics.

    def _report(self, report: Report) -> None:
        report.values.update(model_values(self.model))
        if not self.configured:
            return
        self._map_saver.report(report)
        self._map_poses.report(report)
        engine, last = self.engine, self._last
        if engine is None:
            return
        report.values.update({
            'drive': self._drive or 'not begun',
            'places old enough': engine.searchable,
            'loops closed': self._loops,
            'accepted distance': f'{engine.threshold:.4f}',
            'images out of order': engine.late_images,
            'last result': 'none yet' if last is None else last.reason.name,
        })


def _preset(settings: LoopCloserSettings) -> Preset:
    return load_preset(settings.model)[0]


def main() -> None:
    """Run the node until it is interrupted."""
    run(LoopCloserNode)
