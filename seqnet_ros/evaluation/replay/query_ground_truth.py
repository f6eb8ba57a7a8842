"""Ground truth of replayed queries: from poses, frame numbers or a list of pairs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from seqnet_ros.core.errors import InputError
from seqnet_ros.core.poses import pose_from_matrix, pose_matrix, relative_pose
from seqnet_ros.datasets.frame_pairing import FramePairing, PairBy, pair_drives
from seqnet_ros.evaluation.metrics.accumulator import Odometer
from seqnet_ros.evaluation.metrics.place_ground_truth import (
    FRAMES,
    FrameGroundTruth,
    Judgement,
    PoseGroundTruth,
    Tolerance,
    read_pairs,
)
from seqnet_ros.evaluation.replay.recordings import Recordings, ReplayFrame
from seqnet_ros.evaluation.replay.reference_places import ReferencePlaces
from seqnet_ros.localization.result import Candidate, MatchResult
from seqnet_ros.maps.mapper import FRAME_NUMBERS


def check_ground_truth(tolerance: Tolerance, queries: Recordings, maps: Recordings | None,
                       pairs: Path | None, pair_by: PairBy = 'auto') -> None:
    """Find out before the work whether what is known can tell what is true.

    Raises:
        InputError: the tolerance does not go with it; the message says what is missing.
    """
    if tolerance.unit == FRAMES:
        if pairs is not None and maps is None:
            raise InputError(f'{pairs} refers to frames of the mapping drive, expected '
                             '--map-source as well')
        return
    if pair_by != 'auto':
        raise InputError(f'frames are to be paired by {pair_by} and the tolerance is {tolerance}, '
                         'expected a tolerance in frames')
    if pairs is not None:
        raise InputError(f'the tolerance of {pairs} is {tolerance}, expected frames')
    if not queries.posed:
        raise InputError(f'{", ".join(source.name for source in queries.sources)} has no poses '
                         f'and the tolerance is {tolerance}, expected poses, a tolerance in '
                         'frames or a file of pairs')
    if maps is not None and not maps.posed:
        raise InputError(f'the map was made without poses and the tolerance is {tolerance}, '
                         'expected poses or a tolerance in frames')


class QueryGroundTruth:
    """The truth for the frames of the queries, whatever it consists of.

    Args:
        mapped: the places of the map and where they come from.
        tolerance: how near is right.
        queries: the recordings that ask.
        maps: the recordings of the map; None if they are not available.
        pairs: a CSV file of frames that show the same place; None where poses or frame numbers say
            so.
        pair_by: how frames are paired without poses and without such a file, see `pair_frames`;
            anything but their position needs one folder of images on each side.

    Attributes:
        note: doubt about the pairs of frames; empty where there is none.

    Raises:
        InputError: the tolerance does not go with what is known.
    """

    def __init__(self, mapped: ReferencePlaces, tolerance: Tolerance, queries: Recordings,
                 maps: Recordings | None, pairs: Path | None = None,
                 pair_by: PairBy = 'auto') -> None:
        check_ground_truth(tolerance, queries, maps, pairs, pair_by)
        self.tolerance = tolerance
        self.unit = tolerance.unit
        self.note = ''
        self._mapped = mapped
        self._pairs: dict[int, list[int]] | None = None
        if self.unit == FRAMES:
            frames = _frames_of_places(mapped)
            if pairs is not None and maps is not None:
                self._pairs = read_pairs(pairs, queries.names(), maps.names())
            else:
                pairing = _pair(queries, maps, pair_by)
                self._true_frames, self.note = pairing.query, pairing.note
                if pairing.by != 'position':
                    frames = pairing.reference[frames]
            self._by_frame = FrameGroundTruth(frames, tolerance)
            return
        if mapped.truth is mapped.poses and any(
                manifest.pose_origin == FRAME_NUMBERS for manifest in mapped.manifests):
            raise InputError('the places of the map have frame numbers instead of poses and the '
                             f'tolerance is {tolerance}, expected a map made with poses or a '
                             'tolerance in frames')
        planar = queries.datum is not None
        self._by_pose = PoseGroundTruth(mapped.truth, tolerance, planar)

    def judge(self, asked: ReplayFrame, candidates: Sequence[Candidate]) -> Judgement:
        """Judge the places that were found for a frame."""
        places = [self._mapped.number_of(one) for one in candidates]
        if self.unit != FRAMES:
            return self._by_pose.judge(asked.truth, places)
        if self._pairs is not None:
            return self._by_frame.judge(self._pairs.get(asked.number), places)
        true = float(self._true_frames[asked.number])
        return self._by_frame.judge(None if np.isnan(true) else [true], places)

    def judge_result(self, asked: ReplayFrame, result: MatchResult) -> Judgement:
        """Judge the candidates of a result, and its pose between places where that is metric."""
        judgement = self.judge(asked, result.candidates)
        best = result.best
        if self.unit == FRAMES or result.pose is None or best is None:
            return judgement
        place = self._mapped.number_of(best)
        if not self._mapped.manifests[self._mapped.tile_place(place).tile].has_poses:
            return judgement
        pose = self._true_pose(result.pose, place)
        return replace(judgement, pose_error=self._by_pose.pose_error(asked.truth, pose))

    def _true_pose(self, pose: np.ndarray, place: int) -> np.ndarray:
        """Return a pose ``[7]`` of the map in the frame of the true poses.

        The poses of the map may be those of odometry. A pose beside a place is as far from its true
        pose as from its pose in the map.
        """
        believed, true = self._mapped.poses[place], self._mapped.truth[place]
        if np.array_equal(believed, true):
            return pose
        if not np.isfinite(true).all():
            return np.full(7, np.nan)
        return pose_from_matrix(pose_matrix(true) @ pose_matrix(relative_pose(believed, pose)))


def _pair(queries: Recordings, maps: Recordings | None, by: PairBy) -> FramePairing:
    """Pair the frames of the queries with those of the map."""
    if maps is None:
        return pair_drives((len(queries), len(queries)), None, by, (0, queries.first))
    named = maps.named and queries.named
    return pair_drives((len(maps), len(queries)),
                       (maps.names(), queries.names()) if named else None, by,
                       (maps.first, queries.first))


def _frames_of_places(mapped: ReferencePlaces) -> np.ndarray:
    if (mapped.place_frames >= 0).all():
        return mapped.place_frames
    spacings = [manifest.spacing for manifest in mapped.manifests]
    if spacings == ['1'] and (mapped.place_frames < 0).all():
        return np.arange(len(mapped))
    raise InputError('the map does not record which frame of its drive each place is, expected '
                     '--map-source with the recording it was made from')


class Way:
    """Distance traveled by the robot: meters along true positions, or frames."""

    def __init__(self, unit: str, recordings: Recordings) -> None:
        self._odometer = None if unit == FRAMES else Odometer()
        self._first = recordings.first
        self._recording = 0

    def to(self, found: ReplayFrame) -> float:
        """Move to a frame and return the way so far."""
        if self._odometer is None:
            return float(found.number - self._first)
        if found.recording != self._recording:
            self._odometer.lift()
            self._recording = found.recording
        return self._odometer.add(found.truth)
