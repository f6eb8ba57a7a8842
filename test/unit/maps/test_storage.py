"""Maps on disk: what is saved is what is opened, whatever happens meanwhile."""

import ctypes
import dataclasses
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import succeed
from map_files import PLACES, libc_without_exchange, make_map, small_model, write_unchecked

from seqnet_ros.config.engine import KeyframeConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import (
    InputError,
    MapCorruptError,
    MapError,
    MapModelMismatchError,
    MapNotFoundError,
    MapWriteError,
)
from seqnet_ros.core.poses import make_pose
from seqnet_ros.maps import map_reader
from seqnet_ros.maps.builder import build_map, with_sequence_length
from seqnet_ros.maps.manifest_file import document_digest
from seqnet_ros.maps.map_reader import open_map, verify_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, build_model
from seqnet_ros.sequences.centring import normalize_rows
from seqnet_ros.sequences.windows import trailing_windows

ARRAYS = ('frames', 'sequences', 'mean', 'stamps_ns', 'poses', 'segment_starts')
FILES = ('manifest.json', *(f'{name}.npy' for name in ARRAYS))


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


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def assert_same(found: PlaceMap, expected: PlaceMap) -> None:
    assert found.manifest == expected.manifest
    for name in ARRAYS:
        array, wanted = getattr(found, name), getattr(expected, name)
        assert array.dtype == wanted.dtype
        assert np.array_equal(array, wanted), name


# --- building ----------------------------------------------------------------------------------


def test_map_of_a_drive(model: PlaceModel, place_map: PlaceMap) -> None:
    manifest = place_map.manifest
    assert len(place_map) == PLACES
    assert manifest.route_length_m == pytest.approx(2.0 * (PLACES - 1))
    assert manifest.fingerprint == model.fingerprint
    assert manifest.spacing == '2m'
    starts, ends = place_map.stretches(np.arange(PLACES))
    assert starts.tolist() == [0] * 30 + [30] * 30
    assert ends.tolist() == [30] * 30 + [60] * 30
    assert np.abs(place_map.frames.mean(axis=0)).max() < 0.02
    window = trailing_windows(place_map.segment_starts, 5)[32]
    assert window.tolist() == [30, 30, 30, 31, 32]
    smooth = normalize_rows(place_map.frames[window].mean(axis=0))
    assert place_map.sequences[32] == pytest.approx(smooth, abs=1e-6)


def test_map_needs_frames_that_are_finite(model: PlaceModel) -> None:
    frames = np.ones((2, model.describer.dim), dtype=np.float32)
    poses = np.stack([make_pose(0, 0)] * 2)
    with pytest.raises(InputError, match='no keyframe, expected at least one'):
        build_map(model, frames[:0], [], poses[:0], [], '1')
    frames[1, 3] = np.nan
    with pytest.raises(InputError, match='not finite'):
        build_map(model, frames, [0, 1], poses, [0, 0], '1')


def test_map_id_follows_the_content(model: PlaceModel, place_map: PlaceMap) -> None:
    assert make_map(model).manifest.map_id == place_map.manifest.map_id
    assert make_map(model, seed=1).manifest.map_id != place_map.manifest.map_id


@pytest.mark.parametrize('length', [1, 3, 12])
def test_other_sequence_length_equals_a_map_built_for_it(
        length: int, model: PlaceModel, place_map: PlaceMap) -> None:
    other = dataclasses.replace(model, engine=model.engine.with_length(length))
    changed = with_sequence_length(place_map, model, length)
    assert changed.manifest.calibration is None
    assert changed.manifest.sequence_length == length
    assert changed.sequences == pytest.approx(make_map(other).sequences, abs=1e-6)
    assert with_sequence_length(place_map, model, 5) is place_map


@pytest.mark.filterwarnings('error')
def test_map_of_one_place_can_be_made_and_kept(model: PlaceModel, tmp_path: Path) -> None:
    place_map = make_map(model, places=1)
    save_map(place_map, tmp_path / 'one')
    assert_same(open_map(tmp_path / 'one', model), place_map)


# --- maps whose frames are described once more ---------------------------------------------------


@pytest.fixture(scope='module')
def hvpr() -> PlaceModel:
    """SeqNet for the coarse stage and another for single frames, both with random weights."""
    return build_model(parse_preset({
        'name': 'small-hvpr', 'image': {'height': 64, 'width': 64}, 'centring': False,
        'frame': {'kind': 'hog', 'cell': 16, 'block': 32},
        'sequence': {'length': 5, 'aggregator': 'seqnet', 'kernel': 3, 'out_dim': 12,
                     'weights': {'random': True}},
        'projection': {'out_dim': 10, 'weights': {'random': True}}}), 'cpu')


@pytest.fixture(scope='module')
def projected_map(hvpr: PlaceModel) -> PlaceMap:
    return make_map(hvpr)


@pytest.fixture
def saved_projected(projected_map: PlaceMap, tmp_path: Path) -> Path:
    path = tmp_path / 'town'
    save_map(projected_map, path)
    return path


def test_frames_are_projected_one_by_one(hvpr: PlaceModel, projected_map: PlaceMap) -> None:
    weight, bias = (tensor.numpy() for tensor in hvpr.projection.state_dict().values())
    assert projected_map.projected.shape == (PLACES, 10)
    assert projected_map.sequences.shape == (PLACES, 12)
    for frame, projected in zip(projected_map.frames, projected_map.projected, strict=True):
        assert projected == pytest.approx(normalize_rows(weight[:, :, 0] @ frame + bias), abs=1e-6)
    assert projected_map.matching_frames is projected_map.projected
    assert projected_map.manifest.matching_dim == 10


def test_projected_frames_do_not_depend_on_the_sequence(
        hvpr: PlaceModel, projected_map: PlaceMap) -> None:
    longer = with_sequence_length(projected_map, hvpr, 8)
    assert longer.projected is projected_map.projected
    assert not np.allclose(longer.sequences, projected_map.sequences, atol=1e-3)


def test_projected_map_on_disk(
        saved_projected: Path, projected_map: PlaceMap, hvpr: PlaceModel) -> None:
    assert set(content(saved_projected)) == {*FILES, 'projected.npy'}
    found = open_map(saved_projected, hvpr)
    assert_same(found, projected_map)
    assert not found.projected.flags.writeable
    assert np.array_equal(found.projected, projected_map.projected)
    assert verify_map(saved_projected).format_version == 2
    save_map(found, saved_projected.parent / 'copy')
    assert content(saved_projected.parent / 'copy') == content(saved_projected)


def test_maps_without_projection_are_as_earlier_versions_wrote_them(saved: Path) -> None:
    manifest = json.loads((saved / 'manifest.json').read_text())['manifest']
    assert manifest['format_version'] == 1
    assert 'projection' not in manifest['model']
    assert set(content(saved)) == set(FILES)


@pytest.mark.parametrize('damage', ['missing', 'truncated', 'altered', 'unlisted'])
def test_damaged_projected_frames(damage: str, saved_projected: Path) -> None:
    file = saved_projected / 'projected.npy'
    data = bytearray(file.read_bytes())
    if damage == 'missing':
        file.unlink()
    elif damage == 'unlisted':
        document = json.loads((saved_projected / 'manifest.json').read_text())
        del document['files'][file.name]
        document['sha256'] = document_digest(document)
        (saved_projected / 'manifest.json').write_text(json.dumps(document))
    else:
        data[-1] ^= 1
        file.write_bytes(data[:-4] if damage == 'truncated' else data)
    with pytest.raises(MapCorruptError, match='all files of a map' if damage == 'unlisted'
                       else 'projected.npy'):
        open_map(saved_projected)


def test_projected_frames_that_are_not_finite(hvpr: PlaceModel, tmp_path: Path) -> None:
    place_map = make_map(hvpr)
    place_map.projected[3, 0] = np.nan
    with pytest.raises(MapWriteError, match='projected holds values that are not finite'):
        save_map(place_map, tmp_path / 'town')
    write_unchecked(place_map, tmp_path / 'town')
    with pytest.raises(MapCorruptError, match='projected holds values that are not finite'):
        open_map(tmp_path / 'town')


@pytest.mark.parametrize(('projected', 'version'), [(True, 1), (False, 2)])
def test_format_that_does_not_go_with_the_model(
        projected: bool, version: int, projected_map: PlaceMap, place_map: PlaceMap,
        tmp_path: Path) -> None:
    path = tmp_path / 'town'
    save_map(projected_map if projected else place_map, path)
    edit_manifest(path, digest=True, format_version=version)
    with pytest.raises(MapCorruptError, match=f'format_version is {version}, expected'):
        open_map(path)


def test_map_of_another_projection(saved_projected: Path, hvpr: PlaceModel) -> None:
    values = hvpr.preset.document()
    del values['projection']
    without = build_model(parse_preset(values | {'name': 'without'}), 'cpu')
    with pytest.raises(MapModelMismatchError, match=r"'small-hvpr'.*'without'"):
        open_map(saved_projected, without)


def test_a_projected_map_is_shown_as_one(saved_projected: Path) -> None:
    expected = '324 per frame, 12 per sequence, 10 per frame for matching (projection)'
    for command in ('info', 'verify'):
        assert expected in succeed('map', command, saved_projected).stdout


# --- saving and opening ------------------------------------------------------------------------


def test_round_trip(saved: Path, place_map: PlaceMap, model: PlaceModel) -> None:
    found = open_map(saved, model)
    assert_same(found, place_map)
    assert verify_map(saved) == place_map.manifest
    query = np.array(place_map.sequences[17])
    assert found.index.search(query, 3)[1].tolist() == place_map.index.search(query, 3)[1].tolist()


@pytest.mark.parametrize('large', [False, True])
def test_opened_arrays_are_read_only(
        large: bool, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small maps lie in memory; of large ones the descriptors are mapped."""
    monkeypatch.setattr(map_reader, 'IN_MEMORY_BYTES', 1000 if large else 64 << 20)
    place_map = open_map(saved)
    for name in ARRAYS:
        array = getattr(place_map, name)
        assert isinstance(array, np.memmap) == (large and name in ('frames', 'sequences'))
        with pytest.raises(ValueError, match='read-only'):
            array[0] = 1


def test_two_saves_are_equal_to_the_byte(saved: Path, model: PlaceModel, tmp_path: Path) -> None:
    save_map(make_map(model), tmp_path / 'again')
    assert content(tmp_path / 'again') == content(saved)
    save_map(open_map(saved), tmp_path / 'copy')
    assert content(tmp_path / 'copy') == content(saved)


def test_saving_replaces_the_old_map_and_leaves_nothing(
        saved: Path, place_map: PlaceMap, model: PlaceModel) -> None:
    opened = open_map(saved)
    other = make_map(model, seed=1, places=50)
    save_map(other, saved, overwrite=True, backup=False)
    assert_same(open_map(saved), other)
    assert_same(opened, place_map)  # still in use by somebody
    save_map(open_map(saved), saved, overwrite=True, backup=False)
    assert_same(open_map(saved), other)
    assert [entry.name for entry in saved.parent.iterdir()] == ['town']
    assert set(content(saved)) == set(FILES)


def test_map_is_readable_for_others(saved: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o755


def test_missing_folder_is_not_made(place_map: PlaceMap, tmp_path: Path) -> None:
    """A disk that is not mounted has no folder; the map must not go to the disk beneath."""
    with pytest.raises(MapWriteError, match=r'the folder .* does not exist'):
        save_map(place_map, tmp_path / 'usb' / 'town')
    assert list(tmp_path.iterdir()) == []


# --- bad input ---------------------------------------------------------------------------------


def test_missing_map(tmp_path: Path) -> None:
    with pytest.raises(MapNotFoundError, match='found nothing, expected the directory of a map'):
        open_map(tmp_path / 'absent')
    with pytest.raises(MapNotFoundError, match=r'a directory without manifest\.json'):
        open_map(tmp_path)
    (tmp_path / 'file').write_text('x')
    with pytest.raises(MapNotFoundError, match='found a file'):
        open_map(tmp_path / 'file')
    with pytest.raises(MapNotFoundError):
        open_map(tmp_path / 'no' / 'such' / 'folder')


@pytest.mark.parametrize('name', FILES)
def test_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(MapError, match=name) as raised:
        open_map(saved)
    assert str(saved) in str(raised.value)


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('share', [0.0, 0.5, 0.99])
def test_truncated_file(saved: Path, name: str, share: float) -> None:
    data = (saved / name).read_bytes()
    (saved / name).write_bytes(data[:int(len(data) * share)])
    with pytest.raises(MapCorruptError, match=name):
        open_map(saved)


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('share', [0.0, 0.05, 0.5, 0.999])
def test_altered_byte(saved: Path, name: str, share: float) -> None:
    data = bytearray((saved / name).read_bytes())
    data[int((len(data) - 2) * share)] ^= 0x11
    (saved / name).write_bytes(data)
    with pytest.raises(MapCorruptError):
        open_map(saved)
    with pytest.raises(MapCorruptError):
        verify_map(saved)


def test_large_maps_are_verified_on_demand(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_reader, 'IN_MEMORY_BYTES', 1000)
    data = bytearray((saved / 'frames.npy').read_bytes())
    data[-1] ^= 1
    (saved / 'frames.npy').write_bytes(data)
    open_map(saved)
    with pytest.raises(MapCorruptError, match=r'frames\.npy was modified'):
        open_map(saved, verify=True)
    with pytest.raises(MapCorruptError, match=r'frames\.npy was modified'):
        verify_map(saved)


def edit_manifest(path: Path, digest: bool, **changes: object) -> None:
    """Change the manifest; with ``digest`` its checksum is made to fit."""
    document = json.loads((path / 'manifest.json').read_text())
    document['manifest'].update(changes)
    if digest:
        document['sha256'] = document_digest(document)
    (path / 'manifest.json').write_text(json.dumps(document))


def test_altered_manifest(saved: Path) -> None:
    edit_manifest(saved, digest=False, spacing='3m')
    with pytest.raises(MapCorruptError, match=r'manifest\.json was modified'):
        open_map(saved)


@pytest.mark.parametrize('version', [0, 5, 'x'])
def test_unknown_format(saved: Path, version: object) -> None:
    edit_manifest(saved, digest=True, format_version=version)
    with pytest.raises(MapCorruptError,
                       match=f'map format {version!r}, this version reads 1, 2, 3, 4'):
        open_map(saved)


def test_map_of_a_later_version_is_named_and_stays(saved: Path, model: PlaceModel) -> None:
    edit_manifest(saved, digest=True, weather='rain', season='winter')
    before = (saved / 'manifest.json').read_bytes()
    with pytest.raises(MapCorruptError, match='was made by a later version: its manifest has '
                                              'weather, season, which this version does not know'):
        open_map(saved)
    with pytest.raises(MapWriteError, match=r'can be replaced: .* was made by a later version'):
        save_map(make_map(model), saved, overwrite=True)
    assert (saved / 'manifest.json').read_bytes() == before


@pytest.mark.parametrize(('changes', 'message'), [
    ({'places': PLACES + 1}, 'frames is float32'),
    ({'dim': 7}, 'frames is float32'),
    ({'sequence_dim': 7}, 'sequences is float32'),
    ({'places': 0}, 'places'),
    ({'surprise': 1}, 'surprise'),
])
def test_manifest_that_does_not_fit_the_files(
        saved: Path, changes: dict[str, object], message: str) -> None:
    edit_manifest(saved, digest=True, **changes)
    with pytest.raises(MapCorruptError, match=message):
        open_map(saved)


@pytest.mark.parametrize('text', ['', '{', '[]', '{"manifest": 3}', '\xff\xfe', 'null'])
def test_damaged_manifest(saved: Path, text: str) -> None:
    (saved / 'manifest.json').write_bytes(text.encode('latin-1'))
    with pytest.raises(MapCorruptError, match=r'manifest\.json'):
        open_map(saved)


def test_array_that_needs_pickle_is_refused(saved: Path, tmp_path: Path) -> None:
    target = saved / 'mean.npy'
    np.save(target, np.array([{'a': 1}], dtype=object), allow_pickle=True)
    document = json.loads((saved / 'manifest.json').read_text())
    document['files']['mean.npy'] = {
        'bytes': target.stat().st_size, 'sha256': hashlib.sha256(target.read_bytes()).hexdigest()}
    document['sha256'] = document_digest(document)
    (saved / 'manifest.json').write_text(json.dumps(document))
    with pytest.raises(MapCorruptError, match=r'mean\.npy is not a readable array'):
        open_map(saved)


def test_values_that_are_not_finite(model: PlaceModel, tmp_path: Path) -> None:
    place_map = make_map(model)
    place_map.poses[3, 0] = np.nan
    with pytest.raises(MapWriteError, match=r'poses 3 is \[nan.*expected finite numbers'):
        save_map(place_map, tmp_path / 'town')
    assert list(tmp_path.iterdir()) == []


def test_map_of_another_model(saved: Path) -> None:
    other = build_model(parse_preset({
        'name': 'other-model', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 8, 'block': 16}, 'sequence': {'length': 5}}), 'cpu')
    with pytest.raises(MapModelMismatchError, match=r"'small'.*'other-model'"):
        open_map(saved, other)


def test_settings_may_change_between_mapping_and_localising(saved: Path) -> None:
    other = build_model(parse_preset({
        'name': 'renamed', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 16, 'block': 32}, 'sequence': {'length': 9},
        'keyframes': KeyframeConfig(every='3m').model_dump()}), 'cpu')
    assert len(open_map(saved, other)) == PLACES


def test_something_else_is_never_overwritten(place_map: PlaceMap, tmp_path: Path) -> None:
    folder, file = tmp_path / 'photos', tmp_path / 'notes.txt'
    folder.mkdir()
    (folder / 'holiday.jpg').write_bytes(b'x')
    file.write_text('important')
    for path in (folder, file):
        with pytest.raises(MapWriteError, match='exists and is not a map: nothing was written'):
            save_map(place_map, path)
    assert (folder / 'holiday.jpg').read_bytes() == b'x'
    assert file.read_text() == 'important'
    with pytest.raises(MapWriteError, match='cannot be written'):
        save_map(place_map, file / 'town')


# --- a full disk, a killed process --------------------------------------------------------------


def save_with_limited_file_size(place_map: PlaceMap, path: Path, limit: int) -> None:
    """Run in a process of its own, because the limit cannot be raised again."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        save_map(place_map, path, overwrite=True)
    except MapWriteError as error:
        if 'was not saved: File too large' in str(error):
            os._exit(0)
        print(error, file=sys.stderr)
        os._exit(3)
    os._exit(4)


@pytest.mark.parametrize('limit', [1000, 50_000, PLACES * 324 * 4 + 127])
@pytest.mark.parametrize('exists', [True, False])
def test_failing_write_leaves_the_old_map(
        limit: int, exists: bool, place_map: PlaceMap, model: PlaceModel, tmp_path: Path) -> None:
    path = tmp_path / 'town'
    if exists:
        save_map(make_map(model, seed=1), path)
    before = content(path) if exists else None
    process = multiprocessing.get_context('fork').Process(
        target=save_with_limited_file_size, args=(place_map, path, limit))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert [entry.name for entry in tmp_path.iterdir()] == (['town'] if exists else [])
    if before is not None:
        assert content(path) == before


def test_full_disk(model: PlaceModel, tmp_path: Path) -> None:
    """A real one of 160 KiB, too small for a second map beside the first."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounted = shutil.which('mount') and subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=160k', 'tmpfs', str(disk)],
        capture_output=True, check=False).returncode == 0
    if not mounted:
        pytest.skip('a tmpfs cannot be mounted here')
    try:
        save_map(make_map(model, seed=1, places=20), disk / 'town')
        before = content(disk / 'town')
        with pytest.raises(MapWriteError, match='was not saved: No space left on device'):
            save_map(make_map(model, places=100), disk / 'town', overwrite=True)
        assert content(disk / 'town') == before
        assert [entry.name for entry in disk.iterdir()] == ['town']
    finally:
        subprocess.run(['umount', '-l', str(disk)], check=True)


@pytest.mark.slow
def test_killed_save_leaves_the_old_or_the_new_map(model: PlaceModel, tmp_path: Path) -> None:
    sources = [tmp_path / 'even', tmp_path / 'odd']
    for seed, source in enumerate(sources):
        save_map(make_map(model, seed), source)
    allowed = [content(source) for source in sources]
    folder = tmp_path / 'maps'
    folder.mkdir()
    path = folder / 'town'
    started = time.monotonic()
    save_map(open_map(sources[0]), path)
    longest_s = 0.1 + 5 * (time.monotonic() - started)
    random = np.random.default_rng(0)
    seen = set()
    # Forked, so that many kills fit into a test.
    context = multiprocessing.get_context('fork')
    maps = [open_map(source) for source in sources]
    for _ in range(40):
        process = context.Process(target=save_in_turn, args=(maps, path))
        process.start()
        time.sleep(random.uniform(0.02, longest_s))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        verify_map(path)
        found = content(path)
        assert found in allowed
        seen.add(allowed.index(found))
    assert seen == {0, 1}
    save_map(maps[0], path, overwrite=True, backup=False)
    assert [entry.name for entry in folder.iterdir()] == ['town']


def save_in_turn(maps: list[PlaceMap], path: Path) -> None:
    while True:
        for place_map in maps:
            save_map(place_map, path, overwrite=True, backup=False)


def save_and_die_between_the_renames(place_map: PlaceMap, path: Path) -> None:
    rename, done = Path.rename, []

    def rename_once(source: Path, target: Path) -> Path:
        if done:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(target)
        return rename(source, target)

    ctypes.CDLL = libc_without_exchange  # type: ignore[misc,assignment]
    Path.rename = rename_once  # type: ignore[method-assign]
    save_map(place_map, path, overwrite=True, backup=False)


def die_between_the_renames(place_map: PlaceMap, path: Path) -> None:
    process = multiprocessing.get_context('fork').Process(
        target=save_and_die_between_the_renames, args=(place_map, path))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert not path.exists()


@pytest.mark.parametrize('then', ['open', 'save', 'verify'])
def test_map_moved_aside_by_a_killed_save_comes_back(
        then: str, saved: Path, place_map: PlaceMap, model: PlaceModel) -> None:
    other = make_map(model, seed=1)
    die_between_the_renames(other, saved)
    if then == 'save':
        save_map(other, saved, overwrite=True, backup=False)
        assert_same(open_map(saved), other)
    else:
        (open_map if then == 'open' else verify_map)(saved)
        assert_same(open_map(saved), place_map)
    assert [entry.name for entry in saved.parent.iterdir()] == ['town']


def test_maps_whose_names_begin_alike_do_not_touch_each_other(
        place_map: PlaceMap, model: PlaceModel, tmp_path: Path) -> None:
    town, night = tmp_path / 'town', tmp_path / 'town.night'
    other = make_map(model, seed=1)
    save_map(place_map, town)
    save_map(other, night)
    die_between_the_renames(place_map, night)
    save_map(place_map, town, overwrite=True)
    assert_same(open_map(night), other)
    assert_same(open_map(town), place_map)


def test_killed_save_is_recovered_under_any_name(
        place_map: PlaceMap, model: PlaceModel, tmp_path: Path) -> None:
    path = tmp_path / 'town [north]*?'
    save_map(place_map, path)
    die_between_the_renames(make_map(model, seed=1), path)
    assert_same(open_map(path), place_map)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def save_slowly(place_map: PlaceMap, path: Path) -> None:
    sync = os.fsync

    def sync_slowly(descriptor: int) -> None:
        time.sleep(0.1)
        sync(descriptor)

    os.fsync = sync_slowly
    save_map(place_map, path)


def test_reader_that_comes_too_early_does_not_disturb_the_first_save(
        place_map: PlaceMap, tmp_path: Path) -> None:
    """A node that waits for a map asks again and again while the map is being written."""
    path = tmp_path / 'town'
    process = multiprocessing.get_context('fork').Process(
        target=save_slowly, args=(place_map, path))
    process.start()
    refused = 0
    while process.is_alive():
        try:
            assert_same(open_map(path), place_map)
        except MapNotFoundError:
            refused += 1
        time.sleep(0.02)
    process.join()
    assert refused > 0
    assert process.exitcode == 0
    assert_same(open_map(path), place_map)
