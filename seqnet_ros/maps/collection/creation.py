"""Creation of a collection from existing maps."""

import io
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from seqnet_ros.core.documents import MAX_JSON_BYTES
from seqnet_ros.core.errors import (
    DuplicateMapError,
    InputError,
    MapCorruptError,
    MapExistsError,
    MapModelMismatchError,
    MapNotFoundError,
    MapWriteError,
)
from seqnet_ros.core.files import read_limited, whole_file
from seqnet_ros.maps.collection.collection_file import (
    MOST_TILES,
    CollectionManifest,
    SummaryFiles,
    Tile,
    check_distinct,
    parse_collection,
)
from seqnet_ros.maps.collection.extent import Extent, GeoExtent
from seqnet_ros.maps.collection.summary import STRETCH, Axes, centered
from seqnet_ros.maps.datum import Datum
from seqnet_ros.maps.file_record import FileRecord
from seqnet_ros.maps.manifest_file import COLLECTION, MANIFEST
from seqnet_ros.maps.map_reader import open_map, read_manifest
from seqnet_ros.maps.place_map import MapManifest, PlaceMap

_NO_FRAMES: Mapping[str, str] = {}


def check_new_folder(output: Path) -> None:
    """Check that the folder of a new collection can be made.

    Raises:
        MapWriteError: something is there, or the folder that is to hold it does not exist.
    """
    if os.path.lexists(output) and not (output.is_dir() and not any(output.iterdir())):
        raise MapExistsError(f'{output} exists, expected a new folder; nothing was written')
    parent = Path(os.path.realpath(output)).parent
    if not parent.is_dir():
        raise MapWriteError(f'{output} cannot be written: the folder {parent} does not exist')


def find_maps(folders: Sequence[Path]) -> list[Path]:
    """Return the maps that folders are or hold, at any depth, in the order of their names.

    Raises:
        MapNotFoundError: a folder holds no map.
        InputError: there are more than a collection may have.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise MapNotFoundError(f'{folder} is not a folder, expected a map or a folder of maps')
        inside = []
        for place, names, files in os.walk(folder):
            names[:] = sorted(name for name in names if not name.startswith('.'))
            if MANIFEST in files:
                inside.append(Path(place))
                names.clear()
        if not inside:
            raise MapNotFoundError(f'{folder} holds no map, expected a map or a folder of maps')
        found.update(dict.fromkeys(inside))
        if len(found) > MOST_TILES:
            raise InputError(f'more than {MOST_TILES} maps were found, expected at most as many')
    return list(found)


def create_collection(folder: Path, maps: Sequence[Path], *, areas: Mapping[str, str],
                      frame: str = '', frames: Mapping[str, str] = _NO_FRAMES,
                      overwrite: bool = False,
                      progress: Callable[[int], None] = lambda _: None) -> CollectionManifest:
    """Write ``collection.json`` and the summary of maps that lie in a folder.

    Args:
        folder: the folder of the collection, which holds the maps.
        maps: the maps, as `find_maps` returns them.
        areas: the floor or site of tiles, by their names.
        frame: name of the coordinate frame that all maps share. '' if each has its own; maps with
            one origin on the earth share theirs all the same.
        frames: the same for single tiles, by their names.
        overwrite: replace the collection that is there; nothing else ever is.
        progress: told how many maps are read.

    Raises:
        MapWriteError: a collection is there, or something else, or the files cannot be written.
        MapModelMismatchError: the maps were made with different models.
        InputError: a map lies elsewhere or is given twice, or the sequences or spacings of the maps
            differ, or an area names no tile.
        MapError: a map cannot be read.
    """
    names = tile_names(folder, maps)
    unknown = sorted(set(areas) - set(names))
    if unknown:
        raise InputError(f'there is no tile {unknown[0]}, expected one of {_listed(names)}')
    before = _existing(folder, overwrite)
    _check_alike(maps, names)
    manifest, _ = read_manifest(maps[0])
    tiles: list[Tile] = []
    means: list[np.ndarray] = []
    try:
        # The rows of all tiles before they are projected may not fit in memory.
        with tempfile.TemporaryFile(prefix='seqnet_ros-') as scratch:
            for number, (path, name) in enumerate(zip(maps, names, strict=True)):
                place_map = open_map(path)
                rows_of_tile, mean = centered(place_map.sequences, place_map.segment_starts)
                means.append(mean)
                scratch.write(np.ascontiguousarray(rows_of_tile).data)
                tiles.append(describe_tile(
                    place_map, path, name, area=areas.get(name, ''),
                    frame=frames.get(name, frame), rows=len(rows_of_tile)))
                progress(number + 1)
            check_distinct(tuple(tiles))
            scratch.flush()
            rows = np.memmap(scratch, np.float32, 'r', shape=(
                sum(tile.rows for tile in tiles), manifest.sequence_dim))
            axes = Axes.fit(rows, np.stack(means))
            return _write(folder, manifest, tuple(tiles), axes, axes.encode(rows), before)
    except DuplicateMapError:
        raise
    except (InputError, OSError) as error:
        raise MapWriteError(f'the collection {folder} was not written: {error}') from error


def tile_names(folder: Path, maps: Sequence[Path]) -> list[str]:
    """Return the names of maps as tiles of a collection: their paths within its folder.

    Raises:
        InputError: a map lies elsewhere.
        DuplicateMapError: one is given twice.
    """
    inside = Path(os.path.realpath(folder))
    names = []
    for path in maps:
        real = Path(os.path.realpath(path))
        if inside not in real.parents:
            raise InputError(f'map {path} is not in the folder of the collection, expected it '
                             f'within {folder}')
        names.append(real.relative_to(inside).as_posix())
    for name in names:
        if names.count(name) > 1:
            raise DuplicateMapError(f'tile {name} is given twice, expected different maps')
    return names


def _check_alike(maps: Sequence[Path], names: Sequence[str]) -> None:
    """Check, before any map is read, that they can be searched together."""
    first = read_manifest(maps[0])[0]
    for path, name in zip(maps, names, strict=True):
        manifest, _ = read_manifest(path)
        if manifest.fingerprint != first.fingerprint:
            raise MapModelMismatchError(
                f'tile {name} was made with model {manifest.model.name!r} '
                f'({manifest.fingerprint[:8]}), but {names[0]} with {first.model.name!r} '
                f'({first.fingerprint[:8]}): the tiles of a collection have one model')
        for what in ('sequence_length', 'spacing'):
            found, expected = getattr(manifest, what), getattr(first, what)
            if found != expected:
                raise InputError(
                    f'the {what.replace("_", " ")} of tile {name} is {found}, but that of '
                    f'{names[0]} is {expected}: the tiles of a collection are made alike')


def describe_tile(place_map: PlaceMap, path: Path, name: str, *, area: str = '', frame: str = '',
                  rows: int) -> Tile:
    """Return the entry of a map in ``collection.json``.

    Args:
        place_map: the map.
        path: its folder.
        name: its name as a tile.
        area: the floor or site it belongs to.
        frame: name of its coordinate frame; '' for one of its own.
        rows: number of its rows in the summary.
    """
    manifest, positions = place_map.manifest, place_map.positions
    size = sum(record.bytes for record in read_manifest(path)[1].values())
    datum = manifest.geo_datum if manifest.has_poses else None
    scene = place_map.scene_change
    return Tile(
        name=name, map_id=manifest.map_id, places=len(place_map), bytes=size, rows=rows,
        scene=(*scene.on_route, *scene.elsewhere), area=area,
        frame=_frame(manifest, frame, name), datum=Datum.of(datum),
        extent=Extent.of(positions) if manifest.has_poses else None,
        geographic=None if datum is None else GeoExtent.of(positions, datum))


def _frame(manifest: MapManifest, frame: str, name: str) -> str:
    """Return the frame of a map: one of its own, if it does not share any."""
    if not manifest.has_poses:
        return name
    datum = manifest.geo_datum
    if not frame and datum is not None:
        return f'{datum.latitude!r}, {datum.longitude!r}, {datum.altitude!r}'
    return frame or name


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more


def _existing(folder: Path, overwrite: bool) -> CollectionManifest | None:
    """Return the collection that may be replaced."""
    file = folder / COLLECTION
    if not folder.is_dir():
        raise MapWriteError(f'{folder} is not a folder, expected the one that holds the maps')
    if not os.path.lexists(file):
        return None
    try:
        found = parse_collection(read_limited(file, MAX_JSON_BYTES), file)
    except (MapCorruptError, InputError) as error:
        raise MapWriteError(f'{file} exists and is not a collection that can be replaced: '
                            f'{error}; nothing was written') from error
    if not overwrite:
        raise MapExistsError(f'{folder} is a collection already, expected a new folder or '
                             '--overwrite; nothing was written')
    return found


def _write(folder: Path, manifest: MapManifest, tiles: tuple[Tile, ...], axes: Axes,
           rows: np.ndarray, before: CollectionManifest | None) -> CollectionManifest:
    """Write the files; `collection.json` last, which names them."""
    files = [_npy(array) for array in (rows, axes.to_array())]
    records = [FileRecord.of_content(io.BytesIO(content)) for content in files]
    summary = SummaryFiles(stretch=STRETCH, rows=records[0], axes=records[1])
    written = CollectionManifest(
        model=manifest.model.name, fingerprint=manifest.fingerprint,
        sequence_length=manifest.sequence_length, spacing=manifest.spacing, summary=summary,
        tiles=tiles)
    content = written.to_bytes()
    if len(content) > MAX_JSON_BYTES:
        raise InputError(f'{COLLECTION} would have {len(content)} bytes, expected at most '
                         f'{MAX_JSON_BYTES}: make several collections')
    names = summary.rows_name, summary.axes_name
    for name, record in zip(names, records, strict=True):
        _refuse_foreign(folder / name, record)
    for name, array in zip(names, files, strict=True):
        with whole_file(folder / name) as file:
            file.write(array)
    with whole_file(folder / COLLECTION) as file:
        file.write(content)
    if before is not None and before.summary.id != summary.id:
        for name in (before.summary.rows_name, before.summary.axes_name):
            (folder / name).unlink(missing_ok=True)
    return written


def _refuse_foreign(file: Path, record: FileRecord) -> None:
    if os.path.lexists(file) and not (file.is_file() and FileRecord.of_file(file) == record):
        raise InputError(f'{file} exists and is not part of the collection')


def _npy(array: np.ndarray) -> bytes:
    """Return an array as the content of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
