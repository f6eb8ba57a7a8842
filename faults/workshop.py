"""Small models and maps that the faults happen to."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.core.poses import make_pose
from seqnet_ros.localization.map_search import prepare_map
from seqnet_ros.maps.builder import build_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, build_model

PLACES = 60


def small_model() -> PlaceModel:
    """Return a fast model: 8 x 8 cells of 64 x 64 pixels, sequences of five."""
    return build_model(parse_preset(small_document()), 'cpu')


def small_document() -> dict[str, Any]:
    """Return the content of the model file of `small_model`."""
    return {'name': 'small', 'image': {'height': 64, 'width': 64},
            'frame': {'kind': 'hog', 'cell': 16, 'block': 32}, 'sequence': {'length': 5}}


def make_map(model: PlaceModel, seed: int = 0, places: int = PLACES) -> PlaceMap:
    """Return a calibrated map of random descriptors: two stretches, places two meters apart."""
    random = np.random.default_rng(seed)
    descriptors = normalize_rows(1 + random.standard_normal((places, model.describer.dim)))
    poses = np.stack([make_pose(2.0 * index, 0.0) for index in range(places)])
    starts = np.where(np.arange(places) < places // 2, 0, places // 2)
    place_map = build_map(model, descriptors, range(0, places * 10, 10), poses, starts, '2m',
                          source=f'drive {seed}', pose_origin='campaign')
    return prepare_map(place_map, model, model.engine)


def picture(seed: int, side: int = 64) -> np.ndarray:
    """Return an image of random blocks, RGB uint8 ``[H, W, 3]``."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(side // 8, 0).repeat(side // 8, 1))


def link_tree(source: Path, target: Path) -> Path:
    """Copy a folder by hard links: a changed file must be replaced, not written to."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, copy_function=_link)
    return target


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file that may be a hard link."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def digest_tree(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder, by its path in there."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob('*')) if path.is_file()}
