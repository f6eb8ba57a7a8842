"""Localization with the place filter: one belief over the places of all maps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.core.carried_pose import CarriedPose
from seqnet_ros.localization.acceptance.rule import Match
from seqnet_ros.localization.filter_decision import decide, ranking_of, weigh_geometry
from seqnet_ros.localization.map_search import MapSearch
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.sequence_distances import SequenceDistances
from seqnet_ros.maps.states import frame_distances, state_space
from seqnet_ros.place_filter.active_states import (
    ActiveStates,
    choose_states,
    joint_sample,
    origins,
    spread_sample,
)
from seqnet_ros.place_filter.anchor import Anchor
from seqnet_ros.place_filter.place_filter import Hypothesis, PlaceFilter, Step
from seqnet_ros.place_filter.pose_estimate import PoseEstimate, estimate_pose

_EXACT_BYTES = 48 << 20
_EXACT_PLACES = 16_384
"""Up to this size all places are compared with every keyframe."""
_GATHERED_BYTES = 16 << 20
"""Up to this size the frames that matter for a keyframe are kept for the next."""
_FOUND = 64
_SEARCHED_EVERY = 5
_LOST = 0.01
_NO_PLACES = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Keyframe:
    """The newest keyframe.

    Attributes:
        frames: for each map the frame as it is compared with its places, float32 ``[D'']``; they
            differ by the mean that is subtracted.
        window: descriptors ``[D]`` of the last keyframes as described, oldest first.
        pose: odometry pose ``[7]``, meters; None without odometry.
        number: its number since the start.
        image: RGB uint8 ``[H, W, 3]``, for the geometric check.
    """

    frames: Sequence[np.ndarray]
    window: Sequence[np.ndarray]
    pose: np.ndarray | None
    number: int
    image: np.ndarray


@dataclass(frozen=True)
class Answer:
    """Result of the filter for a keyframe.

    Attributes:
        candidates: distinct places, most probable first.
        reason: why the first is accepted or rejected.
        off_map: probability that the robot is off the map.
        estimate: where the robot is, if the first candidate is right; None without candidates.
    """

    candidates: tuple[Candidate, ...]
    reason: Reason
    off_map: float
    estimate: PoseEstimate | None


class _Gathered(NamedTuple):
    """Frames ``[K, D]`` of some places ``[K]`` of a large map, ascending, in memory."""

    places: np.ndarray
    frames: np.ndarray

    @classmethod
    def sample(cls, place_map: PlaceMap) -> '_Gathered':
        """Return what a map keeps in memory, nothing of a map that is there as a whole."""
        frames = place_map.matching_frames
        if not isinstance(frames, np.memmap):
            return cls(_NO_PLACES, frames[:0])
        return cls(spread_sample(len(place_map)), place_map.sampled_frames)


class FilterSearch:
    """Follows the robot in the places of all maps.

    Args:
        searches: the maps, each with its rules and its geometric check.
        engine: the settings.
        overlapping: several maps may show the same places, so that belief in another map does not
            make a place less probable.
        frames: name of the coordinate frame of each map; empty where each has its own.
        places: places of all maps that the robot may be on, see `Localizer`.
    """

    def __init__(self, searches: Sequence[MapSearch], engine: EngineConfig, *,
                 overlapping: bool = False, frames: Sequence[str] = (),
                 places: int | None = None) -> None:
        self._searches = searches
        self._engine = engine
        self._maps = [search.map for search in searches]
        self._whole = state_space(self._maps, frames, places)
        weighs_sequences = engine.filter.sequence_share > 0 and all(
            search.has_trained_sequences for search in searches)
        self._active = self._all_states(weighs_sequences)
        self._sequences = [SequenceDistances(place_map, not self._sparse)
                           for place_map in self._maps if weighs_sequences]
        self._filter = PlaceFilter(
            self._active.space, engine.filter, engine.matching.reverse,
            [_bias(place_map) for place_map in self._maps], overlapping=overlapping)
        self._gathered = [_Gathered(_NO_PLACES, place_map.matching_frames[:0])
                          for place_map in self._maps]
        self._scenes = [place_map.scene_change for place_map in self._maps]
        self._last: Keyframe | None = None
        self._anchor: Anchor | None = None
        self._unsearched = _SEARCHED_EVERY

    @property
    def map_ids(self) -> list[str]:
        """Ids of the maps, in their order."""
        return [search.map_id for search in self._searches]

    @property
    def marginal(self) -> np.ndarray:
        """Probability of each place, of all maps one after the other, float64 ``[N]``."""
        marginal = np.zeros(len(self._whole))
        marginal[self._active.places] = self._filter.marginal
        return marginal

    def go_on_from(self, other: 'FilterSearch') -> None:
        """Take over the belief of another search for the maps that both search."""
        marginal, known = np.zeros(len(self._whole)), other.marginal
        there = np.full(len(self._whole), -1)
        parts = dict(zip(other.map_ids, other._whole.slices(), strict=True))
        for map_id, part in zip(self.map_ids, self._whole.slices(), strict=True):
            if map_id in parts:
                marginal[part] = known[parts[map_id]]
                there[part] = np.arange(parts[map_id].start, parts[map_id].stop)
        if self._sparse:
            held = np.flatnonzero(marginal)
            self._active = choose_states(
                self._whole, self._sample, marginal[held], held, _NO_PLACES)
        self._filter.go_on_from(other._filter, self._active.space, origins(
            other._active.places, there[self._active.places]))
        gathered = dict(zip(other.map_ids, other._gathered, strict=True))
        self._gathered = [gathered.get(map_id, own) for map_id, own in zip(
            self.map_ids, self._gathered, strict=True)]
        self._last = None if other._last is None else self._as_compared(other._last, other.map_ids)
        self._anchor = None if other._anchor is None else self._anchored(other._anchor, other)

    def _as_compared(self, keyframe: Keyframe, map_ids: Sequence[str]) -> Keyframe:
        """Return a keyframe that was compared with other maps as it is compared with these."""
        known = dict(zip(map_ids, keyframe.frames, strict=True))
        return replace(keyframe, frames=[
            known[search.map_id] if search.map_id in known else
            search.compare(keyframe.window[-1], keyframe.frames[0]) for search in self._searches])

    def _anchored(self, anchor: Anchor, other: 'FilterSearch') -> Anchor | None:
        """Return a fix in a map that is searched here too, or whose coordinates one of these has.

        None where it says nothing of these maps.
        """
        ids = {other.map_ids[number] for number in other._whole.sharing(anchor.map_number)}
        found = [number for number, map_id in enumerate(self.map_ids) if map_id in ids]
        return Anchor(found[0], anchor.carried) if found else None

    def note_break(self) -> None:
        """Note that the recording broke off: the robot may be anywhere when it goes on."""
        self._filter.note_break()

    def clear(self) -> None:
        """Drop the belief."""
        self._filter.clear()
        self._last = None
        self._anchor = None

    def search(self, keyframe: Keyframe) -> Answer:
        """Move the belief on to a keyframe, and say where the robot is.

        Raises:
            MapError: a map was changed meanwhile, or an accepted place of it is damaged.
        """
        # Large maps need it to find places, trained sequences as evidence; others do without.
        describe = cache(lambda number: self._searches[number].describe_sequence(keyframe.window))
        if self._sparse:
            self._activate(describe)
        self._filter.predict(self._step(keyframe))
        distances = np.concatenate([
            frame_distances(self._frames(number), frame)
            for number, frame in enumerate(keyframe.frames)])
        self._filter.update(distances, self._active.sample if self._sparse else None,
                            self._sequence_distances(keyframe, describe))
        self._last = keyframe
        hypotheses = self._filter.hypotheses(max(self._engine.matching.candidates, 2))
        for search in self._searches:
            search.map.check_unchanged()
        if not hypotheses:
            return Answer((), Reason.NO_CANDIDATES, self._filter.off_map, None)
        located = [self._locate(hypothesis) for hypothesis in hypotheses]
        candidates = tuple(
            _candidate(search, place, float(distances[hypothesis.state]), hypothesis.probability)
            for hypothesis, (search, place) in zip(hypotheses, located, strict=True))
        of_place = {(search.map_id, place): hypothesis for hypothesis, (search, place) in zip(
            hypotheses, located, strict=True)}
        candidates = candidates[:self._engine.matching.candidates]
        reason = decide(self._filter, hypotheses, self._engine)
        if reason is Reason.ACCEPTED:
            candidates, reason = self._confirm(*located[0], candidates, keyframe)
        best = of_place[candidates[0].map_id, candidates[0].place_id]
        estimate = self._estimate(best)
        number = self._active.space.map_of(best.state)
        if (reason is Reason.ACCEPTED and keyframe.pose is not None
                and self._whole.posed[number]):
            self._anchor = Anchor(number, CarriedPose(estimate.pose, keyframe.pose))
        return Answer(candidates, reason, self._filter.off_map, estimate)

    def _confirm(self, search: MapSearch, place: int, candidates: tuple[Candidate, ...],
                 keyframe: Keyframe) -> tuple[tuple[Candidate, ...], Reason]:
        """Let the rules judge the best candidates of one map; the others keep their places."""
        search.verify(place)
        own = tuple(one for one in candidates if one.map_id == search.map_id)
        match = Match(ranking_of(own), keyframe.number, own)
        reason = weigh_geometry(match, search.confirm(match, keyframe.image), self._engine)
        judged = iter(match.candidates)
        return tuple(next(judged) if one.map_id == search.map_id else one
                     for one in candidates), reason

    def _step(self, keyframe: Keyframe) -> Step:
        last = self._last
        if last is None:
            return Step()
        if keyframe.pose is None or self._filter.broken:
            self._anchor = None
        elif self._anchor is not None:
            self._anchor.carried.move(keyframe.pose)
        changes = [scene.log_ratio(float(frame @ before)) for scene, frame, before in zip(
            self._scenes, keyframe.frames, last.frames, strict=True)]
        return Step.between(last.pose, keyframe.pose, float(np.mean(changes)), self._anchor)

    def _all_states(self, weighs_sequences: bool) -> ActiveStates:
        """Return the places to start with: all, or of a large map those of the sample."""
        compared = [place_map.matching_frames for place_map in self._maps]
        if weighs_sequences:
            compared += [place_map.sequences for place_map in self._maps]
        size = sum(array.shape[0] * array.shape[1] * array.itemsize for array in compared)
        self._sparse = size > _EXACT_BYTES or len(self._whole) > _EXACT_PLACES
        self._sample = joint_sample(self._whole.bounds)
        if self._sparse:
            return choose_states(self._whole, self._sample, np.zeros(0), _NO_PLACES, _NO_PLACES)
        return ActiveStates(np.arange(len(self._whole)), self._whole, self._sample)

    def _activate(self, describe: Callable[[int], np.ndarray]) -> None:
        """Choose the places that matter for a keyframe.

        Args:
            describe: returns the newest sequence as a map of this number describes it.
        """
        found = [_NO_PLACES]
        self._unsearched += 1
        if self._filter.off_map > _LOST or self._unsearched >= _SEARCHED_EVERY:
            self._unsearched = 0
            found = [
                (place_map.entries or place_map.index).search(describe(number), _FOUND)[1] + first
                for number, (place_map, first) in enumerate(zip(
                    self._maps, self._whole.bounds, strict=False))]
        before = self._active
        self._active = choose_states(self._whole, self._sample, self._filter.marginal,
                                     before.places, np.concatenate(found), before)
        if self._active is not before:
            self._filter.use_states(
                self._active.space, origins(before.places, self._active.places))

    def _frames(self, number: int) -> np.ndarray:
        """Return the frames of the places of a map that matter, float32 ``[K, D]``."""
        frames, places = self._maps[number].matching_frames, self._places(number)
        if places is None:
            return frames
        # Most places matter for many keyframes: reading them all over the map again takes longer.
        known = self._gathered[number]
        if np.array_equal(known.places, places):
            return known.frames
        rows = np.empty((len(places), frames.shape[1]), frames.dtype)
        unread = np.ones(len(places), dtype=bool)
        for kept in (known, _Gathered.sample(self._maps[number])):
            origin = origins(kept.places, places)
            here = unread & (origin >= 0)
            rows[here] = kept.frames[origin[here]]
            unread &= ~here
        rows[unread] = self._maps[number].read_frames(places[unread])
        if rows.nbytes <= _GATHERED_BYTES:
            self._gathered[number] = _Gathered(places, rows)
        return rows

    def _places(self, number: int) -> np.ndarray | None:
        """Return the places of a map that matter, int64 ``[K]``; None for all."""
        if not self._sparse:
            return None
        bounds = self._active.space.bounds
        places = self._active.places[bounds[number]:bounds[number + 1]]
        return places - self._whole.bounds[number]

    def _sequence_distances(self, keyframe: Keyframe,
                            describe: Callable[[int], np.ndarray]) -> np.ndarray | None:
        """Return the distances of the newest sequence, ``[K]``; None where they are no evidence."""
        length = self._maps[0].manifest.sequence_length
        if not self._sequences or len(keyframe.window) < length:
            return None
        return np.concatenate([
            sequences.to(describe(number), self._places(number))
            for number, sequences in enumerate(self._sequences)])

    def _locate(self, hypothesis: Hypothesis) -> tuple[MapSearch, int]:
        number = self._active.space.map_of(hypothesis.state)
        place = int(self._active.places[hypothesis.state]) - self._whole.bounds[number]
        return self._searches[number], place

    def _estimate(self, hypothesis: Hypothesis) -> PoseEstimate:
        space, reach = self._filter.space, self._engine.filter.tolerance
        first = max(hypothesis.state - reach, int(space.starts[hypothesis.state]))
        states = np.arange(first, min(hypothesis.state + reach + 1, len(space)))
        states = states[space.starts[states] == space.starts[hypothesis.state]]
        return estimate_pose(self._filter.marginal[states], space.poses, first)


def _bias(place_map: PlaceMap) -> float:
    calibration = place_map.manifest.filter_calibration
    assert calibration is not None
    return calibration.bias


def _candidate(search: MapSearch, place: int, frame_distance: float, score: float) -> Candidate:
    place_map = search.map
    return Candidate(place, int(place_map.stamps_ns[place]), place_map.poses[place].copy(),
                     frame_distance, frame_distance, score, search.map_id)
