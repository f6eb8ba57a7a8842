"""Duration and memory of an evaluation: ``timing.json``."""

from collections.abc import Sequence

import numpy as np

from seqnet_ros.evaluation.result_document import ResultDocument


class Latency(ResultDocument):
    """Percentiles of durations, milliseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> 'Latency | None':
        """Summarise durations in seconds; None for none."""
        if not seconds:
            return None
        p50, p99 = (round(1e3 * float(value), 2) for value in np.percentile(seconds, [50, 99]))
        return cls(p50=p50, p99=p99)


class Timing(ResultDocument):
    """Time and memory.

    Attributes:
        seconds: of the whole evaluation.
        replay_seconds: of the replay alone.
        recorded_seconds: duration of the queries.
        describe_milliseconds: to describe an image.
        match_milliseconds: to match a query.
        describing_seconds: spent on describing all queries.
        peak_memory_bytes: see `PeakMemory`.
    """

    seconds: float
    replay_seconds: float
    recorded_seconds: float
    describe_milliseconds: Latency | None
    match_milliseconds: Latency | None
    describing_seconds: float
    peak_memory_bytes: int | None
