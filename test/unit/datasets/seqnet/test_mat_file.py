"""MATLAB files: those of SciPy are read alike, damaged ones are refused."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusal import refusal
from scipy.io import savemat

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet import mat_file
from seqnet_ros.datasets.seqnet.db_struct import read_struct
from seqnet_ros.datasets.seqnet.mat_file import read_mat

CORPUS = Path(__file__).parents[3] / 'corpus' / 'structs'


@pytest.mark.parametrize('compressed', [False, True])
def test_values_are_those_that_were_saved(compressed: bool, tmp_path: Path) -> None:
    cells = np.empty((2, 1), dtype=object)
    cells[:, 0] = np.array(['first, ü']), np.array([[1.5, 2.5]])
    numbers = {kind: np.arange(6).reshape(2, 3).astype(kind)
               for kind in ('f8', 'f4', 'i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8', 'bool')}
    savemat(tmp_path / 'a.mat', {
        **{f'n_{kind}': value for kind, value in numbers.items()}, 'text': 'some text',
        'rows': np.array(['one', 'two']), 'cells': cells, 'empty': np.empty((0, 0)),
        'z': np.array([1 + 2j]), 's': {'x': 3, 'inner': {'y': 'deep'}}},
        do_compression=compressed)
    found = read_mat(tmp_path / 'a.mat')
    for kind, value in numbers.items():
        np.testing.assert_array_equal(found[f'n_{kind}'], value)
        assert found[f'n_{kind}'].dtype == ('bool' if kind == 'bool' else kind)
    assert list(found['text']) == ['some text']
    assert list(found['rows']) == ['one', 'two']
    assert list(found['cells'][0, 0]) == ['first, ü']
    np.testing.assert_array_equal(found['cells'][1, 0], [[1.5, 2.5]])
    assert found['empty'].size == 0
    assert found['s'][0]['x'].item() == 3
    assert list(found['s'][0]['inner'][0]['y']) == ['deep']
    assert 'z' not in found  # complex numbers are of no use here


def test_other_versions_are_named(tmp_path: Path) -> None:
    path = tmp_path / 'a.mat'
    path.write_bytes(b'MATLAB 7.3 MAT-file'.ljust(512, b' '))
    with pytest.raises(InputError, match=r'version 7.3, expected one saved with -v7'):
        read_mat(path)
    savemat(path, {'x': 1}, format='4')
    with pytest.raises(InputError, match='no mark of the byte order'):
        read_mat(path)


def test_a_variable_that_expands_too_much_is_refused(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mat_file, 'MAX_BYTES', 1 << 20)
    bomb = zlib.compress(bytes(2 << 20))
    path = tmp_path / 'a.mat'
    path.write_bytes(b' ' * 124 + b'\0\x01IM' + np.array([15, len(bomb)], '<u4').tobytes() + bomb)
    with pytest.raises(InputError, match='cut short or too large'):
        read_mat(path)


@pytest.mark.parametrize('name', ['plain.db', 'compressed.db'])
def test_every_truncation_is_one_sentence(name: str, tmp_path: Path) -> None:
    content = (CORPUS / name).read_bytes()
    path = tmp_path / 'a.db'
    for length in range(0, len(content) - 8, 11):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r'a\.db'):
            read_struct(path)


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_are_refused_or_give_a_consistent_struct(
        tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray((CORPUS / 'plain.db').read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(
            st.sampled_from([0, 1, 2, 5, 8, 14, 127, 128, 255]) | st.integers(0, 255))
    path = tmp_path / 'a.db'
    path.write_bytes(bytes(content))
    text = refusal(lambda: read_struct(path))
    assert len(text) < 500
    if not text:
        struct = read_struct(path)
        assert len(struct.db_images) == len(struct.db_positions)
