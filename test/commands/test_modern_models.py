"""Networks of today under everything that takes a frame descriptor, with small random weights."""

import json
from pathlib import Path

import cv2
import pytest
import yaml
from command_line import succeed
from streets import Street

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.model import AGGREGATORS
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import ModelError
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import build_model, load_model
from seqnet_ros.training.cosplace.model import fix_layers, start_model

VIT = {'kind': 'network', 'backbone': 'vit_small_patch14_dinov2', 'layer': 2}
FRAMES = {
    'megaloc': {**VIT, 'final_norm': True, 'pooling': {
        'kind': 'salad', 'clusters': 12, 'cluster_dim': 8, 'token_dim': 16, 'fc_dim': 48}},
    'salad': {**VIT, 'final_norm': True, 'pooling': {
        'kind': 'salad', 'clusters': 12, 'cluster_dim': 4, 'token_dim': 16}},
    'boq-dinov2': {**VIT, 'pooling': {'kind': 'boq', 'width': 64, 'queries': 4, 'rows': 1}},
    'boq-resnet': {'kind': 'network', 'backbone': 'resnet18', 'layer': 3, 'pooling': {
        'kind': 'boq', 'width': 64, 'queries': 4, 'rows': 1}},
    'eigenplaces': {'kind': 'network', 'backbone': 'resnet18', 'pooling': {
        'kind': 'gem', 'fc_dim': 64}},
    'dinov2-vlad': {**VIT, 'facet': 'value', 'pooling': {'kind': 'vlad', 'clusters': 2}}}
SUMS = {**VIT, 'facet': 'value', 'pooling': {'kind': 'vlad_sums', 'clusters': 2}}
IMAGE = {'height': 70, 'width': 70}
SECOND = 1_000_000_000


@pytest.fixture(scope='module')
def street() -> Street:
    return Street(0)


def model_of(frame: dict, aggregator: str) -> dict:
    return {'name': 'small', 'image': IMAGE, 'frame': frame, 'weights': {'random': True},
            'centring': False, 'sequence': {
                'length': 3, 'aggregator': aggregator, 'weights': {'random': True}}}


CASES = [(name, aggregator) for name in FRAMES for aggregator in ('smooth', 'seqnet', 'seqgem')]
CASES += [('megaloc', name) for name, kind in AGGREGATORS.items().items()
          if not kind.sums_frames and name not in ('smooth', 'seqnet', 'seqgem')]
CASES += [('sums', 'seqvlad')]


@pytest.mark.parametrize(('name', 'aggregator'), CASES)
def test_places_are_found_with_every_aggregator(name, aggregator, street):
    frame = SUMS if name == 'sums' else FRAMES[name]
    model = build_model(parse_preset(model_of(frame, aggregator), 'test'), 'cpu')
    mapper = Mapper(model)
    for place in range(12):
        mapper.push(street.view(float(4 * place)), place * SECOND)
    place_map = mapper.finish()
    engine = EngineConfig.model_validate({
        **model.engine.model_dump(), 'localization': {'method': 'sequence'}})
    localizer = Localizer(model, place_map, engine)
    results = [localizer.push(street.view(float(4 * place)), place * SECOND)
               for place in range(4, 10)]
    best = [result.candidates[0].place_id for result in results if result and result.candidates]
    assert best[-1] == 9
    assert len(place_map) == 12


def write_drive(folder: Path, street: Street, seed: int) -> Path:
    folder.mkdir()
    for place in range(24):
        view = street.view(2.0 * place, seed)
        cv2.imwrite(str(folder / f'{place:03d}.png'), view[:, :, ::-1])
    return folder


def test_seqnet_is_trained_on_megaloc_and_localizes(street, tmp_path):
    """The published MegaLoc has the same layers, only more of them."""
    folder = tmp_path / 'models'
    folder.mkdir()
    frames = folder / 'frames.yaml'
    frames.write_text(yaml.safe_dump({
        key: value for key, value in model_of(FRAMES['megaloc'], 'smooth').items()
        if key != 'name'} | {'sequence': {'length': 3}}))
    first, second = (write_drive(tmp_path / name, street, seed)
                     for name, seed in (('mon', 1), ('tue', 2)))
    succeed('dataset', 'create', first, second, '--model', frames, '--split', 'train',
            '--radius', 3, '--positive-radius', 1, '--output', tmp_path / 'data')
    succeed('train', 'seqnet', '--dataset', tmp_path / 'data', '--output', tmp_path / 'run',
            '-L', 3, '--epochs', 1, '--set', 'lr=0.001', '--device', 'cpu')
    mine = folder / 'mine.yaml'
    succeed('models', 'create', '--from', tmp_path / 'run', '--frame-model', frames,
            '--output', mine)
    model = load_model(mine, 'cpu')
    assert model.config.sequence.aggregator == 'seqnet'
    assert model.describer.dim == 48

    succeed('map', 'build', first, '--model', mine, '--output', tmp_path / 'map',
            '--device', 'cpu')
    succeed('localize', second, '--map', tmp_path / 'map', '--output', tmp_path / 'found',
            '--device', 'cpu')
    succeed('evaluate', 'bags', '--map-source', first, '--query-source', second, '--model', mine,
            '--tolerance', '1frames', '--output', tmp_path / 'report', '--device', 'cpu')
    measures = json.loads((tmp_path / 'report' / 'results.json').read_text())['measures']
    assert measures['recall']['1'] > 0.8


def test_convolutional_trunks_are_trained_and_transformers_are_not(tmp_path):
    path = tmp_path / 'frames.yaml'
    for backbone in ('efficientnet_b0', 'vit_small_patch14_dinov2'):
        path.write_text(yaml.safe_dump({
            'image': IMAGE, 'weights': {'random': True}, 'frame': {
                'kind': 'network', 'backbone': backbone, 'pooling': {'kind': 'gem'}}}))
        if backbone.startswith('vit'):
            with pytest.raises(ModelError, match='vision transformers are not trained'):
                start_model(path, 16, seed=0)
            continue
        model = start_model(path, 16, seed=0)
        fix_layers(model, None, {'resnet': 2, 'efficientnet': 5})
        frozen = [not any(weights.requires_grad for weights in block.parameters())
                  for block in model.network.backbone]
        assert frozen == [True] * 5 + [False] * 4
