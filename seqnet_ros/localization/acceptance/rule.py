"""The interface of acceptance rules: each has one reason to reject a match."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.settings import Settings
from seqnet_ros.descriptors.local_features import LocalFeatures
from seqnet_ros.localization.geometry.geometric_check import GeometricCheck
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.place_map import Calibration, Located
from seqnet_ros.maps.search.hierarchical_search import Ranking


@dataclass
class Match:
    """A match to judge: the best place of a search.

    Attributes:
        ranking: distinct places, best first, at least one.
        keyframe: number of the newest keyframe since the last break; in loop closing, its place.
        candidates: the places as they are reported, best first; rules that look closer may add what
            they find, and reorder them.
        rival_distance: smallest sequence distance in other maps; infinite without others.
        features: returns the local features of the query image; None without a geometric check.
    """

    ranking: Ranking
    keyframe: int
    candidates: tuple[Candidate, ...] = ()
    rival_distance: float = np.inf
    features: Callable[[], LocalFeatures] | None = None

    @property
    def place(self) -> int:
        """The best place."""
        return int(self.ranking.places[0])

    @property
    def distance(self) -> float:
        """Its sequence distance."""
        return float(self.ranking.sequence_distances[0])


class PastDrive(Protocol):
    """The drive so far, in which loop closing searches."""

    @property
    def positions(self) -> np.ndarray:
        """Positions of its places by odometry, float64 ``[N, 3]``, meters."""

    @property
    def posed(self) -> bool:
        """Whether there is odometry."""

    @property
    def max_drift(self) -> float:
        """Largest drift of odometry, as a share of the route; 0 does not check it."""

    def is_youngest(self, place: int) -> bool:
        """Return whether a place is the youngest that can be found, or next to it."""

    def way_back_m(self, place: int) -> float:
        """Return the route since a place was seen, meters."""


@dataclass(frozen=True)
class RuleContext:
    """What rules are made of.

    Attributes:
        engine: the settings of the search.
        places: where matches are looked for.
        geometry: checks images against these places; None where that is not asked for.
        drive: the drive so far, in loop closing; None in maps.
        overlapping: several maps may show the same places.
        settings: the rule's own settings, of a rule that has a settings class.
    """

    engine: EngineConfig
    places: Located
    geometry: GeometricCheck | None = None
    drive: PastDrive | None = None
    overlapping: bool = False
    settings: Settings | None = None


class Rule(ABC):
    """One reason to reject a match. It may remember what it has seen since the last break.

    Attributes:
        reason: the reason reported for a match that it rejects.
        judges_searches: it judges every search of a map, and its share in rejecting wrong matches
            is known from the calibration. The others only judge the match that would be accepted.
    """

    reason: ClassVar[Reason]
    judges_searches: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def build(cls, context: RuleContext) -> 'Rule | None':
        """Make the rule; None where it does not apply."""

    @abstractmethod
    def passes(self, match: Match) -> bool:
        """Return whether a match passes, given that it passed all rules before this one.

        A value that is not a number never passes.
        """

    def observe(self, match: Match) -> None:  # noqa: B027 (optional)
        """Note a match before any rule judges it."""

    def passed_by(self, wrong: Calibration) -> np.ndarray:
        """Return bool ``[N]``: which of these wrong matches the rule lets through."""
        return np.ones(len(wrong.distances), dtype=bool)

    def forget(self) -> None:  # noqa: B027
        """Forget what was seen, after a break in the sequence."""

    def go_on_from(self, other: Any) -> None:  # noqa: B027
        """Remember what the same rule has seen with other settings."""
