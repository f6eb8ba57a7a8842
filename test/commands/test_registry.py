"""A package from outside adds one of each kind: descriptor, aggregator, acceptance rule, model."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

PATIENCE_S = 60.0
LENGTH = 3
LAST_PLACE = 11

PACKAGE = '''
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import normalize

from seqnet_ros.config.model import FrameConfig
from seqnet_ros.config.settings import Settings
from seqnet_ros.descriptors.registry import register_descriptor
from seqnet_ros.localization.acceptance.registry import register_rule
from seqnet_ros.localization.acceptance.rule import Rule
from seqnet_ros.localization.result import Reason
from seqnet_ros.sequences.aggregator import SequenceAggregator
from seqnet_ros.sequences.registry import register_aggregator


class ThumbnailConfig(FrameConfig):
    """A grey thumbnail."""

    kind: Literal['thumbnail'] = 'thumbnail'
    side: int = Field(8, ge=2, le=64)

    def dim(self, image):
        return self.side ** 2


class ThumbnailDescriber:
    name, weights_digest, sequence_tensors = 'thumbnail', '', {}

    def __init__(self, side):
        self.side, self.dim = side, side ** 2

    def describe(self, images):
        grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
        small = [cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA)
                 for image in grey]
        vectors = np.stack(small).reshape(len(images), -1).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Newest(SequenceAggregator):
    def forward(self, frames):
        return normalize(frames[:, -1], dim=-1)


class UpToSettings(Settings):
    last_place: int = Field(ge=0)


class UpTo(Rule):
    """Whether the place is not beyond the last one allowed."""

    reason = Reason.ODOMETRY  # which nothing else reports in a map

    def __init__(self, last_place):
        self._last_place = last_place

    @classmethod
    def build(cls, context):
        return cls(context.settings.last_place)

    def passes(self, match):
        return match.place <= self._last_place


register_descriptor(ThumbnailConfig, lambda model, device, base_dir: ThumbnailDescriber(
    model.frame.side))
register_aggregator('newest', Newest, evaluated=True)
register_rule('up_to', UpTo, UpToSettings)
'''

MODEL = f"""
description: Thumbnails, the newest of a sequence.
license: CC0-1.0
paper: None, it is a toy
frame: {{kind: thumbnail, side: 12}}
sequence: {{length: {LENGTH}, aggregator: newest}}
keyframes: {{every: '1', min_change: 0.0}}
localization: {{method: sequence}}
acceptance: {{agreement: 1, agreement_window: 1, min_margin: 0.0}}
rules: {{up_to: {{last_place: {LAST_PLACE}}}}}
"""


def install(site: Path, name: str, code: str, entry_points: str) -> None:
    """Install a package as pip would."""
    (site / name).mkdir(parents=True)
    (site / name / '__init__.py').write_text(code)
    info = site / f'{name}-1.2.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n')
    (info / 'entry_points.txt').write_text(entry_points)


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the toy package is installed."""
    site = tmp_path_factory.mktemp('site')
    install(site, 'toy_vpr', PACKAGE,
            '[seqnet_ros.plugins]\ntoy = toy_vpr\n[seqnet_ros.models]\ntoy = toy_vpr\n')
    (site / 'toy_vpr' / 'toy.yaml').write_text(MODEL)
    return site


@pytest.fixture(scope='module')
def drive() -> list[np.ndarray]:
    """Images of 24 places, RGB uint8."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    return [cv2.resize(image, (96, 96), interpolation=cv2.INTER_CUBIC) for image in coarse]


@pytest.fixture(scope='module')
def images(drive: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('drive')
    for number, image in enumerate(drive):
        assert cv2.imwrite(str(folder / f'{number:02}.png'), image[..., ::-1])
    return folder


def environment(*sites: Path) -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(
        [*map(str, sites), *filter(None, [os.environ.get('PYTHONPATH')])])}


def command(sites: tuple[Path, ...], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-m', 'seqnet_ros.cli.main', *map(str, arguments)],
        env=environment(*sites), capture_output=True, text=True, timeout=240)


def succeed(site: Path, *arguments: object) -> str:
    done = command((site,), *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def toy_map(site: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('maps') / 'toy'
    succeed(site, 'map', 'build', images, '--model', 'toy', '--output', path)
    return path


def reasons(folder: Path) -> list[str]:
    return [json.loads(line)['reason'] for line in
            (folder / 'matches.jsonl').read_text().splitlines()]


def test_the_command_finds_places_with_all_of_them(site, images, toy_map, tmp_path):
    manifest = json.loads((toy_map / 'manifest.json').read_text())['manifest']['model']
    assert manifest['frame'] == {'kind': 'thumbnail', 'side': 12}
    assert manifest['sequence']['aggregator'] == 'newest'
    assert manifest['rules'] == {'up_to': {'last_place': LAST_PLACE}}
    assert np.load(toy_map / 'frames.npy', mmap_mode='r').shape == (24, 144)
    succeed(site, 'localize', images, '--map', toy_map, '--output', tmp_path / 'found')
    expected = (['buffer_filling'] * (LENGTH - 1) + ['accepted'] * (LAST_PLACE - LENGTH + 2)
                + ['odometry'] * (23 - LAST_PLACE))
    assert reasons(tmp_path / 'found') == expected


def test_the_settings_of_a_rule_can_be_set(site, images, toy_map, tmp_path):
    succeed(site, 'localize', images, '--map', toy_map, '--output', tmp_path / 'found',
            '--set', 'rules.up_to.last_place=23')
    assert reasons(tmp_path / 'found') == ['buffer_filling'] * 2 + ['accepted'] * 22
    refused = command((site,), 'localize', images, '--map', toy_map, '--output',
                      tmp_path / 'not', '--set', 'rules.up_to.last_place=-1')
    assert refused.returncode == 2
    assert 'up_to.last_place: Input should be greater than or equal to 0' in refused.stderr


def test_a_rule_holds_for_the_filter(site, images, toy_map, tmp_path):
    succeed(site, 'localize', images, '--map', toy_map, '--output', tmp_path / 'found',
            '--set', 'localization.method=filter')
    found = reasons(tmp_path / 'found')
    assert 'accepted' in found[:LAST_PLACE + 1]
    assert set(found[LAST_PLACE + 1:]) == {'odometry'}


def test_the_model_is_listed_with_license_and_paper(site):
    shown = succeed(site, 'models', 'list')
    line, = (line for line in shown.splitlines() if line.startswith('toy '))
    assert line.split()[:4] == ['toy', '144', 'here', 'CC0-1.0']
    assert 'None, it is a toy' in line


def test_the_aggregator_is_a_method_of_the_evaluation(site, tmp_path):
    descriptors = np.random.default_rng(1).normal(size=(40, 16)).astype(np.float32)
    np.save(tmp_path / 'frames.npy', descriptors)
    arrays = '--reference', tmp_path / 'frames.npy', '--query', tmp_path / 'frames.npy'
    succeed(site, 'evaluate', '--method', 'newest', '-L', LENGTH, *arrays, '--tolerance', 0,
            '--json', tmp_path / 'numbers.json')
    numbers = json.loads((tmp_path / 'numbers.json').read_text())
    assert numbers['method'] == 'newest'
    # Windows are centered; the first two frames share one, and so do the last two.
    assert numbers['recall']['1'] == 38 / 40


def test_own_folders_of_models_come_first(site, tmp_path, monkeypatch):
    (tmp_path / 'toy.yaml').write_text('description: Mine.\n')
    monkeypatch.setenv('SEQNET_ROS_MODEL_PATH', str(tmp_path))
    line, = (line for line in succeed(site, 'models', 'list').splitlines()
             if line.startswith('toy '))
    assert line.split()[:2] == ['toy', '1764']
    assert line.rstrip().endswith('Mine.')


def test_without_the_plugin_the_map_is_refused_with_the_missing_kind(images, toy_map, tmp_path):
    refused = command((), 'localize', images, '--map', toy_map, '--output', tmp_path / 'found')
    assert refused.returncode == 2
    assert "Input tag 'thumbnail' found using 'kind' does not match" in refused.stderr
    assert 'Traceback' not in refused.stderr


@pytest.mark.parametrize(('code', 'words'), [
    ('import nowhere_to_be_found\n', "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
    ('import seqnet_ros.sequences.registry as it; it.register_aggregator("smooth", object)\n',
     "there is a second aggregator 'smooth'")])
def test_a_broken_plugin_is_named_and_disturbs_nobody_else(
        site, images, toy_map, tmp_path, code, words):
    install(tmp_path / 'site', 'broken_vpr', code, '[seqnet_ros.plugins]\nbad = broken_vpr\n')
    refused = command((tmp_path / 'site', site), 'localize', images, '--map', toy_map,
                      '--output', tmp_path / 'found')
    assert refused.returncode == 2
    sentence, = (line for line in refused.stderr.splitlines() if line.startswith('Error: '))
    assert "plugin 'bad' of broken_vpr 1.2 (broken_vpr) cannot be loaded" in sentence
    assert words in sentence
    done = command((tmp_path / 'site',), 'map', 'build', images, '--model', 'hog',
                   '--output', tmp_path / 'map')
    assert done.returncode == 0, done.stderr


@contextmanager
def localizer(site: Path, place_map: Path, log: Path) -> Iterator[subprocess.Popen]:
    with log.open('w') as output:
        running = subprocess.Popen(
            [sys.executable, '-m', 'seqnet_ros.nodes', 'localizer', '--ros-args',
             '-p', f'map:={place_map}'],
            env=environment(site), stdout=output, stderr=subprocess.STDOUT)
        try:
            yield running
        finally:
            running.kill()
            running.wait()


@pytest.mark.requires_ros
def test_the_node_finds_places_with_all_of_them(site, drive, toy_map, tmp_path):
    import rclpy
    from node_harness import Peer

    context = rclpy.Context()
    rclpy.init(context=context)
    peer = Peer(context, 'localizer')
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(peer.node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        with localizer(site, toy_map, tmp_path / 'log') as running:
            wait_for(lambda: peer.raw.get_subscription_count()
                     and peer.node.count_publishers('localizer/place_match'), tmp_path / 'log')
            time.sleep(1.0)  # until the publisher of the node has met the subscription here
            found = {}
            for number, image in enumerate(drive):
                stamp_ns = (number + 1) * 100_000_000
                peer.show(image, stamp_ns)
                wait_for(lambda number=number: len(peer.matches) > number, tmp_path / 'log')
                match = peer.matches[-1]
                found[number] = match.reason
            assert [found[number] for number in range(LENGTH - 1)] == [match.BUFFER_FILLING] * 2
            allowed = range(LENGTH - 1, LAST_PLACE + 1)
            assert {found[number] for number in allowed} == {match.ACCEPTED}
            assert {found[number] for number in range(LAST_PLACE + 1, 24)} == {match.ODOMETRY}
            running.send_signal(signal.SIGINT)
            assert running.wait(PATIENCE_S) == 0
    finally:
        executor.shutdown()
        thread.join(PATIENCE_S)
        peer.node.destroy_node()
        rclpy.shutdown(context=context)
    assert 'Traceback' not in (tmp_path / 'log').read_text()


def wait_for(condition, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
