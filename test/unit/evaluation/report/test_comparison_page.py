"""The files of a comparison and of a tuning replace no others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.replay.comparison_results import ComparedRun, ComparisonResults
from seqnet_ros.evaluation.replay.run_files import QUERIES, RECALL, RESULTS, check_folder
from seqnet_ros.evaluation.replay.tuning import parameter_file
from seqnet_ros.evaluation.replay.tuning_run import PARAMETERS, TRIALS, check_tuning_folder
from seqnet_ros.evaluation.report.comparison_page import (
    DOCUMENT,
    PAGE,
    check_comparison_folder,
    write_comparison,
)


@pytest.mark.parametrize(('check', 'name'), [
    (check_comparison_folder, PAGE), (check_comparison_folder, DOCUMENT),
    (check_tuning_folder, PARAMETERS), (check_tuning_folder, TRIALS)])
def test_files_of_others_are_refused(check: Callable[[Path], None], name: str,
                                     tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('notes')
    check(tmp_path)
    (tmp_path / name).write_text('<!doctype html>\n# mine\n')
    with pytest.raises(InputError, match=f'{name} exists and is not a result of this command'):
        check(tmp_path)


def test_a_comparison_is_repeated(tmp_path: Path) -> None:
    write_comparison(ComparisonResults(
        queries=1, block=1, resamples=1, confidence=0.95, baseline='a', settings={}, notes=(),
        runs=(ComparedRun(name='a', model='hog', shares={}),)), tmp_path)
    check_comparison_folder(tmp_path)


def test_a_tuning_is_repeated(tmp_path: Path) -> None:
    (tmp_path / PARAMETERS).write_text(parameter_file(
        {'filter.evidence': 1.0}, ['Settings found by seqnet_ros tune; not checked.']))
    (tmp_path / TRIALS).write_text(
        'filter.evidence,recall_1,localized,accepted,wrong,problem\n1.0,,,,,\n')
    check_tuning_folder(tmp_path)


def test_a_table_of_others_is_no_evaluation(tmp_path: Path) -> None:
    for name in (QUERIES, RESULTS, RECALL):
        (tmp_path / name).write_text('mine')
    with pytest.raises(InputError, match=r'queries\.csv exists and is not a result'):
        check_folder(tmp_path)
