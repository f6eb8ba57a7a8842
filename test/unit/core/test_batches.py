"""Items of a stream in batches."""

import itertools

from seqnet_ros.core.batches import batches


def test_every_item_comes_once_and_only_the_last_batch_is_shorter():
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches(range(6), 3)) == [[0, 1, 2], [3, 4, 5]]
    assert list(batches([], 3)) == []


def test_no_more_is_read_than_a_batch_needs():
    source = itertools.count()
    assert next(batches(source, 4)) == [0, 1, 2, 3]
    assert next(source) == 4
