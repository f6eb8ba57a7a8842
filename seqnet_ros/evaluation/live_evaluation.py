"""Evaluation of a localizer while the robot drives: adds results and true poses as they arrive.

The metrics are those of a replay of the same drive. Waiting times are measured by any steady clock;
the stamps of results and poses share another clock, which may stop, run fast, or restart.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from seqnet_ros import __version__
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.pose_buffer import PoseBuffer
from seqnet_ros.evaluation.metrics.accumulator import MetricsAccumulator, Odometer
from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics
from seqnet_ros.evaluation.metrics.place_ground_truth import Judgement, PoseGroundTruth, Tolerance
from seqnet_ros.evaluation.replay.cold_starts import summarize_cold_starts
from seqnet_ros.evaluation.replay.evaluation_results import FORMAT, LiveMap, LiveResults, LiveSpan
from seqnet_ros.evaluation.replay.verdict import give_verdict
from seqnet_ros.localization.result import MatchResult
from seqnet_ros.maps.place_map import PlaceMap

KEPT_S = 60.0
"""True poses are kept this long for late results, in the time of their stamps."""
_NS = 10**9


def make_truth_buffer() -> PoseBuffer:
    """Return a buffer for true poses."""
    # The gap is that of a replay (`Trajectory.at`): both evaluate the same results. Receivers
    # repeat and reorder stamps by less than a second; only a recording that is played again goes
    # back by more.
    return PoseBuffer(max_gap_s=2.0, restart_s=1.0)


class TruePath:
    """The distance traveled along true poses.

    Args:
        poses: true poses; more of them may be added at any time.
    """

    def __init__(self, poses: PoseBuffer) -> None:
        self._poses = poses
        self._odometer = Odometer()
        self.restart()

    def restart(self) -> None:
        """Continue where the poses restart; the jump does not count as distance."""
        self._last_ns = self._reached_ns = -1  # stamp of the last pose in the path, and its end
        self._odometer.lift()

    def begin(self, stamp_ns: int) -> None:
        """Start the path at a time."""
        self._odometer = Odometer()
        last_ns = self._poses.last_before(stamp_ns)
        self._last_ns = -1 if last_ns is None else last_ns
        self._reached_ns = stamp_ns

    def walk(self, stamp_ns: int) -> float:
        """Advance to a time and return the distance traveled until then, meters."""
        if stamp_ns < self._reached_ns:  # results restart before the poses do
            return self._odometer.travelled
        self._pass_poses_before(stamp_ns)
        self._reached_ns = stamp_ns
        return self._odometer.add(self._poses.at(stamp_ns))

    def forget(self, stamp_ns: int) -> None:
        """Drop the poses that no later time needs; they stay in the path."""
        last_ns = self._poses.last_before(stamp_ns)
        if last_ns is not None:
            self._pass_poses_before(last_ns)
            self._poses.forget_before(last_ns)

    def _pass_poses_before(self, stamp_ns: int) -> None:
        for passed_ns, pose in self._poses.between(self._last_ns, stamp_ns):
            self._odometer.add(pose)
            self._last_ns = passed_ns


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A result that waits for its true pose."""

    result: MatchResult
    places: list[int]
    until_s: float


class LiveEvaluation:
    """Evaluates results once their true pose is known, in the order of their arrival.

    Args:
        maps: the maps that are searched, by their ids.
        tolerance: maximum distance of a correct place from the ground truth, in meters.
        planar: ignore altitude.
        patience_s: how long a result waits for its true pose; after that it counts as one without.

    Raises:
        InputError: a map has frame numbers in place of poses, or no map is given.
    """

    def __init__(self, maps: Mapping[str, PlaceMap], tolerance: Tolerance, planar: bool = False,
                 patience_s: float = 5.0) -> None:
        if not maps:
            raise InputError('no map was given, expected the map that the localizer searches')
        for map_id, place_map in maps.items():
            if not place_map.manifest.has_poses:
                raise InputError(f'the places of map {map_id} have frame numbers instead of poses, '
                                 'expected a map made with poses')
        self.patience_s = patience_s
        self._first_places: dict[str, int] = {}
        self._sizes = {map_id: len(place_map) for map_id, place_map in maps.items()}
        for map_id in maps:
            self._first_places[map_id] = sum(self._sizes[other] for other in self._first_places)
        self._truth = PoseGroundTruth(
            np.concatenate([place_map.poses for place_map in maps.values()]), tolerance, planar)
        self._poses = make_truth_buffer()
        self._path = TruePath(self._poses)
        self._waiting: deque[_Waiting] = deque()
        self._clear()

    def _clear(self) -> None:
        self.accumulator = MetricsAccumulator()
        self.first_stamp_ns = self.last_stamp_ns = 0
        self.most_candidates = 0
        self.nearest = float('inf')

    def __len__(self) -> int:
        """Return the number of evaluated results."""
        return len(self.accumulator)

    @property
    def map_ids(self) -> tuple[str, ...]:
        """IDs of the maps that results may refer to."""
        return tuple(self._sizes)

    @property
    def tolerance(self) -> Tolerance:
        """Tolerance within which a place is correct."""
        return self._truth.tolerance

    @property
    def waiting(self) -> int:
        """Number of results that wait for their true pose."""
        return len(self._waiting)

    def reset(self) -> None:
        """Discard all results, including waiting ones; true poses are kept."""
        self._waiting.clear()
        self._clear()

    def add_result(self, result: MatchResult, now_s: float) -> None:
        """Add a result of the localizer.

        Args:
            result: the result; its candidates name their maps.
            now_s: time of the clock by which results wait.

        Raises:
            InputError: a candidate is not in the maps given here.
        """
        places = [self._place(one.map_id, one.place_id) for one in result.candidates]
        self._waiting.append(_Waiting(result, places, now_s + self.patience_s))
        self.settle(now_s)

    def check_map(self, map_id: str) -> None:
        """Check that a map is one of those given here.

        Raises:
            InputError: it is not.
        """
        if map_id not in self._sizes:
            raise InputError(f'the localizer searches map {map_id or "without an id"}, but the '
                             f'evaluator uses map {", ".join(self._sizes)}: give the same map to '
                             'both')

    def _place(self, map_id: str, place_id: int) -> int:
        self.check_map(map_id)
        if not 0 <= place_id < self._sizes[map_id]:
            raise InputError(f'a candidate is place {place_id} of map {map_id}, which has the '
                             f'places 0 to {self._sizes[map_id] - 1}')
        return self._first_places[map_id] + place_id

    def add_truth(self, stamp_ns: int, pose: np.ndarray, now_s: float) -> None:
        """Add a true pose ``[7]``; if time goes back, waiting results are evaluated first."""
        if self._poses.goes_back(stamp_ns):
            while self._waiting and self._poses.covers(self._waiting[0].result.stamp_ns):
                self._judge(self._waiting.popleft())
            self._path.restart()
        self._poses.add(stamp_ns, pose)
        self.settle(now_s)
        if not self._waiting:
            self._path.forget(stamp_ns - round(KEPT_S * _NS))

    def settle(self, now_s: float) -> None:
        """Evaluate the results whose true pose is known, and those that waited too long for it."""
        while self._waiting and (self._poses.covers(self._waiting[0].result.stamp_ns)
                                 or self._waiting[0].until_s <= now_s):
            self._judge(self._waiting.popleft())

    def _judge(self, item: _Waiting) -> None:
        result = item.result
        if not len(self):
            self._path.begin(result.stamp_ns)
            self.first_stamp_ns = result.stamp_ns
        pose = self._poses.at(result.stamp_ns)
        judgement = (Judgement.unknown(item.places) if pose is None
                     else self._truth.judge(pose, item.places))
        self.accumulator.add(result, judgement, self._path.walk(result.stamp_ns))
        self.last_stamp_ns = result.stamp_ns
        self.most_candidates = max(self.most_candidates, len(item.places))
        if judgement.known and item.places:
            self.nearest = min(self.nearest, judgement.nearest)

    def note(self, metrics: LocalizationMetrics) -> str:
        """Return a warning about the ground truth; '' if there is none."""
        queries = metrics.queries
        if queries.searched and not queries.with_truth:
            return f'none of {queries.searched} searches has a true pose: {self._truth_state()}'
        if queries.with_truth and not queries.in_map:
            return (f'no true pose is within {self.tolerance} of a place of the map, the nearest '
                    f'is {self.nearest:.6g} m away: check that the true poses are in the frame of '
                    'the map')
        return ''

    def _truth_state(self) -> str:
        newest_ns = self._poses.newest_ns
        if newest_ns is None:
            return 'no true pose has arrived'
        return (f'the newest one is {(newest_ns - self.last_stamp_ns) / _NS:+.1f} s from the '
                'newest match: check that both use the same clock')

    def results(self, metrics: LocalizationMetrics) -> LiveResults:
        """Return the document of the evaluation.

        Args:
            metrics: those of the accumulator.
        """
        restarts, note = summarize_cold_starts([]), self.note(metrics)
        return LiveResults(
            format=FORMAT,
            verdict=give_verdict(metrics, restarts),
            notes=(note,) if note else (),
            measures=metrics,
            restarts=restarts,
            map=LiveMap(map_id=','.join(self.map_ids), places=sum(self._sizes.values())),
            live=LiveSpan(since_ns=self.first_stamp_ns, until_ns=self.last_stamp_ns,
                          most_candidates=self.most_candidates),
            tolerance=str(self.tolerance),
            versions={'seqnet_ros': __version__})
