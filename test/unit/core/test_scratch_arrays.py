"""Arrays beyond memory: the same numbers, in files without a name."""

import tempfile

import numpy as np
import pytest
from refusal import refusal

from seqnet_ros.core import scratch_arrays
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.scratch_arrays import GrowingRows, joined_rows, row_blocks, scratch_array


@pytest.fixture
def little_memory(monkeypatch) -> None:
    monkeypatch.setattr(scratch_arrays, 'IN_MEMORY_BYTES', 1000)
    monkeypatch.setattr(scratch_arrays, '_BLOCK_BYTES', 100)


def test_large_arrays_are_in_files_that_have_no_name(little_memory, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    assert not isinstance(scratch_array((10, 25)), np.memmap)
    large = scratch_array((10, 26))
    assert isinstance(large, np.memmap)
    large[:] = 7
    assert large.sum() == 7 * 260
    assert list(tmp_path.iterdir()) == []


def test_rows_grow_from_memory_into_a_file(little_memory):
    rows = GrowingRows()
    vectors = np.random.default_rng(0).standard_normal((200, 10)).astype(np.float32)
    for number, vector in enumerate(vectors):
        rows.append(vector)
        assert np.array_equal(rows[-1], vector)
        assert len(rows) == number + 1
    assert isinstance(rows.array, np.memmap)
    assert np.array_equal(rows.array, vectors)
    with pytest.raises(InputError, match='9 values, expected 10'):
        rows.append(vectors[0, :9])


def test_blocks_cover_all_rows_once(little_memory):
    array = np.arange(170, dtype=np.float32).reshape(17, 10)
    blocks = list(row_blocks(array))
    assert len(blocks) > 1
    assert np.array_equal(np.concatenate([array[block] for block in blocks]), array)
    assert np.array_equal(joined_rows(array, array[:3]), np.concatenate([array, array[:3]]))


def test_a_folder_that_cannot_be_written_is_named(little_memory, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'missing'))
    message = refusal(lambda: scratch_array((1000, 1000)))
    assert str(tmp_path / 'missing') in message
    assert 'TMPDIR' in message
