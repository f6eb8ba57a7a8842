"""Model files: found by name or path, checked with words that help, told apart by fingerprint."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from seqnet_ros.config import ModelConfig, NetworkConfig, WeightsConfig
from seqnet_ros.descriptors.describer import build_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.network import FrameNetwork
from seqnet_ros.errors import ModelError
from seqnet_ros.place_model import (
    config_fingerprint,
    find_model_file,
    list_models,
    load_model_config,
)

SHIPPED = Path(__file__).resolve().parents[1] / 'models'

DIMS = {
    'hog': 1764, 'patchnorm': 2048, 'mobilenetv2-cells': 15680, 'resnet18-gem': 512,
    'cosplace-resnet18-32': 32, 'cosplace-resnet18-64': 64, 'cosplace-resnet18-128': 128,
    'cosplace-resnet18-256': 256, 'cosplace-resnet18-512': 512, 'netvlad-vgg16': 4096}


def test_every_shipped_file_is_a_model_of_its_own_name():
    listed = {info.name: info for info in list_models()}
    assert set(listed) == {path.stem for path in SHIPPED.glob('*.yaml')}
    for name, info in listed.items():
        config, base_dir = load_model_config(name)
        assert config.name == name
        assert base_dir == info.path.parent
        assert info.description


@pytest.mark.parametrize('name', sorted(DIMS))
def test_shipped_models_know_their_dimensions(name):
    info = next(info for info in list_models() if info.name == name)
    assert info.dim == DIMS[name]
    assert info.weights_available or name not in ('hog', 'patchnorm')


def test_hog_is_the_built_in_default():
    config, _ = load_model_config('hog')
    assert config.model_copy(update={'description': ''}) == ModelConfig()


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ModelError, match=r"no model 'hogg'.*one of: cosplace.*, hog, "):
        load_model_config('hogg')
    assert find_model_file('hogg') is None
    assert find_model_file('nowhere/hog.yaml') is None


def test_explicit_files_are_taken_and_named_after_themselves(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('sequence: {length: 7}\n')
    config, base_dir = load_model_config(path)
    assert (config.name, config.sequence.length, base_dir) == ('mine', 7, tmp_path)


def test_installed_models_are_found_and_the_first_one_counts(tmp_path, monkeypatch):
    folders = []
    for number in (1, 2):
        folder = tmp_path / str(number) / 'share' / 'seqnet_ros' / 'models'
        folder.mkdir(parents=True)
        (folder / 'extra.yaml').write_text(f'description: number {number}\n')
        folders.append(folder)
    (folders[1] / 'hog.yaml').write_text('description: not this one\n')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "1"}:{tmp_path / "2"}')
    assert find_model_file('extra') == folders[0] / 'extra.yaml'
    assert find_model_file('hog') == SHIPPED / 'hog.yaml'
    assert [i.description for i in list_models() if i.name == 'extra'] == ['number 1']


@pytest.mark.parametrize(('content', 'words'), [
    ('name: x\nimage: {height: 3\n', r'bad.yaml, line \d'),
    ('name: x\n\timage: 3\n', 'bad.yaml, line 2'),
    ('- 1\n', 'holds a list, expected the fields of a model'),
    ('', 'holds a NoneType'),
    ('sequence: {lenght: 3}\n', r'sequence.lenght: Extra inputs are not permitted'),
    ('sequence: {length: 0}\n', r'sequence.length: .*found 0'),
    ('!!python/object/apply:os.getcwd []\n', 'line 1')])
def test_bad_files_are_refused_with_file_and_place(tmp_path, content, words):
    path = tmp_path / 'bad.yaml'
    path.write_text(content)
    with pytest.raises(ModelError, match=words) as caught:
        load_model_config(path)
    assert str(path) in str(caught.value)


def test_files_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / 'bad.yaml'
    path.write_bytes(b'\xff\xfe\x00\x01')
    with pytest.raises(ModelError, match='cannot be read as YAML'):
        load_model_config(path)


def test_given_weights_replace_those_of_the_file(tmp_path, monkeypatch):
    config, _ = load_model_config('cosplace-resnet18-32')
    network = FrameNetwork(config.frame, config.image)
    save_file(network.state_dict(), tmp_path / 'mine.safetensors')
    monkeypatch.chdir(tmp_path)
    config, base_dir = load_model_config('cosplace-resnet18-32', Path('mine.safetensors'))
    assert config.weights.layout == 'cosplace'
    describer = build_describer(config, select_device('cpu'), base_dir)
    assert describer.dim == 32
    torch.testing.assert_close(
        describer._network.state_dict()['aggregation.3.bias'],
        network.state_dict()['aggregation.3.bias'])


def test_weights_for_a_model_without_are_refused():
    with pytest.raises(ModelError, match='model hog takes no weights'):
        load_model_config('hog', Path('w.pth'))


@pytest.mark.parametrize('name', [n for n in DIMS if n not in ('hog', 'patchnorm')])
def test_missing_weights_name_where_they_should_lie(name):
    config, base_dir = load_model_config(name)
    if (base_dir / config.weights.path).exists():
        pytest.skip(f'the weights of {name} are there')
    with pytest.raises(ModelError, match=r'no weights at .*models/'):
        build_describer(config, select_device('cpu'), base_dir)


def changed(config: ModelConfig, **update) -> ModelConfig:
    return config.model_copy(update=update)


def test_fingerprint_changes_with_what_descriptors_mean():
    base = ModelConfig()
    sequence = base.sequence
    variants = [
        base,
        changed(base, image=base.image.model_copy(update={'width': 320})),
        changed(base, frame=base.frame.model_copy(update={'bins': 8})),
        changed(base, frame=NetworkConfig()),
        changed(base, centring=False),
        changed(base, sequence=sequence.model_copy(update={'aggregator': 'delta'})),
        changed(base, sequence=sequence.model_copy(update={'p': 2.0}))]
    prints = {config_fingerprint(config, 'digest') for config in variants}
    assert len(prints) == len(variants)
    assert config_fingerprint(base, 'other') not in prints
    assert all(len(p) == 64 for p in prints)


def test_fingerprint_ignores_what_may_differ_between_mapping_and_localising():
    base = ModelConfig()
    variants = [
        changed(base, name='other', description='other'),
        changed(base, weights=WeightsConfig(path='elsewhere')),
        changed(base, sequence=base.sequence.model_copy(update={'length': 20})),
        changed(base, matching=base.matching.model_copy(update={'top_k': 5}))]
    assert {config_fingerprint(v, 'd') for v in variants} == {config_fingerprint(base, 'd')}
