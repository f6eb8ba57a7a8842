"""Seams between the stretches of maps that share their coordinates."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from seqnet_ros.core.poses import make_pose
from seqnet_ros.place_filter.active_states import BLOCK, choose_states, spread_sample
from seqnet_ros.place_filter.belief import Belief, Entrance
from seqnet_ros.place_filter.motion import Modes, Transition
from seqnet_ros.place_filter.seams import Seams, find_seams
from seqnet_ros.place_filter.state_space import StateSpace

ONE_MODE = Modes(np.ones(1), np.zeros(1, dtype=bool))


def way(first: float, last: float, heading: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Return places one meter apart, ``[N, 7]``."""
    step = 1.0 if last >= first else -1.0
    return np.array([make_pose(x, y, yaw=heading) for x in np.arange(first, last + step, step)])


def space_of(*maps: np.ndarray, frames: tuple[int, ...] | None = None) -> StateSpace:
    bounds = np.cumsum([0, *map(len, maps)]).tolist()
    starts = np.repeat(bounds[:-1], [len(one) for one in maps])
    poses = np.concatenate(maps)
    frames = frames or (0,) * len(maps)
    leads_to = [[other for other in range(len(maps)) if other != number
                 and frames[other] == frames[number]] for number in range(len(maps))]
    seams = find_seams(bounds, starts, poses, [cKDTree(one[:, :3]) for one in maps], leads_to,
                       [1.0] * len(maps))
    return StateSpace(tuple(bounds), starts, poses, (1.0,) * len(maps), (True,) * len(maps),
                      None, frames, seams)


def test_a_stretch_goes_on_where_another_map_shows_its_end() -> None:
    space = space_of(way(0, 5), way(3, 9))  # states 0-5 and 6-12
    assert space.seams.ahead.tolist() == [[5, 9]]
    assert space.seams.behind.tolist() == [[6, 2]]


def test_a_stretch_goes_on_where_another_begins() -> None:
    assert space_of(way(0, 5), way(6, 9)).seams.ahead.tolist() == [[5, 6]]


def test_the_way_needs_no_heading() -> None:
    east = way(0, 5)[:, :3]
    north = np.stack([east[:, 1], east[:, 0], east[:, 2]], axis=1)
    level = np.tile([0.0, 0.0, 0.0, 1.0], (6, 1))
    further = north + np.array([0.0, 3.0, 0.0])
    space = space_of(np.hstack([north, level]), np.hstack([further, level]))
    assert space.seams.ahead.tolist() == [[5, 9]]


@pytest.mark.parametrize('other', [
    way(3, 9, y=5.0),  # another street
    way(8, 9),  # further on
    way(9, 3, heading=np.pi),  # the other way
    way(2, 5),  # it ends there too
])
def test_where_no_map_goes_on_there_is_no_seam(other: np.ndarray) -> None:
    assert not len(space_of(way(0, 5), other).seams.ahead)


def test_maps_of_different_frames_have_no_seams() -> None:
    assert not len(space_of(way(0, 5), way(3, 9), frames=(0, 1)).seams)


def test_the_way_goes_on_at_each_stretch_that_is_there() -> None:
    space = space_of(way(0, 5), way(3, 9, y=1.0), way(3, 9, y=0.5))
    assert space.seams.ahead.tolist() == [[5, 9], [5, 16]]
    sources, targets, shares = space.crossing(1)
    assert (sources.tolist(), targets.tolist(), shares.tolist()) == ([5, 5], [9, 16], [0.5, 0.5])


def test_steps_lead_over_a_seam() -> None:
    space = space_of(way(0, 5), way(3, 9))
    forward = sorted(zip(*(part.tolist() for part in space.crossing(3)), strict=True))
    assert forward == [(3, 9, 1.0), (4, 10, 1.0), (5, 11, 1.0)]
    back = sorted(zip(*(part.tolist() for part in space.crossing(-2)), strict=True))
    assert back == [(6, 1, 1.0), (7, 2, 1.0)]


def test_no_step_leads_beyond_the_stretch_behind_a_seam() -> None:
    space = space_of(way(0, 5), way(4, 6))  # states 6-8, of which 7 is the end of the first
    sources, targets, _ = space.crossing(4)
    assert list(zip(sources.tolist(), targets.tolist(), strict=True)) == [(2, 8)]


def surely_at(space: StateSpace, state: int) -> Belief:
    belief = Belief(space, ONE_MODE)
    belief.enter(Entrance(1.0, 1.0, places=np.eye(len(space))[state]))
    return belief


@pytest.mark.parametrize('step', [1, 2, -1])
def test_mass_moves_over_a_seam(step: int) -> None:
    space = space_of(way(0, 5), way(3, 9))
    start = 5 if step > 0 else 6
    belief = surely_at(space, start)
    belief.predict(Transition((((step, 1.0),),), 0.0, 0.0), Entrance(0.0, 0.0))
    assert belief.off == pytest.approx(0.0)
    target = int(belief.marginal.argmax())
    assert space.poses[target, 0] == space.poses[start, 0] + step
    assert belief.marginal[target] == pytest.approx(1.0)


def test_mass_without_a_seam_is_off_the_map() -> None:
    space = space_of(way(0, 5), way(3, 9), frames=(0, 1))
    belief = surely_at(space, 5)
    belief.predict(Transition((((1, 1.0),),), 0.0, 0.0), Entrance(0.0, 0.0))
    assert belief.off == pytest.approx(1.0)


def test_the_states_behind_a_seam_matter_before_it_is_crossed() -> None:
    count = 20_000
    whole = space_of(way(0, count - 1), way(count - 3, 2 * count))
    marginal = np.zeros(len(whole))
    marginal[count - 2] = 1.0
    active = choose_states(whole, spread_sample(len(whole)), marginal, np.arange(len(whole)),
                           np.zeros(0, np.int64))
    behind = count + np.arange(BLOCK)
    assert np.isin(behind, active.places).all()
    (end, place), = active.space.seams.ahead
    assert active.places[[end, place]].tolist() == [count - 1, count + 3]


def test_seams_among_fewer_states_are_numbered_anew() -> None:
    seams = Seams(np.array([[5, 8], [12, 20]]), np.array([[6, 3]]))
    kept = seams.among(np.array([3, 5, 6, 8]))
    assert kept.ahead.tolist() == [[1, 3]]
    assert kept.behind.tolist() == [[2, 0]]
    assert not len(seams.among(np.array([0, 1])))
