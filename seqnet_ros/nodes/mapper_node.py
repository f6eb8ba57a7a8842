"""The mapper: images in, a map of places out."""

import time
from pathlib import Path
from typing import Any

from seqnet_ros.config.preset import Preset
from seqnet_ros.config.upkeep import UpkeepConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import InputError
from seqnet_ros.maps.map_extension import save_extension
from seqnet_ros.maps.map_reader import open_map, read_manifest
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, build_map_model, load_preset
from seqnet_ros.nodes.diagnostics import DiagnosticsReporter, Report
from seqnet_ros.nodes.image_pipeline import ImagePipeline
from seqnet_ros.nodes.inputs.image_input import StampedImage
from seqnet_ros.nodes.managed_node import ManagedNode
from seqnet_ros.nodes.map_poses import MapPoses
from seqnet_ros.nodes.map_saver import MapSaver, Saved
from seqnet_ros.nodes.model_loading import (
    describe_model,
    load_mapping_model,
    local_weights,
    model_values,
)
from seqnet_ros.nodes.parameters import NodeParameters
from seqnet_ros.nodes.run import run
from seqnet_ros.nodes.services import ServiceGroup
from seqnet_ros.nodes.settings import MapperSettings, user_path
from seqnet_ros.sessions.pose_graph import require_gtsam

ENGINE_PARAMETERS = ('keyframes',)
_MOSTLY = 0.8
"""Of a drive that refreshes a map."""


class MapperNode(ManagedNode):
    """Maps while active; adds to an existing map where ``extend`` is set.

    Attributes:
        model: describes the images, None while the node is unconfigured.
        engine: collects places, None while the node is unconfigured; the pipeline's worker owns it.
    """

    def __init__(self, **options: Any) -> None:
        """Declare parameters, topics and services; options as for `rclpy.node.Node`."""
        super().__init__('mapper', **options)
        self.model: PlaceModel | None = None
        self.engine: Mapper | None = None
        self._extended: PlaceMap | None = None
        services = ServiceGroup(self)
        self.pipeline = ImagePipeline(
            self, services, lambda: self.phase, process=self._process,
            use_camera=self._use_camera, clear=self._clear)
        self._map_poses = MapPoses(
            self, self.pipeline.odometry, self.pipeline.pose_at,
            lambda: self.settings.read().silence_after_s)
        self._map_saver = MapSaver(
            self, services, self.pipeline, lambda: self.settings.read(), lambda: self.engine,
            lambda: self._map_poses.skipped, self._save_extension, self._make_map)
        # After the parts: if a parameter is rejected, the node is destroyed with all of them.
        self.settings = NodeParameters(
            self, MapperSettings(), ENGINE_PARAMETERS, {}, lambda: self.phase, _preset)
        self.diagnostics = DiagnosticsReporter(
            self, self.get_parameter('diagnostics_period_s').value, self.report_state,
            self._report, self.pipeline.report, self.report_trouble)

    # Lifecycle.

    def configure(self) -> None:
        """Load the model and the map to extend, on the worker's thread."""
        settings: MapperSettings = self.settings.read()
        self.pipeline.open(settings, lambda: self._load(settings))

    def activate(self) -> None:
        """Subscribe to images, odometry and the camera's calibration."""
        assert self.model is not None
        settings: MapperSettings = self.settings.read()
        calibrated = self.model.engine.geometry is not None and settings.use_camera_info
        self.pipeline.start(settings, self.model.config.cameras, calibrated)

    def deactivate(self) -> None:
        """Unsubscribe, wait for the image in work, and save the map where that is set."""
        self.pipeline.stop()
        self._map_saver.save_unsaved()

    def cleanup(self) -> None:
        """Stop the worker and release model and map."""
        self.pipeline.close()
        self.model = None
        self._extended = None
        self._start_map(None)

    # Model and map, on the worker's thread.

    def _load(self, settings: MapperSettings) -> None:
        self.model = model = _load_model(settings)
        self._config = self.settings.read_engine(_preset(settings))
        if settings.refresh and not settings.extend:
            raise InputError('refresh is set without extend, expected both: a map is refreshed by '
                             'drives along it')
        if settings.extend and (settings.align or settings.refresh):
            require_gtsam()
        if settings.extend:
            path = user_path(settings.map)
            self._extended = open_map(path, model, verify=True)
            self.get_logger().info(f'extending map {path}: {len(self._extended)} places')
        self._start_map(self._new_engine(settings, model))
        extended = self._extended
        self._map_saver.check_target(None if extended is None else extended.manifest.map_id)
        self.get_logger().info(describe_model(model))

    def _new_engine(self, settings: MapperSettings, model: PlaceModel) -> Mapper:
        extended = self._extended
        camera = self.pipeline.camera if extended is None else extended.manifest.camera_model
        keep = settings.keep_images if extended is None else extended.images is not None
        return Mapper(model, self._config, extended, keep_images=keep, camera=camera)

    def _start_map(self, engine: Mapper | None) -> None:
        self.engine = engine
        self._map_poses.reset()
        self._map_saver.reset()

    def _use_camera(self, camera: CameraModel) -> None:
        if self.engine is not None:
            self.engine.camera = camera

    def _clear(self) -> str:
        assert self.model is not None
        places = self._map_saver.places
        self._start_map(self._new_engine(self.settings.read(), self.model))
        return f'discarded {places} places'

    def _make_map(self, source: str, pose_origin: str, alone: bool) -> PlaceMap:
        engine = self.engine
        assert engine is not None
        settings: MapperSettings = self.settings.read()
        if alone or engine.extends is None or not (settings.align or settings.refresh):
            return engine.finish(source, pose_origin, alone=alone)
        if settings.refresh:
            return self._refreshed(engine.extends, engine, source, pose_origin, settings)
        from seqnet_ros.sessions.alignment import align  # with the localizer and scipy

        aligned = align(engine.extends, engine)
        self.get_logger().info(f'aligned with the map: {aligned}')
        return engine.finish(source, pose_origin, poses=aligned.poses)

    def _refreshed(self, place_map: PlaceMap, engine: Mapper, source: str, pose_origin: str,
                   settings: MapperSettings) -> PlaceMap:
        from seqnet_ros.pipelines.refresh import refresh_map  # with the localizer and scipy

        refreshed = refresh_map(place_map, engine, source, pose_origin,
                                UpkeepConfig(most_views=settings.most_views))
        found = refreshed.alignment
        self.get_logger().info(f'aligned with the map: {found}; {refreshed}')
        if refreshed.certain_m < _MOSTLY * found.route_m:
            self.get_logger().warning(
                f'{found.route_m - refreshed.certain_m:.0f} of {found.route_m:.0f} m were not '
                'found on the map and are left out: refresh adds no new streets, extend does')
        return refreshed.place_map

    def _save_extension(self, path: Path, backup: bool) -> Saved | None:
        """Save the map with this drive in place of the map that is extended, at its path."""
        if self._extended is None or path != user_path(self.settings.read().map):
            return None
        assert self.engine is not None
        finish = self._map_saver.finish
        saved = save_extension(self.engine, finish(), finish, path, backup=backup)
        self._extended = self.engine.extends
        return saved

    # Images, on the worker's thread.

    def _process(self, image: StampedImage) -> None:
        assert self.engine is not None
        usable, pose = self._map_poses.find(image.stamp_ns)
        if not usable:
            return
        started = time.perf_counter()
        if self.engine.push_lazily(image.read, image.stamp_ns, pose):
            self.pipeline.statistics.describe.add(time.perf_counter() - started)

    # Diagnostics.

    def _report(self, report: Report) -> None:
        report.values.update(model_values(self.model))
        if self.configured:
            self._map_saver.report(report)
            self._map_poses.report(report)
        if self.engine is not None:
            report.values['images out of order'] = self.engine.late_images


def _preset(settings: MapperSettings) -> Preset:
    """Return model and settings of the map that is extended, or those of the model."""
    if settings.extend and settings.map:
        return read_manifest(user_path(settings.map))[0].preset
    return load_preset(settings.model)[0]


def _load_model(settings: MapperSettings) -> PlaceModel:
    """Load the model of the map that is extended, or the one that is set."""
    if not settings.extend:
        return load_mapping_model(settings)
    if not settings.map:
        raise InputError('extend is set, but the parameter map is empty: set it to the map to '
                         'extend')
    return build_map_model(_preset(settings), settings.device, local_weights(settings),
                           user_path(settings.map))


def main() -> None:
    """Run the node until it is interrupted."""
    run(MapperNode)
