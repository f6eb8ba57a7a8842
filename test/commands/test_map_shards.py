"""``seqnet_ros map build --shard`` and ``map merge``: several processes make the map of one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import HOG, refusal, succeed
from curved_road import images, record
from streets import Street

from seqnet_ros.maps.map_part import read_part

WAYS_M = np.concatenate([np.arange(0.0, 30.0, 0.4), np.full(12, 30.0), np.arange(30.0, 55.0, 0.4)])
"""A drive that stands for a while."""
BETWEEN = ('--set', 'localization.method=sequence')


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    return record(tmp_path_factory.mktemp('bags') / 'drive', Street(1, 80), WAYS_M)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return write_folder(tmp_path_factory.mktemp('images') / 'drive')


@pytest.fixture(scope='module')
def poses(folder) -> Path:
    path = folder.parent / 'poses.csv'
    path.write_text('\n'.join(['image,x,y,z,qx,qy,qz,qw', *(
        ','.join([f'{number:04}.png', *map(repr, pose.tolist())])
        for number, (_, _, pose) in enumerate(images(Street(1, 80), WAYS_M)))]))
    return path


def write_folder(path: Path) -> Path:
    path.mkdir()
    for number, (image, _, _) in enumerate(images(Street(1, 80), WAYS_M)):
        cv2.imwrite(str(path / f'{number:04}.png'), image[:, :, ::-1])
    return path


def make_parts(count: int, out: Path, *arguments: object) -> list[Path]:
    parts = [out / f'{number}-of-{count}.npz' for number in range(1, count + 1)]
    for number, part in enumerate(parts, 1):
        succeed('map', 'build', *arguments, '--shard', f'{number}/{count}', '--output', part)
    return parts


def content(place_map: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place_map.iterdir())}


def places_of(place_map: Path) -> int:
    return json.loads((place_map / 'manifest.json').read_text())['manifest']['places']


@pytest.mark.parametrize('options', [
    pytest.param((), id='every meter'),
    pytest.param(('--every', '0.3s', '--stored', 'int8'), id='every 0.3 s'),
    pytest.param(('--geometry', '--keep-images'), id='features and pictures'),
])
def test_a_bag_with_odometry(options, bag, tmp_path):
    succeed('map', 'build', *HOG, bag, *options, '--output', tmp_path / 'whole')
    for count in (1, 2, 5):
        parts = make_parts(count, tmp_path, *HOG, bag, *options)
        succeed('map', 'merge', *reversed(parts), '--output', tmp_path / f'map{count}')
        assert content(tmp_path / f'map{count}') == content(tmp_path / 'whole')


@pytest.mark.parametrize('in_place', [False, True])
def test_a_bag_that_extends_a_map(in_place, bag, tmp_path):
    later = record(tmp_path / 'later', Street(1, 80), WAYS_M + 3.0, light=4)
    made = tmp_path / 'map'
    succeed('map', 'build', *HOG, bag, '--geometry', '--keep-images', '--every', '0.7m', '--stored',
            'int8', '--output', made)
    succeed('map', 'build', later, '--extend', made, '--output', tmp_path / 'whole')
    parts = make_parts(3, tmp_path, later, '--extend', made)
    output = made if in_place else tmp_path / 'merged'
    before = content(made)
    succeed('map', 'merge', *parts, '--extend', made, '--output', output)
    assert content(output) == content(tmp_path / 'whole')
    assert content(tmp_path / 'map~1' if in_place else made) == before


def test_parts_extend_the_map_that_they_were_made_with(bag, folder, poses, tmp_path):
    made, other, output = tmp_path / 'map', tmp_path / 'other', tmp_path / 'merged'
    succeed('map', 'build', *HOG, bag, '--output', made)
    succeed('map', 'build', *HOG, folder, '--poses', poses, '--output', other)
    parts = make_parts(2, tmp_path, bag, '--extend', made)
    assert 'no map to extend was given, expected the map ' in refusal(
        'map', 'merge', *parts, '--output', output)
    assert 'as when the parts were made' in refusal(
        'map', 'merge', *parts, '--extend', other, '--output', output)
    alone = make_parts(1, tmp_path, *HOG, bag)
    assert 'expected no map to extend' in refusal(
        'map', 'merge', *alone, '--extend', made, '--output', output)
    assert not output.exists()


def test_a_recording_may_be_named_relative_to_the_folder(bag, tmp_path, monkeypatch):
    monkeypatch.chdir(bag.parent)
    succeed('map', 'build', *HOG, bag.name, '--output', tmp_path / 'whole')
    parts = make_parts(2, tmp_path, *HOG, bag.name)
    monkeypatch.chdir(tmp_path)
    succeed('map', 'merge', *parts, '--output', tmp_path / 'map')
    assert content(tmp_path / 'map') == content(tmp_path / 'whole')


def test_only_keyframes_are_described_where_there_are_poses(bag, tmp_path):
    parts = make_parts(3, tmp_path, *HOG, bag)
    observed = [read_part(part).manifest.observed for part in parts]
    succeed('map', 'merge', *parts, '--output', tmp_path / 'map')
    assert sum(observed) == places_of(tmp_path / 'map') < len(WAYS_M) / 2
    assert min(observed) > 5


@pytest.mark.parametrize('options', [BETWEEN, ('--every', '3'), (*BETWEEN, '--every', '0.3s')])
def test_images_without_poses(options, folder, tmp_path):
    succeed('map', 'build', *HOG, folder, *options, '--output', tmp_path / 'whole')
    assert places_of(tmp_path / 'whole') < len(WAYS_M)
    for count in (2, 5):
        parts = make_parts(count, tmp_path, *HOG, folder, *options)
        succeed('map', 'merge', *parts, '--output', tmp_path / f'map{count}')
        assert content(tmp_path / f'map{count}') == content(tmp_path / 'whole')


def test_damaged_images_move_the_places_after_them_as_in_one_process(
        poses, tmp_path, monkeypatch):
    broken = write_folder(tmp_path / 'broken').relative_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    # Where a place is damaged, the next image becomes one, and so does every second after it.
    options = ('--poses', poses, '--every', '2', '--keep-images')
    for number in (0, 1, 3, 44, 45, 46, 99):
        (broken / f'{number:04}.png').write_bytes(b'no image')
    built = succeed('map', 'build', *HOG, broken, *options, '--output', tmp_path / 'whole')
    for count in (2, 5):
        monkeypatch.chdir(tmp_path)
        parts = make_parts(count, tmp_path, *HOG, broken, *options)
        monkeypatch.chdir('/')
        merged = succeed('map', 'merge', *parts, '--output', tmp_path / f'map{count}')
        assert content(tmp_path / f'map{count}') == content(tmp_path / 'whole')
        damaged, = re.findall(r'damaged images +(\d+)', built.stdout)
        assert re.findall(r'damaged images +(\d+)', merged.stdout) == [damaged]


def test_the_recording_is_needed_again_only_where_damage_moved_places(poses, tmp_path):
    options = ('--poses', poses, '--every', '2')
    sound, broken = write_folder(tmp_path / 'sound'), write_folder(tmp_path / 'broken')
    (broken / '0004.png').write_bytes(b'no image')
    of_sound = make_parts(2, tmp_path, *HOG, sound, *options)
    sound.rename(tmp_path / 'elsewhere')
    succeed('map', 'merge', *of_sound, '--output', tmp_path / 'map')
    (tmp_path / 'parts').mkdir()
    of_broken = make_parts(2, tmp_path / 'parts', *HOG, broken, *options)
    broken.rename(tmp_path / 'broken elsewhere')
    assert re.search(r'image \d+ is needed, because one before it cannot be read, but the '
                     r'recording cannot be opened: .*broken does not exist',
                     refusal('map', 'merge', *of_broken, '--output', tmp_path / 'other'))
    assert not (tmp_path / 'other').exists()


def test_shards_may_be_empty(tmp_path):
    folder = tmp_path / 'three'
    folder.mkdir()
    for number, (image, _, _) in enumerate(images(Street(1, 80), WAYS_M[:3])):
        cv2.imwrite(str(folder / f'{number}.png'), image)
    succeed('map', 'build', *HOG, folder, '--output', tmp_path / 'whole')
    parts = make_parts(5, tmp_path, *HOG, folder)
    succeed('map', 'merge', *parts, '--output', tmp_path / 'map')
    assert content(tmp_path / 'map') == content(tmp_path / 'whole')


def test_parts_that_do_not_belong_together_are_refused(bag, folder, poses, tmp_path):
    first, second = make_parts(2, tmp_path, *HOG, bag)
    output = ('--output', tmp_path / 'map')
    assert 'found 1 of 2 parts: part 2/2 is missing' in refusal('map', 'merge', first, *output)
    copy = tmp_path / 'copy.npz'
    copy.write_bytes(first.read_bytes())
    assert 'are both part 1/2, expected one of them' in refusal(
        'map', 'merge', first, copy, second, *output)
    (tmp_path / 'others').mkdir()
    other = make_parts(2, tmp_path / 'others', *HOG, bag, '-L', '3')[1]
    assert 'parts of different maps: they differ in engine' in refusal(
        'map', 'merge', first, other, *output)
    (tmp_path / 'posed').mkdir()
    before, _ = make_parts(2, tmp_path / 'posed', *HOG, folder, '--poses', poses)
    kept = poses.read_text()
    try:
        poses.write_text(kept.replace('0010.png,3', '0010.png,4'))
        (tmp_path / 'moved').mkdir()
        _, after = make_parts(2, tmp_path / 'moved', *HOG, folder, '--poses', poses)
    finally:
        poses.write_text(kept)
    assert 'the recording or its poses changed between them' in refusal(
        'map', 'merge', before, after, *output)
    assert not (tmp_path / 'map').exists()


@pytest.mark.parametrize('damage', [
    lambda whole: b'', lambda whole: whole[:-700], lambda whole: b'PK' + whole[2:900],
    lambda whole: whole[:5000] + b'x' + whole[5001:]])
def test_damaged_parts_are_refused(damage, bag, tmp_path):
    part, = make_parts(1, tmp_path, *HOG, bag)
    part.write_bytes(damage(part.read_bytes()))
    assert str(part) in refusal('map', 'merge', part, '--output', tmp_path / 'map')
    assert not (tmp_path / 'map').exists()


@pytest.mark.parametrize(('arguments', 'reason'), [
    (['--shard', '3/2'], "shard '3/2' is invalid, expected one like '3/8'"),
    (['--shard', '0/2'], "shard '0/2' is invalid"),
    (['--shard', 'all'], "shard 'all' is invalid"),
    (['--shard', '1/2', '--output', 'map'], 'expected a file ending in .npz'),
    (['--shard', '1/2', '--report', 'r.json'], 'both --shard and --report were given'),
    (['--shard', '1/2', '--output', 'own.npz', '--overwrite'], 'is not a result of this command'),
    (['--shard', '1/2', '--output', 'part.npz'], 'is not a result of this command'),
])
def test_options_that_contradict_a_shard_are_refused(arguments, reason, bag, tmp_path,
                                                     monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez('own.npz', mine=np.zeros(3))
    make_parts(1, tmp_path, *HOG, bag)[0].rename('part.npz')
    before = Path('part.npz').read_bytes()
    defaults = [] if '--output' in arguments else ['--output', 'new.npz']
    assert reason in refusal('map', 'build', *HOG, bag, *arguments, *defaults)
    assert not Path('new.npz').exists()
    assert Path('part.npz').read_bytes() == before
    succeed('map', 'build', *HOG, bag, '--shard', '1/2', '--overwrite', '--output', 'part.npz')


def test_two_processes_at_once(bag, tmp_path):
    succeed('map', 'build', *HOG, bag, '--output', tmp_path / 'whole')
    parts = [tmp_path / f'{number}.npz' for number in (1, 2)]
    processes = [subprocess.Popen([
        sys.executable, '-m', 'seqnet_ros.cli.main', 'map', 'build', *HOG, str(bag), '--shard',
        f'{number}/2', '--output', str(part)]) for number, part in enumerate(parts, 1)]
    assert [process.wait(120) for process in processes] == [0, 0]
    succeed('map', 'merge', *parts, '--output', tmp_path / 'map')
    assert content(tmp_path / 'map') == content(tmp_path / 'whole')
