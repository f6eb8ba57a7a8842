"""dbStruct files: real ones read, written ones equal, broken ones refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.spatial import cKDTree

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.db_struct import DbStruct, read_struct, write_struct

_OXFORD = 'oxford-v1.0_2015-03-17-11-08-44_2014-12-16-18-44-24'
# Name, database, queries, radius, radius of positives, queries without a true match, mean true
# matches for each query (rounded).
_SHIPPED = [
    ('nordland_train_d-40_d2-10', 15000, 15000, 40, 10, 0, 80.9),
    ('nordland_val_d-1_d2-1', 3000, 3000, 1, 1, 0, 3.0),
    ('nordland_test_d-1_d2-1', 3000, 3000, 1, 1, 0, 3.0),
    (f'{_OXFORD}_train_d-20_d2-5', 2981, 2931, 20, 5, 0, 30.6),
    (f'{_OXFORD}_test_d-10_d2-5', 1574, 1576, 10, 5, 0, 12.4),
]


@pytest.mark.parametrize(
    ('name', 'database', 'queries', 'radius', 'positive', 'unmatched', 'matches'), _SHIPPED)
def test_reads_the_published_structs(
        shared_data: Path, name: str, database: int, queries: int, radius: float,
        positive: float, unmatched: int, matches: float) -> None:
    struct = read_struct(shared_data / 'seqnet_structfiles' / f'{name}.db')

    assert (len(struct.db_images), len(struct.q_images)) == (database, queries)
    assert (struct.radius, struct.positive_radius) == (radius, positive)
    found = cKDTree(struct.db_positions).query_ball_point(
        struct.q_positions, struct.radius, return_length=True)
    assert int((found == 0).sum()) == unmatched
    assert found.mean() == pytest.approx(matches, abs=0.05)


def _small() -> DbStruct:
    return DbStruct(
        name='two drives', split='test', db_images=('a/1.png', 'a/22.png', 'a/333.png'),
        q_images=('b/1.png', 'b/2.png'),
        db_positions=np.array([[5.7e6, 6.2e5], [5.7e6 + 1.25, 6.2e5], [5.7e6 + 2, 6.2e5]]),
        q_positions=np.array([[5.7e6, 6.2e5 + 1], [5.7e6 + 2, 6.2e5]]),
        radius=10.0, positive_radius=2.5)


@pytest.mark.parametrize('changes', [
    {},
    {'positive_radius': None},
    {'db_gps': np.array([[48.0, 9.0], [48.1, 9.1], [48.2, 9.2]]),
     'q_gps': np.array([[48.0, 9.0], [48.1, 9.1]])},
    {'db_stamps': np.array([1, 2, 3]), 'q_stamps': np.array([4, 5])},
    {'db_positions': np.array([[0.0], [1.0], [2.0]]), 'q_positions': np.array([[0.0], [2.0]])},
])
def test_a_written_struct_reads_back_equal(tmp_path: Path, changes: dict) -> None:
    struct = replace(_small(), **changes)

    write_struct(struct, tmp_path / 'small.db')

    found = read_struct(tmp_path / 'small.db')
    for name in struct.__dataclass_fields__:
        expected = getattr(struct, name)
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(getattr(found, name), expected)
        else:
            assert getattr(found, name) == expected


def test_rewriting_a_published_struct_keeps_every_field(shared_data: Path, tmp_path: Path) -> None:
    original = shared_data / 'seqnet_structfiles' / 'nordland_val_d-1_d2-1.db'

    write_struct(read_struct(original), tmp_path / 'copy.db')

    before, after = (loadmat(path)['dbStruct'] for path in (original, tmp_path / 'copy.db'))
    assert set(before.dtype.names) == set(after.dtype.names)
    for name in before.dtype.names:
        assert before[name][0, 0].shape == after[name][0, 0].shape
        np.testing.assert_array_equal(before[name][0, 0], after[name][0, 0])


def test_refuses_what_is_not_a_struct(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='does not exist'):
        read_struct(tmp_path / 'missing.db')
    (tmp_path / 'text.db').write_text('no struct')
    with pytest.raises(InputError, match='not a MATLAB v5 file'):
        read_struct(tmp_path / 'text.db')
    savemat(tmp_path / 'other.db', {'x': 1}, appendmat=False)
    with pytest.raises(InputError, match='holds x, expected dbStruct'):
        read_struct(tmp_path / 'other.db')
    savemat(tmp_path / 'fields.db', {'dbStruct': {'whichSet': 'test'}}, appendmat=False)
    with pytest.raises(InputError, match='lacks the fields dbImageFns, qImageFns'):
        read_struct(tmp_path / 'fields.db')


def test_refuses_a_truncated_struct(tmp_path: Path) -> None:
    write_struct(_small(), tmp_path / 'small.db')
    content = (tmp_path / 'small.db').read_bytes()
    (tmp_path / 'small.db').write_bytes(content[:len(content) // 2])

    with pytest.raises(InputError, match='not a MATLAB v5 file'):
        read_struct(tmp_path / 'small.db')


@pytest.mark.parametrize(('changes', 'message'), [
    ({'db_positions': np.zeros((2, 2))}, '3 database images but positions of shape'),
    ({'q_positions': np.full((2, 2), np.nan)}, 'a query position is not finite'),
    ({'q_positions': np.zeros((2, 1))}, 'database positions have 2 coordinates'),
    ({'radius': -1.0}, 'the radius is -1.0'),
    ({'positive_radius': np.nan}, 'the radius of positives is nan'),
    ({'db_gps': np.zeros((2, 2))}, '2 latitudes and longitudes of the database, expected 3'),
    ({'q_stamps': np.arange(3)}, '3 query times, expected 2'),
])
def test_refuses_contradictions(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(_small(), **changes)


@pytest.mark.parametrize(('field', 'value', 'message'), [
    ('utmDb', 'here', 'utmDb is <U4 [1], expected numbers [K, N]'),
    ('utmDb', [], 'has no positions in utmDb or utmQ'),
    ('posDistThr', [1, 2], 'posDistThr is int64 [1, 2], expected one number'),
    ('posDistThr', '', 'expected one number'),
    ('numImages', 4, 'numImages is 4, but 3 names are listed'),
    ('nonTrivPosDistSqThr', -1.0, 'nonTrivPosDistSqThr is -1, expected 0 or more'),
    ('dbImageFns', [], '0 database images but positions of shape [3, 2]'),
    ('gpsQ', np.zeros((2, 9)), '9 latitudes and longitudes of the queries, expected 2'),
])
def test_refuses_fields_that_make_no_sense(tmp_path: Path, field: str, value: object,
                                           message: str) -> None:
    write_struct(_small(), tmp_path / 'small.db')
    content = loadmat(tmp_path / 'small.db')['dbStruct']
    fields = {name: content[name].item() for name in content.dtype.names}
    savemat(tmp_path / 'small.db', {'dbStruct': {**fields, field: value}}, appendmat=False)

    with pytest.raises(InputError) as refused:
        read_struct(tmp_path / 'small.db')
    assert message in str(refused.value)
    assert '\n' not in str(refused.value)
