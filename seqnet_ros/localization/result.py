"""Result of one query sequence: ranked candidates and the decision."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from seqnet_ros.core.errors import ResultError


class Reason(IntEnum):
    """Why a result was accepted or not; the numbers are those of ``msg/PlaceMatch``."""

    ACCEPTED = 0
    BUFFER_FILLING = 1
    STATIONARY = 2
    TOO_FAR = 3
    AMBIGUOUS = 4
    INCONSISTENT = 5
    GEOMETRY = 6
    NO_CANDIDATES = 7
    RECENT = 8
    ODOMETRY = 9
    OFF_MAP = 10
    CONVERGING = 11


@dataclass(frozen=True)
class Candidate:
    """One distinct place of the map.

    Attributes:
        place_id: frame number in the map of the place where the *newest* query frame is.
        stamp_ns: when the map saw it.
        pose: ``[x, y, z, qx, qy, qz, qw]`` in the map frame, meters.
        descriptor_distance: L2 distance of the sequence descriptors (coarse stage); of the place
            filter the distance of the newest frame.
        sequence_distance: mean L2 distance of frame descriptors along the best diagonal; of the
            place filter the distance of the newest frame.
        score: 0 to 1; of the place filter the calibrated probability that the robot is within the
            tolerance of the place, of the sequence search the estimated probability that a
            sequence from elsewhere would not match this well.
        map_id: the map it is in; empty for the drive so far.
        inliers: matched local features that agree on the geometry; 0 where none was checked.
        relative_pose: pose ``[7]`` of the robot in the robot's frame at the place, where the
            geometry gives one; its translation is of length 1 (or 0, where the cameras only
            differ by a turn) unless it is metric.
        relative_covariance: float64 ``[6, 6]`` of a metric pose, as in
            ``geometry_msgs/PoseWithCovariance``.
        relative_is_metric: whether the translation of the pose is in meters.
    """

    place_id: int
    stamp_ns: int
    pose: np.ndarray
    descriptor_distance: float
    sequence_distance: float
    score: float
    map_id: str = ''
    inliers: int = 0
    relative_pose: np.ndarray | None = None
    relative_covariance: np.ndarray | None = None
    relative_is_metric: bool = False

    def is_valid(self) -> bool:
        """Return whether the candidate is a place and all its numbers are finite."""
        numbers = [self.descriptor_distance, self.sequence_distance, *self.pose]
        for array in (self.relative_pose, self.relative_covariance):
            numbers.extend(() if array is None else array.flat)
        return self.place_id >= 0 and bool(np.isfinite(numbers).all()) and 0 <= self.score <= 1


@dataclass(frozen=True)
class MatchResult:
    """The outcome of one image.

    Attributes:
        query: number of the image pushed since the start, from 0.
        stamp_ns: stamp of the newest image of the sequence.
        sequence_start_ns: stamp of the oldest image of the sequence.
        candidates: distinct places, best first; empty while the buffer fills.
        reason: why it was accepted or not.
        describe_seconds: time spent on the frame descriptor.
        match_seconds: time spent on the sequence descriptor, search and decision.
        off_map: probability that the robot is off the map; None where the place filter did not
            run.
        pose: where the robot is if the best candidate is right, ``[7]``, meters; between places
            where the place filter ran, else None.
        position_covariance: float64 ``[3, 3]`` of its position, square meters; None without it.
    """

    query: int
    stamp_ns: int
    sequence_start_ns: int
    candidates: tuple[Candidate, ...]
    reason: Reason
    describe_seconds: float = 0.0
    match_seconds: float = 0.0
    off_map: float | None = None
    pose: np.ndarray | None = None
    position_covariance: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Let no result leave an engine that cannot be true.

        Raises:
            ResultError: a candidate is no place, has a number that is not finite, or there is
                none although the result is accepted.
        """
        for candidate in self.candidates:
            if not candidate.is_valid():
                raise ResultError(f'the search gave an invalid candidate: {candidate}')
        if self.accepted and not self.candidates:
            raise ResultError('the search accepted a result without a candidate')

    @property
    def accepted(self) -> bool:
        """True if the best candidate is accepted."""
        return self.reason is Reason.ACCEPTED

    @property
    def best(self) -> Candidate | None:
        """The best candidate, also when it was rejected."""
        return self.candidates[0] if self.candidates else None


@dataclass(frozen=True)
class LoopResult(MatchResult):
    """The outcome of one image that was looked for in the robot's own past.

    Attributes:
        place_id: number of the place that the image itself became; None for one that did not,
            because the robot stands.
    """

    place_id: int | None = None
