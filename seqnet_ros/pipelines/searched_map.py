"""What a recording is searched in: a map, or a collection of maps in a folder or on a server."""

from pathlib import Path
from types import TracebackType

from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import InputError
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.collection.collection_file import is_collection
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.collection.prior import AreaPrior
from seqnet_ros.maps.fleet.address import FleetAddress
from seqnet_ros.maps.fleet.fleet_collection import FleetCollection, open_collection
from seqnet_ros.maps.map_reader import open_map, read_manifest
from seqnet_ros.models.place_model import PlaceModel, build_map_model, load_model
from seqnet_ros.pipelines.progress import Bars, no_bar


class SearchedMap:
    """A map or a collection, as far as it is read before its model is known; a context manager.

    Args:
        place: the folder of a map or of a collection, or the address of a map on a server.
        collection: the limits of open tiles.
        fleet: which part of a map on a server, and how it is reached.

    Attributes:
        place: where it is.
        tiles: the collection; None for a map.
        manifest: that of the map, or of the first tile.
        folder: where that map is.

    Raises:
        MapError: it cannot be used.
        InputError: as `FleetCollection`.
    """

    def __init__(self, place: Path | FleetAddress, collection: CollectionConfig | None = None,
                 fleet: FleetConfig | None = None) -> None:
        self.place = place
        self.tiles: MapCollection | None = None
        if isinstance(place, Path) and not is_collection(place):
            self.manifest, self.folder = read_manifest(place)[0], place
            return
        self.tiles = open_collection(place, fleet or FleetConfig(), collection, waits=True)
        try:
            self.manifest, self.folder = self.tiles.read_first()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> 'SearchedMap':
        """Return the map itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the tiles."""
        if self.tiles is not None:
            self.tiles.close()

    def copy_tiles(self, bars: Bars = no_bar) -> None:
        """Take copies of all tiles of a map on a server in its place.

        Raises:
            MapError: one cannot be fetched.
            InputError: there is no room for all of them.
        """
        tiles = self.tiles
        if not isinstance(tiles, FleetCollection):
            return
        with bars('copying tiles', len(tiles.tiles)) as show:
            tiles.fetch_all(show)
        self.tiles = tiles.reopen()
        tiles.close()

    def load_model(self, model: str, device: str, weights: Path | None) -> PlaceModel:
        """Load a model, or the one that the map was made with.

        Args:
            model: its name or file; '' for that of the map.
            device: where networks run.
            weights: local weights in place of the model's.

        Raises:
            ModelError: it cannot be loaded.
        """
        if model:
            return load_model(model, device, weights)
        return build_map_model(self.manifest.preset, device, weights, self.folder)

    def open_localizer(self, model: PlaceModel, engine: EngineConfig,
                       camera: CameraModel | None = None, area: str = '') -> Localizer:
        """Return the engine of the node for the map.

        Args:
            model: the model it was made with.
            engine: the settings.
            camera: the calibrated camera of the images, where it is known.
            area: the floor, site or tile of a collection that the robot is in; '' for any.

        Raises:
            MapError: it cannot be used.
            InputError: a map has no areas, or the collection has no such area.
        """
        if self.tiles is None:
            if area:
                raise InputError(
                    f'{self.place} is a map, expected a collection for the area {area!r}')
            assert isinstance(self.place, Path)
            return Localizer(model, open_map(self.place, model), engine, camera)
        localizer = CollectionLocalizer(model, self.tiles, engine, camera)
        if area:
            localizer.use_prior('area', AreaPrior(area))
        return localizer
