"""Content of ``evaluate seqnet --json``: metrics of SeqNet's methods on two drives."""

from collections.abc import Mapping

from seqnet_ros.evaluation.result_document import Finite, ResultDocument


class SearchMetrics(ResultDocument):
    """A method on two drives.

    Attributes:
        method: its name.
        seq_length: frames of a sequence; None where the candidates were given.
        recall: Recall@N by N.
        recall_by_radius: the same by radius of a match; None where no query has a match.
        average_precision: area under the precision-recall curve.
        best_f1: highest F1 score of the curve.
        recall_at_full_precision: recall before the first error.
        queries: number of queries with a match.
        unmatched: number of queries without a match.
        milliseconds_per_query: duration of the search.
        memory_bytes: of the search, see `PeakMemory`.
        stage_one: first stage of a hierarchical method.
        match_length: frames of a sequence of its second stage.
        top_k: candidates that the second stage matches.
    """

    method: str
    seq_length: int | None
    recall: Mapping[int, float]
    recall_by_radius: Mapping[str, Mapping[int, Finite]]
    average_precision: float
    best_f1: float
    recall_at_full_precision: float
    queries: int
    unmatched: int
    milliseconds_per_query: float
    memory_bytes: int | None
    stage_one: str | None = None
    match_length: int | None = None
    top_k: int | None = None


class SearchedDrives(ResultDocument):
    """The two drives: a split of a data set, or two arrays.

    Attributes:
        radius: places within this distance are the same.
        unit: of the radius.
        references: number of frames that are searched.
        full_windows: frames without a full window of this length are skipped; None skips none.
        dataset: name of the data set.
        split: its part.
        reference: file of the reference descriptors.
        query: file of the query descriptors.
        ground_truth: file that lists the true matches; None where the radius decides.
    """

    radius: float
    unit: str
    references: int
    full_windows: int | None
    dataset: str | None = None
    split: str | None = None
    reference: str | None = None
    query: str | None = None
    ground_truth: str | None = None


class _Methods(ResultDocument):
    methods: Mapping[str, SearchMetrics]
    left_out: Mapping[str, str]


# Fields of the last base come first.

class SearchResults(SearchedDrives, SearchMetrics):
    """The document of one method."""


class SearchTable(SearchedDrives, _Methods):
    """The document of several methods on the same drives.

    Attributes:
        methods: metrics by name of the method.
        left_out: reasons for skipped methods, by name.
    """
