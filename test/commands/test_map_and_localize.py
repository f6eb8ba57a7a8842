"""The command line with real recordings of the rendered town, and everything it refuses."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision
import typer
import yaml
from command_line import HOG, refusal, run, succeed
from image_sets import image_set
from sequence_search import METHODS, OPTIONS

from seqnet_ros import __version__
from seqnet_ros.cli.main import app
from seqnet_ros.cli.settings import setting_fields
from seqnet_ros.datasets.recordings.bag_writer import BagWriter
from seqnet_ros.datasets.recordings.open_recording import open_source
from seqnet_ros.localization.result import Reason
from seqnet_ros.models.place_model import list_models
from seqnet_ros.training.cosplace.config import CosPlaceTrainingConfig
from seqnet_ros.training.jist.config import JistTrainingConfig
from seqnet_ros.training.seqnet.config import SeqNetTrainingConfig
from seqnet_town import DAY, Camera, Drive, Town

ROOT = Path(__file__).resolve().parents[2]
COLUMNS = ['query', 'stamp_ns', 'accepted', 'reason', 'place_id', 'score', 'descriptor_distance',
           'sequence_distance', 'image']
FRAMES = 31


def names_in(folder: Path) -> list[str]:
    """List a folder, hidden files too."""
    return sorted(entry.name for entry in folder.iterdir())


def write_images(folder: Path, drive: Drive, first: int = 0) -> Path:
    """Render a drive into a folder of PNG files."""
    folder.mkdir()
    for index in range(first, len(drive)):
        image = cv2.cvtColor(drive.render(index), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(folder / f'{index}.png'), image)
    return folder


def write_tum(path: Path, drive: Drive, seconds: float = 0.1) -> Path:
    """Write poses at the times that a folder of images at 10 Hz has."""
    rows = [f'{index * seconds:.3f} ' + ' '.join(map(str, pose))
            for index, pose in enumerate(drive.poses)]
    path.write_text('\n'.join(rows))
    return path


def read_matches(folder: Path) -> list[dict[str, str]]:
    """Read matches.csv."""
    with (folder / 'matches.csv').open(newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def drive() -> Drive:
    """A short drive by day; its frames are a metre or so apart."""
    found = Drive(Town(7, (2, 1)), DAY, Camera(96, 72), length=31.0, speed=10.0, seed=1)
    assert len(found) == FRAMES
    return found


@pytest.fixture(scope='module')
def images(tmp_path_factory, drive) -> Path:
    """The drive as a folder of images."""
    return write_images(tmp_path_factory.mktemp('images') / 'day', drive)


@pytest.fixture(scope='module')
def place_map(tmp_path_factory, images) -> Path:
    """A map of the folder, without poses."""
    path = tmp_path_factory.mktemp('maps') / 'map'
    succeed('map', 'build', images, '--model', 'hog', '--output', path, '-L', '5')
    return path


@pytest.fixture(scope='module')
def bag(tmp_path_factory, images, drive) -> Path:
    """The drive as a bag with odometry."""
    folder = tmp_path_factory.mktemp('bags')
    poses = write_tum(folder / 'poses.tum', drive)
    succeed('bag', 'write', images, '--output', folder / 'bag', '--poses', poses)
    return folder / 'bag'


def commands_of(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the words of every command below a group."""
    for name, command in group.commands.items():
        below = getattr(command, 'commands', None)
        if below is None or command.invoke_without_command:
            yield (*path, name)
        if below is not None:
            yield from commands_of(command, (*path, name))


class TestHelp:
    def test_it_is_quick_and_loads_no_torch(self):
        code = ('import sys, time; started = time.perf_counter();'
                'from seqnet_ros.cli.main import app; from typer.testing import CliRunner;'
                'result = CliRunner().invoke(app, ["localize", "--help"]);'
                'print(result.exit_code, "torch" in sys.modules, "cv2" in sys.modules,'
                ' "rosbags" in sys.modules)')
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                              check=True)
        assert done.stdout.split() == ['0', 'False', 'False', 'False']

    def test_options_say_what_the_settings_say(self, monkeypatch):
        monkeypatch.setenv('COLUMNS', '300')
        shown = succeed('localize', '--help').stdout
        for name in ('sequence.length', 'matching.top_k', 'acceptance.false_positive_rate'):
            field = setting_fields()[name]
            assert field.description in shown
            assert f"the model's, usually {field.default}" in shown

    def test_without_a_command_there_is_help(self):
        shown = run()
        for name in ('map', 'localize', 'describe', 'models', 'bag'):
            assert name in shown.output

    def test_version(self):
        assert succeed('--version').stdout.split() == ['seqnet_ros', __version__]

    def test_the_manual_names_every_command_option_and_setting(self):
        manual = (ROOT / 'docs' / 'cli.md').read_text()
        for command in commands_of(typer.main.get_command(app)):
            assert f'seqnet_ros {" ".join(command)}' in manual
            for option in re.findall(r'--[a-z][a-z-]+', succeed(*command, '--help').stdout):
                assert option == '--help' or f'`{option}' in manual, (command, option)

    @pytest.mark.parametrize('fields', [
        setting_fields(), SeqNetTrainingConfig.model_fields, JistTrainingConfig.model_fields,
        CosPlaceTrainingConfig.model_fields])
    def test_the_manual_lists_the_settings_as_they_are(self, fields):
        rows = [
            f'| `{name}` | {str(info.default).lower()} | {info.description} |'
            for name, info in fields.items()]
        table = '\n'.join(['| setting | default | meaning |', '| --- | --- | --- |', *rows])
        assert table in (ROOT / 'docs' / 'cli.md').read_text(), f'docs/cli.md should hold:\n{table}'


class TestLoops:
    def test_the_corridor(self, tmp_path, shared_data):
        folder = shared_data / 'rtabmap_loop'
        succeed('loops', *HOG, folder, '--output', tmp_path / 'loops', '-L', '5')
        rows = list(csv.DictReader((tmp_path / 'loops' / 'loops.csv').open()))
        summary = json.loads((tmp_path / 'loops' / 'summary.json').read_text())
        assert summary['places'] == 84
        assert len(rows) == summary['loops'] == summary['reasons']['accepted'] > 10
        for row in rows:
            assert int(row['to_place']) - int(row['from_place']) >= 20
            assert row['x'] == ''
        matches = list(csv.DictReader((tmp_path / 'loops' / 'matches.csv').open()))
        accepted = [row for row in matches if row['accepted'] == 'true']
        assert [(row['query'], row['place_id']) for row in accepted] == [
            (row['to_place'], row['from_place']) for row in rows]
        before = (tmp_path / 'loops' / 'loops.csv').read_bytes()
        succeed('loops', *HOG, folder, '--output', tmp_path / 'again', '-L', '5')
        assert (tmp_path / 'again' / 'loops.csv').read_bytes() == before

    def test_damaged_images_are_skipped_counted_and_named(self, images, tmp_path):
        broken = copy_with_damage(images, tmp_path / 'broken', '12.png')
        result = succeed('loops', *HOG, broken, '--output', tmp_path / 'out', '-L', '3')
        assert '1 of 31 images cannot be read and were skipped: ' in result.stderr
        summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
        assert (summary['places'], summary['images_damaged']) == (30, 1)
        for name in names_in(broken):
            (broken / name).write_bytes(b'')
        assert '31 of 31 cannot be read' in refusal(
            'loops', *HOG, broken, '--output', tmp_path / 'other')
        assert not (tmp_path / 'other').exists()

    def test_what_is_excluded_can_be_set(self, tmp_path, shared_data):
        succeed('loops', *HOG, shared_data / 'rtabmap_loop', '--output', tmp_path,
                '--exclude-frames', '80')
        assert json.loads((tmp_path / 'summary.json').read_text())['loops'] == 0

    def test_bad_values_are_one_sentence(self, tmp_path, shared_data):
        message = refusal('loops', *HOG, shared_data / 'rtabmap_loop', '--output', tmp_path,
                          '--exclude-frames', '0')
        assert 'exclude_frames: Input should be greater than or equal to 1 (found 0)' in message


class TestMapBuild:
    def test_a_folder_without_poses_says_so(self, images, tmp_path, drive):
        result = succeed('map', 'build', *HOG, images, '--output', tmp_path / 'map')
        assert 'frame number = metres' in result.stderr
        assert re.search(rf'places +{len(drive)}\n', result.stdout)
        assert re.search(r'poses +frame number = metres', result.stdout)
        assert names_in(tmp_path) == ['map']

    def test_a_bag_brings_its_odometry(self, bag, tmp_path, drive):
        result = succeed('map', 'build', *HOG, bag, '--output', tmp_path / 'map', '--every', '2.5m')
        assert re.search(r'poses +odometry on /odom', result.stdout)
        length = float(re.search(r'route +([\d.]+) m', result.stdout)[1])
        assert length == pytest.approx(drive.distances[-1], abs=3.0)
        assert re.search(r'spacing +2.5m', result.stdout)
        places = int(re.search(r'places +(\d+)', result.stdout)[1])
        assert length / 2.5 * 0.6 < places <= length / 2.5 + 1

    @pytest.mark.parametrize(('every', 'places'), [('1', 31), ('3', 11), ('0.5s', 7)])
    def test_spacing_in_images_and_seconds(self, images, tmp_path, drive, every, places):
        shown = succeed('map', 'build', *HOG, images, '--output', tmp_path / 'map', '--every',
                        every)
        assert re.search(rf'places +{places}\n', shown.stdout)

    def test_images_before_the_first_pose_are_left_out_and_counted(self, images, tmp_path, drive):
        poses = write_tum(tmp_path / 'poses.tum', drive)
        rows = poses.read_text().splitlines()
        poses.write_text('\n'.join(rows[5:]))
        result = succeed('map', 'build', *HOG, images, '--output', tmp_path / 'map', '--poses',
                         poses, '--every', '1')
        assert 'skipped 5 of 31 images' in result.stderr
        assert re.search(r'places +26\n', result.stdout)

    def test_settings_become_the_maps(self, images, tmp_path):
        path = tmp_path / 'map'
        succeed('map', 'build', *HOG, images, '--output', path, '-L', '3', '--set',
                'matching.top_k=7', *OPTIONS)
        config = json.loads((path / 'manifest.json').read_text())['manifest']['model']
        assert config['sequence']['length'] == 3
        assert config['matching']['top_k'] == 7
        assert config['localization']['method'] == 'sequence'
        succeed('localize', images, '--map', path, '--output', tmp_path / 'out')
        fillings = [row for row in read_matches(tmp_path / 'out')
                    if row['reason'] == 'buffer_filling']
        assert len(fillings) == 2

    def test_an_earlier_map_is_replaced_when_asked_for_and_kept(self, images, tmp_path):
        path = tmp_path / 'map'
        succeed('map', 'build', *HOG, images, '--output', path, '--every', '2')
        before = (path / 'manifest.json').read_bytes()
        again = ('map', 'build', *HOG, images, '--output', path, '--every', '5')
        assert f'{path} is a map already' in refusal(*again)
        assert (path / 'manifest.json').read_bytes() == before
        assert re.search(r'previous map +.*/map~1\n', succeed(*again, '--overwrite').stdout)
        assert re.search(r'places +7\n', succeed('map', 'info', path).stdout)
        assert (tmp_path / 'map~1' / 'manifest.json').read_bytes() == before
        succeed(*again, '--overwrite', '--no-backup')
        assert names_in(tmp_path) == ['map', 'map~1']

    def test_damaged_images_are_skipped_counted_and_named(self, images, tmp_path):
        broken = copy_with_damage(images, tmp_path / 'broken', '12.png', '14.png')
        result = succeed('map', 'build', *HOG, broken, '--output', tmp_path / 'map')
        assert re.search(r'places +29\n', result.stdout)
        assert re.search(r'damaged images +2\n', result.stdout)
        warning, = (line for line in result.stderr.splitlines() if 'cannot be read' in line)
        assert warning.startswith('Warning: 2 of 31 images cannot be read and were skipped: ')
        assert '12.png is truncated' in warning or '12.png is damaged' in warning
        assert '14.png' in warning

    def test_the_first_few_of_many_damaged_images_are_named(self, images, tmp_path):
        names = [f'{number}.png' for number in (3, 5, 7, 9, 11)]
        broken = copy_with_damage(images, tmp_path / 'broken', *names)
        result = succeed('map', 'build', *HOG, broken, '--output', tmp_path / 'map')
        assert all(name in result.stderr for name in names[:3])
        assert 'and 2 more' in result.stderr
        assert '9.png' not in result.stderr

    def test_nothing_but_damaged_images_leaves_the_earlier_map_alone(self, images, tmp_path):
        broken = copy_with_damage(images, tmp_path / 'broken', *names_in(images))
        succeed('map', 'build', *HOG, images, '--output', tmp_path / 'map')
        before = (tmp_path / 'map' / 'manifest.json').read_bytes()
        sentence = refusal('map', 'build', *HOG, broken, '--output', tmp_path / 'map',
                           '--overwrite')
        assert f'no image of {broken} can be used, 31 of 31 cannot be read' in sentence
        assert '0.png' in sentence
        assert (tmp_path / 'map' / 'manifest.json').read_bytes() == before
        refusal('map', 'build', *HOG, broken, '--output', tmp_path / 'other')
        assert names_in(tmp_path) == ['broken', 'map']


def copy_with_damage(folder: Path, target: Path, *names: str) -> Path:
    """Copy a folder of images, some of them cut off in the middle."""
    target.mkdir()
    for file in folder.iterdir():
        content = file.read_bytes()
        (target / file.name).write_bytes(
            content[:len(content) // 3] if file.name in names else content)
    return target


def write_calibration(path: Path, width: int = 96) -> Path:
    """Write what the town's camera is, as ROS's camera_calibration would."""
    camera = Camera(width, width * 3 // 4)
    path.write_text(yaml.safe_dump({
        'image_width': camera.width, 'image_height': camera.height, 'camera_name': 'town',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': camera.matrix.ravel().tolist()},
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [0.0] * 5}}))
    return path


class TestMapInfoAndVerify:
    def test_info(self, place_map):
        shown = succeed('map', 'info', place_map).stdout
        assert re.search(r'model +hog \([0-9a-f]{8}\)', shown)
        assert re.search(r'descriptors +1764 per frame', shown)

    def test_what_a_map_keeps_of_its_images(self, images, tmp_path):
        calibration = write_calibration(tmp_path / 'camera.yaml')
        arguments = ('map', 'build', *HOG, images, '-L', '5', '--geometry', '--camera-info',
                     calibration, '--keep-images', '--set', 'geometry.max_features=200')
        built = succeed(*arguments, '--output', tmp_path / 'map').stdout
        shown = succeed('map', 'info', tmp_path / 'map').stdout
        for text in (built, shown):
            assert re.search(r'local features +sift, up to 200 per image', text)
            assert re.search(r'pictures +one per place', text)
            assert re.search(r'camera +96x72, plumb_bob', text)
        succeed('map', 'verify', tmp_path / 'map')
        succeed(*arguments, '--output', tmp_path / 'again')
        assert names_in(tmp_path / 'map') == names_in(tmp_path / 'again')
        for file in (tmp_path / 'map').iterdir():
            assert file.read_bytes() == (tmp_path / 'again' / file.name).read_bytes()

    def test_a_sound_map(self, place_map):
        assert re.search(r'verdict +sound', succeed('map', 'verify', place_map).stdout)

    @pytest.mark.parametrize('name', ['frames.npy', 'poses.npy', 'stamps_ns.npy'])
    def test_an_altered_byte_is_found(self, place_map, tmp_path, name):
        path = copy_map(place_map, tmp_path / 'map')
        content = bytearray((path / name).read_bytes())
        content[-5] ^= 1
        (path / name).write_bytes(content)
        sentence = refusal('map', 'verify', path)
        assert name in sentence
        assert 'checksum' in sentence

    def test_a_truncated_file_is_found(self, place_map, images, tmp_path):
        path = copy_map(place_map, tmp_path / 'map')
        content = (path / 'frames.npy').read_bytes()
        (path / 'frames.npy').write_bytes(content[:-100])
        for command in (('map', 'verify', path),
                        ('localize', images, '--map', path, '--output', tmp_path / 'out')):
            sentence = refusal(*command)
            assert f'{len(content) - 100} bytes' in sentence
            assert f'{len(content)} bytes' in sentence
        assert not (tmp_path / 'out').exists()

    def test_an_altered_manifest_is_found(self, place_map, tmp_path):
        path = copy_map(place_map, tmp_path / 'map')
        text = (path / 'manifest.json').read_text()
        (path / 'manifest.json').write_text(text.replace('"bins": 9', '"bins": 8'))
        assert 'manifest.json was modified' in refusal('map', 'info', path)


def copy_map(path: Path, target: Path) -> Path:
    """Copy a map."""
    target.mkdir()
    for file in path.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


class TestLocalize:
    @pytest.mark.parametrize('method', METHODS)
    def test_a_drive_is_found_in_its_own_map(self, images, place_map, tmp_path, drive, method):
        succeed('localize', images, '--map', place_map, '--output', tmp_path / 'out',
                '--set', f'localization.method={method}')
        rows = read_matches(tmp_path / 'out')
        assert list(rows[0]) == COLUMNS
        assert [int(row['query']) for row in rows] == list(range(len(drive)))
        assert [int(row['stamp_ns']) for row in rows] == [
            index * 100_000_000 for index in range(len(drive))]
        filling = 4 if method == 'sequence' else 0
        for row in rows[:filling]:
            assert (row['accepted'], row['reason']) == ('false', 'buffer_filling')
            assert [row[name] for name in COLUMNS[4:-1]] == [''] * 4
        for row in rows[filling:]:
            assert row['place_id'] == row['query']
            assert row['accepted'] == str(row['reason'] == 'accepted').lower()
            assert row['reason'] in {reason.name.lower() for reason in Reason}
            assert 0 <= float(row['score']) <= 1

    def test_the_geometry_of_matches_is_checked(self, images, tmp_path, drive):
        calibration = write_calibration(tmp_path / 'camera.yaml')
        poses = write_tum(tmp_path / 'poses.tum', drive)
        succeed('map', 'build', *HOG, images, '--output', tmp_path / 'map', '-L', '3', '--geometry',
                '--camera-info', calibration, '--poses', poses, '--every', '1',
                '--set', 'acceptance.agreement=1', '--set', 'acceptance.false_positive_rate=1')
        for least, reason in ((5, 'accepted'), (5000, 'geometry')):
            succeed('localize', images, '--map', tmp_path / 'map', '--output', tmp_path / reason,
                    '--camera-info', calibration, '--set', f'geometry.min_inliers={least}')
            reasons = [row['reason'] for row in read_matches(tmp_path / reason)]
            assert reasons.count(reason) >= 5
        lines = (tmp_path / 'accepted' / 'matches.jsonl').read_text().splitlines()
        found = [json.loads(line) for line in lines]
        best = [row['candidates'][0] for row in found if row['accepted']]
        assert all(each['inliers'] >= 5 for each in best)
        assert any(len(each.get('relative_pose', [])) == 7 for each in best)

    def test_every_candidate_is_in_the_jsonl(self, images, place_map, tmp_path):
        succeed('localize', images, '--map', place_map, '--output', tmp_path / 'out')
        rows = read_matches(tmp_path / 'out')
        documents = [json.loads(line)
                     for line in (tmp_path / 'out' / 'matches.jsonl').read_text().splitlines()]
        assert len(documents) == len(rows)
        assert max(len(document['candidates']) for document in documents) > 1
        for row, document in zip(rows, documents, strict=True):
            assert document['query'] == int(row['query'])
            assert document['reason'] == row['reason']
            assert document['accepted'] is (row['accepted'] == 'true')
            if document['candidates']:
                best = document['candidates'][0]
                assert best['place_id'] == int(row['place_id'])
                assert best['sequence_distance'] == float(row['sequence_distance'])
                assert len(best['pose']) == 7

    def test_twice_the_same_bytes(self, bag, place_map, tmp_path):
        for name in ('a', 'b'):
            succeed('localize', bag, '--map', place_map, '--output', tmp_path / name)
        for name in ('matches.csv', 'matches.jsonl'):
            first = (tmp_path / 'a' / name).read_bytes()
            assert len(first) > 1000
            assert first == (tmp_path / 'b' / name).read_bytes()

    def test_query_is_the_position_in_the_source(self, images, place_map, tmp_path):
        later = tmp_path / 'later'
        later.mkdir()
        for index in range(10, 30):
            (later / f'{index}.png').write_bytes((images / f'{index}.png').read_bytes())
        succeed('localize', later, '--map', place_map, '--output', tmp_path / 'out')
        rows = read_matches(tmp_path / 'out')
        assert [int(row['query']) for row in rows] == list(range(20))
        assert [int(row['place_id']) - int(row['query']) for row in rows[4:]] == [10] * 16

    def test_images_between_keyframes_have_no_row_and_are_not_decoded(
            self, images, place_map, tmp_path):
        broken = copy_with_damage(images, tmp_path / 'broken', '4.png')
        succeed('localize', broken, '--map', place_map, '--output', tmp_path / 'out',
                '--every', '3')
        queries = [int(row['query']) for row in read_matches(tmp_path / 'out')]
        assert queries == list(range(0, 31, 3))

    def test_damaged_images_are_skipped_counted_and_named(self, images, place_map, tmp_path):
        out = tmp_path / 'out'
        succeed('localize', images, '--map', place_map, '--output', out)
        before = (out / 'matches.csv').read_text().splitlines()
        assert json.loads((out / 'summary.json').read_text())['images_damaged'] == 0
        broken = copy_with_damage(images, tmp_path / 'broken', '12.png', '30.png')
        result = succeed('localize', broken, '--map', place_map, '--output', out)
        assert '2 of 31 images cannot be read and were skipped: ' in result.stderr
        assert '12.png' in result.stderr
        assert '30.png' in result.stderr
        assert re.search(r'damaged images +2\n', result.stdout)
        assert re.search(r'damaged images +2\n', result.stdout)
        rows = (out / 'matches.csv').read_text().splitlines()
        assert rows[:13] == before[:13]
        assert [int(row['query']) for row in read_matches(out)] == [
            number for number in range(30) if number != 12]
        summary = json.loads((out / 'summary.json').read_text())
        assert (summary['images'], summary['images_damaged'], summary['results']) == (29, 2, 29)

    def test_nothing_but_damaged_images_leaves_earlier_results_alone(
            self, images, place_map, tmp_path):
        out = tmp_path / 'out'
        succeed('localize', images, '--map', place_map, '--output', out)
        before = {name: (out / name).read_bytes() for name in names_in(out)}
        broken = copy_with_damage(images, tmp_path / 'broken', *names_in(images))
        assert '31 of 31 cannot be read' in refusal(
            'localize', broken, '--map', place_map, '--output', out)
        assert {name: (out / name).read_bytes() for name in names_in(out)} == before

    @pytest.mark.parametrize(('method', 'searched'), [('filter', 31), ('sequence', 27)])
    def test_the_summary_counts_everything(self, images, place_map, tmp_path, method, searched):
        shown = succeed('localize', images, '--map', place_map, '--output', tmp_path / 'out',
                        '--set', f'localization.method={method}')
        summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
        assert summary['images'] == summary['results'] == 31
        assert summary['searched'] == searched
        assert sum(summary['reasons'].values()) == 31
        assert summary['milliseconds_per_search']['p50'] > 0
        assert 'device cpu' in shown.stderr or 'device cuda' in shown.stderr

    def test_too_short_a_drive_is_said(self, images, place_map, tmp_path):
        result = succeed('localize', images, '--map', place_map, '--output', tmp_path / 'out',
                         '-L', '50', *OPTIONS)
        assert 'never filled a sequence of 50 keyframes' in result.stderr
        assert all(row['place_id'] == '' for row in read_matches(tmp_path / 'out'))

    @pytest.mark.parametrize(('method', 'counts'), [('filter', {1}), ('sequence', {0, 1})])
    def test_options_reach_the_engine(self, images, place_map, tmp_path, method, counts):
        backwards = tmp_path / 'backwards'
        backwards.mkdir()
        for index in range(31):
            (backwards / f'{30 - index}.png').write_bytes((images / f'{index}.png').read_bytes())
        succeed('localize', backwards, '--map', place_map, '--output', tmp_path / 'out',
                '--reverse', '--set', 'matching.candidates=1',
                '--set', f'localization.method={method}')
        rows = read_matches(tmp_path / 'out')
        assert all(int(row['place_id']) == 30 - int(row['query']) for row in rows[5:-5])
        documents = (tmp_path / 'out' / 'matches.jsonl').read_text().splitlines()
        assert {len(json.loads(line)['candidates']) for line in documents} == counts

    def test_another_model_is_refused_with_both_names(self, images, tmp_path):
        """The weights that a map's model names were replaced since."""
        torch.manual_seed(0)
        save_weights(tmp_path / 'weights.pth')
        model = tmp_path / 'mine.yaml'
        model.write_text(yaml.safe_dump({
            'image': {'height': 64, 'width': 64},
            'frame': {'kind': 'network', 'backbone': 'resnet18'},
            'weights': {'path': 'weights.pth', 'layout': 'torchvision'}}))
        succeed('map', 'build', images, '--model', model, '--output', tmp_path / 'map',
                '--every', '5', '--device', 'cpu')
        succeed('map', 'verify', tmp_path / 'map', '--device', 'cpu')
        save_weights(tmp_path / 'weights.pth')
        for command in (('map', 'verify', tmp_path / 'map'),
                        ('localize', images, '--map', tmp_path / 'map', '--output',
                         tmp_path / 'out')):
            sentence = refusal(*command, '--device', 'cpu')
            assert len(set(re.findall(r"'mine' \(([0-9a-f]{8})\)", sentence))) == 2

    def test_gardens_point(self, shared_data, tmp_path):
        """Real images: day left against day right (Glover 2014), aligned by frame."""
        drives = image_set(shared_data, 'gardens_point')
        succeed('map', 'build', *HOG, drives / 'day_left', '--output', tmp_path / 'map')
        for method, length, least in (('sequence', 5, 0.66), ('sequence', 10, 0.85),
                                      ('sequence', 20, 0.97), ('filter', 10, 0.97)):
            out = tmp_path / f'{method}{length}'
            succeed('localize', drives / 'day_right', '--map', tmp_path / 'map', '--output', out,
                    '-L', length, '--set', f'localization.method={method}')
            rows = [row for row in read_matches(out) if row['place_id']]
            right = [abs(int(row['place_id']) - int(row['query'])) <= 2 for row in rows]
            assert len(rows) > 200 - 2 * length
            assert np.mean(right) >= least, (method, length)


def save_weights(path: Path) -> None:
    """Save a ResNet-18 of random weights as torchvision would."""
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)


class TestDescribe:
    def test_the_array_is_what_the_describer_says(self, images, tmp_path, drive):
        succeed('describe', images, '--model', 'hog', '--output', tmp_path / 'x.npy')
        found = np.load(tmp_path / 'x.npy', allow_pickle=False)
        assert found.shape == (len(drive), 1764)
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
        assert names_in(tmp_path) == ['x.npy', 'x_imageNames.txt']

    def test_damaged_images_are_skipped_counted_and_named(self, images, tmp_path):
        succeed('describe', *HOG, images, '--output', tmp_path / 'whole.npy')
        broken = copy_with_damage(images, tmp_path / 'broken', '30.png', '3.png')
        result = succeed('describe', *HOG, broken, '--output', tmp_path / 'x.npy')
        assert '2 of 31 images cannot be read and were skipped: ' in result.stderr
        assert '30.png' in result.stderr
        found, whole = np.load(tmp_path / 'x.npy'), np.load(tmp_path / 'whole.npy')
        np.testing.assert_array_equal(found, np.delete(whole, [3, 30], axis=0))

    def test_an_array_that_exists_stays(self, images, tmp_path):
        """It may be one of a map, or of a data set."""
        for name in ('x.npy', 'x_imageNames.txt'):
            (tmp_path / name).write_text('precious')
            arguments = ('describe', *HOG, images, '--output', tmp_path / 'x.npy')
            assert f'{name} exists, expected a new file' in refusal(*arguments)
            assert names_in(tmp_path) == [name]
            assert (tmp_path / name).read_text() == 'precious'
            (tmp_path / name).unlink()
        (tmp_path / 'x.npy').write_text('precious')
        succeed(*arguments, '--overwrite')
        assert np.load(tmp_path / 'x.npy', allow_pickle=False).shape[1] == 1764

    def test_nothing_but_damaged_images_leaves_no_file(self, images, tmp_path):
        broken = copy_with_damage(images, tmp_path / 'broken', *names_in(images))
        assert '0.png' in refusal('describe', *HOG, broken, '--output', tmp_path / 'x.npy')
        assert names_in(tmp_path) == ['broken']

    @pytest.mark.parametrize('name', ['x.csv', 'x'])
    def test_the_output_is_an_npy_file(self, images, tmp_path, name):
        assert '.npy' in refusal('describe', *HOG, images, '--output', tmp_path / name)

    def test_a_folder_that_cannot_be_made(self, images, tmp_path):
        (tmp_path / 'file').write_text('')
        sentence = refusal('describe', *HOG, images, '--output', tmp_path / 'file' / 'x.npy')
        assert 'cannot be written' in sentence


class TestModelsAndBags:
    def test_all_models_are_listed(self):
        shown = succeed('models', 'list').stdout
        for model in list_models():
            assert re.search(rf'^{model.name} +{model.dim} +(here|missing) ', shown, re.MULTILINE)

    def test_a_bag_holds_the_images_of_the_folder(self, images, place_map, bag, tmp_path):
        folder, recorded = tmp_path / 'a', tmp_path / 'b'
        succeed('describe', *HOG, images, '--output', folder.with_suffix('.npy'))
        succeed('describe', *HOG, bag, '--output', recorded.with_suffix('.npy'))
        assert (tmp_path / 'a.npy').read_bytes() == (tmp_path / 'b.npy').read_bytes()

    def test_rate_and_jpeg(self, images, tmp_path, drive):
        shown = succeed('bag', 'write', images, '--output', tmp_path / 'bag', '--rate', '5',
                        '--compressed')
        assert re.search(rf'images +{len(drive)}', shown.stdout)
        metadata = yaml.safe_load((tmp_path / 'bag' / 'metadata.yaml').read_text())
        info = metadata['rosbag2_bagfile_information']
        assert info['storage_identifier'] == 'mcap'
        assert info['duration']['nanoseconds'] == pytest.approx((len(drive) - 1) * 2e8, abs=1)
        topics = [entry['topic_metadata']['type'] for entry in info['topics_with_message_count']]
        assert topics == ['sensor_msgs/msg/CompressedImage']

    def test_damaged_images_are_skipped_counted_and_named(self, images, tmp_path):
        broken = copy_with_damage(images, tmp_path / 'broken', '12.png')
        result = succeed('bag', 'write', broken, '--output', tmp_path / 'bag')
        assert '1 of 31 images cannot be read and were skipped: ' in result.stderr
        assert re.search(r'images +30\n', result.stdout)
        assert len(list(open_source(tmp_path / 'bag'))) == 30

    def test_an_existing_bag_is_not_overwritten(self, images, bag):
        before = sorted(file.stat().st_mtime_ns for file in bag.iterdir())
        assert 'exists' in refusal('bag', 'write', images, '--output', bag)
        assert before == sorted(file.stat().st_mtime_ns for file in bag.iterdir())


class TestRefusals:
    """Every command that reads a recording says what it found and what it expected."""

    def commands(self, source: Path, place_map: Path, out: Path) -> list[tuple[object, ...]]:
        return [('map', 'build', *HOG, source, '--output', out / 'map'),
                ('localize', source, '--map', place_map, '--output', out / 'results'),
                ('describe', *HOG, source, '--output', out / 'x.npy'),
                ('bag', 'write', source, '--output', out / 'bag')]

    @pytest.mark.parametrize('kind', [
        'missing', 'empty folder', 'no images', 'corrupt images', 'text file', 'corrupt mcap',
        'corrupt db3', 'corrupt video', 'bag without messages'])
    def test_a_bad_source(self, place_map, tmp_path, kind):
        source = make_bad_source(kind, tmp_path)
        (tmp_path / 'out').mkdir()
        for command in self.commands(source, place_map, tmp_path / 'out'):
            sentence = refusal(*command)
            assert str(source) in sentence or kind == 'corrupt images', sentence
            assert len(sentence) > 40
            assert not names_in(tmp_path / 'out'), command

    def test_an_unknown_topic_lists_the_topics(self, bag, place_map, tmp_path):
        sentence = refusal('localize', bag, '--map', place_map, '--output', tmp_path / 'out',
                           '--topic', '/nowhere')
        assert '/nowhere' in sentence
        assert '/camera/image_raw' in sentence

    def test_an_unknown_pose_topic_lists_the_topics(self, bag, tmp_path):
        sentence = refusal('map', 'build', *HOG, bag, '--output', tmp_path / 'map',
                           '--pose-topic', '/nowhere')
        assert '/odom' in sentence

    def test_two_image_topics_need_a_choice(self, tmp_path, drive):
        with BagWriter(tmp_path / 'bag') as bag:
            for name in ('/left', '/right'):
                bag.write_image(name, 0, drive.render(0))
        sentence = refusal('map', 'build', *HOG, tmp_path / 'bag', '--output', tmp_path / 'map')
        assert '/left' in sentence
        assert '/right' in sentence
        succeed('map', 'build', *HOG, tmp_path / 'bag', '--output', tmp_path / 'map', '--topic',
                '/left')

    def test_a_topic_of_a_folder(self, images, tmp_path):
        assert 'not a bag' in refusal('map', 'build', *HOG, images, '--output', tmp_path / 'map',
                                      '--topic', '/camera')

    def test_a_bad_calibration(self, images, place_map, tmp_path):
        (tmp_path / 'camera.yaml').write_text('image_width: 96')
        other = write_calibration(tmp_path / 'other.yaml', 128)
        other.write_text(other.read_text().replace('image_height: 96', 'image_height: 128'))
        for file, words in (('none.yaml', 'cannot be read'), ('camera.yaml', 'is not a camera'),
                            ('other.yaml', '96x72 pixels, but the camera was calibrated')):
            sentence = refusal('map', 'build', *HOG, images, '--output', tmp_path / 'map',
                               '--camera-info', tmp_path / file)
            assert words in sentence
        assert not (tmp_path / 'map').exists()

    def test_a_geometric_check_of_a_map_without_features(self, images, place_map, tmp_path):
        sentence = refusal('localize', images, '--map', place_map, '--output', tmp_path / 'out',
                           '--set', 'geometry.min_inliers=10')
        assert 'the map has no local features' in sentence

    @pytest.mark.parametrize('text', [
        '0.0 nan 0 0 0 0 0 1\n', '0.0 1 2 3\n', 'x,y,z\n', '', 'stamp,x,y\n0.0,inf,0\n'])
    def test_a_bad_pose_file(self, images, tmp_path, text):
        poses = tmp_path / 'poses.txt'
        poses.write_text(text)
        assert str(poses) in refusal(
            'map', 'build', *HOG, images, '--output', tmp_path / 'map', '--poses', poses)
        assert not (tmp_path / 'map').exists()

    def test_poses_of_another_time(self, images, tmp_path, drive):
        poses = write_tum(tmp_path / 'poses.tum', drive)
        poses.write_text(''.join(f'9{row}\n' for row in poses.read_text().splitlines()))
        assert 'does not overlap' in refusal(
            'map', 'build', *HOG, images, '--output', tmp_path / 'map', '--poses', poses)

    def test_an_unknown_model_names_the_nearest(self, images, tmp_path):
        sentence = refusal('map', 'build', images, '--output', tmp_path / 'm', '--model', 'hogg')
        assert "'hogg'" in sentence
        assert 'one of: hog' in sentence
        assert 'patchnorm' not in sentence

    def test_missing_weights(self, images, tmp_path):
        sentence = refusal('map', 'build', images, '--output', tmp_path / 'm', '--model', 'hog',
                           '--weights', tmp_path / 'none.pth')
        assert 'hog takes no weights' in sentence

    def test_an_unknown_device(self, images, tmp_path):
        assert "'tpu'" in refusal('map', 'build', *HOG, images, '--output', tmp_path / 'm',
                                  '--device', 'tpu')

    @pytest.mark.parametrize('every', ['abc', '0', '0m', '-1m', '1.5', '1km', 'nan'])
    @pytest.mark.parametrize('form', ['option', 'set'])
    def test_a_bad_spacing(self, images, place_map, tmp_path, every, form):
        given = ('--every', every) if form == 'option' else ('--set', f'keyframes.every={every}')
        for command in (('map', 'build', *HOG, images, '--output', tmp_path / 'map'),
                        ('localize', images, '--map', place_map, '--output', tmp_path / 'out')):
            sentence = refusal(*command, *given)
            assert f"'{every}'" in sentence or f"'{float(every)}'" in sentence
            assert "'1.5m'" in sentence

    def test_metres_without_poses(self, images, tmp_path):
        assert 'needs poses' in refusal(
            'map', 'build', *HOG, images, '--output', tmp_path / 'map', '--every', '1m')

    @pytest.mark.parametrize(('given', 'expected'), [
        (('--set', 'matching.topk=3'), 'matching.top_k'),
        (('--set', 'nothing=3'), 'sequence.length'),
        (('--set', 'matching.top_k'), 'matching.top_k=50'),
        (('--set', 'matching.top_k=[1]'), 'single value'),
        (('--set', 'matching.top_k=0'), 'greater than or equal to 1 (found 0)'),
        (('--set', 'matching.top_k=many'), "(found 'many')"),
        (('--set', 'matching.min_speed=2'), 'min_speed 2.0 is above max_speed'),
        (('--top-k', '0'), 'matching.top_k'),
        (('-L', '0'), 'sequence.length'),
        (('--false-positive-rate', '2'), 'acceptance.false_positive_rate'),
    ])
    def test_a_bad_setting(self, images, place_map, tmp_path, given, expected):
        sentence = refusal('localize', images, '--map', place_map, '--output', tmp_path / 'out',
                           *given)
        assert expected in sentence
        assert not (tmp_path / 'out').exists()

    @pytest.mark.parametrize('kind', ['nothing', 'folder', 'file'])
    def test_no_map(self, images, tmp_path, kind):
        path = tmp_path / 'map'
        if kind == 'folder':
            path.mkdir()
        elif kind == 'file':
            path.write_text('')
        for command in (('map', 'info', path), ('map', 'verify', path),
                        ('localize', images, '--map', path, '--output', tmp_path / 'out')):
            assert f'no map at {path}' in refusal(*command)

    @pytest.mark.parametrize('kind', ['folder', 'file'])
    def test_something_other_than_a_map_in_the_way(self, images, tmp_path, kind):
        path = tmp_path / 'mine'
        if kind == 'folder':
            path.mkdir()
            (path / 'thesis.txt').write_text('all my work')
        else:
            path.write_text('all my work')
        assert 'is not a map' in refusal('map', 'build', *HOG, images, '--output', path)
        kept = path / 'thesis.txt' if kind == 'folder' else path
        assert kept.read_text() == 'all my work'

    def test_a_file_in_the_way_of_the_results(self, images, place_map, tmp_path):
        (tmp_path / 'out').write_text('all my work')
        assert 'expected a folder' in refusal(
            'localize', images, '--map', place_map, '--output', tmp_path / 'out')

    @pytest.mark.parametrize('rate', ['0', '-1', 'nan'])
    def test_a_bad_rate(self, images, tmp_path, rate):
        assert 'rate' in refusal('bag', 'write', images, '--output', tmp_path / 'b',
                                 '--rate', rate)

    @pytest.mark.parametrize('arguments', [
        ('nonsense',), ('localize',), ('map', 'build', *HOG, 'x'), ('localize', 'x', '--nonsense')])
    def test_usage(self, arguments):
        assert run(*arguments).exit_code == 2


def make_bad_source(kind: str, folder: Path) -> Path:
    """Make a recording that cannot be used."""
    path = folder / 'source'
    if kind in ('empty folder', 'no images', 'corrupt images'):
        path.mkdir()
    if kind == 'no images':
        (path / 'notes.txt').write_text('nothing here')
    if kind == 'corrupt images':
        (path / '1.png').write_bytes(b'\x89PNG\r\n\x1a\n nothing more')
    if kind == 'text file':
        path = folder / 'source.txt'
        path.write_text('no recording')
    if kind.startswith('corrupt ') and kind != 'corrupt images':
        suffix = {'mcap': '.mcap', 'db3': '.db3', 'video': '.mp4'}[kind.split()[1]]
        path = folder / f'source{suffix}'
        path.write_bytes(bytes(range(256)) * 20)
    if kind == 'bag without messages':
        with BagWriter(path):
            pass
    return path


def test_an_interrupt_ends_with_130_and_keeps_the_results(place_map, tmp_path, drive):
    images = tmp_path / 'images'
    images.mkdir()
    content = cv2.imencode('.png', np.zeros((1200, 1600, 3), np.uint8))[1].tobytes()
    for index in range(3000):
        (images / f'{index}.png').write_bytes(content)
    out = tmp_path / 'out'
    process = subprocess.Popen(
        [sys.executable, '-m', 'seqnet_ros.cli.main', 'localize', images, '--map', place_map,
         '--output', out], stderr=subprocess.PIPE, text=True)
    part = out / 'matches.csv.part'
    deadline = time.monotonic() + 60
    while not (part.exists() and len(part.read_text().splitlines()) > 5):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == 130
    assert 'Traceback' not in shown
    assert re.search(r'the \d+ results so far are in', shown)
    assert not (out / 'matches.csv').exists()
    assert len(part.read_text().splitlines()) > 5
