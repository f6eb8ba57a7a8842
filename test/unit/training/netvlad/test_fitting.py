"""NetVLAD from images alone: clusters, soft assignment, whitening, and the model made of them."""

import hashlib
import shutil
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from command_line import refusal, succeed
from hypothesis import given
from hypothesis import strategies as st
from image_sets import image_set
from safetensors.torch import load_file, save_file

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.config.preset import Preset, parse_preset
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.images import read_image
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.datasets.recordings.image_folder import list_images
from seqnet_ros.descriptors.describer import build_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.network_describer import NetworkDescriber
from seqnet_ros.descriptors.pooling import NetVLAD
from seqnet_ros.models.place_model import load_model
from seqnet_ros.training.common import whitening
from seqnet_ros.training.common.whitening import fit_whitening
from seqnet_ros.training.netvlad.fitting import (
    cluster,
    cluster_by_angle,
    local_features,
    soft_assignment,
)

CPU = select_device('cpu')


def directions(count: int, length: int, seed: int = 0) -> np.ndarray:
    """Return unit vectors whose entries differ in variance and have a mean."""
    random = np.random.default_rng(seed)
    spread = random.standard_normal((length, length)) * np.geomspace(1, 0.05, length)
    return normalize_rows(1 + random.standard_normal((count, length)) @ spread)


# --- whitening ---------------------------------------------------------------------------------


@pytest.mark.parametrize(('count', 'length'), [(30, 80), (80, 30), (50, 50)])
def test_whitening_equals_the_eigenvectors_of_the_covariance(count: int, length: int) -> None:
    vectors, dim = directions(count, length), 12
    values, vectors_of = np.linalg.eigh(np.cov(vectors.T.astype(np.float64)))
    values, vectors_of = values[::-1], vectors_of[:, ::-1]
    expected = vectors_of[:, :dim].T / np.sqrt(values[:dim, None])
    found = fit_whitening(vectors, dim)
    signs = np.sign((found.weight * expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found.weight, signs * expected, rtol=0,
                               atol=1e-5 * np.abs(expected).max())
    assert found.explained == pytest.approx(values[:dim].sum() / values.sum(), abs=1e-9)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 1000), st.data())
def test_whitened_vectors_are_uncorrelated_with_variance_one(
        count: int, length: int, seed: int, data: st.DataObject) -> None:
    vectors = directions(count, length, seed)
    dim = data.draw(st.integers(1, max(1, min(count - 1, length) // 2)))
    found = fit_whitening(vectors, dim)
    white = vectors.astype(np.float64) @ found.weight.T + found.bias
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=2e-3)
    np.testing.assert_allclose(np.atleast_2d(np.cov(white.T)), np.eye(dim), atol=2e-3)
    assert 0 < found.explained <= 1 + 1e-9


@pytest.mark.parametrize(('count', 'length'), [(30, 300), (300, 30)])
def test_blocks_change_nothing(count: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = directions(count, length)
    whole = fit_whitening(vectors, 10)
    monkeypatch.setattr(whitening, '_BLOCK_BYTES', 8 * 30 * 7)
    in_blocks = fit_whitening(vectors, 10)
    np.testing.assert_allclose(np.abs(in_blocks.weight), np.abs(whole.weight), rtol=1e-4, atol=1e-4)


def test_vectors_are_never_held_in_memory_at_once(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / 'vectors.npy'
    np.save(file, np.random.default_rng(0).standard_normal((200, 32768)).astype(np.float32))
    vectors = np.load(file, mmap_mode='r')
    monkeypatch.setattr(whitening, '_BLOCK_BYTES', 1 << 20)
    tracemalloc.start()
    fit_whitening(vectors, 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert vectors.nbytes > 24 << 20
    assert peak < 10 << 20


@pytest.mark.parametrize(('count', 'length', 'dim', 'most'), [
    (10, 80, 10, 9), (1, 8, 1, 0), (50, 8, 9, 8)])
def test_too_few_vectors_are_refused(count: int, length: int, dim: int, most: int) -> None:
    with pytest.raises(InputError, match=f'{count} vectors of length {length} have at most {most} '
                                         f'principal components, but {dim} were requested'):
        fit_whitening(directions(count, length), dim)


@pytest.mark.parametrize(('distinct', 'length'), [(5, 60), (5, 20), (1, 60)])
def test_vectors_that_repeat_are_refused(distinct: int, length: int) -> None:
    vectors = np.tile(directions(distinct, length), (40 // distinct, 1))
    with pytest.raises(InputError, match=f'span only {distinct - 1} dimensions, but 6 '):
        fit_whitening(vectors, 6)


# --- clusters and soft assignment --------------------------------------------------------------


def test_every_centre_is_the_mean_of_the_features_nearest_to_it() -> None:
    random = np.random.default_rng(1)
    places = 3 * random.standard_normal((6, 8))
    features = np.repeat(places, 200, axis=0) + random.standard_normal((1200, 8))
    features = random.permutation(features).astype(np.float32)
    found = cluster(features, 6, 0)
    assert np.array_equal(found, cluster(features, 6, 0))
    assert not np.array_equal(found, cluster(features, 6, 1))
    nearest = np.linalg.norm(features[:, None] - found, axis=2).argmin(axis=1)
    means = np.stack([features[nearest == centre].mean(axis=0) for centre in range(6)])
    np.testing.assert_allclose(found, means, atol=1e-4)


def test_fewer_features_than_clusters_are_refused() -> None:
    with pytest.raises(InputError, match='3 local features are too few for 4 clusters'):
        cluster(np.eye(3, dtype=np.float32), 4, 0)


def test_soft_assignment_is_that_of_the_published_code(shared_golden: Path) -> None:
    golden = np.load(shared_golden / 'jist' / 'aggregators' / 'seqvlad.npz')
    weight, bias = soft_assignment(
        golden['centroids'], normalize_rows(golden['init_descriptors']), bias=False)
    np.testing.assert_allclose(weight, golden['conv_weight_map'][:, :, 0, 0], rtol=1e-4)
    lengths = np.linalg.norm(weight, axis=1)
    np.testing.assert_allclose(lengths, float(golden['alpha']), rtol=1e-4)
    assert bias is None


@pytest.mark.parametrize('bias', [False, True])
def test_the_second_nearest_cluster_gets_a_hundredth(bias: bool) -> None:
    random = np.random.default_rng(2)
    features = normalize_rows(random.standard_normal((500, 12)))
    centroids = cluster(features, 5, 0)
    weight, offset = soft_assignment(centroids, features, bias)
    layer = NetVLAD(5, 12, bias=bias)
    state = {'centroids': centroids, 'conv.weight': weight[:, :, None, None]}
    if bias:
        state['conv.bias'] = offset
    layer.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    with torch.inference_mode():
        scores = layer.conv(torch.from_numpy(features.T[None, :, :, None]))[0, :, :, 0]
    shares = np.sort(scores.softmax(dim=0).numpy().astype(np.float64), axis=0)
    assert np.log(shares[-2] / shares[-1]).mean() == pytest.approx(np.log(0.01), rel=1e-3)
    if bias:
        # What the bias is for: the assignment goes by squared distances, whatever the lengths.
        squared = np.square(features[None] - centroids[:, None]).sum(axis=2)
        differences = scores.numpy() - scores.numpy()[0]
        slope = differences[1:] / -(squared - squared[0])[1:]
        np.testing.assert_allclose(slope, np.median(slope), rtol=1e-2)


@pytest.mark.parametrize('bias', [False, True])
def test_features_that_are_all_alike_are_refused(bias: bool) -> None:
    features = np.ones((50, 4), dtype=np.float32) / 2
    with pytest.raises(InputError, match='are all identical'):
        soft_assignment(features[:3], features, bias)


# --- images ------------------------------------------------------------------------------------


def small_model(**values: object) -> dict:
    """Return a model of the first MobileNetV2 stages on 64 x 96 pixels."""
    return {'image': {'height': 64, 'width': 96},
            'frame': {'kind': 'network', 'backbone': 'mobilenet_v2', 'layer': 4,
                      'pooling': {'kind': 'netvlad', 'clusters': 4, 'wpca_dim': 8}},
            'sequence': {'length': 3}, **values}


def checked(values: dict) -> Preset:
    return parse_preset({'name': 'test', **values}, 'test')


@pytest.fixture
def photographs(shared_data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / 'photographs'
    folder.mkdir()
    for file in list_images(image_set(shared_data, 'gardens_point') / 'day_left')[::10]:
        # Copies: a test that damages one must not reach the shared data.
        shutil.copyfile(file, folder / file.name)
    return folder


@pytest.fixture
def trunk(shared_weights: Path) -> Path:
    return shared_weights / 'mobilenet_v2_imagenet_fp16.safetensors'


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / 'base.yaml'
    path.write_text(yaml.safe_dump(small_model()))
    return path


def test_images_are_stretched_and_not_padded() -> None:
    """SeqNet's own recipe stretches to 320 x 640; padding would show as a dark border."""
    image = ImageConfig(height=64, width=128, mean=(0, 0, 0), std=(1, 1, 1))
    config = checked({**small_model(), 'weights': {'random': True}}).model
    network = FrameNetwork(config.frame, image)
    describer = NetworkDescriber(network, image, CPU, 'test', {})
    for shape in ((30, 200), (200, 30), (64, 128)):
        white = np.full((*shape, 3), 255, dtype=np.uint8)
        prepared = describer.network_input([white])
        assert prepared.shape == (1, 3, 64, 128)
        assert prepared.min() == 1
        white[:, : shape[1] // 2] = 0
        halves = describer.network_input([white])[0, 0]
        assert halves[:, :60].max() == 0
        assert halves[:, 68:].min() == 1


def test_a_fitted_model_describes_as_it_says(
        base: Path, photographs: Path, trunk: Path, tmp_path: Path) -> None:
    shown = succeed('models', 'fit-netvlad', photographs, '--model', base, '--trunk-weights', trunk,
                    '--output', tmp_path / 'mine.yaml').stdout
    assert 'images         20' in shown
    assert 'descriptors    8' in shown
    model = load_model(tmp_path / 'mine.yaml', 'cpu')
    assert model.config.name == 'mine'
    assert model.engine.sequence.length == 3
    assert model.describer.dim == 8
    file = tmp_path / 'mine.safetensors'
    assert model.config.weights.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.stat().st_mode & 0o777 == 0o644

    images = [read_image(path) for path in list_images(photographs)]
    tensors = load_file(file)
    values = small_model()
    del values['frame']['pooling']['wpca_dim']
    without = checked(values).model
    whole = FrameNetwork(without.frame, without.image)
    whole.load_state_dict({name: tensor for name, tensor in tensors.items()
                           if not name.startswith('aggregation.1')})
    vectors = NetworkDescriber(whole, without.image, CPU, 'test', {}).describe(images)
    expected = fit_whitening(vectors, 8)
    white = normalize_rows(vectors @ expected.weight.T + expected.bias)
    found = model.describer.describe(images)
    signs = np.sign((found * white).sum(axis=0))
    np.testing.assert_allclose(found, white * signs, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_the_same_images_and_seed_give_the_same_bytes(
        base: Path, photographs: Path, trunk: Path, tmp_path: Path) -> None:
    arguments = ('models', 'fit-netvlad', photographs, '--model', base, '--trunk-weights', trunk,
                 '--descriptors-per-image', 20, '--images', 12)
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        succeed(*arguments, '--seed', seed, '--output', tmp_path / f'{name}.yaml')
    contents = [(tmp_path / f'{name}.safetensors').read_bytes() for name in 'abc']
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_sizes_given_replace_the_models_and_whitening_may_be_absent(
        photographs: Path, trunk: Path, tmp_path: Path) -> None:
    values = small_model()
    del values['frame']['pooling']['wpca_dim']
    values['frame']['pooling']['bias'] = True
    # A model may name the weights of its trunk itself.
    values['weights'] = {'path': str(trunk), 'layout': 'torchvision'}
    (tmp_path / 'base.yaml').write_text(yaml.safe_dump(values))
    succeed('models', 'fit-netvlad', photographs, '--model', tmp_path / 'base.yaml',
            '--clusters', 5, '--output', tmp_path / 'mine.yaml')
    model = load_model(tmp_path / 'mine.yaml', 'cpu')
    assert model.describer.dim == 5 * 24
    tensors = load_file(tmp_path / 'mine.safetensors')
    assert tensors['aggregation.0.conv.bias'].shape == (5,)
    assert 'aggregation.1.weight' not in tensors


def test_a_random_trunk_is_fitted_where_the_model_asks_for_one(
        photographs: Path, tmp_path: Path) -> None:
    values = small_model(weights={'random': True})
    values['frame'] |= {'backbone': 'vgg16', 'layer': 5}
    (tmp_path / 'base.yaml').write_text(yaml.safe_dump(values))
    succeed('models', 'fit-netvlad', photographs, '--model', tmp_path / 'base.yaml',
            '--output', tmp_path / 'mine.yaml')
    assert load_model(tmp_path / 'mine.yaml', 'cpu').describer.dim == 8


@pytest.mark.parametrize(('arguments', 'message'), [
    (('--model', 'hog'), 'model hog has hog, expected a network with netvlad or vlad pooling'),
    (('--model', 'resnet18-gem'), 'model resnet18-gem has gem, expected'),
    (('--model', 'netvlad-seqnet'), 'has a SeqNet trained on other frame descriptors'),
    (('--model', 'netvlad-vgg16'),
     "has no separate weights of vgg16: pass trunk weights in torchvision's layout"),
    (('--trunk-weights', 'other.safetensors'),
     'found backbone.0.0.bias, expected backbone.0.0.weight, backbone.0.1.weight, '),
    (('--trunk-weights', 'absent.pth'), 'absent.pth'),
    (('--wpca-dim', '20'),
     '20 images cannot give a whitening of 20 dimensions, expected more images than dimensions'),
    (('--images', '8'), '8 images cannot give a whitening of 8 dimensions'),
    (('--wpca-dim', '97'), 'wpca_dim is 97, expected at most the 96 values'),
    (('--clusters', '0'), 'clusters'),
    (('--output', 'mine.txt'), 'expected a file ending in .yaml'),
    (('--output', 'other.yaml'), 'other.safetensors exists, expected a new file'),
])
def test_refusals(arguments: tuple[str, ...], message: str, base: Path, photographs: Path,
                  trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({'features.0.0.bias': torch.zeros(1)}, 'other.safetensors')
    before = sorted(path.name for path in tmp_path.iterdir())
    usual = {'--model': str(base), '--trunk-weights': str(trunk), '--output': 'mine.yaml'}
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    if given.get('--model') == 'netvlad-vgg16':
        del usual['--trunk-weights']
    words = [word for pair in (usual | given).items() for word in pair]
    assert message in refusal('models', 'fit-netvlad', photographs, *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_damaged_images_are_skipped_counted_and_named(
        base: Path, photographs: Path, trunk: Path, tmp_path: Path) -> None:
    (photographs / 'zz.jpg').write_bytes(b'no image')
    result = succeed('models', 'fit-netvlad', photographs, '--model', base, '--trunk-weights',
                     trunk, '--output', tmp_path / 'mine.yaml')
    assert '1 of 21 images cannot be read and were skipped: ' in result.stderr
    assert 'zz.jpg' in result.stderr
    assert 'images         20' in result.stdout


def test_too_few_readable_images_leave_nothing(base: Path, trunk: Path, tmp_path: Path) -> None:
    images, output = tmp_path / 'images', tmp_path / 'out'
    images.mkdir()
    random = np.random.default_rng(0)
    for number in range(12):
        cv2.imwrite(str(images / f'{number}.png'), random.integers(0, 255, (64, 96, 3), np.uint8))
    for readable, words in ((5, '5 images cannot give a whitening of 8 dimensions'),
                            (0, '12 of 12 cannot be read')):
        for number in range(readable, 12):
            (images / f'{number}.png').write_bytes(b'no image')
        assert words in refusal('models', 'fit-netvlad', images, '--model', base,
                                '--trunk-weights', trunk, '--output', output / 'mine.yaml')
        assert not output.exists() or not list(output.iterdir())


def test_images_without_texture_are_refused(base: Path, trunk: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'grey'
    folder.mkdir()
    for number in range(10):
        cv2.imwrite(str(folder / f'{number}.png'), np.full((8, 8, 3), 128, np.uint8))
    message = refusal('models', 'fit-netvlad', folder, '--model', base, '--trunk-weights', trunk,
                      '--output', tmp_path / 'mine.yaml')
    assert 'identical' in message or 'span only 0 dimensions' in message


@pytest.mark.slow
def test_clusters_of_photographs_find_more_places_than_random_ones(
        shared_data: Path, trunk: Path) -> None:
    """Day left against day right of a campus path, clusters of another part of it."""
    folder = image_set(shared_data, 'gardens_point')
    values = small_model(image={'height': 224, 'width': 224, 'mean': [128 / 255] * 3,
                                'std': [128 / 255] * 3},
                         weights={'path': str(trunk), 'layout': 'torchvision'})
    values['frame'] |= {'layer': 14, 'pooling': {'kind': 'cells'}}
    describer = build_describer(checked(values).model, CPU)
    assert isinstance(describer, NetworkDescriber)

    def photographs(name: str, rows: slice) -> list[np.ndarray]:
        return [read_image(path) for path in list_images(folder / name)[rows]]

    def recall(layer: NetVLAD) -> float:
        with torch.inference_mode():
            left, right = (layer(torch.from_numpy(maps)).numpy() for maps in (map_left, map_right))
        nearest = (right @ left.T).argmax(axis=1)
        return float((np.abs(nearest - np.arange(len(nearest))) <= 2).mean())

    features = normalize_rows(local_features(
        describer, photographs('day_left', slice(0, 50)), 100, np.random.default_rng(0)))
    centroids = cluster(features, 16, 0)
    weight, _ = soft_assignment(centroids, features, bias=False)
    map_left, map_right = (
        np.concatenate([describer.maps(images[start: start + 8]) for start in range(0, 100, 8)])
        for images in (photographs(name, slice(100, 200)) for name in ('day_left', 'day_right')))
    fitted = NetVLAD(16, 96)
    fitted.load_state_dict({'centroids': torch.from_numpy(centroids),
                            'conv.weight': torch.from_numpy(weight)[:, :, None, None]})
    untrained = []
    for seed in range(3):
        torch.manual_seed(seed)
        untrained.append(recall(NetVLAD(16, 96)))
    assert recall(fitted) >= max(untrained) + 0.04, untrained


# --- VLAD on DINOv2 ------------------------------------------------------------------------------


def test_clusters_by_angle_are_the_means_of_their_features() -> None:
    random = np.random.default_rng(0)
    angles = np.concatenate([random.normal(angle, 0.1, 50) for angle in (0, 2, 4)])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    centers = cluster_by_angle(features, 3, 0)
    expected = [features[start:start + 50].mean(axis=0) for start in (0, 50, 100)]
    order = np.argsort(np.arctan2(centers[:, 1], centers[:, 0]) % 6.1)
    np.testing.assert_allclose(centers[order], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(centers, cluster_by_angle(features, 3, 0))


@pytest.fixture
def dinov2(tmp_path: Path) -> Path:
    """A file in the layout of Meta's DINOv2, small weights, with the tensor that nothing reads."""
    torch.manual_seed(0)
    config = checked({'image': {'height': 56, 'width': 84}, 'weights': {'random': True},
                      'frame': {'kind': 'network', 'backbone': 'vit_small_patch14_dinov2',
                                'layer': 3, 'pooling': {'kind': 'cells'}}}).model
    state = FrameNetwork(config.frame, config.image).state_dict()
    path = tmp_path / 'dinov2.safetensors'
    save_file({name.removeprefix('backbone.'): tensor for name, tensor in state.items()}
              | {'mask_token': torch.zeros(1, 384)}, path)
    return path


@pytest.mark.parametrize('dim', [None, 8])
def test_a_vlad_is_fitted_to_own_images(
        dim: int | None, photographs: Path, dinov2: Path, tmp_path: Path) -> None:
    base = tmp_path / 'base.yaml'
    base.write_text(yaml.safe_dump({
        'image': {'height': 56, 'width': 84}, 'sequence': {'length': 3},
        'weights': {'path': dinov2.name, 'layout': 'dinov2'},
        'frame': {'kind': 'network', 'backbone': 'vit_small_patch14_dinov2', 'layer': 2,
                  'facet': 'value', 'pooling': {'kind': 'vlad', 'clusters': 4}}}))
    with pytest.raises(ModelError, match=r'no clusters yet.*`seqnet_ros models fit-vlad`'):
        load_model(base, 'cpu')
    shown = succeed('models', 'fit-vlad', photographs, '--model', base,
                    *(() if dim is None else ('--wpca-dim', dim)),
                    '--output', tmp_path / 'mine.yaml').stdout
    assert 'images         20' in shown or 'images       20' in shown
    model = load_model(tmp_path / 'mine.yaml', 'cpu')
    assert model.describer.dim == (4 * 384 if dim is None else dim)
    assert 'VLAD on vit_small_patch14_dinov2' in model.config.description
    vectors = model.describer.describe([read_image(path) for path in list_images(photographs)])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.triu(vectors @ vectors.T, 1).max() < 0.999
    # The clusters are in use: each has images of its own.
    if dim is None:
        parts = np.linalg.norm(vectors.reshape(len(vectors), 4, 384), axis=2)
        assert (parts.max(axis=0) > 0.1).all()


def test_a_vlad_of_a_model_without_one_is_refused(photographs: Path, tmp_path: Path) -> None:
    message = refusal('models', 'fit-vlad', photographs, '--model', 'megaloc',
                      '--output', tmp_path / 'mine.yaml')
    assert 'model megaloc has salad, expected a network with netvlad or vlad pooling' in message
