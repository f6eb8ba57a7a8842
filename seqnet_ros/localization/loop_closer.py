"""Loop closing: the robot's own past is mapped and searched at once."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from seqnet_ros.config.engine import EngineConfig, LoopConfig
from seqnet_ros.core import images
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.localization.acceptance.acceptance import Acceptance, list_candidates
from seqnet_ros.localization.acceptance.rule import Match, RuleContext
from seqnet_ros.localization.acceptance.running_calibration import RunningCalibration
from seqnet_ros.localization.exclusion_window import ExclusionWindow
from seqnet_ros.localization.filter_decision import weigh_geometry
from seqnet_ros.localization.geometry.geometric_check import (
    GeometricCheck,
    PlaceView,
    choose_neighbours,
)
from seqnet_ros.localization.loop_filter import LoopFilter
from seqnet_ros.localization.result import Candidate, LoopResult, Reason
from seqnet_ros.maps.completeness import Completeness
from seqnet_ros.maps.growing_map import GrowingMap
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.search.hierarchical_search import HierarchicalSearch, Ranking
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.keyframes import Verdict


class _PastViews:
    """The places of the drive so far, for the geometric check."""

    def __init__(self, mapper: Mapper, past: GrowingMap) -> None:
        self._mapper = mapper
        self._past = past

    def view(self, place: int) -> PlaceView:
        """Return what is known of a place."""
        return PlaceView(self._mapper.features(place), self._mapper.camera,
                         self._mapper[place].pose if self._mapper.posed else None)

    def neighbours(self, place: int, count: int) -> list[int]:
        """Return up to ``count`` places on each side to triangulate with."""
        first, end = self._past.stretches(np.array([place]))
        return choose_neighbours(self._past.positions, place, int(first[0]), int(end[0]), count)


class _PastDrive:
    """The drive so far, for the acceptance rules.

    Args:
        mapper: maps the drive.
        past: its places.
        window: tells how long ago they were seen.
        engine: the settings of the search.
        loops: how far odometry is trusted.
    """

    def __init__(self, mapper: Mapper, past: GrowingMap, window: ExclusionWindow,
                 engine: EngineConfig, loops: LoopConfig) -> None:
        self._mapper = mapper
        self._past = past
        self._merge_frames = engine.matching.merge_frames
        if engine.localization.method == 'filter':
            # The belief that follows the youngest place is spread over the ones before it.
            self._merge_frames = max(self._merge_frames, 2 * engine.filter.tolerance)
        self.max_drift = loops.max_drift
        self.way_back_m = window.way_back_m

    @property
    def positions(self) -> np.ndarray:
        """Positions of its places by odometry, float64 ``[N, 3]``, meters."""
        return self._past.positions

    @property
    def posed(self) -> bool:
        """Whether there is odometry."""
        return self._mapper.posed

    def is_youngest(self, place: int) -> bool:
        """Return whether a place is the youngest that can be found, or next to it."""
        return place >= self._past.released - 1 - self._merge_frames


class LoopCloser:
    """Finds places the robot has been at before, one image at a time. Not thread-safe.

    Places that are too recent cannot be found at all, so they take no candidate's place. What is
    mapped can be saved as a map at any time.

    Args:
        model: describes frames and sequences.
        engine: the settings; None takes those of the model's file.
        loops: exclusion of recent places, and the maximum drift of odometry.
        keep_images: keep a small picture of every place.
        camera: the calibrated camera, where it is known; the first one of several.
    """

    def __init__(self, model: PlaceModel, engine: EngineConfig | None = None,
                 loops: LoopConfig | None = None, *, keep_images: bool = False,
                 camera: CameraModel | None = None) -> None:
        self._mapper = Mapper(model, engine, keep_images=keep_images, camera=camera)
        self.model = model
        self._engine = self._mapper.engine
        self._loops = loops or LoopConfig()
        self._recent = ExclusionWindow(self._loops)
        self._wrong = RunningCalibration(self._engine)
        self._look_at(self._new_past())
        self._pushed = 0

    def _look_at(self, past: GrowingMap) -> None:
        """Search a past with the present settings."""
        engine = self._engine
        self._past = past
        self._search = HierarchicalSearch(self.model, past, engine.matching)
        self._geometry = None if engine.geometry is None else GeometricCheck(
            engine.geometry, self._mapper.camera, _PastViews(self._mapper, past))
        self._drive = _PastDrive(self._mapper, past, self._recent, engine, self._loops)
        self._acceptance = Acceptance(
            RuleContext(engine, past, self._geometry, self._drive),
            self._wrong.calibration(), self._by_distance_alone)
        self._filter: LoopFilter | None = None

    def use_settings(self, engine: EngineConfig) -> None:
        """Go on with other settings, as of the constructor; places and loops so far stay.

        Another sequence length costs a pass over the drive. With that or other matching, what wrong
        matches look like is learned again.

        Raises:
            InputError: the spacing is in meters, but the images have no poses; nothing
                changes.
        """
        before = self._engine
        self._mapper.use_settings(engine)
        self._engine = engine
        acceptance = self._acceptance
        past = self._past
        if engine.sequence != before.sequence:
            past = self._recompute_past()
        if (engine.sequence, engine.matching) != (before.sequence, before.matching):
            self._wrong = RunningCalibration(self._engine)
        self._look_at(past)
        self._acceptance.go_on_from(acceptance)

    def _new_past(self) -> GrowingMap:
        return GrowingMap(self.model, self._engine.sequence.length, self._loops.max_places)

    def _recompute_past(self) -> GrowingMap:
        past = self._new_past()
        for number in range(len(self._mapper)):
            place = self._mapper[number]
            past.add(place.descriptor, place.pose, place.segment_start)
        past.release(self._past.released)
        return past

    def __len__(self) -> int:
        """Return the number of places so far."""
        return len(self._mapper)

    @property
    def searchable(self) -> int:
        """Number of places that are old enough to close a loop."""
        return self._past.released

    @property
    def late_images(self) -> int:
        """Number of images left out because they are stamped before the newest one."""
        return self._mapper.late_images

    @property
    def sequence_length(self) -> int:
        """Frames per sequence."""
        return self._engine.sequence.length

    @property
    def threshold(self) -> float:
        """Largest sequence distance that is accepted, as far as is known by now."""
        return self._acceptance.threshold

    def push(self, image: images.View, stamp_ns: int,
             pose: np.ndarray | None = None) -> LoopResult | None:
        """Take in one image.

        Args:
            image: RGB uint8 ``[H, W, 3]``.
            stamp_ns: acquisition time.
            pose: odometry pose ``[7]``, meters; for all images or for none.

        Returns:
            The outcome, with numbers of earlier places as candidates, or None for an image between
            keyframes.

        Raises:
            InputError: the image or the pose cannot be used, or the drive has as many places as
                are allowed; what was collected is unharmed.
        """
        return self.push_lazily(lambda: image, stamp_ns, pose)

    def push_lazily(self, read: Callable[[], images.View], stamp_ns: int,
                    pose: np.ndarray | None = None) -> LoopResult | None:
        """Take in one image that is decoded only if it counts; otherwise as `push`."""
        query = self._pushed
        self._pushed += 1
        self._past.check_room()
        started = time.perf_counter()
        verdict = self._mapper.offer(read, stamp_ns, pose)
        describe_seconds = time.perf_counter() - started
        if verdict is Verdict.BETWEEN:
            return None
        if verdict is Verdict.STATIONARY:
            return LoopResult(query, stamp_ns, stamp_ns, (), Reason.STATIONARY, describe_seconds)
        started = time.perf_counter()
        place, first = self._add_newest()
        candidates: tuple[Candidate, ...] = ()
        reason = Reason.BUFFER_FILLING
        if self._engine.localization.method == 'filter':
            candidates, reason = self._follow(place)
        elif place - first + 1 >= self.sequence_length:
            candidates, reason = self._look_back(place)
        oldest = max(first, place - self.sequence_length + 1)
        return LoopResult(
            query, stamp_ns, self._mapper[oldest].stamp_ns, candidates, reason,
            describe_seconds, time.perf_counter() - started, place_id=place)

    def use_camera(self, camera: CameraModel) -> None:
        """Take the calibration of the camera, which becomes known late."""
        self._mapper.camera = camera
        if self._geometry is not None:
            self._geometry.camera = camera

    def picture(self, place: int) -> np.ndarray | None:
        """Return the picture of a place, RGB uint8 ``[H, W, 3]``; None where none are kept."""
        return self._mapper.picture(place)

    def pose(self, place: int) -> np.ndarray:
        """Return where a place is, ``[7]``."""
        return self._mapper[place].pose

    @property
    def positions(self) -> np.ndarray:
        """Positions of all places so far, float64 ``[N, 3]``, meters."""
        return self._past.positions

    @property
    def completeness(self) -> Completeness:
        """Missing images and holes of the drive so far."""
        return self._mapper.completeness

    def note_missing(self, images: int) -> None:
        """Note how many images are known to be missing, where stamps may not show it."""
        self._mapper.note_missing(images)

    def finish(self, source: str = '', pose_origin: str = '') -> PlaceMap:
        """Make the map of what was collected; more images may follow and a later map.

        Raises:
            InputError: no image became a place.
        """
        return self._mapper.finish(source, pose_origin)

    def _add_newest(self) -> tuple[int, int]:
        """Add the place just mapped to the past; return it and the first one of its stretch."""
        newest = self._mapper[-1]
        place = self._past.add(newest.descriptor, newest.pose, newest.segment_start)
        broken = newest.segment_start == place
        if broken:
            self._acceptance.forget()
            self._wrong.forget()
            if self._filter is not None:
                self._filter.note_break()
        old = self._recent.add(
            newest.stamp_ns, newest.pose[:3] if self._mapper.posed else None, broken)
        self._past.release(old)
        return place, newest.segment_start

    def _follow(self, place: int) -> tuple[tuple[Candidate, ...], Reason]:
        if self._filter is None:
            self._filter = LoopFilter(self._past, self._engine, self._mapper.posed, self._seen)
        candidates, reason, ranking = self._filter.search(place)
        if reason is not Reason.ACCEPTED:
            return candidates, reason
        match = Match(ranking, place, candidates)
        reason = weigh_geometry(match, self._confirm(match), self._engine)
        return match.candidates, reason

    def _confirm(self, match: Match) -> Reason:
        if self._geometry is not None:
            match.features = partial(self._mapper.features, match.keyframe)
        return self._acceptance.confirm(match)

    def _seen(self, place: int) -> tuple[int, np.ndarray]:
        return self._mapper[place].stamp_ns, self._mapper[place].pose

    def _look_back(self, place: int) -> tuple[tuple[Candidate, ...], Reason]:
        described = None if self._engine.matching.reverse else self._past.newest_sequence()
        ranking = self._search.search(
            self._past.window(place), self._acceptance.expected_speed,
            projected=self._past.projected_window(place), described=described)
        reason = self._acceptance.judge(ranking, place)
        candidates = self._candidates(ranking)
        self._learn(place, ranking)
        if reason is not Reason.ACCEPTED:
            return candidates, reason
        match = Match(ranking, place, candidates)
        reason = self._confirm(match)
        return match.candidates, reason

    def _learn(self, place: int, ranking: Ranking) -> None:
        """Learn from the newest search what wrong matches look like."""
        if self._mapper.posed:
            self._wrong.learn_by_position(place, ranking, self._past)
        elif len(ranking.places):
            self._wrong.learn_by_agreement(
                place, ranking, self._acceptance.agreement,
                self._drive.is_youngest(int(ranking.places[0])))
        if self._wrong.due:
            self._acceptance.calibrate(self._wrong.calibration(), self._by_distance_alone)

    @property
    def _by_distance_alone(self) -> bool:
        # Without positions those matches count as wrong that disagree; how many wrong ones agree is
        # not known then.
        return not self._mapper.posed

    def _candidates(self, ranking: Ranking) -> tuple[Candidate, ...]:
        return list_candidates(
            ranking, self._engine.matching.candidates, self._acceptance.score, self._seen)
