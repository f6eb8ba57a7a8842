"""The examples for clusters: a recording mapped by two workers of Ray, and by an array of Slurm."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import HOG, succeed
from curved_road import record
from streets import Street

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def bag(tmp_path_factory) -> Path:
    return record(tmp_path_factory.mktemp('bags') / 'drive', Street(1, 60), np.arange(0, 40, 0.5))


@pytest.fixture(scope='module')
def whole(bag, tmp_path_factory) -> dict[str, bytes]:
    """The map as one process makes it."""
    path = tmp_path_factory.mktemp('maps') / 'whole'
    succeed('map', 'build', *HOG, bag, '--output', path)
    return content(path)


def content(place_map: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place_map.iterdir())}


def test_two_workers_of_ray_make_the_map_of_one_process(bag, whole, tmp_path):
    pytest.importorskip('ray', reason='Ray is not installed')
    # Ray keeps the token of its cluster in the home directory.
    done = subprocess.run(
        [sys.executable, '-m', 'cluster.ray_map', str(bag), '--output', str(tmp_path / 'map'),
         '--parts', str(tmp_path / 'parts'), '--shards', '3', '--workers', '2', *HOG],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
        env={**os.environ, 'HOME': str(tmp_path), 'RAY_USAGE_STATS_ENABLED': '0'})
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / 'parts').iterdir())) == 3
    assert content(tmp_path / 'map') == whole


def test_an_array_of_slurm_makes_the_map_of_one_process(bag, whole, tmp_path):
    parts = tmp_path / 'parts'
    # Slurm is not here: its tasks are the script with these two variables.
    command = tmp_path / 'bin' / 'seqnet_ros'
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m seqnet_ros.cli.main "$@"\n')
    command.chmod(0o755)
    for task in ('1', '2', '2'):
        subprocess.run(
            [ROOT / 'cluster' / 'slurm_map.sh', bag, parts, *HOG], cwd=ROOT, check=True,
            env={**os.environ, 'PATH': f'{command.parent}:{os.environ["PATH"]}',
                 'SLURM_ARRAY_TASK_ID': task, 'SLURM_ARRAY_TASK_COUNT': '2'})
    succeed('map', 'merge', *parts.iterdir(), '--output', tmp_path / 'map')
    assert content(tmp_path / 'map') == whole
