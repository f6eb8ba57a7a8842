"""`seqnet_ros evaluate sequences` and `seqnet_ros dataset prepare` and `render`."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from command_line import refusal, run, succeed
from jist_trees import make_tree, read_tree, write_lap_files, write_msls

import seqnet_ros
from seqnet_ros.config.model import AggregatorConfig
from seqnet_ros.datasets.jist.robotcar import LAPS
from seqnet_ros.datasets.jist.sequence_folders import SIDES, parse_names, read_frames
from seqnet_ros.datasets.jist.sf_xl import read_image_list, read_views
from seqnet_ros.models.place_model import PlaceModel, load_model
from seqnet_ros.sequences.aggregators import build_aggregator

GOLDEN_CASES = (
    'msls_test_seqgem_L5', 'msls_test_seqgem_L4_reverse', 'msls_test_concat_L5_reverse',
    'msls_test_mean_L5', 'msls_test_max_L4_reverse', 'robotcar_test_seqgem_L5',
    'robotcar_test_concat_L5_reverse')
NS = ('1', '5', '10', '20', '100')


# ---- the published recalls

class Lookup:
    """Describes an image by the row of a table that its pixel states."""

    name, weights_digest, sequence_tensors = 'lookup', '', {}

    def __init__(self, tables: list[np.ndarray]) -> None:
        self.tables = tables
        self.dim = tables[0].shape[1]
        self.described: list[tuple[int, int]] = []

    def describe(self, images: list[np.ndarray]) -> np.ndarray:
        keys = [(int(image[0, 0, 0]), 256 * int(image[0, 0, 1]) + int(image[0, 0, 2]))
                for image in images]
        self.described += keys
        return np.stack([self.tables[side][row] for side, row in keys])


def write_rows(root: Path, files: dict[str, list[str]]) -> None:
    """Give each image of a tree a pixel that states its side and row; the content is PNG."""
    make_tree(root, files)
    for side, name in enumerate(SIDES):
        for row, path in enumerate(files[name]):
            pixel = np.array([[[row % 256, row // 256, side]]], np.uint8)
            (root / path).write_bytes(cv2.imencode('.png', pixel)[1].tobytes())


def use_model(monkeypatch: pytest.MonkeyPatch, describer: Lookup, aggregator: str) -> None:
    """Let the command load a model that looks descriptors up."""
    hog = load_model('hog', 'cpu')
    config = AggregatorConfig(aggregator=aggregator)
    length = hog.engine.sequence.length
    model = replace(
        hog, describer=describer, aggregator=build_aggregator(config, length, describer.dim),
        config=hog.config.model_copy(update={'sequence': config, 'centring': False}))

    def load(*_: object) -> PlaceModel:
        return model

    monkeypatch.setattr('seqnet_ros.models.place_model.load_model', load)


def golden_case(golden: Path, name: str, root: Path, monkeypatch: pytest.MonkeyPatch,
                ) -> tuple[dict, Lookup]:
    cases = json.loads((golden / 'jist' / 'evaluation' / 'evaluation.json').read_text())
    case = next(case for case in cases if case['case'] == name)
    tree = read_tree(golden, case['tree'])
    case['qIdx'] = next(windows['qIdx'] for windows in tree['cases'] if not windows.get('city')
                        and windows['seq_length'] == case['seq_length'])
    write_rows(root / 'test', tree['files'])
    arrays = np.load(golden / 'jist' / 'evaluation' / f'{case["tree"]}_frames.npz')
    describer = Lookup([arrays[side] for side in SIDES])
    use_model(monkeypatch, describer, case['aggregation'])
    return case, describer


def recall_by_hand(found: dict[str, np.ndarray], radius: float) -> dict[str, float]:
    """Compute recalls of a predictions file, query by query."""
    places = {side: parse_names([name.decode() for name in found[f'{side}_images']])[0]
              for side in ('database', 'query')}
    first = []
    for window, row in zip(found['query_windows'], found['preds'], strict=True):
        def near(other: np.ndarray, window: np.ndarray = window) -> bool:
            steps = places['query'][window][:, None] - places['database'][other]
            return bool((np.hypot(*np.moveaxis(steps, -1, 0)) <= radius).any())

        if any(near(other) for other in found['database_windows']):
            hits = [near(found['database_windows'][place]) for place in row]
            first.append(hits.index(True) if True in hits else len(hits))
    return {n: float(np.mean(np.array(first) < int(n))) for n in NS}


@pytest.mark.parametrize('name', GOLDEN_CASES)
def test_recalls_are_those_of_the_published_code(
        shared_golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case, describer = golden_case(shared_golden, name, tmp_path, monkeypatch)
    golden = np.load(shared_golden / 'jist' / 'evaluation' / f'{name}.npz')
    shown = succeed(
        'evaluate', 'sequences', tmp_path, '--model', 'any', '-L', case['seq_length'],
        '--radius', case['pos_thresh'], '--compat', *['--reverse'] * case['reverse'],
        '--batch', 7, '--predictions', tmp_path / 'found.npz', '--json', tmp_path / 'found.json')
    assert shown.stdout.startswith(case['printed'] + ', R@20: ')
    assert len(describer.described) == len(set(describer.described)), 'an image described twice'
    document = json.loads((tmp_path / 'found.json').read_text())
    assert [100 * document['recall'][n] for n in NS[:3]] == pytest.approx(
        case['recalls_at_1_5_10'])
    assert (document['places'], document['queries']) == (case['n_db'], case['n_queries'])
    with np.load(tmp_path / 'found.npz', allow_pickle=False) as found:
        # Queries without a match are searched, too.
        assert len(found['preds']) == case['n_queries'] + document['unmatched']
        np.testing.assert_array_equal(found['preds'][case['qIdx'], :10], golden['predictions'])
        np.testing.assert_allclose(
            found['distances'][case['qIdx'], :10] ** 2, golden['distances'], atol=2e-5)


def test_numbers_follow_from_predictions_positions_and_cities(
        shared_golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden_case(shared_golden, 'msls_test_seqgem_L5', tmp_path, monkeypatch)

    def measure(*arguments: object) -> tuple[dict, str]:
        shown = succeed('evaluate', 'sequences', tmp_path, '--model', 'any', *arguments, '--json',
                        tmp_path / 'a.json', '--predictions', tmp_path / 'a.npz').stdout
        return json.loads((tmp_path / 'a.json').read_text()), shown

    both, shown = measure('--radii', '2,40,0')
    cities = sorted(both['by_city'])
    assert len(cities) >= 2
    assert sum(city['queries'] for city in both['by_city'].values()) == both['queries']
    for city in cities:
        found = both['by_city'][city]
        assert re.search(rf'^{city} +{found["unmatched"]} +{found["queries"]} ', shown, re.M)
    one, shown = measure('--city', cities[0], '--radii', '2,40')
    assert one['places'] < both['places']
    assert (one['queries'], list(one['by_city'])) == (
        both['by_city'][cities[0]]['queries'], cities[:1])
    assert 'without match' not in shown.split('radius', 1)[1]
    with np.load(tmp_path / 'a.npz', allow_pickle=False) as found:
        for radius in (2, 25, 40):
            measured = one if radius == 25 else one['by_radius'][str(radius)]
            if measured['recall'] is not None:
                assert measured['recall'] == pytest.approx(recall_by_hand(found, radius))
    again, _ = measure(*[part for city in cities for part in ('--city', city)])
    assert again['recall'] == both['recall']
    assert both['by_radius']['0'] == {'recall': None, 'queries': 0}
    few, shown = measure('--pca', 3)
    assert few['bytes_per_place'] == 12
    assert '12 bytes each' in shown
    assert few['recall']['1'] < both['recall']['1']


def test_rules_and_the_cache_of_matches(
        shared_golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    golden_case(shared_golden, 'msls_test_mean_L5', tmp_path, monkeypatch)

    def first_line(*arguments: object) -> str:
        return succeed('evaluate', 'sequences', tmp_path, '--model', 'any', *arguments
                       ).stdout.splitlines()[0]

    cache = tmp_path / 'cache'
    lines = {rule: first_line('--rule', rule, '--radius', 10, '--cache', cache)
             for rule in ('any', 'centre', 'last')}
    assert len(set(lines.values())) == 3
    files = sorted(cache.iterdir())
    assert len(files) == 3
    before = [file.stat().st_mtime_ns for file in files]
    assert first_line('--rule', 'last', '--radius', 10, '--cache', cache) == lines['last']
    assert [file.stat().st_mtime_ns for file in files] == before
    assert sorted(cache.iterdir()) == files


# ---- images that cannot be read

def street(root: Path, count: int = 12) -> list[Path]:
    """Write a split of two sequences along one street."""
    random = np.random.default_rng(3)
    images = []
    for side, first in zip(SIDES, (0.0, 2.0), strict=True):
        folder = root / 'test' / side / f's{side[0]}'
        folder.mkdir(parents=True)
        for number in range(count):
            name = f'@{first + 10 * number:010.2f}@{0:010.2f}@s{side[0]}@{number}@k@cph@2017@.jpg'
            images.append(folder / name)
            cv2.imwrite(str(images[-1]), random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    return images


def test_broken_images_are_left_out(tmp_path: Path) -> None:
    images = street(tmp_path)
    images[5].write_bytes(images[5].read_bytes()[:500])
    command = ('evaluate', 'sequences', tmp_path, '--model', 'hog', '-L', 3)
    result = succeed(*command, '--json', tmp_path / 'a.json')
    assert '1 of 24 images cannot be read and were skipped: ' in result.stderr
    assert images[5].name in result.stderr
    shown = result.stdout
    assert re.search(rf'skipped +3 sequences, '
                     rf'because of 1 unreadable images.*{images[5].name}', shown)
    document = json.loads((tmp_path / 'a.json').read_text())
    assert (document['places'], document['queries']) == (7, 10)
    assert (len(document['broken_images']), document['sequences_left_out']) == (1, 3)
    for image in images[12:]:
        image.write_bytes(b'')
    assert 'none of the 12 images can be read' in refusal(*command)


def test_the_option_of_old_scripts_changes_nothing(tmp_path: Path) -> None:
    images = street(tmp_path)
    images[5].write_bytes(b'')
    command = ('evaluate', 'sequences', tmp_path, '--model', 'hog', '-L', 3)
    recalls = [succeed(*command, *option).stdout.splitlines()[0]
               for option in ((), ('--skip-broken',))]
    assert recalls[0] == recalls[1]
    assert recalls[0].startswith('R@1: ')


def test_nothing_is_described_before_the_rest_is_sound(tmp_path: Path) -> None:
    """All images are broken: a sentence about anything else came before they were looked at."""
    for image in street(tmp_path):
        image.write_bytes(b'')

    def refused(*arguments: object, model: object = 'hog') -> str:
        return refusal('evaluate', 'sequences', tmp_path, '--model', model, *arguments)

    assert 'is empty' in refused()
    seqnet = tmp_path / 'seqnet.yaml'
    seqnet.write_text(yaml.safe_dump({'centring': False, 'sequence': {
        'aggregator': 'seqnet', 'kernel': 5, 'out_dim': 8, 'weights': {'random': True}}}))
    assert 'is shorter than the SeqNet kernel of 5' in refused('-L', 3, model=seqnet)
    assert '8 descriptors of 1764 values have 1 to 8' in refused('--pca', 9)
    assert 'val/database cannot be listed' in refused('--split', 'val')
    assert 'no sequence in' in refused('--city', 'sf')
    assert 'no 13 frames in' in refused('-L', 13)
    assert 'length is 0' in refused('-L', 0)
    assert "the rule is 'first', expected one of any, centre, last" in refused('--rule', 'first')
    assert 'none of the 8 queries has a true match' in refused('--radius', 1)
    for radius in ('-1', 'nan', 'inf'):
        assert 'expected 0 or more meters' in refused('--radius', radius)
    assert "--radii is '5;10', expected numbers such as 5,10,25" in refused('--radii', '5;10')
    assert 'expected 0 or more meters' in refused('--radii', '5,-10')
    assert "no model 'nothing'" in refused(model='nothing')
    assert 'is a folder, expected a file' in refused('--json', tmp_path)
    assert run('evaluate', 'sequences', tmp_path).exit_code == 2
    assert run('evaluate', 'sequences', tmp_path, '--model', 'hog', '--batch', 0).exit_code == 2


def test_evaluate_stays_a_command_of_its_own(tmp_path: Path) -> None:
    assert 'found neither --method nor a subcommand' in refusal('evaluate')
    assert "--seq-length was given before 'sequences'" in refusal(
        'evaluate', '-L', 3, 'sequences', tmp_path, '--model', 'hog')
    assert run('evaluate', 'nothing').exit_code == 2
    shown = succeed('evaluate', '--help').stdout
    assert '--method' in shown
    assert 'sequences' in shown


# ---- the rendered town

RENDER = ('--length', 30, '--blocks', 2, 1, '--condition', 'day', '--query-condition', 'overcast',
          '--frame-width', 64, '--image-size', 32, '--workers', 1)


@pytest.fixture(scope='module')
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('town') / 'town'
    succeed('dataset', 'render', folder, *RENDER)
    return folder


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    """A network of random weights, which are the same each time."""
    path = tmp_path / 'resnet.yaml'
    path.write_text(yaml.safe_dump({
        'image': {'height': 48, 'width': 64}, 'centring': False,
        'frame': {'kind': 'network', 'backbone': 'resnet18'}, 'weights': {'random': True},
        'sequence': {'aggregator': 'seqgem'}}))
    return path


def test_a_town_is_rendered_searched_and_checked(town: Path) -> None:
    for split in ('train', 'val', 'test'):
        for side in SIDES:
            assert len(read_frames(town / 'msls' / split, side)) > 8
    assert len({name for split in ('train', 'val', 'test') for name in read_frames(
        town / 'msls' / split, 'database').cities}) == 3
    processed = town / 'sf_xl' / 'processed'
    views = read_views(read_image_list(processed / 'train'))
    assert set(views.heading) == set(range(0, 360, 30))
    shown = succeed('dataset', 'prepare', 'sf-xl', processed, '--sample', 3).stdout
    assert re.search(rf'^train +{len(views.east)} +3 +0 ', shown, re.M)
    assert re.search(r'^test/database +missing', shown, re.M)
    # About 16 images in each class of 10 m that the drive crosses.
    assert re.search(rf'views +{len(views.east)}\nin classes +\d\d\d\n', shown)
    assert re.search(r'classes +[2-9]\d of 10 m and 30 degrees with 10 images or more\n', shown)
    shown = succeed('evaluate', 'sequences', town / 'msls', '--model', 'hog', '-L', 3, '--rule',
                    'centre', '--radius', 2, '--radii', '2').stdout
    found = re.match(r'R@1: ([\d.]+), R@5: ', shown)
    places = re.search(r'places +(\d+), 7056 bytes each\n', shown)
    assert found
    assert places
    assert int(places.group(1)) >= 7
    assert float(found.group(1)) >= 70  # of those that match, chance finds one or two in seven
    assert re.search(rf'^2 m +\d+ +{found.group(1)} ', shown, re.M)


def test_a_network_and_an_aggregator_without_order(town: Path, resnet: Path, tmp_path: Path,
                                                   ) -> None:
    found = []
    for more in ((), ('--reverse',)):
        path = tmp_path / f'{len(more)}.npz'
        succeed('evaluate', 'sequences', town / 'msls', '--model', resnet, '--device', 'cpu',
                '-L', 4, '--radius', 5, '--predictions', path, *more)
        found.append(np.load(path, allow_pickle=False))
    np.testing.assert_allclose(found[0]['distances'], found[1]['distances'], atol=1e-5)
    np.testing.assert_array_equal(found[0]['database_windows'][:, ::-1],
                                  found[1]['database_windows'])


def test_what_render_refuses(tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        return refusal('dataset', 'render', tmp_path / 'new', *arguments)

    assert ("condition 'fog' is unknown, expected some of day, overcast"
            in refused('--condition', 'fog'))
    assert '--length is 0' in refused('--length', 0)
    assert 'at least (2, 1) blocks' in refused('--blocks', 1, 1)
    assert 'at most one of them' in refused('--no-images', '--no-sequences')
    assert not (tmp_path / 'new').exists()
    (tmp_path / 'mine').write_text('')
    assert 'exists, expected a new or empty folder' in refusal('dataset', 'render', tmp_path)


def test_render_without_the_town_says_where_to_get_it(tmp_path: Path) -> None:
    """As on a robot: the runtime package alone, without the checkout around it."""
    (tmp_path / 'seqnet_ros').symlink_to(Path(seqnet_ros.__file__).parent)
    done = subprocess.run(
        [sys.executable, '-m', 'seqnet_ros.cli.main', 'dataset', 'render', 'data'], cwd=tmp_path,
        env={'PYTHONPATH': str(tmp_path), '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'},
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        'Error: the rendered town is not installed: found no package seqnet_town, expected the '
        'one in the source repository of seqnet_ros; add a checkout of it to PYTHONPATH\n')
    assert not (tmp_path / 'data').exists()


# ---- MSLS

@pytest.fixture
def official(tmp_path: Path) -> Path:
    """An official folder of two cities with images that differ."""
    root = tmp_path / 'official'
    for city, latitude in (('cph', 55.7), ('amsterdam', 52.4)):
        for side, shift in (('database', 0), ('query', 1)):
            rows = [(f'{city[0]}{side[0]}{n}', f'{city}{side[0]}', n, 6 * n + shift, n == 8)
                    for n in range(12)]
            write_msls(root, city, side, rows, latitude)
    random = np.random.default_rng(0)
    for image in sorted(root.rglob('*.jpg')):
        cv2.imwrite(str(image), random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    return root


def test_msls_is_sorted_once_and_stays(official: Path, tmp_path: Path) -> None:
    (official / 'train_val' / 'cph' / 'query' / 'images' / 'cq3.jpg').unlink()
    with (official / 'train_val' / 'cph' / 'database' / 'raw.csv').open('a') as file:
        file.write('12,lost,12.5,,0.0,2018-08-17,False\n')
    command = ('dataset', 'prepare', 'msls', official, '--output', tmp_path / 'new')
    first = succeed(*command)
    for row in (r'val/database +amsterdam +11 +0 +1 +0 +0', r'val/queries +amsterdam +11 ',
                r'test/database +cph +11 +0 +1 +1 +0', r'test/queries +cph +10 +0 +1 +0 +1'):
        assert re.search(f'^{row}', first.stdout, re.M), first.stdout
    assert 'test/database: skipped 1 broken rows, such as: ' in first.stderr
    assert 'raw.csv line 14 is incomplete' in first.stderr
    assert 'cq3.jpg is missing or empty' in first.stderr
    images = {file: file.stat() for file in (tmp_path / 'new').rglob('*.jpg')}
    assert len(images) == 43
    assert all(stat.st_nlink == 2 for stat in images.values())
    assert succeed(*command).stdout == first.stdout
    assert {file: file.stat() for file in (tmp_path / 'new').rglob('*.jpg')} == images
    shown = succeed('dataset', 'prepare', 'msls', official, '--output', tmp_path / 'one', '--city',
                    'cph', '--copy').stdout
    assert re.search(r'^test/database +cph +11 +11 ', shown, re.M)
    assert [path.name for path in (tmp_path / 'one').iterdir()] == ['test']


def test_msls_need_not_be_sorted(official: Path, tmp_path: Path) -> None:
    succeed('dataset', 'prepare', 'msls', official, '--output', tmp_path / 'new')
    found = []
    for folder in (official, tmp_path / 'new'):
        succeed('evaluate', 'sequences', folder, '--model', 'hog', '-L', 4, '--radii', '3,25',
                '--json', tmp_path / 'a.json')
        document = json.loads((tmp_path / 'a.json').read_text())
        found.append({name: value for name, value in document.items()
                      if 'milliseconds' not in name})
    assert found[0] == found[1]
    assert (found[0]['places'], list(found[0]['by_city'])) == (5, ['cph'])


def add_subtasks(official: Path, chosen: dict[str, list[int]]) -> None:
    """Write official positions, and frames of two subtasks: every one, and s2w."""
    for side, numbers in chosen.items():
        folder = official / 'train_val' / 'cph' / side
        rows = [(f'c{side[0]}{n}', 6 * n + (side == 'query')) for n in range(12)]
        (folder / 'postprocessed.csv').write_text('\n'.join(
            [',key,easting,northing', *(f'{n},{key},346000.0,{6175000 + meters}'
                                        for n, (key, meters) in enumerate(rows))]))
        (folder / 'subtask_index.csv').write_text('\n'.join(
            [',key,all,s2w', *(f'{n},{key},True,{n in numbers}'
                               for n, (key, _) in enumerate(rows))]))


def test_subtasks_of_msls_are_those_of_the_center_frame(official: Path, tmp_path: Path) -> None:
    add_subtasks(official, {'database': [2, 3, 8, 10], 'query': [0, 4, 5, 9]})
    command = ('evaluate', 'sequences', official, '--model', 'hog', '--json', tmp_path / 'a.json')

    def measured(*arguments: object) -> tuple[int, int]:
        succeed(*command, *arguments)
        document = json.loads((tmp_path / 'a.json').read_text())
        return document['places'], document['queries'] + document['unmatched']

    # Frame 8 is a panorama.
    assert measured('-L', 1, '--subtask', 'all') == (11, 11)
    assert measured('-L', 1, '--subtask', 's2w') == (3, 4)
    assert measured('-L', 3, '--subtask', 's2w') == (3, 2)
    assert json.loads((tmp_path / 'a.json').read_text())['subtask'] == 's2w'
    assert "'summer'" in refusal(*command, '-L', 1, '--subtask', 'summer')
    assert 'has the columns' in refusal(*command, '-L', 1, '--subtask', 'd2n')
    assert 'expected the official folder of MSLS' in refusal(
        'evaluate', 'sequences', street(tmp_path / 'x')[0].parents[3], '--model', 'hog',
        '--subtask', 'all')


def test_flat_folders_are_measured(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    views = random.integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
    for side in ('database', 'queries'):
        (tmp_path / 'images' / 'test' / side).mkdir(parents=True)
        for index, view in enumerate(views):
            noisy = view if side == 'database' else view // 2
            cv2.imwrite(str(tmp_path / 'images' / 'test' / side / (
                f'@0500000.00@{7e6 + 30 * index:.2f}@56@J@-27.4@0153.0@{index}@@000@@@@@@.jpg')),
                noisy)
    for length, places in ((1, 12), (5, 8)):
        shown = succeed('evaluate', 'sequences', tmp_path, '--model', 'hog', '-L', length)
        assert f'places   {places},' in shown.stdout
        assert shown.stdout.startswith('R@1: 100.0')


def test_what_prepare_msls_refuses(official: Path, tmp_path: Path) -> None:
    def refused(folder: Path, *arguments: object) -> str:
        return refusal('dataset', 'prepare', 'msls', folder, '--output', tmp_path / 'new',
                       *arguments)

    assert 'holds no train_val' in refused(tmp_path)
    assert "'miami' is not a city with published positions" in refused(official, '--city', 'miami')
    assert 'holds none of sf' in refused(official, '--city', 'sf')
    assert not (tmp_path / 'new').exists()
    for image in official.rglob('*.jpg'):
        image.unlink()
    assert 'is usable: ' in refused(official)


# ---- RobotCar

def write_lap(root: Path, name: str, kind: str, count: int = 6) -> None:
    """Write a lap with an image every second and 1.5 m."""
    second = 1_000_000
    lap = write_lap_files(root / name, [n * second for n in range(count)],
                          {n * second: (5735000 + 1.5 * n, 620000) for n in range(count - 1)})
    (lap / 'stereo').mkdir()
    (lap / 'left').rename(lap / 'stereo' / 'left')
    (lap / 'gps').mkdir()
    (lap / 'rtk.csv').rename(lap / 'gps' / f'{kind}.csv')


def test_laps_become_splits(tmp_path: Path) -> None:
    root, output = tmp_path / 'robotcar', tmp_path / 'new'
    night, day = LAPS['test', 'queries'], LAPS['test', 'database']
    write_lap(root, night, 'gps')
    write_lap(root, day, 'ins')
    (root / 'rtk' / day).mkdir(parents=True)
    (root / 'rtk' / day / 'rtk.csv').write_text(
        (root / day / 'gps' / 'ins.csv').read_text() + 'x,51.7,-1.2,5735000,620000\n')
    (root / night / 'stereo' / 'left' / '0.png').write_bytes(b'damaged')
    (root / 'sunday').mkdir()
    (root / 'sunday' / 'rtk.csv').touch()
    command = ('dataset', 'prepare', 'robotcar', root, '--output', output)
    first = succeed(*command)
    for row in (rf'test/queries +{night} +gps.csv +6 +2 +0 +0 +1',
                rf'test/database +{day} +rtk.csv +6 +3 +0 +1 +0'):
        assert re.search(f'^{row}', first.stdout, re.M), first.stdout
    assert '0.png is damaged' in first.stderr
    frames = read_frames(output / 'test', 'database')
    assert frames.names == ('sequence',)
    np.testing.assert_allclose(frames.positions[:, 1] - 5735000, [0, 3, 6])
    assert succeed(*command).stdout == first.stdout
    shown = succeed(*command[:-1], tmp_path / 'own', '--lap', f'val/database={day}', '--positions',
                    'ins', '--spacing', 1).stdout
    assert re.search(rf'^val/database +{day} +ins.csv +6 +5 ', shown, re.M)
    assert [path.name for path in (tmp_path / 'own').iterdir()] == ['val']
    assert 'is of another lap or spacing' in refusal(*command, '--spacing', 1)
    assert "--positions is 'map', expected one of rtk" in refusal(*command, '--positions', 'map')
    assert f'has no positions of lap {night}, expected one of' in refusal(
        *command, '--positions', 'ins')
    assert "--lap is 'monday', expected a part of" in refusal(*command, '--lap', 'monday')
    assert 'stereo/left cannot be listed' in refusal(
        *command, '--positions', 'rtk', '--lap', 'val/queries=sunday')
    assert f'holds none of the laps {LAPS["train", "queries"]}' in refusal(
        *command[:3], tmp_path, '--output', output)


# ---- SF-XL

def test_sf_xl_is_checked(town: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'processed'
    for part in ('train', 'val/database'):
        (folder / part).mkdir(parents=True)
        source = read_image_list(town / 'sf_xl' / 'processed' / part)
        for row in range(12):
            path = folder / part / Path(source.names[row]).name
            path.write_bytes(source.path(row).read_bytes())
    damaged = path.with_name(path.name.replace('@day@', '@dusk@'))
    damaged.write_bytes(b'damaged')
    found = run('dataset', 'prepare', 'sf-xl', folder, '--sample', 1000)
    assert found.exit_code == 1
    assert re.search(r'^val/queries +missing', found.stdout, re.M)
    assert re.search(r'^val/database +13 +13 +1 ', found.stdout, re.M)
    assert damaged.name in found.stderr
    assert 'no class has 10 images' in found.stderr
    assert 'holds none of train, val/database' in refusal('dataset', 'prepare', 'sf-xl', tmp_path)
    (folder / 'train' / '@1@2@.jpg').write_bytes(b'')
    assert 'has no heading' in refusal('dataset', 'prepare', 'sf-xl', folder)
