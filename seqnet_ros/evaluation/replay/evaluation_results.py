"""The results of an evaluation: ``results.json`` of a replay, and what the evaluator node saves."""

from typing import Final, Literal

from pydantic import ConfigDict, JsonValue

from seqnet_ros.config.engine import LocalizationConfig
from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics, RestartMetrics
from seqnet_ros.evaluation.replay.verdict import Verdict
from seqnet_ros.evaluation.result_document import ResultDocument

FORMAT: Final = 1


class EvaluationResults(ResultDocument):
    """Common parts of replayed and live evaluations.

    Attributes:
        format: version of the document.
        verdict: the outcome in words.
        notes: what a reader must know to trust the numbers.
        measures: the metrics.
        restarts: how long it takes to localize from nothing.
    """

    format: Literal[1]
    verdict: Verdict
    notes: tuple[str, ...]
    measures: LocalizationMetrics
    restarts: RestartMetrics


class TileSummary(ResultDocument):
    """A tile of a collection, and what was found there.

    Attributes:
        name: its name.
        map_id: id of its map.
        places: number of places.
        in_tile: searches at places in the map whose nearest place is in the tile.
        accepted: results that accept a place of the tile.
        right: these that are correct.
        wrong: these that are wrong.
    """

    name: str
    map_id: str
    places: int
    in_tile: int
    accepted: int
    right: int
    wrong: int


class MapSummary(ResultDocument):
    """The map of a replay, or the collection.

    Attributes:
        map_id: its id; of a collection that of its summary.
        places: number of places.
        spacing: of the places.
        route_length: meters, or frames.
        pose_origin: where its poses are from.
        source: what it was made of; of a collection its folder or address.
        bytes: size on disk.
        bytes_per_metre: None where the route has no length.
        bytes_per_place: the same for a place.
        images_without_pose: images skipped for want of a pose.
        images_damaged: images that could not be read.
        tiles: of a collection; not set for a map.
    """

    map_id: str
    places: int
    spacing: str
    route_length: float
    pose_origin: str
    source: str
    bytes: int
    bytes_per_metre: float | None
    bytes_per_place: float
    images_without_pose: int
    images_damaged: int
    tiles: tuple[TileSummary, ...] | None = None


class DriveSummary(ResultDocument):
    """The recordings of one drive.

    Attributes:
        sources: names of the recordings.
        frames: number of frames.
        first: number of the first frame.
        poses: where the poses are from.
        truth: where the true poses are from; None without poses.
        problems: why recordings end early.
    """

    sources: tuple[str, ...]
    frames: int
    first: int
    poses: tuple[str, ...]
    truth: tuple[str, ...] | None
    problems: tuple[str, ...]


class OffsetSummary(ResultDocument):
    """A clock offset between images and ground truth, see `ClockOffset`.

    Attributes:
        of: the drive.
        seconds: the offset.
        correlation: None where the offset was given.
        certain: whether it is clearly better than every other offset.
        applied: whether it was taken into account.
        compared: the two sources.
    """

    of: Literal['map', 'queries']
    seconds: float
    correlation: float | None
    certain: bool
    applied: bool
    compared: tuple[str, ...]


class ReplayedDrives(ResultDocument):
    """Both drives of a replay and their ground truth.

    Attributes:
        map: the mapped drive; None if it is not available.
        queries: the query drive.
        tolerance: how near to the truth is right.
        pairs: the file of frames that show the same place.
        clock_offsets: of both drives.
    """

    map: DriveSummary | None
    queries: DriveSummary
    tolerance: str
    pairs: str | None
    clock_offsets: tuple[OffsetSummary, ...]


class ReplaySettings(ResultDocument):
    """The settings of a localizer, as its configuration writes them."""

    model_config = ConfigDict(extra='allow')
    __pydantic_extra__: dict[str, JsonValue]

    name: str
    localization: LocalizationConfig | None = None

    @property
    def method(self) -> str:
        """`LocalizationConfig.method`; runs from before there was a choice searched sequences."""
        return 'sequence' if self.localization is None else self.localization.method


class ReplayResults(EvaluationResults):
    """``results.json``.

    Attributes:
        map: the map.
        drives: the recordings.
        settings: of the localizer.
        fingerprint: of the model.
        device: where the model ran.
        versions: of the software.
    """

    map: MapSummary
    drives: ReplayedDrives
    settings: ReplaySettings
    fingerprint: str
    device: str
    versions: dict[str, str]


class LiveMap(ResultDocument):
    """The maps of a live evaluation; their ids are joined by a comma."""

    map_id: str
    places: int


class LiveSpan(ResultDocument):
    """The matches of a live evaluation: first and last stamp, most candidates of any match."""

    since_ns: int
    until_ns: int
    most_candidates: int


class LiveResults(EvaluationResults):
    """Results saved by the evaluator node.

    Attributes:
        map: the maps.
        live: the matches.
        tolerance: how near to the truth is right.
        versions: of the software.
        settings: of the node; not set by the evaluation itself.
    """

    map: LiveMap
    live: LiveSpan
    tolerance: str
    versions: dict[str, str]
    settings: dict[str, JsonValue] | None = None
