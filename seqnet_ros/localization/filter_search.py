"""Localization with the place filter: one belief over the places of all maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.core.poses import distance
from seqnet_ros.localization.acceptance.rule import Match
from seqnet_ros.localization.filter_decision import JUMP, decide, ranking_of
from seqnet_ros.localization.map_search import MapSearch
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.maps.states import frame_distances, state_space
from seqnet_ros.place_filter.place_filter import Hypothesis, PlaceFilter, Step
from seqnet_ros.place_filter.pose_estimate import PoseEstimate, estimate_pose
from seqnet_ros.place_filter.scene_change import SceneChange


@dataclass(frozen=True)
class Keyframe:
    """The newest keyframe.

    Attributes:
        frames: for each map the frame as it is compared with its places, float32 ``[D'']``; they
            differ by the mean that is subtracted.
        pose: odometry pose ``[7]``, meters; None without odometry.
        number: its number since the start.
        image: RGB uint8 ``[H, W, 3]``, for the geometric check.
    """

    frames: Sequence[np.ndarray]
    pose: np.ndarray | None
    number: int
    image: np.ndarray


@dataclass(frozen=True)
class Answer:
    """What the filter says of a keyframe.

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


class FilterSearch:
    """Follows the robot in the places of all maps.

    Args:
        searches: the maps, each with its rules and its geometric check.
        engine: the settings.
    """

    def __init__(self, searches: Sequence[MapSearch], engine: EngineConfig) -> None:
        self._searches = searches
        self._engine = engine
        self._maps = [search.map for search in searches]
        self._filter = PlaceFilter(
            state_space(self._maps), engine.filter, engine.matching.reverse,
            [_bias(place_map) for place_map in self._maps])
        self._scene = SceneChange.of_drive(
            self._maps[0].matching_frames, self._maps[0].segment_starts)
        self._last: Keyframe | None = None
        self._jump = 0.0

    @property
    def marginal(self) -> np.ndarray:
        """Probability of each place, of all maps one after the other, float64 ``[N]``."""
        return self._filter.marginal

    @property
    def off_map(self) -> float:
        """Probability that the robot is off the map."""
        return self._filter.off_map

    def go_on_from(self, other: 'FilterSearch') -> None:
        """Keep what another search knows of the places of maps that both search."""
        places = {search.map_id: part for search, part in zip(
            other._searches, other._filter.space.slices(), strict=True)}
        parts = [(part, places[search.map_id]) for search, part in zip(
            self._searches, self._filter.space.slices(), strict=True)
            if search.map_id in places]
        self._filter.go_on_from(other._filter, parts)
        self._last, self._jump = other._last, other._jump

    def note_break(self) -> None:
        """Note that the recording broke off: the robot may be anywhere when it goes on."""
        self._jump = JUMP

    def clear(self) -> None:
        """Drop the belief."""
        self._filter.clear()
        self._last = None
        self._jump = 0.0

    def search(self, keyframe: Keyframe) -> Answer:
        """Move the belief on to a keyframe, and say where the robot is.

        Raises:
            MapError: a map was changed meanwhile, or an accepted place of it is damaged.
        """
        self._filter.predict(self._step(keyframe))
        distances = [frame_distances(search.map.matching_frames, frame)
                     for search, frame in zip(self._searches, keyframe.frames, strict=True)]
        self._filter.update({'frame': np.concatenate(distances)})
        self._last, self._jump = keyframe, 0.0
        hypotheses = self._filter.hypotheses(max(self._engine.matching.candidates, 2))
        for search in self._searches:
            search.map.check_unchanged()
        if not hypotheses:
            return Answer((), Reason.NO_CANDIDATES, self._filter.off_map, None)
        located = [self._locate(hypothesis) for hypothesis in hypotheses]
        candidates = tuple(
            _candidate(search, place, float(distances[number][place]), hypothesis.probability)
            for hypothesis, (number, search, place) in zip(hypotheses, located, strict=True))
        candidates = candidates[:self._engine.matching.candidates]
        reason = decide(self._filter, hypotheses, self._engine.acceptance)
        if reason is Reason.ACCEPTED:
            _, search, place = located[0]
            search.verify(place)
            ranking = ranking_of(candidates, search.map_id)
            match = Match(ranking, keyframe.number, candidates)
            reason = search.confirm(match, keyframe.image)
            candidates = match.candidates
        return Answer(candidates, reason, self._filter.off_map, self._estimate(hypotheses[0]))

    def _step(self, keyframe: Keyframe) -> Step:
        last = self._last
        if last is None:
            return Step()
        travelled = None
        if keyframe.pose is not None and last.pose is not None:
            travelled = distance(keyframe.pose, last.pose)
        similarity = float(keyframe.frames[0] @ last.frames[0])
        return Step(travelled, self._jump, self._scene.log_ratio(similarity))

    def _locate(self, hypothesis: Hypothesis) -> tuple[int, MapSearch, int]:
        space = self._filter.space
        number = space.map_of(hypothesis.state)
        return number, self._searches[number], hypothesis.state - space.bounds[number]

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
