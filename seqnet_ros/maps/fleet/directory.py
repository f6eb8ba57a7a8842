"""The tiles of a fleet's map: what the server keeps of each beside its places."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pydantic import Field, ValidationError

from seqnet_ros.config.settings import Settings, describe_validation_error
from seqnet_ros.core.documents import parse_json
from seqnet_ros.core.errors import (
    FleetError,
    InputError,
    MapModelMismatchError,
    shortened,
)
from seqnet_ros.maps.collection.collection_file import MOST_TILES, Tile, check_distinct
from seqnet_ros.maps.fleet.region import Region

MAX_ENTRY_BYTES = 65_535
"""Length of a text on a Milvus server, at most."""
MAX_FILE_BYTES = 64 << 30


class StoredFile(Settings):
    """A file of the store, named by its content."""

    bytes: int = Field(ge=0, le=MAX_FILE_BYTES, description='Its size.')
    sha256: str = Field(pattern='^[0-9a-f]{64}$', description='Its SHA-256.')


class TileEntry(Settings):
    """One version of a tile."""

    version: int = Field(ge=1, lt=2**63, description='The largest one of a tile is valid.')
    tile: Tile
    session: str = Field(max_length=200, description='The drive, or the time, it is from.')
    model: str = Field(max_length=200, description='Name of the model it was made with.')
    fingerprint: str = Field(
        min_length=1, max_length=200,
        description='Hash over everything that determines the descriptors.')
    dim: int = Field(ge=1, le=100_000, description='Length of a sequence descriptor.')
    sequence_length: int = Field(ge=1, description='Frames per sequence descriptor.')
    spacing: str = Field(max_length=50, description='Spacing of the places.')
    archive: StoredFile = Field(description='The map, as `map export` writes it.')
    rows: StoredFile = Field(description='Its rows of the summary.')
    axes: StoredFile = Field(description='What the rows of all tiles are projected on.')
    store: str = Field(max_length=1000, description='Where its files were put; only shown.')

    def to_text(self) -> str:
        """Return it as the server keeps it.

        Raises:
            InputError: it is too long.
        """
        text = json.dumps(self.model_dump(mode='json', exclude_none=True), sort_keys=True)
        if len(text.encode()) > MAX_ENTRY_BYTES:
            raise InputError(f'the entry of tile {self.tile.name} is longer than '
                             f'{MAX_ENTRY_BYTES} bytes')
        return text


def parse_entry(text: str, where: str) -> TileEntry:
    """Read an entry.

    Raises:
        FleetError: it is none.
    """
    try:
        return TileEntry.model_validate(parse_json(text.encode(), where))
    except ValidationError as error:
        raise FleetError(f'{where} holds an entry that is none of a tile: '
                         f'{describe_validation_error(error)}') from error
    except (InputError, ValueError) as error:
        raise FleetError(f'{where} holds an entry that is none of a tile: '
                         f'{shortened(error)}') from error


@dataclass(frozen=True)
class Directory:
    """The tiles of a map, or of a part of it, in the order of their names; there is one at least.

    Attributes:
        entries: the newest version of each.
        where: the address of the map, for messages.
    """

    entries: tuple[TileEntry, ...]
    where: str

    @classmethod
    def of(cls, entries: Iterable[TileEntry], where: str) -> 'Directory':
        """Keep the newest version of each tile.

        Raises:
            FleetError: there is no tile, there are too many, or they do not fit together.
            MapModelMismatchError: they were made with different models.
            DuplicateMapError: two are one map.
        """
        newest: dict[str, TileEntry] = {}
        for entry in entries:
            known = newest.get(entry.tile.name)
            if known is None or entry.version > known.version:
                newest[entry.tile.name] = entry
        if not 1 <= len(newest) <= MOST_TILES:
            raise FleetError(f'{where} holds {len(newest)} tiles, expected 1 to {MOST_TILES}')
        found = tuple(newest[name] for name in sorted(newest))
        check_distinct(tuple(entry.tile for entry in found))
        directory = cls(found, where)
        for entry in found[1:]:
            directory.check_alike(entry)
        return directory

    @property
    def first(self) -> TileEntry:
        """The entry that the others are like."""
        return self.entries[0]

    @property
    def versions(self) -> dict[str, int]:
        """The version of each tile, by name."""
        return {entry.tile.name: entry.version for entry in self.entries}

    def find(self, name: str) -> TileEntry | None:
        """Return the entry of a tile."""
        return next((entry for entry in self.entries if entry.tile.name == name), None)

    def check_model(self, fingerprint: str, what: str) -> None:
        """Check that something was made with the model of the tiles.

        Raises:
            MapModelMismatchError: it was not.
        """
        if fingerprint != self.first.fingerprint:
            raise MapModelMismatchError(
                f'{what} was made with another model ({fingerprint[:8]}) than the tiles of '
                f'{self.where}, expected {self.first.model!r} ({self.first.fingerprint[:8]})')

    def check_alike(self, entry: TileEntry) -> None:
        """Check that a tile can be searched together with the others.

        Raises:
            MapModelMismatchError: it was made with another model.
            FleetError: it differs in something else.
        """
        self.check_model(entry.fingerprint, f'tile {entry.tile.name}')
        for what in ('sequence_length', 'spacing', 'dim', 'axes'):
            found, expected = getattr(entry, what), getattr(self.first, what)
            if found != expected:
                raise FleetError(
                    f'the {what.replace("_", " ")} of tile {entry.tile.name} at {self.where} is '
                    f'{found}, but that of {self.first.tile.name} is {expected}: the tiles of a '
                    'map are made alike')

    def select(self, region: Region | None = None, tiles: Collection[str] = (),
               sessions: Collection[str] = ()) -> 'Directory':
        """Return a part of the map.

        Args:
            region: where the tiles are; None for anywhere.
            tiles: their names; none for all.
            sessions: their sessions; none for all.

        Raises:
            InputError: it has no tile, a named tile does not exist, or coordinates in meters mean
                tiles of several frames.
        """
        unknown = sorted(set(tiles) - self.versions.keys())
        if unknown:
            raise InputError(f'there is no tile {unknown[0]} at {self.where}, expected some of '
                             f'its {len(self.entries)} tiles, such as {self.first.tile.name}')
        found = tuple(entry for entry in self.entries
                      if (not tiles or entry.tile.name in tiles)
                      and (not sessions or entry.session in sessions)
                      and (region is None or region.meets(entry.tile)))
        if not found:
            wanted = [*([f'region {region}'] if region else []), *tiles, *sessions]
            raise InputError(f'no tile of {self.where} is in {", ".join(wanted)}: it has '
                             f'{len(self.entries)} tiles')
        frames = sorted({entry.tile.frame for entry in found})
        if region is not None and not region.on_earth and len(frames) > 1:
            raise InputError(f'region {region} of {self.where} means tiles of the frames '
                             f'{frames[0]} and {frames[1]}, expected one frame: name the tiles')
        return Directory(found, self.where)
