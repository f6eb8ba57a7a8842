"""The mapper: images in, a map of places out."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.camera import CameraModel
from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.errors import InputError
from seqnet_ros.maps.map_reader import open_map, read_manifest
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.matching.map_extension import save_extension
from seqnet_ros.matching.mapper import Mapper
from seqnet_ros.nodes.inputs.image_input import StampedImage
from seqnet_ros.nodes.map_saver import MappingNode
from seqnet_ros.nodes.run import run
from seqnet_ros.nodes.settings import MapperSettings, user_path
from seqnet_ros.place_model import PlaceModel, build_model

ENGINE_PARAMETERS = ('keyframes',)


class MapperNode(MappingNode):
    """Maps while active; adds to a map that is there where ``extend`` is set."""

    engine: Mapper | None

    def __init__(self, **options: Any) -> None:
        """Declare the parameters; options as of `rclpy.node.Node`."""
        super().__init__('mapper', MapperSettings(), ENGINE_PARAMETERS, **options)

    # Configuring, on the worker's thread.

    def _defaults(self, settings: MapperSettings) -> Preset:
        if settings.extend and settings.map:
            return read_manifest(user_path(settings.map))[0].preset
        return super()._defaults(settings)

    def _load_model(self, settings: MapperSettings, weights: Path | None) -> PlaceModel:
        if not settings.extend:
            return super()._load_model(settings, weights)
        if not settings.map:
            raise InputError('extend is set, but the parameter map names no map to add to')
        return build_model(self._defaults(settings), settings.device, weights=weights)

    def _open(self, settings: MapperSettings, model: PlaceModel, config: EngineConfig) -> None:
        self._config = config
        self._extended: PlaceMap | None = None
        if settings.extend:
            path = user_path(settings.map)
            self._extended = open_map(path, model, verify=True)
            self.get_logger().info(f'map {path} is added to: {len(self._extended)} places')
        self.engine = self._new_engine(settings, model)
        extended = self._extended
        self._check_target(settings, None if extended is None else extended.manifest.map_id)

    def _new_engine(self, settings: MapperSettings, model: PlaceModel) -> Mapper:
        extended = self._extended
        camera = self.camera_model if extended is None else extended.manifest.camera_model
        keep = settings.keep_images if extended is None else extended.images is not None
        return Mapper(model, self._config, extended, keep_images=keep, camera=camera)

    def _use_camera(self, camera: CameraModel) -> None:
        if self.engine is not None:
            self.engine.camera = camera

    def _forget_places(self) -> str:
        assert self.model is not None
        count = self._places
        self._close()
        self.engine = self._new_engine(self.settings.read(), self.model)
        return f'{count} places were forgotten'

    def _write(self, path: Path, overwrite: bool, backup: bool) -> tuple[PlaceMap, Path | None]:
        extends = self._extended is not None and path == user_path(self.settings.read().map)
        if not extends or path in self._saved_ids:
            return super()._write(path, overwrite, backup)
        assert self.engine is not None
        saved = save_extension(self.engine, self._finish, path, backup=backup)
        self._extended = self.engine.extends
        return saved

    # Images, on the worker's thread.

    def _push(self, image: StampedImage, pose: np.ndarray | None) -> None:
        assert self.engine is not None
        started = time.perf_counter()
        if self.engine.push_lazily(image.read, image.stamp_ns, pose):
            self.statistics.describe.add(time.perf_counter() - started)


def main() -> None:
    """Run the node until it is interrupted."""
    run(MapperNode)
