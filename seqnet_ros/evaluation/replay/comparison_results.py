"""The comparison of runs: ``compare.json``."""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from seqnet_ros.evaluation.result_document import ResultDocument

Change = Literal['better', 'worse', 'no clear difference', 'not known']


class Difference(ResultDocument):
    """Interval of the difference from the baseline; None where it is not known."""

    low: float | None
    high: float | None
    verdict: Change


class ComparedShare(ResultDocument):
    """A share of a run with its interval; None where it is not known.

    Attributes:
        value: the share.
        low: lower end of the interval.
        high: upper end of the interval.
        difference: from the baseline; None for the baseline itself.
    """

    value: float | None
    low: float | None
    high: float | None
    difference: Difference | None


class ComparedRun(ResultDocument):
    """A run of the comparison: its name, its model, and its shares by name."""

    name: str
    model: str
    shares: Mapping[str, ComparedShare]

    def verdicts(self) -> dict[str, Change]:
        """Return the verdict on each share; empty for the baseline."""
        return {name: share.difference.verdict for name, share in self.shares.items()
                if share.difference is not None}


class ComparisonResults(ResultDocument):
    """Runs compared with the first of them.

    Attributes:
        queries: number of queries with a result in every run.
        block: successive queries that are drawn together.
        resamples: number of resamples.
        confidence: of the intervals.
        baseline: name of the first run.
        runs: all runs.
        settings: values in each run of the settings that differ, by dotted name.
        notes: what a reader must know to trust the numbers.
    """

    queries: int
    block: int
    resamples: int
    confidence: float
    baseline: str
    runs: tuple[ComparedRun, ...]
    settings: Mapping[str, tuple[JsonValue, ...]]
    notes: tuple[str, ...]
