"""Shorter descriptors: as a stage of any model, or in the last layer of a network."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from command_line import refusal, run, succeed
from refusal import refusal as said

from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.normalize import normalize_rows
from seqnet_ros.descriptors.describer import frame_dim
from seqnet_ros.maps.map_reader import open_map
from seqnet_ros.maps.map_writer import save_map
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import build_map_model, build_model, load_model
from seqnet_ros.training.common.whitening import fit_components

SMALL = {'image': {'height': 64, 'width': 64}, 'sequence': {'length': 3}}
HOG = {**SMALL, 'frame': {'kind': 'hog', 'cell': 16, 'block': 32}}
GEM = {**SMALL, 'weights': {'random': True}, 'frame': {
    'kind': 'network', 'backbone': 'mobilenet_v2', 'layer': 3,
    'pooling': {'kind': 'gem', 'fc_dim': 16}}}
IMAGES = 30


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    """A folder of images with large random shapes."""
    folder = tmp_path_factory.mktemp('images')
    for number in range(IMAGES):
        small = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), cv2.resize(small, (64, 64)))
    return folder


def write(path: Path, document: dict) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path


def pixels(images: Path) -> list[np.ndarray]:
    return [cv2.imread(str(images / f'{number}.png'))[..., ::-1] for number in range(IMAGES)]


def fit(model: Path, images: Path, output: Path, dim: int = 8) -> str:
    return succeed('models', 'fit-reduction', images, '--model', model, '--dim', dim,
                   '--output', output, '--device', 'cpu').stdout


def test_components_are_uncorrelated_about_zero():
    vectors = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32) + 1
    for count in (50, 9):  # more vectors than values, and fewer
        fitted = fit_components(vectors[:count], 5, 1.0)
        reduced = vectors[:count] @ fitted.weight.T
        moments = reduced.T @ reduced / (count - 1)
        assert np.allclose(moments, np.eye(5), atol=1e-4)
        assert 0.5 < fitted.kept < 1
        rotation = fit_components(vectors[:count], 5, 0.0).weight
        assert np.allclose(rotation @ rotation.T, np.eye(5), atol=1e-4)


def test_a_stage_behind_any_descriptor(images, tmp_path):
    base = write(tmp_path / 'base.yaml', HOG)
    assert 'reduction' in fit(base, images, tmp_path / 'short.yaml')
    full, short = load_model(base, 'cpu'), load_model(tmp_path / 'short.yaml', 'cpu')
    assert short.describer.dim == frame_dim(short.config) == 8
    vectors = full.describer.describe(pixels(images))
    expected = normalize_rows(vectors @ fit_components(vectors, 8, 0.0).weight.T)
    assert np.allclose(short.describer.describe(pixels(images)), expected, atol=1e-5)
    assert short.fingerprint != full.fingerprint
    assert 'already' in refusal('models', 'fit-reduction', images, '--model',
                                tmp_path / 'short.yaml', '--dim', 4, '--output',
                                tmp_path / 'shorter.yaml')


def test_a_linear_layer_takes_the_matrix_in(images, tmp_path):
    base = write(tmp_path / 'base.yaml', GEM)
    assert 'part of the last linear layer' in fit(base, images, tmp_path / 'short.yaml')
    full, short = load_model(base, 'cpu'), load_model(tmp_path / 'short.yaml', 'cpu')
    assert short.config.reduction is None
    assert short.config.frame.pooling.fc_dim == 8
    vectors = full.describer.describe(pixels(images))
    expected = normalize_rows(vectors @ fit_components(vectors, 8, 0.0).weight.T)
    assert np.allclose(short.describer.describe(pixels(images)), expected, atol=1e-4)


def test_random_signs_need_no_images_and_keep_distances(images, tmp_path):
    base = write(tmp_path / 'base.yaml', HOG)
    succeed('models', 'fit-reduction', '--random', '--model', base, '--dim', 200,
            '--output', tmp_path / 'short.yaml')
    assert not (tmp_path / 'short.safetensors').exists()
    full, short = load_model(base, 'cpu'), load_model(tmp_path / 'short.yaml', 'cpu')
    products = [model.describer.describe(pixels(images)) for model in (full, short)]
    wanted, found = (vectors @ vectors.T for vectors in products)
    assert np.abs(wanted - found).max() < 0.3
    other = build_model(parse_preset({**HOG, 'reduction': {
        'kind': 'random', 'dim': 200, 'seed': 1}}), 'cpu', tmp_path)
    assert other.fingerprint != short.fingerprint


def test_a_map_of_a_shortened_model_travels(images, tmp_path):
    base = write(tmp_path / 'base.yaml', HOG)
    fit(base, images, tmp_path / 'short.yaml')
    model = load_model(tmp_path / 'short.yaml', 'cpu')
    mapper = Mapper(model)
    for number, image in enumerate(pixels(images)):
        mapper.push(image, number)
    save_map(mapper.finish(), tmp_path / 'route')
    (tmp_path / 'short.safetensors').rename(tmp_path / 'other.safetensors')
    manifest = open_map(tmp_path / 'route').manifest
    assert manifest.dim == 8
    found = build_map_model(manifest.preset, 'cpu', map_path=tmp_path / 'route')
    assert found.fingerprint == model.fingerprint


@pytest.mark.parametrize(('values', 'words'), [
    ({'reduction': {'kind': 'pca', 'dim': 8}}, 'fit-reduction'),
    ({'reduction': {'kind': 'random', 'dim': 5000}}, 'expected at most'),
    ({'reduction': {'kind': 'lda', 'dim': 8}}, 'lda'),
    ({'projection': {'kind': 'pca', 'dim': 8}}, 'expected reduction'),
    ({'reduction': {'kind': 'pca', 'dim': 8, 'weights': {'path': 'wrong.safetensors'}}},
     'expected'),
])
def test_what_does_not_fit_is_refused(tmp_path, images, values, words):
    fit(write(tmp_path / 'base.yaml', HOG), images, tmp_path / 'wrong.yaml', 9)
    assert words in said(
        lambda: build_model(parse_preset({**HOG, **values}), 'cpu', tmp_path))


def test_too_few_images_and_too_many_values(images, tmp_path):
    base = write(tmp_path / 'base.yaml', HOG)
    common = ('models', 'fit-reduction', '--model', base, '--output', tmp_path / 'short.yaml')
    assert '30 images' in refusal(*common, images, '--dim', 30)
    assert 'expected fewer' in refusal(*common, images, '--dim', 4000)
    assert 'expected none' in refusal(*common, images, '--dim', 8, '--random')
    assert not (tmp_path / 'short.yaml').exists()
    sums = write(tmp_path / 'sums.yaml', {**SMALL, 'weights': {'random': True}, 'centring': False,
                 'frame': {**GEM['frame'], 'pooling': {'kind': 'vlad_sums', 'clusters': 4}},
                 'sequence': {'length': 3, 'aggregator': 'seqvlad'}})
    assert run('models', 'fit-reduction', images, '--model', sums, '--dim', 8, '--output',
               tmp_path / 'x.yaml').exit_code == 2
