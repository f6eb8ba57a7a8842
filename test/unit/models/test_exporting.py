"""Networks exported to ONNX and OpenVINO: the same descriptors, usable at once."""

import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from command_line import refusal, succeed
from safetensors.torch import save_file
from streets import Street

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.own_network import network_input
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


def write_drive(folder: Path, places: int) -> Path:
    folder.mkdir()
    for place in range(places):
        cv2.imwrite(str(folder / f'{place:03d}.png'), Street(0).view(2.0 * place)[..., ::-1])
    return folder


def write_trained_model(folder: Path) -> Path:
    """A network whose batch norms have statistics; of random ones int8 keeps little."""
    document = {'image': {'height': 70, 'width': 84}, 'frame': NETWORKS['gem'],
                'weights': {'path': 'gem.safetensors'}, 'sequence': {'length': 3}}
    config = parse_preset(document).model
    torch.manual_seed(0)
    network = FrameNetwork(config.frame, config.image).train()
    with torch.inference_mode():
        for place in range(10):
            network(torch.from_numpy(network_input(Street(0).view(4.0 * place), config.image)))
    save_file(network.state_dict(), folder / 'gem.safetensors')
    (folder / 'gem.yaml').write_text(yaml.safe_dump(document))
    return folder / 'gem.yaml'


@pytest.mark.skipif(find_spec('nncf') is None, reason='nncf is not installed')
@pytest.mark.slow
def test_int8_networks_are_smaller_and_describe_alike(tmp_path: Path) -> None:
    original = write_trained_model(tmp_path)
    drive = write_drive(tmp_path / 'drive', 24)
    (drive / '013.png').write_bytes(b'\x89PNG')  # a damaged image is left out
    shown = succeed('models', 'export', original, '--openvino', '--int8', drive,
                    '--output', tmp_path / 'small.yaml')
    assert 'calibrated with              23 images' in shown.stdout
    assert 'NNCF' not in shown.stdout
    assert 'Statistics' not in shown.stdout  # the progress of NNCF
    assert '013.png' in shown.stderr
    succeed('models', 'export', original, '--openvino', '--output', tmp_path / 'large.yaml')
    sizes = [(tmp_path / f'{name}.bin').stat().st_size for name in ('small', 'large')]
    assert sizes[0] < 0.4 * sizes[1]
    models = [load_model(tmp_path / f'{name}.yaml', 'cpu') for name in ('small', 'gem')]
    assert models[0].fingerprint != models[1].fingerprint
    places = [Street(0).view(1.0 + 4.0 * place) for place in range(12)]
    found, expected = (normalize_rows(vectors - vectors.mean(axis=0)) for vectors in (
        model.describer.describe(places) for model in models))
    same = (found * expected).sum(axis=1)
    assert same.min() > 0.5
    assert same.mean() > 0.8


@pytest.mark.parametrize(('arguments', 'words'), [
    (('gem.yaml', '--onnx'), '--int8 was given with --onnx, expected --openvino'),
    (('vlad.yaml', '--openvino'), 'has a vision transformer, expected a convolutional network'),
    (('hog', '--openvino'), 'has hog, expected a convolutional network'),
    (('gem.yaml', '--openvino'), "run `pip install 'seqnet_ros[int8]'`")])
def test_int8_that_cannot_be_had_is_refused(
        arguments: tuple[str, ...], words: str, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, 'nncf', None)
    for name in ('gem', 'vlad'):
        write_model(tmp_path / f'{name}.yaml', name)
    drive = write_drive(tmp_path / 'drive', 2)
    before = sorted(tmp_path.iterdir())
    assert words in refusal('models', 'export', *arguments, '--int8', drive,
                            '--output', 'mine.yaml')
    assert sorted(tmp_path.iterdir()) == before


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
