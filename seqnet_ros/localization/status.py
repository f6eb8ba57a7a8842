"""Whether the robot is localized, over the matches of a drive."""

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from seqnet_ros.core.carried_pose import CarriedPose
from seqnet_ros.core.poses import NANOSECONDS
from seqnet_ros.localization.result import MatchResult, Reason


class State(IntEnum):
    """Whether the robot is localized; the numbers are those of ``msg/LocalizationStatus``."""

    NO_INPUT = 0
    NO_MAP = 1
    CONVERGING = 2
    TRACKING = 3
    LOST = 4
    OFF_MAP = 5


@dataclass(frozen=True)
class Status:
    """State of the localization.

    Attributes:
        state: whether it is localized.
        stamp_ns: stamp of the newest image; 0 before the first.
        map_id: map of the most probable place; empty without one.
        off_map: probability that it is off the map; NaN where the place filter does not run.
        probability: probability of the most probable place; NaN as above.
        seconds_since_match: image time since the last accepted match; NaN without one.
        distance_since_match: way since then by odometry, meters; NaN where that is not known.
    """

    state: State = State.CONVERGING
    stamp_ns: int = 0
    map_id: str = ''
    off_map: float = math.nan
    probability: float = math.nan
    seconds_since_match: float = math.nan
    distance_since_match: float = math.nan


class StatusTracker:
    """Derives the status from images and their results, one after the other.

    The robot is tracked while the newest keyframe was accepted, or odometry carries the pose of
    the last accepted one. After that, or a break, it is lost until the next is accepted.

    Args:
        carry_limit_m: way over which odometry carries an accepted pose, meters.
    """

    def __init__(self, carry_limit_m: float) -> None:
        self._carry_limit_m = carry_limit_m
        self.forget()

    def forget(self) -> None:
        """Start again, as when another map is searched."""
        self.status = Status()
        self._carried: CarriedPose | None = None
        self._accepted_ns: int | None = None
        self._newest: MatchResult | None = None

    def note(self, stamp_ns: int, odometry: np.ndarray | None, result: MatchResult | None,
             broken: bool = False) -> Status:
        """Take in an image.

        Args:
            stamp_ns: when it was taken.
            odometry: pose ``[7]`` by odometry at the time, meters; None without odometry.
            result: result of the localizer for it; None between keyframes.
            broken: the sequence of images broke off before it.

        Returns:
            The status now.
        """
        if self._accepted_ns is not None and stamp_ns < self._accepted_ns:
            self.forget()  # a recording that starts again
        if broken:
            self._carried = None
        if self._carried is not None:
            self._carried.move(odometry)
        if result is not None and result.reason is not Reason.STATIONARY:
            self._newest = result
            if result.accepted:
                assert result.best is not None
                self._carried = CarriedPose(result.best.pose, odometry)
                self._accepted_ns = stamp_ns
        self.status = self._describe(stamp_ns)
        return self.status

    def _describe(self, stamp_ns: int) -> Status:
        newest, since = self._newest, self._accepted_ns
        best = None if newest is None else newest.best
        probable = best is not None and newest is not None and newest.off_map is not None
        return Status(
            self._state(), stamp_ns, '' if best is None else best.map_id,
            math.nan if newest is None or newest.off_map is None else newest.off_map,
            best.score if best is not None and probable else math.nan,
            math.nan if since is None else (stamp_ns - since) / NANOSECONDS,
            math.nan if self._carried is None else self._carried.distance_m)

    def _state(self) -> State:
        newest = self._newest
        if newest is not None and newest.accepted and self._carried is not None:
            return State.TRACKING
        # Stated as what is tracked: a distance that is not known does not carry.
        if self._carried is not None and self._carried.distance_m <= self._carry_limit_m:
            return State.TRACKING
        if newest is not None and newest.reason is Reason.OFF_MAP:
            return State.OFF_MAP
        return State.CONVERGING if self._accepted_ns is None else State.LOST
