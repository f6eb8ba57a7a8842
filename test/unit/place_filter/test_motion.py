"""Motion model: steps that odometry or relative speeds give."""

import tracemalloc

import numpy as np
import pytest

from seqnet_ros.config.engine import FilterConfig
from seqnet_ros.place_filter.motion import MotionModel, stacked


def mean(kernel) -> float:
    return sum(steps * weight for steps, weight in kernel)


def transition(advance=1.0, measured=False, reverse=False, **config):
    return MotionModel(FilterConfig(**config), reverse).transition(advance, measured, 0.01)


@pytest.mark.parametrize('measured', [False, True])
@pytest.mark.parametrize('reverse', [False, True])
def test_every_kernel_and_the_modes_sum_to_one(measured, reverse):
    model = MotionModel(FilterConfig(), reverse)
    made, modes = model.transition(1.7, measured, 0.01), model.modes(measured)
    for kernel in made.kernels:
        assert sum(weight for _, weight in kernel) == pytest.approx(1.0, abs=1e-6)
    assert modes.shares.sum() == pytest.approx(1.0)
    assert modes.shares[modes.unseen].sum() == pytest.approx(FilterConfig().unseen)
    assert len(made.kernels) == len(modes)


@pytest.mark.parametrize('advance', [0.0, 0.4, 1.0, 2.6, 12.0])
def test_odometry_moves_by_what_was_measured(advance):
    known = transition(advance, measured=True)
    assert mean(known.kernels[0]) == pytest.approx(advance, abs=0.02)


def test_drift_widens_the_step():
    narrow = transition(20.0, measured=True, odometry_drift=0.0).kernels[0]
    wide = transition(20.0, measured=True, odometry_drift=0.2).kernels[0]
    assert len(wide) > 2 * len(narrow)


def test_without_odometry_there_are_speeds_from_slow_to_fast():
    made = transition(min_speed=0.5, max_speed=2.0)
    speeds = [mean(kernel) for kernel in made.kernels[:-3]]
    assert made.kernels[-3] == ((0, 1.0),)
    np.testing.assert_allclose(speeds, np.geomspace(0.5, 2.0, 7), atol=0.03)
    assert MotionModel(FilterConfig()).modes(False).shares.argmax() == 3


def test_a_way_that_is_twice_the_usual_doubles_all_speeds():
    once, twice = transition(1.0), transition(2.0)
    for one, two in zip(once.kernels, twice.kernels, strict=True):
        assert mean(two) == pytest.approx(2 * mean(one), abs=0.05)


def test_reverse_adds_the_same_steps_backward():
    made = transition(reverse=True)
    half = len(made.kernels) // 2
    for forward, backward in zip(made.kernels[:half], made.kernels[half:], strict=True):
        assert dict(forward) == {-steps: weight for steps, weight in backward}


def test_a_long_drive_does_not_fill_the_memory():
    model = MotionModel(FilterConfig())
    tracemalloc.start()
    for number in range(3000):  # every step has another length
        stacked(model.transition(0.01 * number, True, 0.01).kernels)
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 1_000_000
