"""Maps on disk that `save_map` would refuse to write."""

import shutil
from pathlib import Path

from seqnet_ros.maps import map_writer
from seqnet_ros.maps.place_map import PlaceMap


def write_unchecked(place_map: PlaceMap, path: Path) -> None:
    """Write a map as `save_map` does, without reading it back; checksums fit the content."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    map_writer._write_files(place_map, path)
