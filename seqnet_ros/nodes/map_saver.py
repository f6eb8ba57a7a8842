"""Saving of the map that a node makes."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from rclpy.node import Node

from seqnet_ros.core.errors import (
    InputError,
    MapConflictError,
    MapExistsError,
    MapWriteError,
    SessionAlignmentError,
)
from seqnet_ros.maps.completeness import Completeness
from seqnet_ros.maps.map_recovery import next_backup
from seqnet_ros.maps.map_writer import check_target, save_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.nodes.diagnostics import Report
from seqnet_ros.nodes.image_pipeline import ImagePipeline
from seqnet_ros.nodes.map_completeness import MapCompleteness
from seqnet_ros.nodes.services import ServiceGroup, answer_map_request
from seqnet_ros.nodes.settings import MappingSettings, user_path
from seqnet_ros.srv import SaveMap

Saved = tuple[PlaceMap, Path | None]
"""A map that was saved, and where the map that was there before is kept."""


class MappingEngine(Protocol):
    """Engine that collects places."""

    def __len__(self) -> int:
        """Return the number of places so far."""
        ...

    @property
    def completeness(self) -> Completeness:
        """Missing images and holes of the drive so far."""
        ...

    def note_missing(self, images: int) -> None:
        """Note how many images are known to be missing."""
        ...

    def finish(self, source: str = '', pose_origin: str = '') -> PlaceMap:
        """Make the map of the places so far."""
        ...


Make = Callable[[str, str, bool], PlaceMap]
"""Makes a map, given the source, the origin of the poses, and whether to leave out the map that the
drive extends."""


class MapSaver:
    """Saves the map of an engine: on ``~/save_map`` and, if so set, when the node stops.

    Args:
        node: the node that serves and logs.
        services: the node's services.
        pipeline: where the engine's images come from; its worker saves.
        settings: returns the node's settings.
        engine: returns the engine, None while there is none.
        without_pose: returns how many images were left out because they have no pose.
        extend: saves at a path, with a backup or without, what extends the map there; returns None
            where the engine extends no map, or another one.
        make: makes the map; None where the engine does.
    """

    def __init__(self, node: Node, services: ServiceGroup, pipeline: ImagePipeline,
                 settings: Callable[[], MappingSettings],
                 engine: Callable[[], MappingEngine | None],
                 without_pose: Callable[[], int],
                 extend: Callable[[Path, bool], Saved | None] = lambda _path, _backup: None,
                 make: Make | None = None) -> None:
        self._node = node
        self._pipeline = pipeline
        self._settings = settings
        self._engine = engine
        self._extend = extend
        self._make = make
        self._completeness = MapCompleteness(node, pipeline, self._read_completeness, without_pose)
        self.reset()
        services.add(SaveMap, '~/save_map', self._on_save_map)

    @property
    def places(self) -> int:
        """Number of places so far."""
        engine = self._engine()
        return 0 if engine is None else len(engine)

    def reset(self) -> None:
        """Treat the places of a new engine as not saved yet."""
        self._completeness.reset()
        self._saved_places = 0
        self._saved_ids: dict[Path, str] = {}

    def _read_completeness(self) -> Completeness | None:
        engine = self._engine()
        return None if engine is None else engine.completeness

    def check_target(self, replaces: str | None = None) -> None:
        """Check before the drive that its map can be saved when the node stops.

        Args:
            replaces: id of the map that the drive extends.

        Raises:
            MapError: another map is there, or the path cannot be written.
        """
        settings = self._settings()
        if settings.save_on_shutdown and settings.map:
            check_target(user_path(settings.map), overwrite=settings.overwrite, replaces=replaces)
        elif settings.save_on_shutdown:
            self._node.get_logger().warning(
                'the parameter map is empty: the map is lost unless '
                f'{self._node.get_fully_qualified_name()}/save_map is called')

    def save_unsaved(self) -> None:
        """Save new places where the settings ask for that when the node stops."""
        settings = self._settings()
        if self.places > self._saved_places and settings.save_on_shutdown and settings.map:
            self._pipeline.worker.call(lambda: self._save_at_the_end(settings.map))

    def _save_at_the_end(self, name: str) -> None:
        # The node must be able to stop whatever happens; ~/save_map can still be called.
        try:
            path = user_path(name)
        except InputError as error:
            self._node.get_logger().error(f'the map was not saved: {error}')
            return
        try:
            self._save(path)
        except Exception as error:
            self._node.get_logger().error(str(error))
            # The drive is whole, whatever it was to be added to.
            self._save_beside(path, alone=not isinstance(error, MapWriteError))

    def _save_beside(self, path: Path, alone: bool) -> None:
        """Save the map beside a path that cannot be written, or that it does not fit."""
        beside = next_backup(path)
        try:
            save_map(self.finish(alone), beside)
        except Exception as error:
            self._node.get_logger().error(f'the map was not saved: {error}')
            return
        self._saved_places = self.places
        self._node.get_logger().warning(f'the map of this drive was saved as {beside} instead')

    def finish(self, alone: bool = False) -> PlaceMap:
        """Make the map of the places so far, on the worker's thread.

        Args:
            alone: leave out the map that the drive extends.
        """
        engine = self._engine()
        assert engine is not None
        engine.note_missing(self._completeness.known_missing)
        if engine.completeness.incomplete:
            self._node.get_logger().warning(self._completeness.explain(engine.completeness))
        source = self._node.resolve_topic_name('image')
        origin = f'odometry on {self._pipeline.odometry.topic}'
        return (engine.finish(source, origin) if self._make is None
                else self._make(source, origin, alone))

    def _save(self, path: Path, overwrite: bool = False) -> str:
        """Save the map so far; what this drive saved at the path before is replaced."""
        settings = self._settings()
        place_map, kept = self._write(path, overwrite or settings.overwrite, settings.backup)
        self._saved_ids[path] = place_map.manifest.map_id
        self._saved_places = self.places
        message = f'{path}: {len(place_map)} places'
        if kept is not None:
            message += f'; the map that was there is kept as {kept}'
        self._node.get_logger().info(f'map saved: {message}')
        return message

    def _write(self, path: Path, overwrite: bool, backup: bool) -> Saved:
        saved_before = self._saved_ids.get(path)
        if saved_before is None and (saved := self._extend(path, backup)) is not None:
            return saved
        place_map = self.finish()
        if saved_before is not None:
            try:
                # The new map holds all of the one that this drive saved.
                return place_map, save_map(place_map, path, replaces=saved_before, backup=False)
            except MapConflictError:
                if not overwrite:
                    raise
        return place_map, save_map(place_map, path, overwrite=overwrite, backup=backup)

    async def _on_save_map(self, request: SaveMap.Request,
                           response: SaveMap.Response) -> SaveMap.Response:
        async def save() -> str:
            name = request.path or self._node.get_parameter('map').value
            if not name:
                raise MapWriteError('no path was given and the parameter map is empty, expected '
                                    'the directory to write in one of them')
            return await self._pipeline.run(
                lambda: self._save(user_path(name, MapWriteError), request.overwrite),
                after_waiting=True)

        return await answer_map_request(
            response, save(), {SessionAlignmentError: response.RESULT_WRITE_FAILED,
                               InputError: response.RESULT_NOTHING_TO_SAVE,
                               MapExistsError: response.RESULT_MAP_EXISTS,
                               MapConflictError: response.RESULT_MAP_EXISTS,
                               MapWriteError: response.RESULT_WRITE_FAILED})

    def report(self, report: Report) -> None:
        """Add the number of places to a report."""
        places = self.places
        report.values.update({
            'map': self._node.get_parameter('map').value or 'none',
            'map places': places,
            'map places not saved': places - self._saved_places,
        })
        report.message = f'{report.message}: {places} places'
        self._completeness.report(report)
