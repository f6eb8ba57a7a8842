"""Coarse search, re-ranking and opening, for maps of several sizes."""

import time
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np

from benchmarks.maps import cached_map
from benchmarks.route import make_route
from benchmarks.timing import Timing, measure_bandwidth, time_calls
from seqnet_ros.config.engine import MatchingConfig
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.manifest_file import INDEX
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.search.sequence_matching import SequenceMatcher, searched_speeds
from seqnet_ros.models.place_model import PlaceModel

_QUERIES = 300
_TOP_K = 20
_RERANK_DIM = 4096
_RERANK_PLACES = 10_000
_LENGTH = 5
_BANDWIDTH_BYTES = 512 << 20


@dataclass(frozen=True)
class SizeReport:
    """Cost of searching a map of one size.

    Attributes:
        places: size of the map.
        build_seconds: time to build the index; None when the map came from the cache.
        index_bytes: size of the index on disk, 0 for exact search.
        opening: `open_map`.
        coarse: search of 20 places.
        recall: share of the 20 exactly nearest places among the 20 found.
        compared: descriptors compared for one query.
        coarse_floor: seconds to read the compared descriptors.
        exact_floor: seconds to read all descriptors.
        rerank: sequence matching of the 20 places.
        describe: description of one 480x640 image, within the whole.
        total: one image through `Localizer.push`.
    """

    places: int
    build_seconds: float | None
    index_bytes: int
    opening: Timing
    coarse: Timing
    recall: float
    compared: int
    coarse_floor: float
    exact_floor: float
    rerank: Timing
    describe: Timing
    total: Timing


def measure_size(model: PlaceModel, places: int, images: np.ndarray) -> SizeReport:
    """Measure everything that depends on the size of the map."""
    path, route, build_seconds = cached_map(model, places)
    opening = time_calls(lambda _: open_map(path, model), range(6))
    place_map = open_map(path, model)
    windows, queries = route.queries(_QUERIES, model)
    nearest = faiss.knn(queries, place_map.sequences, _TOP_K)[1]  # also reads the file once
    coarse = time_calls(lambda query: place_map.index.search(query, _TOP_K), queries)
    found = [place_map.index.search(query, _TOP_K)[1] for query in queries]
    recall = np.mean([np.isin(exact, places).mean() for exact, places
                      in zip(nearest, found, strict=True)])
    compared = _count_compared(place_map, queries[0]) if _is_graph(path) else places
    describe, total = _time_frames(model, place_map, images)
    whole = place_map.sequences.nbytes
    # A graph jumps about in all descriptors, which no cache holds.
    exact_floor = whole / measure_bandwidth(min(whole, _BANDWIDTH_BYTES))
    return SizeReport(
        places, build_seconds, (path / INDEX).stat().st_size if _is_graph(path) else 0,
        opening, coarse, float(recall), compared, compared / places * exact_floor,
        exact_floor, _time_rerank(place_map, windows, found),
        describe, total)


def _is_graph(path: Path) -> bool:
    return (path / INDEX).is_file()


def _count_compared(place_map: PlaceMap, query: np.ndarray) -> int:
    faiss.cvar.hnsw_stats.reset()
    place_map.index.search(query, _TOP_K)
    return int(faiss.cvar.hnsw_stats.ndis)


def _time_rerank(place_map: PlaceMap, windows: np.ndarray, found: list[np.ndarray]) -> Timing:
    matcher = SequenceMatcher(
        place_map.frames, place_map.stretches, searched_speeds(MatchingConfig()))
    return time_calls(lambda pair: matcher.match(*pair), zip(windows, found, strict=True))


def _time_frames(model: PlaceModel, place_map: PlaceMap,
                 images: np.ndarray) -> tuple[Timing, Timing]:
    localizer = Localizer(model, place_map)
    describe, total = [], []
    for number, image in enumerate(images):
        started = time.perf_counter()
        result = localizer.push(image, number * 10 ** 8)
        elapsed = time.perf_counter() - started
        if result is not None and result.candidates:
            describe.append(result.describe_seconds)
            total.append(elapsed)
    return Timing.of(describe), Timing.of(total)


@dataclass(frozen=True)
class RerankReport:
    """Sequence matching of 20 places at D=4096, L=5.

    Attributes:
        speeds: number of speeds searched.
        rows: descriptors of the map that are read.
        timing: the match.
        floor: seconds to read those descriptors.
    """

    speeds: int
    rows: int
    timing: Timing
    floor: float


def measure_rerank(speed_steps: int) -> RerankReport:
    """Match with 20 places far from each other: the worst case, no descriptor is shared."""
    frames = np.empty((_RERANK_PLACES, _RERANK_DIM), dtype=np.float32)
    route = make_route(len(frames), _RERANK_DIM)
    route.write_frames(frames)
    speeds = searched_speeds(MatchingConfig(speed_steps=speed_steps))
    one_stretch = np.zeros(1, int), np.full(1, len(frames))
    matcher = SequenceMatcher(frames, lambda _: one_stretch, speeds)
    windows, _ = route.second_drive(_QUERIES, _LENGTH)
    random = np.random.default_rng(0)
    spread = [np.arange(_TOP_K) * (len(frames) // _TOP_K - 1) + random.integers(20, 400)
              for _ in windows]
    timing = time_calls(lambda pair: matcher.match(*pair), zip(windows, spread, strict=True))
    steps = np.rint(np.outer(speeds, np.arange(_LENGTH)))
    rows = len(np.unique(steps)) * _TOP_K
    floor = rows * 4 * _RERANK_DIM / measure_bandwidth(frames.nbytes)
    return RerankReport(speed_steps, rows, timing, floor)
