"""Poolings and trunks against published implementations' numbers and against torchvision."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from pydantic import TypeAdapter

from seqnet_ros.config.model import AggregatorConfig, ImageConfig
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.backbones import build_trunk, map_shape
from seqnet_ros.descriptors.frame_network import FrameNetwork, network_dim
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.descriptors.pooling import (
    MAC,
    RMAC,
    Cells,
    GeM,
    L2Norm,
    NetVLAD,
    SPoC,
    VladSums,
    build_pooling,
    square_regions,
)
from seqnet_ros.sequences.aggregators import build_aggregator

GOLDEN = Path(__file__).resolve().parents[4] / 'shared' / 'golden' / 'jist'
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason=f'golden vectors of JIST are not at {GOLDEN}')


def network_config(**values) -> NetworkConfig:
    return TypeAdapter(NetworkConfig).validate_python(values)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


@needs_golden
@pytest.mark.parametrize(('origin', 'own_centroids', 'normalise_input'), [
    ('vg', False, True), ('pnv', False, True), ('patch', False, True),
    ('pnv_v2', True, True), ('patch_v2', True, True), ('pnv_nonorm', True, False)])
def test_netvlad_equals_the_reference(origin, own_centroids, normalise_input):
    golden = np.load(GOLDEN / 'aggregators' / 'netvlad.npz')
    weight = golden[f'{origin}_conv_weight']
    bias = golden.get(f'{origin}_conv_bias')
    layer = NetVLAD(*weight.shape, bias=bias is not None, normalise_input=normalise_input)
    state = {
        'conv.weight': tensor(weight)[:, :, None, None],
        'centroids': tensor(golden[f'{origin}_centroids' if own_centroids else 'centroids'])}
    if bias is not None:
        state['conv.bias'] = tensor(bias)
    layer.load_state_dict(state)
    with torch.inference_mode():
        result = layer(tensor(golden['x']))
    np.testing.assert_allclose(result.numpy(), golden[f'{origin}_y'], rtol=0, atol=5e-6)


def seqvlad(x: np.ndarray, weight: np.ndarray, centroids: np.ndarray, batch: int,
            normalise_input: bool = True) -> np.ndarray:
    """Describe every frame by itself, then add them up."""
    layer = VladSums(*centroids.shape, normalise_input=normalise_input)
    layer.load_state_dict({
        'conv.weight': tensor(weight).reshape(*centroids.shape, 1, 1),
        'centroids': tensor(centroids)})
    config = AggregatorConfig(aggregator='seqvlad')
    aggregator = build_aggregator(config, 1, centroids.size, clusters=len(centroids))
    with torch.inference_mode():
        return aggregator(layer(tensor(x)).unflatten(0, (batch, -1))).numpy()


@needs_golden
@pytest.mark.parametrize('length', [1, 3, 5])
@pytest.mark.parametrize('kind', ['map', 'tok'])
def test_seqvlad_equals_the_reference(kind, length):
    golden = np.load(GOLDEN / 'aggregators' / 'seqvlad.npz')
    x = golden[f'x_{kind}_L{length}']
    if kind == 'tok':
        x = x.swapaxes(1, 2)[..., None]
    found = seqvlad(x, golden[f'conv_weight_{kind}'], golden['centroids'], 2)
    np.testing.assert_allclose(found, golden[f'y_{kind}_L{length}'], rtol=0, atol=5e-6)


@needs_golden
@pytest.mark.parametrize('kind', ['free', 'nonorm'])
def test_seqvlad_with_free_clusters_equals_the_reference(kind):
    golden = np.load(GOLDEN / 'aggregators' / 'seqvlad.npz')
    found = seqvlad(golden[f'{kind}_x'], golden[f'{kind}_conv_weight'],
                    golden[f'{kind}_centroids'], 2, normalise_input=kind != 'nonorm')
    np.testing.assert_allclose(found, golden[f'{kind}_y'], rtol=0, atol=5e-6)


def test_seqvlad_of_one_frame_is_netvlad():
    torch.manual_seed(0)
    sums, netvlad = VladSums(5, 7), NetVLAD(5, 7)
    netvlad.load_state_dict(sums.state_dict())
    aggregator = build_aggregator(AggregatorConfig(aggregator='seqvlad'), 1, 35, clusters=5)
    x = torch.randn(3, 7, 4, 6)
    torch.testing.assert_close(aggregator(sums(x)[:, None]), netvlad(x), rtol=0, atol=1e-6)
    with pytest.raises(ModelError, match='seqvlad needs frames described by vlad_sums'):
        build_aggregator(AggregatorConfig(aggregator='seqvlad'), 1, 35)


def test_netvlad_equals_the_sum_over_residuals():
    torch.manual_seed(0)
    layer = NetVLAD(5, 7, bias=True)
    x = torch.randn(2, 7, 3, 4)
    local = torch.nn.functional.normalize(x, dim=1)
    assignment = layer.conv(local).softmax(dim=1)
    residual = local[:, None] - layer.centroids[None, :, :, None, None]
    vlad = (assignment[:, :, None] * residual).sum(dim=(3, 4))
    vlad = torch.nn.functional.normalize(vlad, dim=2).flatten(1)
    expected = torch.nn.functional.normalize(vlad, dim=1)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-6)


@needs_golden
@pytest.mark.parametrize('index', [0, 1, 2])
@pytest.mark.parametrize(('p', 'name'), [(3.0, 'gem_p3'), (4.25, 'gem_p4_25')])
def test_gem_equals_the_reference(index, p, name):
    golden = np.load(GOLDEN / 'aggregators' / 'pooling.npz')
    pooling = torch.nn.Sequential(L2Norm(), GeM(p), torch.nn.Flatten())
    with torch.inference_mode():
        result = pooling(tensor(golden[f'x_{index}']))
    np.testing.assert_allclose(result.numpy(), golden[f'{name}_{index}'], rtol=0, atol=2e-6)


@needs_golden
@pytest.mark.parametrize('index', [0, 1, 2])
@pytest.mark.parametrize('kind', ['spoc', 'mac', 'rmac'])
def test_plain_poolings_equal_the_reference(kind, index):
    golden = np.load(GOLDEN / 'aggregators' / 'pooling.npz')
    x = tensor(golden[f'x_{index}'])
    config = network_config(pooling={'kind': kind, 'normalise': False})
    pooling, dim = build_pooling(config, tuple(x.shape[1:]))
    with torch.inference_mode():
        result = pooling(x)
    assert result.shape[1] == dim
    np.testing.assert_allclose(result.numpy(), golden[f'{kind}_{index}'], rtol=0, atol=2e-6)


def test_plain_poolings_of_a_map_with_one_bright_cell():
    x = torch.zeros(1, 2, 4, 6)
    x[0, 0, 1, 2] = 3.0
    assert SPoC()(x).flatten().tolist() == [3 / 24, 0]
    assert MAC()(x).flatten().tolist() == [3, 0]
    hit = sum(top <= 1 < top + edge and left <= 2 < left + edge
              for top, left, edge in square_regions(4, 6, 3))
    torch.testing.assert_close(
        RMAC()(x).flatten(), torch.tensor([1.0 + hit, 0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(('height', 'width', 'counts'), [
    (15, 20, [(1, 2), (2, 3), (3, 4)]), (20, 15, [(2, 1), (3, 2), (4, 3)]),
    (12, 12, [(1, 1), (2, 2), (3, 3)]), (6, 60, [(1, 7), (2, 8), (3, 9)])])
def test_regions_lie_in_the_map_and_cover_it(height, width, counts):
    regions = square_regions(height, width, 3)
    assert len(regions) == sum(rows * columns for rows, columns in counts)
    edges = sorted({edge for _, _, edge in regions}, reverse=True)
    assert edges == [2 * min(height, width) // (level + 1) for level in (1, 2, 3)]
    for top, left, edge in regions:
        assert 0 <= top <= height - edge
        assert 0 <= left <= width - edge
    for edge in edges:
        assert max(top for top, _, e in regions if e == edge) == height - edge
        assert max(left for _, left, e in regions if e == edge) == width - edge


def test_maps_of_a_single_cell_have_regions():
    assert square_regions(1, 1, 3) == [(0, 0, 1)]
    found = RMAC()(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1))
    assert found.flatten().tolist() == pytest.approx([1.2, 1.6])


def test_gem_exponent_is_learnable_and_one_is_the_mean():
    layer = GeM(1.0)
    x = torch.rand(2, 3, 4, 5) + 0.1
    result = layer(x)
    torch.testing.assert_close(result, x.mean(dim=(2, 3), keepdim=True))
    result.sum().backward()
    assert layer.p.grad.abs().item() > 0


def test_cells_are_one_after_the_other_with_equal_weight():
    x = torch.zeros(1, 3, 1, 2)
    x[0, :, 0, 0] = torch.tensor([0.0, 5.0, 0.0])
    x[0, :, 0, 1] = torch.tensor([0.1, 0.0, 0.0])
    half = 2 ** -0.5
    torch.testing.assert_close(
        Cells()(x), torch.tensor([[0.0, half, 0.0, half, 0.0, 0.0]]))


def test_larger_cells_are_means_of_equal_weight():
    maps = torch.zeros(1, 2, 4, 3)
    maps[0, :, :2, 0] = torch.tensor([[1.0, 3.0], [0.0, 2.0]])
    maps[0, :, 2:, 2] = 5.0
    found = Cells((2, 3))(maps)[0].view(2, 3, 2)
    corner = torch.tensor([2.0, 1.0])  # the means of both channels
    torch.testing.assert_close(found[0, 0], corner / corner.norm() / 2 ** 0.5)
    torch.testing.assert_close(found[1, 2], torch.full((2,), 0.5))
    assert found.count_nonzero() == 4


def test_a_grid_finer_than_the_map_is_refused():
    config = network_config(backbone='mobilenet_v2', layer=18,
                            pooling={'kind': 'cells', 'grid': [3, 8]})
    with pytest.raises(ModelError, match=r'grid \[3, 8\], expected at most the \[7, 7\] cells'):
        build_pooling(config, (320, 7, 7))
    assert build_pooling(config, (320, 8, 8))[1] == 3 * 8 * 320


def test_cells_of_a_blank_map_are_zeros():
    assert Cells()(torch.zeros(1, 3, 2, 2)).eq(0).all()


@pytest.mark.parametrize('backbone', ['resnet18', 'resnet50'])
def test_resnet_trunk_is_torchvisions_without_its_head(backbone):
    trunk = build_trunk(network_config(backbone=backbone)).eval()
    reference = getattr(torchvision.models, backbone)(weights=None).eval()
    names = ('conv1', 'bn1', 'relu', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4')
    for index, name in enumerate(names):
        trunk[index].load_state_dict(getattr(reference, name).state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        pooled = trunk(x).mean(dim=(2, 3))
        torch.testing.assert_close(reference.fc(pooled), reference(x))


def test_vgg16_trunk_ends_before_the_last_relu_and_pool():
    trunk = build_trunk(network_config(backbone='vgg16'))
    with torch.device('meta'):
        reference = torchvision.models.vgg16(weights=None).features[:-2]
    assert {k: v.shape for k, v in trunk.state_dict().items()} == {
        k: v.shape for k, v in reference.state_dict().items()}
    assert [type(m) for m in trunk] == [type(m) for m in reference]
    assert isinstance(trunk[-1], torch.nn.Conv2d)


@pytest.mark.parametrize(('backbone', 'layer', 'expected'), [
    ('resnet18', None, (512, 3, 4)), ('resnet18', 3, (256, 6, 8)), ('resnet50', 4, (2048, 3, 4)),
    ('resnet101', None, (2048, 3, 4)), ('resnet152', 1, (256, 24, 32)),
    ('vgg16', None, (512, 6, 8)), ('mobilenet_v2', 18, (320, 3, 4)),
    ('mobilenet_v2', None, (1280, 3, 4))])
def test_cut_decides_the_map(backbone, layer, expected):
    config = network_config(backbone=backbone, layer=layer)
    assert map_shape(config, ImageConfig(height=96, width=128)) == expected


def test_layer_beyond_the_network_is_refused():
    with pytest.raises(ModelError, match='resnet18 has layers 1 to 4, found layer 5'):
        build_trunk(network_config(backbone='resnet18', layer=5))


def test_image_too_small_for_the_trunk_is_refused():
    with pytest.raises(ModelError, match='8x8 is too small for vgg16'):
        map_shape(network_config(backbone='vgg16'), ImageConfig(height=8, width=8))


@pytest.mark.parametrize('pooling', [
    {'kind': 'gem'}, {'kind': 'gem', 'fc_dim': 24}, {'kind': 'cells'},
    {'kind': 'spoc'}, {'kind': 'mac'}, {'kind': 'rmac'},
    {'kind': 'netvlad', 'clusters': 4}, {'kind': 'netvlad', 'clusters': 4, 'wpca_dim': 16}])
def test_dim_is_known_without_weights_and_rows_are_unit(pooling):
    config = network_config(backbone='mobilenet_v2', layer=7, pooling=pooling)
    image = ImageConfig(height=64, width=96)
    network = FrameNetwork(config, image).eval()
    with torch.inference_mode():
        vectors = network(torch.rand(2, 3, 64, 96))
    assert vectors.shape == (2, network.dim)
    assert network_dim(config, image) == network.dim
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))


def test_network_names_its_tensors_like_cosplace():
    config = network_config(pooling={'kind': 'gem', 'fc_dim': 512})
    with torch.device('meta'):
        network = FrameNetwork(config, ImageConfig(height=480, width=640))
    names = [name for name in network.state_dict() if name.startswith('aggregation')]
    assert names == ['aggregation.1.p', 'aggregation.3.weight', 'aggregation.3.bias']


@needs_golden
def test_network_has_exactly_the_tensors_of_jist():
    entries = json.loads((GOLDEN / 'network' / 'state_dict_keys.json').read_text())
    config = network_config(pooling={'kind': 'gem', 'fc_dim': 512})
    with torch.device('meta'):
        state = FrameNetwork(config, ImageConfig(height=480, width=640)).state_dict()
    expected = {name: list(shape) for name, shape, *_ in entries if name.startswith('model.')}
    assert {f'model.{name}': list(t.shape) for name, t in state.items()} == expected
