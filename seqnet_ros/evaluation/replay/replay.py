"""Two drives through the engine of the node: one is mapped, the other one found in it.

Every number of an evaluation comes from `Localizer.push_lazily`, as it would on the robot. What is
added here is that frames are described once, that more candidates are kept than a robot reports,
and that further localizers start at random places of the drive.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.datasets.recordings.frame_walk import FrameWalk
from seqnet_ros.evaluation.metrics.accumulator import RECALL_NS, Judged, MetricsAccumulator
from seqnet_ros.evaluation.replay.belief_history import BeliefHistory, BeliefRecorder
from seqnet_ros.evaluation.replay.cold_starts import RESTARTS, ColdStart, ColdStarts
from seqnet_ros.evaluation.replay.descriptor_cache import DescriptorCache
from seqnet_ros.evaluation.replay.query_ground_truth import QueryGroundTruth, Way
from seqnet_ros.evaluation.replay.recordings import Recordings, ReplayFrame
from seqnet_ros.evaluation.replay.reference_places import ReferencePlaces
from seqnet_ros.localization.collection_localizer import CollectionLocalizer
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.map_search import prepare_map
from seqnet_ros.localization.result import MatchResult
from seqnet_ros.maps.collection.map_collection import MapCollection
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel


@dataclass(frozen=True, eq=False)
class Query:
    """A result of the replay.

    Attributes:
        number: of the frame in the row of recordings.
        recording: which one it is of.
        judged: the result and its truth; once kept, with the best candidate only.
        truth: true pose ``[7]``, None where not known.
        place: number of the best place in `ReferencePlaces`; -1 without any.
    """

    number: int
    recording: int
    judged: Judged
    truth: np.ndarray | None
    place: int


@dataclass(frozen=True, eq=False)
class Replayed:
    """Results of the queries.

    Attributes:
        accumulator: the metrics of all results.
        queries: the results, in the same order.
        restarts: from random places, in the order of the drive.
        frames: images of the recordings.
        damaged: why images could not be read.
        describe_seconds: of each frame that was described.
        match_seconds: of each result.
        belief: of the place filter after each result; None where it did not run.
    """

    accumulator: MetricsAccumulator
    queries: list[Query] = field(default_factory=list)
    restarts: list[ColdStart] = field(default_factory=list)
    frames: int = 0
    damaged: list[str] = field(default_factory=list)
    describe_seconds: list[float] = field(default_factory=list)
    match_seconds: list[float] = field(default_factory=list)
    belief: BeliefHistory | None = None


def engine_for(model: PlaceModel, place_map: PlaceMap, engine: EngineConfig,
               camera: CameraModel | None = None) -> Callable[[], Localizer]:
    """Return what makes localizers that decide as the node's and report more candidates.

    The threshold is that of the number of candidates that is set, as on the robot.

    Args:
        model: the model the map was made with.
        place_map: where to look.
        engine: the settings.
        camera: the calibrated camera of the queries, for the geometric check.
    """
    deep = _with_more_candidates(engine)
    prepared = _prepare_for_more(place_map, model, engine, deep)
    return lambda: Localizer(model, prepared, deep, camera)


def engine_for_tiles(model: PlaceModel, tiles: MapCollection, engine: EngineConfig,
                     camera: CameraModel | None = None) -> Callable[[], Localizer]:
    """Return what makes localizers for a collection, see `engine_for`; each opens it anew."""
    deep = _with_more_candidates(engine)
    return lambda: CollectionLocalizer(
        model, tiles.reopen(), deep, camera,
        lambda tile: _prepare_for_more(tile, model, engine, deep))


def _with_more_candidates(engine: EngineConfig) -> EngineConfig:
    more = engine.matching.model_copy(update={
        'candidates': max(engine.matching.candidates, *RECALL_NS)})
    return engine.model_copy(update={'matching': more})


def _prepare_for_more(place_map: PlaceMap, model: PlaceModel, engine: EngineConfig,
                      deep: EngineConfig) -> PlaceMap:
    """Prepare a map for the settings, and let its calibration pass for that of more candidates."""
    prepared = prepare_map(place_map, model, engine)
    calibration = prepared.manifest.calibration
    assert calibration is not None
    return prepared.with_calibration(calibration.model_copy(update={'matching': deep.matching}))


def replay(described: DescriptorCache, engine: Callable[[], Localizer], recordings: Recordings,
           mapped: ReferencePlaces, truth: QueryGroundTruth, progress: Callable[[int], None],
           keep: Callable[[Query], Any] = lambda _: None, restarts: int = RESTARTS) -> Replayed:
    """Find the frames of recordings in a map.

    Args:
        described: the model of the map.
        engine: makes a localizer.
        recordings: the queries.
        mapped: the places of the map.
        truth: where they really are.
        progress: told how many frames are done.
        keep: given every result as it comes.
        restarts: how many localizers start at random places.

    Raises:
        InputError: no image can be read.
    """
    files = described.files(recordings)
    replayed = Replayed(MetricsAccumulator(truth.unit))
    way = Way(truth.unit, recordings)
    recorder = BeliefRecorder()

    with closing(engine()) as localizer, closing(
            ColdStarts(recordings, restarts, engine, truth)) as starts:
        def push(found: ReplayFrame) -> tuple[MatchResult | None, float]:
            travelled = way.to(found)
            read = described.reader(files, found)
            starts.push(found, read, travelled)
            return localizer.push_lazily(read, found.frame.stamp_ns, found.frame.pose), travelled

        walk = FrameWalk(recordings, progress=progress)
        for found, (result, travelled) in walk.results(push):
            if result is not None:
                judgement = truth.judge_result(found, result)
                best = result.best
                query = Query(found.number, found.recording,
                              replayed.accumulator.add(result, judgement, travelled), found.truth,
                              -1 if best is None else mapped.number_of(best))
                replayed.queries.append(replace(query, judged=query.judged.shortened()))
                replayed.match_seconds.append(result.match_seconds)
                if result.describe_seconds:
                    replayed.describe_seconds.append(described.last_seconds)
                belief = localizer.belief
                if belief is not None:
                    recorder.add(mapped.spread(belief, localizer.maps))
                keep(query)
    walk.require_used(', '.join(source.name for source in recordings.sources))
    replayed.restarts.extend(starts.all)
    return replace(replayed, frames=len(recordings), damaged=walk.damaged,
                   belief=recorder.history())
