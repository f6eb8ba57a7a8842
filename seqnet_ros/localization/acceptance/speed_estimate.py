"""Speed of the robot relative to the mapping drive, estimated from earlier matches."""

from collections import deque

import numpy as np

_MEMORY = 60
_NEEDED_SPAN = 30
_NEEDED_PAIRS = 10
_DEAD_BAND = 0.1
_SLOWEST, _FASTEST = 0.5, 2.0


class SpeedEstimate:
    """Map frames per query keyframe, from the places matched over the last keyframes.

    A single sequence says little of its speed; where the places of many sequences lie says it
    well, also when each is off by the same few frames. With keyframes spaced by odometry the
    ratio is 1, so small deviations are ignored.
    """

    def __init__(self) -> None:
        """Start without knowledge."""
        self._track: deque[tuple[int, int]] = deque(maxlen=_MEMORY)

    def add(self, keyframe: int, place: int) -> None:
        """Note where the sequence ending at a keyframe was found."""
        self._track.append((keyframe, place))

    def forget(self) -> None:
        """Reset the estimate."""
        self._track.clear()

    @property
    def value(self) -> float:
        """The ratio, 1 until it is known; the sign of the direction is dropped."""
        half = len(self._track) // 2
        if half < _NEEDED_PAIRS or self._track[-1][0] - self._track[0][0] < _NEEDED_SPAN:
            return 1.0
        keyframes, places = np.array(self._track, dtype=np.float64).T
        # Theil's estimator with pairs half the track apart: outliers do not move the median.
        steps = keyframes[half:2 * half] - keyframes[:half]
        slope = abs(float(np.median((places[half:2 * half] - places[:half]) / steps)))
        # Places that stand still or leap are wrong matches, not a way of driving.
        believable = _SLOWEST <= slope <= _FASTEST and abs(np.log(slope)) >= _DEAD_BAND
        return slope if believable else 1.0
