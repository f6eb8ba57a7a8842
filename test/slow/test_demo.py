"""A short run of the demo with the real node over DDS."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.requires_ros
def test_a_short_demo_finds_the_robot(town_map, tmp_path):
    shutil.copytree(town_map, tmp_path / 'map')  # as left by an earlier run
    done = subprocess.run(
        [sys.executable, '-m', 'demo', '--output', tmp_path, '--length', '110', '--width', '240'],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=240)
    log = tmp_path / 'localizer.log'
    assert done.returncode == 0, (
        done.stdout + done.stderr + (log.read_text() if log.exists() else ''))
    recall = float(re.search(r'Recall@1 +([\d.]+)', done.stdout)[1])
    assert recall >= 0.7
    assert re.search(r'accepted +\d+, [\d.]+ % of them correct', done.stdout)
    assert re.search(r'latency +p50 \d+ ms, p99 \d+ ms', done.stdout)
    picture = cv2.imread(str(tmp_path / 'demo.png'))
    assert picture.shape[1] > 1000
    assert picture.std() > 30
    report = tmp_path / 'evaluation' / 'report.html'
    assert str(report) in done.stdout
    replayed = json.loads((report.parent / 'results.json').read_text())['measures']
    # The same engine: what the node missed while it was being discovered makes a little difference.
    assert replayed['recall']['1'] == pytest.approx(recall, abs=0.05)
    assert 'Frame by frame' in report.read_text()
    rows = (tmp_path / 'query_drive.tum').read_text().splitlines()
    assert f'images played   {len(rows)}' in done.stdout


@pytest.mark.requires_ros
def test_a_node_that_does_not_start_is_reported(tmp_path):
    from demo.errors import DemoError
    from demo.node_process import NodeProcess

    log = tmp_path / 'log'
    with NodeProcess(['-p', 'matching.top_k:=0'], log) as node:
        def check_for(seconds: float) -> None:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                node.check()
                time.sleep(0.1)

        with pytest.raises(DemoError, match='ended with status 2'):
            check_for(60)
