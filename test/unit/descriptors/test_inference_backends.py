"""Trunks run by OpenVINO or by torch: the same places, the same maps."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from image_sets import image_set

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import ModelError
from seqnet_ros.core.images import read_image
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.backbones import build_trunk
from seqnet_ros.descriptors.describer import build_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.inference_backends import OpenVinoTrunk, fold_batch_norms
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import PlaceModel, load_model

STEP_NS = 100_000_000

needs_openvino = pytest.mark.skipif(
    find_spec('openvino') is None, reason='openvino is not installed')


def trained_trunk(backbone: str) -> torch.nn.Sequential:
    """Return a trunk whose batch norms have statistics, as after training."""
    torch.manual_seed(0)
    trunk = build_trunk(NetworkConfig(backbone=backbone)).train()
    with torch.inference_mode():
        for _ in range(3):
            trunk(torch.randn(4, 3, 64, 96) * 2 + 1)
    return trunk.eval()


@pytest.mark.parametrize('backbone', [
    'resnet18', 'resnet50', 'vgg16', 'mobilenet_v2', pytest.param(
        'efficientnet_lite0', marks=pytest.mark.skipif(
            find_spec('timm') is None, reason='timm is not installed'))])
def test_batch_norms_are_folded_without_a_trace(backbone: str) -> None:
    trunk = trained_trunk(backbone)
    folded = fold_batch_norms(trunk)
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = trunk(images)
        found = folded(images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_openvino_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(ModelError, match='package openvino is not installed; run `pip install'):
        select_device('openvino')


@needs_openvino
def test_openvino_gives_the_maps_of_torch() -> None:
    trunk = trained_trunk('resnet18')
    images = torch.randn(3, 3, 64, 96)
    with torch.inference_mode():
        expected = trunk(images).flatten(1).numpy()
    found = OpenVinoTrunk(fold_batch_norms(trunk), ImageConfig(height=64, width=96))(images)
    assert found.dtype == torch.float32
    found = found.flatten(1).numpy()
    assert (normalize_rows(found) * normalize_rows(expected)).sum(axis=1).min() > 0.999
    # It would tell its makers that it was imported.
    assert sys.modules['openvino_telemetry'] is None


@needs_openvino
def test_openvino_describes_as_the_reference_does(shared_golden: Path) -> None:
    folder = shared_golden / 'jist' / 'network'
    config = parse_preset({
        'image': {'height': 480, 'width': 640},
        'frame': {'kind': 'network', 'pooling': {'kind': 'gem', 'fc_dim': 512}},
        'weights': {'path': 'jist_resnet18_512_seqgem_fp16.safetensors', 'layout': 'jist'}}).model
    describer = build_describer(config, select_device('openvino'), folder)
    found = describer.describe([read_image(folder / f'image_{number}.png') for number in range(6)])
    expected = np.load(folder / 'descriptors.npz')['frame_desc']
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    assert (found * expected).sum(axis=1).min() > 0.999
    assert describer.weights_digest == build_describer(
        config, select_device('cpu'), folder).weights_digest


def walk(shared_data: Path, name: str) -> list[np.ndarray]:
    files = sorted((image_set(shared_data, 'gardens_point') / name).glob('*.jpg'))
    return [read_image(path) for path in files[:70]]


@pytest.mark.slow
@needs_openvino
def test_a_map_made_with_one_is_searched_with_the_other(
        shared_data: Path, shared_weights: Path) -> None:
    weights = shared_weights / 'mobilenet_v2_imagenet_fp16.safetensors'
    torch_model, openvino_model = (
        load_model('mobilenetv2-cells', device, weights) for device in ('cpu', 'openvino'))
    assert torch_model.fingerprint == openvino_model.fingerprint
    mapped, asked = walk(shared_data, 'day_left'), walk(shared_data, 'day_right')
    found = {}
    for name, mapping, locating in (
            ('torch', torch_model, torch_model), ('there', torch_model, openvino_model),
            ('back', openvino_model, torch_model)):
        found[name] = places(mapping, locating, mapped, asked)
    true = np.array(sorted(found['torch']))
    errors = {name: np.abs(np.array([rows[query] for query in true]) - true)
              for name, rows in found.items() if set(rows) == set(true)}
    assert set(errors) == set(found)
    assert len(true) > 50
    right = {name: (error <= 2).mean() for name, error in errors.items()}
    assert right['torch'] > 0.9
    for name in ('there', 'back'):
        assert right[name] == pytest.approx(right['torch'], abs=0.02)
        same = np.mean([found[name][query] == found['torch'][query] for query in true])
        assert same > 0.9


def places(mapping: PlaceModel, locating: PlaceModel, mapped: list[np.ndarray],
           asked: list[np.ndarray]) -> dict[int, int]:
    """Map one walk and find the other in it: image number of the map by that of the query."""
    mapper = Mapper(mapping)
    for number, image in enumerate(mapped):
        mapper.push(image, number * STEP_NS)
    localizer = Localizer(locating, mapper.finish())
    results = [localizer.push(image, number * STEP_NS) for number, image in enumerate(asked)]
    return {result.query: round(result.candidates[0].stamp_ns / STEP_NS)
            for result in results if result is not None and result.candidates}
