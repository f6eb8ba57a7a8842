"""The one engine: images in, places out. Live node, replay and evaluation all call it."""

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seqnet_ros.camera import CameraModel
from seqnet_ros.config import ModelConfig
from seqnet_ros.maps.builder import with_sequence_length
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.storage import check_model
from seqnet_ros.matching.acceptance import Acceptance
from seqnet_ros.matching.calibration import calibrate
from seqnet_ros.matching.geometry import GeometricCheck
from seqnet_ros.matching.result import Candidate, MatchResult, Reason
from seqnet_ros.matching.retrieval import HierarchicalSearch, Ranking
from seqnet_ros.place_model import PlaceModel
from seqnet_ros.poses import check_pose
from seqnet_ros.sequences.aggregators import describe_frames
from seqnet_ros.sequences.centring import RunningMean
from seqnet_ros.sequences.jist_aggregators import SeqGeM
from seqnet_ros.sequences.keyframes import KeyframeGate, Spacing, Verdict
from seqnet_ros.sequences.rolling import RollingSeqGeM

_logger = logging.getLogger(__name__)


class _Keyframe(NamedTuple):
    """A frame of the sequence: ``[D]`` as described and, with a projection, ``[D'']``."""

    stamp_ns: int
    descriptor: np.ndarray
    projected: np.ndarray | None


class Localizer:
    """Finds the place of a robot in a map, one image at a time. Not thread-safe.

    Args:
        model: the model the map was made with.
        place_map: where to look.
        settings: sequence length, keyframes, matching and acceptance to use in place of those of
            the model's file, and geometry; a `ModelConfig` whose other fields are not looked at.
        camera: the calibrated camera of the images, where it is known; only the geometric check
            uses it.

    Raises:
        MapModelMismatchError: the map was made with another model.
        MapError: the geometric check is asked for and the map keeps nothing to check against.
    """

    def __init__(self, model: PlaceModel, place_map: PlaceMap,
                 settings: ModelConfig | None = None, camera: CameraModel | None = None) -> None:
        self.model = model
        self._settings = settings or model.config
        self._camera = camera
        self._pushed = 0
        self.use_map(place_map)

    def use_map(self, place_map: PlaceMap) -> None:
        """Look in another map from now on; the sequence starts anew.

        Raises:
            MapModelMismatchError: the map was made with another model.
            MapError: the map keeps nothing for the geometric check that is asked for.
        """
        check_model(place_map.manifest, self.model, 'the map')
        settings = self._settings
        geometry = None if settings.geometry is None else GeometricCheck(
            settings.geometry, self._camera, place_map)
        self.map = with_sequence_length(place_map, self.model, settings.sequence.length)
        calibration = self.map.manifest.calibration
        if calibration is None or calibration.matching != settings.matching:
            calibration = calibrate(self.model, self.map, settings.matching)
        self._search = HierarchicalSearch(self.model, self.map, settings.matching)
        self._acceptance = Acceptance(
            settings.acceptance, calibration, self.map.poses[:, :3])
        self._mean = RunningMean(self.map.mean) if self.model.config.centring else None
        self._gate = KeyframeGate(settings.keyframes, self._spacing(),
                                  self.map.manifest.usual_change)
        self._buffer: deque[_Keyframe] = deque(maxlen=settings.sequence.length)
        self._rolling = self._rolling_descriptor()
        self._keyframes = 0
        self._geometry = geometry

    def use_camera(self, camera: CameraModel | None) -> None:
        """Take another calibration for the images from now on, as when it becomes known late."""
        self._camera = camera
        if self._geometry is not None:
            self._geometry.camera = camera

    def _rolling_descriptor(self) -> RollingSeqGeM | None:
        """Return what follows SeqGeM frame by frame; a mean that moves on changes all frames."""
        if self._mean is not None or not isinstance(self.model.aggregator, SeqGeM):
            return None
        return RollingSeqGeM(
            self.model.aggregator, self.sequence_length, self.model.describer.dim)

    def _spacing(self) -> Spacing:
        every = self._settings.keyframes.every
        return Spacing.parse(self.map.manifest.spacing if every == 'auto' else every)

    @property
    def sequence_length(self) -> int:
        """Frames per sequence."""
        return self._settings.sequence.length

    @property
    def buffer_fill(self) -> int:
        """Frames in the sequence buffer, 0 to `sequence_length`."""
        return len(self._buffer)

    @property
    def threshold(self) -> float:
        """Largest sequence distance that is accepted."""
        return self._acceptance.threshold

    def reset(self) -> None:
        """Clear the sequence, as after a break; the map and the mean descriptor stay."""
        self._gate.forget()
        self._clear_sequence()

    def _clear_sequence(self) -> None:
        self._buffer.clear()
        if self._rolling is not None:
            self._rolling.clear()
        self._acceptance.forget()
        self._keyframes = 0

    def push(self, image: np.ndarray, stamp_ns: int,
             pose: np.ndarray | None = None) -> MatchResult | None:
        """Take in one image.

        Args:
            image: RGB uint8 ``[H, W, 3]``.
            stamp_ns: acquisition time.
            pose: odometry pose ``[7]``, metres; only distances between such poses are used.

        Returns:
            The outcome, or None for an image between keyframes.

        Raises:
            InputError: the image or the pose cannot be used; the sequence is unharmed.
        """
        return self.push_lazily(lambda: image, stamp_ns, pose)

    def push_lazily(self, read: Callable[[], np.ndarray], stamp_ns: int,
                    pose: np.ndarray | None = None) -> MatchResult | None:
        """Take in one image that is decoded only if it counts; otherwise as `push`."""
        pose = None if pose is None else check_pose(pose)
        query = self._pushed
        self._pushed += 1
        broken = self._gate.interrupted(stamp_ns, pose)
        if broken is not None:
            _logger.info('sequence cleared: %s', broken)
            self._clear_sequence()
        verdict = self._gate.before_describing(stamp_ns, pose)
        if verdict is Verdict.BETWEEN:
            return None
        if verdict is Verdict.STATIONARY:
            return self._without_match(query, stamp_ns, Reason.STATIONARY, 0.0)
        image = read()
        if self._geometry is not None:
            self._geometry.check_image(image)
        started = time.perf_counter()
        descriptor = self.model.describer.describe([image])[0]
        describe_seconds = time.perf_counter() - started
        if verdict is None:
            verdict = self._gate.by_descriptor(descriptor)
            if verdict is Verdict.BETWEEN:
                return None
            if verdict is Verdict.STATIONARY:
                return self._without_match(query, stamp_ns, Reason.STATIONARY, describe_seconds)
        self._gate.admit(stamp_ns, pose, descriptor)
        return self._match(query, stamp_ns, descriptor, image, describe_seconds)

    def _match(self, query: int, stamp_ns: int, descriptor: np.ndarray, image: np.ndarray,
               describe_seconds: float) -> MatchResult:
        started = time.perf_counter()
        self._buffer.append(_Keyframe(stamp_ns, descriptor, self._project(descriptor)))
        self._keyframes += 1
        if self._mean is not None:
            self._mean.add(descriptor)
        described = (None if self._rolling is None
                     else self._rolling.push(self.model.prepare(descriptor)))
        if len(self._buffer) < self.sequence_length:
            return self._without_match(query, stamp_ns, Reason.BUFFER_FILLING, describe_seconds)
        ranking = self._search.search(
            self._window(), self._acceptance.expected_speed, projected=self._projected_window(),
            described=described)
        reason = self._acceptance.judge(ranking, self._keyframes)
        candidates = self._candidates(ranking)
        if reason is Reason.ACCEPTED and self._geometry is not None:
            candidates, reason = self._geometry.confirm(image, candidates)
        return MatchResult(
            query, stamp_ns, self._buffer[0].stamp_ns, candidates, reason,
            describe_seconds, time.perf_counter() - started)

    def _project(self, descriptor: np.ndarray) -> np.ndarray | None:
        """Describe a frame for sequence matching: once, however long it stays in the sequence."""
        if self.model.projection is None:
            return None
        return describe_frames(self.model.projection, self.model.prepare(descriptor[None]))[0]

    def _window(self) -> np.ndarray:
        mean = None if self._mean is None else self._mean.value
        return self.model.prepare(np.stack([frame.descriptor for frame in self._buffer]), mean)

    def _projected_window(self) -> np.ndarray | None:
        frames = [frame.projected for frame in self._buffer if frame.projected is not None]
        return np.stack(frames) if frames else None

    def _candidates(self, ranking: Ranking) -> tuple[Candidate, ...]:
        return tuple(
            Candidate(int(place), int(self.map.stamps_ns[place]), self.map.poses[place].copy(),
                      float(coarse), float(fine), self._acceptance.score(float(fine)))
            for place, coarse, fine in zip(
                ranking.places, ranking.descriptor_distances, ranking.sequence_distances,
                strict=True))[:self._settings.matching.candidates]

    def _without_match(self, query: int, stamp_ns: int, reason: Reason,
                       describe_seconds: float) -> MatchResult:
        oldest = self._buffer[0].stamp_ns if self._buffer else stamp_ns
        return MatchResult(query, stamp_ns, oldest, (), reason, describe_seconds)
