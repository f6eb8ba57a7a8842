"""Small maps for tests, and maps on disk that `save_map` would refuse to write."""

import shutil
from pathlib import Path

import numpy as np

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.maps import map_writer
from seqnet_ros.maps.builder import build_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.matching.calibration import calibrate
from seqnet_ros.place_model import PlaceModel, build_model
from seqnet_ros.poses import make_pose
from seqnet_ros.vectors import normalise_rows

PLACES = 60


def small_model() -> PlaceModel:
    """Return the smallest shipped describer: 8 x 8 cells of 64 x 64 pixels."""
    return build_model(parse_preset({
        'name': 'small', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 16, 'block': 32}, 'sequence': {'length': 5}}), 'cpu')


def make_map(model: PlaceModel, seed: int = 0, places: int = PLACES) -> PlaceMap:
    """Return a map of random descriptors, two stretches with places two metres apart."""
    random = np.random.default_rng(seed)
    descriptors = normalise_rows(1 + random.standard_normal((places, model.describer.dim)))
    poses = np.stack([make_pose(2.0 * index, 0.0) for index in range(places)])
    starts = np.where(np.arange(places) < places // 2, 0, places // 2)
    place_map = build_map(model, descriptors, range(0, places * 10, 10), poses, starts, '2m',
                          source=f'drive {seed}', pose_origin='test')
    return place_map.with_calibration(calibrate(model, place_map, model.engine.matching))


def write_unchecked(place_map: PlaceMap, path: Path) -> None:
    """Write a map as `save_map` does, without reading it back; checksums fit the content."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    map_writer._write_files(place_map, path)
