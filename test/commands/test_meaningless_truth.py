"""Positions that make every result right, or none: degrees, swapped axes, one drive twice."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from command_line import refusal, run, succeed
from streets import Street

from seqnet_ros.evaluation.replay.run_files import read_results

COUNT = 40
EAST, NORTH = 500_000.0, 7_000_000.0


def at_sign_name(east: float, north: float, index: int) -> str:
    return f'@{east:.6f}@{north:.6f}@s0@{index}@k{index}@brisbane@2014@.jpg'


@pytest.fixture(scope='module')
def route(tmp_path_factory) -> Path:
    """The same street on two days, and a quick model."""
    folder = tmp_path_factory.mktemp('route')
    street = Street(5, 60)
    for name, seed in (('day', None), ('night', 1)):
        (folder / name).mkdir()
        for index in range(COUNT):
            cv2.imwrite(str(folder / name / f'{index}.jpg'), street.view(float(index), seed))
    (folder / 'small.yaml').write_text(yaml.safe_dump({
        'image': {'height': 64, 'width': 64}, 'frame': {'kind': 'hog', 'cell': 16, 'block': 32}}))
    return folder


def sequences(route: Path, root: Path, places: np.ndarray, q_places: np.ndarray | None = None,
              query: str = 'night') -> Path:
    """Write a split whose names state the positions ``[N, 2]`` of database and queries."""
    for side, drive, rows in (('database', 'day', places),
                              ('queries', query, places if q_places is None else q_places)):
        folder = root / 'test' / side / 's0'
        folder.mkdir(parents=True)
        for index, (east, north) in enumerate(rows):
            shutil.copy(route / drive / f'{index}.jpg', folder / at_sign_name(east, north, index))
    return root


def meters(step: float = 3.0) -> np.ndarray:
    return np.stack([np.full(COUNT, EAST), NORTH + step * np.arange(COUNT)], axis=1)


def degrees() -> np.ndarray:
    return np.stack([153.028 + 3e-5 * np.arange(COUNT), np.full(COUNT, -27.47722)], axis=1)


def poses(path: Path, rows: np.ndarray, columns: str = 'frame,x,y') -> Path:
    lines = [f'{index}.jpg,{x:.8f},{y:.8f}' for index, (x, y) in enumerate(rows)]
    path.write_text('\n'.join([columns, *lines]) + '\n')
    return path


@pytest.fixture
def evaluate(route, tmp_path):
    def call(places: np.ndarray, q_places: np.ndarray, columns: str = 'frame,x,y',
             query: str = 'night'):
        result = run('evaluate', 'bags', '--map-source', route / 'day', '--query-source',
                     route / query, '--map-poses', poses(tmp_path / 'map.csv', places, columns),
                     '--query-poses', poses(tmp_path / 'query.csv', q_places, columns), '--model',
                     route / 'small.yaml', '--output', tmp_path / 'run', '-L', 5)
        return result, read_results(tmp_path / 'run')
    return call


class TestSequences:
    def test_degrees_are_refused(self, route, tmp_path):
        folder = sequences(route, tmp_path, degrees())
        message = refusal('evaluate', 'sequences', folder, '--model', route / 'small.yaml')
        assert 'states the position 153.028, -27.4772' in message
        assert 'UTM' in message

    def test_degrees_of_several_cities_are_refused(self, route, tmp_path):
        sequences(route, tmp_path, degrees())
        for side in ('database', 'queries'):
            other = tmp_path / 'test' / side / 's1'
            other.mkdir()
            for index in range(10):
                name = at_sign_name(12.5, 55.6 + 2e-5 * index, index)
                shutil.copy(route / 'day' / f'{index}.jpg', other / name)
        assert 'look like degrees' in refusal(
            'evaluate', 'sequences', tmp_path, '--model', route / 'small.yaml')

    def test_local_meters_are_not_mistaken(self, route, tmp_path):
        places = meters() - [EAST, NORTH]
        succeed('evaluate', 'sequences', sequences(route, tmp_path, places), '--model',
                route / 'small.yaml', '--radius', 5)

    def test_swapped_axes_are_named(self, route, tmp_path):
        folder = sequences(route, tmp_path, meters(), meters()[:, ::-1])
        message = refusal('evaluate', 'sequences', folder, '--model', route / 'small.yaml')
        assert 'none of the 36 queries has a true match' in message
        assert 'with east and north of the queries exchanged, 40 of 40' in message

    def test_one_side_in_degrees(self, route, tmp_path):
        folder = sequences(route, tmp_path, meters(), degrees())
        assert 'queries look like degrees' in refusal(
            'evaluate', 'sequences', folder, '--model', route / 'small.yaml')

    def test_a_radius_larger_than_the_drives_is_said(self, route, tmp_path):
        result = succeed('evaluate', 'sequences', sequences(route, tmp_path, meters(0.1)),
                         '--model', route / 'small.yaml')
        assert 'each of the 36 queries matches all 36 references' in result.stderr

    def test_a_database_searched_in_itself_is_said(self, route, tmp_path):
        folder = sequences(route, tmp_path, meters(), query='day')
        result = succeed('evaluate', 'sequences', folder, '--model', route / 'small.yaml')
        assert 'the queries are images of the database itself' in result.stderr
        other = succeed('evaluate', 'sequences', sequences(route, tmp_path / 'b', meters()),
                        '--model', route / 'small.yaml')
        assert 'itself' not in other.stderr


class TestRecordings:
    def test_degrees_in_the_columns_of_meters(self, evaluate):
        result, found = evaluate(degrees(), degrees())
        assert result.exit_code == 1
        assert found.verdict.level == 'unknown'
        note = next(note for note in found.notes if 'any result counts as correct' in note)
        assert 'the poses look like degrees' in note

    def test_degrees_in_columns_of_their_own(self, evaluate):
        result, found = evaluate(degrees(), degrees(), 'frame,lon,lat')
        assert result.exit_code == 0
        assert not any('degrees' in note for note in found.notes)

    def test_swapped_axes(self, evaluate):
        places = np.stack([100.0 + 3 * np.arange(COUNT), np.full(COUNT, -20.0)], axis=1)
        result, found = evaluate(places, places[:, ::-1])
        assert result.exit_code == 1
        assert found.verdict.level == 'unknown'
        assert any('with east and north of the queries exchanged' in note for note in found.notes)

    def test_a_drive_in_its_own_map(self, evaluate):
        places = meters()
        result, found = evaluate(places, places, query='day')
        assert result.exit_code == 0
        assert any('images of the drive that the map was made of' in note for note in found.notes)
        _, other = evaluate(places, places)
        assert not other.notes


class TestDatasets:
    def create(self, route, tmp_path, places, q_places):
        return ('dataset', 'create', route / 'day', route / 'night', '--model',
                route / 'small.yaml', '--radius', 5, '--positive-radius', 2, '--output',
                tmp_path / 'set', '--reference-poses', poses(tmp_path / 'map.csv', places),
                '--query-poses', poses(tmp_path / 'query.csv', q_places))

    def test_swapped_axes(self, route, tmp_path):
        message = refusal(*self.create(route, tmp_path, meters(), meters()[:, ::-1]))
        assert 'none of the 40 queries has a true match' in message
        assert 'exchanged' in message
        assert not (tmp_path / 'set').exists()

    def test_degrees(self, route, tmp_path):
        message = refusal(*self.create(route, tmp_path, degrees(), degrees()))
        assert 'look like degrees' in message


def test_one_array_as_reference_and_query(route, tmp_path):
    succeed('describe', route / 'day', '--model', route / 'small.yaml', '--output',
            tmp_path / 'day.npy')
    shutil.copy(tmp_path / 'day.npy', tmp_path / 'copy.npy')
    result = succeed('evaluate', '--method', 'single', '--reference', tmp_path / 'day.npy',
                     '--query', tmp_path / 'copy.npy', '--tolerance', 2)
    assert 'reference and query are the same descriptors' in result.stderr
