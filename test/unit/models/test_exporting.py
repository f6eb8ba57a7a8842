"""Networks exported to ONNX and OpenVINO: the same descriptors, usable at once."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import refusal, succeed
from streets import Street

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.models.exporting import export_model
from seqnet_ros.models.place_model import load_model

RUNTIME_OF = {'onnx': 'onnxscript', 'openvino': 'openvino'}
FORMATS = [pytest.param(form, marks=pytest.mark.skipif(
    find_spec(package) is None, reason=f'{package} is not installed'))
    for form, package in RUNTIME_OF.items()]
VIT = {'kind': 'network', 'backbone': 'vit_small_patch14_dinov2', 'layer': 2}
RESNET = {'kind': 'network', 'layer': 2}
SALAD = {'kind': 'salad', 'clusters': 12, 'cluster_dim': 8, 'token_dim': 16, 'fc_dim': 48}
NETWORKS = {
    'gem': {**RESNET, 'pooling': {'kind': 'gem', 'fc_dim': 16}},
    'rmac': {**RESNET, 'pooling': {'kind': 'rmac'}},
    'cells': {'kind': 'network', 'backbone': 'mobilenet_v2', 'pooling': {'kind': 'cells'}},
    'netvlad': {**RESNET, 'pooling': {'kind': 'netvlad', 'clusters': 4, 'wpca_dim': 16}},
    'sums': {**RESNET, 'pooling': {'kind': 'vlad_sums', 'clusters': 4}},
    'plain': {**RESNET, 'pooling': {'kind': 'gem', 'normalise': False}},
    'vlad': {**VIT, 'facet': 'value', 'pooling': {'kind': 'vlad', 'clusters': 4}},
    'megaloc': {**VIT, 'final_norm': True, 'pooling': SALAD},
    'boq': {**VIT, 'pooling': {'kind': 'boq', 'width': 64, 'queries': 4, 'rows': 2}}}

FAST = ('plain', 'megaloc')


def write_model(path: Path, name: str) -> Path:
    document = {'image': {'height': 70, 'width': 84}, 'frame': NETWORKS[name],
                'weights': {'random': True}, 'sequence': {'length': 3}}
    if name in ('sums', 'plain'):
        document |= {'centring': False, 'sequence': {
            'length': 3, 'aggregator': 'seqvlad' if name == 'sums' else 'concat'}}
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize('name', [
    name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS])
def test_exported_networks_give_the_same_descriptors(name: str, form: str, tmp_path: Path) -> None:
    original = write_model(tmp_path / 'original.yaml', name)
    exported = export_model(original, tmp_path / 'out' / 'mine.yaml', form)
    assert exported.difference < 1e-5
    models = [load_model(path, 'cpu') for path in (original, tmp_path / 'out' / 'mine.yaml')]
    images = [Street(0).view(3.0 * place) for place in range(3)]
    expected, found = (model.describer.describe(images) for model in models)
    assert expected.shape == found.shape == (3, exported.dim)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert models[0].config.normalises_frames == models[1].config.normalises_frames
    assert models[1].engine.sequence.length == 3
    assert models[1].config.sequence.aggregator == models[0].config.sequence.aggregator
    assert models[1].fingerprint != models[0].fingerprint


@pytest.mark.parametrize('form', FORMATS)
def test_the_command_shows_the_difference(form: str, tmp_path: Path) -> None:
    original = write_model(tmp_path / 'original.yaml', 'gem')
    shown = succeed('models', 'export', original, f'--{form}',
                    '--output', tmp_path / 'mine.yaml').stdout
    assert 'descriptors         16' in shown
    assert 'largest difference' in shown
    assert f'{tmp_path / "mine"}.{"onnx" if form == "onnx" else "xml"}' in shown
    # The folder can be moved as it is; a changed network is refused.
    (tmp_path / 'moved').mkdir()
    for file in tmp_path.glob('mine.*'):
        file.rename(tmp_path / 'moved' / file.name)
    assert load_model(tmp_path / 'moved' / 'mine.yaml', 'cpu').describer.dim == 16
    network = next(file for file in (tmp_path / 'moved').iterdir()
                   if file.suffix in ('.onnx', '.xml'))
    network.write_bytes(network.read_bytes() + b' ')
    assert 'have sha256' in refusal('models', 'bench', tmp_path / 'moved' / 'mine.yaml')


@pytest.mark.skipif(find_spec('openvino') is None, reason='openvino is not installed')
def test_weights_of_the_aggregator_are_exported_too(tmp_path: Path) -> None:
    """A JIST file holds both."""
    document = {'image': {'height': 70, 'width': 84}, 'centring': False, 'frame': NETWORKS['gem'],
                'weights': {'path': 'jist.pth', 'layout': 'jist'},
                'sequence': {'length': 3, 'aggregator': 'seqgem'}}
    config = parse_preset(document).model
    state = FrameNetwork(config.frame, config.image).state_dict()
    torch.save({**{f'model.{name}': tensor for name, tensor in state.items()},
                'seq_gem.p': torch.tensor([4.5])}, tmp_path / 'jist.pth')
    (tmp_path / 'jist.yaml').write_text(yaml.safe_dump(document))
    export_model(tmp_path / 'jist.yaml', tmp_path / 'out' / 'mine.yaml', 'openvino')
    model = load_model(tmp_path / 'out' / 'mine.yaml', 'cpu')
    assert model.aggregator.p.tolist() == [4.5]


@pytest.mark.parametrize(('arguments', 'words'), [
    (('hog', '--onnx'), 'model hog describes frames by hog, expected a network to export'),
    (('megaloc', '--onnx'), 'no weights at '),
    (('original.yaml',), 'neither of --onnx and --openvino was given'),
    (('original.yaml', '--onnx', '--openvino'), 'both of --onnx and --openvino were given'),
    (('original.yaml', '--onnx', '--output', 'mine.onnx'), 'expected a file ending in .yaml'),
    (('original.yaml', '--onnx', '--output', 'original.yaml'), 'exists, expected a new file')])
def test_exports_that_cannot_be_made_are_refused(
        arguments: tuple[str, ...], words: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    write_model(tmp_path / 'original.yaml', 'gem')
    before = sorted(tmp_path.iterdir())
    usual = () if '--output' in arguments else ('--output', 'mine.yaml')
    assert words in refusal('models', 'export', *arguments, *usual)
    assert sorted(tmp_path.iterdir()) == before
