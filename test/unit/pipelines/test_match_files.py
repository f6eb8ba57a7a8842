"""The folder of a run: files of others in it stay, and two runs do not share it."""

from pathlib import Path

import pytest

from seqnet_ros.core.errors import InputError
from seqnet_ros.pipelines.match_files import CSV, JSONL, SUMMARY, MatchFiles, check_folder

LOOPS = {'loops.csv': 'from_place,to_place'}


def run_in(folder: Path) -> None:
    with MatchFiles(folder) as files:
        files.finish({'source': 'x', 'model': 'hog'})


def test_a_folder_of_an_earlier_run_may_be_used_again(tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    check_folder(folder)
    for _ in range(2):
        run_in(folder)
        check_folder(folder, LOOPS)
    (folder / f'{CSV}.part').write_text('rows of an interrupted run')
    (folder / 'notes.txt').write_text('notes')
    check_folder(folder, LOOPS)


@pytest.mark.parametrize('name', [CSV, JSONL, SUMMARY, 'loops.csv'])
@pytest.mark.parametrize('content', ['{"my": "own"}', 'a,b,c', ''])
def test_a_file_of_another_program_stays(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    if name == JSONL and not content:  # of a run without matches
        check_folder(tmp_path, LOOPS)
        return
    with pytest.raises(InputError, match=f'holds another {name}'):
        check_folder(tmp_path, LOOPS)


def test_a_map_is_no_folder_for_results(tmp_path: Path) -> None:
    (tmp_path / 'manifest.json').write_text('{}')
    with pytest.raises(InputError, match='is a map, expected another folder'):
        check_folder(tmp_path)


def test_two_runs_at_once_do_not_mix(tmp_path: Path) -> None:
    with MatchFiles(tmp_path) as first:
        with pytest.raises(InputError, match='another process writes'):
            MatchFiles(tmp_path).__enter__()
        first.finish({'source': 'first', 'model': 'hog'})
    assert '"first"' in (tmp_path / SUMMARY).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [CSV, JSONL, SUMMARY]


def test_a_linked_result_stays_a_link(tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    run_in(folder)
    (folder / CSV).rename(tmp_path / 'kept.csv')
    (folder / CSV).symlink_to(tmp_path / 'kept.csv')
    run_in(folder)
    assert (folder / CSV).is_symlink()
    assert (tmp_path / 'kept.csv').read_text().startswith('query,')
