"""Evaluate a localizer on recordings: from drives and their truth to the files of a run."""

import logging
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqnet_ros import __version__
from seqnet_ros.config.collection import CollectionConfig
from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.fleet import FleetConfig
from seqnet_ros.config.preset import Preset
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.geodesy import GeoPoint
from seqnet_ros.datasets.frame_pairing import PairBy
from seqnet_ros.evaluation.metrics.place_ground_truth import Tolerance
from seqnet_ros.evaluation.metrics.search_run import watch_memory
from seqnet_ros.evaluation.replay.belief_history import write_belief
from seqnet_ros.evaluation.replay.clock_offset import ClockOffset
from seqnet_ros.evaluation.replay.cold_starts import summarize_cold_starts
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache, device_name
from seqnet_ros.evaluation.replay.evaluation_results import (
    FORMAT,
    DriveSummary,
    MapSummary,
    OffsetSummary,
    ReplayedDrives,
    ReplayResults,
    ReplaySettings,
    TileSummary,
)
from seqnet_ros.evaluation.replay.notes import note_results, note_same_drive, note_trivial
from seqnet_ros.evaluation.replay.query_ground_truth import QueryGroundTruth, check_ground_truth
from seqnet_ros.evaluation.replay.recordings import RecordingOptions, Recordings
from seqnet_ros.evaluation.replay.reference_map import known_map, map_recordings
from seqnet_ros.evaluation.replay.reference_places import ReferencePlaces
from seqnet_ros.evaluation.replay.reference_tiles import check_tiles, read_tiles
from seqnet_ros.evaluation.replay.replay import (
    Replayed,
    engine_for,
    engine_for_tiles,
    replay,
)
from seqnet_ros.evaluation.replay.run_files import (
    DESCRIPTORS,
    QueryTable,
    check_folder,
    write_curves,
    write_results,
    write_timing,
)
from seqnet_ros.evaluation.replay.timing import Latency, Timing
from seqnet_ros.evaluation.replay.verdict import give_verdict
from seqnet_ros.localization import collection_localizer
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.fleet.address import FleetAddress
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.models.place_model import PlaceModel, build_model, load_preset
from seqnet_ros.pipelines.progress import Bars, no_bar
from seqnet_ros.pipelines.searched_map import SearchedMap
from seqnet_ros.sequences.aggregators import describe_frames

_NOTABLE_OFFSET_S = 0.1
_LIBRARIES = ('numpy', 'torch', 'opencv-python-headless', 'opencv-python', 'faiss-cpu')

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationRequest:
    """Options of an evaluation.

    Attributes:
        queries: the recordings that ask.
        tolerance: how near to the truth is right.
        maps: the recordings the map is made of, or was made of; None if they are not available.
        map_path: a map that was made before, in place of making one: its folder, that of a
            collection, or the address of a map on a server.
        fleet: which part of a map on a server, and how it is reached.
        collection: how many tiles of a collection are open and searched.
        pairs: a CSV file of frames that show the same place.
        pair_by: how frames are paired without poses and pairs, see `pair_frames`.
        model: name or file of the model, unless there is a map; '' is the default model.
        weights: local weights in place of the model's.
        device: where networks run.
        clock_offset: what is added to the times of query images before their true pose is looked
            up, seconds; 'auto' takes what is estimated where that is certain, None nothing.
        settings: of the engine by dotted name, in place of those of the model or map.
        camera: the calibrated camera of all recordings, for the geometric check.
    """

    queries: RecordingOptions
    tolerance: Tolerance
    maps: RecordingOptions | None = None
    map_path: Path | FleetAddress | None = None
    fleet: FleetConfig = field(default_factory=FleetConfig)
    collection: CollectionConfig = field(default_factory=CollectionConfig)
    pairs: Path | None = None
    pair_by: PairBy = 'auto'
    model: str = ''
    weights: Path | None = None
    device: str = 'auto'
    clock_offset: float | str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    camera: CameraModel | None = None


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """An evaluation with everything its report needs.

    Attributes:
        results: what ``results.json`` holds.
        mapped: the places of the map.
        maps: the recordings of the map; None if they are not available.
        queries: the recordings that asked.
        replayed: what became of them.
        described: int ``[K]``, those results whose frame was described.
        descriptors: float32 ``[K, D]``, these frames as they are compared.
        timing: what it took.
        trivial: every place is correct for every query.
    """

    results: ReplayResults
    mapped: ReferencePlaces
    maps: Recordings | None
    queries: Recordings
    replayed: Replayed
    described: np.ndarray
    descriptors: np.ndarray
    timing: Timing
    trivial: bool = False

    @property
    def complete(self) -> bool:
        """Whether every recording could be read to its end."""
        return not self.queries.problems and not (self.maps and self.maps.problems)

    @property
    def measured(self) -> bool:
        """Whether any result could have been right, and any wrong.

        A file of pairs may say on purpose that the map shows none of the queries.
        """
        drives, counts = self.results.drives, self.results.measures.queries
        told_apart = bool(counts.in_map) or drives.pairs is not None or not counts.searched
        return told_apart and not self.trivial


def evaluate_recordings(request: EvaluationRequest, folder: Path,
                        bars: Bars = no_bar) -> EvaluationRun:
    """Evaluate, and write everything but the report.

    Descriptors stay in the folder: when the evaluation was interrupted, or is repeated with other
    settings, no frame is described again.

    Args:
        request: what to evaluate.
        folder: where to write.
        bars: shows progress.

    Raises:
        SeqnetRosError: something cannot be used; the message says what.
    """
    if (request.maps is None) == (request.map_path is None) and request.maps is None:
        raise InputError('neither a recording for the map nor a map was given, expected one of '
                         'them')
    check_folder(folder)
    started = time.perf_counter()
    with ExitStack() as opened, watch_memory() as memory:
        maps = None if request.maps is None else Recordings(request.maps)
        known = None if request.map_path is None else opened.enter_context(
            SearchedMap(request.map_path, request.collection, request.fleet))
        queries = Recordings(request.queries, _map_datum(known, maps))
        check_ground_truth(request.tolerance, queries, maps, request.pairs, request.pair_by)
        if known is not None and known.tiles is not None:
            check_tiles(known.place, known.tiles.tiles, request.tolerance, request.maps)
            known.copy_tiles(bars)
        model, preset = _load(request, known)
        described = DescriptorCache(model, folder / DESCRIPTORS)
        try:
            offsets = _apply_offsets(request.clock_offset, maps, queries, bars)
            mapped, engine = _make_map(request, known, described, preset.engine, maps, bars)
            truth = QueryGroundTruth(mapped, request.tolerance, queries, maps, request.pairs,
                                     request.pair_by)
            replayed, seconds = _replay(described, mapped, engine, queries, truth, folder, bars)
            rows, descriptors = _prepared(described, queries, replayed)
            same = note_same_drive(described, replayed, mapped, maps, queries)
        finally:
            described.close()
    metrics = replayed.accumulator.compute()
    restarts = summarize_cold_starts(replayed.restarts)
    trivial = note_trivial(replayed, mapped, request.tolerance)
    notes = tuple(note for note in (truth.note, same, trivial, *note_results(
        replayed, mapped, maps, queries, metrics, request.tolerance)) if note)
    for note in notes:
        _logger.warning('%s', note)
    results = ReplayResults(
        format=FORMAT,
        verdict=give_verdict(metrics, restarts, trivial),
        notes=notes,
        measures=metrics,
        restarts=restarts,
        map=(_summarise_map(mapped) if known is None or known.tiles is None else
             _summarise_tiles(mapped, replayed, known.place, known.tiles)),
        drives=ReplayedDrives(
            map=None if maps is None else _summarise_drive(maps),
            queries=_summarise_drive(queries),
            tolerance=str(request.tolerance),
            pairs=None if request.pairs is None else str(request.pairs),
            clock_offsets=offsets),
        settings=ReplaySettings.model_validate({
            **preset.document(), 'localization': preset.engine.localization.model_dump()}),
        fingerprint=model.fingerprint,
        device=device_name(model.device),
        versions=versions())
    timing = _timing(replayed, seconds, time.perf_counter() - started, memory.grown_bytes)
    write_results(folder, results)
    write_curves(folder, replayed.accumulator, metrics, results.settings.method)
    write_belief(folder, replayed.belief)
    write_timing(folder, timing)
    return EvaluationRun(results, mapped, maps, queries, replayed, rows, descriptors, timing,
                         bool(trivial))


def _map_datum(known: SearchedMap | None, maps: Recordings | None) -> GeoPoint | None:
    """Return the origin of the map's earth positions, if it has one: queries need the same."""
    if maps is not None and maps.datum is not None:
        return maps.datum
    return None if known is None else known.manifest.geo_datum


def _load(request: EvaluationRequest, known: SearchedMap | None) -> tuple[PlaceModel, Preset]:
    """Return the model, and the preset of its file or of the map with the settings to use."""
    if known is not None:
        return (known.load_model('', request.device, request.weights),
                known.manifest.preset.with_settings(request.settings))
    preset, base_dir = load_preset(request.model, request.weights)
    model = build_model(preset.with_settings(request.settings), request.device, base_dir)
    return model, model.preset


def _apply_offsets(wanted: float | str | None, maps: Recordings | None, queries: Recordings,
                   bars: Bars) -> tuple[OffsetSummary, ...]:
    """Estimate the offsets between images and ground truth; apply them if requested."""
    found = []
    sides: tuple[tuple[Literal['map', 'queries'], Recordings | None], ...] = (
        ('map', maps), ('queries', queries))
    with bars('comparing clocks', 1) as show:
        for name, side in sides:
            if side is None:
                continue
            for recording, offset in side.clock_offsets().items():
                applied = wanted == 'auto' and offset.certain
                if applied:
                    side.offsets_s[recording] = offset.seconds
                _report_offset(offset, applied)
                found.append(OffsetSummary(
                    of=name, seconds=offset.seconds, correlation=offset.correlation,
                    certain=offset.certain, applied=applied, compared=offset.compared))
        show(1)
    if isinstance(wanted, float):
        queries.offsets_s = [wanted] * len(queries.sources)
        found.append(OffsetSummary(of='queries', seconds=wanted, correlation=None, certain=True,
                                   applied=True, compared=('given',)))
    return tuple(found)


def _report_offset(offset: ClockOffset, applied: bool) -> None:
    if not offset.certain or abs(offset.seconds) < _NOTABLE_OFFSET_S:
        return
    what = (f'the clocks of {" and ".join(offset.compared)} are {offset.seconds:+.2f} s apart '
            f'(correlation {offset.correlation:.2f})')
    _logger.warning('%s; %s', what, 'the offset is applied' if applied else
                    'the offset is not applied; use --clock-offset auto to apply it')


def _make_map(request: EvaluationRequest, known: SearchedMap | None, described: DescriptorCache,
              settings: EngineConfig, maps: Recordings | None,
              bars: Bars) -> tuple[ReferencePlaces, Callable[[], Localizer]]:
    """Return the places of the map, and what makes localizers for it."""
    model, camera = described.model, request.camera
    if known is not None and known.tiles is not None:
        with bars('reading tiles', len(known.tiles.tiles)) as show:
            tiles = read_tiles(known.tiles, model, request.tolerance, maps, show)
        return tiles, engine_for_tiles(model, known.tiles, settings, camera)
    if known is not None:
        mapped = known_map(open_map(known.folder, model), maps)
    else:
        assert maps is not None
        with bars('mapping', len(maps)) as show:
            mapped = map_recordings(described, maps, show, camera=camera)
    return mapped, engine_for(model, mapped.place_map, settings, camera)


def _replay(described: DescriptorCache, mapped: ReferencePlaces, engine: Callable[[], Localizer],
            queries: Recordings, truth: QueryGroundTruth, folder: Path,
            bars: Bars) -> tuple[Replayed, float]:
    started = time.perf_counter()
    table = QueryTable(folder, mapped)
    with table.open(), bars('localizing', len(queries)) as show, _quiet_tiles():
        replayed = replay(described, engine, queries, mapped, truth, show, table.add)
    return replayed, time.perf_counter() - started


@contextmanager
def _quiet_tiles() -> Iterator[None]:
    """Drop what engines of a collection tell of their tiles: several run at the same time."""
    logger = logging.getLogger(collection_localizer.__name__)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _prepared(described: DescriptorCache, queries: Recordings,
              replayed: Replayed) -> tuple[np.ndarray, np.ndarray]:
    """Return which results were described, and their frames, centered by the mean of the drive."""
    model, files = described.model, described.files(queries)
    found = {row: frame[0] for row, query in enumerate(replayed.queries)
             if (frame := files[query.recording].get(queries.index_in_recording(query.number)))}
    if not found:
        return np.zeros(0, dtype=int), np.zeros((0, 1), dtype=np.float32)
    descriptors = np.stack(list(found.values()))
    prepared = model.prepare(
        descriptors, descriptors.mean(axis=0) if model.config.centring else None)
    if model.projection is not None:
        prepared = describe_frames(model.projection, prepared)
    return np.array(list(found)), prepared


def _summarise_map(mapped: ReferencePlaces) -> MapSummary:
    manifests = mapped.manifests
    route = sum(manifest.route_length_m for manifest in manifests)
    return MapSummary(
        map_id=manifests[0].map_id, places=len(mapped), spacing=manifests[0].spacing,
        route_length=round(route, 3),
        pose_origin=', '.join(dict.fromkeys(manifest.pose_origin for manifest in manifests)),
        source=manifests[0].source, bytes=mapped.bytes,
        bytes_per_metre=round(mapped.bytes / route, 1) if route else None,
        bytes_per_place=round(mapped.bytes / len(mapped), 1),
        images_without_pose=mapped.left_out, images_damaged=len(mapped.damaged))


def _summarise_tiles(mapped: ReferencePlaces, replayed: Replayed, place: Path | FleetAddress,
                     tiles: MapCollection) -> MapSummary:
    """Return the summary of a collection, with what was found in each tile."""
    there = Counter(mapped.tile_place(query.judged.judgement.true_place).tile
                    for query in replayed.queries
                    if query.judged.searched and query.judged.judgement.in_map)
    found = Counter((mapped.tile_place(query.place).tile, query.judged.outcome)
                    for query in replayed.queries if query.judged.result.accepted)
    return _summarise_map(mapped).model_copy(update={
        'map_id': tiles.manifest.summary.id, 'source': str(place),
        'tiles': tuple(TileSummary(
            name=tile.name, map_id=tile.map_id, places=tile.places, in_tile=there[number],
            accepted=sum(found[number, outcome] for outcome in ('hit', 'wrong', 'unknown')),
            right=found[number, 'hit'], wrong=found[number, 'wrong'])
            for number, tile in enumerate(tiles.tiles))})


def _summarise_drive(recordings: Recordings) -> DriveSummary:
    return DriveSummary(
        sources=tuple(source.name for source in recordings.sources),
        frames=len(recordings), first=recordings.first,
        poses=tuple(source.pose_origin for source in recordings.sources),
        truth=tuple(recordings.truth_origins) if recordings.posed else None,
        problems=tuple(recordings.problems))


def _timing(replayed: Replayed, replay_seconds: float, seconds: float,
            memory: int | None) -> Timing:
    stamps = [query.judged.result.stamp_ns for query in replayed.queries]
    recorded = (max(stamps) - min(stamps)) / 1e9 if stamps else 0.0
    return Timing(
        seconds=round(seconds, 2),
        replay_seconds=round(replay_seconds, 2),
        recorded_seconds=round(recorded, 2),
        describe_milliseconds=Latency.of(replayed.describe_seconds),
        match_milliseconds=Latency.of([value for value in replayed.match_seconds if value]),
        describing_seconds=round(float(sum(replayed.describe_seconds)), 2),
        peak_memory_bytes=memory)


def versions() -> dict[str, str]:
    """Return what the evaluation was made with."""
    found = {'seqnet_ros': __version__, 'python': platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
