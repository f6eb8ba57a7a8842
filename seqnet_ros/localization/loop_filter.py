"""Loop closing with the place filter: a belief over the robot's own past."""

from collections.abc import Callable

import numpy as np

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.localization.filter_decision import decide, ranking_of
from seqnet_ros.localization.result import Candidate, Reason
from seqnet_ros.maps.growing_map import GrowingMap
from seqnet_ros.maps.search.hierarchical_search import Ranking
from seqnet_ros.maps.states import frame_distances
from seqnet_ros.place_filter.place_filter import PlaceFilter, Step
from seqnet_ros.place_filter.scene_change import SceneChange
from seqnet_ros.place_filter.state_space import StateSpace

_FEWEST_PLACES = 20
"""Among fewer places none can stand out."""
_BIAS = 0.5
"""Log odds of the mass at which loops are accepted; there is no map to calibrate on."""
_GROWN_BY = 1.25


class LoopFilter:
    """Follows the robot through the places that are old enough to close a loop.

    A new place is off the map.

    Args:
        past: the drive so far.
        engine: the settings.
        posed: whether there is odometry.
        seen: returns when and where, ``[7]``, a place was seen.
    """

    def __init__(self, past: GrowingMap, engine: EngineConfig, posed: bool,
                 seen: Callable[[int], tuple[int, np.ndarray]]) -> None:
        self._past = past
        self._engine = engine
        self._posed = posed
        self._seen = seen
        self._filter = PlaceFilter(
            self._space(), engine.filter, engine.matching.reverse, [_BIAS], own_past=True)
        self._scene = SceneChange()
        self._scene_due = _FEWEST_PLACES
        self._last: int | None = None

    def note_break(self) -> None:
        """Note that the recording broke off: the robot may be anywhere when it goes on."""
        self._filter.note_break()

    def search(self, place: int) -> tuple[tuple[Candidate, ...], Reason, Ranking]:
        """Move the belief on to the newest place.

        Args:
            place: its number.

        Returns:
            Distinct earlier places, most probable first; why the first is accepted or rejected
            before the rules of loop closing judge it; and the places as these rules take them.
        """
        if self._past.released < _FEWEST_PLACES:
            self._last = place
            return (), Reason.NO_CANDIDATES, ranking_of(())
        self._filter.grow(self._space())
        self._filter.predict(self._step(place))
        frames = self._past.matching_frames
        distances = frame_distances(frames[:self._past.released], frames[place])
        self._filter.update(distances)
        self._last = place
        hypotheses = self._filter.hypotheses(max(self._engine.matching.candidates, 2))
        if not hypotheses:
            return (), Reason.NO_CANDIDATES, ranking_of(())
        candidates = []
        for hypothesis in hypotheses[:self._engine.matching.candidates]:
            stamp_ns, pose = self._seen(hypothesis.state)
            apart = float(distances[hypothesis.state])
            candidates.append(Candidate(hypothesis.state, stamp_ns, pose.copy(), apart, apart,
                                        hypothesis.probability))
        reason = decide(self._filter, hypotheses, self._engine)
        return tuple(candidates), reason, ranking_of(candidates)

    def _space(self) -> StateSpace:
        released = self._past.released
        turns = self._past.turns
        return StateSpace(
            (0, released), self._past.segment_starts[:released], self._past.poses[:released],
            (self._past.mean_step_m,), (self._posed,),
            turns[:released] if self._posed and turns is not None else None)

    def _step(self, place: int) -> Step:
        if self._last is None:
            return Step()
        frames = self._past.matching_frames
        if self._past.released >= self._scene_due:
            self._scene = SceneChange.of_drive(
                frames[:self._past.released], self._past.segment_starts[:self._past.released])
            self._scene_due = round(self._past.released * _GROWN_BY) + 1
        similarity = float(frames[place] @ frames[self._last])
        before, after = self._past.poses[self._last], self._past.poses[place]
        jump = self._scene.log_ratio(similarity)
        return (Step.between(before, after, jump) if self._posed
                else Step(jump_log_ratio=jump))
