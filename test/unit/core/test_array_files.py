"""NumPy's files of unknown origin."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusal import refusal

from seqnet_ros.core.array_files import read_npy, read_npz, save_array
from seqnet_ros.core.errors import InputError


def npy(shape: str, descr: str = "'<f8'", content: bytes = b'') -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b'\x93NUMPY\x01\0' + struct.pack('<H', len(header)) + header + content


def archive(path: Path, member: bytes, name: str = 'a.npy') -> Path:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, member)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / 'arrays.npz'
    np.savez_compressed(path, a=np.arange(12.0).reshape(3, 4, order='F'), b=np.array('text'),
                        c=np.array({'x': 1}, dtype=object))
    return path


def test_arrays_are_those_that_were_saved(saved: Path) -> None:
    found = read_npz(saved, objects=True)
    np.testing.assert_array_equal(found['a'], np.arange(12.0).reshape(3, 4, order='F'))
    assert str(found['b']) == 'text'
    assert found['c'].item() == {'x': 1}
    assert list(read_npz(saved, names=['a'])) == ['a']
    with pytest.raises(InputError, match='lacks the array d'):
        read_npz(saved, names=['d'])
    with pytest.raises(InputError, match='holds Python objects, expected numbers'):
        read_npz(saved)


@pytest.mark.parametrize(('member', 'words'), [
    (npy('(1000000, 1000000)'), 'holds 0 bytes, expected float64'),
    (npy('(-1, -8)', content=bytes(64)), 'is impossible'), (npy('(' * 300), 'is no array'),
    (npy('(2,)', "'V99999999999999'"), 'is no array|holds'),
    (npy('(1,)', content=bytes(7)), 'holds'),
    (b'\x93NUMPY\x07\0', 'is no array'), (b'', 'is no array')])
def test_headers_that_state_too_much(member: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read_npz(archive(tmp_path / 'a.npz', member))
    (tmp_path / 'a.npy').write_bytes(member)
    with pytest.raises(InputError, match=r'is not a whole .npy file of numbers'):
        read_npy(tmp_path / 'a.npy')


def test_an_archive_that_expands_a_thousandfold_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / 'a.npz', npy('(40000000,)', content=bytes(320_000_000)))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InputError, match=r'1 arrays of 320000.* bytes, expected at most'):
        read_npz(path)


def test_every_truncation_is_one_sentence(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in range(0, len(whole), 7):
        saved.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r'is not a whole .npz file'):
            read_npz(saved, objects=True)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_are_found_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    stream = io.BytesIO()
    np.savez(stream, a=np.arange(5), b=np.array([1, {'x': 2}], dtype=object))
    content = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / 'a.npz').write_bytes(bytes(content))
    assert len(refusal(lambda: read_npz(tmp_path / 'a.npz', objects=True))) < 600


@pytest.mark.parametrize('array', [
    np.arange(1000, dtype=np.float32).reshape(100, 10), np.arange(12).reshape(3, 4).T,
    np.zeros((0, 4), np.float32), np.array([True, False])],
    ids=['float', 'turned', 'empty', 'bool'])
def test_an_array_is_written_as_numpy_writes_it(array: np.ndarray, tmp_path: Path) -> None:
    with (tmp_path / 'a.npy').open('wb') as file:
        save_array(file, array)
    found = np.load(tmp_path / 'a.npy')
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


def test_a_full_disk_is_noticed() -> None:
    """`numpy.save` would return as if all were well."""
    with (Path('/dev/full').open('wb', buffering=0) as file,
          pytest.raises(OSError, match='No space')):
        save_array(file, np.zeros(100, np.float32))
