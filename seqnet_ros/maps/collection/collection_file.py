"""``collection.json``: the tiles of a collection, where they are, and the files of its summary."""

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.documents import MAX_JSON_BYTES, parse_json
from seqnet_ros.core.errors import (
    DuplicateMapError,
    InputError,
    MapCorruptError,
    MapNotFoundError,
    quoted,
    shortened,
)
from seqnet_ros.core.files import read_limited
from seqnet_ros.maps.collection.extent import Extent, GeoExtent
from seqnet_ros.maps.datum import Datum
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.manifest_file import COLLECTION
from seqnet_ros.maps.map_reader import read_manifest
from seqnet_ros.maps.place_map import MapManifest
from seqnet_ros.place_filter.scene_change import SceneChange

FORMAT = 1
MOST_TILES = 20_000

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Spread = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Label = Annotated[str, Field(max_length=200)]


class Tile(Settings):
    """One map of a collection."""

    name: _Label = Field(min_length=1, description='Its name, the path of its folder.')
    map_id: str = Field(min_length=1, max_length=200, description='Id of the map.')
    places: int = Field(ge=1, description='Number of places.')
    bytes: int = Field(ge=0, description='Size of its files.')
    rows: int = Field(ge=1, description='Number of its rows in the summary.')
    scene: tuple[_Finite, _Spread, _Finite, _Spread] = Field(
        description='Similarity of successive views, mean and deviation, and of views far apart.')
    area: _Label = Field('', description='The floor or site it belongs to.')
    frame: _Label = Field(
        min_length=1, description='Name of its coordinate frame; tiles of one frame share '
                                  'coordinates.')
    extent: Extent | None = Field(
        None, description='Where its places are in its frame; none without measured poses.')
    datum: Datum | None = Field(None, description='Where on the earth its frame begins.')
    geographic: GeoExtent | None = Field(None, description='Where its places are on the earth.')

    @field_validator('name')
    @classmethod
    def _name_is_inside(cls, name: str) -> str:
        path = PurePosixPath(name)
        if path.is_absolute() or '..' in path.parts or '\0' in name or str(path) != name:
            raise ValueError('expected a path inside the folder of the collection')
        return name

    def to_scene(self) -> SceneChange:
        """Return `PlaceMap.scene_change` of the map."""
        (near, near_spread, far, far_spread) = self.scene
        return SceneChange((near, near_spread), (far, far_spread))


class SummaryFiles(Settings):
    """The files of the summary, which ranks the tiles for a drive."""

    stretch: int = Field(ge=1, le=10_000, description='Sequence descriptors in one row.')
    rows: FileRecord = Field(description='summary-ID.npy, the rows of all tiles.')
    axes: FileRecord = Field(description='summary-ID-axes.npy, what rows are projected on.')

    @property
    def id(self) -> str:
        """Common part of the names of the files."""
        return hashlib.sha256((self.rows.sha256 + self.axes.sha256).encode()).hexdigest()[:16]

    @property
    def rows_name(self) -> str:
        """Name of the file of the rows."""
        return f'summary-{self.id}.npy'

    @property
    def axes_name(self) -> str:
        """Name of the file of the axes."""
        return f'summary-{self.id}-axes.npy'


class CollectionManifest(Settings):
    """The content of ``collection.json``."""

    format_version: int = Field(FORMAT, description='Version of this format.')
    model: str = Field(max_length=200, description='Name of the model that made all tiles.')
    fingerprint: str = Field(
        max_length=200, description='Hash over everything that determines the descriptors.')
    sequence_length: int = Field(ge=1, description='Frames per sequence descriptor.')
    spacing: str = Field(max_length=50, description='Spacing of the places.')
    summary: SummaryFiles
    tiles: tuple[Tile, ...] = Field(min_length=1, max_length=MOST_TILES)

    @model_validator(mode='after')
    def _tiles_differ(self) -> 'CollectionManifest':
        check_distinct(self.tiles)
        return self

    @property
    def places(self) -> int:
        """Number of places of all tiles."""
        return sum(tile.places for tile in self.tiles)

    @property
    def areas(self) -> tuple[str, ...]:
        """The floors or sites, in the order of the tiles."""
        return tuple(dict.fromkeys(tile.area for tile in self.tiles if tile.area))

    def to_bytes(self) -> bytes:
        """Return the file to write."""
        document = self.model_dump(mode='json', exclude_none=True)
        for record in ('rows', 'axes'):
            document['summary'][record] = getattr(self.summary, record).to_document()
        content = {'collection': document, 'sha256': _digest(document)}
        return (json.dumps(content, indent=1, sort_keys=True) + '\n').encode()


def check_distinct(tiles: tuple[Tile, ...]) -> None:
    """Check that no map is in a collection twice.

    Raises:
        DuplicateMapError: two tiles have one name, or are one map.
    """
    by_name: dict[str, Tile] = {}
    by_id: dict[str, Tile] = {}
    for tile in tiles:
        if tile.name in by_name:
            raise DuplicateMapError(f'tile {tile.name} is given twice, expected different maps')
        if tile.map_id in by_id:
            raise DuplicateMapError(
                f'tiles {by_id[tile.map_id].name} and {tile.name} are the same map '
                f'{tile.map_id}, expected different maps')
        by_name[tile.name] = by_id[tile.map_id] = tile


def is_collection(folder: Path) -> bool:
    """Return whether a folder holds a collection."""
    try:
        return (folder / COLLECTION).is_file()
    except (OSError, ValueError):
        return False


def read_collection(folder: Path) -> CollectionManifest:
    """Read the manifest of a collection.

    Raises:
        MapNotFoundError: there is none.
        MapCorruptError: it is damaged or altered, or of an unknown format.
    """
    file = folder / COLLECTION
    if not is_collection(folder):
        found = 'a folder without it' if folder.is_dir() else 'no folder'
        raise MapNotFoundError(f'no collection at {folder}: found {found}, expected {COLLECTION} '
                               'in it')
    try:
        return parse_collection(read_limited(file, MAX_JSON_BYTES), file)
    except InputError as error:
        raise MapCorruptError(f'{file} is damaged: {error}') from error


def map_manifest(path: Path) -> tuple[MapManifest, Path]:
    """Return the manifest of a map, or of the first tile of a collection, and where that map is.

    Raises:
        MapError: there is no map, or it cannot be read.
    """
    first = path / read_collection(path).tiles[0].name if is_collection(path) else path
    return read_manifest(first)[0], first


def parse_collection(content: bytes, file: Path) -> CollectionManifest:
    """Check the content of ``collection.json``.

    Args:
        content: the file.
        file: its path, for messages.

    Raises:
        MapCorruptError: it is damaged or altered, or of an unknown format.
    """
    try:
        document = parse_json(content, str(file))
        found = document['collection']
        version = found['format_version']
        if version != FORMAT:
            raise MapCorruptError(f'{file} has format {quoted(version)}, this version '
                                  f'reads {FORMAT}')
        if document['sha256'] != _digest(found):
            raise MapCorruptError(f'{file} was modified: its checksum does not match its content')
        return CollectionManifest.model_validate(found)
    except ValidationError as error:
        raise MapCorruptError(f'{file}: {describe_validation_error(error)}') from error
    except (InputError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MapCorruptError(f'{file} is damaged: {shortened(error)}') from error


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
