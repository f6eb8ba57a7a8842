"""No map and no other file is ever lost, and no damaged map is ever believed."""

import ctypes
import dataclasses
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import HOG, refusal, succeed
from map_files import libc_without_exchange, make_map, small_model, write_unchecked

from seqnet_ros.core.errors import (
    InputError,
    MapChangedError,
    MapConflictError,
    MapCorruptError,
    MapError,
    MapExistsError,
    MapNotFoundError,
    MapWriteError,
    ResultError,
)
from seqnet_ros.core.geodesy import check_geodetic
from seqnet_ros.core.poses import make_pose, make_trajectory
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.localization.result import Candidate, MatchResult, Reason
from seqnet_ros.maps import file_record, integrity, map_reader
from seqnet_ros.maps.manifest_file import document_digest
from seqnet_ros.maps.map_reader import open_map, verify_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, load_model

SECOND = 1_000_000_000


@pytest.fixture(scope='module')
def model() -> PlaceModel:
    return small_model()


@pytest.fixture(scope='module')
def place_map(model: PlaceModel) -> PlaceMap:
    return make_map(model)


@pytest.fixture
def saved(place_map: PlaceMap, tmp_path: Path) -> Path:
    path = tmp_path / 'town'
    save_map(place_map, path)
    return path


@pytest.fixture(params=['exchange', 'two renames'])
def swap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to replace a directory: in one step, and where the file system cannot do that."""
    if request.param == 'two renames':
        monkeypatch.setattr(ctypes, 'CDLL', libc_without_exchange)
    return request.param


def content(folder: Path) -> dict[str, bytes]:
    return {str(entry.relative_to(folder)): entry.read_bytes()
            for entry in folder.rglob('*') if entry.is_file()}


# --- what a save replaces ---------------------------------------------------------------------


@pytest.mark.parametrize('manifest', [
    '{"name": "web app", "start_url": "/"}', '[]', 'not JSON', '{"manifest": {}, "files": {}}'])
def test_a_folder_with_another_manifest_is_no_map(
        manifest: str, place_map: PlaceMap, tmp_path: Path) -> None:
    project = tmp_path / 'project'
    (project / 'src').mkdir(parents=True)
    (project / 'manifest.json').write_text(manifest)
    (project / 'src' / 'index.js').write_text('important')
    before = content(project)
    with pytest.raises(MapWriteError, match='is not a map that can be replaced'):
        save_map(place_map, project, overwrite=True)
    assert content(project) == before
    assert list(tmp_path.iterdir()) == [project]


@pytest.mark.parametrize('options', [{'overwrite': True}, {'overwrite': True, 'backup': False}])
def test_other_files_in_a_map_are_refused_by_name(
        options: dict[str, bool], saved: Path, place_map: PlaceMap) -> None:
    (saved / 'notes.txt').write_text('important')
    (saved / 'bags').mkdir()
    (saved / 'bags' / 'drive.mcap').write_bytes(b'recorded')
    before = content(saved)
    with pytest.raises(MapWriteError, match=r'not part of the map: bags, notes\.txt; move'):
        save_map(place_map, saved, **options)
    assert content(saved) == before


def test_a_manifest_cannot_make_other_files_part_of_the_map(
        saved: Path, place_map: PlaceMap) -> None:
    (saved / 'notes.txt').write_text('important')
    document = json.loads((saved / 'manifest.json').read_text())
    document['files']['notes.txt'] = {'bytes': 9, 'sha256': '0' * 64}
    document['sha256'] = document_digest(document)
    (saved / 'manifest.json').write_text(json.dumps(document))
    with pytest.raises(MapWriteError, match=r"lists 'notes\.txt', which is not a file of a map"):
        save_map(place_map, saved, overwrite=True)
    assert (saved / 'notes.txt').read_text() == 'important'


def test_the_source_folder_is_never_the_output(tmp_path: Path) -> None:
    folder = tmp_path / 'images'
    folder.mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f'{number}.png'), np.full((40, 60, 3), 40 * number, np.uint8))
    (folder / 'manifest.json').write_text('{}')
    before = content(folder)
    assert 'is not a map' in refusal('map', 'build', *HOG, folder, '--output', folder,
                                     '--overwrite')
    assert content(folder) == before


def test_an_existing_map_must_be_named_to_be_replaced(
        saved: Path, model: PlaceModel, swap: str) -> None:
    before, other = content(saved), make_map(model, seed=1)
    with pytest.raises(MapExistsError, match='is a map already'):
        save_map(other, saved)
    with pytest.raises(MapConflictError, match='was replaced by another process'):
        save_map(other, saved, replaces='somebody else')
    assert content(saved) == before
    kept = save_map(other, saved, overwrite=True)
    assert kept == saved.with_name('town~1')
    assert content(kept) == before
    after = content(saved)
    kept = save_map(open_map(kept), saved, replaces=other.manifest.map_id)
    assert kept == saved.with_name('town~2')
    assert content(kept) == after
    assert content(saved) == before
    assert save_map(other, saved, overwrite=True, backup=False) is None
    assert sorted(entry.name for entry in saved.parent.iterdir()) == ['town', 'town~1', 'town~2']


def test_a_damaged_map_is_kept_too(saved: Path, model: PlaceModel) -> None:
    (saved / 'frames.npy').write_bytes(b'')
    kept = save_map(make_map(model, seed=1), saved, overwrite=True)
    assert kept is not None
    assert (kept / 'frames.npy').read_bytes() == b''
    verify_map(saved)


def test_a_link_to_a_map_stays_a_link(saved: Path, model: PlaceModel, tmp_path: Path) -> None:
    link = tmp_path / 'current'
    link.symlink_to(saved)
    other = make_map(model, seed=1)
    assert save_map(other, link, overwrite=True) == saved.with_name('town~1')
    assert link.is_symlink()
    assert open_map(saved).manifest.map_id == open_map(link).manifest.map_id \
        == other.manifest.map_id
    (tmp_path / 'new').symlink_to(tmp_path / 'absent')
    save_map(other, tmp_path / 'new')
    assert (tmp_path / 'new').is_symlink()
    assert open_map(tmp_path / 'absent').manifest == other.manifest


# --- several processes ------------------------------------------------------------------------


def drive_folder(folder: Path, seed: int, count: int = 12) -> Path:
    folder.mkdir()
    random = np.random.default_rng(seed)
    for number in range(count):
        image = cv2.resize(random.integers(0, 256, (12, 16, 3), np.uint8), (160, 120))
        cv2.imwrite(str(folder / f'{number:03}.png'), image)
    return folder


@pytest.mark.slow
def test_two_processes_that_extend_a_map_both_count(tmp_path: Path) -> None:
    site = tmp_path / 'site'
    succeed('map', 'build', *HOG, drive_folder(tmp_path / 'first', 0), '--output', site)
    sessions = [drive_folder(tmp_path / f'session{seed}', seed) for seed in (1, 2, 3)]
    processes = [subprocess.Popen(
        [sys.executable, '-m', 'seqnet_ros.cli.main', 'map', 'build', str(session),
         '--extend', str(site), '--output', str(site), '--no-backup'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for session in sessions]
    outputs = [process.communicate(timeout=120)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    manifest = verify_map(site)
    assert manifest.places == 4 * 12
    assert {part.split('/')[-1] for part in manifest.source.split(' + ')} == {
        'first', 'session1', 'session2', 'session3'}


def replace_in_turn(maps: list[PlaceMap], path: Path) -> None:
    while True:
        for place_map in maps:
            save_map(place_map, path, overwrite=True, backup=False)


def copy_in_turn(sources: list[Path], path: Path) -> None:
    while True:
        for source in sources:
            for file in source.iterdir():
                shutil.copyfile(file, path / file.name)


@pytest.mark.parametrize('large', [False, True])
def test_readers_never_see_a_mixture(
        large: bool, saved: Path, model: PlaceModel, monkeypatch: pytest.MonkeyPatch,
        swap: str) -> None:
    if large:
        monkeypatch.setattr(map_reader, 'IN_MEMORY_BYTES', 1000)
    maps = [open_map(saved), make_map(model, seed=1, places=40)]
    expected = {item.manifest.map_id: item for item in maps}
    process = multiprocessing.get_context('fork').Process(
        target=replace_in_turn, args=(maps, saved))
    process.start()
    seen = set()
    try:
        for _ in range(300):
            found = open_map(saved)
            wanted = expected[found.manifest.map_id]
            for name, array in wanted.arrays().items():
                assert np.array_equal(found.arrays()[name], array), name
            seen.add(found.manifest.map_id)
    finally:
        process.kill()
        process.join()
    assert seen == set(expected)


def test_files_copied_over_a_map_are_never_taken_for_one(
        saved: Path, model: PlaceModel, tmp_path: Path) -> None:
    sources = [tmp_path / 'even', tmp_path / 'odd']
    for seed, source in enumerate(sources):
        save_map(make_map(model, seed), source)
    expected = {verify_map(source).map_id: open_map(source) for source in sources}
    process = multiprocessing.get_context('fork').Process(
        target=copy_in_turn, args=(sources, saved))
    process.start()
    try:
        for _ in range(200):
            try:
                found = open_map(saved)
            except (MapCorruptError, MapNotFoundError):
                continue
            for name, array in expected[found.manifest.map_id].arrays().items():
                assert np.array_equal(found.arrays()[name], array), name
    finally:
        process.kill()
        process.join()


def save_and_die(place_map: PlaceMap, path: Path, when: str) -> None:
    """Save with a backup, and die as the old map is about to be kept, or before the swap."""
    rename = Path.rename

    def rename_or_die(source: Path, target: Path) -> Path:
        if when == 'after' and target.name.endswith('~1'):
            os._exit(9)
        done = rename(source, target)
        if when == 'before' and target.suffix == '.old':
            os._exit(9)
        return done

    Path.rename = rename_or_die  # type: ignore[method-assign]
    save_map(place_map, path, overwrite=True)


@pytest.mark.parametrize('when', ['before', 'after'])
def test_a_killed_save_loses_neither_map(when: str, saved: Path, model: PlaceModel) -> None:
    other = make_map(model, seed=1)
    process = multiprocessing.get_context('fork').Process(
        target=save_and_die, args=(other, saved, when))
    process.start()
    process.join(30)
    assert process.exitcode == 9
    newest = other.manifest.map_id if when == 'after' else open_map(saved).manifest.map_id
    assert verify_map(saved).map_id == newest
    save_map(make_map(model, seed=2), saved, overwrite=True, backup=False)
    kept = verify_map(saved.with_name('town~1')).map_id
    assert kept not in (newest, verify_map(saved).map_id)


# --- what cannot be true is never written -------------------------------------------------------


@pytest.mark.parametrize(('line', 'words'), [
    ('1 1e200 0 0 0 0 0 1', 'expected coordinates within'),
    ('1 0 0 0 0 0 0 3', 'expected a unit quaternion')])
def test_one_wrong_pose_leaves_the_map_alone(line: str, words: str, tmp_path: Path) -> None:
    folder, poses = drive_folder(tmp_path / 'drive', 0, 3), tmp_path / 'poses.txt'
    poses.write_text('0 0 0 0 0 0 0 1\n1 1 0 0 0 0 0 1\n2 2 0 0 0 0 0 1\n')
    build = ('map', 'build', *HOG, folder, '--poses', poses, '--output', tmp_path / 'map',
             '--overwrite')
    succeed(*build)
    before = content(tmp_path / 'map')
    poses.write_text(f'0 0 0 0 0 0 0 1\n{line}\n2 2 0 0 0 0 0 1\n')
    assert words in refusal(*build)
    assert content(tmp_path / 'map') == before


@pytest.mark.parametrize(('latitude', 'longitude'), [(91, 0), (-91, 0), (0, 181), (np.nan, 0)])
def test_positions_off_the_earth_are_refused(latitude: float, longitude: float) -> None:
    with pytest.raises(InputError, match=r'position 1 is .*expected degrees within 90 and 180'):
        check_geodetic([50, latitude], [8, longitude], [0, 0])


def test_poses_from_anywhere_are_bounded() -> None:
    with pytest.raises(InputError, match=r'tf: pose 1 is .*expected coordinates within 1e\+07 m'):
        make_trajectory([0, 1], [make_pose(0, 0), make_pose(1.1e7, 0)], 'tf')


@pytest.mark.parametrize('pose', [[1e200, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0.5]])
def test_a_live_pose_that_cannot_be_true_is_refused(pose: list[float]) -> None:
    hog = load_model('hog', 'cpu')
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    mapper = Mapper(hog)
    mapper.push(image, 0, make_pose(0, 0))
    with pytest.raises(InputError, match=r'expected (coordinates|a unit quaternion)'):
        mapper.push(image, SECOND, np.array(pose))
    assert len(mapper) == 1
    with pytest.raises(InputError, match=r'expected (coordinates|a unit quaternion)'):
        Localizer(hog, mapper.finish()).push(image, 0, np.array(pose))


# --- a damaged map, its checksums made to fit ----------------------------------------------------


def damage(name: str, change: Callable[[np.ndarray], None]) -> Callable[[PlaceMap], PlaceMap]:
    def damaged(place_map: PlaceMap) -> PlaceMap:
        array = np.array(getattr(place_map, name))
        change(array)
        return dataclasses.replace(place_map, **{name: array})
    return damaged


def put(row: object, value: float) -> Callable[[np.ndarray], None]:
    def change(array: np.ndarray) -> None:
        array[row] = value
    return change


IMPOSSIBLE = {
    'mean': (damage('mean', put(3, np.nan)), 'mean holds values that are not finite'),
    'frame': (damage('frames', put((7, 2), np.inf)), 'frames holds values that are not finite'),
    'length': (damage('frames', put(7, 0.5)), 'frames of place 7 has length'),
    'sequence': (damage('sequences', put((7, 2), np.nan)), 'sequences holds values .* place 7'),
    'pose': (damage('poses', put((7, 0), -1e9)), 'poses 7 is .*expected coordinates'),
    'rotation': (damage('poses', put((7, 6), 0)), 'poses 7 is .*expected a unit quaternion'),
    'segment': (damage('segment_starts', put(7, 9)), 'segment_starts of place 7 is 9'),
    'negative': (damage('segment_starts', put(7, -1)), 'segment_starts of place 7 is -1'),
    'first': (damage('segment_starts', put(slice(0, 5), 1)), 'segment_starts of place 0 is 1'),
    'middle': (damage('segment_starts', put(slice(5, None), 3)), 'segment_starts of place 5 is 3'),
    'stamp': (damage('stamps_ns', put(7, 0)), 'stamps_ns go back at place 7'),
}


@pytest.mark.parametrize('large', [False, True])
@pytest.mark.parametrize('kind', IMPOSSIBLE)
def test_impossible_values_are_neither_saved_nor_opened(
        kind: str, large: bool, place_map: PlaceMap, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    change, words = IMPOSSIBLE[kind]
    damaged = change(place_map)
    with pytest.raises(MapWriteError, match=words):
        save_map(damaged, tmp_path / 'town')
    assert list(tmp_path.iterdir()) == []
    write_unchecked(damaged, tmp_path / 'town')
    if large:
        monkeypatch.setattr(map_reader, 'IN_MEMORY_BYTES', 1000)
    with pytest.raises(MapCorruptError, match=words):
        verify_map(tmp_path / 'town')
    if kind not in ('frame', 'length', 'sequence') or not large:
        with pytest.raises(MapCorruptError, match=words):
            open_map(tmp_path / 'town')


# --- large maps: verified when touched, watched while open ---------------------------------------


@pytest.fixture
def drive() -> list[np.ndarray]:
    """Images of a street of random blocks, seen while moving sideways."""
    street = np.random.default_rng(5).integers(0, 256, (12, 400, 3), np.uint8)
    street = cv2.resize(street, (4000, 120), interpolation=cv2.INTER_NEAREST)
    return [np.ascontiguousarray(street[:, 40 * step: 40 * step + 160]) for step in range(90)]


@pytest.fixture
def large(drive: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A map that is treated as one of more than 64 MiB, in blocks of 16 KiB."""
    mapper = Mapper(load_model('hog', 'cpu'))
    for number, image in enumerate(drive):
        mapper.push(image, number * SECOND // 5, make_pose(float(number), 0.0))
    monkeypatch.setattr(map_reader, 'IN_MEMORY_BYTES', 1000)
    for module in (file_record, integrity):
        monkeypatch.setattr(module, 'BLOCK_BYTES', 1 << 14)
    save_map(mapper.finish(), tmp_path / 'map')
    return tmp_path / 'map'


def accepted_places(localizer: Localizer, drive: list[np.ndarray], start: int = 0,
                    end: int | None = None) -> list[int]:
    found = []
    for number, image in list(enumerate(drive))[start:end]:
        result = localizer.push(image, number * SECOND // 5, make_pose(float(number), 0.0))
        if result is not None and result.accepted:
            assert result.best is not None
            found.append(result.best.place_id)
    return found


def test_a_large_map_is_verified_in_the_background(
        large: Path, drive: list[np.ndarray]) -> None:
    hog = load_model('hog', 'cpu')
    place_map = open_map(large, hog)
    assert place_map.integrity is not None
    assert len(accepted_places(Localizer(hog, place_map), drive)) > 40
    assert place_map.integrity.wait(30)
    place_map.check_unchanged()


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0x40
    path.write_bytes(content)


def test_a_damaged_block_is_found_before_its_place_is_accepted(
        large: Path, drive: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    # Only what a search touches: the background would find it as well.
    monkeypatch.setattr(integrity.MapIntegrity, '_verify_in_background', lambda self: None)
    hog = load_model('hog', 'cpu')
    # The lowest byte of a value of frame 50, too small a change to be seen in a distance.
    flip(large / 'frames.npy', 128 + 50 * hog.describer.dim * 4)
    localizer = Localizer(hog, open_map(large, hog))
    found: list[int] = []

    def localize() -> None:
        for number in range(len(drive)):
            found.extend(accepted_places(localizer, drive, number, number + 1))

    with pytest.raises(MapCorruptError, match=r'frames\.npy was modified'):
        localize()
    assert all(place < 50 for place in found)


def test_a_damaged_block_is_found_in_the_background(
        large: Path, drive: list[np.ndarray]) -> None:
    hog = load_model('hog', 'cpu')
    flip(large / 'sequences.npy', 128 + 80 * hog.describer.dim * 4)
    place_map = open_map(large, hog)
    place_map.check_unchanged()
    assert place_map.integrity is not None
    assert place_map.integrity.wait(30)
    with pytest.raises(MapCorruptError, match=r'sequences\.npy was modified'):
        Localizer(hog, place_map).push(drive[0], 0)


@pytest.mark.parametrize('places', [[], [0], [7, 8, 9, 30, 88, 89], range(0, 90, 3)])
def test_frames_of_a_large_map_are_read_from_its_file(large: Path, places: list[int]) -> None:
    place_map = open_map(large)
    chosen = np.array(places, dtype=np.int64)
    read = place_map.read_frames(chosen)
    np.testing.assert_array_equal(read, place_map.frames[chosen])
    assert type(read) is np.ndarray  # and no view of the file
    assert read.flags.writeable


def test_frames_that_another_program_cut_off_are_not_read(large: Path) -> None:
    place_map = open_map(large)
    os.truncate(large / 'frames.npy', 2000)
    with pytest.raises(MapChangedError, match=r'frames\.npy was changed by another program'):
        place_map.read_frames(np.arange(70, 90))


@pytest.mark.parametrize('name', ['mean', 'poses', 'stamps_ns', 'segment_starts'])
def test_small_files_of_a_large_map_are_always_compared(name: str, large: Path) -> None:
    flip(large / f'{name}.npy', 200)
    with pytest.raises(MapCorruptError, match=rf'{name}\.npy was modified'):
        open_map(large)


@pytest.mark.parametrize('change', ['truncate', 'copy over', 'append'])
def test_a_map_changed_while_in_use_is_searched_no_more(
        change: str, large: Path, drive: list[np.ndarray]) -> None:
    """Reading a truncated mapping would kill the process."""
    hog = load_model('hog', 'cpu')
    localizer = Localizer(hog, open_map(large, hog))
    accepted_places(localizer, drive, end=30)
    file = large / 'frames.npy'
    if change == 'truncate':
        os.truncate(file, 4096)
    elif change == 'append':
        with file.open('ab') as opened:
            opened.write(b'more')
    else:
        file.write_bytes(file.read_bytes()[::-1])
    for number in range(30, 33):
        with pytest.raises(MapChangedError, match=r'frames\.npy was changed by another program'):
            accepted_places(localizer, drive, number, number + 1)
    assert issubclass(MapChangedError, MapError)


def test_a_small_map_stays_in_memory(drive: list[np.ndarray], tmp_path: Path) -> None:
    hog = load_model('hog', 'cpu')
    mapper = Mapper(hog)
    for number, image in enumerate(drive):
        mapper.push(image, number * SECOND // 5, make_pose(float(number), 0.0))
    save_map(mapper.finish(), tmp_path / 'map')
    expected = accepted_places(Localizer(hog, open_map(tmp_path / 'map')), drive)
    localizer = Localizer(hog, open_map(tmp_path / 'map'))
    for file in (tmp_path / 'map').iterdir():
        os.truncate(file, 3)
    assert accepted_places(localizer, drive) == expected
    assert len(expected) > 40


# --- what leaves an engine ------------------------------------------------------------------------


def test_a_descriptor_that_is_not_finite_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    hog = load_model('hog', 'cpu')
    mapper = Mapper(hog)
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    mapper.push(image, 0)
    monkeypatch.setattr(type(hog.describer), 'describe', lambda *_: np.full((1, 1764), np.nan))
    with pytest.raises(InputError, match='descriptor that is not finite'):
        mapper.push(255 - image, SECOND)
    assert len(mapper) == 1


@pytest.mark.parametrize('change', [
    {'place_id': -1}, {'sequence_distance': np.nan}, {'descriptor_distance': np.inf},
    {'score': np.nan}, {'score': 1.5}, {'pose': np.full(7, np.nan)},
    {'relative_pose': np.full(7, np.nan)}])
def test_no_result_holds_what_cannot_be_true(change: dict[str, object]) -> None:
    candidate = Candidate(3, 0, make_pose(0, 0), 0.1, 0.1, 0.9)
    assert MatchResult(0, 0, 0, (candidate,), Reason.ACCEPTED).accepted
    with pytest.raises(ResultError, match='invalid candidate'):
        MatchResult(0, 0, 0, (dataclasses.replace(candidate, **change),), Reason.ACCEPTED)
    with pytest.raises(ResultError, match='without a candidate'):
        MatchResult(0, 0, 0, (), Reason.ACCEPTED)
