"""Agreement over successive queries."""

from collections import deque

import numpy as np

from seqnet_ros.config.engine import AcceptanceConfig
from seqnet_ros.localization.acceptance.rule import Match, Rule, RuleContext
from seqnet_ros.localization.acceptance.speed_estimate import SpeedEstimate
from seqnet_ros.localization.result import Reason
from seqnet_ros.maps.place_map import Calibration, Located


class Agreement(Rule):
    """Whether the best places of successive sequences lie on one moving line."""

    reason = Reason.INCONSISTENT
    judges_searches = True

    def __init__(self, config: AcceptanceConfig, places: Located) -> None:
        """Compare positions among ``places``."""
        self._config = config
        self._places = places
        self._speed = SpeedEstimate()
        self._recent: deque[tuple[int, int]] = deque(maxlen=config.agreement_window)

    @classmethod
    def build(cls, context: RuleContext) -> 'Agreement':
        """Make the rule."""
        return cls(context.engine.acceptance, context.places)

    def observe(self, match: Match) -> None:
        """Note a match before any rule judges it."""
        self.add(match.keyframe, match.place)

    def passes(self, match: Match) -> bool:
        """Return whether enough of the last best places agree; learn the speed from the match."""
        self.learn_speed(match.keyframe, match.place)
        return self.reached(bool(match.ranking.speeds[0] >= 0))

    def passed_by(self, wrong: Calibration) -> np.ndarray:
        """Return bool ``[N]``: which of these wrong matches agree with those before."""
        return self.reached_in(np.array(wrong.queries), np.array(wrong.places))

    def forget(self) -> None:
        """Reset after a break in the sequence."""
        self._recent.clear()
        self._speed.forget()

    def go_on_from(self, other: 'Agreement') -> None:
        """Take over the recent best places and the speed of another rule."""
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
