"""Comparing runs and searching settings, on rendered drives and on numbers made by hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from command_line import HOG, refusal, run, succeed

from seqnet_ros.config.engine import EngineConfig, LocalizationConfig, setting_fields
from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.metrics.accumulator import MetricsAccumulator
from seqnet_ros.evaluation.metrics.localization_metrics import LocalizationMetrics
from seqnet_ros.evaluation.replay.cold_starts import summarize_cold_starts
from seqnet_ros.evaluation.replay.comparison import compare_runs, differing_settings
from seqnet_ros.evaluation.replay.evaluation_results import (
    FORMAT,
    DriveSummary,
    MapSummary,
    ReplayedDrives,
    ReplayResults,
    ReplaySettings,
)
from seqnet_ros.evaluation.replay.run_files import (
    COLUMNS,
    FIRST_COLUMNS,
    read_results,
    write_results,
)
from seqnet_ros.evaluation.replay.tuning import (
    SPEEDS,
    Trial,
    engine_settings,
    parameter_file,
    tune,
    usual_search,
)
from seqnet_ros.evaluation.replay.verdict import give_verdict
from seqnet_town import DAY, OVERCAST, Camera, Drive, Town


def write_folder(path: Path, drive: Drive, frames: range) -> Path:
    path.mkdir()
    for index in frames:
        image = cv2.cvtColor(drive.render(index), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(path / f'{index:04}.jpg'), image)
    return path


@pytest.fixture(scope='module')
def folders(tmp_path_factory) -> dict[str, Path]:
    """Two stretches of a street, each driven twice."""
    folder = tmp_path_factory.mktemp('drives')
    town = Town(7, (2, 1))
    first = Drive(town, DAY, Camera(96, 72), length=80.0, speed=8.0, seed=1)
    second = Drive(town, OVERCAST, Camera(96, 72), length=80.0, speed=8.0, seed=1,
                   lateral_offset=0.4)
    return {f'{name}{number}': write_folder(folder / f'{name}{number}', drive, frames)
            for name, drive in (('map', first), ('query', second))
            for number, frames in ((1, range(50)), (2, range(50, 95)))}


def results_of(queries: int, settings: dict[str, object]) -> ReplayResults:
    """Return the results of a run without metrics."""
    metrics, restarts = MetricsAccumulator().compute(), summarize_cold_starts([])
    drive = DriveSummary(sources=('a',), frames=queries, first=0, poses=('a',), truth=None,
                         problems=())
    return ReplayResults(
        format=FORMAT, verdict=give_verdict(metrics, restarts), notes=(), measures=metrics,
        restarts=restarts,
        map=MapSummary(map_id='m', places=1, spacing='1m', route_length=0.0, pose_origin='a',
                       source='a', bytes=1, bytes_per_metre=None, bytes_per_place=1.0,
                       images_without_pose=0, images_damaged=0),
        drives=ReplayedDrives(map=None, queries=drive, tolerance='5 m', pairs=None,
                              clock_offsets=()),
        settings=ReplaySettings(name='hog', matching=settings), fingerprint='', device='cpu',
        versions={})


def make_run(folder: Path, right: np.ndarray, accepted: np.ndarray, **settings: object) -> Path:
    """Write a run of as many queries as asked for, all of them in the map."""
    folder.mkdir()
    rows = [','.join(COLUMNS)]
    for query, (found, believed) in enumerate(zip(right, accepted, strict=True)):
        values = {'query': query, 'place_id': 0, 'in_map': 'true',
                  'accepted': str(bool(believed)).lower(),
                  'right': str(bool(found)).lower(), 'first_right': 1 if found else ''}
        rows.append(','.join(str(values.get(name, '')) for name in COLUMNS))
    (folder / 'queries.csv').write_text('\n'.join(rows) + '\n')
    write_results(folder, results_of(len(right), settings))
    return folder


class TestComparison:
    def test_intervals_are_those_of_the_binomial_for_independent_queries(self, tmp_path):
        rng = np.random.default_rng(0)
        right = rng.random(1000) < 0.7
        runs = [make_run(tmp_path / name, right, right) for name in ('a', 'b')]
        found = compare_runs(runs, block=1).as_json()
        share = found['runs'][0]['shares']['Recall@1']
        deviation = np.sqrt(right.mean() * (1 - right.mean()) / 1000)
        assert share['value'] == pytest.approx(right.mean())
        assert share['low'] == pytest.approx(right.mean() - 1.96 * deviation, abs=0.004)
        assert share['high'] == pytest.approx(right.mean() + 1.96 * deviation, abs=0.004)
        same = found['runs'][1]['shares']['Recall@1']['difference']
        assert same == {'low': 0.0, 'high': 0.0, 'verdict': 'no clear difference'}

    def test_pairing_sees_small_differences_and_blocks_widen_intervals(self, tmp_path):
        rng = np.random.default_rng(1)
        # Stretches of 25 queries are right or wrong together.
        right = np.repeat(rng.random(40) < 0.6, 25)
        better = right | (rng.random(1000) < 0.1)
        runs = [make_run(tmp_path / name, found, found)
                for name, found in (('first', right), ('second', better))]
        narrow, wide = (compare_runs(runs, block).as_json() for block in (1, 50))

        def width(found: dict) -> float:
            share = found['runs'][0]['shares']['Recall@1']
            return share['high'] - share['low']

        assert width(wide) > 2 * width(narrow)
        for found in (narrow, wide):
            difference = found['runs'][1]['shares']['Recall@1']['difference']
            assert difference['verdict'] == 'better'
            assert difference['low'] < (better.mean() - right.mean()) < difference['high']

    def test_more_errors_are_worse(self, tmp_path):
        right = np.arange(400) % 4 > 0
        runs = [make_run(tmp_path / 'careful', right, right),
                make_run(tmp_path / 'bold', right, np.ones(400))]
        shares = compare_runs(runs).as_json()['runs'][1]['shares']
        assert shares['wrong accepted']['value'] == 0.25
        assert shares['wrong accepted']['difference']['verdict'] == 'worse'
        assert shares['precision']['difference']['verdict'] == 'worse'
        assert shares['Recall@1']['difference']['verdict'] == 'no clear difference'

    def test_what_cannot_be_compared(self, tmp_path):
        right = np.ones(10)
        first = make_run(tmp_path / 'first', right, right)
        other = make_run(tmp_path / 'other', np.ones(12), np.ones(12))
        with pytest.raises(InputError, match='only runs of the same queries'):
            compare_runs([first, other])
        with pytest.raises(InputError, match='at least two'):
            compare_runs([first])
        assert 'not the result of an evaluation' in refusal('compare', first, tmp_path)

    def test_settings_that_differ(self):
        assert differing_settings([{'a': {'b': 1, 'c': 2}}, {'a': {'b': 1, 'c': 3}}]) == {
            'a.c': [2, 3]}

    def test_settings_that_documents_omit_count_by_their_defaults(self):
        assert differing_settings([
            {'localization': {'method': 'filter'}, 'filter': {'leave': 0.01}},
            {'localization': {'method': 'filter'}},
            {}]) == {'localization.method': ['filter', 'filter', 'sequence'],
                     'filter.leave': [0.01, 0.003, 0.003]}

    def test_runs_of_both_methods_and_from_before_the_filter(self, tmp_path):
        right = np.arange(100) % 2 > 0
        first, second = (make_run(tmp_path / name, right, right) for name in ('old', 'new'))
        table = second / 'queries.csv'
        rows = [line.rsplit(',', len(COLUMNS) - FIRST_COLUMNS)[0]
                for line in (first / 'queries.csv').read_text().splitlines()]
        (first / 'queries.csv').write_text('\n'.join(rows) + '\n')
        assert len(rows[0]) < len(table.read_text().splitlines()[0])
        settings = {'name': 'hog', 'localization': LocalizationConfig(method='filter')}
        write_results(second, read_results(second).model_copy(
            update={'settings': ReplaySettings(**settings)}))
        found = compare_runs([first, second])
        assert found.settings['localization.method'] == ('sequence', 'filter')
        assert found.runs[1].verdicts()['Recall@1'] == 'no clear difference'
        assert [read_results(run).settings.method for run in (first, second)] == [
            'sequence', 'filter']

    def test_the_command(self, tmp_path):
        right = np.arange(100) % 2 > 0
        first = make_run(tmp_path / 'first', right, right, top_k=20)
        second = make_run(tmp_path / 'second', np.ones(100), np.ones(100), top_k=50)
        shown = succeed('compare', first, second, '--output', tmp_path / 'out').stdout
        assert 'Recall@1 better' in shown
        assert 'matching.top_k  20, 50' in shown
        page = (tmp_path / 'out' / 'compare.html').read_text()
        assert 'verdict-better' in page
        assert 'http' not in page.replace('http-equiv', '')
        before = (tmp_path / 'out' / 'compare.json').read_bytes()
        succeed('compare', first, second, '--output', tmp_path / 'out')
        assert (tmp_path / 'out' / 'compare.json').read_bytes() == before


def metrics_of(precision: float, localized: float) -> LocalizationMetrics:
    """Return the metrics of a trial; every other one is that of no results."""
    nothing = MetricsAccumulator().compute()
    return nothing.model_copy(update={
        'accepted': nothing.accepted.model_copy(update={'precision': precision}),
        'route': nothing.route.model_copy(update={'localized': localized}),
        'recall': {1: 0.5}})


class Landscape:
    """Settings with a known best; what a tuner has to find."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def try_out(self, settings: dict) -> Trial:
        for trial in self.trials:
            if trial.settings == settings:
                return trial
        localized = 1 - 0.1 * abs(settings['a'] - 3) - 0.05 * abs(settings['b'] - settings['a'])
        precision = 1.0 if settings['b'] < 5 else 0.8
        self.trials.append(Trial(settings, metrics_of(
            precision, localized if precision == 1 else 1.0)))
        return self.trials[-1]


class TestSearch:
    def test_it_climbs_and_does_not_buy_route_with_errors(self):
        found = tune(Landscape(), {'a': 0, 'b': 0}, {'a': range(6), 'b': range(6)}, 100)
        assert found.settings == {'a': 3, 'b': 3}

    def test_it_stops_at_the_limit(self):
        landscape = Landscape()
        tune(landscape, {'a': 0, 'b': 0}, {'a': range(6), 'b': range(6)}, 4)
        assert len(landscape.trials) == 4

    def test_speeds_are_two_settings(self):
        assert engine_settings({SPEEDS: (0.5, 2.0), 'matching.top_k': 3}) == {
            'matching.top_k': 3, 'matching.min_speed': 0.5, 'matching.max_speed': 2.0}

    @pytest.mark.parametrize('posed', [True, False])
    def test_the_usual_settings_are_those_of_the_method(self, posed):
        of_filter, of_sequence = (usual_search(posed, method) for method in ('filter', 'sequence'))
        fields = setting_fields()
        assert set(of_filter) <= set(fields)
        assert {name for name in of_filter if name.startswith('filter.')} == {
            'filter.evidence', 'filter.leave', 'filter.background_frames'}
        assert not any(name.startswith(('matching.', 'sequence.')) for name in of_filter)
        assert not any(name.startswith('filter.') for name in of_sequence)
        assert {'sequence.length', 'matching.top_k', SPEEDS} <= set(of_sequence)
        engine = EngineConfig()
        for name, values in of_filter.items():
            section, _, field = name.partition('.')
            assert getattr(getattr(engine, section), field) in (*values, 'auto')

    def test_the_parameter_file(self):
        text = parameter_file({'sequence.length': 5, 'keyframes.every': '2'}, ['why'])
        assert text.startswith('# why\n')
        assert yaml.safe_load(text) == {'/**': {'ros__parameters': {
            'sequence': {'length': 5}, 'keyframes': {'every': '2'}}}}


@pytest.fixture(scope='module')
def tuned(folders, tmp_path_factory) -> Path:
    """Search a few settings on one pair and check them on the other."""
    output = tmp_path_factory.mktemp('tuned') / 'out'
    model = output.with_name('sequences.yaml')
    model.write_text('name: sequences\nlocalization: {method: sequence}\n')
    result = run(
        'tune', '--map-source', folders['map1'], '--query-source', folders['query1'],
        '--check-map-source', folders['map2'], '--check-query-source', folders['query2'],
        '--tolerance', '2frames', '--model', model, '--search', 'sequence.length=3,8', '--search',
        'acceptance.false_positive_rate=0.01,0.05', '--search', 'keyframes.every=1,2',
        '--output', output)
    assert result.exit_code in (0, 1), result.stderr
    assert (result.exit_code == 1) == ('does not confirm' in result.stderr)
    return output


class TestTune:
    @pytest.mark.slow
    def test_trials_and_the_check_are_there(self, tuned):
        rows = (tuned / 'trials.csv').read_text().splitlines()
        assert rows[0].startswith('sequence.length,acceptance.false_positive_rate,keyframes.every')
        assert 5 <= len(rows) - 1 <= 12
        for name in ('check-as-before', 'check-tuned'):
            assert (tuned / name / 'report.html').is_file()
            assert read_results(tuned / name).measures.queries.searched > 10
        assert json.loads((tuned / 'compare.json').read_text())['baseline'] == 'check-as-before'

    @pytest.mark.slow
    def test_the_best_trial_is_what_was_written(self, tuned):
        parameters = yaml.safe_load((tuned / 'localizer.yaml').read_text())
        written = parameters['/**']['ros__parameters']
        checked = read_results(tuned / 'check-tuned').settings.as_json()
        assert written['sequence']['length'] == checked['sequence']['length']
        assert written['keyframes']['every'] == checked['keyframes']['every']
        assert isinstance(written['keyframes']['every'], str)

    @pytest.mark.slow
    @pytest.mark.requires_ros
    def test_the_node_loads_the_file(self, tuned, folders, tmp_path):
        import rclpy

        from seqnet_ros.nodes.localizer_node import LocalizerNode

        parameters = yaml.safe_load((tuned / 'localizer.yaml').read_text())
        written = parameters['/**']['ros__parameters']
        rclpy.init()
        try:
            node = LocalizerNode(cli_args=[
                '--ros-args', '--params-file', str(tuned / 'localizer.yaml')])
            for group, fields in written.items():
                for name, value in fields.items():
                    assert node.get_parameter(f'{group}.{name}').value == value
            node.destroy_node()
        finally:
            rclpy.shutdown()

    @pytest.mark.parametrize(('method', 'header'), [
        ('filter', ('keyframes.every,filter.evidence,filter.leave,filter.background_frames,'
                   'acceptance.false_positive_rate,')),
        ('sequence', ('sequence.length,keyframes.every,matching.top_k,matching.speeds,'
                     'acceptance.false_positive_rate,'))])
    def test_the_usual_settings_start_with_those_of_the_model(self, folders, tmp_path, method,
                                                              header):
        model = tmp_path / 'model.yaml'
        model.write_text(f'name: model\nlocalization: {{method: {method}}}\n')
        succeed('tune', '--map-source', folders['map1'], '--query-source', folders['query1'],
                '--tolerance', '2frames', '--model', model, '--trials', 2, '--output',
                tmp_path / 'tuned')
        table = (tmp_path / 'tuned' / 'trials.csv').read_text().splitlines()
        assert table[0].startswith(header)
        first = dict(zip(table[0].split(','), table[1].split(','), strict=True))
        assert first['acceptance.false_positive_rate'] == '0.01'
        assert first['problem'] == '""'

    def test_both_methods_can_be_tried(self, folders, tmp_path):
        succeed('tune', *HOG, '--map-source', folders['map1'], '--query-source', folders['query1'],
                '--tolerance', '2frames', '--search', 'localization.method=filter,sequence',
                '--output', tmp_path / 'tuned')
        rows = [row.split(',') for row in
                (tmp_path / 'tuned' / 'trials.csv').read_text().splitlines()[1:]]
        assert [row[0] for row in rows] == ['filter', 'sequence']
        assert all(row[-1] == '""' for row in rows)

    def test_refusals(self, folders, tmp_path):
        common = ('tune', *HOG, '--map-source', folders['map1'], '--query-source',
                  folders['query1'], '--output', tmp_path / 'out', '--tolerance', '2frames')
        assert "such as 'filter.evidence=0.5,1,2'" in refusal(*common, '--search', 'top=1')
        assert 'expected both' in refusal(*common, '--check-map-source', folders['map2'])
        assert 'no settings could be evaluated' in refusal(
            *common[:-1], '2m', '--search', 'matching.top_k=5')

    def test_settings_that_the_model_has_not(self, folders, tmp_path):
        problem = refusal(
            'tune', *HOG, '--map-source', folders['map1'], '--query-source', folders['query1'],
            '--tolerance', '2frames', '--search', 'geometry.max_features=500',
            '--output', tmp_path / 'tuned')
        assert 'hog has no geometry settings' in problem
        assert "expected a model file with 'geometry: {}'" in problem

    def test_a_map_keeps_the_local_features_of_its_trial(self, folders, tmp_path):
        model = tmp_path / 'checked.yaml'
        model.write_text('name: checked\ngeometry: {}\n')
        succeed('tune', '--map-source', folders['map1'], '--query-source', folders['query1'],
                '--tolerance', '2frames', '--model', model, '--search', 'geometry.features=orb',
                '--output', tmp_path / 'tuned')
        header, *rows = (tmp_path / 'tuned' / 'trials.csv').read_text().splitlines()
        assert header.startswith('geometry.features,')
        assert [row.split(',')[0] for row in rows] == ['sift', 'orb']
        assert all(row.endswith(',""') for row in rows)
