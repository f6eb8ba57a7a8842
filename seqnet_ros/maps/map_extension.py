"""Saving a drive to the map that it extends, while other processes may extend it, too."""

from collections.abc import Callable
from pathlib import Path

from seqnet_ros.core.errors import MapConflictError
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap

_ATTEMPTS = 5


def save_extension(mapper: Mapper, place_map: PlaceMap, finish: Callable[[], PlaceMap], path: Path,
                   *, backup: bool = True) -> tuple[PlaceMap, Path | None]:
    """Save a drive together with the map that it extends, in place of that map.

    Where another process has replaced the map meanwhile, the drive is added to the new one.

    Args:
        mapper: holds the drive; it extends the map at ``path``.
        place_map: the map of both, as the mapper finished it.
        finish: makes the map of both again with the mapper.
        path: directory of the map.
        backup: keep the map as it was, see `save_map`.

    Returns:
        The saved map, and the path of the backup.

    Raises:
        MapConflictError: the map was replaced each time.
        MapError: the map at the path cannot be read or written.
        InputError: the drive cannot be added to the current map.
    """
    for _ in range(_ATTEMPTS):
        assert mapper.extends is not None
        try:
            return place_map, save_map(
                place_map, path, replaces=mapper.extends.manifest.map_id, backup=backup)
        except MapConflictError as error:
            conflict = error
            mapper.extend(open_map(path, mapper.model, verify=True))
            place_map = finish()
    raise conflict
