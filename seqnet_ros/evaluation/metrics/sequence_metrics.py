"""Content of ``evaluate sequences --json``: metrics of sequence search as in JIST."""

from collections.abc import Mapping

from seqnet_ros.evaluation.result_document import ResultDocument


class QueryRecall(ResultDocument):
    """Recall@N by N of some queries; None and 0 queries where none has a match."""

    recall: Mapping[int, float] | None
    queries: int


class CityRecall(QueryRecall):
    """The recall of a city, and its number of queries without a match."""

    unmatched: int


class SequenceMetrics(ResultDocument):
    """A model on sequences.

    Attributes:
        model: its name.
        fingerprint: of the model.
        aggregator: how frames become a sequence descriptor.
        recall: Recall@N by N.
        queries: number of queries with a match.
        unmatched: number of queries without a match.
        by_city: the recall of each city.
        by_radius: the recall at other radii, by radius.
        places: number of database sequences.
        bytes_per_place: of a sequence descriptor.
        frames: number of frames described.
        milliseconds_per_query: duration of the search.
        milliseconds_per_frame: to read and describe a frame.
        broken_images: why images could not be read.
        sequences_left_out: number of sequences skipped for that reason.
    """

    model: str
    fingerprint: str
    aggregator: str
    recall: Mapping[int, float]
    queries: int
    unmatched: int
    by_city: Mapping[str, CityRecall]
    by_radius: Mapping[str, QueryRecall]
    places: int
    bytes_per_place: int
    frames: int
    milliseconds_per_query: float
    milliseconds_per_frame: float
    broken_images: tuple[str, ...]
    sequences_left_out: int


class SequenceResults(SequenceMetrics):
    """The metrics with the options of the protocol.

    Attributes:
        split: part of the data set.
        seq_length: frames of a sequence.
        radius: meters, sequences within it show the same place.
        rule: which frames have to be within the radius.
        cities: those measured; empty for all.
        reverse: whether the database sequences were reversed.
        compat: whether even lengths and cities are as in the published code.
        pca: principal components of the descriptors; None for whole descriptors.
        subtask: of MSLS; None for all sequences.
    """

    split: str
    seq_length: int
    radius: float
    rule: str
    cities: tuple[str, ...]
    reverse: bool
    compat: bool
    pca: int | None
    subtask: str | None = None
