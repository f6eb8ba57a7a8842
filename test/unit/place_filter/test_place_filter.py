"""The filter as a whole: how often a robot comes onto a map."""

import numpy as np
import pytest

from seqnet_ros.config.engine import FilterConfig
from seqnet_ros.place_filter.place_filter import PlaceFilter, Step
from seqnet_ros.place_filter.state_space import StateSpace


def line(places: int) -> StateSpace:
    """Return places on a straight line, one meter apart."""
    poses = np.zeros((places, 7))
    poses[:, 0] = np.arange(places)
    poses[:, 6] = 1.0
    return StateSpace((0, places), np.zeros(places, dtype=np.int64), poses, (1.0,), (True,))


def mass_that_enters(places: int, *, own_past: bool = False) -> float:
    """Return how much comes onto a map between two keyframes, of a robot that is surely off it."""
    place_filter = PlaceFilter(line(places), FilterConfig(start=1e-9, enter=0.08),
                               own_past=own_past)
    for _ in range(2):
        place_filter.predict(Step())
    return float(place_filter.marginal.sum())


@pytest.mark.parametrize(('places', 'mass'), [
    (50, 0.04), (500, 0.04), (750, 0.06), (1000, 0.08), (4000, 0.08)])
def test_a_robot_comes_onto_a_small_map_less_often(places, mass):
    assert mass_that_enters(places) == pytest.approx(mass, rel=1e-6)


def test_a_robot_comes_back_to_its_own_way_however_short_that_is():
    assert mass_that_enters(50, own_past=True) == pytest.approx(0.08, rel=1e-6)
