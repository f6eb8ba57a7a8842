"""The store of a fleet's map: files by their hash, from the place that the user names."""

import hashlib
import os
from pathlib import Path

import pytest
from refusal import refusal

from seqnet_ros.maps.fleet.directory import StoredFile
from seqnet_ros.maps.fleet.store import Store

CONTENT = b'the archive of a tile'
FILE = StoredFile(bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


def test_what_is_added_is_found(tmp_path):
    store = Store(str(tmp_path))
    assert store.add(lambda path: path.write_bytes(CONTENT), '.zip') == FILE
    file = tmp_path / f'{FILE.sha256}.zip'
    before = file.stat()
    assert store.add(lambda path: path.write_bytes(CONTENT), '.zip') == FILE
    assert file.stat().st_ino == before.st_ino  # the same file stays
    assert list(tmp_path.iterdir()) == [file]
    store.get(FILE, '.zip', tmp_path / 'copy')
    assert (tmp_path / 'copy').read_bytes() == CONTENT


def test_what_breaks_off_leaves_nothing(tmp_path):
    def write(path: Path) -> None:
        path.write_bytes(CONTENT)
        raise OSError(28, 'No space left on device')

    assert 'No space left' in refusal(lambda: Store(str(tmp_path)).add(write, '.zip'))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('found', [b'', CONTENT[:-1], CONTENT + b'!', CONTENT[::-1]])
def test_another_content_is_refused(tmp_path, found):
    (tmp_path / f'{FILE.sha256}.zip').write_bytes(found)
    assert 'is damaged' in refusal(
        lambda: Store(str(tmp_path)).get(FILE, '.zip', tmp_path / 'copy'))
    assert not (tmp_path / 'copy').exists()


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / f'{FILE.sha256}.zip')
    assert 'no readable file' in refusal(
        lambda: Store(str(tmp_path)).get(FILE, '.zip', tmp_path / 'copy'))


def test_a_store_at_an_https_address(publisher, tmp_path):
    store = Store(f'{publisher.address}/')
    publisher.files[f'{FILE.sha256}.zip'] = CONTENT
    store.get(FILE, '.zip', tmp_path / 'copy')
    assert (tmp_path / 'copy').read_bytes() == CONTENT
    publisher.files[f'{FILE.sha256}.zip'] = CONTENT[::-1]
    assert FILE.sha256 in refusal(lambda: store.get(FILE, '.zip', tmp_path / 'other'))
    publisher.files[f'{FILE.sha256}.zip'] = CONTENT * 2
    assert refusal(lambda: store.get(FILE, '.zip', tmp_path / 'other'))
    assert not (tmp_path / 'other').exists()
    publisher.files.clear()
    assert '404' in refusal(lambda: store.get(FILE, '.zip', tmp_path / 'other'))
