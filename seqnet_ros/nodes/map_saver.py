"""What nodes that make a map have in common: poses for all places or for none, and saving."""

import time
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seqnet_ros.errors import InputError, MapConflictError, MapExistsError, MapWriteError
from seqnet_ros.maps.map_recovery import next_backup
from seqnet_ros.maps.map_writer import check_target, save_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.nodes.diagnostics import Level, Report
from seqnet_ros.nodes.image_pipeline import ODOMETRY_TOPIC, PlaceNode
from seqnet_ros.nodes.inputs.image_input import StampedImage
from seqnet_ros.nodes.settings import MappingSettings, user_path
from seqnet_ros.place_model import PlaceModel, build_model, load_preset
from seqnet_ros.srv import SaveMap

DISCOVERY_S = 1.0
"""Odometry may be discovered this much later than the images."""


class MappingEngine(Protocol):
    """What collects places."""

    def __len__(self) -> int:
        """Return the number of places so far."""
        ...

    def finish(self, source: str = '', pose_origin: str = '') -> PlaceMap:
        """Make the map of what was collected."""
        ...


class MappingNode(PlaceNode):
    """Collects places while active; saves them when asked and, if so set, when it ends."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Declare the parameters, as `PlaceNode` does."""
        super().__init__(*arguments, **options)
        self.engine: MappingEngine | None = None
        self._posed: bool | None = None
        self._saved_places = 0
        self._saved_ids: dict[Path, str] = {}
        self._first_image_s: float | None = None
        self.create_service(SaveMap, '~/save_map', self._save_map, callback_group=self._serving)

    # What the nodes fill in, on the worker's thread.

    @abstractmethod
    def _push(self, image: StampedImage, pose: np.ndarray | None) -> None:
        """Give an image with its pose to the engine."""

    @property
    def _places(self) -> int:
        """Number of places so far."""
        return 0 if self.engine is None else len(self.engine)

    # Configuring and ending, on the worker's thread.

    def _load_model(self, settings: Any, weights: Path | None) -> PlaceModel:
        preset, folder = load_preset(settings.model, weights)
        if settings.cameras > 1:
            preset = replace(
                preset, model=preset.model.model_copy(update={'cameras': settings.cameras}))
        return build_model(preset, settings.device, folder)

    def _check_target(self, settings: MappingSettings, replaces: str | None = None) -> None:
        """Say before the drive what saving would say after it."""
        if settings.save_on_shutdown and settings.map:
            check_target(user_path(settings.map), overwrite=settings.overwrite, replaces=replaces)
        elif settings.save_on_shutdown:
            self.get_logger().warning(
                'the parameter map is empty: the map is lost unless '
                f'{self.get_fully_qualified_name()}/save_map is called')

    def _close(self) -> None:
        self.engine = None
        self._posed = None
        self._saved_places = 0
        self._saved_ids = {}
        self._first_image_s = None

    def _before_inactive(self) -> None:
        settings: MappingSettings = self.settings.read()
        unsaved = self._places > self._saved_places
        if not (unsaved and settings.save_on_shutdown and settings.map):
            return
        path = user_path(settings.map)
        try:
            self._save(path)
        except MapWriteError as error:
            self.get_logger().error(str(error))
            self._rescue(path)
        except Exception as error:
            # The node must be able to stop all the same; ~/save_map can still be called.
            self.get_logger().error(f'the map was not saved: {error}')

    def _rescue(self, path: Path) -> None:
        """Save the map beside a path that cannot be written, as the drive ends."""
        beside = next_backup(path)
        try:
            save_map(self._finish(), beside)
        except Exception as error:
            self.get_logger().error(f'the map was not saved: {error}')
            return
        self._saved_places = self._places
        self.get_logger().warning(f'the map of this drive was saved as {beside} instead')

    # Images, on the worker's thread.

    def _process(self, image: StampedImage) -> None:
        pose = self._pose_at(image.stamp_ns) if self._posed is not False else None
        if self._posed is None and not self._decide_on_poses(pose):
            return
        if not self._posed or pose is not None:
            self._push(image, pose)

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

    def _finish(self) -> PlaceMap:
        topic = self.resolve_topic_name(ODOMETRY_TOPIC)
        assert self.engine is not None
        return self.engine.finish(self.resolve_topic_name('image'), f'odometry on {topic}')

    def _save(self, path: Path, overwrite: bool = False) -> str:
        """Save the map so far; what this drive saved at the path before is replaced."""
        settings: MappingSettings = self.settings.read()
        place_map, kept = self._write(path, overwrite or settings.overwrite, settings.backup)
        self._saved_ids[path] = place_map.manifest.map_id
        self._saved_places = self._places
        message = f'{path}: {len(place_map)} places'
        if kept is not None:
            message += f'; the map that was there is kept as {kept}'
        self.get_logger().info(f'map saved: {message}')
        return message

    def _write(self, path: Path, overwrite: bool, backup: bool) -> tuple[PlaceMap, Path | None]:
        place_map = self._finish()
        saved_before = self._saved_ids.get(path)
        if saved_before is not None:
            try:
                # The new map holds all of the one that this drive saved.
                return place_map, save_map(
                    place_map, path, replaces=saved_before, backup=False)
            except MapConflictError:
                if not overwrite:
                    raise
        return place_map, save_map(place_map, path, overwrite=overwrite, backup=backup)

    async def _save_map(self, request: SaveMap.Request,
                        response: SaveMap.Response) -> SaveMap.Response:
        name = request.path or self.get_parameter('map').value
        return await self._answer(
            response, name,
            lambda: self._on_worker(
                lambda: self._save(user_path(name, MapWriteError), request.overwrite)),
            MapWriteError('no path was given and the parameter map is empty'),
            {InputError: response.RESULT_NOTHING_TO_SAVE,
             MapExistsError: response.RESULT_MAP_EXISTS,
             MapConflictError: response.RESULT_MAP_EXISTS,
             MapWriteError: response.RESULT_WRITE_FAILED})

    # Diagnostics.

    def _judge(self, report: Report) -> None:
        poses = {None: 'not decided yet', True: 'odometry', False: 'frame number = metres'}
        report.values.update({
            'map': self.get_parameter('map').value or 'none',
            'map places': self._places,
            'map places not saved': self._places - self._saved_places,
            'poses': poses[self._posed],
        })
        report.message = f'{report.message}: {self._places} places'
        if self._posed is False and self._odometry_subscription is not None:
            report.level = Level.WARN
            report.message += ', no odometry'
