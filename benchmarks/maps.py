"""Synthetic maps of any size, kept under build/bench from run to run."""

import contextlib
import hashlib
import shutil
import time
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from benchmarks import route as route_module
from benchmarks.route import Route, make_route
from seqnet_ros.core.errors import MapError
from seqnet_ros.maps import index as index_module
from seqnet_ros.maps.index import build_index
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.place_map import MapManifest, PlaceMap
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.aggregators import aggregate
from seqnet_ros.sequences.windows import trailing_windows

CACHE = Path(__file__).resolve().parent.parent / 'build' / 'bench'
_BLOCK = 65536


def cached_map(model: PlaceModel, places: int) -> tuple[Path, Route, float | None]:
    """Return a saved map, its route and the seconds its index took; None if it was there."""
    route = make_route(places, model.describer.dim)
    path = CACHE / f'map-{places}-{_version(model)}'
    with contextlib.suppress(MapError):
        open_map(path, model)
        return path, route, None
    CACHE.mkdir(parents=True, exist_ok=True)
    for outdated in CACHE.glob(f'map-{places}-*'):
        shutil.rmtree(outdated)
    scratch = CACHE / f'scratch-{places}'
    scratch.mkdir(exist_ok=True)
    try:
        place_map, seconds = _make_map(model, route, scratch)
        save_map(place_map, path)  # not calibrated: the engine does that when it opens it
    finally:
        shutil.rmtree(scratch)
    return path, route, seconds


def _version(model: PlaceModel) -> str:
    """Return a hash over everything a cached map depends on."""
    digest = hashlib.sha256(model.fingerprint.encode())
    for module in (route_module, index_module):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()[:12]


def _make_map(model: PlaceModel, route: Route, scratch: Path) -> tuple[PlaceMap, float]:
    """Write descriptors to files as they are made: a million places do not fit in memory twice."""
    shape = (len(route.states), route.dim)
    frames = open_memmap(scratch / 'frames.npy', 'w+', np.float32, shape)
    route.write_frames(frames)
    starts = np.zeros(len(frames), dtype=np.int64)
    windows = trailing_windows(starts, model.engine.sequence.length)
    sequences = open_memmap(scratch / 'sequences.npy', 'w+', np.float32, shape)
    for start in range(0, len(windows), _BLOCK):
        sequences[start: start + _BLOCK] = aggregate(
            model.aggregator, frames, windows[start: start + _BLOCK])
    started = time.perf_counter()
    index = build_index(sequences)
    seconds = time.perf_counter() - started
    count = len(frames)
    poses = np.zeros((count, 7))
    poses[:, 0], poses[:, 6] = np.arange(count), 1.0
    manifest = MapManifest(
        map_id=f'bench-{count}', model=model.config, engine=model.engine,
        fingerprint=model.fingerprint, places=count, dim=shape[1], sequence_dim=shape[1],
        sequence_length=model.engine.sequence.length, spacing='1', usual_change=0.0,
        route_length_m=float(count - 1), source='synthetic route', pose_origin='synthetic')
    return PlaceMap(manifest, frames, sequences, np.zeros(shape[1], np.float32),
                    np.arange(count) * 10 ** 8, poses, starts, index), seconds
