"""Two drives in, a verdict out: the whole command on rendered recordings, and bad input."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from command_line import HOG, refusal, run, succeed
from town_recordings import contents, write_bag, write_folder, write_truth

from seqnet_ros.core.geodesy import GeoPoint, enu_to_latlon
from seqnet_ros.evaluation.replay.run_files import COLUMNS, read_queries, read_results
from seqnet_town import DAY, OVERCAST, Camera, Drive, Town

SEQUENCES = ('--set', 'localization.method=sequence')


def results_of(folder: Path) -> dict:
    """Return ``results.json``, which is what its model reads and writes."""
    document = json.loads((folder / 'results.json').read_text())
    assert read_results(folder).as_json() == document
    return document


@pytest.fixture(scope='module')
def drives() -> tuple[Drive, Drive]:
    """The same street twice; the second drive goes further than the first."""
    town = Town(7, (2, 1))
    return (Drive(town, DAY, Camera(96, 72), length=110.0, speed=9.0, seed=1),
            Drive(town, OVERCAST, Camera(96, 72), length=160.0, speed=8.0, seed=2,
                  lateral_offset=0.5, start_ns=1_700_100_000_000_000_000))


@pytest.fixture(scope='module')
def bags(tmp_path_factory, drives) -> tuple[Path, Path]:
    """Both drives as bags."""
    folder = tmp_path_factory.mktemp('bags')
    return write_bag(folder / 'first', drives[0]), write_bag(folder / 'second', drives[1])


@pytest.fixture(scope='module')
def evaluated(tmp_path_factory, bags) -> Path:
    """A run of both."""
    folder = tmp_path_factory.mktemp('runs') / 'run'
    succeed('evaluate', 'bags', *HOG, '--map-source', bags[0], '--query-source', bags[1],
            '--output', folder, '-L', 5, '--tolerance', '5m,45deg')
    return folder


class TestOneEngine:
    def test_results_are_those_of_localize(self, evaluated, bags, tmp_path):
        succeed('map', 'build', *HOG, bags[0], '--output', tmp_path / 'map', '-L', 5)
        succeed('localize', bags[1], '--map', tmp_path / 'map', '--output', tmp_path / 'out')
        with (tmp_path / 'out' / 'matches.csv').open(newline='') as file:
            matches = list(csv.DictReader(file))
        rows = read_queries(evaluated)
        shared = ('query', 'stamp_ns', 'accepted', 'reason', 'place_id', 'score',
                  'descriptor_distance', 'sequence_distance')
        assert len(matches) > 100
        assert [[row[name] for name in shared] for row in rows] == [
            [row[name] for name in shared] for row in matches]

    def test_a_map_made_before_gives_the_same(self, evaluated, bags, tmp_path):
        succeed('map', 'build', *HOG, bags[0], '--output', tmp_path / 'map', '-L', 5)
        common = ('--map', tmp_path / 'map', '--query-source', bags[1], '--tolerance', '5m,45deg')
        succeed('evaluate', 'bags', *HOG, *common, '--output', tmp_path / 'alone')
        succeed('evaluate', 'bags', *HOG, *common, '--map-source', bags[0], '--output',
                tmp_path / 'with')
        expected = results_of(evaluated)
        for name in ('alone', 'with'):
            found = results_of(tmp_path / name)
            assert found['measures'] == expected['measures']
            assert found['restarts'] == expected['restarts']
            assert found['map']['map_id'] == expected['map']['map_id']
        frames = [row['place_frame'] for row in read_queries(evaluated)]
        assert [row['place_frame'] for row in read_queries(tmp_path / 'with')] == frames
        assert not any(row['place_frame'] for row in read_queries(tmp_path / 'alone'))

    def test_repetition_gives_the_same_bytes(self, evaluated, bags, tmp_path):
        succeed('evaluate', 'bags', *HOG, '--map-source', bags[0], '--query-source', bags[1],
                '--output', tmp_path / 'again', '-L', 5, '--tolerance', '5m,45deg')
        first, again = contents(evaluated), contents(tmp_path / 'again')
        assert set(first) == {'results.json', 'queries.csv', 'precision_recall.csv', 'recall.csv',
                              'reliability.csv', 'report.html', 'belief.npz'}
        assert first == again

    def test_several_recordings_are_one_drive(self, drives, tmp_path):
        first, second = drives
        whole = [write_folder(tmp_path / 'map', first, range(60)),
                 write_folder(tmp_path / 'query', second, range(60))]
        parts = [write_folder(tmp_path / 'query1', second, range(30)),
                 write_folder(tmp_path / 'query2', second, range(30, 60))]
        common = ('--map-source', whole[0], '--tolerance', '3frames', '-L', 5, *SEQUENCES)
        succeed('evaluate', 'bags', *HOG, *common, '--query-source', whole[1], '--output',
                tmp_path / 'one')
        succeed('evaluate', 'bags', *HOG, *common, '--query-source', parts[0], '--query-source',
                parts[1], '--output', tmp_path / 'two')
        one, two = read_queries(tmp_path / 'one'), read_queries(tmp_path / 'two')
        assert [row['query'] for row in one] == [row['query'] for row in two]
        assert {row['recording'] for row in two} == {'0', '1'}
        # Time begins anew with the second folder, so that the sequence fills again.
        assert [row['place_id'] for row in one[:30]] == [row['place_id'] for row in two[:30]]
        assert [row['reason'] for row in two[30:34]] == ['buffer_filling'] * 4
        ranged = ('--map-source', whole[0], '--query-source', whole[1], '--query-range', '30:60',
                  '--map-range', '30:60', '--tolerance', '3frames', '-L', 5)
        succeed('evaluate', 'bags', *HOG, *ranged, '--output', tmp_path / 'part')
        part = read_queries(tmp_path / 'part')
        assert part[0]['query'] == '30'
        assert {int(row['place_frame']) for row in part if row['place_frame']} <= set(range(30, 60))


class TestResults:
    def test_the_street_is_found_and_what_lies_beyond_is_not(self, evaluated):
        found = results_of(evaluated)
        measures = found['measures']
        assert measures['recall']['1'] > 0.8
        assert measures['recall']['1'] <= measures['recall']['5'] <= measures['recall']['20']
        assert measures['not_in_map']['searched'] > 20
        assert measures['route']['travelled'] == pytest.approx(160, abs=4)
        assert measures['route']['in_map'] == pytest.approx(115, abs=6)
        assert found['restarts']['starts'] > 10
        assert found['map']['bytes_per_metre'] > 1000
        assert found['notes'] == []
        assert found['verdict']['level'] in ('good', 'usable', 'sparse')

    def test_json_csv_and_report_agree(self, evaluated):
        measures, rows = results_of(evaluated)['measures'], read_queries(evaluated)
        judged = [row for row in rows if row['place_id'] and row['in_map'] == 'true']
        right = sum(row['right'] == 'true' for row in judged)
        assert measures['recall']['1'] == pytest.approx(right / len(judged), abs=1e-6)
        within = sum(row['first_right'] != '' and int(row['first_right']) <= 5 for row in judged)
        assert measures['recall']['5'] == pytest.approx(within / len(judged), abs=1e-6)
        with (evaluated / 'recall.csv').open(newline='') as file:
            table = {row['candidates']: float(row['recall']) for row in csv.DictReader(file)}
        assert table == {n: pytest.approx(value) for n, value in measures['recall'].items()}
        assert results_of(evaluated)['verdict']['headline'] in (
            evaluated / 'report.html').read_text()

    def test_timing_is_apart_and_faster_than_real_time(self, evaluated):
        timing = json.loads((evaluated / 'timing.json').read_text())
        assert 0 < timing['replay_seconds'] < timing['recorded_seconds']
        assert timing['match_milliseconds']['p50'] > 0

    def test_pairs_tell_the_truth(self, drives, tmp_path):
        folders = [write_folder(tmp_path / name, drive, range(40))
                   for name, drive in zip(('map', 'query'), drives, strict=True)]
        pairs = tmp_path / 'pairs.csv'
        pairs.write_text('query,map\n' + ''.join(f'{n}.png,{n}\n' for n in range(10, 30))
                         + '35,\n')
        succeed('evaluate', 'bags', *HOG, '--map-source', folders[0], '--query-source', folders[1],
                '--pairs', pairs, '--tolerance', '40frames', '--output', tmp_path / 'run', '-L', 5)
        found = results_of(tmp_path / 'run')
        assert found['measures']['queries'] == {'searched': 40, 'with_truth': 21, 'in_map': 20}
        assert found['measures']['recall']['1'] == 1.0
        assert 'the true place of 19 of 40 searches is unknown' in found['notes'][0]


class TestInterruption:
    def test_a_run_goes_on_where_it_was_stopped(self, drives, tmp_path):
        folder = write_folder(tmp_path / 'drive', drives[0], range(100))
        for copy in range(100, 1500):  # long enough to be stopped in the middle
            (tmp_path / 'drive' / f'{copy}.png').hardlink_to(folder / f'{copy % 100}.png')
        arguments = ['evaluate', 'bags', *HOG, '--map-source', folder, '--map-range', '0:100',
                     '--query-source', folder, '--tolerance', '1frames', '-L', '5', '--output',
                     tmp_path / 'run']
        command = [sys.executable, '-m', 'seqnet_ros.cli.main', *map(str, arguments)]
        # Where the tests run in the background, what they start would not hear of Ctrl-C.
        running = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        part = tmp_path / 'run' / 'queries.csv.part'
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and running.poll() is None:
            if part.is_file() and part.read_text().count('\n') > 50:
                break
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
        assert not (tmp_path / 'run' / 'results.json').exists()
        assert part.read_text().count('\n') > 50  # what was found so far is kept
        sizes = {file.name: file.stat().st_size
                 for file in (tmp_path / 'run' / 'descriptors').iterdir()}
        assert sum(sizes.values()) > 100 * 1764 * 4
        cut = tmp_path / 'run' / 'descriptors' / max(sizes, key=sizes.__getitem__)
        with cut.open('ab') as file:
            file.write(b'half a record')
        succeed(*arguments)
        succeed(*arguments[:-1], tmp_path / 'fresh')
        assert contents(tmp_path / 'run') == contents(tmp_path / 'fresh')

    def test_what_was_described_is_not_read_again(self, drives, tmp_path):
        folders = [write_folder(tmp_path / name, drive, range(30))
                   for name, drive in zip(('map', 'query'), drives, strict=True)]
        arguments = ('evaluate', 'bags', *HOG, '--map-source', folders[0], '--query-source',
                     folders[1], '--tolerance', '2frames', '-L', 3, '--output', tmp_path / 'run')
        succeed(*arguments)
        before = read_queries(tmp_path / 'run')
        for folder in folders:
            for image in folder.iterdir():
                status = image.stat()
                image.write_bytes(bytes(status.st_size))
                os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
        succeed(*arguments)
        assert read_queries(tmp_path / 'run') == before


class TestBadInput:
    def evaluate(self, bags, tmp_path, *more: object):
        return run('evaluate', 'bags', *HOG, '--map-source', bags[0], '--query-source', bags[1],
                   '--output', tmp_path / 'run', '-L', 5, *more)

    def test_truth_for_a_part_of_the_route(self, bags, drives, tmp_path):
        truth = write_truth(tmp_path / 'truth.tum', drives[1], first=100)
        assert self.evaluate(bags, tmp_path, '--query-truth', truth).exit_code == 0
        found = results_of(tmp_path / 'run')
        counts = found['measures']['queries']
        assert 0 < counts['with_truth'] < counts['searched']
        assert 'the true place of ' in found['notes'][0]
        assert {row['outcome'] for row in read_queries(tmp_path / 'run')} >= {'unknown'}

    def test_poses_in_different_frames(self, bags, drives, tmp_path):
        moved = write_bag(tmp_path / 'moved', drives[1], shift=(5000.0, 0.0))
        result = self.evaluate((bags[0], moved), tmp_path)
        assert result.exit_code == 1
        assert 'no query is within 5 m of a place of the map' in result.stderr
        assert 'in the same frame' in result.stderr
        found = results_of(tmp_path / 'run')
        assert found['verdict']['level'] == 'unknown'
        assert len(read_queries(tmp_path / 'run')) > 100

    def test_clocks_apart_are_noticed_and_can_be_taken_into_account(self, bags, drives, tmp_path):
        truth = write_truth(tmp_path / 'truth.tum', drives[1], seconds=3.0)
        result = self.evaluate(bags, tmp_path, '--query-truth', truth)
        assert 'are +3.0' in result.stderr
        assert '--clock-offset auto' in result.stderr
        apart = results_of(tmp_path / 'run')
        offset = next(one for one in apart['drives']['clock_offsets'] if one['of'] == 'queries')
        assert offset['seconds'] == pytest.approx(3.0, abs=0.05)
        assert not offset['applied']
        self.evaluate(bags, tmp_path, '--query-truth', truth, '--clock-offset', 'auto')
        together = results_of(tmp_path / 'run')
        assert together['measures']['recall']['1'] > 0.8 > apart['measures']['recall']['1']

    def test_no_overlap_in_time(self, bags, drives, tmp_path):
        truth = write_truth(tmp_path / 'truth.tum', drives[1], seconds=9e4)
        result = self.evaluate(bags, tmp_path, '--query-poses', truth)
        assert result.exit_code == 2
        assert 'does not overlap the images' in result.stderr
        result = self.evaluate(bags, tmp_path, '--query-truth', truth)
        assert result.exit_code == 1
        assert results_of(tmp_path / 'run')['verdict']['level'] == 'unknown'

    def test_a_damaged_image_is_left_out(self, drives, tmp_path):
        folders = [write_folder(tmp_path / name, drive, range(30))
                   for name, drive in zip(('map', 'query'), drives, strict=True)]
        (folders[1] / '17.png').write_bytes(b'no image')
        result = self.evaluate(folders, tmp_path, '--tolerance', '3frames')
        assert result.exit_code == 0
        notes = results_of(tmp_path / 'run')['notes']
        assert 'skipped 1 unreadable images of the queries' in notes[0]
        assert '17' not in [row['query'] for row in read_queries(tmp_path / 'run')]

    @pytest.mark.parametrize('side', [0, 1])
    def test_nothing_but_damaged_images(self, drives, tmp_path, side):
        folders = [write_folder(tmp_path / name, drive, range(10))
                   for name, drive in zip(('map', 'query'), drives, strict=True)]
        for image in folders[side].iterdir():
            image.write_bytes(b'no image')
        result = self.evaluate(folders, tmp_path, '--tolerance', '3frames')
        assert result.exit_code == 2
        assert f'no image of {folders[side]} can be used, 10 of 10 cannot be' in result.stderr

    def test_the_intact_part_of_a_damaged_bag_is_evaluated(self, bags, drives, tmp_path):
        broken = tmp_path / 'broken'
        broken.mkdir()
        for part in ('1', '2'):  # as the recorder splits bags
            shutil.copy(next(bags[1].glob('*.mcap')), broken / f'{part}.mcap')
        content = bytearray((broken / '2.mcap').read_bytes())
        middle = len(content) // 2
        content[middle: middle + 4000] = bytes(4000)
        (broken / '2.mcap').write_bytes(content)
        poses = write_truth(tmp_path / 'poses.tum', drives[1])
        result = self.evaluate((bags[0], broken), tmp_path, '--query-poses', poses)
        assert result.exit_code == 1, result.stderr
        found = results_of(tmp_path / 'run')
        assert 'messages on /camera cannot be read' in found['notes'][0]
        assert 'the rest of the recording was evaluated' in found['notes'][0]
        assert len(read_queries(tmp_path / 'run')) > 100

    @pytest.mark.parametrize(('options', 'words'), [
        (('--tolerance', '5 apples'), "expected meters ('5m')"),
        (('--query-range', 'a:b'), 'expected frames such as 0:400'),
        (('--query-range', '900:'), 'frames 900 to'),
        (('--clock-offset', 'soon'), "expected seconds or 'auto'"),
        (('--query-truth', '/ground_truth'), 'has no pose topic /ground_truth'),
        (('--set', 'matching.top=3'), "setting 'matching.top' is unknown")])
    def test_one_sentence(self, bags, tmp_path, options, words):
        assert words in refusal('evaluate', 'bags', *HOG, '--map-source', bags[0], '--query-source',
                                bags[1], '--output', tmp_path / 'run', *options)

    def test_a_folder_with_other_files_is_left_alone(self, bags, tmp_path):
        mine = tmp_path / 'results.json'
        mine.write_text('mine')
        assert 'holds other files, such as results.json' in refusal(
            'evaluate', 'bags', *HOG, '--map-source', bags[0], '--query-source', bags[1],
            '--output', tmp_path)
        assert mine.read_text() == 'mine'

    def test_what_lacks_poses(self, bags, drives, tmp_path):
        folder = write_folder(tmp_path / 'images', drives[1], range(12))
        assert 'has no poses' in refusal(
            'evaluate', 'bags', *HOG, '--map-source', bags[0], '--query-source', folder, '--output',
            tmp_path / 'run', '-L', 3)
        succeed('map', 'build', *HOG, folder, '--output', tmp_path / 'numbers', '-L', 3)
        assert 'frame numbers instead of poses' in refusal(
            'evaluate', 'bags', '--map', tmp_path / 'numbers', '--query-source', bags[1],
            '--output', tmp_path / 'run')
        assert 'expected one of them' in refusal(
            'evaluate', 'bags', *HOG, '--query-source', folder, '--output', tmp_path / 'run')
        other = write_bag(tmp_path / 'short', Drive(
            Town(7, (2, 1)), DAY, Camera(96, 72), length=4.0, speed=9.0))
        result = self.evaluate((bags[0], other), tmp_path, *SEQUENCES)
        assert 'nothing was searched' in result.stderr


def test_the_columns_are_described_in_the_manual():
    manual = (Path(__file__).resolve().parents[2] / 'docs' / 'evaluation.md').read_text()
    for column in COLUMNS:
        assert f'`{column}`' in manual


def test_poses_of_places_and_of_truth_differ(bags, tmp_path):
    """The robot's own poses drift; what counts is where the truth says the places are."""
    drifted = Drive(Town(7, (2, 1)), DAY, Camera(96, 72), length=60.0, speed=9.0, seed=1)
    bag = write_bag(tmp_path / 'drifted', drifted, shift=(0.0, 400.0))
    truth = write_truth(tmp_path / 'truth.tum', drifted)
    common = ('evaluate', 'bags', *HOG, '--map-source', bag, '--query-source', bags[1], '-L', 5)
    succeed(*common, '--map-truth', truth, '--output', tmp_path / 'true')
    assert run(*common, '--output', tmp_path / 'false').exit_code == 1
    assert results_of(tmp_path / 'true')['measures']['recall']['1'] > 0.8
    assert results_of(tmp_path / 'false')['measures']['queries']['in_map'] == 0


def test_earth_positions_have_one_origin(drives, tmp_path):
    """Two drives with fixes of their own, the second one begins elsewhere."""
    folders, tables = [], []
    datum = GeoPoint(48.0, 11.0)
    parts = (('map', drives[0], range(80)), ('query', drives[1], range(40, 100)))
    for name, drive, frames in parts:
        folders.append(write_folder(tmp_path / name, drive, frames))
        fixes = enu_to_latlon(drive.poses[list(frames), :3], datum)
        tables.append(tmp_path / f'{name}.csv')
        tables[-1].write_text('image,lat,lon\n' + ''.join(
            f'{number}.png,{north:.9f},{east:.9f}\n'
            for number, (north, east) in zip(frames, fixes, strict=True)))
    common = ('evaluate', 'bags', *HOG, '--query-source', folders[1], '--query-poses', tables[1],
              '-L', 5)
    succeed(*common, '--map-source', folders[0], '--map-poses', tables[0], '--output',
            tmp_path / 'made')
    succeed('map', 'build', *HOG, folders[0], '--poses', tables[0], '--output', tmp_path / 'built',
            '-L', 5)
    succeed(*common, '--map', tmp_path / 'built', '--output', tmp_path / 'taken')
    made, taken = (results_of(tmp_path / name)['measures'] for name in ('made', 'taken'))
    assert made['recall']['1'] > 0.8
    assert taken['recall'] == made['recall']
    assert taken['accepted']['error']['median'] == pytest.approx(
        made['accepted']['error']['median'], abs=0.1)


def test_videos(drives, tmp_path):
    paths = []
    for name, drive in zip(('map', 'query'), drives, strict=True):
        paths.append(tmp_path / f'{name}.avi')
        writer = cv2.VideoWriter(str(paths[-1]), cv2.VideoWriter.fourcc(*'MJPG'), 10, (96, 72))
        for index in range(40):
            writer.write(cv2.cvtColor(drive.render(index), cv2.COLOR_RGB2BGR))
        writer.release()
    succeed('evaluate', 'bags', *HOG, '--map-source', paths[0], '--query-source', paths[1], '-L', 5,
            '--tolerance', '8frames', '--output', tmp_path / 'run')
    found = results_of(tmp_path / 'run')
    assert found['measures']['recall']['1'] > 0.8
    assert (tmp_path / 'run' / 'report.html').read_text().count('data:image/webp') > 40
