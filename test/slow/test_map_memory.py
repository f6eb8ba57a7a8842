"""The memory that building and opening a large map takes does not grow with it."""

import pytest

from benchmarks.map_memory import DIM, measure_apart

FEW, MANY = 2500, 5000
PER_PLACE = 4 * DIM


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_map_of_twice_the_places_takes_no_more_memory():
    few, many = measure_apart(FEW), measure_apart(MANY)
    for small, large in zip(few, many, strict=True):
        # The links of the graph grow, and so do poses and stamps.
        assert (large - small) / (MANY - FEW) < PER_PLACE / 4
        assert large < MANY * PER_PLACE * 1.5
