"""The mapper: images in, a map of places out."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.config import ModelConfig
from seqnet_ros.errors import InputError, MapWriteError
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.storage import save_map
from seqnet_ros.matching.mapper import Mapper
from seqnet_ros.nodes.diagnostics import Level, Report
from seqnet_ros.nodes.image_input import StampedImage
from seqnet_ros.nodes.place_node import ODOMETRY_TOPIC, PlaceNode
from seqnet_ros.nodes.run import run
from seqnet_ros.nodes.settings import MapperSettings
from seqnet_ros.place_model import PlaceModel
from seqnet_ros.srv import SaveMap

ENGINE_PARAMETERS: dict[str, tuple[str, ...]] = {'keyframes': ()}
DISCOVERY_S = 1.0
"""Odometry may be discovered this much later than the images."""


class MapperNode(PlaceNode):
    """Collects places while active; saves them when asked and when it ends."""

    def __init__(self, **options: Any) -> None:
        """Declare the parameters; options as of `rclpy.node.Node`."""
        super().__init__('mapper', MapperSettings(), ENGINE_PARAMETERS, **options)
        self.engine: Mapper | None = None
        self._posed: bool | None = None
        self._saved_places = 0
        self._first_image_s: float | None = None
        self.create_service(SaveMap, '~/save_map', self._save_map, callback_group=self._serving)

    # Configuring and ending, on the worker's thread.

    def _open(self, settings: MapperSettings, model: PlaceModel, config: ModelConfig) -> None:
        self.engine = Mapper(model, config)
        if settings.save_on_shutdown and not settings.map:
            self.get_logger().warning(
                'the parameter map is empty: the map is lost unless '
                f'{self.get_fully_qualified_name()}/save_map is called')

    def _close(self) -> None:
        self.engine = None
        self._posed = None
        self._saved_places = 0
        self._first_image_s = None

    def _before_inactive(self) -> None:
        settings: MapperSettings = self.settings.read()
        assert self.engine is not None
        unsaved = len(self.engine) > self._saved_places
        if not (unsaved and settings.save_on_shutdown and settings.map):
            return
        try:
            self._save(Path(settings.map).expanduser())
        except Exception as error:
            # The node must be able to stop all the same; ~/save_map can still be called.
            self.get_logger().error(f'the map was not saved: {error}')

    # Images, on the worker's thread.

    def _process(self, image: StampedImage) -> None:
        assert self.engine is not None
        pose = self._pose_at(image.stamp_ns) if self._posed is not False else None
        if self._posed is None and not self._decide_on_poses(pose):
            return
        if self._posed and pose is None:
            return
        started = time.perf_counter()
        if self.engine.push_lazily(image.read, image.stamp_ns, pose):
            self.statistics.describe.add(time.perf_counter() - started)

    def _decide_on_poses(self, pose: np.ndarray | None) -> bool:
        """Decide at the start whether the map has poses; return False while that is open.

        Every place of a map has a pose or none has, so the first images wait for odometry that
        is announced, or that may not have been discovered yet.
        """
        if pose is not None:
            self._posed = True
            return True
        if self._odometry_subscription is not None:
            now = time.monotonic()
            self._first_image_s = self._first_image_s or now
            announced = self.count_publishers(self._odometry_subscription.topic_name) > 0
            patience = self.settings.read().silence_after_s if announced else DISCOVERY_S
            if now - self._first_image_s < patience:
                return False
            self.get_logger().warning(
                f'no odometry on {self.resolve_topic_name(ODOMETRY_TOPIC)}: the places of this '
                'map are put one metre apart on a line, frame number = metres')
        self._posed = False
        return True

    # Saving.

    def _save(self, path: Path) -> PlaceMap:
        assert self.engine is not None
        topic = self.resolve_topic_name(ODOMETRY_TOPIC)
        place_map = self.engine.finish(
            source=self.resolve_topic_name('image'), pose_origin=f'odometry on {topic}')
        save_map(place_map, path)
        self._saved_places = len(place_map)
        self.get_logger().info(f'map {path} saved: {len(place_map)} places')
        return place_map

    async def _save_map(self, request: SaveMap.Request,
                        response: SaveMap.Response) -> SaveMap.Response:
        return await self._answer(
            response, request.path or self.get_parameter('map').value, self._save,
            MapWriteError('no path was given and the parameter map is empty'),
            {InputError: response.RESULT_NOTHING_TO_SAVE,
             MapWriteError: response.RESULT_WRITE_FAILED})

    # Diagnostics.

    def _judge(self, report: Report) -> None:
        places = 0 if self.engine is None else len(self.engine)
        poses = {None: 'not decided yet', True: 'odometry', False: 'frame number = metres'}
        report.values.update({
            'map': self.get_parameter('map').value or 'none',
            'map places': places,
            'map places not saved': places - self._saved_places,
            'poses': poses[self._posed],
        })
        report.message = f'{report.message}: {places} places'
        if self._posed is False and self._odometry_subscription is not None:
            report.level = Level.WARN
            report.message += ', no odometry'


def main() -> None:
    """Run the node until it is interrupted."""
    run(MapperNode)
