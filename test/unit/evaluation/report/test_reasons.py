"""What the reasons of a run mean depends on how it was localized."""

import pytest

from seqnet_ros.evaluation.report.reasons import reason_rows
from seqnet_ros.localization.result import Reason

OF_LOOPS = {Reason.RECENT, Reason.ODOMETRY}
OF_ONE = {'filter': {Reason.OFF_MAP, Reason.CONVERGING},
          'sequence': {Reason.BUFFER_FILLING, Reason.TOO_FAR, Reason.INCONSISTENT}}


@pytest.mark.parametrize(('method', 'other'), [('filter', 'sequence'), ('sequence', 'filter')])
def test_every_reason_of_a_method_has_a_meaning(method, other):
    rows = reason_rows({reason.name.lower(): 1 for reason in Reason}, method)
    explained = {row.name for row in rows if row.meaning}
    expected = set(Reason) - OF_LOOPS - OF_ONE[other]
    assert explained == {reason.name.lower().replace('_', ' ') for reason in expected}


def test_an_ambiguous_match_is_another_thing_for_each():
    words = {method: reason_rows({'ambiguous': 3}, method)[0].meaning for method in OF_ONE}
    assert 'together' in words['filter']
    assert 'acceptance.min_margin' in words['sequence']


def test_the_most_frequent_comes_first():
    rows = reason_rows({'accepted': 2, 'off_map': 7, 'converging': 2}, 'filter')
    assert [(row.name, row.results) for row in rows] == [
        ('off map', 7), ('accepted', 2), ('converging', 2)]
