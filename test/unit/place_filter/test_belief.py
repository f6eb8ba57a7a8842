"""The belief: prediction and update by hand, and what holds for all inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqnet_ros.place_filter.belief import Belief, Entrance
from seqnet_ros.place_filter.motion import Modes, Transition
from seqnet_ros.place_filter.state_space import StateSpace

NOBODY_ENTERS = Entrance(0.0, 0.0)
ONE_MODE = Modes(np.ones(1), np.zeros(1, dtype=bool))


def seen(shares: list[float] | np.ndarray) -> Modes:
    return Modes(np.array(shares), np.zeros(len(shares), dtype=bool))


def line(places: int, starts: list[int] | None = None) -> StateSpace:
    """Return places on a straight line, one meter apart."""
    poses = np.zeros((places, 7))
    poses[:, 0] = np.arange(places)
    poses[:, 6] = 1.0
    return StateSpace((0, places), np.array(starts or [0] * places), poses, (1.0,), (True,))


def step(kernel=((1, 1.0),), leave=0.0, switching=0.0, modes=1) -> Transition:
    return Transition((kernel,) * modes, switching, leave)


def known(space: StateSpace, marginal: list[float]) -> Belief:
    belief = Belief(space, ONE_MODE)
    belief.enter(Entrance(1.0, 1.0, places=np.array(marginal)))
    return belief


class TestThreePlaces:
    """Every number is worked out on paper."""

    def test_prediction(self):
        belief = known(line(3), [0.5, 0.3, 0.0])
        belief.predict(step(((0, 0.2), (1, 0.8)), leave=0.1), Entrance(0.3, 0.3))
        # Moved: .5 * .2 = .10, .5 * .8 + .3 * .2 = .46, .3 * .8 = .24; .9 of it stays on the map.
        # Off the map: .2, of which .06 enters, .02 at each place, and .1 * .8 = .08 leaves.
        np.testing.assert_allclose(belief.marginal, [0.11, 0.434, 0.236], atol=1e-12)
        assert belief.off == pytest.approx(0.22)

    def test_update(self):
        belief = known(line(3), [0.2, 0.2, 0.2])
        belief.update(np.log([1.0, 3.0, 0.5]))
        # .2 + .6 + .1 + .4 = 1.3
        np.testing.assert_allclose(belief.marginal, np.array([0.2, 0.6, 0.1]) / 1.3)
        assert belief.off == pytest.approx(0.4 / 1.3)

    def test_what_runs_off_the_end_is_off_the_map(self):
        belief = known(line(3), [0.0, 0.0, 1.0])
        belief.predict(step(), NOBODY_ENTERS)
        assert belief.marginal.sum() == 0.0
        assert belief.off == 1.0

    def test_a_robot_that_strays_comes_back_less_often(self):
        belief = known(line(2), [0.4, 0.2])
        belief.predict(step(((0, 1.0),)), Entrance(0.5, 0.1, straying=0.25))
        # Off the map: .4, of which .2 enters; .2 * .25 = .05 of the rest strays.
        np.testing.assert_allclose(belief.marginal, [0.5, 0.3])
        belief.predict(step(((0, 1.0),)), Entrance(0.5, 0.1, straying=0.25))
        # Near: .15, of which .075 enters; far: .05, of which .005 does.
        np.testing.assert_allclose(belief.marginal, [0.54, 0.34])
        assert belief.off == pytest.approx(0.12)

    def test_nothing_moves_from_one_stretch_to_the_next(self):
        belief = known(line(3, [0, 0, 2]), [0.4, 0.6, 0.0])
        belief.predict(step(), NOBODY_ENTERS)
        np.testing.assert_allclose(belief.marginal, [0.0, 0.4, 0.0])
        assert belief.off == pytest.approx(0.6)

    def test_driving_backward(self):
        belief = known(line(3, [0, 1, 1]), [0.0, 0.4, 0.6])
        belief.predict(step(((-1, 1.0),)), NOBODY_ENTERS)
        np.testing.assert_allclose(belief.marginal, [0.0, 0.6, 0.0])
        assert belief.off == pytest.approx(0.4)

    def test_two_speeds_are_told_apart_by_where_the_robot_is_found(self):
        space = line(5)
        belief = Belief(space, seen([0.5, 0.5]))
        belief.enter(Entrance(1.0, 1.0, places=np.array([1.0, 0, 0, 0, 0])))
        both = Transition((((1, 1.0),), ((2, 1.0),)), 0.0, 0.0)
        belief.predict(both, NOBODY_ENTERS)
        belief.update(np.log([1e-9, 1e-9, 1.0, 1e-9, 1e-9]))
        belief.predict(both, NOBODY_ENTERS)
        # Whoever is at place 2 after one step drives two places a step.
        assert belief.marginal.argmax() == 4
        assert belief.marginal[4] == pytest.approx(1.0, abs=1e-6)


def test_a_place_goes_on_unseen_and_is_found_again():
    belief = Belief(line(9), Modes(np.array([0.9, 0.1]), np.array([False, True])))
    belief.enter(Entrance(0.5, 0.5, places=np.eye(9)[1]))
    for _ in range(5):
        belief.predict(step(switching=0.05, leave=0.01, modes=2), NOBODY_ENTERS)
        belief.update(np.full(9, -3.0))
    assert belief.marginal.argmax() == 6
    assert belief.mass[1, 6] > 0.9 * belief.marginal[6]
    belief.predict(step(switching=0.05, leave=0.01, modes=2), NOBODY_ENTERS)
    belief.update(np.where(np.arange(9) == 7, 6.0, -3.0))
    assert belief.marginal[7] > 0.5


def test_how_the_robot_moved_counts_for_unseen_places_too():
    belief = Belief(line(2), Modes(np.ones(1), np.ones(1, dtype=bool)))
    belief.enter(Entrance(0.8, 0.8, places=np.array([0.5, 0.5])))
    belief.update(np.array([6.0, -3.0]), np.log([0.5, 1.0]))
    # .4 * .5 + .4 + .2 = .8
    np.testing.assert_allclose(belief.marginal, [0.25, 0.5])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), places=st.integers(1, 40), modes=st.integers(1, 4),
       keyframes=st.integers(1, 30))
def test_probabilities_sum_to_one_whatever_happens(seed, places, modes, keyframes):
    rng = np.random.default_rng(seed)
    starts = np.maximum.accumulate(np.arange(places) * (rng.random(places) < 0.2))
    space = line(places, starts.tolist())
    belief = Belief(space, Modes(rng.dirichlet(np.ones(modes)), rng.random(modes) < 0.3))
    for _ in range(keyframes):
        kernels = tuple(
            tuple(zip(rng.integers(-3, 4, 3).tolist(), rng.dirichlet(np.ones(3)).tolist(),
                      strict=True)) for _ in range(modes))
        belief.predict(Transition(kernels, rng.random(), rng.random()), Entrance(*rng.random(3)))
        belief.update(rng.uniform(-10, 10, places))
        assert np.isfinite(belief.mass).all()
        assert (belief.mass >= 0).all()
        assert belief.off >= 0
        assert belief.mass.sum() + belief.off == pytest.approx(1.0)


def test_places_that_are_added_start_without_mass():
    belief = known(line(2), [0.5, 0.5])
    belief.use_states(line(4), np.array([0, 1, -1, -1]))
    np.testing.assert_allclose(belief.marginal, [0.5, 0.5, 0.0, 0.0])


def test_other_modes_keep_the_places():
    belief = known(line(3), [0.1, 0.2, 0.3])
    belief.use_modes(seen([0.25, 0.75]))
    np.testing.assert_allclose(belief.marginal, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(belief.mass[1], 3 * belief.mass[0])


def test_places_that_are_gone_leave_their_mass_off_the_map():
    belief = known(line(3), [0.2, 0.3, 0.4])
    belief.use_states(line(2), np.array([2, 0]))
    np.testing.assert_allclose(belief.marginal, [0.4, 0.2])
    assert belief.off == pytest.approx(0.4)
