"""Which stamps that go back are right, and what others become."""

import pytest

from seqnet_ros.core.stamp_order import StampOrder

STEP = 100_000_000


def corrected(stamps: list[float]) -> list[float]:
    order = StampOrder('camera')
    return [order.correct(round(stamp * STEP)) / STEP for stamp in stamps]


@pytest.mark.parametrize('back', [1.2, 2.0, 3.5])
def test_wrong_stamps_become_the_time_when_the_image_was_due(back, caplog):
    stamps = [index - back * (index % 8 == 7) for index in range(60)]
    assert corrected(stamps) == pytest.approx(list(range(60)), abs=0.01)
    assert caplog.text.count(f'a stamp is {(back - 1) / 10:.3f} s before the newest one') == 1


@pytest.mark.parametrize('order', [
    [0, 1, 2, 3, 5, 4, 6, 7], [0, 1, 2, 3, 6, 5, 4, 7], [2, 0, 1, 3, 4], [3, 2, 1, 0, 4, 5, 6]])
def test_stamps_of_images_that_were_overtaken_stay(order):
    assert corrected(order) == order


def test_clock_that_is_set_back_is_believed_after_two_images():
    found = corrected([*range(10), 7, 8, 9, 10, 11, 12])
    assert found == [*range(10), 10, 11, 9, 10, 11, 12]


def test_recording_that_is_played_again_begins_anew():
    stamps = [*range(20), *range(20)]
    assert corrected(stamps) == stamps


def test_a_gap_between_few_images_is_not_their_period():
    """Two of three images are an hour apart: a corrected stamp is not an hour ahead."""
    assert corrected([0, 36_000, 36_001, 36_000.5]) == [0, 36_000, 36_001, 36_002]


def test_steps_of_a_clock_that_jumps_are_no_period():
    """All of three images are an hour apart, and the next is a little behind the newest."""
    assert corrected([0, 36_000, 72_000, 71_998.5]) == [0, 36_000, 72_000, 71_998.5]
