"""Metrics of a localizer on a drive, computed from results that are added one at a time.

A replay adds the results of a recording, a node those of the live engine; the same results give
the same metrics.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from seqnet_ros.evaluation.metrics.localization_metrics import (
    OUTCOMES,
    AcceptedPlaces,
    Calibration,
    CurveSummary,
    FirstFix,
    Gap,
    LocalizationMetrics,
    NotInMap,
    OutcomeCounts,
    QueryCounts,
    RouteCoverage,
    Spread,
)
from seqnet_ros.evaluation.metrics.place_ground_truth import Judgement
from seqnet_ros.evaluation.metrics.precision_recall import PrecisionRecall, rank_by_distance
from seqnet_ros.evaluation.metrics.score_calibration import Reliability, reliability
from seqnet_ros.localization.result import MatchResult

RECALL_NS = (1, 5, 10, 20)
_STILL_M = 0.05
_MOST_GAPS = 10


class Odometer:
    """Adds up the distance along true positions; noise of a stationary robot adds nothing."""

    def __init__(self) -> None:
        self.travelled = 0.0
        self._anchor: np.ndarray | None = None

    def add(self, pose: np.ndarray | None) -> float:
        """Move to a pose ``[7]``, None if unknown, and return the distance so far, meters.

        The path between two known poses counts as straight.
        """
        if pose is not None:
            step = 0.0 if self._anchor is None else float(
                np.linalg.norm(pose[:3] - self._anchor[:3]))
            if self._anchor is None or step >= _STILL_M:
                self.travelled += step
                self._anchor = pose
        return self.travelled

    def lift(self) -> None:
        """Continue at any other place; the jump does not count as distance."""
        self._anchor = None


@dataclass(frozen=True, eq=False)
class Judged:
    """A result and its comparison with the ground truth.

    Attributes:
        result: result of the localizer.
        judgement: comparison of its candidates with the ground truth.
        travelled: distance traveled from the start to this image, meters or frames.
    """

    result: MatchResult
    judgement: Judgement
    travelled: float

    @property
    def searched(self) -> bool:
        """Whether the map was searched."""
        return bool(self.result.candidates)

    @property
    def right(self) -> bool:
        """Whether the best candidate is a true place."""
        return self.searched and bool(self.judgement.right[0])

    def shortened(self) -> 'Judged':
        """Return the same with the best candidate only."""
        judgement = replace(self.judgement, errors=self.judgement.errors[:1],
                            right=self.judgement.right[:1])
        return replace(self, judgement=judgement, result=replace(
            self.result, candidates=self.result.candidates[:1]))

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`."""
        if not self.judgement.known:
            return 'unknown'
        if self.result.accepted:
            return 'hit' if self.right else 'wrong'
        if not self.searched:
            return 'waiting'
        if not self.judgement.in_map:
            return 'elsewhere'
        return 'missed' if self.right else 'lost'


class MetricsAccumulator:
    """Collects results and their ground truth, in order of time, and computes metrics.

    Only a few numbers are kept of each result, so that a node can run for days.

    Args:
        unit: of errors and distances: 'm' or 'frames'.
    """

    def __init__(self, unit: str = 'm') -> None:
        self.unit = unit
        self._columns: dict[str, list[Any]] = {name: [] for name in _KINDS}
        self._reasons: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of results."""
        return len(self._columns['stamps_ns'])

    def add(self, result: MatchResult, judgement: Judgement, travelled: float) -> Judged:
        """Add a result.

        Args:
            result: result of the localizer; not None, as it is between keyframes.
            judgement: comparison of its candidates with the ground truth, in their order.
            travelled: distance traveled from the start to this image, never decreasing.
        """
        row = Judged(result, judgement, travelled)
        best = result.best
        values = {
            'stamps_ns': result.stamp_ns, 'searched': row.searched, 'accepted': result.accepted,
            'known': judgement.known, 'in_map': judgement.in_map,
            'hits': result.accepted and row.right, 'first_hit': _first(judgement.right),
            'ranks': _rank(result),
            'scores': np.nan if best is None else best.score,
            'errors': np.nan if best is None else float(judgement.errors[0]),
            'pose_errors': judgement.pose_error,
            'travelled': travelled}
        for name, value in values.items():
            self._columns[name].append(value)
        self._reasons[result.reason.name.lower()] += 1
        self._outcomes[row.outcome] += 1
        self.__dict__.pop('_table', None)
        return row

    @cached_property
    def _table(self) -> '_Table':
        return _Table(**{name: np.array(values, dtype=_KINDS[name])
                         for name, values in self._columns.items()})

    def recall(self, n: int, by_distance: bool = False) -> float:
        """Return the share of searches with a correct place among the ``n`` best; NaN for none.

        Only searches count for which the map has a correct place.

        Args:
            n: at least 1.
            by_distance: weight each search by the distance since the previous result.
        """
        table = self._table
        counted = table.searched & table.in_map
        weights = table.steps[counted] if by_distance else np.ones(int(counted.sum()))
        return _mean(table.first_hit[counted] < n, weights)

    def curve(self) -> PrecisionRecall | None:
        """Return precision and recall of the best candidates; None if no candidate can be correct.

        They are accepted in order of increasing sequence distance or, of the place filter, of
        decreasing score; the decision of the localizer is ignored. Thresholds are distances, or
        scores with a minus sign.
        """
        table = self._table
        matched = int((table.searched & table.in_map).sum())
        asked = table.searched & table.known
        if not matched:
            return None
        return rank_by_distance(table.ranks[asked], table.first_hit[asked] == 0, matched)

    def scores(self) -> Reliability:
        """Return how often best candidates are correct, by score."""
        table = self._table
        asked = table.searched & table.known
        return reliability(table.scores[asked], table.first_hit[asked] == 0)

    def accepted_errors(self) -> np.ndarray:
        """Return the errors ``[A]`` of accepted places, where there is ground truth."""
        table = self._table
        return table.errors[table.accepted & table.known]

    def accepted_pose_errors(self) -> np.ndarray:
        """Return the errors ``[P]`` of poses between places of accepted results, where known."""
        table = self._table
        return table.pose_errors[table.accepted & np.isfinite(table.pose_errors)]

    def gaps(self) -> list[Gap]:
        """Return stretches of the mapped route without a correct accepted place, longest first."""
        table = self._table
        found, begin, length = [], 0.0, 0.0
        for way, step, in_map, hit in zip(table.travelled, table.steps, table.in_map, table.hits,
                                          strict=True):
            length += step if in_map else 0.0
            if hit:
                found.append((begin, float(way), length))
                begin, length = float(way), 0.0
        if len(table.travelled):
            found.append((begin, float(table.travelled[-1]), length))
        found.sort(key=lambda gap: (-gap[2], gap[0]))
        return [Gap(begin=begin, end=end, length=length) for begin, end, length in found
                if length > 0]

    def compute(self) -> LocalizationMetrics:
        """Return all metrics of the results so far."""
        return LocalizationMetrics(
            unit=self.unit,
            results=len(self),
            reasons=dict(sorted(self._reasons.items())),
            outcomes=OutcomeCounts(**{name: self._outcomes[name] for name in OUTCOMES}),
            queries=self._queries(),
            recall={n: self.recall(n) for n in RECALL_NS},
            recall_by_distance={n: self.recall(n, by_distance=True) for n in RECALL_NS},
            precision_recall=self._curve_summary(),
            accepted=self._accepted(),
            route=self._route(),
            first_fix=self._first_fix(),
            calibration=self._calibration(),
            not_in_map=self._not_in_map())

    def _queries(self) -> QueryCounts:
        table = self._table
        return QueryCounts(searched=int(table.searched.sum()),
                           with_truth=int((table.searched & table.known).sum()),
                           in_map=int((table.searched & table.in_map).sum()))

    def _curve_summary(self) -> CurveSummary | None:
        curve = self.curve()
        return None if curve is None else CurveSummary(
            area=curve.average_precision, best_f1=curve.best_f1,
            recall_at_precision_100=curve.recall_at_precision(1.0),
            recall_at_precision_99=curve.recall_at_precision(0.99))

    def _accepted(self) -> AcceptedPlaces:
        table = self._table
        judged = table.accepted & table.known
        right = int(table.hits.sum())
        found = AcceptedPlaces(
            results=int(table.accepted.sum()), right=right,
            wrong=int((judged & ~table.hits).sum()), precision=_mean(table.hits[judged]),
            recall=_share(right, int((table.searched & table.in_map).sum())),
            error=Spread.of(self.accepted_errors()))
        of_poses = self.accepted_pose_errors()
        return found.model_copy(
            update={'pose_error': Spread.of(of_poses)} if len(of_poses) else {})

    def _route(self) -> RouteCoverage:
        table, gaps = self._table, self.gaps()
        mapped = table.in_map
        return RouteCoverage(
            travelled=float(np.ptp(table.travelled)) if len(table.travelled) else 0.0,
            with_truth=float(table.steps[table.known].sum()),
            in_map=float(table.steps[mapped].sum()),
            localized=_mean(table.hits[mapped], table.steps[mapped]),
            longest_without=gaps[0].length if gaps else 0.0,
            gaps=tuple(gaps[:_MOST_GAPS]))

    def _first_fix(self) -> FirstFix:
        table = self._table
        if not table.accepted.any():
            return FirstFix(seconds=None, distance=None, right=None)
        first = int(table.accepted.argmax())
        return FirstFix(
            seconds=float(table.stamps_ns[first] - table.stamps_ns[0]) / 1e9,
            distance=float(table.travelled[first] - table.travelled[0]),
            right=bool(table.hits[first]) if table.known[first] else None)

    def _calibration(self) -> Calibration:
        scores = self.scores()
        return Calibration(
            expected_error=scores.expected_error, counts=tuple(scores.counts.tolist()),
            scores=tuple(scores.scores.tolist()), right=tuple(scores.right.tolist()))

    def _not_in_map(self) -> NotInMap:
        table = self._table
        asked = table.searched & table.known & ~table.in_map
        searched, accepted = int(asked.sum()), int((asked & table.accepted).sum())
        return NotInMap(searched=searched, accepted=accepted, rate=_share(accepted, searched))


_KINDS: dict[str, type] = {
    'stamps_ns': np.int64, 'searched': bool, 'accepted': bool, 'known': bool, 'in_map': bool,
    'hits': bool, 'first_hit': np.int64, 'ranks': np.float64, 'scores': np.float64,
    'errors': np.float64, 'pose_errors': np.float64, 'travelled': np.float64}


@dataclass(frozen=True, eq=False)
class _Table:
    """Columns of all results, ``[R]``; ``first_hit`` is the rank of the first correct candidate.

    ``ranks`` is what best candidates are ordered by.
    """

    stamps_ns: np.ndarray
    searched: np.ndarray
    accepted: np.ndarray
    known: np.ndarray
    in_map: np.ndarray
    hits: np.ndarray
    first_hit: np.ndarray
    ranks: np.ndarray
    scores: np.ndarray
    errors: np.ndarray
    pose_errors: np.ndarray
    travelled: np.ndarray

    @cached_property
    def steps(self) -> np.ndarray:
        """Distance from the previous result to each one; 0 for the first and where unknown.

        After a result without ground truth, it is unknown whether the map shows the stretch
        between.
        """
        way = np.diff(self.travelled, prepend=self.travelled[:1])
        known_before = np.append(True, self.known[:-1])[:len(way)]
        return np.where(known_before, way, 0.0)


def _rank(result: MatchResult) -> float:
    """Return what the best candidates of results are ordered by, the surest first."""
    if result.best is None:
        return float('nan')
    return result.best.sequence_distance if result.off_map is None else -result.best.score


def _first(right: np.ndarray) -> int:
    """Return the position of the first correct candidate, beyond all others if there is none."""
    return int(right.argmax()) if right.any() else np.iinfo(np.int64).max


def _mean(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    total = len(values) if weights is None else float(weights.sum())
    return float(np.average(values, weights=weights)) if total else float('nan')


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float('nan')
