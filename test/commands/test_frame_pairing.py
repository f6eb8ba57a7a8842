"""Two image folders of one route, of which one lacks images: names tell which belong together."""

import csv
from pathlib import Path

import cv2
import pytest
import yaml
from command_line import refusal, run, succeed
from streets import Street

from seqnet_ros.datasets.seqnet.dataset_files import read_bounds
from seqnet_ros.datasets.seqnet.db_struct import read_struct
from seqnet_ros.evaluation.replay.run_files import read_queries, read_results

COUNT = 80


@pytest.fixture(scope='module')
def route(tmp_path_factory) -> Path:
    """The same street on two days; every fourth image of the second is gone."""
    folder = tmp_path_factory.mktemp('route')
    street = Street(3)
    for name, seed in (('monday', None), ('friday', 1)):
        (folder / name).mkdir()
        for number in range(1, COUNT + 1):
            if name == 'monday' or number % 4:
                cv2.imwrite(str(folder / name / f'image-{number:05d}.png'),
                            street.view(float(number), seed))
    (folder / 'small.yaml').write_text(yaml.safe_dump({
        'image': {'height': 64, 'width': 64}, 'frame': {'kind': 'hog', 'cell': 16, 'block': 32}}))
    return folder


def evaluate(route: Path, output: Path, *arguments: object):
    return succeed('evaluate', 'bags', '--map-source', route / 'monday', '--query-source',
                   route / 'friday', '--model', route / 'small.yaml', '-L', 5, '--output', output,
                   *arguments)


def create(route: Path, output: Path, *arguments: object):
    return succeed('dataset', 'create', route / 'monday', route / 'friday', '--output', output,
                   '--model', route / 'small.yaml', '--radius', 2, '--positive-radius', 1,
                   *arguments)


def test_gaps_are_seen_and_said(route, tmp_path):
    result = evaluate(route, tmp_path / 'run', '--tolerance', '2frames')
    found = read_results(tmp_path / 'run')
    assert found.measures.recall[1] > 0.9
    assert found.measures.queries.in_map == 60
    assert any('paired by the numbers in their names' in note for note in found.notes)
    assert 'paired by the numbers in their names' in result.stderr


def test_numbers_are_worth_a_list_of_pairs(route, tmp_path):
    evaluate(route, tmp_path / 'numbers', '--tolerance', '2frames')
    with (tmp_path / 'pairs.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('query', 'map'), *(
            (path.name, path.name) for path in sorted((route / 'friday').iterdir()))])
    evaluate(route, tmp_path / 'pairs', '--tolerance', '2frames', '--pairs',
             tmp_path / 'pairs.csv')
    assert read_queries(tmp_path / 'numbers') == read_queries(tmp_path / 'pairs')


def test_by_position_the_doubt_is_said(route, tmp_path):
    evaluate(route, tmp_path / 'run', '--tolerance', '2frames', '--pair-by', 'position')
    found = read_results(tmp_path / 'run')
    assert found.measures.recall[1] < 0.3
    assert any('have 80 and 60 frames' in note for note in found.notes)


def test_what_does_not_go_together(route, tmp_path):
    common = ('evaluate', 'bags', '--query-source', route / 'friday', '--map-source',
              route / 'monday', '--tolerance', '2frames', '--output', tmp_path / 'run')
    assert "'guess'" in refusal(*common, '--pair-by', 'guess')
    assert '--pairs and --pair-by number' in refusal(
        *common, '--pair-by', 'number', '--pairs', tmp_path / 'pairs.csv')
    assert not (tmp_path / 'run').exists()
    poses = tmp_path / 'poses.csv'
    poses.write_text('index,x,y\n0,0,0\n1,1,0\n')
    assert 'the tolerance is 5 m, expected a tolerance in frames' in refusal(
        'evaluate', 'bags', '--query-source', route / 'friday', '--map-source', route / 'monday',
        '--map-poses', poses, '--query-poses', poses, '--pair-by', 'number', '--output',
        tmp_path / 'run')
    assert 'drives with poses' in refusal(
        'dataset', 'create', route / 'monday', route / 'friday', '--reference-poses', poses,
        '--query-poses', poses, '--radius', 2, '--positive-radius', 1, '--pair-by', 'number',
        '--output', tmp_path / 'set')


def test_a_data_set_knows_the_gaps(route, tmp_path):
    result = create(route, tmp_path / 'set')
    struct = read_struct(next((tmp_path / 'set' / 'structFiles').glob('*.db')))
    assert struct.q_positions[:, 0].tolist() == [
        number - 1 for number in range(1, COUNT + 1) if number % 4]
    assert 'paired by the numbers in their names' in result.stderr
    by_position = create(route, tmp_path / 'other', '--pair-by', 'position')
    assert 'have 80 and 60 frames' in by_position.stderr


def test_images_without_a_counterpart_are_left_out_by_name(route, tmp_path):
    friday = tmp_path / 'friday'
    friday.mkdir()
    names = [path.name for path in sorted((route / 'friday').iterdir())[:12]]
    for index, name in enumerate(names):
        new = f'x{name}' if index in (0, 5) else name
        (friday / new).write_bytes((route / 'friday' / name).read_bytes())
    succeed('dataset', 'create', route / 'monday', friday, '--output', tmp_path / 'set', '--model',
            route / 'small.yaml', '--radius', 2, '--positive-radius', 1, '--pair-by', 'name')
    struct = read_struct(next((tmp_path / 'set' / 'structFiles').glob('*.db')))
    assert len(struct.q_images) == 10
    places = [int(Path(name).stem.removeprefix('image-')) - 1 for name in struct.q_images]
    assert struct.q_positions[:, 0].tolist() == places
    bounds = read_bounds(next((tmp_path / 'set').rglob('*query_seqBounds.txt')))
    assert len(bounds) == 10


def test_a_bag_has_no_names_to_pair_by(route, tmp_path):
    succeed('bag', 'write', route / 'monday', '--output', tmp_path / 'bag')
    result = run('dataset', 'create', tmp_path / 'bag', route / 'friday', '--output',
                 tmp_path / 'set', '--model', route / 'small.yaml', '--radius', 2,
                 '--positive-radius', 1, '--pair-by', 'number')
    assert result.exit_code == 2
    assert 'one folder of images on each side' in result.stderr
