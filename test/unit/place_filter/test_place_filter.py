"""The filter as a whole: how often a robot comes onto a map."""

from dataclasses import replace

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


def share_that_enters(space: StateSpace, keyframes: int, *, own_past: bool = False) -> float:
    """Return how much of what is off the map comes onto it at the last of so many keyframes."""
    place_filter = PlaceFilter(space, FilterConfig(start=1e-9, enter=0.01, leave=1e-9),
                               own_past=own_past)
    for _ in range(keyframes):
        place_filter.predict(Step())
        place_filter.update(np.ones(len(space)))  # speaks against every place
    off = place_filter.off_map
    place_filter.predict(Step())
    return 1 - place_filter.off_map / off


@pytest.mark.parametrize('places', [50, 500, 4000])
def test_every_robot_is_near_the_map_at_first(places):
    assert share_that_enters(line(places), 1) == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize(('places', 'share'), [
    (50, 0.00025), (500, 0.0025), (1000, 0.005), (2000, 0.01), (4000, 0.01)])
def test_a_robot_that_is_not_found_for_long_comes_onto_a_small_map_less_often(places, share):
    assert share_that_enters(line(places), 300) == pytest.approx(share, rel=0.1)


def test_the_size_of_the_map_counts_not_of_its_part():
    assert share_that_enters(replace(line(50), whole=4000), 300) == pytest.approx(0.01, rel=0.1)


def test_a_robot_comes_back_to_its_own_way_however_short_that_is():
    assert share_that_enters(line(50), 300, own_past=True) == pytest.approx(0.01, rel=0.1)
