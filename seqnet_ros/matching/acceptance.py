"""Is the best candidate believed? Threshold, margin and agreement over successive queries."""

from collections import deque
from statistics import NormalDist

import numpy as np

from seqnet_ros.config import AcceptanceConfig
from seqnet_ros.maps.place_map import Calibration
from seqnet_ros.matching.result import Reason
from seqnet_ros.matching.retrieval import Ranking
from seqnet_ros.matching.speed import SpeedEstimate

_LOOSEST_QUANTILE = 0.25
_FEWEST_SAMPLES = 10
_WITHOUT_EVIDENCE = NormalDist(1.0, 0.1)
"""Assumed for maps too small to hold two different places: descriptors of unrelated images are
at least this far apart."""


def relative_margin(ranking: Ranking) -> float:
    """Return how much farther the next distinct place is than the best; infinite without one."""
    distances = ranking.sequence_distances
    if len(distances) < 2:
        return float('inf')
    return float((distances[1] - distances[0]) / max(float(distances[0]), 1e-9))


class Acceptance:
    """Judges rankings one after the other; its memory is what the last ones said.

    The best sequence distance at a wrong place is taken as normally distributed. The margin test
    alone rejects most wrong matches, so the threshold is set where both tests together let
    through the requested share.
    """

    def __init__(self, config: AcceptanceConfig, calibration: Calibration) -> None:
        """Use the threshold that follows from a map's calibration."""
        self._config = config
        self._wrong, share = _WITHOUT_EVIDENCE, 1.0
        if len(calibration.distances) >= _FEWEST_SAMPLES:
            self._wrong = NormalDist(float(np.mean(calibration.distances)),
                                     max(float(np.std(calibration.distances)), 1e-3))
            share = float(np.mean(np.array(calibration.margins) >= config.min_margin))
        quantile = min(config.false_positive_rate / max(share, 1e-9), _LOOSEST_QUANTILE)
        self.threshold = self._wrong.inv_cdf(quantile)
        self._speed = SpeedEstimate()
        self.forget()

    def forget(self) -> None:
        """Start anew after a break in the sequence."""
        self._recent: deque[tuple[int, int]] = deque(maxlen=self._config.agreement_window)
        self._speed.forget()

    @property
    def expected_speed(self) -> float:
        """Map frames per query keyframe, known from the matches so far."""
        return self._speed.value

    def score(self, sequence_distance: float) -> float:
        """Return the share of wrong best matches that lie farther than this."""
        return 1.0 - self._wrong.cdf(sequence_distance)

    def judge(self, ranking: Ranking, keyframe: int) -> Reason:
        """Say why the best place is accepted or not.

        Args:
            ranking: distinct places for the sequence that ends at this keyframe.
            keyframe: number of the newest keyframe since the last break.
        """
        if len(ranking.places) == 0:
            return Reason.NO_CANDIDATES
        place = int(ranking.places[0])
        self._recent.append((keyframe, place))
        if ranking.sequence_distances[0] > self.threshold:
            return Reason.TOO_FAR
        if relative_margin(ranking) < self._config.min_margin:
            return Reason.AMBIGUOUS
        self._speed.add(keyframe, place)
        if self._agreeing() < self._config.agreement:
            return Reason.INCONSISTENT
        return Reason.ACCEPTED

    def _agreeing(self) -> int:
        """Return how many of the last best places lie on one line with the newest."""
        keyframes, places = np.array(self._recent, dtype=np.float64).T
        ages, moves = keyframes - keyframes[-1], places - places[-1]
        speed = self.expected_speed
        off = np.minimum(np.abs(moves - speed * ages), np.abs(moves + speed * ages))
        return int((off <= self._config.agreement_frames).sum())
