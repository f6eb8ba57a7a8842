"""Networks that users bring: ONNX, TorchScript, Python; and vectors computed elsewhere."""

import pickle
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from command_line import refusal, succeed
from safetensors.torch import save
from streets import Street

import seqnet_ros
from seqnet_ros.config.model import DESCRIPTORS, FrameConfig, ModelConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import InputError, MapModelMismatchError, ModelError, PluginError
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.describer import build_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.own_network import network_input
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import build_model, load_model

CPU = select_device('cpu')
SECOND = 1_000_000_000
DIM = 12
RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(
        find_spec(name) is None, reason=f'{name} is not installed'))
    for name in ('openvino', 'onnxruntime')]

needs_onnx = pytest.mark.skipif(
    find_spec('onnx') is None or find_spec('onnxscript') is None,
    reason='onnx and onnxscript are not installed')


class Net(torch.nn.Module):
    """A small network with a fixed projection."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 8, 5, stride=4)
        self.linear = torch.nn.Linear(8 * 15 * 15, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.conv(x).relu().flatten(1))


class Two(Net):
    """The same with another output."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.conv(x), super().forward(x)


class Any(torch.nn.Module):
    """As long as its image is wide."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(1, 2))


def write_onnx(network: torch.nn.Module, path: Path, outputs: tuple[str, ...] = ('descriptor',),
               dynamic: object = None) -> Path:
    torch.onnx.export(network.eval(), (torch.zeros(1, 3, 64, 64),), path, dynamo=True,
                      input_names=['image'], output_names=list(outputs), verbose=False,
                      external_data=False, dynamic_shapes=dynamic)
    return path


def model(kind: str, path: Path | str, **frame: object) -> ModelConfig:
    return parse_preset({
        'name': 'own', 'image': {'height': 64, 'width': 64, 'mean': [0.5, 0.4, 0.3],
                                 'std': [0.2, 0.3, 0.4]},
        'frame': {'kind': kind, 'path': str(path), 'out_dim': DIM, **frame}}, 'own').model


def photographs(count: int = 3) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (48, 80, 3), np.uint8)
            for seed in range(count)]


def expected_of(config: ModelConfig, images: list[np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return normalize_rows(np.concatenate([
            Net()(torch.from_numpy(network_input(image, config.image))).numpy()
            for image in images]))


@pytest.fixture
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Leave only one of the runtimes."""
    from seqnet_ros.descriptors import onnx_network

    monkeypatch.setattr(onnx_network, 'find_spec',
                        lambda name: find_spec(name) if name == request.param else None)
    return request.param


# ONNX ------------------------------------------------------------------------------------------

@needs_onnx
@pytest.mark.parametrize('runtime', RUNTIMES, indirect=True)
def test_onnx_files_describe(runtime: str, tmp_path: Path) -> None:
    path = write_onnx(Net(), tmp_path / 'own.onnx')
    config = model('onnx', path)
    assert config.weights.path == str(path)
    describer = build_describer(config, CPU)
    images = photographs()
    found = describer.describe(images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected_of(config, images), rtol=0, atol=1e-5)
    digest = describer.weights_digest
    moved = tmp_path / 'elsewhere.onnx'
    path.rename(moved)
    assert build_describer(model('onnx', moved), CPU).weights_digest == digest
    other = Net()
    other.linear.bias.data += 1
    assert build_describer(model('onnx', write_onnx(other, path)), CPU).weights_digest != digest


@needs_onnx
@pytest.mark.parametrize('runtime', RUNTIMES, indirect=True)
def test_one_of_several_outputs_is_chosen(runtime: str, tmp_path: Path) -> None:
    path = write_onnx(Two(), tmp_path / 'own.onnx', ('map', 'vector'))
    config = model('onnx', path, output='vector')
    images = photographs()
    np.testing.assert_allclose(build_describer(config, CPU).describe(images),
                               expected_of(config, images), rtol=0, atol=1e-5)
    with pytest.raises(ModelError, match=r"outputs 'map', 'vector', but frame.output is not set"):
        build_describer(model('onnx', path), CPU)
    with pytest.raises(ModelError, match=r"but frame.output is 'vektor'"):
        build_describer(model('onnx', path, output='vektor'), CPU)


@needs_onnx
@pytest.mark.parametrize('runtime', RUNTIMES, indirect=True)
def test_onnx_files_that_do_not_fit_are_refused(runtime: str, tmp_path: Path) -> None:
    path = write_onnx(Net(), tmp_path / 'own.onnx')
    with pytest.raises(ModelError, match=(
            r'gives descriptor \[1, 12\], but frame.out_dim is 13, expected 12')):
        build_describer(model('onnx', path, out_dim=13), CPU)
    wide = model('onnx', path)
    wide = wide.model_copy(update={'image': wide.image.model_copy(update={'width': 96})})
    with pytest.raises(ModelError, match=(
            r'takes image \[1, 3, 64, 64\], expected \[1, 3, 64, 96\]')):
        build_describer(wide, CPU)
    open_length = write_onnx(Any(), tmp_path / 'open.onnx', dynamic=(
        {3: torch.export.Dim('width', min=8, max=512)},))
    with pytest.raises(ModelError, match=(
            r'has an output of open length, descriptor \[1, \?\], expected \[1, 12\]: export it')):
        build_describer(model('onnx', open_length), CPU)
    (tmp_path / 'page.onnx').write_text('<!DOCTYPE html><html>Sign in</html>')
    with pytest.raises(ModelError, match=r'page\.onnx is a saved web page, expected an ONNX'):
        build_describer(model('onnx', tmp_path / 'page.onnx'), CPU)
    (tmp_path / 'short.onnx').write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match=(
            r'short\.onnx is not a network that can be read: (?!Exception from)\S')):
        build_describer(model('onnx', tmp_path / 'short.onnx'), CPU)
    with pytest.raises(ModelError, match=r'no weights at .*missing\.onnx'):
        build_describer(model('onnx', tmp_path / 'missing.onnx'), CPU)


def test_a_runtime_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seqnet_ros.descriptors import onnx_network

    monkeypatch.setattr(onnx_network, 'find_spec', lambda _: None)
    (tmp_path / 'own.onnx').write_bytes(ONNX_START)
    with pytest.raises(ModelError, match='needs openvino or onnxruntime, which are not installed'):
        build_describer(model('onnx', tmp_path / 'own.onnx'), CPU)


def test_a_hash_that_does_not_match_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'own.onnx').write_bytes(b'content')
    config = parse_preset({
        'frame': {'kind': 'onnx', 'path': 'own.onnx', 'out_dim': 3},
        'weights': {'sha256': '0' * 64}}).model
    with pytest.raises(ModelError, match=rf'have sha256 \w+, expected {"0" * 64}'):
        build_describer(config, CPU, tmp_path)


def test_the_path_is_given_once() -> None:
    with pytest.raises(ModelError, match=r'both frame.path and weights.path were given'):
        parse_preset({'frame': {'kind': 'onnx', 'path': 'a', 'out_dim': 3},
                      'weights': {'path': 'b'}})
    with pytest.raises(ModelError, match='out_dim: Field required'):
        parse_preset({'frame': {'kind': 'onnx', 'path': 'a'}})
    with pytest.raises(ModelError, match='path: Extra inputs are not permitted'):
        parse_preset({'frame': {'kind': 'hog', 'path': 'a'}})


ONNX_START = b'\x08\x08\x12\x07pytorch\x1a\x052.4.0:\x10'
OTHER_FILES = {
    'page': (b'<!DOCTYPE html>', 'a saved web page, expected {}: download the file that the page'),
    'pointer': (b'version https://git-lfs.github.com/spec/v1\n',
                'a Git LFS pointer, expected {}: run `git lfs pull`'),
    'matlab': (b'MATLAB 5.0 MAT-file', 'a MATLAB file, expected {}: export the network'),
    'empty': (b'', 'an empty file, expected {}: copy or download it again'),
    'pickle': (pickle.dumps({'a': 1}), 'tensors without a network, expected {}: export'),
    'tensors': (save({'a': torch.zeros(1)}), 'tensors without a network, expected {}: export')}


@pytest.mark.parametrize(('kind', 'expected'), [
    ('onnx', 'an ONNX file or OpenVINO model'), ('torchscript', 'a TorchScript network')])
@pytest.mark.parametrize('name', OTHER_FILES)
def test_files_that_are_no_network_are_named(
        name: str, kind: str, expected: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    content, words = OTHER_FILES[name]
    (tmp_path / 'own.bin').write_bytes(content)
    with pytest.raises(ModelError, match=f'own.bin is {words.format(expected)}'):
        build_describer(model(kind, tmp_path / 'own.bin'), CPU)
    assert capfd.readouterr().err == ''  # the runtimes try to read it in any format they know


def test_a_network_of_another_kind_is_named(tmp_path: Path) -> None:
    script = write_script(Net(), tmp_path / 'own.pt')
    with pytest.raises(ModelError, match=r'a TorchScript network, .*: set frame\.kind to torch'):
        build_describer(model('onnx', script), CPU)
    (tmp_path / 'own.onnx').write_bytes(ONNX_START)
    with pytest.raises(ModelError, match=r'an ONNX network, expected .*: set frame\.kind to onnx'):
        build_describer(model('torchscript', tmp_path / 'own.onnx'), CPU)
    torch.save({'a': torch.zeros(1)}, tmp_path / 'state.pth')
    for kind in ('onnx', 'torchscript'):
        with pytest.raises(ModelError, match='is tensors without a network, expected'):
            build_describer(model(kind, tmp_path / 'state.pth'), CPU)


# TorchScript -----------------------------------------------------------------------------------

def write_script(network: torch.nn.Module, path: Path) -> Path:
    torch.jit.trace(network.eval(), torch.zeros(1, 3, 64, 64)).save(path)
    return path


def test_torchscript_files_describe(tmp_path: Path) -> None:
    images = photographs()
    config = model('torchscript', write_script(Net(), tmp_path / 'own.pt'))
    np.testing.assert_allclose(build_describer(config, CPU).describe(images),
                               expected_of(config, images), rtol=0, atol=1e-6)
    two = model('torchscript', write_script(Two(), tmp_path / 'two.pt'), output='1')
    np.testing.assert_allclose(build_describer(two, CPU).describe(images),
                               expected_of(two, images), rtol=0, atol=1e-6)


def test_torchscript_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write_script(Net(), tmp_path / 'own.pt')
    for config, words in (
            (model('torchscript', path, out_dim=5),
             r'gave float32 \[1, 12\] for one image, expected floating-point numbers \[1, 5\]'),
            (model('torchscript', path, output='1'), "a single output, but frame.output is '1'"),
            (model('torchscript', write_script(Two(), tmp_path / 'two.pt')),
             "has the outputs '0', '1', but frame.output is not set"),
            (model('torchscript', tmp_path / 'text.pt'), 'is not a TorchScript file: ')):
        (tmp_path / 'text.pt').write_text('neither')
        with pytest.raises(ModelError, match=words) as caught:
            build_describer(config, CPU)
        assert '\n' not in str(caught.value)


# Python ----------------------------------------------------------------------------------------

MODULE = """
import numpy as np

class Maker:
    @staticmethod
    def describe(images):
        return images.reshape(1, 3, 8, 8, 8, 8).mean(axis=(3, 5)).reshape(1, -1)

def broken(images):
    raise RuntimeError('no weights' + chr(10) + 'in sight')

def grows(images):
    grows.length = getattr(grows, 'length', 11) + 1
    return np.ones((1, grows.length), np.float32)

number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f'own_network_{tmp_path.name}'.replace('-', '_')
    (tmp_path / f'{name}.py').write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def test_python_functions_describe(module: str) -> None:
    config = model('python', f'{module}:Maker.describe', out_dim=192)
    describer = build_describer(config, CPU, Path())
    vectors = describer.describe(photographs())
    assert vectors.shape == (3, 192)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    image = network_input(photographs(1)[0], config.image)
    np.testing.assert_allclose(vectors[0], normalize_rows(
        image.reshape(3, 8, 8, 8, 8).mean(axis=(2, 4)).ravel()), atol=1e-6)


@pytest.mark.parametrize(('path', 'words'), [
    ('nowhere.at_all:describe', r'nowhere\.at_all cannot be imported: ModuleNotFoundError: No mod'),
    ('{}:absent', 'has no function absent'), ('{}:number', 'has no function number'),
    ('{}:broken', 'cannot describe an image of 64x64 pixels: no weights$'),
    ('{}:Maker.describe', r'gave float32 \[1, 192\] for one image, .* \[1, 12\]')])
def test_python_functions_that_do_not_fit_are_refused(module: str, path: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build_describer(model('python', path.format(module)), CPU, Path())


def test_an_output_that_changes_its_length_is_refused(module: str) -> None:
    describer = build_describer(model('python', f'{module}:grows'), CPU, Path())
    with pytest.raises(ModelError, match=r'gave float32 \[1, 13\]'):
        describer.describe(photographs(1))


def test_python_paths_are_module_and_name() -> None:
    with pytest.raises(ModelError, match='String should match pattern'):
        model('python', 'os.system')


def test_a_map_cannot_choose_which_function_is_imported(
        module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map may come from anywhere; the model file that made it is the user's own."""
    document = {'image': {'height': 64, 'width': 64}, 'sequence': {'length': 2}, 'frame': {
        'kind': 'python', 'path': f'{module}:Maker.describe', 'out_dim': 192}}
    folder = tmp_path / 'models'
    folder.mkdir()
    (folder / 'own.yaml').write_text(yaml.safe_dump(document))
    own = load_model(folder / 'own.yaml', 'cpu')
    with pytest.raises(ModelError, match=r'the map names the Python function .*nothing was run'):
        build_model(own.preset, 'cpu')
    monkeypatch.setenv('SEQNET_ROS_MODEL_PATH', str(folder))
    assert build_model(own.preset, 'cpu').fingerprint == own.fingerprint


def test_a_descriptor_is_registered_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    from typing import Literal

    # Nothing is left behind for other tests.
    monkeypatch.setattr(DESCRIPTORS, '_items', DESCRIPTORS.items())

    class Plain(FrameConfig):
        kind: Literal['plain_of_this_test'] = 'plain_of_this_test'

        def dim(self, image):
            return 3

    seqnet_ros.register_descriptor(Plain, lambda *_: None)
    assert parse_preset({'frame': {'kind': 'plain_of_this_test'}}).model.frame == Plain()
    assert 'plain_of_this_test' in DESCRIPTORS.items()
    with pytest.raises(PluginError, match='second frame descriptor'):
        seqnet_ros.register_descriptor(Plain, lambda *_: None)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        seqnet_ros.nothing  # noqa: B018


# Maps ------------------------------------------------------------------------------------------

@needs_onnx
def test_a_map_is_made_and_opened_with_an_own_network(tmp_path: Path) -> None:
    street = Street(0)
    write_onnx(Net(), tmp_path / 'own.onnx')
    (tmp_path / 'own.yaml').write_text(yaml.safe_dump({
        'image': {'height': 64, 'width': 64}, 'sequence': {'length': 3},
        'frame': {'kind': 'onnx', 'path': 'own.onnx', 'out_dim': DIM}}))
    own = load_model(tmp_path / 'own.yaml', 'cpu')
    mapper = Mapper(own)
    for place in range(20):
        mapper.push(street.view(4.0 * place), place * SECOND)
    save_map(mapper.finish(), tmp_path / 'map')
    # The map names its model, which is found without the model file.
    place_map = open_map(tmp_path / 'map', build_model(own.preset, 'cpu'))
    localizer = Localizer(own, place_map)
    results = [localizer.push(street.view(4.0 * place), place * SECOND) for place in range(6, 16)]
    assert results[-1].best.place_id == 15
    write_onnx(Two(), tmp_path / 'own.onnx', ('map', 'vector'))
    (tmp_path / 'own.yaml').write_text((tmp_path / 'own.yaml').read_text().replace(
        'kind: onnx', 'kind: onnx\n  output: vector'))
    with pytest.raises(MapModelMismatchError):
        open_map(tmp_path / 'map', load_model(tmp_path / 'own.yaml', 'cpu'))


def vectors_of(places: range, seed: int = 0) -> np.ndarray:
    walk = np.random.default_rng(seed).standard_normal((200, DIM)).cumsum(axis=0)
    return walk[list(places)].astype(np.float32)


@pytest.fixture
def descriptors(tmp_path: Path) -> Path:
    np.save(tmp_path / 'rows.npy', vectors_of(range(30)))
    return tmp_path / 'rows.npy'


def write_tum(path: Path, stamps: list[float]) -> Path:
    path.write_text(''.join(f'{stamp:.3f} {2 * number} 0 0 0 0 0 1\n'
                            for number, stamp in enumerate(stamps)))
    return path


def test_descriptors_become_a_map_and_localize(descriptors: Path, tmp_path: Path) -> None:
    poses = write_tum(tmp_path / 'poses.tum', [1000 + 0.5 * i for i in range(30)])
    shown = succeed('map', 'build', '--descriptors', descriptors, '--poses', poses, '-L', 3,
                    '--output', tmp_path / 'map').stdout
    assert '30' in shown
    preset_model = build_model(parse_preset({
        'frame': {'kind': 'precomputed', 'out_dim': DIM}, 'sequence': {'length': 3}}), 'cpu')
    place_map = open_map(tmp_path / 'map', preset_model)
    assert len(place_map) == 30
    assert place_map.stamps_ns[3] == 1_001_500_000_000
    np.testing.assert_array_equal(place_map.poses[:, 0], 2.0 * np.arange(30))
    localizer = Localizer(preset_model, place_map)
    query = vectors_of(range(30)) + np.random.default_rng(9).normal(
        0, 0.05, (30, DIM)).astype(np.float32)
    results = [localizer.push(row, place * SECOND) for place, row in enumerate(query[8:20])]
    assert results[-1].best.place_id == 19
    with pytest.raises(InputError, match=r'found uint8 \[4, 4, 3\], expected floating-point'):
        localizer.push(np.zeros((4, 4, 3), np.uint8), 99 * SECOND)
    for wrong, words in ((np.zeros(DIM, np.float32), 'zero or not finite'),
                         (np.full(DIM, np.nan, np.float32), 'zero or not finite'),
                         (np.ones(3, np.float32), r'found float32 \[3\]')):
        with pytest.raises(InputError, match=words):
            localizer.push(wrong, 99 * SECOND)


def test_times_may_be_given_apart_from_poses(descriptors: Path, tmp_path: Path) -> None:
    poses = write_tum(tmp_path / 'poses.tum', [float(i) for i in range(40)])
    stamps = tmp_path / 'stamps.txt'
    stamps.write_text('\n'.join(f'{1 + 0.5 * i}' for i in range(30)) + '\n')
    np.save(tmp_path / 'stamps.npy', (np.arange(30) + 2) * (SECOND // 2))
    model_of_rows = build_model(parse_preset({
        'frame': {'kind': 'precomputed', 'out_dim': DIM}, 'sequence': {'length': 3}}), 'cpu')
    found = []
    for number, file in enumerate((stamps, tmp_path / 'stamps.npy')):
        succeed('map', 'build', '--descriptors', descriptors, '--poses', poses, '--stamps', file,
                '-L', 3, '--set', 'keyframes.every=1', '--output', tmp_path / f'map{number}')
        found.append(open_map(tmp_path / f'map{number}', model_of_rows))
    np.testing.assert_allclose(found[0].poses[:, 0], 2 + np.arange(30.0), atol=1e-9)
    assert found[0].manifest.map_id == found[1].manifest.map_id
    succeed('map', 'build', '--descriptors', descriptors, '-L', 3, '--output', tmp_path / 'plain')
    plain = open_map(tmp_path / 'plain', model_of_rows)
    assert plain.stamps_ns[1] == SECOND // 10
    assert not plain.manifest.has_poses


def test_descriptors_of_a_model_are_localized_with_its_images(tmp_path: Path) -> None:
    """A map of vectors that the model itself gave is the map of the images."""
    import cv2

    street, folder = Street(1), tmp_path / 'images'
    folder.mkdir()
    for place in range(20):
        cv2.imwrite(str(folder / f'{place:03d}.png'), street.view(2.0 * place)[:, :, ::-1])
    small = tmp_path / 'small.yaml'
    small.write_text(yaml.safe_dump({
        'image': {'height': 64, 'width': 64}, 'sequence': {'length': 3},
        'frame': {'kind': 'hog', 'cell': 16, 'block': 32}}))
    own = load_model(small, 'cpu')
    np.save(tmp_path / 'rows.npy', own.describer.describe(
        [street.view(2.0 * place) for place in range(20)]))
    succeed('map', 'build', folder, '--model', small, '--output', tmp_path / 'images_map')
    succeed('map', 'build', folder, '--descriptors', tmp_path / 'rows.npy', '--model', small,
            '--output', tmp_path / 'rows_map')
    first, second = (open_map(tmp_path / name, own) for name in ('images_map', 'rows_map'))
    np.testing.assert_allclose(second.frames, first.frames, atol=1e-6)
    np.testing.assert_array_equal(second.stamps_ns, first.stamps_ns)
    np.save(tmp_path / 'short.npy', np.ones((20, 5), np.float32))
    assert 'expected floating-point numbers [324]' in refusal(
        'map', 'build', folder, '--descriptors', tmp_path / 'short.npy', '--model', small,
        '--output', tmp_path / 'no_map')


def test_descriptors_extend_a_map_of_descriptors(descriptors: Path, tmp_path: Path) -> None:
    for output, more in (('map', ()), ('both', ('--extend', tmp_path / 'map'))):
        succeed('map', 'build', '--descriptors', descriptors, '-L', 3, *more,
                '--output', tmp_path / output)
    own = build_model(parse_preset({
        'frame': {'kind': 'precomputed', 'out_dim': DIM}, 'sequence': {'length': 3}}), 'cpu')
    assert len(open_map(tmp_path / 'both', own)) == 60
    # A map with pictures cannot be extended by what has none.
    import cv2

    folder = tmp_path / 'images'
    folder.mkdir()
    for place in range(4):
        cv2.imwrite(str(folder / f'{place}.png'), Street(0).view(2.0 * place))
    succeed('map', 'build', folder, '--keep-images', '--output', tmp_path / 'pictures')
    np.save(tmp_path / 'hog.npy', np.ones((4, 1764), np.float32))
    assert 'keeps pictures or the calibration' in refusal(
        'map', 'build', '--descriptors', tmp_path / 'hog.npy', '--extend', tmp_path / 'pictures',
        '--output', tmp_path / 'no_map')


@pytest.mark.parametrize(('arguments', 'words'), [
    ((), 'neither a recording nor --descriptors was given'),
    (('--stamps', 'stamps.txt'), 'neither a recording nor'),
    (('--descriptors', 'rows.npy', '--poses', 'poses.tum'),
     'rows.npy has 30 descriptors, but there are 12 poses in poses.tum, expected one for each'),
    (('--descriptors', 'rows.npy', '--stamps', 'stamps.txt'), 'there are 3 times in stamps.txt'),
    (('--descriptors', 'rows.npy', '--stamps', 'words.txt'), "words.txt line 2 holds 'noon'"),
    (('--descriptors', 'rows.npy', '--stamps', 'falling.txt'), 'time 3 is before the one ahead'),
    (('--descriptors', 'rows.npy', '--geometry'), '--geometry needs images'),
    (('--descriptors', 'rows.npy', '--keep-images'), '--keep-images needs images'),
    (('--descriptors', 'rows.npy', '--topic', '/image'), '--topic needs images'),
    (('--descriptors', 'rows.npy', '--rate', '-1'), 'rate is -1 descriptors per second'),
    (('--descriptors', 'rows.npy', '--model', 'hog-geometry'), 'checks the geometry of images'),
    (('--descriptors', 'flat.npy'), 'flat.npy holds'),
    (('--descriptors', 'words.txt'), 'words.txt cannot be read as an array (.npy)'),
    (('--descriptors', 'objects.npy'), 'objects.npy cannot be read as an array (.npy)'),
    (('--descriptors', 'absent.npy'), 'absent.npy cannot be read')])
def test_descriptors_that_cannot_be_mapped_are_refused(
        arguments: tuple[str, ...], words: str, descriptors: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tum(tmp_path / 'poses.tum', [float(i) for i in range(12)])
    (tmp_path / 'stamps.txt').write_text('1\n2\n3\n')
    (tmp_path / 'words.txt').write_text('1\nnoon\n')
    (tmp_path / 'falling.txt').write_text('1\n2\n1.5\n')
    np.save('flat.npy', np.ones(5, np.float32))
    np.save('objects.npy', np.array([{'a': 1}], dtype=object))
    assert words in refusal('map', 'build', *arguments, '--output', tmp_path / 'map')
    assert not (tmp_path / 'map').exists()
