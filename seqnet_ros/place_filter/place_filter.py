"""The place filter: a recursive Bayes filter over all places of the maps, and off the map.

Xu, Suenderhauf and Milford (RA-L 2021) and Xu, Fischer, Suenderhauf and Milford (RA-L 2021) filter
over the places of a route, the second with odometry and a state off the map. Evidence, motion and
calibration here are described in the modules of this folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seqnet_ros.config.engine import FilterConfig
from seqnet_ros.core.poses import distance
from seqnet_ros.place_filter.anchor import Anchor
from seqnet_ros.place_filter.belief import Belief, Entrance
from seqnet_ros.place_filter.confidence import Confidence
from seqnet_ros.place_filter.evidence import Evidence
from seqnet_ros.place_filter.motion import MotionModel
from seqnet_ros.place_filter.state_space import StateGroup, StateSpace
from seqnet_ros.place_filter.turns import turn_between, turn_log_ratios

_JUMP = 0.999
"""Probability that the robot is elsewhere after a break in the recording."""
_STRAYING = 1 / 60
"""Probability that a robot near the map gets far away from it between two keyframes."""
_LARGE = 2000
"""Places of a map that a robot comes onto as often from far away as from near it."""
_USUAL_STEPS = 50
_LEAST_SHARE = 1e-4
"""Of the most probable place; places below are not listed."""
_MOST_LISTED = 512


@dataclass(frozen=True)
class Hypothesis:
    """A place that the robot may be at.

    Attributes:
        state: its number among all states.
        mass: probability of the places within the tolerance, by the belief.
        probability: calibrated probability that the robot is within the tolerance.
        deviation: how far the place stands out for the newest frame.
    """

    state: int
    mass: float
    probability: float
    deviation: float


@dataclass(frozen=True)
class Step:
    """What happened between two keyframes.

    Attributes:
        travelled_m: distance by odometry, meters; None without odometry.
        turned: rotation by odometry about the robot's vertical axis, radians; None where headings
            are not known.
        jump_log_ratio: log-likelihood ratio of a jump against driving on, by the change of the
            images.
        anchor: the last fix, carried on to this keyframe; None without fix or odometry.
    """

    travelled_m: float | None = None
    turned: float | None = None
    jump_log_ratio: float = 0.0
    anchor: Anchor | None = None

    @classmethod
    def between(cls, before: np.ndarray | None, after: np.ndarray | None,
                jump_log_ratio: float = 0.0, anchor: Anchor | None = None) -> 'Step':
        """Return the step between two odometry poses ``[7]``, meters; None without odometry."""
        if before is None or after is None:
            return cls(None, None, jump_log_ratio, anchor)
        return cls(distance(before, after), float(turn_between(before, after)), jump_log_ratio,
                   anchor)


class PlaceFilter:
    """Follows the robot from keyframe to keyframe.

    Args:
        space: the places.
        config: the settings.
        reverse: the robot may drive against the direction of the map.
        biases: for each map the log odds of the mass at which 99 % of the matches are correct;
            0 where they are not known.
        overlapping: belief in another map does not make a place less probable.
        own_past: the places are the past of the robot itself, as in loop closing.
    """

    def __init__(self, space: StateSpace, config: FilterConfig, reverse: bool = False,
                 biases: Sequence[float] | None = None, *, overlapping: bool = False,
                 own_past: bool = False) -> None:
        self._config = config
        self._space = space
        self._motion = MotionModel(config, reverse)
        self._biases = [0.0] * len(space.posed) if biases is None else list(biases)
        self._overlapping = overlapping
        self._own_past = own_past
        self._evidence = Evidence(config.background_frames, config.evidence)
        self._of_sequences = Evidence(config.background_frames, config.evidence)
        self.confidence = Confidence()
        self._measured = False
        self._belief = Belief(space, self._motion.modes(False))
        self._started = False
        self._jump = 0.0
        self.keyframes = 0
        """Keyframes since the start or the last break."""
        self._steps: list[float] = []

    @property
    def space(self) -> StateSpace:
        """The places."""
        return self._space

    @property
    def off_map(self) -> float:
        """Probability that the robot is off the map."""
        return self._belief.off

    @property
    def marginal(self) -> np.ndarray:
        """Probability of each place, float64 ``[N]``."""
        return self._belief.marginal

    def clear(self) -> None:
        """Drop the belief: the robot may be anywhere, or off the map."""
        self._belief.clear()
        self._started = False
        self._jump = 0.0
        self.keyframes = 0
        self._evidence.forget()
        self._of_sequences.forget()

    @property
    def broken(self) -> bool:
        """Whether the recording broke off since the last keyframe."""
        return self._jump > 0

    def note_break(self) -> None:
        """Note that the recording broke off: the robot may be anywhere when it goes on."""
        self._jump = _JUMP

    def go_on_from(self, other: 'PlaceFilter', space: StateSpace, origin: np.ndarray) -> None:
        """Take over the belief and all that another filter has learned of the drive.

        Args:
            other: the other filter.
            space: the places here.
            origin: for each its number there, or -1, int ``[N]``.
        """
        self._space = space
        self._measured = other._measured
        self._belief.go_on_from(
            other._belief, space, origin, self._motion.modes(self._measured))
        self._evidence, self._of_sequences = (
            evidence.moved(origin, self._config.background_frames, self._config.evidence)
            for evidence in (other._evidence, other._of_sequences))
        self._started, self._steps = other._started, other._steps
        self.keyframes, self._jump = other.keyframes, other._jump
        self.confidence = other.confidence

    def use_states(self, space: StateSpace, origin: np.ndarray) -> None:
        """Replace the places; the belief in places that stay is kept.

        Args:
            space: the places.
            origin: for each its number so far, or -1, int ``[N]``.
        """
        self._space = space
        self._belief.use_states(space, origin)
        self._evidence.use_states(origin)
        self._of_sequences.use_states(origin)

    def grow(self, space: StateSpace) -> None:
        """Append places to the space; they start without belief."""
        origin = np.arange(len(space))
        origin[len(self._space):] = -1
        self.use_states(space, origin)

    def predict(self, step: Step) -> None:
        """Move the belief to the next keyframe."""
        self._turn: np.ndarray | None = None
        jump, self._jump = self._jump, 0.0
        self.keyframes = 1 if jump else self.keyframes + 1
        measured = step.travelled_m is not None and all(self._space.posed)
        if measured != self._measured:
            self._measured = measured
            self._belief.use_modes(self._motion.modes(measured))
        if not self._started:
            self._started = True
            self._belief.enter(Entrance(self._config.start, self._config.start))
            return
        odds = self._config.leave / (1 - self._config.leave) * np.exp(step.jump_log_ratio)
        stay = (1 - odds / (1 + odds)) * (1 - jump)
        if measured and step.turned is not None and self._space.turns is not None:
            assert step.travelled_m is not None
            self._turn = turn_log_ratios(self._space.turns, step.turned, step.travelled_m)
        # After a break, what odometry says of the way is not to be relied on.
        advance = 1.0 if jump else self._advance(step.travelled_m, measured)
        self._belief.predict(
            self._motion.transition(advance, measured, float(1 - stay)),
            self._entrance(step.anchor))

    def _entrance(self, anchor: Anchor | None) -> Entrance:
        """Return how the robot comes onto the map.

        It starts near the map, which is made for where it drives, and leaves it to somewhere near.
        Where it was not found for long it is somewhere in the world, and comes onto a small map
        less often than onto a large one. Onto its own way it comes back from anywhere.
        """
        enter, share = self._config.enter, min(self._space.map_places / _LARGE, 1.0)
        return Entrance(enter, enter * (1.0 if self._own_past else share), _STRAYING,
                        None if anchor is None else anchor.entry(self._space))

    def _advance(self, travelled_m: float | None, measured: bool) -> float:
        """Return how far the robot went, in places or relative to its usual step."""
        if travelled_m is None:
            return 1.0
        if measured:
            step_m = float(np.median(self._space.mean_step_m))
            return travelled_m / step_m if step_m > 0 else 1.0
        self._steps = [*self._steps[1 - _USUAL_STEPS:], travelled_m]
        usual = float(np.median(self._steps))
        return travelled_m / usual if usual > 0 else 1.0

    def update(self, distances: np.ndarray, sample: np.ndarray | None = None,
               of_sequences: np.ndarray | None = None) -> None:
        """Take in the newest keyframe.

        Args:
            distances: its distance to all places, ``[N]``.
            sample: places that stand for the whole map, ``[J]``; None for those that the space
                names, else all.
            of_sequences: distance of the sequence that ends at it to those that end at the places,
                ``[N]``; None where these are no evidence.
        """
        sample = self._space.distinct if sample is None else sample
        reach = 2 * self._config.tolerance + 1
        present = np.minimum(np.convolve(self.marginal, np.ones(reach), 'same'), 1.0)
        if len(present) > len(self._space):  # fewer places than the reach
            present = np.full(len(self._space), min(float(self.marginal.sum()), 1.0))
        self._weighed = self._evidence.weigh(distances, self._space.slices(), sample, present)
        log_ratios = self._weighed.log_ratios
        if of_sequences is not None:
            share = self._config.sequence_share
            sequences = self._of_sequences.weigh(
                of_sequences, self._space.slices(), sample, present)
            log_ratios = (1 - share) * log_ratios + share * sequences.log_ratios
        self._belief.update(log_ratios, self._turn)

    def hypotheses(self, most: int) -> list[Hypothesis]:
        """Return the most probable distinct places, best first.

        The belief round each is taken away before the next is chosen.
        """
        marginal = self.marginal
        peaks = _smoothed(marginal)
        # What holds next to nothing decides nothing, and would take the time.
        held = np.flatnonzero(marginal > _LEAST_SHARE * marginal.max(initial=0.0))
        if len(held) > _MOST_LISTED:
            most_held = np.argpartition(marginal[held], -_MOST_LISTED)[-_MOST_LISTED:]
            held = np.sort(held[most_held])
        states = StateGroup(self._space, held)
        mass, peaks, deviations = marginal[held], peaks[held], self._weighed.deviations[held]
        found: list[tuple[int, float, float]] = []
        while len(found) < min(most, len(held)):
            best = int(np.argmax(peaks))
            if peaks[best] <= 0:
                break
            state = int(held[best])
            near = states.near(best, self._config.tolerance)
            inside = min(float(mass[near].sum()), 1.0)
            if self._overlapping:
                inside /= self._mass_of_map(self._space.map_of(state)) + self.off_map
            deviation = float(deviations[near].max())
            if not found:
                self.confidence.learn(inside, deviation, self._weighed.novelty)
            found.append((state, inside, deviation))
            mass[near] = peaks[near] = 0.0
        return sorted((self._hypothesis(*one, found) for one in found),
                      key=lambda one: -one.probability)

    def _hypothesis(self, state: int, mass: float, deviation: float,
                    found: Sequence[tuple[int, float, float]]) -> Hypothesis:
        """Weigh a place against the others: states, masses and deviations."""
        number = self._space.map_of(state)
        rival = max((other for place, other, _ in found if place != state and not (
            self._overlapping and self._space.map_of(place) != number)), default=0.0)
        return Hypothesis(state, mass, self.confidence.probability(
            mass, deviation, self._biases[number], rival), deviation)

    def _mass_of_map(self, number: int) -> float:
        return float(self.marginal[self._space.slices()[number]].sum())

    def probability_of_any(self, hypotheses: Sequence[Hypothesis]) -> float:
        """Return the probability that the robot is at one of some places."""
        mass = sum(hypothesis.mass for hypothesis in hypotheses)
        bias = max(self._biases[self._space.map_of(one.state)] for one in hypotheses)
        deviation = max(one.deviation for one in hypotheses)
        return self.confidence.probability(min(mass, 1.0), deviation, bias)


def _smoothed(mass: np.ndarray) -> np.ndarray:
    """Return the mass with half that of the neighbors: a peak may lie between two places."""
    smoothed = mass.copy()
    smoothed[1:] += 0.5 * mass[:-1]
    smoothed[:-1] += 0.5 * mass[1:]
    return smoothed
