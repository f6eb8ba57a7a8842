"""DINOv2, SALAD, MegaLoc, BoQ and EigenPlaces: the numbers of the authors' code, and strict files.

The reference vectors belong to weights that are made from the names of the tensors.
"""

import functools
import json
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from seqnet_ros.config.model import ImageConfig, ModelConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.boq import BoQ
from seqnet_ros.descriptors.describer import build_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.descriptors.salad import Salad
from seqnet_ros.descriptors.vision_transformer import resize_positions
from seqnet_ros.descriptors.vlad import Vlad
from seqnet_ros.descriptors.weights import load_strictly, read_tensors, translate
from seqnet_ros.models.place_model import load_preset

CPU = select_device('cpu')
DESCRIPTOR, POSITIONS, MOMENTS, OTHERS = 1e-6, 1e-6, 2e-6, 2e-5

MODELS = {
    'megaloc': 'megaloc', 'dinov2_salad': 'dinov2-salad', 'boq_dinov2_12288': 'boq-dinov2',
    'boq_resnet50_16384': 'boq-resnet50', 'eigenplaces_resnet18_512': 'eigenplaces-resnet18-512',
    'eigenplaces_resnet50_2048': 'eigenplaces-resnet50-2048'}
CASES = [
    pytest.param('megaloc', '322x322', marks=pytest.mark.slow),
    pytest.param('megaloc', '224x224', marks=pytest.mark.slow),
    pytest.param('megaloc', '238x406', marks=pytest.mark.slow),
    pytest.param('dinov2_salad', '322x322', marks=pytest.mark.slow),
    pytest.param('boq_dinov2_12288', '322x322', marks=pytest.mark.slow),
    ('dinov2_salad', '224x224'), ('boq_resnet50_16384', '384x384'),
    ('eigenplaces_resnet18_512', '480x640'), ('eigenplaces_resnet50_2048', '320x320')]


# The reference vectors -------------------------------------------------------------------------

def named_tensor(name: str, shape: list[int], salt: str) -> np.ndarray:
    """Make the weights of a tensor from its name, by the rules of the reference vectors."""
    if name.endswith('num_batches_tracked'):
        return np.zeros(shape, np.int64)
    random = np.random.Generator(np.random.PCG64(zlib.crc32((salt + name).encode())))
    normal = random.standard_normal(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    scale, offset = 0.5, 0.0
    if name.endswith('running_var'):
        normal, scale, offset = np.abs(normal), 0.1, 1
    elif name.endswith(('running_mean', 'bias')):
        scale = 0.02
    elif name.endswith('gamma'):
        scale, offset = 0.1, 0.3
    elif name.endswith(('dust_bin', '.p')):
        scale, offset = 0.1, 3 if name.endswith('.p') else 1
    elif name.endswith('score.3.weight'):
        scale = 0.2
    elif name.endswith('weight'):
        scale = max(0.02, 1 / np.sqrt(np.prod(shape[1:])))
        if len(shape) == 1:
            scale, offset = 0.02, 1
    values = normal * np.float32(scale)
    if offset:  # adding 0 would turn -0 into 0
        values = values + np.float32(offset)
    return np.asarray(values, np.float32).reshape(shape)


def reference_image(seed: int, height: int, width: int) -> np.ndarray:
    random = np.random.Generator(np.random.PCG64(seed))
    coarse = random.integers(0, 256, (-(-height // 32), -(-width // 32), 3), dtype=np.uint8)
    fine = random.integers(0, 64, (height, width, 3), dtype=np.uint8)
    blocks = np.repeat(np.repeat(coarse, 32, 0), 32, 1)[:height, :width]
    return blocks // 4 * 3 + fine


@functools.lru_cache(maxsize=1)
def published(folder: Path) -> dict[str, Tensor]:
    """Make the tensors of a published file under its names, and check them."""
    salt = json.loads((folder.parent / 'cases.json').read_text())['salt']
    tensors = {}
    for entry in json.loads((folder / 'names.json').read_text()):
        array = named_tensor(entry['name'], entry['shape'], salt)
        assert zlib.crc32(array.tobytes()) == entry['crc32'], entry['name']
        tensors[entry['name']] = torch.from_numpy(array)
    return tensors


def with_size(name: str, height: int, width: int) -> ModelConfig:
    config = load_preset(MODELS[name])[0].model
    return config.model_copy(update={
        'image': config.image.model_copy(update={'height': height, 'width': width})})


@pytest.mark.parametrize(('name', 'size'), CASES)
def test_networks_give_the_numbers_of_their_authors(name, size, shared_golden):
    folder = shared_golden / 'modern' / name
    expected = np.load(folder / f'{size}.npz')
    height, width = map(int, size.split('x'))
    config = with_size(name, height, width)
    with torch.device('meta'):
        network = FrameNetwork(config.frame, config.image)
    load_strictly(network, translate(published(folder), config.weights.layout).frame, name)
    network = network.eval()
    for number, seed in enumerate(expected['seed']):
        pixels = reference_image(int(seed), height, width).astype(np.float32) / np.float32(255)
        pixels = (pixels - np.float32(config.image.mean)) / np.float32(config.image.std)
        with torch.inference_mode():
            trunk = network.backbone(torch.from_numpy(pixels.transpose(2, 0, 1)[None]))
            found = network.aggregation(trunk)[0].numpy()
            pooled = network.aggregation[0](trunk)[0].numpy()
        trunk_map = trunk[0].numpy()
        if 'cls_first' in expected:
            np.testing.assert_allclose(
                trunk_map[:16, 0, 0], expected['cls_first'][number], rtol=0, atol=OTHERS)
            trunk_map = trunk_map[:, 0, 1:].reshape(-1, height // 14, width // 14)
        for corner, row, column in (
                ('first', 0, 0), ('right', 0, 1), ('below', 1, 0), ('last', -1, -1)):
            np.testing.assert_allclose(trunk_map[:16, row, column],
                                       expected[f'trunk_{corner}'][number], rtol=0, atol=OTHERS)
        assert abs(trunk_map.mean() - expected['trunk_mean'][number]) <= MOMENTS
        assert abs(trunk_map.std() - expected['trunk_std'][number]) <= MOMENTS
        if 'pool_first' in expected:
            for key, part in (('pool_first', pooled[:16]), ('pool_cluster_first', pooled[256:272])):
                np.testing.assert_allclose(part, expected[key][number], rtol=0, atol=POSITIONS)
        np.testing.assert_allclose(found, expected['descriptor'][number], rtol=0, atol=DESCRIPTOR)
    if 'pos_first' in expected:
        positions = resize_positions(network.backbone.pos_embed, height // 14, width // 14)
        grid = positions[0, 1:].detach().unflatten(0, (height // 14, width // 14)).numpy()
        for corner, row, column in (
                ('first', 0, 0), ('right', 0, 1), ('below', 1, 0), ('last', -1, -1)):
            np.testing.assert_allclose(
                grid[row, column, :16], expected[f'pos_{corner}'], rtol=0, atol=POSITIONS)


# Formulas --------------------------------------------------------------------------------------

def cubic(distance: float) -> float:
    """Return the weight of Keys' cubic kernel with a = -0.75."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


def interpolation(size: int) -> np.ndarray:
    """Return the matrix [size, 37] that resizes one side, sample by sample."""
    matrix = np.zeros((size, 37))
    for sample in range(size):
        position = (sample + 0.5) / ((size + 0.1) / 37) - 0.5
        start = int(np.floor(position)) - 1
        for source in range(start, start + 4):
            matrix[sample, min(36, max(0, source))] += cubic(position - source)
    return matrix


@pytest.mark.parametrize(('rows', 'columns'), [(23, 23), (16, 16), (17, 29), (45, 40)])
def test_positions_are_sampled_bicubically_by_scale_factors(rows, columns):
    embedding = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1370, 3), np.float32))
    found = resize_positions(embedding, rows, columns)[0].numpy()
    grid = embedding[0, 1:].numpy().reshape(37, 37, 3)
    expected = np.einsum('ri,cj,ijd->rcd', interpolation(rows), interpolation(columns), grid)
    np.testing.assert_allclose(found[1:], expected.reshape(-1, 3), rtol=0, atol=2e-5)
    np.testing.assert_array_equal(found[0], embedding[0, 0].numpy())


def test_positions_of_the_trained_size_are_unchanged():
    embedding = torch.randn(1, 1370, 3)
    assert resize_positions(embedding, 37, 37) is embedding
    assert not torch.equal(resize_positions(embedding, 37, 36)[:, :37], embedding[:, :37])


def literal_salad(salad: Salad, x: np.ndarray) -> np.ndarray:
    """Pool one image [C, 1 + P] as the formulas say, one number after the other, in float64."""
    state = {name: tensor.double().numpy() for name, tensor in salad.state_dict().items()}

    def layers(name: str, second: int, features: np.ndarray) -> np.ndarray:
        first, last = (state[f'{name}.{index}.weight'].reshape(len(state[f'{name}.{index}.bias']),
                                                               -1) for index in (0, second))
        hidden = np.maximum(first @ features + state[f'{name}.0.bias'][:, None], 0)
        return last @ hidden + state[f'{name}.{second}.bias'][:, None]

    token, patches = x[:, :1], x[:, 1:]
    features, scores = layers('cluster_features', 3, patches), layers('score', 3, patches)
    clusters, count = scores.shape
    costs = np.vstack([scores, np.full((1, count), state['dust_bin'])])
    unit = -np.log(count + clusters)
    rows = np.full(clusters + 1, unit)
    rows[-1] += np.log(count - clusters)
    u, v = np.zeros(clusters + 1), np.zeros(count)
    for _ in range(3):
        for i in range(clusters + 1):
            u[i] = rows[i] - np.log(np.sum(np.exp(costs[i] + v)))
        for j in range(count):
            v[j] = unit - np.log(np.sum(np.exp(costs[:, j] + u)))
    values = np.zeros((len(features), clusters))
    for i in range(clusters):
        for j in range(count):
            values[:, i] += features[:, j] * np.exp(costs[i, j] + u[i] + v[j] - unit)
        values[:, i] /= np.linalg.norm(values[:, i])
    class_part = layers('token_features', 2, token)[:, 0]
    vector = np.concatenate([class_part / np.linalg.norm(class_part), values.ravel()])
    return vector / np.linalg.norm(vector)


def test_salad_follows_its_formulas():
    torch.manual_seed(0)
    salad = Salad(channels=12, patches=9, clusters=5, cluster_dim=4, token_dim=6).eval()
    x = torch.randn(2, 12, 1, 10)
    with torch.inference_mode():
        found = salad(x).numpy()
    assert found.shape == (2, salad.dim) == (2, 26)
    for image, vector in zip(x[:, :, 0].double().numpy(), found, strict=True):
        np.testing.assert_allclose(vector, literal_salad(salad, image), rtol=0, atol=1e-6)


def test_salad_needs_more_patches_than_clusters():
    frame = NetworkConfig(backbone='vit_small_patch14_dinov2', pooling={'kind': 'salad'})
    with pytest.raises(ModelError, match='64 patches, expected more than the 64 clusters'):
        frame.dim(ImageConfig(height=112, width=112))
    assert frame.dim(ImageConfig(height=112, width=126)) == 256 + 64 * 128


def test_boq_follows_its_formulas():
    torch.manual_seed(0)
    boq = BoQ(channels=6, width=64, queries=3, layers=2, rows=4).eval()
    for parameter in boq.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x = torch.randn(1, 6, 4, 5)
    with torch.inference_mode():
        found = boq(x)[0].double().numpy()
    expected = literal_boq({k: v.double().numpy() for k, v in boq.state_dict().items()},
                           x[0].double().numpy())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def literal_boq(state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Pool one map [C, H, W] with one head, in float64."""
    def norm(values: np.ndarray, name: str) -> np.ndarray:
        centred = values - values.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred ** 2).mean(axis=1, keepdims=True) + 1e-5)
        return scaled * state[f'{name}.weight'] + state[f'{name}.bias']

    def attend(query: np.ndarray, key: np.ndarray, name: str) -> np.ndarray:
        q, k, v = (source @ weight.T + bias for source, weight, bias in zip(
            (query, key, key), np.split(state[f'{name}.in_proj_weight'], 3),
            np.split(state[f'{name}.in_proj_bias'], 3), strict=True))
        shares = np.exp(q @ k.T / 8)
        shares /= shares.sum(axis=1, keepdims=True)
        return shares @ v @ state[f'{name}.out_proj.weight'].T + state[f'{name}.out_proj.bias']

    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[1:]
    tokens = np.stack([
        np.tensordot(state['proj_c.weight'], padded[:, row:row + 3, column:column + 3], 3)
        + state['proj_c.bias'] for row in range(height) for column in range(width)])
    tokens = norm(tokens, 'norm_input')
    outputs = []
    for layer in ('boqs.0', 'boqs.1'):
        encoder = f'{layer}.encoder'
        tokens = norm(tokens + attend(tokens, tokens, f'{encoder}.self_attn'), f'{encoder}.norm1')
        hidden = np.maximum(tokens @ state[f'{encoder}.linear1.weight'].T
                            + state[f'{encoder}.linear1.bias'], 0)
        hidden = hidden @ state[f'{encoder}.linear2.weight'].T + state[f'{encoder}.linear2.bias']
        tokens = norm(tokens + hidden, f'{encoder}.norm2')
        queries = state[f'{layer}.queries'][0]
        queries = norm(queries + attend(queries, queries, f'{layer}.self_attn'), f'{layer}.norm_q')
        outputs.append(norm(attend(queries, tokens, f'{layer}.cross_attn'), f'{layer}.norm_out'))
    vector = (np.concatenate(outputs).T @ state['fc.weight'].T + state['fc.bias']).ravel()
    return vector / np.linalg.norm(vector)


def test_vlad_sums_residuals_of_the_nearest_cluster_by_angle():
    vlad = Vlad(clusters=2, channels=2)
    vlad.centroids.data = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
    # Unit vectors (1, 0), (.8, .6) and (.6, .8): the first two belong to the first cluster.
    features = torch.tensor([[3.0, 8.0, 0.6], [0.0, 6.0, 0.8]]).reshape(1, 2, 1, 3)
    first, second = np.array([1.8 - 4, 0.6]), np.array([0.6, 0.8 - 0.5])
    expected = np.concatenate([v / np.linalg.norm(v) for v in (first, second)]) / np.sqrt(2)
    with torch.inference_mode():
        np.testing.assert_allclose(vlad(features)[0].numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.skipif(find_spec('openvino') is None, reason='openvino is not installed')
@pytest.mark.parametrize('frame', [
    {'final_norm': True, 'pooling': {'kind': 'salad', 'clusters': 12}},
    {'facet': 'value', 'pooling': {'kind': 'vlad'}},
    {'pooling': {'kind': 'boq', 'width': 64}}])
def test_openvino_runs_the_trunk(frame):
    config = parse_preset({
        'image': {'height': 70, 'width': 84}, 'weights': {'random': True}, 'frame': {
            'kind': 'network', 'backbone': 'vit_small_patch14_dinov2', 'layer': 2, **frame}}).model
    images = [reference_image(seed, 70, 84) for seed in range(2)]
    expected, found = (build_describer(config, select_device(device)).describe(images)
                       for device in ('cpu', 'openvino'))
    assert (found * expected).sum(axis=1).min() > 0.999


# Settings --------------------------------------------------------------------------------------

@pytest.mark.parametrize(('frame', 'words'), [
    ({'backbone': 'resnet18', 'pooling': {'kind': 'salad'}},
     'salad pooling needs the class token of a vision transformer, found backbone resnet18'),
    ({'backbone': 'vgg16', 'facet': 'value'}, 'settings of vision transformers, found backbone'),
    ({'backbone': 'vgg16', 'final_norm': True}, 'settings of vision transformers, found backbone'),
    ({'backbone': 'vit_small_patch14_dinov2', 'facet': 'key', 'final_norm': True},
     'the facet key has neither'),
    ({'backbone': 'vit_small_patch14_dinov2', 'facet': 'key', 'pooling': {'kind': 'salad'}},
     'the facet key has neither'),
    ({'backbone': 'vit_small_patch14_dinov2', 'pooling': {'kind': 'boq', 'width': 100}},
     'multiple of 64')])
def test_settings_that_contradict_each_other_are_refused(frame, words):
    with pytest.raises(ModelError, match=words):
        parse_preset({'frame': {'kind': 'network', **frame}}, 'test')


@pytest.mark.parametrize(('layer', 'height', 'words'), [
    (13, 126, 'vit_small_patch14_dinov2 has layers 1 to 12, found layer 13'),
    (12, 120, 'image 126x120 is not a whole number of patches of 14 pixels')])
def test_transformers_that_cannot_be_built_are_refused(layer, height, words):
    frame = NetworkConfig(backbone='vit_small_patch14_dinov2', layer=layer)
    with pytest.raises(ModelError, match=words):
        frame.dim(ImageConfig(height=height, width=126))


def test_new_settings_leave_earlier_models_as_they_were():
    dumped = NetworkConfig().model_dump()
    assert dumped.keys() == {'kind', 'backbone', 'layer', 'pooling'}
    assert ImageConfig().model_dump().keys() == {'height', 'width', 'mean', 'std'}


# Files -----------------------------------------------------------------------------------------

def small(pooling: dict, image: int = 126, **frame) -> ModelConfig:
    """Return a model on the smallest DINOv2, of which one block is kept."""
    weights = frame.pop('weights', {'random': True})
    return parse_preset({
        'name': 'small', 'image': {'height': image, 'width': image}, 'weights': weights,
        'frame': {'kind': 'network', 'backbone': 'vit_small_patch14_dinov2', 'layer': 1,
                  'pooling': pooling, **frame}}, 'test').model


MEGALOC = {'kind': 'salad', 'clusters': 8, 'cluster_dim': 4, 'token_dim': 6, 'fc_dim': 10}
SALAD = {'kind': 'salad', 'clusters': 8, 'cluster_dim': 4, 'token_dim': 6}
BOQ = {'kind': 'boq', 'width': 64, 'queries': 3, 'layers': 2, 'rows': 2}
MASK = {'mask_token': torch.zeros(1, 384)}


def renamed(state: dict[str, Tensor], *pairs: tuple[str, str]) -> dict[str, Tensor]:
    """Rename tensors as in a published file; the first pair that fits counts."""
    def rename(name: str) -> str:
        new = next((new + name.removeprefix(old) for old, new in pairs if name.startswith(old)),
                   None)
        assert new is not None, name
        return new
    return {rename(name): tensor.contiguous() for name, tensor in state.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def as_megaloc(state):
    return renamed(state, ('aggregation.0.', 'aggregator.agg.'),
                   ('aggregation.1.', 'aggregator.linear.'), ('backbone.', 'backbone.'))


def as_first_megaloc(state):
    return renamed(state, ('aggregation.0.', 'aggregator.agg.'),
                   ('aggregation.1.', 'aggregator.linear.'),
                   ('backbone.', 'backbone.model.')) | under('backbone.model.', MASK)


def as_salad(state):
    return renamed(state, ('aggregation.0.', 'aggregator.'),
                   ('backbone.', 'backbone.model.')) | under('backbone.model.', MASK)


def as_boq(state):
    return renamed(state, ('aggregation.0.', 'aggregator.'),
                   ('backbone.', 'backbone.dino.')) | under('backbone.dino.', MASK)


FILES = [
    ('megaloc', MEGALOC, True, as_megaloc), ('megaloc', MEGALOC, True, as_first_megaloc),
    ('salad', SALAD, True, as_salad),
    ('salad', SALAD, True, lambda s: {'epoch': 3, 'state_dict': as_salad(s)}),
    ('boq', BOQ, False, as_boq),
    ('seqnet_ros', MEGALOC, True, lambda s: s)]


@pytest.mark.parametrize(('layout', 'pooling', 'final_norm', 'publish'), FILES)
def test_published_files_give_one_fingerprint_and_are_taken_whole(
        tmp_path, layout, pooling, final_norm, publish):
    reference = build_describer(small(pooling, final_norm=final_norm), CPU)
    config = small(pooling, final_norm=final_norm)
    torch.manual_seed(0)
    network = FrameNetwork(config.frame, config.image)
    path = tmp_path / 'weights.pth'
    config = small(pooling, final_norm=final_norm, weights={'path': str(path), 'layout': layout})
    torch.save(publish(network.state_dict()), path)
    describer = build_describer(config, CPU)
    assert describer.weights_digest == reference.weights_digest
    image = reference_image(0, 126, 126)
    np.testing.assert_array_equal(describer.describe([image]), reference.describe([image]))

    content = publish(network.state_dict())
    tensors = content.get('state_dict', content)
    lost = tensors.pop(next(name for name in tensors if name.endswith('norm.bias')))
    torch.save(content, path)
    with pytest.raises(ModelError, match=r'backbone\.norm\.bias \[384\] is missing'):
        build_describer(config, CPU)
    tensors |= {'backbone.norm.bias' if layout in ('megaloc', 'seqnet_ros') else
                'backbone.dino.norm.bias' if layout == 'boq' else 'backbone.model.norm.bias': lost,
                'backbone.extra': torch.zeros(2)}
    torch.save(content, path)
    with pytest.raises(ModelError, match=r'backbone\.extra \[2\] is not expected'):
        build_describer(config, CPU)


def test_the_fingerprint_does_not_depend_on_the_image_size_of_the_positions():
    """Positions are hashed as they are in the file, not as one machine resized them."""
    digests = {build_describer(small(SALAD, image, final_norm=True), CPU).weights_digest
               for image in (126, 140)}
    assert len(digests) == 1


def test_dinov2_files_fill_the_blocks_that_are_kept(tmp_path):
    whole = small({'kind': 'cells'}, layer=2)
    torch.manual_seed(1)
    state = FrameNetwork(whole.frame, whole.image).state_dict()
    save_file(renamed(state, ('backbone.', '')) | MASK, tmp_path / 'dinov2.safetensors')
    config = small({'kind': 'gem'}, facet='value', weights={
        'path': str(tmp_path / 'dinov2.safetensors'), 'layout': 'dinov2'})
    image = reference_image(1, 126, 126)
    found = build_describer(config, CPU).describe([image])
    expected = FrameNetwork(config.frame, config.image)
    load_strictly(expected, {
        **{name: tensor for name, tensor in state.items() if '.blocks.1.' not in name},
        'aggregation.1.p': torch.tensor([3.0])}, 'test')
    with torch.inference_mode():
        x = torch.from_numpy(image.astype(np.float32) / 255)
        x = ((x - torch.tensor(config.image.mean)) / torch.tensor(config.image.std))
        vector = expected.eval()(x.permute(2, 0, 1)[None])
    np.testing.assert_allclose(found, vector.numpy(), rtol=0, atol=1e-6)


def test_facets_are_the_parts_of_the_attention(tmp_path):
    config = small({'kind': 'cells'})
    torch.manual_seed(0)
    network = FrameNetwork(config.frame, config.image).eval()
    image = torch.randn(1, 3, 126, 126)
    with torch.inference_mode():
        trunk = network.backbone
        tokens = torch.cat([trunk.cls_token, trunk.patch_embed(
            torch.nn.functional.pad(image, (0, 518 - 126, 0, 518 - 126))
        ).unflatten(1, (37, 37))[:, :9, :9].flatten(1, 2)], dim=1)
        tokens = tokens + resize_positions(trunk.pos_embed, 9, 9)
        block = trunk.blocks[0]
        qkv = block.attn.qkv(block.norm1(tokens))[0, 1:]
        for position, facet in enumerate(('query', 'key', 'value')):
            frame = small({'kind': 'cells'}, facet=facet).frame
            part = FrameNetwork(frame, config.image).eval()
            load_strictly(part, network.state_dict(), 'test')
            found = part.backbone(image)[0].flatten(1).T
            torch.testing.assert_close(
                found, qkv[:, 384 * position:384 * (position + 1)], rtol=0, atol=1e-5)


def resnet(pooling: dict, **weights) -> ModelConfig:
    return parse_preset({
        'name': 'test', 'image': {'height': 64, 'width': 64}, 'weights': weights,
        'frame': {'kind': 'network', 'layer': 1, 'pooling': pooling}}, 'test').model


GEM_FC, NETVLAD = {'kind': 'gem', 'fc_dim': 16}, {'kind': 'netvlad', 'clusters': 4}


@pytest.mark.parametrize(('layout', 'pooling', 'pairs'), [
    ('deep_vg', GEM_FC, [('aggregation.1.p', 'aggregation.0.1.p'),
                         ('aggregation.3.', 'aggregation.1.')]),
    ('deep_vg', {'kind': 'gem'}, []),
    ('deep_vg', NETVLAD, [('aggregation.0.', 'aggregation.')]),
    ('deep_vg', {**NETVLAD, 'wpca_dim': 8}, []),
    ('cosplace', GEM_FC, [])])
@pytest.mark.parametrize('wrap', [
    lambda state: {'epoch_num': 3, 'model_state_dict': under('module.', state)},
    lambda state: {'state_dict': under('model.', state)}], ids=['data-parallel', 'lightning'])
def test_checkpoints_of_trainings_are_read(tmp_path, layout, pooling, pairs, wrap):
    config = resnet(pooling, path=str(tmp_path / 'w.pth'), layout=layout)
    torch.manual_seed(1)
    network = FrameNetwork(config.frame, config.image)
    state = renamed(network.state_dict(), *pairs, ('', ''))
    torch.save(wrap(state), tmp_path / 'w.pth')
    found = build_describer(config, CPU)
    with torch.device('meta'):
        names = FrameNetwork(config.frame, config.image).state_dict().keys()
    assert names == translate(
        read_tensors(tmp_path / 'w.pth'), layout).frame.keys()
    image = reference_image(0, 64, 64)
    x = torch.from_numpy((image.astype(np.float32) / 255 - np.float32(config.image.mean))
                         / np.float32(config.image.std)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = network.eval()(x).numpy()
    np.testing.assert_allclose(found.describe([image]), expected, rtol=1e-5, atol=1e-6)


def test_cosplace_files_of_an_efficientnet_are_read(tmp_path):
    config = parse_preset({
        'name': 'test', 'image': {'height': 64, 'width': 64},
        'weights': {'path': str(tmp_path / 'w.pth'), 'layout': 'cosplace'},
        'frame': {'kind': 'network', 'backbone': 'efficientnet_b0', 'pooling': GEM_FC}}).model
    network = FrameNetwork(config.frame, config.image)
    assert network.dim == 16
    state = renamed(network.state_dict(), ('backbone.', 'backbone.0.'), ('', ''))
    torch.save(state, tmp_path / 'w.pth')
    describer = build_describer(config, CPU)
    vectors = describer.describe([reference_image(0, 64, 64), reference_image(1, 64, 64)])
    assert np.isfinite(vectors).all()
    assert not np.allclose(vectors[0], vectors[1])
