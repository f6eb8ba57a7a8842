"""A short soak run of each node."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.requires_ros, pytest.mark.slow]


@pytest.mark.parametrize('node', ['localizer', 'loop_closer'])
def test_a_short_soak_finds_nothing(node: str, tmp_path: Path) -> None:
    from soak.run import Plan, soak_localizer, soak_loop_closer

    run = {'localizer': soak_localizer, 'loop_closer': soak_loop_closer}[node]
    outcome = run(Plan(seed=3, count=250), tmp_path)
    assert not outcome.findings, str(outcome.findings)
    assert outcome.counts['processed'] >= 250
    assert outcome.messages['place_match'] > 50
    assert outcome.findings.looked > 1000
    assert outcome.memory is None  # a short run says nothing about memory
    assert {'pause', 'clear', 'deactivate', 'bag loops'} <= set(outcome.happened)
