"""Weights are found by name and content, wherever a model or a map was moved to."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from refusal import refusal
from safetensors.torch import load_file, save_file

from seqnet_ros.config.model import ImageConfig
from seqnet_ros.core.errors import MapModelMismatchError
from seqnet_ros.descriptors.download import file_sha256
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.maps.map_reader import open_map, read_manifest
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.maps.place_map import PlaceMap
from seqnet_ros.models.place_model import PlaceModel, build_map_model, load_model
from seqnet_ros.sequences.seqnet_aggregators import SeqNet

IMAGE = {'height': 64, 'width': 64}
FRAME = {'kind': 'network', 'backbone': 'mobilenet_v2', 'layer': 3, 'pooling': {'kind': 'gem'}}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of weights."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'seqnet_ros' / 'weights'


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with a model of a network with SeqNet, its weights in two files named absolutely."""
    folder = tmp_path / 'dev'
    folder.mkdir()
    torch.manual_seed(0)
    network = FrameNetwork(NetworkConfig.model_validate(FRAME), ImageConfig.model_validate(IMAGE))
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_file(tensors, folder / 'frames.safetensors')
    seqnet = SeqNet(network.dim, 16, 2)
    save_file({f'sequence.{name}': tensor.clone() for name, tensor in seqnet.state_dict().items()},
              folder / 'sequence.safetensors')
    (folder / 'mine.yaml').write_text(yaml.safe_dump({
        'image': IMAGE, 'frame': FRAME, 'centring': False,
        'weights': {'path': str(folder / 'frames.safetensors')},
        'sequence': {'length': 3, 'aggregator': 'seqnet', 'kernel': 2, 'out_dim': 16, 'weights': {
            'path': 'sequence.safetensors'}}}))
    return folder


def make_map(model: PlaceModel) -> PlaceMap:
    """Map six random images."""
    mapper = Mapper(model)
    random = np.random.default_rng(0)
    for number in range(6):
        mapper.push(random.integers(0, 256, (64, 64, 3), np.uint8), number)
    return mapper.finish()


@pytest.fixture
def mapped(folder) -> Path:
    """A map in the folder of its model."""
    save_map(make_map(load_model(folder / 'mine.yaml', 'cpu')), folder / 'route.map')
    return folder / 'route.map'


def model_of(path: Path, weights: Path | None = None) -> PlaceModel:
    """Load the model of a map."""
    return build_map_model(read_manifest(path)[0].preset, 'cpu', weights, path)


def test_a_map_names_its_weights_by_content(folder, mapped):
    model = read_manifest(mapped)[0].model
    assert model.weights.sha256 == file_sha256(folder / 'frames.safetensors')
    assert model.sequence.weights.sha256 == file_sha256(folder / 'sequence.safetensors')


def test_a_folder_with_model_weights_and_map_can_be_moved(folder, mapped, tmp_path):
    robot = folder.rename(tmp_path / 'robot')
    model = model_of(robot / 'route.map')
    assert len(open_map(robot / 'route.map', model)) == 6
    assert load_model(robot / 'mine.yaml', 'cpu').fingerprint == model.fingerprint


def test_weights_are_found_under_another_name_by_their_content(folder, mapped, tmp_path):
    robot = folder.rename(tmp_path / 'robot')
    (robot / 'frames.safetensors').rename(robot / 'epoch_7.safetensors')
    # Another file under the name that the map gives does not count.
    shutil.copy(robot / 'sequence.safetensors', robot / 'frames.safetensors')
    assert open_map(robot / 'route.map', model_of(robot / 'route.map')).manifest.places == 6


def test_another_file_at_the_path_of_the_map_does_not_count(folder, mapped, tmp_path):
    robot = tmp_path / 'robot'
    shutil.copytree(folder, robot)
    shutil.copy(folder / 'sequence.safetensors', folder / 'frames.safetensors')
    assert open_map(robot / 'route.map', model_of(robot / 'route.map')).manifest.places == 6


def test_a_folder_of_weights_can_be_given(folder, mapped, tmp_path):
    weights = tmp_path / 'weights'
    weights.mkdir()
    for name in ('frames', 'sequence'):
        (folder / f'{name}.safetensors').rename(weights / f'{name}.safetensors')
    message = refusal(lambda: model_of(mapped))
    assert 'frames.safetensors (sha256 ' in message
    assert '--weights' in message
    assert open_map(mapped, model_of(mapped, weights)).manifest.places == 6
    assert load_model(folder / 'mine.yaml', 'cpu', weights).config.sequence.weights.path == str(
        weights / 'sequence.safetensors')
    message = refusal(lambda: model_of(mapped, tmp_path))
    assert 'holds no weights of model mine' in message
    assert 'frames.safetensors' in message


def test_weights_are_found_in_the_cache_by_their_content(folder, mapped, cache):
    cache.mkdir(parents=True)
    digest = file_sha256(folder / 'frames.safetensors')
    (folder / 'frames.safetensors').rename(cache / f'{digest[:16]}-published.safetensors')
    assert open_map(mapped, model_of(mapped)).manifest.places == 6


def test_the_same_tensors_in_another_file_are_accepted(folder, mapped, tmp_path):
    tensors = load_file(folder / 'frames.safetensors')
    save_file(tensors, folder / 'frames.safetensors', metadata={'saved': 'again'})
    assert open_map(mapped, model_of(mapped)).manifest.places == 6
    robot = folder.rename(tmp_path / 'robot')
    assert open_map(robot / 'route.map', model_of(robot / 'route.map')).manifest.places == 6


def test_maps_of_earlier_versions_find_their_weights_by_name(folder, mapped, tmp_path):
    place_map = open_map(mapped)
    config = place_map.manifest.model
    sequence = config.sequence.model_copy(
        update={'weights': config.sequence.weights.model_copy(update={'sha256': None})})
    old = config.model_copy(update={'sequence': sequence, 'weights': config.weights.model_copy(
        update={'sha256': None})})
    manifest = place_map.manifest.model_copy(update={'model': old})
    save_map(replace(place_map, manifest=manifest), mapped, overwrite=True, backup=False)
    robot = folder.rename(tmp_path / 'robot')
    assert open_map(robot / 'route.map', model_of(robot / 'route.map')).manifest.places == 6
    # Without a hash the fingerprint notices other weights.
    torch.manual_seed(1)
    other = FrameNetwork(NetworkConfig.model_validate(FRAME), ImageConfig.model_validate(IMAGE))
    save_file(dict(other.state_dict()), robot / 'frames.safetensors')
    with pytest.raises(MapModelMismatchError):
        open_map(robot / 'route.map', model_of(robot / 'route.map'))
