"""Result documents: what is written is read back, and anything else is one sentence."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.metrics.accumulator import MetricsAccumulator
from seqnet_ros.evaluation.metrics.localization_metrics import (
    OUTCOMES,
    LocalizationMetrics,
    OutcomeCounts,
    Spread,
)
from seqnet_ros.evaluation.metrics.metric_fields import METRIC_FIELDS, labelled
from seqnet_ros.evaluation.metrics.search_metrics import (
    SearchedDrives,
    SearchMetrics,
    SearchResults,
)
from seqnet_ros.evaluation.result_document import read_document, write_document

WHAT = 'the metrics of a drive'
NOTHING = MetricsAccumulator().compute()
METHOD = SearchMetrics(
    method='single', seq_length=1, recall={1: 0.5}, recall_by_radius={'2.5': {1: float('nan')}},
    average_precision=0.25, best_f1=0.5, recall_at_full_precision=0.0, queries=4, unmatched=1,
    milliseconds_per_query=0.1, memory_bytes=None)
DRIVES = SearchedDrives(radius=2.5, unit='m', references=9, full_windows=None, dataset='nordland')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / 'metrics.json'
    write_document(path, NOTHING)
    return path


def test_what_is_written_is_read_back(file):
    found = read_document(file, LocalizationMetrics, WHAT)
    assert found == NOTHING
    before = file.read_bytes()
    write_document(file, found)
    assert file.read_bytes() == before
    assert json.loads(before)['recall'] == {'1': None, '5': None, '10': None, '20': None}


def damage(change: Callable[[dict], object]) -> Callable[[str], str]:
    def write(text: str) -> str:
        document = json.loads(text)
        change(document)
        return json.dumps(document)

    return write


@pytest.mark.parametrize(('change', 'sentence'), [
    (lambda text: text[:200], 'Invalid JSON: EOF while parsing'),
    (lambda _: '[]', 'Input should be an object'),
    (lambda _: '{"my": "notes"}', 'unit: Field required (and 13 more problems)'),
    (damage(lambda one: one.pop('route')), 'route: Field required'),
    (damage(lambda one: one['accepted'].update(right='many')),
     'accepted.right: Input should be a valid integer'),
    (damage(lambda one: one.update(unit='miles')), "unit: Input should be 'm' or 'frames'"),
    (damage(lambda one: one.update(speed=3)), 'speed: Extra inputs are not permitted'),
])
def test_a_damaged_or_foreign_file_is_one_sentence(file, change, sentence):
    file.write_text(change(file.read_text()))
    with pytest.raises(InputError) as error:
        read_document(file, LocalizationMetrics, WHAT)
    assert str(error.value).startswith(f'{file} is not {WHAT}: {sentence}')
    assert '\n' not in str(error.value)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=f'is not {WHAT}: No such file or directory'):
        read_document(tmp_path / 'nothing.json', LocalizationMetrics, WHAT)


def test_documents_do_not_change():
    with pytest.raises(ValidationError, match='frozen'):
        NOTHING.unit = 'frames'


def test_only_what_is_finite_is_a_number():
    assert Spread.of([1.0, float('nan'), 2.0000004, float('inf'), 3.0]) == Spread(
        median=2.0, p90=2.8, worst=3.0)
    assert Spread.of([]) == Spread(median=None, p90=None, worst=None)


def test_the_metrics_of_a_method_come_before_its_drives_and_unset_fields_nowhere():
    document = SearchResults(**METHOD.set_fields(), **DRIVES.set_fields()).as_json()
    assert list(document) == [
        'method', 'seq_length', 'recall', 'recall_by_radius', 'average_precision', 'best_f1',
        'recall_at_full_precision', 'queries', 'unmatched', 'milliseconds_per_query',
        'memory_bytes', 'radius', 'unit', 'references', 'full_windows', 'dataset']
    assert document['recall_by_radius'] == {'2.5': {'1': None}}


def test_outcomes_are_the_fields_of_their_counts():
    assert list(OUTCOMES) == list(OutcomeCounts.model_fields)
    assert all(OUTCOMES.values())


def test_labels_of_the_diagnostics_have_a_unit_and_a_text():
    shown = labelled(METRIC_FIELDS, NOTHING)
    assert shown['recall@20'] == shown['error worst, m'] == 'unknown'
    assert (shown['accepted'], shown['longest without, m']) == ('0', '0')


@pytest.mark.requires_ros
def test_the_table_has_every_number_of_the_message():
    from seqnet_ros.msg import Evaluation

    names = [field.name for field in METRIC_FIELDS]
    assert len(names) == len(set(names))
    others = {'header', 'since', 'map_id', 'tolerance_m', 'tolerance_deg', 'waiting_for_truth',
              'unusable', 'most_candidates', 'first_fix'}
    assert set(Evaluation.get_fields_and_field_types()) == {*names, *others}
