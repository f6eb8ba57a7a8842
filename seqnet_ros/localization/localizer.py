"""The one engine: images in, places out. Live node, replay and evaluation all call it."""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from seqnet_ros.config.engine import EngineConfig, KeyframeConfig, LocalizationConfig
from seqnet_ros.core.camera import CameraModel
from seqnet_ros.core.errors import DuplicateMapError, InputError
from seqnet_ros.core.images import View, first_image
from seqnet_ros.core.poses import check_pose, distance
from seqnet_ros.localization.acceptance.rule import Match
from seqnet_ros.localization.filter_search import FilterSearch, Keyframe
from seqnet_ros.localization.map_search import MapSearch, prepare_map
from seqnet_ros.localization.odometry_gate import OdometryGate
from seqnet_ros.localization.result import Candidate, MatchResult, Reason
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel
from seqnet_ros.sequences.aggregator import RollingDescriptor
from seqnet_ros.sequences.aggregators import describe_frames
from seqnet_ros.sequences.keyframes import KeyframeGate, Spacing, Verdict, keyframe_settings

_logger = logging.getLogger(__name__)

_NO_FRAMES: Mapping[str, str] = MappingProxyType({})


class _Frame(NamedTuple):
    """A frame of the sequence: ``[D]`` as described and, with a projection, ``[D'']``."""

    stamp_ns: int
    descriptor: np.ndarray
    projected: np.ndarray | None


class _Found(NamedTuple):
    """Candidates of one map."""

    search: MapSearch
    match: Match
    reason: Reason

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Best places of the map, in the order the rules left them."""
        return self.match.candidates

    @property
    def deviation(self) -> float:
        """Deviation of the best place from wrong matches on its map; infinite without a place.

        By this, distances in different maps are compared.
        """
        return self.search.acceptance.deviation(self.distance)

    @property
    def distance(self) -> float:
        """Sequence distance of the best place; infinite where there is none."""
        return self.candidates[0].sequence_distance if self.candidates else np.inf


class Localizer:
    """Finds the place of a robot in one map or several, one image at a time. Not thread-safe.

    Args:
        model: the model the maps were made with.
        maps: the maps to search.
        engine: the settings; None takes those of the model's file.
        camera: the calibrated camera of the images, of several the first, where it is known; only
            the geometric check uses it.
        overlapping: several maps may show the same places, so that a rival in another map does not
            make a match ambiguous.
        frames: name of the coordinate frame of each map, by the ids of the maps. Places of one
            frame are compared in space, whatever map they are in. Maps that are not named have a
            frame of their own.
        places: number of places of all maps that the robot may be on, where `maps` are those of
            them that are searched at present.

    Raises:
        MapModelMismatchError: a map was made with another model.
        MapError: the geometric check is requested and a map lacks the data for it.
        InputError: there is no map, or one twice.
    """

    def __init__(self, model: PlaceModel, maps: PlaceMap | Sequence[PlaceMap],
                 engine: EngineConfig | None = None, camera: CameraModel | None = None, *,
                 overlapping: bool = False, frames: Mapping[str, str] = _NO_FRAMES,
                 places: int | None = None) -> None:
        self.model = model
        engine = engine or model.engine
        self._frames = frames
        self._places = places
        self._overlapping = overlapping
        self._camera = camera
        self._pushed = 0
        self._keyframes = 0
        self._buffer: deque[_Frame] = deque()
        self._filter: FilterSearch | None = None
        self._odometry_gate = OdometryGate(engine.odometry_gate, engine.matching.reverse)
        maps = [maps] if isinstance(maps, PlaceMap) else list(maps)
        self._take(maps, self._prepare_all(maps, engine), engine)
        self._gate = KeyframeGate(*self._gate_settings())

    def use_maps(self, maps: Sequence[PlaceMap], engine: EngineConfig | None = None) -> None:
        """Search other maps from the next image on, with other settings where they are given.

        The images of the sequence stay, unless the new maps ask for another spacing. Maps that come
        from `prepare_map` with these settings cost no time here. Where it fails nothing changes.

        Raises:
            MapModelMismatchError: a map was made with another model.
            MapError: a map lacks data for the requested geometric check.
            InputError: there is no map, or one twice, or the model cannot describe sequences of
                this length.
        """
        spacing = self._spacing()
        engine = engine or self._engine
        before = {search.map_id: search for search in self._searches}
        self._take(list(maps), self._prepare_all(maps, engine), engine)
        self._gate.use(*self._gate_settings())
        if self._spacing() != spacing:
            self.reset()
        for search in self._searches:
            if search.map_id in before:
                search.go_on_from(before[search.map_id])
            else:
                for frame in self._buffer:
                    search.move_mean(frame.descriptor)

    def use_settings(self, engine: EngineConfig) -> None:
        """Go on with other settings; the images of the sequence and what was learned stay.

        Raises:
            InputError: the model cannot describe sequences of this length; nothing changes.
        """
        prepared = self._prepare(engine)
        before = self._searches
        self._take(self._sources, prepared, engine)
        for search, old in zip(self._searches, before, strict=True):
            search.go_on_from(old)
        self._gate.use(*self._gate_settings())

    def _take(self, sources: list[PlaceMap], prepared: list[PlaceMap],
              engine: EngineConfig) -> None:
        self._searches = [
            MapSearch(self.model, item, engine, self._camera, overlapping=self._overlapping)
            for item in prepared]
        self._filter = self._make_filter(engine)
        self._odometry_gate.use(engine.odometry_gate, engine.matching.reverse)
        self._engine = engine
        self._buffer = deque(self._buffer, maxlen=self.sequence_length)
        self._sources = sources
        self._prepared = {self.sequence_length: prepared}
        self._rolling = self._rolling_descriptor()

    def _make_filter(self, engine: EngineConfig) -> FilterSearch | None:
        if engine.localization.method != 'filter':
            return None
        made = FilterSearch(self._searches, engine, overlapping=self._overlapping,
                            frames=[self._frame(search.map_id) for search in self._searches],
                            places=self._places)
        if self._filter is not None:
            made.go_on_from(self._filter)
        return made

    def _frame(self, map_id: str) -> str:
        """Return the name of the coordinate frame of a map."""
        return self._frames.get(map_id, map_id)

    def _prepare_all(self, maps: Sequence[PlaceMap], engine: EngineConfig) -> list[PlaceMap]:
        if not maps:
            raise InputError('found no map to search, expected at least one')
        ids = [item.manifest.map_id for item in maps]
        for map_id in ids:
            if ids.count(map_id) > 1:
                raise DuplicateMapError(f'map {map_id} is given {ids.count(map_id)} times, '
                                        'expected different maps')
        return [prepare_map(item, self.model, engine) for item in maps]

    def _prepare(self, engine: EngineConfig) -> list[PlaceMap]:
        known = self._prepared.get(engine.sequence.length)
        present = self._engine
        calibrated = engine.matching == present.matching and (
            engine.localization.method != 'filter' or (
                present.localization.method == 'filter' and engine.filter == present.filter))
        if known is not None and calibrated:
            return known
        return self._prepare_all(self._sources, engine)

    def use_camera(self, camera: CameraModel | None) -> None:
        """Take another calibration for the images from now on, as when it becomes known late."""
        self._camera = camera
        for search in self._searches:
            if search.geometry is not None:
                search.geometry.camera = camera

    def _rolling_descriptor(self) -> RollingDescriptor | None:
        """Return what follows a drive frame by frame; a mean that moves on changes all frames."""
        if self.model.config.centring or self._filter is not None:
            return None
        rolling = self.model.aggregator.rolling(self.sequence_length, self.model.describer.dim)
        if rolling is None:
            return None
        for frame in self._buffer:
            rolling.push(self.model.prepare(frame.descriptor))
        return rolling

    def _move_means(self, descriptor: np.ndarray) -> None:
        for search in self._searches:
            search.move_mean(descriptor)

    def _gate_settings(self) -> tuple[KeyframeConfig, Spacing, float]:
        spacing = self._spacing()
        return (keyframe_settings(self._engine, spacing), spacing,
                self.map.manifest.usual_change)

    def _spacing(self) -> Spacing:
        every = self._engine.keyframes.every
        return Spacing.parse(self.map.manifest.spacing if every == 'auto' else every)

    @property
    def map(self) -> PlaceMap:
        """The map, or the first of several, which says how keyframes are spaced."""
        return self._searches[0].map

    @property
    def maps(self) -> dict[str, PlaceMap]:
        """All maps, by their ids."""
        return {search.map_id: search.map for search in self._searches}

    @property
    def sequence_length(self) -> int:
        """Frames per sequence."""
        return self._engine.sequence.length

    @property
    def buffer_fill(self) -> int:
        """Frames in the sequence buffer, 0 to `sequence_length`."""
        return len(self._buffer)

    @property
    def late_images(self) -> int:
        """Number of images left out because they are stamped before the newest one."""
        return self._gate.late

    @property
    def begins_anew(self) -> bool:
        """Whether the newest keyframe is the first one, or the first after a break."""
        return self._keyframes == 1

    @property
    def threshold(self) -> float:
        """Largest sequence distance that is accepted, in the first map."""
        return self._searches[0].acceptance.threshold

    def close(self) -> None:
        """Close what the engine opened itself: nothing, of maps that it was given."""

    def reset(self) -> None:
        """Clear the sequence, as after a break; the maps and the mean descriptor stay."""
        self._gate.forget()
        self._clear_sequence()
        if self._filter is not None:
            self._filter.clear()

    @property
    def belief(self) -> np.ndarray | None:
        """Probability of each place, of all maps one after the other, float64 ``[N]``.

        None for the sequence search, which has no belief.
        """
        return None if self._filter is None else self._filter.marginal

    def _clear_sequence(self) -> None:
        self._buffer.clear()
        if self._rolling is not None:
            self._rolling.clear()
        for search in self._searches:
            search.acceptance.forget()
        self._odometry_gate.forget()
        if self._filter is not None:
            self._filter.note_break()
        self._keyframes = 0

    def find(self, images: Sequence[View]) -> MatchResult:
        """Localize a sequence of images on its own; the sequence of the drive does not change.

        Fewer images than `sequence_length` are matched as a shorter sequence; of more the last
        ones count. There are no earlier sequences that could agree, so the threshold alone, which
        is the stricter then, and the margin decide.

        Args:
            images: RGB uint8 ``[H, W, 3]`` each, oldest first, at the places' usual spacing.

        Raises:
            InputError: there is no image, one cannot be used, or the model cannot describe so few.
        """
        if not len(images):
            raise InputError('found no image to localize, expected at least one')
        images = images[-self.sequence_length:]
        alone = self._engine.with_length(len(images)).model_copy(update={
            'keyframes': KeyframeConfig(every='1', min_change=0.0),
            'localization': LocalizationConfig(method='sequence'),
            'acceptance': self._engine.acceptance.model_copy(
                update={'agreement': 1, 'agreement_window': 1})})
        maps = self._maps_for(images, alone)
        finder = Localizer(self.model, maps, alone, self._camera,
                           overlapping=self._overlapping, frames=self._frames)
        for number, image in enumerate(images):
            result = finder.push(image, number)
        assert result is not None
        return result

    def _maps_for(self, images: Sequence[View], engine: EngineConfig) -> list[PlaceMap]:
        """Return the maps to find images in, prepared for these settings."""
        maps = self._prepare(engine)
        # Those of one other length are kept: whoever asks again has as many images.
        self._prepared = {self.sequence_length: self._prepared[self.sequence_length],
                          len(images): maps}
        return maps

    def push(self, image: View, stamp_ns: int,
             pose: np.ndarray | None = None) -> MatchResult | None:
        """Take in one image.

        Args:
            image: RGB uint8 ``[H, W, 3]``, or one of each camera of the model.
            stamp_ns: acquisition time.
            pose: odometry pose ``[7]``, meters; only distances between such poses are used.

        Returns:
            The outcome, or None for an image between keyframes.

        Raises:
            InputError: the image or the pose cannot be used; the sequence is unharmed.
            MapError: another program has changed a map that is in use, or it is damaged.
        """
        return self.push_lazily(lambda: image, stamp_ns, pose)

    def push_lazily(self, read: Callable[[], View], stamp_ns: int,
                    pose: np.ndarray | None = None) -> MatchResult | None:
        """Take in one image that is decoded only if it counts; otherwise as `push`."""
        pose = None if pose is None else check_pose(pose)
        query = self._pushed
        self._pushed += 1
        broken = self._gate.interrupted(stamp_ns, pose)
        if broken is not None:
            _logger.info('sequence cleared: %s', broken)
            self._clear_sequence()
        image: View = ()
        describe_seconds = 0.0

        def describe() -> np.ndarray:
            nonlocal image, describe_seconds
            image = read()
            for search in self._searches:
                search.check_image(first_image(image))
            started = time.perf_counter()
            descriptor = self.model.describe(image)
            describe_seconds = time.perf_counter() - started
            return descriptor

        verdict, descriptor = self._gate.consider(stamp_ns, pose, describe)
        if verdict is Verdict.BETWEEN:
            return None
        if verdict is Verdict.STATIONARY:
            return self._without_match(query, stamp_ns, Reason.STATIONARY, describe_seconds)
        assert descriptor is not None
        result = self._match(
            query, stamp_ns, descriptor, first_image(image), pose, describe_seconds)
        return self._gated(result, pose)

    def _gated(self, result: MatchResult, odometry: np.ndarray | None) -> MatchResult:
        """Hold a match back that contradicts odometry, where both are in meters."""
        self._odometry_gate.move(odometry)
        best = result.best
        if not result.accepted or best is None or not self.maps[best.map_id].manifest.has_poses:
            return result
        pose = best.pose if result.pose is None else result.pose
        if self._odometry_gate.passes(self._frame(best.map_id), pose, odometry):
            return result
        return replace(result, reason=Reason.ODOMETRY)

    def _match(self, query: int, stamp_ns: int, descriptor: np.ndarray, image: np.ndarray,
               pose: np.ndarray | None, describe_seconds: float) -> MatchResult:
        started = time.perf_counter()
        for search in self._searches:
            search.map.check_unchanged()
        self._buffer.append(_Frame(stamp_ns, descriptor, self._project(descriptor)))
        self._keyframes += 1
        self._move_means(descriptor)
        described = (None if self._rolling is None
                     else self._rolling.push(self.model.prepare(descriptor)))
        if self._filter is not None:
            answer = self._filter.search(
                Keyframe(
                    self._compared(), [frame.descriptor for frame in self._buffer], pose,
                    self._keyframes, image))
            estimate = answer.estimate
            return MatchResult(
                query, stamp_ns, self._buffer[0].stamp_ns, answer.candidates, answer.reason,
                describe_seconds, time.perf_counter() - started, answer.off_map,
                None if estimate is None else estimate.pose,
                None if estimate is None else estimate.position_covariance)
        if len(self._buffer) < self.sequence_length:
            return self._without_match(query, stamp_ns, Reason.BUFFER_FILLING, describe_seconds)
        candidates, reason = self._search(image, described)
        return MatchResult(
            query, stamp_ns, self._buffer[0].stamp_ns, candidates, reason,
            describe_seconds, time.perf_counter() - started)

    def _search(self, image: np.ndarray,
                described: np.ndarray | None) -> tuple[tuple[Candidate, ...], Reason]:
        """Search all maps and say what to believe."""
        frames = [frame.descriptor for frame in self._buffer]
        projected = self._projected_window()
        found = []
        for search in self._searches:
            ranking = search.rank(frames, projected, described)
            reason = search.judge(ranking, self._keyframes)
            candidates = search.candidates(ranking, self._engine.matching.candidates)
            found.append(_Found(search, Match(ranking, self._keyframes, candidates), reason))
        found.sort(key=lambda item: item.deviation)
        best, others = found[0], found[1:]
        reason = best.reason
        if reason is Reason.ACCEPTED:
            best.match.rival_distance = min(
                (self._rival_distance(best, other) for other in others), default=np.inf)
            reason = best.search.confirm(best.match, image)
        return self._joined(best.candidates, others), reason

    def _rival_distance(self, best: _Found, other: _Found) -> float:
        """Return the sequence distance of the best other place of another map.

        Where maps share their coordinates, both may show the place.
        """
        candidates = other.candidates
        if self._frame(best.search.map_id) == self._frame(other.search.map_id):
            place, merge_m = best.candidates[0].pose, best.search.merge_m
            candidates = tuple(one for one in candidates if distance(one.pose, place) > merge_m)
        return candidates[0].sequence_distance if candidates else np.inf

    def _joined(self, best: tuple[Candidate, ...],
                others: Sequence[_Found]) -> tuple[Candidate, ...]:
        """Return the candidates of all maps: the best, then by how unusual they are."""
        if not others:
            return best
        rest = [candidate for found in others for candidate in found.candidates] + list(best[1:])
        by_map = {search.map_id: search.acceptance for search in self._searches}
        rest.sort(key=lambda item: by_map[item.map_id].deviation(item.sequence_distance))
        return (*best[:1], *rest)[:self._engine.matching.candidates]

    def _compared(self) -> list[np.ndarray]:
        """Return for each map the newest frame as it is compared with its places."""
        newest = self._buffer[-1]
        if newest.projected is not None:
            return [newest.projected] * len(self._searches)
        return [search.prepare(newest.descriptor) for search in self._searches]

    def _project(self, descriptor: np.ndarray) -> np.ndarray | None:
        """Describe a frame for sequence matching: once, however long it stays in the sequence."""
        if self.model.projection is None:
            return None
        return describe_frames(self.model.projection, self.model.prepare(descriptor[None]))[0]

    def _projected_window(self) -> np.ndarray | None:
        frames = [frame.projected for frame in self._buffer if frame.projected is not None]
        return np.stack(frames) if frames else None

    def _without_match(self, query: int, stamp_ns: int, reason: Reason,
                       describe_seconds: float) -> MatchResult:
        oldest = self._buffer[0].stamp_ns if self._buffer else stamp_ns
        return MatchResult(query, stamp_ns, oldest, (), reason, describe_seconds)
