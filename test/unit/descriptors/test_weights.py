"""Weight files: every layout, nothing unsafe, nothing that only nearly fits; downloads."""

import contextlib
import functools
import hashlib
import http.server
import multiprocessing
import os
import resource
import signal
import socket
import threading
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from seqnet_ros.config.model import WeightsConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.descriptors.describer import build_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.download import cache_dir, download
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.weights import (
    digest_tensors,
    find_weights,
    load_strictly,
    read_aggregator,
    read_tensors,
    read_torch,
    translate,
    write_torch,
)

SHARED = Path(__file__).resolve().parents[4] / 'shared'
COMPAT = SHARED / 'golden' / 'seqnet' / 'compat'
CPU = select_device('cpu')


def model(backbone='resnet18', layer=1, pooling=None, **weights):
    """Return a small model: one ResNet stage unless told otherwise, 64 x 64 pixels."""
    return parse_preset({
        'name': 'test', 'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'network', 'backbone': backbone, 'layer': layer,
                  'pooling': pooling or {'kind': 'gem'}},
        'weights': weights}, 'test').model


def frame_network(config) -> FrameNetwork:
    return FrameNetwork(config.frame, config.image)


def describe(config, base_dir=None) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return build_describer(config, CPU, base_dir).describe([image])


def describe_with(network, config) -> np.ndarray:
    """Describe the same image straight with ``network``."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    x = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    x = (x - torch.tensor(config.image.mean).view(3, 1, 1)) / torch.tensor(
        config.image.std).view(3, 1, 1)
    with torch.inference_mode():
        return network.eval()(x).numpy()


class RunsCode:
    """Creates a file when an unsafe reader rebuilds it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


# Layouts ---------------------------------------------------------------------------------------

GEM_FC = {'kind': 'gem', 'fc_dim': 16}
NETVLAD = {'kind': 'netvlad', 'clusters': 4}
WHITENED = {'kind': 'netvlad', 'clusters': 4, 'wpca_dim': 8}


def as_netvlad(state):
    def rename(name):
        return (name.replace('backbone.', 'encoder.').replace('aggregation.0.', 'pool.')
                .replace('aggregation.1.', 'WPCA.0.'))
    return {rename(k): v[:, :, None, None] if k == 'aggregation.1.weight' else v
            for k, v in state.items()}


@pytest.mark.parametrize(('layout', 'pooling', 'wrap'), [
    ('seqnet_ros', GEM_FC, lambda s: s),
    ('cosplace', GEM_FC, lambda s: s),
    ('cosplace', GEM_FC, lambda s: {f'module.{k}': v for k, v in s.items()}),
    ('jist', GEM_FC, lambda s: {f'model.{k}': v for k, v in s.items()}),
    ('jist', GEM_FC, lambda s: {
        'epoch_num': 3, 'model_state_dict': {f'model.{k}': v for k, v in s.items()},
        'best_seq_val_recall5': np.float64(0.5)}),
    ('netvlad', NETVLAD, as_netvlad),
    ('netvlad', WHITENED, as_netvlad),
    ('patch_netvlad', WHITENED, lambda s: {'epoch': 1, 'state_dict': as_netvlad(s)}),
])
def test_layouts_give_the_same_descriptors(tmp_path, layout, pooling, wrap):
    config = model(pooling=pooling, path='weights.pth', layout=layout)
    torch.manual_seed(1)
    network = frame_network(config)
    torch.save(wrap(network.state_dict()), tmp_path / 'weights.pth')
    np.testing.assert_allclose(
        describe(config, tmp_path), describe_with(network, config), rtol=0, atol=1e-6)


@pytest.mark.parametrize(('backbone', 'layer'), [
    ('resnet18', None), ('resnet18', 2), ('mobilenet_v2', 7), ('vgg16', 5)])
def test_torchvision_files_fill_the_cut_trunk(tmp_path, backbone, layer):
    config = model(backbone, layer, {'kind': 'gem', 'p': 2.0}, path='w.safetensors',
                   layout='torchvision')
    torch.manual_seed(2)
    network = frame_network(config)
    if backbone == 'resnet18':
        reference = torchvision.models.resnet18(weights=None)
        names = ('conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4')
        for module, name in zip(network.backbone, names, strict=False):
            module.load_state_dict(getattr(reference, name).state_dict())
        state = reference.state_dict()
    else:
        state = {f'features.{k}': v for k, v in network.backbone.state_dict().items()}
        state |= {'features.30.weight': torch.zeros(1), 'classifier.0.weight': torch.zeros(1)}
    save_file(state, tmp_path / 'w.safetensors')
    np.testing.assert_allclose(
        describe(config, tmp_path), describe_with(network, config), rtol=0, atol=1e-6)


def test_torchvision_files_do_not_fill_a_trained_pooling(tmp_path):
    config = model(layer=None, pooling=GEM_FC, path='w.safetensors', layout='torchvision')
    save_file(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / 'w.safetensors')
    with pytest.raises(ModelError, match=r'aggregation.3.weight \[16, 512\] is missing'):
        describe(config, tmp_path)


def test_jist_returns_the_sequence_exponent_apart(tmp_path):
    config = model(pooling=GEM_FC, path='w.pth', layout='jist')
    state = {f'model.{k}': v for k, v in frame_network(config).state_dict().items()}
    torch.save({**state, 'seq_gem.p': torch.tensor([3.5])}, tmp_path / 'w.pth')
    describer = build_describer(config, CPU, tmp_path)
    assert {k: v.tolist() for k, v in describer.sequence_tensors.items()} == {'seq_gem.p': [3.5]}


VGG16_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
NETVLAD_NAMES = {
    *(f'encoder.{index}.{kind}' for index in VGG16_CONVOLUTIONS for kind in ('weight', 'bias')),
    'pool.centroids', 'pool.conv.weight'}


@pytest.mark.parametrize(('layout', 'names', 'pooling'), [
    ('netvlad', NETVLAD_NAMES, {'kind': 'netvlad'}),
    ('netvlad', NETVLAD_NAMES | {'pool.conv.bias'}, {'kind': 'netvlad', 'bias': True}),
    ('patch_netvlad', NETVLAD_NAMES | {'WPCA.0.weight', 'WPCA.0.bias'},
     {'kind': 'netvlad', 'wpca_dim': 4096})])
def test_published_netvlad_files_name_exactly_the_tensors_of_the_network(layout, names, pooling):
    with torch.device('meta'):
        network = frame_network(model('vgg16', None, pooling))
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert expected['aggregation.0.centroids'] == (64, 512)
    state = as_netvlad(network.state_dict())
    assert set(state) == names
    if 'WPCA.0.weight' in names:
        assert state['WPCA.0.weight'].shape == (4096, 32768, 1, 1)
    for parallel in (False, True):
        found = translate({as_parallel(name) if parallel else name: tensor
                           for name, tensor in state.items()}, layout)
        assert {name: tensor.shape for name, tensor in found.frame.items()} == expected
        assert not found.sequence


def as_parallel(name):
    """Name a tensor as it is when encoder and pooling were each trained data-parallel."""
    return name.replace('encoder.', 'encoder.module.').replace('pool.', 'pool.module.')


@pytest.mark.parametrize(('change', 'message'), [
    ({'WPCA.0.bias': None}, r'aggregation.1.bias \[8\] is missing'),
    ({'pool.centroids': torch.zeros(5, 64)}, r'centroids is \[5, 64\], expected \[4, 64\]'),
    ({'pool.conv.bias': torch.zeros(4)}, r'aggregation.0.conv.bias \[4\] is not expected'),
    ({'encoder.30.weight': torch.zeros(2)}, r'backbone.30.weight \[2\] is not expected'),
    ({'WPCA.0.weight': torch.zeros(8, 256)}, None)])
def test_netvlad_files_are_taken_whole_or_not_at_all(tmp_path, change, message):
    config = model(pooling=WHITENED, path='w.pth', layout='patch_netvlad')
    state = as_netvlad(frame_network(config).state_dict()) | change
    torch.save({'state_dict': {name: tensor for name, tensor in state.items()
                               if tensor is not None}}, tmp_path / 'w.pth')
    if message is None:  # a whitening may be stored as a matrix or as a 1 x 1 convolution
        assert describe(config, tmp_path).shape == (1, 8)
        return
    with pytest.raises(ModelError, match=message):
        describe(config, tmp_path)


@pytest.mark.skipif(not COMPAT.is_dir(), reason=f'SeqNet checkpoints are not at {COMPAT}')
@pytest.mark.parametrize('name', ['s1_numpy1_names.pth.tar', 's1_legacy_format.pth.tar'])
def test_seqnet_checkpoints_fill_an_aggregator(name):
    tensors = read_aggregator(COMPAT / name, 'seqnet')
    assert {key: list(tensor.shape) for key, tensor in tensors.items()} == {
        'conv.weight': [64, 64, 1], 'conv.bias': [64]}


def test_data_parallel_seqnet_checkpoints_fill_an_aggregator(tmp_path):
    state = {'pool.module.0.conv.weight': torch.ones(2, 3, 1), 'pool.0.conv.bias': torch.ones(2)}
    torch.save({'epoch': 2, 'state_dict': state}, tmp_path / 'w.pth.tar')
    assert set(read_aggregator(tmp_path / 'w.pth.tar', 'seqnet')) == {'conv.weight', 'conv.bias'}


# What does not fit -----------------------------------------------------------------------------

def test_misfits_are_named_with_both_shapes_and_counted():
    config = model(pooling=GEM_FC)
    network = frame_network(config)
    state = dict(network.state_dict())
    state['backbone.0.weight'] = torch.zeros(64, 1, 7, 7)
    state['aggregation.3.weight'] = torch.zeros(8, 64)
    del state['backbone.1.bias']
    state['head.weight'] = torch.zeros(2)
    with pytest.raises(ModelError) as caught:
        load_strictly(network, state, 'file.pth')
    assert str(caught.value) == (
        'weights file.pth do not fit the network: backbone.1.bias [64] is missing; '
        'backbone.0.weight is [64, 1, 7, 7], expected [64, 3, 7, 7]; '
        'aggregation.3.weight is [8, 64], expected [16, 64] and 1 more')


def test_weights_of_another_network_are_told_by_their_names():
    network = frame_network(model())
    state = {f'model.{name}': tensor for name, tensor in network.state_dict().items()}
    with pytest.raises(ModelError, match=(
            r'weights w\.pth do not fit the network: they belong to another network or layout, '
            r'found model\.backbone\.0\.weight, .* and \d+ more, expected backbone\.0\.weight, ')):
        load_strictly(network, state, 'w.pth')


def test_unexpected_and_broken_tensors_are_refused():
    network = frame_network(model())
    state = network.state_dict()
    with pytest.raises(ModelError, match=r'head.weight \[2\] is not expected'):
        load_strictly(network, {**state, 'head.weight': torch.zeros(2)}, 'f')
    broken = state['backbone.1.bias'].clone()
    broken[0] = float('nan')
    with pytest.raises(ModelError, match=r'backbone\.1\.bias holds values that are not finite'):
        load_strictly(network, {**state, 'backbone.1.bias': broken}, 'f')


def test_batch_counters_may_be_absent():
    network = frame_network(model())
    state = {k: 2 * v for k, v in network.state_dict().items() if 'num_batches' not in k}
    load_strictly(network, state, 'f')
    loaded = network.state_dict()
    assert set(loaded) - set(state)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())


def test_network_without_weights_is_refused_unless_random_was_asked_for():
    with pytest.raises(ModelError, match='model test needs weights'):
        build_describer(model(), CPU)
    first, second = (describe(model(random=True)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_random_weights_leave_the_callers_random_numbers_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build_describer(model(random=True), CPU)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


# Reading ---------------------------------------------------------------------------------------

def test_files_with_code_are_refused_and_not_run(tmp_path):
    trace = tmp_path / 'code_ran'
    torch.save({'weight': torch.zeros(1), 'extra': RunsCode(trace)}, tmp_path / 'evil.pth')
    with pytest.raises(ModelError, match='a file that needs unsafe loading is rejected'):
        read_tensors(tmp_path / 'evil.pth')
    assert not trace.exists()


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_truncated_files_are_refused(tmp_path, suffix):
    path = tmp_path / f'w{suffix}'
    state = {'weight': torch.zeros(1000)}
    save_file(state, path) if suffix == '.safetensors' else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ModelError, match='are not a'):
        read_tensors(path)


@pytest.mark.parametrize('content', [b'hello', b'PK\x03\x04', b'\x00' * 100])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'w.pth').write_bytes(content)
    with pytest.raises(ModelError, match='are not a'):
        read_tensors(tmp_path / 'w.pth')


class Foreign:
    """A class that no weights file may name."""


def lfs_pointer() -> bytes:
    return (b'version https://git-lfs.github.com/spec/v1\noid sha256:' + b'0' * 64
            + b'\nsize 44784720\n')


def onnx_file() -> bytes:
    """The beginning of an ONNX file: ir_version 8, producer 'pytorch', then a graph."""
    return b'\x08\x08\x12\x07pytorch\x1a\x052.4.0:\x10' + b'\x00' * 16


def torchscript_file(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # deprecated, and still what is published
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), path)


def exported_file(path: Path) -> None:
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), path)


@pytest.mark.parametrize(('content', 'words'), [
    (b'<!DOCTYPE html>\n<html><head><title>Sign in</title>', 'a saved web page, .*download'),
    (b'\xef\xbb\xbf  <HTML lang="en">', 'a saved web page'),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', 'a saved web page'),
    (b'<?xml version="1.0"?>\n<net name="x" version="11">', 'an OpenVINO network'),
    (lfs_pointer(), 'a Git LFS pointer, .*git lfs pull'),
    (onnx_file(), 'an ONNX network'),
    (b'MATLAB 5.0 MAT-file, Platform: GLNXA64' + b' ' * 90, 'a MATLAB file'),
    (b'\x89HDF\r\n\x1a\n' + b'\x00' * 60, 'an HDF5 file'),
    (b'\x1c\x00\x00\x00TFL3' + b'\x00' * 60, 'a TensorFlow Lite network'),
    (b'\x93NUMPY\x01\x00', 'a NumPy array'),
    (b'', 'an empty file')])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_files_that_are_no_weights_are_named(tmp_path, suffix, content, words):
    path = tmp_path / f'w{suffix}'
    path.write_bytes(content)
    for read in (read_tensors, read_torch):
        with pytest.raises(ModelError, match=f'{path} are {words}') as caught:
            read(path)
        assert 'expected named tensors in a safetensors or torch file' in str(caught.value)


@pytest.mark.parametrize(('write', 'words'), [
    (torchscript_file, 'a TorchScript network'), (exported_file, r'a network of torch\.export'),
    (lambda path: np.savez(path.open('wb'), a=np.ones(2)), 'an archive of NumPy arrays'),
    (lambda path: zipfile.ZipFile(path, 'w').writestr('readme.txt', 'x'),
     'a ZIP archive of other files')])
def test_archives_that_are_no_weights_are_named(tmp_path, write, words):
    write(tmp_path / 'w.pth')
    with pytest.raises(ModelError, match=f'are {words}, expected named tensors'):
        read_tensors(tmp_path / 'w.pth')


def test_the_content_decides_and_not_the_suffix(tmp_path):
    state = {'a': torch.arange(3.0)}
    torch.save(state, tmp_path / 'w.safetensors')
    save_file(state, tmp_path / 'w.pth')
    torch.save(state, tmp_path / 'old.safetensors', _use_new_zipfile_serialization=False)
    for name in ('w.safetensors', 'w.pth', 'old.safetensors'):
        assert read_tensors(tmp_path / name)['a'].tolist() == [0, 1, 2]
    # A training run needs more than tensors.
    with pytest.raises(ModelError, match='is a safetensors file, expected a torch file'):
        read_torch(tmp_path / 'w.pth')


@pytest.mark.parametrize(('content', 'named'), [
    ({'x': Foreign()}, r'refers to [\w.]*\.Foreign'),
    (torch.nn.Linear(2, 2), r'refers to torch\.nn')])
@pytest.mark.parametrize('zipped', [True, False])
def test_refusals_carry_no_advice_and_no_escapes(tmp_path, content, named, zipped):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.save(content, tmp_path / 'w.pth', _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=named) as caught:
        read_tensors(tmp_path / 'w.pth')
    assert 'weights_only' not in str(caught.value)
    assert str(caught.value).isprintable()


def test_names_in_a_file_cannot_command_a_terminal(tmp_path):
    torch.save({'\x1b]0;owned\x07\x1b[31m.weight': torch.ones(1)}, tmp_path / 'w.pth')
    for network in (frame_network(model()), torch.nn.Module()):
        with pytest.raises(ModelError, match=r'\\x1b\[31m\.weight') as caught:
            load_strictly(network, read_tensors(tmp_path / 'w.pth'), 'w.pth')
        assert str(caught.value).isprintable()


def test_files_without_tensors_are_refused(tmp_path):
    torch.save({'epoch': 3}, tmp_path / 'w.pth')
    with pytest.raises(ModelError, match='hold no named tensors'):
        read_tensors(tmp_path / 'w.pth')
    torch.save([torch.zeros(1)], tmp_path / 'w.pth')
    with pytest.raises(ModelError, match='hold a list, expected named tensors'):
        read_tensors(tmp_path / 'w.pth')


@pytest.mark.skipif(not COMPAT.is_dir(), reason=f'SeqNet checkpoints are not at {COMPAT}')
@pytest.mark.parametrize('name', ['s1_numpy1_names.pth.tar', 's1_legacy_format.pth.tar'])
def test_checkpoints_with_numpy_numbers_of_any_age_are_read(name):
    tensors = read_tensors(COMPAT / name)
    assert set(tensors) == {'pool.0.conv.weight', 'pool.0.conv.bias'}


def write_with_limited_file_size(path):
    """Run in a process of its own, because the limit cannot be raised again."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    try:
        write_torch(path, {'w': torch.zeros(10_000)})
    except InputError as error:
        os._exit(0 if str(error).startswith(f'{path} cannot be written: ') else 3)
    os._exit(4)


def test_torch_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'w.pth'
    write_torch(path, {'w': torch.ones(3), 'epoch': 2})
    process = multiprocessing.get_context('fork').Process(
        target=write_with_limited_file_size, args=(path,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert [file.name for file in tmp_path.iterdir()] == ['w.pth']
    assert read_torch(path)['epoch'] == 2


def test_half_precision_files_are_widened(tmp_path):
    save_file({'a': torch.ones(2, dtype=torch.float16), 'n': torch.tensor(3)},
              tmp_path / 'w.safetensors')
    tensors = read_tensors(tmp_path / 'w.safetensors')
    assert tensors['a'].dtype == torch.float32
    assert tensors['n'].dtype == torch.int64


def test_digest_is_of_the_tensors_and_not_of_the_file(tmp_path):
    state = frame_network(model()).state_dict()
    torch.save({'state_dict': state}, tmp_path / 'a.pth')
    save_file(state, tmp_path / 'b.safetensors')
    digest = digest_tensors(read_tensors(tmp_path / 'a.pth'))
    assert digest == digest_tensors(read_tensors(tmp_path / 'b.safetensors'))
    state['backbone.1.bias'][0] += 1e-6
    assert digest != digest_tensors(state)


def test_unknown_names_survive_translation_to_be_reported():
    found = translate({'pool.centroids': torch.zeros(1), 'other.x': torch.zeros(1)}, 'netvlad')
    assert set(found.frame) == {'aggregation.0.centroids', 'other.x'}


# Finding and downloading -----------------------------------------------------------------------

@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'seqnet_ros' / 'weights'


@pytest.fixture
def server(tmp_path):
    """Serve ``tmp_path / 'www'`` on this machine; yields the folder and its address."""
    folder = tmp_path / 'www'
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield folder, f'http://127.0.0.1:{httpd.server_address[1]}'
        httpd.shutdown()
        thread.join()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_download_is_kept_and_used_again(cache, server):
    folder, address = server
    (folder / 'w.bin').write_bytes(b'weights')
    path = download(f'{address}/w.bin', sha(b'weights'))
    assert path.parent == cache == cache_dir()
    assert path.read_bytes() == b'weights'
    (folder / 'w.bin').unlink()
    assert download(f'{address}/w.bin', sha(b'weights')) == path


def test_wrong_hash_is_refused_and_leaves_nothing(cache, server):
    folder, address = server
    (folder / 'w.bin').write_bytes(b'other')
    with pytest.raises(ModelError, match=f'has sha256 {sha(b"other")}, expected {"0" * 64}'):
        download(f'{address}/w.bin', '0' * 64)
    assert list(cache.iterdir()) == []


def test_damaged_cache_is_fetched_again(cache, server):
    folder, address = server
    (folder / 'w.bin').write_bytes(b'weights')
    path = download(f'{address}/w.bin', sha(b'weights'))
    path.write_bytes(b'wei')
    assert download(f'{address}/w.bin', sha(b'weights')).read_bytes() == b'weights'


@pytest.mark.parametrize('url', ['http://127.0.0.1:9/w', 'file:///nowhere/w'])
def test_unreachable_addresses_are_one_sentence(cache, url):
    with pytest.raises(ModelError, match=r'could not download .*; download it manually'):
        download(url, '0' * 64)
    assert not list(cache.glob('*'))


def test_other_schemes_are_refused(cache):
    with pytest.raises(ModelError, match="scheme is 'gopher', expected http, https, file"):
        download('gopher:nothing', '0' * 64)


def test_downloads_have_a_largest_size(cache, server, monkeypatch):
    folder, address = server
    (folder / 'w.bin').write_bytes(bytes(2000))
    monkeypatch.setattr('seqnet_ros.descriptors.download.MAX_BYTES', 1999)
    with pytest.raises(ModelError, match='has 2000 bytes, expected at most 1999'):
        download(f'{address}/w.bin', sha(bytes(2000)))
    with pytest.raises(ModelError, match=r'has 2000 bytes|more than 1999 bytes'):
        download((folder / 'w.bin').as_uri(), sha(bytes(2000)))
    assert list(cache.iterdir()) == []


def test_a_server_that_never_ends_is_left(cache, monkeypatch):
    """Bytes come one by one, for ever, and no size is stated."""
    listener = socket.create_server(('127.0.0.1', 0))

    def serve():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(b'HTTP/1.0 200 OK\r\n\r\n')
            while True:
                connection.sendall(b'x')
                time.sleep(0.02)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    url = f'http://127.0.0.1:{listener.getsockname()[1]}/w.bin'
    monkeypatch.setattr('seqnet_ros.descriptors.download.MAX_SECONDS', 0.5)
    started = time.monotonic()
    with pytest.raises(ModelError, match=r'took longer than 0\.5 s'):
        download(url, '0' * 64)
    assert time.monotonic() - started < 5
    thread.join(5)
    listener.close()
    assert list(cache.iterdir()) == []


def test_missing_page_names_its_status(cache, server):
    _, address = server
    with pytest.raises(ModelError, match='404'):
        download(f'{address}/nothing', '0' * 64)


def test_model_downloads_its_weights(cache, tmp_path):
    config = model(pooling=GEM_FC)
    source = tmp_path / 'source.safetensors'
    save_file(frame_network(config).state_dict(), source)
    config = model(pooling=GEM_FC, url=source.as_uri(), sha256=sha(source.read_bytes()))
    assert describe(config).shape == (1, 16)
    source.unlink()
    assert describe(config).shape == (1, 16)


def test_relative_paths_start_at_the_model_file(tmp_path):
    (tmp_path / 'w.bin').write_bytes(b'weights')
    assert find_weights(WeightsConfig(path='w.bin'), tmp_path) == tmp_path / 'w.bin'
    with pytest.raises(ModelError, match=r'no weights at .*missing\.bin'):
        find_weights(WeightsConfig(path='missing.bin'), tmp_path)
    with pytest.raises(ModelError, match=f'have sha256 {sha(b"weights")}'):
        find_weights(WeightsConfig(path='w.bin', sha256='0' * 64), tmp_path)
