"""Files that appear complete or not at all, and leave everything else alone."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from seqnet_ros.core.errors import InputError, MapWriteError
from seqnet_ros.core.files import (
    begins_with,
    is_same_path,
    is_writable,
    move_new_files,
    open_part,
    prepare_outputs,
    refuse_existing,
    refuse_file,
    staging_folder,
    whole_file,
)
from seqnet_ros.maps.map_writer import check_target

_NOBODY = 65534


def test_a_file_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / 'results.json'
    path.write_text('before')

    def fail() -> None:
        with whole_file(path) as file:
            file.write(b'half')
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == 'before'
    with whole_file(path) as file:
        file.write(b'after')
    assert path.read_text() == 'after'
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_the_user_with_the_ending_part_stays(tmp_path: Path) -> None:
    (tmp_path / 'results.json.part').write_text('important')
    with whole_file(tmp_path / 'results.json') as file:
        file.write(b'new')
    assert (tmp_path / 'results.json.part').read_text() == 'important'


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / 'results.json'
    with whole_file(path) as first:
        first.write(b'fir')
        with whole_file(path) as second:
            second.write(b'second')
        assert path.read_text() == 'second'
        first.write(b'st')
    assert path.read_text() == 'first'


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / 'real').write_text('before')
    (tmp_path / 'link').symlink_to(tmp_path / 'real')
    with whole_file(tmp_path / 'link') as file:
        file.write(b'after')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'real').read_text() == 'after'


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='cannot be written'), whole_file(tmp_path / 'file' / 'x'):
        pass


def test_two_runs_do_not_write_rows_to_one_file(tmp_path: Path) -> None:
    part = tmp_path / 'rows.part'
    part.write_text('rows of an interrupted run')
    with open_part(part) as first:
        first.write('one\n')
        with pytest.raises(InputError, match=r'another process writes .*rows\.part'):
            open_part(part)
        first.write('two\n')
    assert part.read_text() == 'one\ntwo\n'
    with open_part(part) as second:
        second.write('three\n')
    assert part.read_text() == 'three\n'


def test_an_existing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'own'
    refuse_existing([path])
    path.write_text('')
    with pytest.raises(InputError, match='own exists, expected a new file'):
        refuse_existing([tmp_path / 'new', path])


def test_only_an_own_result_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / 'own'
    path.write_text('result')
    prepare_outputs([None, path, tmp_path / 'x' / 'y'], lambda file: file.read_text() == 'result')
    assert (tmp_path / 'x').is_dir()
    with pytest.raises(InputError, match='is not a result of this command'):
        prepare_outputs([path], lambda _: False)
    with pytest.raises(InputError, match='is a folder, expected a file'):
        prepare_outputs([tmp_path], lambda _: True)


@pytest.fixture
def read_only() -> Iterator[Path]:
    """Give a folder that the user of the test cannot write to; permissions do not bind root."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        if user == 0:
            os.seteuid(_NOBODY)
        yield Path(folder)
        os.seteuid(user)


def test_a_folder_that_is_read_only_is_known_before_the_work(read_only: Path) -> None:
    for path in (read_only, read_only / 'new' / 'folder'):
        assert not is_writable(path)
        with pytest.raises(InputError, match='it is read-only for this user'):
            refuse_file(path)
        with pytest.raises(InputError, match='read-only'):
            refuse_existing([path / 'model.yaml'])
    with pytest.raises(InputError, match='read-only'):
        prepare_outputs([read_only / 'queries.csv'], lambda path: True)
    with pytest.raises(MapWriteError, match='read-only'):
        check_target(read_only / 'map')


def test_a_folder_that_can_be_made_is_writable(tmp_path: Path) -> None:
    assert is_writable(tmp_path / 'new' / 'folder')
    refuse_file(tmp_path / 'new' / 'folder')
    refuse_existing([tmp_path / 'new' / 'model.yaml'])
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='file is a file, expected a folder'):
        refuse_existing([tmp_path / 'file' / 'model.yaml'])


def test_a_link_to_itself_is_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / 'link'
    link.symlink_to('link')

    def write() -> None:
        with whole_file(link) as file:
            file.write(b'new')

    with pytest.raises(InputError, match='Too many levels of symbolic links'):
        write()
    assert link.is_symlink()
    assert not is_same_path(link, tmp_path)


def test_a_link_to_nothing_is_something(tmp_path: Path) -> None:
    link = tmp_path / 'link'
    link.symlink_to('nothing')
    with pytest.raises(InputError, match='exists, expected a new file'):
        refuse_existing([link])


def _write_two(target: Path) -> None:
    with staging_folder(target) as staging:
        (staging / 'weights.bin').write_text('weights')
        assert not target.exists()
        (staging / target.name).write_text('model')
        move_new_files(staging, target)


def test_files_appear_together_and_replace_nothing(tmp_path: Path) -> None:
    target = tmp_path / 'new' / 'model.yaml'
    _write_two(target)
    assert sorted(path.name for path in target.parent.iterdir()) == ['model.yaml', 'weights.bin']
    target.unlink()
    target.with_name('weights.bin').write_text('mine')
    with pytest.raises(InputError, match=r'weights\.bin exists, expected a new file'):
        _write_two(target)
    assert [path.read_text() for path in target.parent.iterdir()] == ['mine']


def test_files_that_cannot_be_moved_leave_none(tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    target, rename = tmp_path / 'model.yaml', Path.replace

    def full(path: Path, to: Path) -> Path:
        if to == target:
            raise OSError(28, 'No space left on device')
        return rename(path, to)

    monkeypatch.setattr(Path, 'replace', full)
    with pytest.raises(InputError, match='No space left on device'):
        _write_two(target)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_known_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / 'table.csv'
    path.write_text('place,x\n1,2\n')
    assert begins_with(path, 'place,')
    assert not begins_with(path, 'frame,')
