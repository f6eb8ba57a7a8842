"""Is the best candidate believed? Threshold, margin and agreement over successive queries."""

from collections import deque
from statistics import NormalDist

import numpy as np

from seqnet_ros.config import AcceptanceConfig
from seqnet_ros.maps.place_map import Calibration
from seqnet_ros.matching.result import Reason
from seqnet_ros.matching.retrieval import Ranking
from seqnet_ros.matching.speed import SpeedEstimate
from seqnet_ros.poses import median_step

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

    The best sequence distance at a wrong place is taken as normally distributed. Margin and
    agreement alone reject most wrong matches, so the threshold is set where all three tests
    together let through the requested share.
    """

    def __init__(self, config: AcceptanceConfig, calibration: Calibration,
                 positions: np.ndarray) -> None:
        """Use the threshold that follows from the calibration of a map.

        Args:
            config: what is asked for.
            calibration: what wrong matches look like on the map.
            positions: float64 ``[N, 3]``, where the places of the map are, metres.
        """
        self._config = config
        self._positions = positions
        self._tolerance_m = config.agreement_frames * median_step(positions)
        self._speed = SpeedEstimate()
        self._recent: deque[tuple[int, int]] = deque(maxlen=config.agreement_window)
        self._wrong, share = _WITHOUT_EVIDENCE, 1.0
        if len(calibration.distances) >= _FEWEST_SAMPLES:
            self._wrong = NormalDist(float(np.mean(calibration.distances)),
                                     max(float(np.std(calibration.distances)), 1e-3))
            share = self._share_let_through(calibration)
        quantile = min(config.false_positive_rate / share, _LOOSEST_QUANTILE)
        self.threshold = self._wrong.inv_cdf(quantile)
        self.forget()

    def _share_let_through(self, calibration: Calibration) -> float:
        """Return the share of wrong matches that pass margin and agreement."""
        passed, previous = 0, None
        for query, place, margin in zip(calibration.queries, calibration.places,
                                        calibration.margins, strict=True):
            if previous is None or query != previous + 1:
                self.forget()
            self._recent.append((query, place))
            passed += margin >= self._config.min_margin and self._agrees()
            previous = query
        return (passed + 1) / (len(calibration.queries) + 1)

    def forget(self) -> None:
        """Start anew after a break in the sequence."""
        self._recent.clear()
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
        forward = ranking.speeds[0] >= 0
        return Reason.ACCEPTED if self._agrees(forward) else Reason.INCONSISTENT

    def _agrees(self, forward: bool = True) -> bool:
        """Return whether enough of the last best places lie on one line with the newest."""
        keyframes, places = np.array(self._recent).T
        moved = self.expected_speed * (keyframes[-1] - keyframes)
        expected = places[-1] - moved if forward else places[-1] + moved
        near = np.abs(places - expected) <= self._config.agreement_frames
        # On a street driven twice the best place may be on either pass.
        nearest = np.rint(expected).astype(int)
        on_map = (nearest >= 0) & (nearest < len(self._positions))
        gaps = np.linalg.norm(self._positions[places] - self._positions[nearest * on_map], axis=1)
        on_line = near | on_map & (gaps <= self._tolerance_m)
        return int(on_line.sum()) >= self._config.agreement
