"""The localizer: images in, places of a loaded map out."""

from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped

from seqnet_ros.config import ModelConfig
from seqnet_ros.errors import (
    MapCorruptError,
    MapModelMismatchError,
    MapNotFoundError,
    MapWriteError,
)
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.storage import open_map, read_manifest, save_map
from seqnet_ros.matching.localizer import Localizer
from seqnet_ros.matching.result import MatchResult, Reason
from seqnet_ros.msg import PlaceMatch
from seqnet_ros.nodes.conversions import match_to_message, pose_with_covariance
from seqnet_ros.nodes.covariance import pose_covariance
from seqnet_ros.nodes.diagnostics import Level, Report
from seqnet_ros.nodes.image_input import StampedImage
from seqnet_ros.nodes.place_node import PlaceNode
from seqnet_ros.nodes.run import run
from seqnet_ros.nodes.settings import LocalizerSettings
from seqnet_ros.place_model import PlaceModel, build_model, load_model, load_model_config
from seqnet_ros.sequences.keyframes import NANOSECONDS
from seqnet_ros.srv import LoadMap, SaveMap

ENGINE_PARAMETERS: dict[str, tuple[str, ...]] = {
    'sequence': ('length',), 'keyframes': (), 'matching': (), 'acceptance': ()}
WITHOUT_MAP = 'hog'
"""The model of a localizer that is given neither a model nor a map."""
STATIONARY_EVERY_NS = NANOSECONDS
"""A standing robot says so this often, in image time."""


class LocalizerNode(PlaceNode):
    """Publishes ``~/place_match`` for every image used and ``~/pose`` for accepted ones."""

    def __init__(self, **options: Any) -> None:
        """Declare the parameters; options as of `rclpy.node.Node`."""
        super().__init__('localizer', LocalizerSettings(), ENGINE_PARAMETERS, **options)
        self.engine: Localizer | None = None
        self.map_path: Path | None = None
        self._last: MatchResult | None = None
        self._last_stationary_ns: int | None = None
        self._matches = self.create_lifecycle_publisher(PlaceMatch, '~/place_match', 10)
        self._poses = self.create_lifecycle_publisher(PoseWithCovarianceStamped, '~/pose', 10)
        self.create_service(LoadMap, '~/load_map', self._load_map, callback_group=self._serving)
        self.create_service(SaveMap, '~/save_map', self._save_map, callback_group=self._serving)

    # Configuring, on the worker's thread.

    def _defaults(self, settings: LocalizerSettings) -> ModelConfig:
        """Return the map's configuration, so that live and offline search alike."""
        if settings.map:
            return read_manifest(Path(settings.map).expanduser())[0].model
        return load_model_config(settings.model or WITHOUT_MAP)[0]

    def _load_model(self, settings: LocalizerSettings, weights: Path | None) -> PlaceModel:
        if settings.model or not settings.map:
            return load_model(settings.model or WITHOUT_MAP, settings.device, weights)
        return build_model(self._defaults(settings), settings.device, weights=weights)

    def _open(self, settings: LocalizerSettings, model: PlaceModel, config: ModelConfig) -> None:
        self._config = config
        self._map_frame = settings.map_frame
        if settings.map:
            self._use_map(Path(settings.map).expanduser())
        else:
            self.get_logger().warning('no map is loaded: set the parameter map or call '
                                      f'{self.get_fully_qualified_name()}/load_map')

    def _use_map(self, path: Path) -> PlaceMap:
        assert self.model is not None
        # A new engine: a map that turns out unusable leaves the one in use as it is.
        place_map = open_map(path, self.model)
        config = self.settings.read_model_config(place_map.manifest.model)
        self.engine = Localizer(self.model, place_map, config)
        self._config = config
        self.map_path = path
        self._last = None
        self.get_logger().info(f'map {path}: {len(self.engine.map)} places')
        return self.engine.map

    def _close(self) -> None:
        self.engine = None
        self.map_path = None
        self._last = None
        self._last_stationary_ns = None

    # Images, on the worker's thread.

    def _process(self, image: StampedImage) -> None:
        if self.engine is None:
            return
        result = self.engine.push_lazily(
            image.read, image.stamp_ns, self._pose_at(image.stamp_ns))
        if result is None:
            return
        self._last = result
        self.statistics.describe.add(result.describe_seconds)
        if result.reason is Reason.STATIONARY and not self._stationary_is_due(result.stamp_ns):
            return
        if result.candidates:
            self.statistics.match.add(result.match_seconds)
        self._publish(result, image.frame_id, self.engine)

    def _stationary_is_due(self, stamp_ns: int) -> bool:
        last = self._last_stationary_ns
        if last is not None and 0 <= stamp_ns - last < STATIONARY_EVERY_NS:
            return False
        self._last_stationary_ns = stamp_ns
        return True

    def _publish(self, result: MatchResult, frame_id: str, engine: Localizer) -> None:
        if result.accepted:
            covariance = pose_covariance(
                engine.map, result.candidates, any_heading=self._config.matching.reverse)
            self._poses.publish(pose_with_covariance(result, covariance, self._map_frame))
        self._matches.publish(match_to_message(result, frame_id, engine.map.manifest.map_id))

    # Services.

    async def _load_map(self, request: LoadMap.Request,
                        response: LoadMap.Response) -> LoadMap.Response:
        return await self._answer(
            response, request.path, self._use_map,
            MapNotFoundError('the path is empty, expected the directory of a map'),
            {MapNotFoundError: response.RESULT_MAP_NOT_FOUND,
             MapCorruptError: response.RESULT_INVALID_MAP,
             MapModelMismatchError: response.RESULT_MODEL_MISMATCH})

    async def _save_map(self, request: SaveMap.Request,
                        response: SaveMap.Response) -> SaveMap.Response:
        """Write a copy of the loaded map."""
        engine = self.engine
        if engine is None:
            response.result = response.RESULT_NOTHING_TO_SAVE
            response.message = 'no map is loaded'
            return response

        def write_copy(path: Path) -> PlaceMap:
            save_map(engine.map, path)
            return engine.map

        return await self._answer(
            response, request.path, write_copy,
            MapWriteError('the path is empty, expected the directory to write'),
            {MapWriteError: response.RESULT_WRITE_FAILED})

    # Diagnostics.

    def _judge(self, report: Report) -> None:
        engine, last = self.engine, self._last
        if engine is None:
            report.level, report.message = Level.WARN, 'no map is loaded'
            report.values['map'] = 'none'
            return
        report.values.update({
            'map': self.map_path,
            'map id': engine.map.manifest.map_id,
            'map places': len(engine.map),
            'sequence': f'{engine.buffer_fill} of {engine.sequence_length}',
            'accepted distance': f'{engine.threshold:.4f}',
            'last result': 'none yet' if last is None else last.reason.name,
        })
        if last is not None:
            report.message = f'{report.message}: {last.reason.name}'


def main() -> None:
    """Run the node until it is interrupted."""
    run(LocalizerNode)

