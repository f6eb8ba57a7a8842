"""Models of JIST, CosPlace and SeqVLAD: their files, their reference numbers, their maps."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from image_sets import image_set
from sequence_search import with_sequences

from seqnet_ros.config.model import ModelConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.images import read_image
from seqnet_ros.datasets.recordings.open_recording import open_source
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.pooling import NetVLAD
from seqnet_ros.descriptors.weights import (
    Tensors,
    digest_tensors,
    read_tensors,
    repeatable_random,
)
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.builder import build_map, with_sequence_length
from seqnet_ros.maps.map_reader import open_map, verify_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, build_model, load_model, load_preset
from seqnet_ros.sequences.aggregators import aggregate
from seqnet_ros.sequences.windows import trailing_windows
from seqnet_ros.training.netvlad.fitting import (
    Sampling,
    fit_netvlad,
    load_trunk,
    netvlad_to_fit,
    write_fit,
)

STEP_NS = 100_000_000
PUBLISHED = 'jist_resnet18_512_seqgem_fp16.safetensors'


@pytest.fixture(scope='module')
def network_folder(shared_golden: Path) -> Path:
    return shared_golden / 'jist' / 'network'


@pytest.fixture(scope='module')
def published(network_folder: Path) -> Tensors:
    return read_tensors(network_folder / PUBLISHED)


@pytest.fixture(scope='module')
def jist(published: Tensors, tmp_path_factory: pytest.TempPathFactory) -> PlaceModel:
    """The shipped model with a file as JIST publishes it: 124 bare tensors."""
    file = tmp_path_factory.mktemp('jist') / 'JIST_r18_512_seqgem.pth'
    assert len(published) == 124
    torch.save(published, file)
    return load_model('jist-resnet18', 'cpu', weights=file)


@pytest.fixture(scope='module')
def frames(jist: PlaceModel, network_folder: Path) -> np.ndarray:
    return jist.describer.describe(
        [read_image(network_folder / f'image_{number}.png') for number in range(6)])


def of_cosplace(published: Tensors) -> Tensors:
    return {name.removeprefix('model.'): tensor for name, tensor in published.items()
            if name != 'seq_gem.p'}


def edited_model(folder: Path, name: str, **sections) -> Path:
    """Write a copy of a shipped model in which some sections are others."""
    path = load_preset(name)[1] / f'{name}.yaml'
    document = yaml.safe_load(path.read_text()) | {'name': 'edited'} | sections
    (folder / 'edited.yaml').write_text(yaml.safe_dump(document))
    return folder / 'edited.yaml'


# JIST's numbers and files ----------------------------------------------------------------------

def test_frames_and_sequences_are_the_references(
        jist: PlaceModel, frames: np.ndarray, network_folder: Path) -> None:
    golden = np.load(network_folder / 'descriptors.npz')
    assert jist.aggregator.p.item() == 3.5
    np.testing.assert_allclose(frames, golden['frame_desc'], rtol=1e-4, atol=1e-6)
    for length in (1, 3, 5, 6):
        found = aggregate(jist.aggregator, frames, golden[f'windows_L{length}'])
        np.testing.assert_allclose(found, golden[f'seq_desc_L{length}'], rtol=1e-4, atol=1e-6)
        assert (np.linalg.norm(found, axis=1) < 0.99).all()  # not normalised


def test_normalising_is_asked_for_in_the_model_file(
        jist: PlaceModel, frames: np.ndarray, published: Tensors, tmp_path: Path) -> None:
    torch.save(published, tmp_path / 'w.pth')
    path = edited_model(tmp_path, 'jist-resnet18', weights={'path': 'w.pth', 'layout': 'jist'},
                        sequence={'length': 5, 'aggregator': 'seqgem', 'normalise': True})
    model = load_model(path, 'cpu')
    window = np.arange(5)[None]
    plain, unit = (aggregate(m.aggregator, frames, window) for m in (jist, model))
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain), atol=1e-6)
    assert model.fingerprint != jist.fingerprint


def test_a_training_checkpoint_of_jist_is_read(
        jist: PlaceModel, published: Tensors, tmp_path: Path) -> None:
    exponent = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.Adam([exponent])
    exponent.sum().backward()
    optimizer.step()
    torch.save({
        'epoch_num': 3, 'model_state_dict': published, 'best_seq_val_recall5': np.float64(91.5),
        'optimizer_state_dict': optimizer.state_dict(),
        'classifiers_state_dict': [{'weight': torch.zeros(7, 512)} for _ in range(8)],
        'optimizers_state_dict': [optimizer.state_dict() for _ in range(8)],
    }, tmp_path / 'last_checkpoint.pth')
    model = load_model('jist-resnet18', 'cpu', weights=tmp_path / 'last_checkpoint.pth')
    assert model.fingerprint == jist.fingerprint


@pytest.mark.parametrize(('change', 'message'), [
    ({'seq_gem.p': None}, r'do not fit the network: p \[1\] is missing'),
    ({'seq_gem.p': torch.ones(2)}, r'p is \[2\], expected \[1\]'),
    ({'model.aggregation.1.p': None}, r'aggregation\.1\.p \[1\] is missing'),
    ({'model.head.weight': torch.ones(3)}, r'head\.weight \[3\] is not expected'),
    ({'conv1d.bias': torch.ones(3)}, r'conv1d\.bias \[3\] is not expected'),
    ({'head.weight': torch.ones(3)},
     r"head\.weight does not belong to layout jist.*layout 'cosplace'"),
    ({'model.backbone.1.running_var': torch.full((64,), torch.nan)}, 'not finite')])
def test_files_of_jist_are_taken_whole_or_not_at_all(
        change: dict, message: str, published: Tensors, tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in (published | change).items() if tensor is not None}
    torch.save(state, tmp_path / 'w.pth')
    with pytest.raises(ModelError, match=message):
        load_model('jist-resnet18', 'cpu', weights=tmp_path / 'w.pth')


def test_files_of_cosplace_become_jist_by_their_layout(
        jist: PlaceModel, frames: np.ndarray, network_folder: Path, published: Tensors,
        tmp_path: Path) -> None:
    """JIST starts from CosPlace with the exponent 3; a file of CosPlace is no file of JIST."""
    file = tmp_path / 'ResNet18_512_cosplace.pth'
    torch.save(of_cosplace(published), file)
    with pytest.raises(ModelError, match="layout 'cosplace'"):
        load_model('jist-resnet18', 'cpu', weights=file)
    path = edited_model(tmp_path, 'jist-resnet18',
                        weights={'path': file.name, 'layout': 'cosplace'})
    model = load_model(path, 'cpu')
    assert model.aggregator.p.item() == 3.0
    found = model.describer.describe([read_image(network_folder / 'image_0.png')])
    np.testing.assert_allclose(found[0], frames[0], atol=1e-6)
    assert model.fingerprint != jist.fingerprint


@pytest.mark.parametrize('dim', [32, 64, 128, 256, 512])
def test_release_files_of_cosplace_are_loaded(
        dim: int, published: Tensors, tmp_path: Path) -> None:
    state = of_cosplace(published)
    state['aggregation.3.weight'] = state['aggregation.3.weight'][:dim].clone()
    state['aggregation.3.bias'] = state['aggregation.3.bias'][:dim].clone()
    torch.save(state, tmp_path / 'w.pth')
    model = load_model(f'cosplace-resnet18-{dim}', 'cpu', weights=tmp_path / 'w.pth')
    assert model.describer.dim == dim
    wrong = 'cosplace-resnet18-32' if dim != 32 else 'cosplace-resnet18-64'
    with pytest.raises(ModelError, match=rf'aggregation\.3\.weight is \[{dim}, 512\], expected'):
        load_model(wrong, 'cpu', weights=tmp_path / 'w.pth')


# Aggregators with weights of their own -----------------------------------------------------------

FRAME_DIM, LENGTH = 16, 5


def small_model(aggregator: str, **values) -> dict:
    return {
        'name': 'small', 'image': {'height': 32, 'width': 32}, 'centring': False,
        'frame': {'kind': 'network', 'layer': 1, 'pooling': {'kind': 'gem', 'fc_dim': FRAME_DIM}},
        'weights': {'path': 'w.pth', 'layout': 'jist'},
        'sequence': {'length': LENGTH, 'aggregator': aggregator}, **values}


def small_state(**sequence: torch.Tensor) -> Tensors:
    config = parse_preset(small_model('mean'), 'test').model
    torch.manual_seed(0)
    network = FrameNetwork(config.frame, config.image)
    return {f'model.{name}': tensor for name, tensor in network.state_dict().items()} | sequence


AGGREGATOR_TENSORS = {
    'simplefc': {'final_fc.weight': (FRAME_DIM, LENGTH * FRAME_DIM)},
    'meanfc': {'final_fc.weight': (FRAME_DIM, LENGTH * FRAME_DIM)},
    'conv1d': {'conv1d.weight': (FRAME_DIM, FRAME_DIM, LENGTH), 'conv1d.bias': (FRAME_DIM,)},
    'seqgem': {'seq_gem.p': (1,)}}


@pytest.mark.parametrize('aggregator', AGGREGATOR_TENSORS)
def test_weights_of_every_aggregator_come_from_the_file(aggregator: str, tmp_path: Path) -> None:
    tensors = {name: torch.rand(shape) + 1
               for name, shape in AGGREGATOR_TENSORS[aggregator].items()}
    torch.save(small_state(**tensors), tmp_path / 'w.pth')
    model = build_model(parse_preset(small_model(aggregator), 'test'), 'cpu', tmp_path)
    loaded = model.aggregator.state_dict()
    assert [(name.removeprefix('seq_gem.'), tensor.tolist()) for name, tensor in tensors.items()] \
        == [(name, tensor.tolist()) for name, tensor in loaded.items()]
    torch.save(small_state(), tmp_path / 'w.pth')
    with pytest.raises(ModelError, match='is missing'):
        build_model(parse_preset(small_model(aggregator), 'test'), 'cpu', tmp_path)


@pytest.mark.parametrize('aggregator', ['simplefc', 'conv1d'])
def test_trained_aggregators_need_weights(aggregator: str) -> None:
    values = small_model(aggregator, weights={'random': True})
    with pytest.raises(ModelError, match=f'model small needs sequence.weights for {aggregator}'):
        build_model(parse_preset(values, 'test'), 'cpu')


def test_the_mean_layer_starts_as_the_mean() -> None:
    values = small_model('meanfc', weights={'random': True})
    model = build_model(parse_preset(values, 'test'), 'cpu')
    frames = torch.randn(3, LENGTH, FRAME_DIM)
    torch.testing.assert_close(model.aggregator(frames), frames.mean(dim=1), atol=1e-6, rtol=0)


@pytest.mark.parametrize('aggregator', ['meanfc', 'conv1d'])
def test_maps_keep_to_the_length_of_the_weights(aggregator: str) -> None:
    values = small_model(aggregator, weights={'random': True})
    values['sequence']['weights'] = {'random': True}
    model = build_model(parse_preset(values, 'test'), 'cpu')
    descriptors = np.random.default_rng(0).standard_normal((8, FRAME_DIM)).astype(np.float32)
    poses = np.zeros((8, 7))
    poses[:, 0], poses[:, 6] = np.arange(8), 1
    place_map = build_map(model, descriptors, range(8), poses, [0] * 8, '1')
    with pytest.raises(InputError, match=r'has 3 frames, expected the 5 that the weights'):
        with_sequence_length(place_map, model, 3)


# SeqVLAD -----------------------------------------------------------------------------------------

def seqvlad_values(length: int = 3, **weights) -> dict:
    return {
        'name': 'small-seqvlad', 'image': {'height': 96, 'width': 128}, 'centring': False,
        'frame': {'kind': 'network', 'layer': 1, 'pooling': {'kind': 'vlad_sums', 'clusters': 8}},
        'weights': weights or {'random': True}, 'keyframes': {'min_change': 0},
        'sequence': {'length': length, 'aggregator': 'seqvlad'}}


@pytest.fixture(scope='module')
def seqvlad() -> PlaceModel:
    return build_model(parse_preset(seqvlad_values(), 'test'), 'cpu')


@pytest.fixture(scope='module')
def walk(shared_data: Path) -> list[np.ndarray]:
    folder = image_set(shared_data, 'gardens_point') / 'day_left'
    return [read_image(path) for path in sorted(folder.glob('*.jpg'))[:60]]


def mapped(model: PlaceModel, images: list[np.ndarray]) -> PlaceMap:
    mapper = Mapper(model)
    for number, image in enumerate(images):
        mapper.push(image, number * STEP_NS)
    return mapper.finish()


@pytest.fixture(scope='module')
def seqvlad_map(seqvlad: PlaceModel, walk: list[np.ndarray]) -> PlaceMap:
    return mapped(seqvlad, walk)


def netvlad_of(model: PlaceModel, images: list[np.ndarray]) -> np.ndarray:
    """Pool the local features of all images as one set, with the layer of NetVLAD."""
    with repeatable_random():
        network = FrameNetwork(model.config.frame, model.config.image)
    assert digest_tensors(network.state_dict()) == model.describer.weights_digest
    layer = NetVLAD(8, 64)
    layer.load_state_dict(network.aggregation[0].state_dict())
    maps = torch.from_numpy(model.describer.maps(images))
    together = maps.permute(1, 0, 2, 3).flatten(1)[None, :, :, None]
    with torch.inference_mode():
        return layer(together)[0].numpy()


def test_sequences_are_netvlad_over_the_local_features_of_all_frames(
        seqvlad: PlaceModel, seqvlad_map: PlaceMap, walk: list[np.ndarray]) -> None:
    for last in (2, 17, 40):
        np.testing.assert_allclose(
            seqvlad_map.sequences[last], netvlad_of(seqvlad, walk[last - 2:last + 1]), atol=1e-5)
        np.testing.assert_allclose(
            seqvlad_map.projected[last], netvlad_of(seqvlad, [walk[last]]), atol=1e-5)
    # The first frame of a drive stands for those before it.
    np.testing.assert_allclose(
        seqvlad_map.sequences[0], seqvlad_map.projected[0], atol=1e-5)
    longer = with_sequence_length(seqvlad_map, seqvlad, 5)
    np.testing.assert_allclose(longer.sequences[30], netvlad_of(seqvlad, walk[26:31]), atol=1e-5)


def test_maps_of_sums_are_saved_and_found_again(
        seqvlad: PlaceModel, seqvlad_map: PlaceMap, walk: list[np.ndarray],
        tmp_path: Path) -> None:
    save_map(seqvlad_map, tmp_path / 'map')
    assert verify_map(tmp_path / 'map').format_version == 2
    opened = open_map(tmp_path / 'map', seqvlad)
    assert not opened.mean.any()
    assert np.linalg.norm(opened.frames, axis=1).min() > 2
    np.testing.assert_allclose(np.linalg.norm(opened.projected, axis=1), 1, atol=1e-5)
    localizer = Localizer(seqvlad, opened, with_sequences(seqvlad.engine))
    results = [localizer.push(image, number * STEP_NS)
               for number, image in enumerate(walk[20:40], 20)]
    matched = [result for result in results if result is not None and result.candidates]
    assert len(matched) > 10
    for result in matched:
        assert result.candidates[0].place_id == result.query + 20
        assert result.candidates[0].sequence_distance < 1e-2


@pytest.mark.parametrize('change', [
    {'centring': True}, {'projection': {}},
    {'sequence': {'aggregator': 'mean'}},
    {'frame': {'kind': 'network', 'pooling': {'kind': 'netvlad'}}},
    {'frame': {'kind': 'hog'}}])
def test_sums_and_seqvlad_need_one_another(change: dict) -> None:
    with pytest.raises(ModelError, match='seqvlad'):
        parse_preset(seqvlad_values() | change)


def test_the_shipped_seqvlad_is_the_papers_size() -> None:
    config = load_preset('seqvlad-resnet18')[0].model
    with torch.device('meta'):
        network = FrameNetwork(config.frame, config.image)
    assert network.dim == 64 * 256


def test_clusters_are_those_fitted_for_netvlad(shared_data: Path, tmp_path: Path) -> None:
    source = open_source(image_set(shared_data, 'gardens_point') / 'day_left', None)
    fits = {}
    for kind in ('netvlad', 'vlad_sums'):
        values = seqvlad_values()
        values['frame']['pooling']['kind'] = kind
        values['sequence']['aggregator'] = 'seqvlad' if kind == 'vlad_sums' else 'smooth'
        preset = netvlad_to_fit(parse_preset(values, 'test'), clusters=6)
        fit = fit_netvlad(preset.model, load_trunk(preset.model, tmp_path, None), source,
                          select_device('cpu'), Sampling(images=20), tmp_path)
        path = tmp_path / f'{kind}.yaml'
        write_fit(path, preset, tmp_path, fit)
        fits[kind] = load_model(path, 'cpu')
    assert fits['vlad_sums'].describer.weights_digest == fits['netvlad'].describer.weights_digest
    assert fits['vlad_sums'].describer.dim == 6 * 64
    image = [frame.read() for frame in list(source)[:1]]
    sums = torch.from_numpy(fits['vlad_sums'].describer.describe(image))
    np.testing.assert_allclose(
        fits['vlad_sums'].aggregator(sums[:, None]).numpy(),
        fits['netvlad'].describer.describe(image), atol=1e-6)
    with pytest.raises(ModelError, match='wpca_dim'):
        netvlad_to_fit(parse_preset(seqvlad_values(), 'test'), wpca_dim=4)


# Checkpoints of the SeqVLAD project ------------------------------------------------------------

def vg_checkpoint(config: ModelConfig, pooling: str, prefix: str = 'module.',
                  **sequence: torch.Tensor) -> dict:
    """A checkpoint as its trainings leave it: data-parallel names and what else they keep."""
    torch.manual_seed(1)
    state = FrameNetwork(config.frame, config.image).state_dict()
    names = {'backbone.': 'encoder.', 'aggregation.0.': pooling, 'aggregation.1.': 'pooling.1.'}
    renamed = {f'{prefix}aggregator.1.{name}': tensor for name, tensor in sequence.items()}
    for name, tensor in state.items():
        old = next(old for old in names if name.startswith(old))
        renamed[f'{prefix}{names[old]}{name.removeprefix(old)}'] = tensor
    return {'epoch_num': 9, 'model_state_dict': renamed, 'recalls': np.array([80.0, 90.0]),
            'best_r5': np.float64(90.0), 'not_improved_num': 0, 'optimizer_state_dict': {}}


@pytest.mark.parametrize(('kind', 'aggregator', 'prefix'), [
    ('vlad_sums', 'seqvlad', 'aggregator.'), ('netvlad', 'concat', 'pooling.'),
    ('gem', 'concat', 'unused.'), ('rmac', 'concat', 'unused.')])
def test_checkpoints_of_the_seqvlad_project(
        kind: str, aggregator: str, prefix: str, tmp_path: Path) -> None:
    values = seqvlad_values(path='best_model.pth', layout='vg_transformers')
    values['frame'] = {'kind': 'network', 'layer': 1, 'pooling': {'kind': kind}}
    values['sequence'] = {'length': 3, 'aggregator': aggregator}
    preset = parse_preset(values, 'test')
    config = preset.model
    checkpoint = vg_checkpoint(config, prefix)
    torch.save(checkpoint, tmp_path / 'best_model.pth')
    model = build_model(preset, 'cpu', tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    torch.manual_seed(1)
    network = FrameNetwork(config.frame, config.image).eval()
    with torch.inference_mode():
        expected = network(model.describer.network_input([image])).numpy()
    np.testing.assert_allclose(model.describer.describe([image]), expected, atol=1e-4)
    some = next(name for name in checkpoint['model_state_dict'] if 'backbone' not in name)
    del checkpoint['model_state_dict'][some]
    torch.save(checkpoint, tmp_path / 'best_model.pth')
    with pytest.raises(ModelError, match='is missing'):
        build_model(preset, 'cpu', tmp_path)


def vg_values(pooling: dict, aggregator: str = 'concat', **sequence: object) -> dict:
    """A model of the SeqVLAD project's poolings, whose frames are not of unit length."""
    return seqvlad_values(path='best_model.pth', layout='vg_transformers') | {
        'frame': {'kind': 'network', 'layer': 1, 'pooling': {**pooling, 'normalise': False}},
        'sequence': {'length': 3, 'aggregator': aggregator, **sequence}}


def images_of(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 96, 128, 3), dtype=np.uint8))


def pooled_by_hand(network: FrameNetwork, pixels: torch.Tensor, kind: str) -> torch.Tensor:
    """Pool unit local features, and stop there."""
    local = torch.nn.functional.normalize(network.backbone(pixels), dim=1)
    if kind == 'gem':
        return local.clamp(min=1e-6).pow(3).mean(dim=(2, 3)).pow(1 / 3)
    return local.mean(dim=(2, 3)) if kind == 'spoc' else local.amax(dim=(2, 3))


@pytest.mark.parametrize('prefix', ['module.', ''])
@pytest.mark.parametrize('kind', ['gem', 'spoc', 'mac'])
def test_sequences_of_the_seqvlad_project_are_pooled_frames_as_they_are(
        kind: str, prefix: str, tmp_path: Path) -> None:
    weight, bias = torch.randn(24, 3 * 64), torch.randn(24)
    preset = parse_preset(vg_values({'kind': kind}, 'fc', out_dim=24), 'test')
    config = preset.model
    torch.save(vg_checkpoint(config, 'unused.', prefix, weight=weight, bias=bias),
               tmp_path / 'best_model.pth')
    model = build_model(preset, 'cpu', tmp_path)
    images = images_of(3)
    frames = model.describer.describe(images)
    torch.manual_seed(1)
    network = FrameNetwork(config.frame, config.image).eval()
    with torch.inference_mode():
        expected = pooled_by_hand(network, model.describer.network_input(images), kind)
    assert abs(float(expected.norm(dim=1).mean()) - 1) > 0.05
    np.testing.assert_allclose(frames, expected.numpy(), atol=1e-5)
    assert model.prepare(frames) is frames
    found = aggregate(model.aggregator, frames, np.arange(3)[None])
    np.testing.assert_allclose(found[0], weight @ expected.flatten() + bias, atol=1e-4)
    concat = build_model(parse_preset(vg_values({'kind': kind}), 'test'), 'cpu', tmp_path)
    np.testing.assert_array_equal(
        aggregate(concat.aggregator, frames, np.arange(3)[None])[0], frames.ravel())


def test_a_regional_pooling_of_the_seqvlad_project_is_read(tmp_path: Path) -> None:
    preset = parse_preset(vg_values({'kind': 'rmac'}), 'test')
    torch.save(vg_checkpoint(preset.model, 'unused.'), tmp_path / 'best_model.pth')
    frames = build_model(preset, 'cpu', tmp_path).describer.describe(images_of(2))
    assert frames.shape == (2, 64)
    assert (np.linalg.norm(frames, axis=1) > 2).all()  # a sum over regions


@pytest.mark.parametrize(('change', 'message'), [
    ({'weight': None, 'bias': None}, r'needs sequence\.weights for fc'),
    ({'bias': None}, r'fc\.bias \[24\] is missing'),
    ({'weight': torch.ones(24, 2 * 64)}, r'fc\.weight is \[24, 128\], expected \[24, 192\]')])
def test_the_linear_layer_of_the_seqvlad_project_is_taken_whole(
        change: dict, message: str, tmp_path: Path) -> None:
    preset = parse_preset(vg_values({'kind': 'gem'}, 'fc', out_dim=24), 'test')
    whole = {'weight': torch.ones(24, 3 * 64), 'bias': torch.ones(24)} | change
    torch.save(vg_checkpoint(preset.model, 'unused.', **{
        name: tensor for name, tensor in whole.items() if tensor is not None}),
        tmp_path / 'best_model.pth')
    with pytest.raises(ModelError, match=message):
        build_model(preset, 'cpu', tmp_path)


@pytest.mark.parametrize(('name', 'found'), [
    ('encoder.tokenizer.conv_layers.0.0.weight', 'a CCT'),
    ('encoder.classifier.blocks.0.linear1.weight', 'a CCT'),
    ('encoder.embeddings.cls_token', 'a ViT'),
    ('encoder.encoder.layer.0.attention.attention.query.weight', 'a ViT'),
    ('encoder.model.blocks.0.temporal_attn.qkv.weight', 'a TimeSformer')])
def test_trunks_of_tokens_are_named(name: str, found: str, tmp_path: Path) -> None:
    torch.save({'model_state_dict': {
        'module.aggregator.centroids': torch.ones(64, 384), f'module.{name}': torch.ones(3)}},
        tmp_path / 'best_model.pth')
    preset = parse_preset(vg_values({'kind': 'gem'}), 'test')
    with pytest.raises(ModelError, match=f'belongs to {found}, expected a ResNet or VGG'):
        build_model(preset, 'cpu', tmp_path)


def test_frames_of_any_length_are_mapped_and_found(walk: list[np.ndarray]) -> None:
    values = vg_values({'kind': 'mac'}) | {'weights': {'random': True}}
    model = build_model(parse_preset(values, 'test'), 'cpu')
    place_map = mapped(model, walk[:30])
    lengths = np.linalg.norm(place_map.frames, axis=1)
    assert lengths.min() > 1.05
    np.testing.assert_allclose(place_map.projected, place_map.frames / lengths[:, None], atol=1e-6)
    localizer = Localizer(model, place_map, with_sequences(model.engine))
    results = [localizer.push(image, number * STEP_NS)
               for number, image in enumerate(walk[10:25], 10)]
    matched = [result for result in results if result is not None and result.candidates]
    assert len(matched) > 8
    assert all(result.candidates[0].place_id == result.query + 10 for result in matched)


@pytest.mark.parametrize('change', [{'centring': True}, {'projection': {}}])
def test_frames_of_any_length_are_taken_as_they_are(change: dict) -> None:
    with pytest.raises(ModelError, match='pooling with normalise: false needs centring'):
        parse_preset(vg_values({'kind': 'gem'}) | change)


def test_checkpoints_with_arrays_of_older_numpy_are_read(tmp_path: Path) -> None:
    torch.save({'state_dict': {'w': torch.ones(2)}, 'recalls': np.array([80.0, 90.0])},
               tmp_path / 'new.pth', _use_new_zipfile_serialization=False)
    content = (tmp_path / 'new.pth').read_bytes()
    assert b'numpy._core.multiarray\n_reconstruct' in content
    (tmp_path / 'old.pth').write_bytes(content.replace(b'numpy._core', b'numpy.core'))
    for name in ('new.pth', 'old.pth'):
        assert read_tensors(tmp_path / name)['w'].tolist() == [1, 1]


# Live --------------------------------------------------------------------------------------------

@pytest.mark.parametrize('reverse', [False, True])
def test_the_rolling_descriptor_finds_what_the_window_finds(
        reverse: bool, walk: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    preset = parse_preset({
        'name': 'small', 'centring': False, 'matching': {'reverse': reverse},
        'sequence': {'length': 4, 'aggregator': 'seqgem', 'p': 2.0}}, 'test')
    model = build_model(preset, 'cpu')
    place_map = mapped(model, walk)

    def places() -> list[list[tuple[int, float]]]:
        localizer = Localizer(model, place_map, with_sequences(model.engine))
        found = []
        for number, image in enumerate(walk[10:50]):
            if number == 20:
                localizer.reset()
            result = localizer.push(image, number * STEP_NS)
            if result is not None and result.candidates:
                found.append([(candidate.place_id, candidate.descriptor_distance)
                              for candidate in result.candidates])
        return found

    rolling = places()
    monkeypatch.setattr(Localizer, '_rolling_descriptor', lambda self: None)
    window = places()
    assert len(rolling) > 25
    assert [[place for place, _ in row] for row in rolling] == [
        [place for place, _ in row] for row in window]
    np.testing.assert_allclose([row[0][1] for row in rolling], [row[0][1] for row in window],
                               atol=1e-4)


def test_a_map_of_jist_models_opens_with_the_model_it_names(
        tmp_path: Path, published: Tensors, walk: list[np.ndarray]) -> None:
    torch.save(published, tmp_path / 'w.pth')
    path = edited_model(
        tmp_path, 'jist-resnet18', weights={'path': 'w.pth', 'layout': 'jist'},
        image={'height': 96, 'width': 128}, keyframes={'min_change': 0})
    model = load_model(path, 'cpu')
    place_map = mapped(model, walk[:12])
    windows = trailing_windows(np.zeros(12, dtype=int), 5)
    np.testing.assert_allclose(
        place_map.sequences, aggregate(model.aggregator, place_map.frames, windows), atol=1e-6)
    save_map(place_map, tmp_path / 'map')
    manifest = verify_map(tmp_path / 'map')
    assert manifest.format_version == 1
    assert build_model(manifest.preset, 'cpu').fingerprint == model.fingerprint
