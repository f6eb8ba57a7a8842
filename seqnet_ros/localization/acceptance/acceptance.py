"""Acceptance of the best candidate: threshold, margin and agreement of successive queries."""

from collections import deque
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from seqnet_ros.config.engine import AcceptanceConfig
from seqnet_ros.localization.acceptance.speed_estimate import SpeedEstimate
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.place_map import Calibration, Located
from seqnet_ros.maps.search.hierarchical_search import Ranking, margin_between, relative_margin

_LOOSEST_QUANTILE = 0.25
_FEWEST_SAMPLES = 10
_WITHOUT_EVIDENCE = NormalDist(1.0, 0.1)
"""Assumed for maps too small to contain two different places: the minimum distance between
descriptors of unrelated images."""


def list_candidates(ranking: Ranking, most: int, score: Callable[[float], float],
                    seen: Callable[[int], tuple[int, np.ndarray]],
                    map_id: str = '') -> tuple[Candidate, ...]:
    """Return the best places of a ranking with everything known of them.

    Args:
        ranking: distinct places.
        most: how many at most.
        score: returns the score of a sequence distance.
        seen: returns when and where, ``[7]``, a place was seen.
        map_id: the map they are in; empty for the drive so far.
    """
    found = []
    for place, coarse, fine in zip(ranking.places[:most].tolist(),
                                   ranking.descriptor_distances.tolist(),
                                   ranking.sequence_distances.tolist(), strict=False):
        stamp_ns, pose = seen(place)
        found.append(Candidate(place, stamp_ns, pose.copy(), coarse, fine, score(fine), map_id))
    return tuple(found)


class Agreement:
    """Whether the best places of successive sequences lie on one moving line."""

    def __init__(self, config: AcceptanceConfig, places: Located) -> None:
        """Compare positions among ``places``."""
        self._config = config
        self._places = places
        self._speed = SpeedEstimate()
        self._recent: deque[tuple[int, int]] = deque(maxlen=config.agreement_window)

    def forget(self) -> None:
        """Reset after a break in the sequence."""
        self._recent.clear()
        self._speed.forget()

    def go_on_from(self, other: 'Agreement') -> None:
        """Remember the places that another one was told, among the same places."""
        self._recent.extend(other._recent)
        self._speed = other._speed

    @property
    def expected_speed(self) -> float:
        """Map frames per query keyframe, known from the matches so far."""
        return self._speed.value

    def add(self, keyframe: int, place: int) -> None:
        """Note the best place of the sequence that ends at a keyframe."""
        self._recent.append((keyframe, place))

    def learn_speed(self, keyframe: int, place: int) -> None:
        """Note a place that is near enough to tell how fast the robot drives."""
        self._speed.add(keyframe, place)

    def reached(self, forward: bool = True) -> bool:
        """Return whether enough of the last best places lie on one line with the newest."""
        keyframes, places = np.array(self._recent).T
        moved = self.expected_speed * (keyframes[-1] - keyframes)
        expected = places[-1] - moved if forward else places[-1] + moved
        return int(self._on_line(places, expected).sum()) >= self._config.agreement

    def reached_in(self, keyframes: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return bool ``[N]``: where it is reached when these are noted one after the other.

        As `reached` at a speed of 1, all at once; a keyframe that is not the next one restarts the
        count.

        Args:
            keyframes: int ``[N]``, rising.
            places: int ``[N]``, the best place of each.
        """
        count = len(keyframes)
        run = np.cumsum(np.diff(keyframes, prepend=keyframes[:1]) != 1)
        rows = np.arange(count)[:, None] - np.arange(self._config.agreement_window)
        noted = (rows >= 0) & (run[np.maximum(rows, 0)] == run[:, None])
        rows = rows * noted
        expected = places[:, None] - (keyframes[:, None] - keyframes[rows])
        agreeing = noted & self._on_line(places[rows], expected)
        return agreeing.sum(axis=1) >= self._config.agreement

    def _on_line(self, places: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Return which places are where they are expected, arrays of one shape."""
        near = np.abs(places - expected) <= self._config.agreement_frames
        # On a street driven twice the best place may be on either pass.
        positions = self._places.positions
        nearest = np.rint(expected).astype(int)
        on_map = (nearest >= 0) & (nearest < len(positions))
        gaps = np.linalg.norm(positions[places] - positions[nearest * on_map], axis=-1)
        tolerance_m = self._config.agreement_frames * self._places.step_m
        return near | on_map & (gaps <= tolerance_m)


class Acceptance:
    """Judges rankings one after the other; its memory is what the last ones said.

    The best sequence distance at a wrong place is taken as normally distributed. Margin and
    agreement alone reject most wrong matches, so the threshold is set where all three tests
    together let through the requested share.
    """

    def __init__(self, config: AcceptanceConfig, calibration: Calibration,
                 places: Located, by_distance_alone: bool = False) -> None:
        """Use the threshold that follows from a calibration.

        Args:
            config: settings of the acceptance.
            calibration: what wrong matches look like among these places.
            places: where matches are looked for.
            by_distance_alone: as of `calibrate`.
        """
        self._config = config
        self._places = places
        self.agreement = Agreement(config, places)
        self.calibrate(calibration, by_distance_alone)

    def calibrate(self, calibration: Calibration, by_distance_alone: bool = False) -> None:
        """Take the threshold from what is known of wrong matches by now.

        Args:
            calibration: what is known.
            by_distance_alone: set the threshold as if margin and agreement rejected nothing; for
                calibrations that cannot tell how often wrong matches pass them.
        """
        self._wrong, share = _WITHOUT_EVIDENCE, 1.0
        if len(calibration.distances) >= _FEWEST_SAMPLES:
            self._wrong = NormalDist(float(np.mean(calibration.distances)),
                                     max(float(np.std(calibration.distances)), 1e-3))
            if not by_distance_alone:
                share = self._share_let_through(calibration)
        quantile = min(self._config.false_positive_rate / share, _LOOSEST_QUANTILE)
        self.threshold = self._wrong.inv_cdf(quantile)

    def _share_let_through(self, calibration: Calibration) -> float:
        """Return the share of wrong matches that pass margin and agreement."""
        agreed = Agreement(self._config, self._places).reached_in(
            np.array(calibration.queries), np.array(calibration.places))
        passed = agreed & (np.array(calibration.margins) >= self._config.min_margin)
        return (int(passed.sum()) + 1) / (len(passed) + 1)

    def forget(self) -> None:
        """Reset after a break in the sequence."""
        self.agreement.forget()

    @property
    def expected_speed(self) -> float:
        """Map frames per query keyframe, known from the matches so far."""
        return self.agreement.expected_speed

    def score(self, sequence_distance: float) -> float:
        """Return the share of wrong best matches that lie farther than this."""
        return 1.0 - self._wrong.cdf(sequence_distance)

    def deviation(self, sequence_distance: float) -> float:
        """Return how far a distance is from that of a wrong match, in standard deviations.

        Negative where it is nearer; tells distances apart whose scores are all but 1.
        """
        return (sequence_distance - self._wrong.mean) / self._wrong.stdev

    def is_ambiguous(self, best: float, rival: float) -> bool:
        """Return whether a rival's sequence distance is too near that of the best place."""
        return not margin_between(best, rival) >= self._config.min_margin

    def judge(self, ranking: Ranking, keyframe: int) -> Reason:
        """Say why the best place is accepted or not.

        Args:
            ranking: distinct places for the sequence that ends at this keyframe.
            keyframe: number of the newest keyframe since the last break.
        """
        if len(ranking.places) == 0:
            return Reason.NO_CANDIDATES
        place = int(ranking.places[0])
        self.agreement.add(keyframe, place)
        # Stated so that a value that is not a number never accepts.
        if not ranking.sequence_distances[0] <= self.threshold:
            return Reason.TOO_FAR
        if not relative_margin(ranking) >= self._config.min_margin:
            return Reason.AMBIGUOUS
        self.agreement.learn_speed(keyframe, place)
        forward = ranking.speeds[0] >= 0
        return Reason.ACCEPTED if self.agreement.reached(forward) else Reason.INCONSISTENT
