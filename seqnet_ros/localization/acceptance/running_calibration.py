"""The calibration of a drive that is not over, learned from its own searches."""

from collections import deque

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.localization.acceptance.agreement import Agreement
from seqnet_ros.maps.calibration import (
    RUN_LENGTH,
    RUNS,
    Sample,
    calibration_of,
    drop_near_places,
    sample_of,
    similar_distance_m,
)
from seqnet_ros.maps.place_map import Calibration, Located
from seqnet_ros.maps.search.hierarchical_search import Ranking

_NEWS = 10


class RunningCalibration:
    """The same for a drive that is not over, learned from its own searches.

    Args:
        engine: the settings of the drive.
    """

    def __init__(self, engine: EngineConfig) -> None:
        self._engine = engine
        self._samples: deque[Sample] = deque(maxlen=RUNS * RUN_LENGTH)
        self._undecided: deque[Sample] = deque()
        self._news = 0

    def forget(self) -> None:
        """Note a break in the sequence; undecided matches are dropped."""
        self._undecided.clear()

    @property
    def due(self) -> bool:
        """Whether enough places were added since `calibration` was last requested."""
        return self._news >= _NEWS

    def calibration(self) -> Calibration:
        """Return the calibration from the matches so far."""
        self._news = 0
        return calibration_of(
            self._engine.sequence.length, self._engine.matching, self._samples)

    def learn_by_position(self, query: int, ranking: Ranking, places: Located) -> None:
        """Learn from a search where odometry tells which places are elsewhere.

        Odometry drifts, but what is far by odometry is hardly ever near.
        """
        length_m = places.step_m * len(places.positions)
        wrong = drop_near_places(ranking, places, query, similar_distance_m(length_m))
        if len(wrong.places):
            self._take(sample_of(query, wrong))

    def learn_by_agreement(self, query: int, ranking: Ranking, agreement: Agreement,
                           on_edge: bool) -> None:
        """Learn from a search without knowing positions.

        What successive sequences agree on is taken for right, and so is what came shortly before;
        the rest for wrong, and so is the youngest place that could be found (``on_edge``).
        """
        if on_edge:
            self._take(sample_of(query, ranking))
        elif agreement.reached(ranking.speeds[0] >= 0):
            self._undecided.clear()
        else:
            self._undecided.append(sample_of(query, ranking))
            if len(self._undecided) > self._engine.acceptance.agreement_window:
                self._take(self._undecided.popleft())

    def _take(self, sample: 'Sample') -> None:
        self._samples.append(sample)
        self._news += 1
