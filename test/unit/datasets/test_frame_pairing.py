"""Frames of two drives whose names tell more than their positions."""

import numpy as np
import pytest
from refusal import refusal

from seqnet_ros.datasets.frame_pairing import pair_drives, pair_frames


def numbered(numbers, pattern='image-{:05d}.png'):
    return [pattern.format(number) for number in numbers]


def test_numbers_with_gaps_on_one_side_pair_by_number():
    kept = [number for number in range(1, 401) if number % 4]
    found = pair_frames(numbered(range(1, 401)), numbered(kept))
    assert found.by == 'number'
    assert found.reference.tolist() == list(range(400))
    assert found.query.tolist() == [number - 1 for number in kept]
    assert 'image-00001.png' in found.note
    assert '300 of 300' in found.note


def test_gaps_in_the_reference_keep_their_length():
    reference = [*range(100), *range(500, 600)]
    found = pair_frames(numbered(reference), numbered(range(600)))
    assert found.by == 'number'
    assert found.reference[[0, 99, 100]].tolist() == [0, 99, 500]
    assert found.query[300] == 300


def test_the_unit_is_a_frame_of_the_reference():
    found = pair_frames(numbered(range(0, 1000, 10)), numbered(range(20, 700, 10)))
    assert found.by == 'number'
    assert found.reference.tolist() == list(range(100))
    assert found.query[0] == 2.0


@pytest.mark.parametrize(('reference', 'query'), [
    (numbered(range(50)), numbered(range(50))),
    (numbered(range(50), 'summer_{}.jpg'), numbered(range(50), 'winter_{:04d}.png')),
    (['a.png', 'b.png', 'c.png'], ['a.jpg', 'b.jpg', 'c.jpg']),
    (['left.png', 'right.png'], ['top.png', 'bottom.png'])])
def test_where_names_say_what_positions_say_there_is_no_doubt(reference, query):
    found = pair_frames(reference, query)
    assert found.by == 'position'
    assert found.note == ''
    assert found.query.tolist() == list(range(len(query)))


def test_other_prefixes_and_endings_do_not_matter():
    found = pair_frames(numbered(range(50), 'summer_{}.jpg'),
                        numbered(range(0, 50, 2), 'winter_{:04d}.png'))
    assert found.by == 'number'
    assert found.query.tolist() == list(range(0, 50, 2))


def test_of_several_fields_the_shared_one_counts():
    reference = [f'f{i:03d}_{1_700_000_000_000 + 40 * i}.png' for i in range(40)]
    query = [f'f{i:03d}_{1_800_000_000_000 + 50 * i}.png' for i in range(0, 40, 2)]
    found = pair_frames(reference, query)
    assert found.by == 'number'
    assert found.query.tolist() == list(range(0, 40, 2))


def test_times_are_no_numbers_that_drives_share():
    reference = [f'{1403636579763555584 + 50_000_000 * i}.png' for i in range(30)]
    query = [f'{1413636579763555584 + 50_000_000 * i}.png' for i in range(20)]
    assert pair_frames(reference, query).by == 'position'
    found = pair_drives((30, 20), (reference, query), 'auto')
    assert found.note == ('frame i of both drives is taken for the same place, although they have '
                          '30 and 20 frames')


def test_ranges_begin_at_one_place():
    found = pair_drives((10, 10), None, 'auto', (100, 20))
    assert found.query[25] == 105
    assert found.note == ''


def test_numbers_that_disagree_are_said():
    found = pair_frames(numbered(range(1, 41)), numbered(range(501, 541)))
    assert found.by == 'position'
    assert 'numbers disagree, such as image-00001.png and image-00501.png' in found.note


def test_names_without_numbers():
    reference = ['bridge.png', 'church.png', 'gate.png', 'school.png']
    found = pair_frames(reference, ['church.jpg', 'lake.jpg', 'school.jpg'])
    assert found.by == 'name'
    assert np.isnan(found.query[1])
    assert found.query[[0, 2]].tolist() == [1, 3]


def test_on_request():
    reference, query = numbered(range(1, 41)), numbered(range(31, 71))
    assert pair_frames(reference, query).by == 'position'
    assert pair_frames(reference, query, 'number').query[0] == 30
    assert pair_frames(numbered(range(9)), numbered(range(0, 9, 2)), 'position').by == 'position'
    found = pair_frames(reference, query, 'name')
    assert found.query[:10].tolist() == list(range(30, 40))
    assert np.isnan(found.query[10:]).all()


def test_what_is_refused():
    assert 'hold no ascending numbers on both sides' in refusal(
        lambda: pair_frames(['a.png', 'b.png'], ['1.png', '2.png'], 'number'))
    assert 'do not occur on both sides' in refusal(
        lambda: pair_frames(['a.png', 'b.png'], ['1.png', '2.png'], 'name'))
    assert 'occur several times' in refusal(
        lambda: pair_frames(['a.png', 'a.jpg'], ['a.png'], 'name'))
