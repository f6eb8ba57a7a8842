"""The localizer: images in, places of loaded maps out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.lifecycle import TransitionCallbackReturn

from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.images import pixel_limit
from seqnet_ros.core.memory import give_back_memory
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.map_search import prepare_map
from seqnet_ros.localization.result import MatchResult, Reason
from seqnet_ros.localization.status import Status, StatusTracker
from seqnet_ros.maps.collection.collection_file import is_collection, map_manifest
from seqnet_ros.maps.fleet.address import FleetAddress
from seqnet_ros.maps.fleet.fleet_collection import (
    FleetCollection,
    first_map,
    open_collection,
)
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.place_map import MapManifest, PlaceMap
from seqnet_ros.models.place_model import PlaceModel, build_map_model, load_model, load_preset
from seqnet_ros.msg import PlaceMatch
from seqnet_ros.nodes.conversions import match_to_message
from seqnet_ros.nodes.diagnostics import DiagnosticsReporter, Level, Report
from seqnet_ros.nodes.find_place import FindPlaceService
from seqnet_ros.nodes.image_pipeline import ImagePipeline
from seqnet_ros.nodes.inputs.image_input import StampedImage
from seqnet_ros.nodes.inputs.tile_priors import TilePriors
from seqnet_ros.nodes.managed_node import ManagedNode
from seqnet_ros.nodes.map_services import MapServices, Source, searched
from seqnet_ros.nodes.model_loading import describe_model, local_weights, model_values
from seqnet_ros.nodes.outputs.belief import BeliefPublisher
from seqnet_ros.nodes.outputs.markers import (
    belief_markers,
    match_markers,
    no_belief,
    route_markers,
)
from seqnet_ros.nodes.outputs.pose_publisher import PosePublisher
from seqnet_ros.nodes.outputs.status import StatusPublisher
from seqnet_ros.nodes.outputs.throttle import STATIONARY_EVERY_NS, Throttle
from seqnet_ros.nodes.outputs.tile import TilePublisher
from seqnet_ros.nodes.outputs.visualization import CachedImage, VisualizationPublisher
from seqnet_ros.nodes.parameters import NodeParameters
from seqnet_ros.nodes.relocalize import RelocalizeService
from seqnet_ros.nodes.run import run
from seqnet_ros.nodes.services import ServiceGroup, StateError
from seqnet_ros.nodes.settings import LocalizerSettings, map_sources

ENGINE_PARAMETERS = (
    'sequence', 'keyframes', 'localization', 'filter', 'odometry_gate', 'matching', 'acceptance')
_COLLECTION, _FLEET = 'collection', 'fleet'


class LocalizerNode(ManagedNode):
    """Publishes ``~/place_match`` for every image used and ``~/pose`` for accepted ones.

    Attributes:
        model: the model that the maps were made with, None while the node is unconfigured.
        engine: finds places, None while no map is loaded; the pipeline's worker owns it.
        config: the settings that the engine uses.
        map_paths: paths of the maps in use, or the address of one on a server.
    """

    def __init__(self, **options: Any) -> None:
        """Declare parameters, topics and services; options as for `rclpy.node.Node`."""
        super().__init__('localizer', **options)
        self.model: PlaceModel | None = None
        self._prepared_for: PlaceModel | None = None
        self.engine: Localizer | None = None
        self.map_paths: tuple[Source, ...] = ()
        self._last: MatchResult | None = None
        self._tracker = StatusTracker(LocalizerSettings().carry_limit_m)
        services = ServiceGroup(self)
        self.pipeline = ImagePipeline(
            self, services, lambda: self.phase, process=self._process,
            use_camera=self._use_camera, clear=self._clear)
        self._map_services = MapServices(
            services, self.pipeline, lambda: self.engine, self._prepare_maps,
            self._use_maps, lambda: self.map_paths)
        self.priors = TilePriors(self)
        FindPlaceService(
            services, self.pipeline, lambda: self.engine,
            lambda: pixel_limit(self.settings.read().max_image_megapixels), self._to_message)
        self.relocalization = RelocalizeService(
            self, services, self.pipeline, lambda: self.phase, self._relocalize)
        self._matches = self.create_lifecycle_publisher(PlaceMatch, '~/place_match', 10)
        self._pose_publisher = PosePublisher(self)
        self._status = StatusPublisher(self, self._read_status, lambda: self.pipeline.silent)
        self._visualization = VisualizationPublisher(self)
        self._belief = BeliefPublisher(self)
        self._tile = TilePublisher(self)
        self._stationary = Throttle(STATIONARY_EVERY_NS)
        # After the parts: if a parameter is rejected, the node is destroyed with all of them.
        self.settings = NodeParameters(
            self, LocalizerSettings(), ENGINE_PARAMETERS,
            {_COLLECTION: CollectionConfig(), _FLEET: FleetConfig()}, lambda: self.phase, _preset,
            lambda: self.pipeline.apply_settings(self._use_settings))
        self.diagnostics = DiagnosticsReporter(
            self, self.get_parameter('diagnostics_period_s').value, self.report_state,
            self._report, self.pipeline.report, self.report_trouble)

    # Lifecycle.

    def configure(self) -> None:
        """Load the model and the maps, on the worker's thread."""
        settings: LocalizerSettings = self.settings.read()
        self.pipeline.open(settings, lambda: self._load(settings))

    def activate(self) -> None:
        """Subscribe to images, odometry and the camera's calibration."""
        assert self.model is not None
        settings: LocalizerSettings = self.settings.read()
        calibrated = self.model.engine.geometry is not None and settings.use_camera_info
        self._tracker = StatusTracker(settings.carry_limit_m)
        self._status.start(settings.map_frame)
        self._pose_publisher.start(settings)
        self.priors.start(settings)
        try:
            self.pipeline.start(settings, self.model.config.cameras, calibrated)
        except BaseException:
            self._pose_publisher.stop()
            self.priors.stop()
            raise

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        """Activate, then show the maps: only now the publishers send."""
        result = super().on_activate(state)
        if result == TransitionCallbackReturn.SUCCESS:
            self._show_maps()
        return result

    def deactivate(self) -> None:
        """Unsubscribe and wait for the image in work."""
        self.pipeline.stop()
        self.priors.stop()
        self._pose_publisher.stop()
        self.relocalization.cancel('the node was deactivated')
        self._status.stop()

    def cleanup(self) -> None:
        """Stop the worker and release model and maps."""
        self.pipeline.close()
        self._forget_maps()
        self.model = None

    def destroy_node(self) -> None:
        """Stop all threads, then destroy the node."""
        self._map_services.close()
        self._close_collection()
        super().destroy_node()

    # Model and maps, on the worker's thread.

    def _load(self, settings: LocalizerSettings) -> None:
        self._map_frame, self._robot_id = settings.map_frame, settings.robot_id
        fleet = self.settings.read(_FLEET)
        self.model = _load_model(settings, fleet)
        self.config = self.settings.read_engine(_preset(settings, fleet))
        if settings.map:
            paths = map_sources(settings.map)
            self._use_maps(paths, self._prepare_maps(paths))
        else:
            self.get_logger().warning('no map is loaded: set the parameter map or call '
                                      f'{self.get_fully_qualified_name()}/load_map')
        self.get_logger().info(describe_model(self.model))

    def _prepare_maps(self, paths: Sequence[Source], kept: Sequence[PlaceMap] = (),
                      ) -> list[PlaceMap] | CollectionLocalizer:
        """Open maps for the settings that they will be searched with, those of the first.

        Takes a while for large ones made with other settings; runs beside the worker where a
        service loads them.

        Args:
            paths: directories of the maps, or the address of one on a server.
            kept: maps in use, which come before them.

        Returns:
            The maps, or the engine of a collection.

        Raises:
            MapError: one cannot be used.
            InputError: a collection is to be searched together with other maps.
        """
        model = self.model
        if model is None:
            raise StateError('the node was cleaned up meanwhile: configure it again')
        if self.engine is None:
            model = _model_of_first_map(
                self.settings.read(), paths, model, self.settings.read(_FLEET))
        self._prepared_for = model
        collections = [path for path in paths
                       if isinstance(path, FleetAddress) or is_collection(path)]
        if collections:
            if len(paths) > 1 or kept:
                raise InputError(f'{collections[0]} is a collection, expected it alone: found '
                                 f'{len(paths) + len(kept)} maps to search at once')
            return self._open_collection(paths[0], model)
        maps = [*kept, *(open_map(path, model) for path in paths if isinstance(path, Path))]
        config = self.settings.preview_engine(maps[0].manifest.preset)
        return [prepare_map(item, model, config) for item in maps]

    def _open_collection(self, source: Source, model: PlaceModel) -> CollectionLocalizer:
        """Open a collection and its first tile."""
        collection = open_collection(
            source, self.settings.read(_FLEET), self.settings.read(_COLLECTION))
        try:
            preset = collection.read_first()[0].preset
            return CollectionLocalizer(
                model, collection, self.settings.preview_engine(preset), self.pipeline.camera)
        except BaseException:
            collection.close()
            raise

    def _use_maps(self, paths: Sequence[Source],
                  maps: list[PlaceMap] | CollectionLocalizer) -> Localizer:
        """Search these maps from the next image on; if that fails, the maps in use stay."""
        assert self._prepared_for is not None
        self.model = self._prepared_for
        settings: LocalizerSettings = self.settings.read()
        first = maps.map if isinstance(maps, CollectionLocalizer) else maps[0]
        own = first.manifest.preset
        config = self.settings.preview_engine(own)
        if isinstance(maps, CollectionLocalizer):
            self._close_collection()
            self.engine = maps
        elif self.engine is None or isinstance(self.engine, CollectionLocalizer):
            self._close_collection()
            self.engine = Localizer(self.model, maps, config, self.pipeline.camera,
                                    overlapping=settings.maps_overlap)
        else:
            self.engine.use_maps(maps, config)
        self.config = self.settings.read_engine(own)
        self.map_paths = tuple(paths)
        self._last = None
        self._tracker.forget()
        self._pose_publisher.forget_map()
        self._tile.update(None)
        for line in searched(self.engine, paths):
            self.get_logger().info(f'map {line}')
        self._show_maps()
        self._status.update()
        give_back_memory()
        return self.engine

    def _use_settings(self) -> None:
        if self.engine is None:
            return
        config = self.settings.read_engine(self.engine.map.manifest.preset)
        self.engine.use_settings(config)
        self.config = config

    def _use_camera(self, camera: CameraModel) -> None:
        if self.engine is not None:
            self.engine.use_camera(camera)

    def _clear(self) -> str:
        paths = ', '.join(map(str, self.map_paths)) or 'no map'
        self._forget_maps()
        self._pose_publisher.forget_map()
        self.relocalization.lose_map()
        self._show_maps()
        self._status.update()
        return f'{paths} is no longer searched'

    def _close_collection(self) -> None:
        if isinstance(self.engine, CollectionLocalizer):
            self.engine.close()

    def _forget_maps(self) -> None:
        self._close_collection()
        self._tile.update(None)
        self.engine = None
        self.map_paths = ()
        self._last = None
        self._tracker.forget()
        self._stationary.reset()
        give_back_memory()

    def _relocalize(self) -> bool:
        """Drop the belief; return whether there is a map to find the robot in."""
        if self.engine is None:
            return False
        self.engine.reset()
        self._tracker.forget()
        self._pose_publisher.begin_anew()
        self._status.update()
        return True

    # Images, on the worker's thread.

    def _process(self, image: StampedImage) -> None:
        engine = self.engine
        if engine is None:
            return
        pose = self.pipeline.pose_at(image.stamp_ns)
        read = CachedImage(image.read)
        if isinstance(engine, CollectionLocalizer):
            self.priors.apply(engine)
        searched_maps = list(engine.maps)
        result = engine.push_lazily(read, image.stamp_ns, pose)
        broken = _begins_anew(result, engine)
        if broken:
            self._pose_publisher.begin_anew()
        if list(engine.maps) != searched_maps:
            self._show_maps()
        if isinstance(engine, CollectionLocalizer):
            self._follow(engine)
        self._tracker.note(image.stamp_ns, pose, result, broken)
        self._status.update()
        if result is None or not result.accepted:
            self._pose_publisher.carry(pose, self.config.filter.odometry_drift, image.stamp_ns)
        if result is None:
            return
        self._last = result
        self.pipeline.statistics.describe.add(result.describe_seconds)
        if result.reason is Reason.STATIONARY and not self._stationary.due(result.stamp_ns):
            return
        if result.candidates:
            self.pipeline.statistics.match.add(result.match_seconds)
        if result.accepted:
            self._publish_pose(result, pose, engine)
        match = self._to_message(result, image.frame_id)
        self._matches.publish(match)
        self.relocalization.note(result, match)
        self._visualization.publish_debug_image(
            read, image.frame_id, result, lambda: _map_image(engine, result))
        self._visualization.publish_markers(lambda: match_markers(result, self._map_frame))
        self._show_belief(engine, result)

    def _follow(self, engine: CollectionLocalizer) -> None:
        """Publish the tile that the robot is in; in another frame, poses begin anew."""
        before, now = self._tile.tile, engine.tile
        if before is not None and now is not None and before.frame != now.frame:
            self._pose_publisher.forget_map()
        self._tile.update(now)

    def _to_message(self, result: MatchResult, frame_id: str) -> PlaceMatch:
        assert self.engine is not None
        return match_to_message(result, frame_id, self.engine.map.manifest.map_id,
                                self._map_frame, self._robot_id)

    def _publish_pose(self, result: MatchResult, odometry: np.ndarray | None,
                      engine: Localizer) -> None:
        assert result.best is not None
        self._pose_publisher.publish(
            result, engine.maps[result.best.map_id], self.config.matching.reverse, odometry,
            self.pipeline.odometry.frame)

    def _show_belief(self, engine: Localizer, result: MatchResult) -> None:
        if result.off_map is not None:
            self._belief.publish(lambda: belief_markers(
                engine.belief, [item.positions for item in engine.maps.values()],
                self._map_frame, result.stamp_ns))

    def _show_maps(self) -> None:
        maps = [] if self.engine is None else list(self.engine.maps.values())
        now_ns = self.get_clock().now().nanoseconds
        self._visualization.publish_map(route_markers(
            [item.positions for item in maps], self._map_frame, now_ns))
        self._belief.publish(lambda: [no_belief(self._map_frame, now_ns)])

    def _read_status(self) -> Status | None:
        return None if self.engine is None else self._tracker.status

    # Diagnostics.

    def _report(self, report: Report) -> None:
        report.values.update(model_values(self.model))
        if not self.configured:
            return
        engine, last = self.engine, self._last
        if engine is None:
            report.level, report.message = Level.WARN, 'no map is loaded'
            report.values['map'] = 'none'
            return
        report.values.update({
            'map': ', '.join(map(str, self.map_paths)),
            'map id': ', '.join(engine.maps),
            'map places': sum(map(len, engine.maps.values())),
            'sequence (frames)': engine.buffer_fill,
            'sequence length (frames)': engine.sequence_length,
            'accepted distance': f'{engine.threshold:.4f}',
            'images out of order': engine.late_images,
            'last result': 'none yet' if last is None else last.reason.name,
        })
        if isinstance(engine, CollectionLocalizer):
            report.values.update({
                'collection places': engine.collection.manifest.places,
                'tile': 'none yet' if engine.tile is None else engine.tile.name,
                'tiles searched': ', '.join(tile.name for tile in engine.used_tiles),
                'priors refused': self.priors.refused})
            if isinstance(engine.collection, FleetCollection):
                _report_fleet(report, engine.collection)
        if last is not None:
            report.message = f'{report.message}: {last.reason.name}'


def _report_fleet(report: Report, collection: FleetCollection) -> None:
    """Report whether the server of a map is there, and what is here of the map."""
    watch = collection.watch
    report.values.update({
        'server': 'there' if watch.is_there else f'away for {watch.away_s:.0f} s',
        'tiles here': f'{collection.tiles_here} of {len(collection.tiles)}',
        'tiles replaced on the server': watch.replaced})
    if not watch.is_there:
        report.level, report.message = Level.WARN, 'the server of the map is away'


def _preset(settings: LocalizerSettings, fleet: FleetConfig | None = None) -> Preset:
    """Return the map's model and settings, so that live and offline search alike.

    Without a map they are those of the model file.

    Args:
        settings: the node's own settings.
        fleet: how a map on a server is reached; None before the node is configured.
    """
    if settings.map:
        return _first_map(map_sources(settings.map)[0], fleet)[0].preset
    return load_preset(settings.model)[0]


def _first_map(source: Source, fleet: FleetConfig | None) -> tuple[MapManifest, Path]:
    """Return the manifest of a map, or of the first one of a collection, and where it is."""
    if not isinstance(source, FleetAddress):
        return map_manifest(source)
    if fleet is None:
        raise InputError(f'{source} is read when the node is configured')
    return first_map(source, fleet)


def _load_model(settings: LocalizerSettings, fleet: FleetConfig) -> PlaceModel:
    """Load the model that is set, or that of the map."""
    weights = local_weights(settings)
    if settings.model or not settings.map:
        return load_model(settings.model, settings.device, weights)
    manifest, path = _first_map(map_sources(settings.map)[0], fleet)
    return build_map_model(manifest.preset, settings.device, weights, path)


def _model_of_first_map(settings: LocalizerSettings, paths: Sequence[Source],
                        model: PlaceModel, fleet: FleetConfig) -> PlaceModel:
    """Return the model of the first map, if none is set; the cameras subscribed to remain."""
    manifest, path = _first_map(paths[0], fleet)
    wanted = manifest.preset.model
    if (settings.model or manifest.fingerprint == model.fingerprint
            or wanted.cameras != model.config.cameras):
        return model
    return build_map_model(manifest.preset, settings.device, local_weights(settings), path)


def _begins_anew(result: MatchResult | None, engine: Localizer) -> bool:
    """Return whether a result is the first, or the first after a break."""
    return (result is not None and result.reason is not Reason.STATIONARY
            and engine.begins_anew)


def _map_image(engine: Localizer, result: MatchResult) -> np.ndarray | None:
    """Return the map's picture of the best place, if it keeps any."""
    best = result.best
    images = None if best is None else engine.maps[best.map_id].images
    return None if images is None or best is None else images.read(best.place_id)


def main() -> None:
    """Run the node until it is interrupted."""
    run(LocalizerNode)
