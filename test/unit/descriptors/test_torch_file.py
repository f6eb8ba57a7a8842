"""Torch files: plain ones are read as torch reads them, hostile ones run nothing."""

import collections
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusal import refusal

from seqnet_ros.core.errors import InputError
from seqnet_ros.descriptors.torch_file import read_torch_file

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int8,
          torch.int16, torch.int32, torch.int64, torch.bool)


def content() -> dict[str, object]:
    base = torch.arange(12.0).reshape(3, 4)
    state = collections.OrderedDict(w=base, t=base.T, row=base[1], p=torch.nn.Parameter(base[:2]),
                                    scalar=torch.tensor(3.0), empty=torch.empty(0, 4))
    state._metadata = {'': {'version': 1}}
    return {
        'state_dict': state, 'epoch': 3, 'recalls': {1: 0.5}, 'name': 'run', 'size': base.shape,
        'score': np.float64(0.25), 'table': np.arange(3), 'nothing': None, 'flags': [True, 2.5],
        'milestones': collections.Counter([3, 3]), 'kinds': {str(kind): torch.ones(3).to(kind)
                                                            for kind in DTYPES}}


def assert_equal(found: object, expected: object) -> None:
    if isinstance(expected, torch.Tensor):
        assert isinstance(found, torch.Tensor)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected.detach())
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_equal(found[key], value)
    elif isinstance(expected, (np.ndarray, list, tuple)):
        assert list(found) == list(expected)  # type: ignore[call-overload]
    else:
        assert found == expected


@pytest.mark.parametrize('new', [True, False])
def test_files_are_read_as_torch_reads_them(new: bool, tmp_path: Path) -> None:
    torch.save(content(), tmp_path / 'a.pt', _use_new_zipfile_serialization=new)
    found = read_torch_file(tmp_path / 'a.pt')
    assert_equal(found, content())
    state = found['state_dict']
    state['w'][1, 0] = 77  # tensors of one storage stay so
    assert state['row'][0] == 77


class Call:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('new', [True, False])
def test_nothing_in_a_file_is_called(new: bool, tmp_path: Path) -> None:
    torch.save({'state_dict': {'w': torch.ones(2)}, 'x': Call(tmp_path / 'owned')},
               tmp_path / 'a.pt', _use_new_zipfile_serialization=new)
    with pytest.raises(InputError, match=r'posix\.mkdir, which is refused'):
        read_torch_file(tmp_path / 'a.pt')
    assert not (tmp_path / 'owned').exists()


@pytest.mark.parametrize('value', [
    torch.nn.Linear(2, 2), {1, torch.device}, torch.ones(2, dtype=torch.complex64), Path('x')],
    ids=['module', 'type', 'complex', 'path'])
def test_what_is_neither_plain_nor_a_tensor_is_refused(value: object, tmp_path: Path) -> None:
    torch.save({'w': value}, tmp_path / 'a.pt')
    with pytest.raises(InputError, match='is refused'):
        read_torch_file(tmp_path / 'a.pt')


def rewritten(path: Path, change: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Replace members of a torch file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, found in members.items():
            archive.writestr(name, change.get(name.partition('/')[2], found))
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save({'w': torch.arange(8.0)}, tmp_path / 'a.pt')
    return tmp_path / 'a.pt'


@pytest.mark.parametrize(('old', 'new', 'words'), [
    (b'K\x08tq', b'K\x09tq', 'has 32 bytes, expected 9'),  # values of the storage
    (b'K\x08\x85', b'K\x09\x85', 'exceeds its storage of 8'),  # size of the tensor
    (b'K\x01\x85', b'K\x00\x85', None),  # all values are the first one
    (b'K\x00K\x08\x85', b'K\x01K\x08\x85', 'exceeds its storage'),  # offset
    (b'ctorch\nFloatStorage', b'ctorch\nDoubleStorage', 'expected 8 of torch.float64')])
def test_tensors_lie_within_their_storage(old: bytes, new: bytes, words: str | None,
                                          saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        found = archive.read('a/data.pkl')
    assert old in found
    rewritten(saved, {'data.pkl': found.replace(old, new)})
    if words is None:
        assert torch.equal(read_torch_file(saved)['w'], torch.zeros(8))
    else:
        with pytest.raises(InputError, match=words):
            read_torch_file(saved)


def test_bombs_are_refused(saved: Path, tmp_path: Path) -> None:
    rewritten(saved, {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match='is compressed'):
        read_torch_file(saved)
    nested: list = ['x']
    for _ in range(40):
        nested = [nested, nested]
    torch.save({'x': nested}, saved)
    with pytest.raises(InputError, match='stand for more than'):
        read_torch_file(saved)
    loop: list = []
    loop.append(loop)
    torch.save({'x': loop}, saved)
    with pytest.raises(InputError, match='contains itself'):
        read_torch_file(saved)
    rewritten(saved, {'data.pkl': b'\x80\x02}r\xff\xff\xff\x3f.'})
    with pytest.raises(InputError, match='numbers 1073741823 values'):
        read_torch_file(saved)
    rewritten(saved, {'data.pkl': b'(' * 100_000 + b'.'})
    with pytest.raises(InputError, match='is damaged'):
        read_torch_file(saved)


@pytest.mark.parametrize('new', [True, False])
def test_every_truncation_is_one_sentence(new: bool, tmp_path: Path) -> None:
    torch.save({'w': torch.arange(8.0)}, tmp_path / 'a.pt', _use_new_zipfile_serialization=new)
    whole = (tmp_path / 'a.pt').read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / 'a.pt').write_bytes(whole[:length])
        with pytest.raises(InputError, match=r'a\.pt'):
            read_torch_file(tmp_path / 'a.pt')


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.booleans(), st.data())
def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path, new: bool,
                                               data: st.DataObject) -> None:
    stream = io.BytesIO()
    torch.save({'w': torch.arange(4.0), 'n': 3}, stream, _use_new_zipfile_serialization=new)
    changed = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / 'a.pt'
    path.write_bytes(bytes(changed))
    assert len(refusal(lambda: read_torch_file(path))) < 700


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80))
def test_any_pickle_gives_plain_data_or_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'a.pt'
    torch.save({}, path)
    rewritten(path, {'data.pkl': b'\x80\x02' + content})
    assert len(refusal(lambda: read_torch_file(path))) < 700


def test_a_pickle_alone_is_no_torch_file(tmp_path: Path) -> None:
    (tmp_path / 'a.pt').write_bytes(pickle.dumps({'w': 1}))
    with pytest.raises(InputError, match='is not a torch file'):
        read_torch_file(tmp_path / 'a.pt')
