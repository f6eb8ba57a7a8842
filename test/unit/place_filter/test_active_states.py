"""A part of a large map."""

from itertools import pairwise

import numpy as np
import pytest

from seqnet_ros.place_filter.active_states import (
    BLOCK,
    choose_states,
    joint_sample,
    origins,
    spread_sample,
)
from seqnet_ros.place_filter.state_space import StateSpace

COUNT = 50_000
NONE = np.empty(0, dtype=np.int64)


def road(starts: np.ndarray | None = None) -> StateSpace:
    poses = np.zeros((COUNT, 7))
    poses[:, 0], poses[:, 6] = np.arange(COUNT), 1.0
    return StateSpace((0, 20_000, COUNT), np.zeros(COUNT, int) if starts is None else starts,
                      poses, (1.0, 1.0), (True, True))


def test_what_the_index_finds_is_active_with_room_to_move():
    sample = spread_sample(COUNT)
    active = choose_states(road(), sample, np.zeros(0), NONE, np.array([30_000, 12_345]))
    for place in (30_000, 12_345):
        assert np.isin(np.arange(place, place + BLOCK), active.places).all()
    assert np.isin(sample, active.places).all()
    np.testing.assert_array_equal(active.places[active.sample], sample)
    assert len(active.places) < 2_000


@pytest.mark.parametrize('sizes', [
    (50_000,), (300,), (100_000, 100_000), (100_000, 20_000, 100_000), (70, 5),
    (200_000, 50, 1, 200_000)])
def test_a_sample_of_several_maps_is_part_of_the_samples_of_each(sizes):
    bounds = np.cumsum([0, *sizes])
    sample = joint_sample(bounds.tolist())
    assert (np.diff(sample) > 0).all()
    shares = []
    for first, end in pairwise(bounds):
        own = sample[(sample >= first) & (sample < end)] - first
        assert np.isin(own, spread_sample(end - first)).all()
        assert {own[0], own[-1]} == {0, end - first - 1}
        assert len(own) >= min(end - first, 64)  # a small map between large ones has places, too
        shares.append(len(own))
    if len(sizes) == 1:
        np.testing.assert_array_equal(sample, spread_sample(*sizes))
    assert sum(shares) <= 1024 + 64 * len(sizes)


def test_gaps_and_ends_of_stretches_stay_ends():
    starts = np.where(np.arange(COUNT) < 30_005, 0, 30_005)
    active = choose_states(road(starts), spread_sample(COUNT), np.zeros(0), NONE,
                           np.array([30_000]))
    before, after = np.searchsorted(active.places, [30_004, 30_005])
    assert after == before + 1
    assert active.space.starts[before] != active.space.starts[after]
    gaps = np.flatnonzero(np.diff(active.places) != 1)
    assert (active.space.starts[gaps] != active.space.starts[gaps + 1]).all()


def test_maps_keep_their_bounds():
    active = choose_states(road(), spread_sample(COUNT), np.zeros(0), NONE, NONE)
    first, border, end = active.space.bounds
    assert (first, end) == (0, len(active.places))
    assert active.places[border - 1] < 20_000 <= active.places[border]
    assert active.space.map_places == COUNT


def test_places_that_hold_the_belief_stay_active():
    sample = spread_sample(COUNT)
    before = choose_states(road(), sample, np.zeros(0), NONE, np.array([30_000]))
    marginal = np.zeros(len(before.places))
    held = int(np.searchsorted(before.places, 30_010))
    marginal[held] = 0.9
    after = choose_states(road(), sample, marginal, before.places, NONE)
    origin = origins(before.places, after.places)
    assert origin[np.searchsorted(after.places, 30_010)] == held
    assert 30_010 + BLOCK in after.places


def test_places_that_were_not_there_have_no_origin():
    np.testing.assert_array_equal(
        origins(np.array([2, 5, 9]), np.array([1, 2, 3, 9, 11])), [-1, 0, -1, 2, -1])
    np.testing.assert_array_equal(origins(NONE, np.array([1, 2])), [-1, -1])
