"""The localizer: images in, places of loaded maps out."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import TransitionCallbackReturn

from seqnet_ros.camera import CameraModel
from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.errors import (
    InputError,
    MapCorruptError,
    MapExistsError,
    MapModelMismatchError,
    MapNotFoundError,
    MapWriteError,
)
from seqnet_ros.images import View
from seqnet_ros.maps.map_reader import open_map, read_manifest
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.matching.localizer import Localizer
from seqnet_ros.matching.map_search import prepare_map
from seqnet_ros.matching.result import MatchResult, Reason
from seqnet_ros.msg import PlaceMatch
from seqnet_ros.nodes.conversions import (
    image_reader,
    match_to_message,
    pose_with_covariance,
    stamp_to_ns,
)
from seqnet_ros.nodes.diagnostics import Level, Report
from seqnet_ros.nodes.image_pipeline import PlaceNode, StateError
from seqnet_ros.nodes.inputs.image_input import StampedImage
from seqnet_ros.nodes.outputs.covariance import metric_pose, pose_covariance
from seqnet_ros.nodes.outputs.map_to_odom import MapToOdom
from seqnet_ros.nodes.outputs.markers import match_markers, route_markers
from seqnet_ros.nodes.outputs.shown import Remembered, Shown
from seqnet_ros.nodes.outputs.throttle import STATIONARY_EVERY_NS, Throttle
from seqnet_ros.nodes.run import run
from seqnet_ros.nodes.settings import LocalizerSettings, map_paths, user_path
from seqnet_ros.place_model import PlaceModel, build_model, load_model, load_preset
from seqnet_ros.srv import FindPlace, LoadMap, SaveMap

ENGINE_PARAMETERS = ('sequence', 'keyframes', 'matching', 'acceptance')
INITIAL_POSE_TOPIC = 'initialpose'
WITHOUT_MAP = 'hog'
"""The model of a localizer that is given neither a model nor a map."""


class LocalizerNode(PlaceNode):
    """Publishes ``~/place_match`` for every image used and ``~/pose`` for accepted ones."""

    def __init__(self, **options: Any) -> None:
        """Declare the parameters; options as of `rclpy.node.Node`."""
        # Maps are read and prepared beside the worker, so that no image waits for them.
        self._loader = ThreadPoolExecutor(1, 'map loader')
        super().__init__('localizer', LocalizerSettings(), ENGINE_PARAMETERS, live=True, **options)
        self.engine: Localizer | None = None
        self.map_paths: tuple[Path, ...] = ()
        self._last: MatchResult | None = None
        self._standing = Throttle(STATIONARY_EVERY_NS)
        self._initial_pose_due = True
        self._matches = self.create_lifecycle_publisher(PlaceMatch, '~/place_match', 10)
        self._poses = self.create_lifecycle_publisher(PoseWithCovarianceStamped, '~/pose', 10)
        self._initial_poses = self.create_lifecycle_publisher(
            PoseWithCovarianceStamped, INITIAL_POSE_TOPIC, 1)
        self._shown = Shown(self)
        self._transform: MapToOdom | None = None
        for kind, name, act in ((LoadMap, 'load_map', self._load_map),
                                (SaveMap, 'save_map', self._save_map),
                                (FindPlace, 'find_place', self._find_place)):
            self.create_service(kind, f'~/{name}', act, callback_group=self._serving)

    # Configuring, on the worker's thread.

    def _defaults(self, settings: LocalizerSettings) -> Preset:
        """Return the map's model and settings, so that live and offline search alike."""
        if settings.map:
            return read_manifest(map_paths(settings.map)[0])[0].preset
        return load_preset(settings.model or WITHOUT_MAP)[0]

    def _load_model(self, settings: LocalizerSettings, weights: Path | None) -> PlaceModel:
        if settings.model or not settings.map:
            return load_model(settings.model or WITHOUT_MAP, settings.device, weights)
        return build_model(self._defaults(settings), settings.device, weights=weights)

    def _open(self, settings: LocalizerSettings, model: PlaceModel, config: EngineConfig) -> None:
        self._config = config
        self._map_frame = settings.map_frame
        if settings.map:
            paths = map_paths(settings.map)
            self._use_maps(paths, self._prepare_maps(paths))
        else:
            self.get_logger().warning('no map is loaded: set the parameter map or call '
                                      f'{self.get_fully_qualified_name()}/load_map')

    def _activate(self) -> None:
        settings: LocalizerSettings = self.settings.read()
        if settings.publish_tf:
            self._transform = MapToOdom(
                self, settings.map_frame,
                lambda: float(self.get_parameter('tf_tolerance_s').value))
        self._initial_pose_due = settings.publish_initial_pose
        super()._activate()

    def on_activate(self, state: Any) -> TransitionCallbackReturn:
        """Start listening, and show the maps."""
        result = super().on_activate(state)
        if result == TransitionCallbackReturn.SUCCESS:
            self._show_maps()
        return result

    def _unsubscribe(self) -> None:
        super()._unsubscribe()
        if self._transform is not None:
            self._transform.close()
            self._transform = None

    def _prepare_maps(self, paths: Sequence[Path],
                      kept: Sequence[PlaceMap] = ()) -> list[PlaceMap]:
        """Open maps for the settings that they will be searched with, those of the first.

        Takes a while for large ones made with other settings.

        Args:
            paths: where they lie.
            kept: maps in use that come before them.

        Raises:
            MapError: one cannot be used.
        """
        model = self.model
        if model is None:
            raise StateError('the node was cleaned up meanwhile: configure it again')
        maps = [*kept, *(open_map(path, model) for path in paths)]
        config = self.settings.preview_engine(maps[0].manifest.preset)
        return [prepare_map(item, model, config) for item in maps]

    def _use_maps(self, paths: Sequence[Path], maps: Sequence[PlaceMap]) -> Localizer:
        """Search these maps from the next image on; those in use stay if that fails."""
        assert self.model is not None
        settings: LocalizerSettings = self.settings.read()
        own = maps[0].manifest.preset
        config = self.settings.preview_engine(own)
        if self.engine is None:
            self.engine = Localizer(self.model, maps, config, self.camera_model,
                                    overlapping=settings.maps_overlap)
        else:
            self.engine.use_maps(maps, config)
        self._config = self.settings.read_engine(own)
        self.map_paths = tuple(paths)
        self._last = None
        self._forget_transform()
        self._initial_pose_due = settings.publish_initial_pose
        for path, place_map in zip(paths, maps, strict=True):
            self.get_logger().info(f'map {path}: {len(place_map)} places')
        self._show_maps()
        return self.engine

    def _forget_transform(self) -> None:
        transform = self._transform
        if transform is not None:
            transform.forget()

    def _use_settings(self) -> None:
        if self.engine is None:
            return
        config = self.settings.read_engine(self.engine.map.manifest.preset)
        self.engine.use_settings(config)
        self._config = config

    def _use_camera(self, camera: CameraModel) -> None:
        if self.engine is not None:
            self.engine.use_camera(camera)

    def _forget_places(self) -> str:
        paths = ', '.join(map(str, self.map_paths)) or 'no map'
        self._close()
        self._forget_transform()
        self._show_maps()
        return f'{paths} is no longer searched'

    def _close(self) -> None:
        self.engine = None
        self.map_paths = ()
        self._last = None
        self._standing.reset()

    # Images, on the worker's thread.

    def _process(self, image: StampedImage) -> None:
        engine = self.engine
        if engine is None:
            return
        pose = self._pose_at(image.stamp_ns)
        read = Remembered(image.read)
        result = engine.push_lazily(read, image.stamp_ns, pose)
        if result is None:
            return
        self._last = result
        self.statistics.describe.add(result.describe_seconds)
        if result.reason is Reason.STATIONARY and not self._standing.due(result.stamp_ns):
            return
        if result.reason is Reason.BUFFER_FILLING:
            self._initial_pose_due = self._initial_pose_wanted()
        if result.candidates:
            self.statistics.match.add(result.match_seconds)
        if result.accepted:
            self._publish_pose(result, pose, engine)
        self._matches.publish(
            match_to_message(result, image.frame_id, engine.map.manifest.map_id))
        self._shown.show_pair(read, image.frame_id, result, lambda: _picture(engine, result))
        self._shown.show_markers(lambda: match_markers(result, self._map_frame))

    def _publish_pose(self, result: MatchResult, odometry: np.ndarray | None,
                      engine: Localizer) -> None:
        best = result.best
        assert best is not None
        if best.relative_is_metric:
            pose, covariance = metric_pose(best)
        else:
            same_map = tuple(item for item in result.candidates if item.map_id == best.map_id)
            pose, covariance = best.pose, pose_covariance(
                engine.maps[best.map_id], same_map, any_heading=self._config.matching.reverse)
        message = pose_with_covariance(pose, covariance, result.stamp_ns, self._map_frame)
        self._poses.publish(message)
        if self._initial_pose_due:
            self._initial_poses.publish(message)
            self._initial_pose_due = False
        transform = self._transform
        if transform is not None and odometry is not None:
            frame = self.settings.read().odom_frame or self.odometry_frame
            transform.correct(pose, odometry, frame)

    def _initial_pose_wanted(self) -> bool:
        return bool(self.get_parameter('publish_initial_pose').value)

    def _show_maps(self) -> None:
        maps = [] if self.engine is None else list(self.engine.maps.values())
        self._shown.show_map(route_markers(
            [item.positions for item in maps], self._map_frame,
            self.get_clock().now().nanoseconds))

    # Services.

    async def _load_map(self, request: LoadMap.Request,
                        response: LoadMap.Response) -> LoadMap.Response:
        def load() -> str:
            paths = map_paths(request.path)
            kept: tuple[Path, ...] = self.map_paths if request.add else ()
            engine = self.engine
            maps = self._prepare_maps(
                paths, [] if engine is None or not kept else list(engine.maps.values()))
            worker = self._worker
            if worker is None:
                raise StateError('the node was cleaned up meanwhile: configure it again')
            used = worker.call(lambda: self._use_maps([*kept, *paths], maps))
            return _count_places(used, self.map_paths)

        return await self._answer(
            response, request.path, lambda: self._off_worker(load),
            MapNotFoundError('the path is empty, expected the directory of a map'),
            {MapNotFoundError: response.RESULT_MAP_NOT_FOUND,
             MapCorruptError: response.RESULT_INVALID_MAP,
             MapModelMismatchError: response.RESULT_MODEL_MISMATCH})

    async def _save_map(self, request: SaveMap.Request,
                        response: SaveMap.Response) -> SaveMap.Response:
        """Write a copy of the loaded map."""
        engine = self.engine
        if engine is None or len(engine.maps) > 1:
            response.result = response.RESULT_NOTHING_TO_SAVE
            response.message = ('no map is loaded' if engine is None else
                                f'{len(engine.maps)} maps are loaded, expected one to copy')
            return response

        def write_copy() -> str:
            path = user_path(request.path, MapWriteError)
            save_map(engine.map, path, overwrite=request.overwrite)
            return f'{path}: {len(engine.map)} places'

        return await self._answer(
            response, request.path, lambda: self._off_worker(write_copy),
            MapWriteError('the path is empty, expected the directory to write'),
            {MapExistsError: response.RESULT_MAP_EXISTS,
             MapWriteError: response.RESULT_WRITE_FAILED})

    async def _find_place(self, request: FindPlace.Request,
                          response: FindPlace.Response) -> FindPlace.Response:
        """Find images by themselves; the live sequence goes on undisturbed."""
        messages = [*request.images, *request.compressed_images]
        if bool(request.images) == bool(request.compressed_images):
            response.result = response.RESULT_NO_IMAGES
            response.message = (f'found {len(request.images)} raw and '
                                f'{len(request.compressed_images)} compressed images, expected '
                                'images of one of the two kinds')
            return response
        engine = self.engine
        if engine is None:
            response.result = response.RESULT_NO_MAP
            response.message = 'no map is loaded'
            return response
        try:
            result = await self._on_worker(lambda: engine.find(self._views(messages)))
        except InputError as error:
            response.result = response.RESULT_INVALID_IMAGE
            response.message = str(error)
        except Exception as error:
            response.result = response.RESULT_UNDEFINED_FAILURE
            response.message = str(error) or type(error).__name__
        else:
            last = messages[-1].header
            result = replace(result, stamp_ns=stamp_to_ns(last.stamp),
                             sequence_start_ns=stamp_to_ns(messages[0].header.stamp))
            response.result = response.RESULT_SUCCESS
            response.match = match_to_message(result, last.frame_id, engine.map.manifest.map_id)
            response.message = _say_found(result)
        return response

    def _views(self, messages: Sequence[Any]) -> list[View]:
        """Decode the images of a request; those of several cameras follow one another."""
        assert self.model is not None
        cameras = self.model.config.cameras
        images = [image_reader(message)() for message in messages]
        if len(images) % cameras:
            raise InputError(f'found {len(images)} images, expected a multiple of {cameras}: one '
                             'of each camera for every moment')
        if cameras == 1:
            return list(images)
        return [tuple(images[first: first + cameras]) for first in range(0, len(images), cameras)]

    async def _off_worker(self, job: Callable[[], Any]) -> Any:
        """Run a job beside the worker, one at a time, while images and the executor go on."""
        return await self._awaited(self._loader.submit(job))

    def destroy_node(self) -> None:
        """Stop the worker and the loader, then destroy the node."""
        self._loader.shutdown(cancel_futures=True)
        super().destroy_node()

    # Diagnostics.

    def _judge(self, report: Report) -> None:
        engine, last = self.engine, self._last
        if engine is None:
            report.level, report.message = Level.WARN, 'no map is loaded'
            report.values['map'] = 'none'
            return
        report.values.update({
            'map': ', '.join(map(str, self.map_paths)),
            'map id': ', '.join(engine.maps),
            'map places': sum(map(len, engine.maps.values())),
            'sequence': f'{engine.buffer_fill} of {engine.sequence_length}',
            'accepted distance': f'{engine.threshold:.4f}',
            'last result': 'none yet' if last is None else last.reason.name,
        })
        if last is not None:
            report.message = f'{report.message}: {last.reason.name}'


def _picture(engine: Localizer, result: MatchResult) -> np.ndarray | None:
    """Return the map's picture of the best place, if it keeps any."""
    best = result.best
    images = None if best is None else engine.maps[best.map_id].images
    return None if images is None or best is None else images.read(best.place_id)


def _count_places(engine: Localizer, paths: Sequence[Path]) -> str:
    return ', '.join(f'{path}: {len(place_map)} places'
                     for path, place_map in zip(paths, engine.maps.values(), strict=True))


def _say_found(result: MatchResult) -> str:
    if result.best is None:
        return f'no place: {result.reason.name}'
    return f'place {result.best.place_id} of map {result.best.map_id}: {result.reason.name}'


def main() -> None:
    """Run the node until it is interrupted."""
    run(LocalizerNode)

