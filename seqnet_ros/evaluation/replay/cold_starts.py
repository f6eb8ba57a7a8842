"""Time to the first localization of localizers started at random points of a drive."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from seqnet_ros.core.errors import DamagedImageError
from seqnet_ros.evaluation.metrics.localization_metrics import RestartMetrics, Spread
from seqnet_ros.localization.result import MatchResult

if TYPE_CHECKING:  # the evaluator of a driving robot takes the summary alone, without torch
    from seqnet_ros.evaluation.replay.query_ground_truth import QueryGroundTruth
    from seqnet_ros.evaluation.replay.recordings import Recordings, ReplayFrame
    from seqnet_ros.localization.localizer import Localizer

RESTARTS = 20
_RESTART_RESULTS = 300
_SEED = 1


@dataclass
class ColdStart:
    """A localizer that starts in the middle of the drive.

    Attributes:
        number: of the frame it starts at.
        in_map: whether the map shows the place.
        seconds: time until the first accepted result; None without one.
        distance: way until then, meters or frames.
        right: whether that result is right; None where the truth is not known.
    """

    number: int
    in_map: bool = False
    seconds: float | None = None
    distance: float | None = None
    right: bool | None = None


class ColdStarts:
    """Localizers that know nothing of the drive before the place they start at.

    The starts are drawn with a fixed seed, one in each of as many equal parts of the drive.
    """

    def __init__(self, recordings: 'Recordings', count: int, engine: 'Callable[[], Localizer]',
                 truth: 'QueryGroundTruth') -> None:
        count = min(count, len(recordings))
        edges = np.linspace(recordings.first, recordings.end, count + 1).astype(int)
        rng = np.random.default_rng(_SEED)
        self.all = [ColdStart(int(rng.integers(low, max(high, low + 1))))
                    for low, high in pairwise(edges)]
        self._waiting = list(self.all)
        self._running: list[_Running] = []
        self._engine = engine
        self._truth = truth

    def push(self, found: 'ReplayFrame', read: Callable[[], np.ndarray], travelled: float) -> None:
        """Give a frame to those that still look for their place.

        Args:
            found: the frame.
            read: returns its image.
            travelled: way so far.
        """
        while self._waiting and self._waiting[0].number <= found.number:
            restart = self._waiting.pop(0)
            restart.in_map = self._truth.judge(found, []).in_map
            self._running.append(_Running(
                restart, self._engine(), found.frame.stamp_ns, travelled))
        going = [one for one in self._running if one.goes_on(found, read, travelled, self._truth)]
        for one in self._running:
            if one not in going:
                one.close()
        self._running = going

    def close(self) -> None:
        """Close those that have not found their place."""
        for one in self._running:
            one.close()


class _Running:
    def __init__(self, restart: ColdStart, localizer: 'Localizer', stamp_ns: int,
                 travelled: float) -> None:
        self._restart, self._localizer = restart, localizer
        self._stamp_ns, self._travelled = stamp_ns, travelled
        self._results = 0

    def close(self) -> None:
        """Close what the localizer has opened."""
        self._localizer.close()

    def goes_on(self, found: 'ReplayFrame', read: Callable[[], np.ndarray], travelled: float,
                truth: 'QueryGroundTruth') -> bool:
        """Push a frame; return whether the place is still not known."""
        result = self._push(found, read)
        if result is None:
            return True
        self._results += 1
        if not result.accepted:
            return self._results < _RESTART_RESULTS
        judgement = truth.judge(found, result.candidates[:1])
        self._restart.seconds = (found.frame.stamp_ns - self._stamp_ns) / 1e9
        self._restart.distance = travelled - self._travelled
        self._restart.right = bool(judgement.right[0]) if judgement.known else None
        return False

    def _push(self, found: 'ReplayFrame', read: Callable[[], np.ndarray]) -> MatchResult | None:
        try:
            return self._localizer.push_lazily(read, found.frame.stamp_ns, found.frame.pose)
        except DamagedImageError:
            return None


def summarize_cold_starts(restarts: list[ColdStart]) -> RestartMetrics:
    """Return how long it takes to localize from nothing, of starts at places in the map."""
    counted = [one for one in restarts if one.in_map]
    fixed = [one for one in counted if one.right]
    return RestartMetrics(
        starts=len(counted), right=len(fixed),
        wrong=sum(one.seconds is not None and one.right is False for one in counted),
        never=sum(one.seconds is None for one in counted),
        seconds=Spread.of(one.seconds for one in fixed if one.seconds is not None),
        distance=Spread.of(one.distance for one in fixed if one.distance is not None))
