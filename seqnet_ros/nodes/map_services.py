"""The services that load and copy the maps of a localizer."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from seqnet_ros.core.errors import (
    DuplicateMapError,
    InputError,
    MapCorruptError,
    MapExistsError,
    MapModelMismatchError,
    MapNotFoundError,
    MapWriteError,
)
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.fleet.address import FleetAddress
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.nodes.image_pipeline import ImagePipeline
from seqnet_ros.nodes.services import ServiceGroup, StateError, answer_map_request
from seqnet_ros.nodes.settings import map_sources, user_path
from seqnet_ros.srv import LoadMap, SaveMap

Prepared = list[PlaceMap] | CollectionLocalizer
"""Maps that are ready to be searched, or the engine of a collection."""


Source = Path | FleetAddress
"""Where a map is: a folder, or a server."""


def searched(engine: Localizer, paths: Sequence[Source]) -> list[str]:
    """Return a line for each map that is searched, or for the collection."""
    if isinstance(engine, CollectionLocalizer):
        manifest = engine.collection.manifest
        size = f'{manifest.places} places in {len(manifest.tiles)} tiles'
        return [f'{paths[0]}: {size}']
    return [f'{path}: {len(place_map)} places'
            for path, place_map in zip(paths, engine.maps.values(), strict=True)]


class MapServices:
    """Offers ``~/load_map`` and ``~/save_map``.

    Maps are read and written on a thread of their own, so that no image waits for them; only
    their use begins on the worker's thread.

    Args:
        services: the node's services.
        pipeline: its worker owns the engine.
        engine: returns the engine, None while no map is loaded.
        prepare: reads maps, given their paths and whether they are added to those in use.
        use: searches prepared maps from the next image on, given the same and what ``prepare``
            returned; returns the engine.
        paths: returns the paths of the maps in use.
    """

    def __init__(self, services: ServiceGroup, pipeline: ImagePipeline,
                 engine: Callable[[], Localizer | None],
                 prepare: Callable[[Sequence[Source], Sequence[PlaceMap]], Prepared],
                 use: Callable[[Sequence[Source], Prepared], Localizer],
                 paths: Callable[[], tuple[Source, ...]]) -> None:
        # Started with the first map that a service loads.
        self._thread = ThreadPoolExecutor(1, 'map loader')
        self._services = services
        self._pipeline = pipeline
        self._engine = engine
        self._prepare = prepare
        self._use = use
        self._paths = paths
        services.add(LoadMap, '~/load_map', self._on_load_map)
        services.add(SaveMap, '~/save_map', self._on_save_map)

    def close(self) -> None:
        """End the thread; requests that wait for it are canceled."""
        self._thread.shutdown(cancel_futures=True)

    async def _run(self, path: str, missing: Exception, job: Callable[[], str]) -> str:
        """Run a job that needs a path on the thread of the maps."""
        if not path:
            raise missing
        self._pipeline.check_open()
        return await self._services.wait(self._thread.submit(job))

    async def _on_load_map(self, request: LoadMap.Request,
                           response: LoadMap.Response) -> LoadMap.Response:
        """Search another map, or one more."""
        missing = MapNotFoundError('the path is empty, expected the directory of a map')
        return await answer_map_request(
            response, self._run(request.path, missing, lambda: self._load(request)),
            {MapNotFoundError: response.RESULT_MAP_NOT_FOUND,
             MapCorruptError: response.RESULT_INVALID_MAP,
             MapModelMismatchError: response.RESULT_MODEL_MISMATCH,
             DuplicateMapError: response.RESULT_DUPLICATE_MAP})

    def _load(self, request: LoadMap.Request) -> str:
        paths = map_sources(request.path)
        kept = self._paths() if request.add else ()
        engine = self._engine()
        if kept and isinstance(engine, CollectionLocalizer):
            raise InputError(f'{kept[0]} is a collection, expected it alone: no map can be added')
        maps = self._prepare(paths, [] if engine is None or not kept else
                             list(engine.maps.values()))
        worker = self._pipeline.worker
        if not worker.running:
            raise StateError('the node was cleaned up meanwhile: configure it again')
        used = worker.call(lambda: self._use([*kept, *paths], maps))
        return ', '.join(searched(used, self._paths()))

    async def _on_save_map(self, request: SaveMap.Request,
                           response: SaveMap.Response) -> Any:
        """Write a copy of the loaded map."""
        engine = self._engine()
        if isinstance(engine, CollectionLocalizer):
            response.result = response.RESULT_SEVERAL_MAPS
            response.message = (f'{engine.collection.folder} is a collection, expected one map to '
                                'copy')
            return response
        if engine is None or len(engine.maps) > 1:
            response.result = (response.RESULT_NOTHING_TO_SAVE if engine is None
                               else response.RESULT_SEVERAL_MAPS)
            response.message = ('no map is loaded' if engine is None else
                                f'{len(engine.maps)} maps are loaded, expected one to copy')
            return response

        def write_copy() -> str:
            path = user_path(request.path, MapWriteError)
            save_map(engine.map, path, overwrite=request.overwrite)
            return f'{path}: {len(engine.map)} places'

        missing = MapWriteError('the path is empty, expected the directory to write')
        return await answer_map_request(
            response, self._run(request.path, missing, write_copy),
            {MapExistsError: response.RESULT_MAP_EXISTS,
             MapWriteError: response.RESULT_WRITE_FAILED})
