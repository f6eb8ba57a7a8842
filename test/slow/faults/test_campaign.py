"""A short fault campaign: nothing is lost, believed, executed or killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from faults.campaign import TABLE_BEGIN, TABLE_END, all_faults, table, write_table
from faults.outcome import FAILURES, LOST, Outcome

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


def test_a_short_campaign_finds_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, '-m', 'faults', '--seed', '1', '--output', tmp_path],
                          cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for fault in all_faults():
        assert (f'{fault.name}  ' in done.stdout) == (fault.short > 0)


def test_a_failure_is_a_failure(tmp_path: Path) -> None:
    """The columns of the table count what the campaign finds."""
    outcome = Outcome('Map eaten')
    outcome.add('refused')
    outcome.add(LOST, 'the dog')
    assert (outcome.cases, outcome.failures) == (2, 1)
    page = tmp_path / 'page.md'
    page.write_text(f'before\n{TABLE_BEGIN}\nold\n| Other | 1 |\n| Map eaten | 0 |\n{TABLE_END}\n'
                    'after\n')
    write_table(page, table([outcome]), ['Other', 'Map eaten'])
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ('before', 'after')
    assert 'old' not in lines
    assert '| Other | 1 |' in lines
    assert '| Map eaten | 0 |' not in lines
    row = [cell.strip() for cell in lines[-4].split('|')]
    assert row[1:5] == ['Map eaten', '2', '1 refused', '1']
    assert len(row) == len(FAILURES) + 7
