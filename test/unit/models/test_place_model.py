"""Model files: found by name or path, checked with words that help, told apart by fingerprint."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from command_line import succeed
from safetensors.torch import save_file

from seqnet_ros.config.engine import EngineConfig
from seqnet_ros.config.model import ModelConfig, ProjectionConfig, WeightsConfig
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import ModelError
from seqnet_ros.descriptors.describer import build_describer
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.descriptors.network import NetworkConfig
from seqnet_ros.descriptors.weights import digest_tensors
from seqnet_ros.models.place_model import (
    build_map_model,
    build_model,
    config_fingerprint,
    find_model_file,
    list_models,
    load_model,
    load_preset,
)
from seqnet_ros.sequences.seqnet_aggregators import SeqNet
from seqnet_ros.training.seqnet.model import create_model
from seqnet_ros.training.seqnet.run import SeqNetRun, save_run

SHIPPED = Path(__file__).resolve().parents[3] / 'models'

DIMS = {
    'hog': 1764, 'patchnorm': 2048, 'mobilenetv2-cells': 15680, 'resnet18-gem': 512,
    'cosplace-resnet18-32': 32, 'cosplace-resnet18-64': 64, 'cosplace-resnet18-128': 128,
    'cosplace-resnet18-256': 256, 'cosplace-resnet18-512': 512, 'netvlad-vgg16': 4096,
    'netvlad-seqnet': 4096, 'netvlad-hvpr': 4096, 'jist-resnet18': 512,
    'seqvlad-resnet18': 16384, 'megaloc': 8448, 'megaloc-224': 8448, 'dinov2-salad': 8448,
    'boq-dinov2': 12288, 'boq-resnet50': 16384, 'dinov2-vlad': 12288, 'lite0-cells': 1792,
    'eigenplaces-vgg16-512': 512, 'eigenplaces-resnet18-256': 256, 'eigenplaces-resnet18-512': 512,
    **{f'eigenplaces-resnet{depth}-{dim}': dim
       for depth in (50, 101) for dim in (128, 256, 512, 1024, 2048)}}

EARLIER_FINGERPRINTS = {  # with 'd' as the hash of the weights
    'cosplace-resnet18-512': 'b00efcd3a2dd71e327ece77d4a5470a79c9448a954e301e71c41b2b4a0080eaf',
    'mobilenetv2-cells': '915f527ce35553135038ed9214ee493e83acb991f5e9b4585cfc36dd77bc8196',
    'netvlad-hvpr': 'a8bac88303746863460dfc8d50e94fbb4c1afb706c0d885fc81c7deb41c22c62',
    'netvlad-vgg16': 'fe36f4d8a80ae1cd21f73cd6be6aea37b2506d05333f919810139194d3fd926f'}
HOG_FINGERPRINT = '1edef1a2216f70a6826fac8ba233a96bc4c292e4e0eea5f08b2ad4d33dc8a6ac'


def test_every_shipped_file_is_a_model_of_its_own_name():
    listed = {info.name: info for info in list_models()}
    assert set(listed) == {path.stem for path in SHIPPED.glob('*.yaml')}
    for name, info in listed.items():
        preset, base_dir = load_preset(name)
        assert preset.model.name == name
        assert base_dir == info.path.parent
        assert info.description


@pytest.mark.parametrize('name', sorted(DIMS))
def test_shipped_models_know_their_dimensions(name):
    info = next(info for info in list_models() if info.name == name)
    assert info.dim == DIMS[name]
    assert info.weights_available or name not in ('hog', 'patchnorm')


def test_hog_is_the_built_in_default():
    preset, _ = load_preset('hog')
    assert preset.model.model_copy(update={'description': ''}) == ModelConfig()
    assert preset.engine == EngineConfig()


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ModelError, match=r"no model 'none'.*one of: boq.*, hog, "):
        load_preset('none')
    with pytest.raises(ModelError, match=r"no model 'hogg': expected a YAML file or one of: hog$"):
        load_preset('hogg')
    with pytest.raises(ModelError, match=r"no model 'mine\.yaml': there is no such file"):
        load_preset('mine.yaml')
    assert find_model_file('hogg') is None
    assert find_model_file('nowhere/hog.yaml') is None


def test_explicit_files_are_taken_and_named_after_themselves(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('sequence: {length: 7}\n')
    preset, base_dir = load_preset(path)
    assert (preset.model.name, preset.engine.sequence.length, base_dir) == ('mine', 7, tmp_path)


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
        load_preset(path)
    assert str(path) in str(caught.value)


def test_files_that_are_not_text_are_refused(tmp_path):
    path = tmp_path / 'bad.yaml'
    path.write_bytes(b'\xff\xfe\x00\x01')
    with pytest.raises(ModelError, match='is not UTF-8 text: byte 0 is 0xff'):
        load_preset(path)


def test_given_weights_replace_those_of_the_file(tmp_path, monkeypatch):
    config = load_preset('cosplace-resnet18-32')[0].model
    network = FrameNetwork(config.frame, config.image)
    save_file(network.state_dict(), tmp_path / 'mine.safetensors')
    monkeypatch.chdir(tmp_path)
    preset, base_dir = load_preset('cosplace-resnet18-32', Path('mine.safetensors'))
    assert preset.model.weights.layout == 'cosplace'
    describer = build_describer(preset.model, select_device('cpu'), base_dir)
    assert describer.dim == 32
    assert describer.weights_digest == digest_tensors(network.state_dict())


def test_weights_for_a_model_without_are_refused():
    with pytest.raises(ModelError, match='model hog takes no weights'):
        load_preset('hog', Path('w.pth'))


@pytest.mark.parametrize('name', [
    n for n in DIMS if n not in ('hog', 'patchnorm', 'lite0-cells')])
def test_missing_weights_name_where_they_should_lie(name):
    preset, base_dir = load_preset(name)
    if (base_dir / preset.model.weights.path).exists():
        pytest.skip(f'the weights of {name} are there')
    with pytest.raises(ModelError, match=r'no weights at .*models/'):
        build_describer(preset.model, select_device('cpu'), base_dir)


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


def test_fingerprint_of_hog_is_that_of_earlier_maps():
    assert config_fingerprint(ModelConfig(), '') == HOG_FINGERPRINT


@pytest.mark.parametrize(('name', 'expected'), EARLIER_FINGERPRINTS.items())
def test_fingerprints_of_networks_are_those_of_earlier_maps(name, expected):
    config = load_preset(name)[0].model
    assert config_fingerprint(config, 'd') == expected
    assert 'normalise' not in config.model_dump()['sequence']


def test_normalising_is_part_of_the_fingerprint():
    plain = ModelConfig(sequence={'aggregator': 'seqgem'})
    unit = ModelConfig(sequence={'aggregator': 'seqgem', 'normalise': True})
    assert config_fingerprint(plain, 'd') != config_fingerprint(unit, 'd')
    assert ModelConfig.model_validate(unit.model_dump()) == unit


def test_length_of_frames_is_part_of_the_fingerprint():
    unit, plain = (ModelConfig(
        centring=False, sequence={'aggregator': 'concat'},
        frame={'kind': 'network', 'pooling': {'kind': 'gem', 'normalise': normalise}})
        for normalise in (True, False))
    assert 'normalise' not in unit.model_dump()['frame']['pooling']
    assert config_fingerprint(unit, 'd') != config_fingerprint(plain, 'd')
    assert ModelConfig.model_validate(plain.model_dump()) == plain


def test_fingerprint_ignores_what_may_differ_between_mapping_and_localising():
    base = ModelConfig()
    variants = [
        changed(base, name='other', description='other'),
        changed(base, weights=WeightsConfig(path='elsewhere')),
        parse_preset({'sequence': {'length': 20}}).model,
        parse_preset({'matching': {'top_k': 5}}).model]
    assert {config_fingerprint(v, 'd') for v in variants} == {config_fingerprint(base, 'd')}


# Models with a SeqNet ----------------------------------------------------------------------------

def seqnet_run(in_dim: int, out_dim: int, kernel: int, length: int, seed: int = 0) -> SeqNetRun:
    torch.manual_seed(seed)
    return SeqNetRun(SeqNet(in_dim, out_dim, kernel).eval(), flags={'seqL': length})


@pytest.fixture
def frames(tmp_path) -> Path:
    """A model with frame descriptors of length 36."""
    path = tmp_path / 'frames.yaml'
    path.write_text('image: {height: 64, width: 64}\nframe: {kind: hog, cell: 32, block: 64}\n')
    return path


def as_document(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize(('name', 'projected'), [('netvlad-seqnet', False), ('netvlad-hvpr', True)])
def test_shipped_seqnet_models_are_those_of_the_paper(name, projected):
    preset, _ = load_preset(name)
    config, netvlad = preset.model, load_preset('netvlad-vgg16')[0].model
    assert (config.image, config.frame, config.weights) == (
        netvlad.image, netvlad.frame, netvlad.weights)
    assert config.centring is False
    assert (preset.engine.sequence.length, config.sequence.kernel, config.sequence.out_dim) == (
        5, 5, 4096)
    assert (config.projection is not None) == projected


def test_models_without_projection_are_written_as_before_there_were_any():
    config = ModelConfig()
    assert 'projection' not in config.model_dump()
    assert 'projection' not in config.model_dump_json()
    assert ModelConfig.model_validate(config.model_dump()) == config
    values = {**config.model_dump(), 'centring': False, 'projection': {'out_dim': 7}}
    projected = ModelConfig.model_validate(values)
    assert projected.model_dump()['projection']['out_dim'] == 7
    assert ModelConfig.model_validate_json(projected.model_dump_json()) == projected


def test_projection_is_part_of_the_fingerprint():
    plain = ModelConfig(centring=False)
    prints = {config_fingerprint(config, 'd') for config in (
        plain, changed(plain, projection=ProjectionConfig()),
        changed(plain, projection=ProjectionConfig(out_dim=3)))}
    assert len(prints) == 3
    elsewhere = ProjectionConfig(weights=WeightsConfig(path='elsewhere'))
    assert config_fingerprint(changed(plain, projection=elsewhere), 'd') in prints


@pytest.mark.parametrize(('values', 'message'), [
    ({'projection': {}}, 'a projection needs centring: false'),
    ({'sequence': {'aggregator': 'seqnet', 'length': 2}},
     'a sequence of 2 frames is shorter than the SeqNet kernel of 3'),
])
def test_settings_that_contradict_each_other_are_refused(values, message):
    with pytest.raises(ModelError, match=message):
        parse_preset(values, 'test')


def test_a_sequence_that_the_model_cannot_describe_is_refused():
    preset = parse_preset({'sequence': {'aggregator': 'seqnet', 'length': 5}})
    assert preset.with_settings({'sequence.length': 3}).engine.sequence.length == 3
    with pytest.raises(ModelError, match=r'^settings: sequence.length: a sequence of 2 frames'):
        preset.with_settings({'sequence.length': 2})


@pytest.mark.parametrize('name', sorted(DIMS))
def test_a_preset_says_what_its_file_says(name):
    preset, base_dir = load_preset(name)
    given = preset.document(exclude_unset=True)
    assert given == {'name': name, **as_document(base_dir / f'{name}.yaml')}
    assert parse_preset(preset.document()) == parse_preset(given) == preset


def test_model_and_engine_share_nothing_but_the_section_of_sequences():
    model, engine = ModelConfig.model_fields.keys(), EngineConfig.model_fields.keys()
    assert model & engine == {'sequence'}
    assert not (ModelConfig().sequence.model_dump().keys()
                & EngineConfig().sequence.model_dump().keys())


def test_hvpr_model_of_two_runs(frames, tmp_path):
    save_run(seqnet_run(36, 24, 3, 5), tmp_path / 'run')
    save_run(seqnet_run(36, 16, 1, 1, seed=1), tmp_path / 's1')
    output = tmp_path / 'mine.yaml'
    shown = succeed('models', 'create', '--from', tmp_path / 'run', '--match-from', tmp_path / 's1',
                    '--frame-model', frames, '--output', output).stdout
    assert 'mine-matching.safetensors, 16 per frame' in shown
    model = load_model(output, 'cpu')
    assert torch.equal(model.projection.conv.weight, seqnet_run(36, 16, 1, 1, 1).module.conv.weight)
    assert torch.equal(model.aggregator.conv.weight, seqnet_run(36, 24, 3, 5).module.conv.weight)
    document = as_document(output)
    for section in (document['sequence'], document['projection']):
        file = tmp_path / section['weights']['path']
        assert hashlib.sha256(file.read_bytes()).hexdigest() == section['weights']['sha256']

    # Moved with its weights it is the same; without, or with others, it is refused.
    (tmp_path / 'other').mkdir()
    for file in tmp_path.glob('mine*'):
        file.rename(tmp_path / 'other' / file.name)
    moved = tmp_path / 'other' / 'mine.yaml'
    assert load_model(moved, 'cpu').fingerprint == model.fingerprint
    (tmp_path / 'other' / 'mine-matching.safetensors').write_bytes(b'other')
    with pytest.raises(ModelError, match='sha256'):
        load_model(moved, 'cpu')
    (tmp_path / 'other' / 'mine-matching.safetensors').unlink()
    with pytest.raises(ModelError, match=r'no weights at .*mine-matching'):
        load_model(moved, 'cpu')


def test_runs_are_read_as_they_are(frames, tmp_path):
    """A model file may name the checkpoints of the published code themselves."""
    runs = {'run': seqnet_run(36, 24, 3, 5), 's1': seqnet_run(36, 16, 1, 1, seed=1)}
    for name, run in runs.items():
        save_run(run, tmp_path / name)
    document = as_document(frames) | {
        'centring': False,
        'sequence': {'length': 5, 'aggregator': 'seqnet', 'kernel': 3, 'out_dim': 24, 'weights': {
            'path': 'run/checkpoints/checkpoint.pth.tar', 'layout': 'seqnet'}},
        'projection': {'out_dim': 16, 'weights': {
            'path': 's1/checkpoints/checkpoint.pth.tar', 'layout': 'seqnet'}}}
    direct = tmp_path / 'direct.yaml'
    direct.write_text(yaml.safe_dump(document))
    create_model(runs['run'], frames, tmp_path / 'made.yaml', runs['s1'])
    model = load_model(direct, 'cpu')
    assert model.fingerprint == load_model(tmp_path / 'made.yaml', 'cpu').fingerprint
    # A map takes the model along: its paths no longer depend on the model file.
    assert build_model(model.preset, 'cpu').fingerprint == model.fingerprint


@pytest.mark.parametrize(('section', 'value', 'message'), [
    ('kernel', 1, r'conv.weight is \[24, 36, 3\], expected \[24, 36, 1\]'),
    ('out_dim', 36, r'conv.weight is \[24, 36, 3\], expected \[36, 36, 3\]')])
def test_runs_of_another_size_are_refused(section, value, message, frames, tmp_path):
    save_run(seqnet_run(36, 24, 3, 5), tmp_path / 'run')
    sequence = {'length': 5, 'aggregator': 'seqnet', 'kernel': 3, 'out_dim': 24, 'weights': {
        'path': 'run/checkpoints/model_best.pth.tar', 'layout': 'seqnet'}} | {section: value}
    (tmp_path / 'm.yaml').write_text(yaml.safe_dump(as_document(frames) | {'sequence': sequence}))
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / 'm.yaml', 'cpu')


@pytest.mark.parametrize(('match_run', 'message'), [
    (seqnet_run(36, 16, 3, 5), 'its kernel spans 3, expected 1'),
    (seqnet_run(35, 16, 1, 1), 'length 36, but the SeqNet takes 35')])
def test_runs_that_cannot_describe_frames_are_refused(match_run, message, frames, tmp_path):
    with pytest.raises(ModelError, match=message):
        create_model(seqnet_run(36, 24, 3, 5), frames, tmp_path / 'm.yaml', match_run)
    assert [path.name for path in tmp_path.iterdir()] == ['frames.yaml']


def test_random_weights_of_a_sequence_are_the_same_every_time(frames, tmp_path):
    document = as_document(frames) | {
        'centring': False, 'sequence': {'aggregator': 'seqnet', 'weights': {'random': True}},
        'projection': {'weights': {'random': True}}}
    (tmp_path / 'm.yaml').write_text(yaml.safe_dump(document))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    prints = {load_model(tmp_path / 'm.yaml', 'cpu').fingerprint for _ in range(2)}
    assert len(prints) == 1
    assert torch.equal(torch.rand(3), expected)


def test_projection_needs_weights(frames, tmp_path):
    (tmp_path / 'm.yaml').write_text(yaml.safe_dump(
        as_document(frames) | {'centring': False, 'projection': {}}))
    with pytest.raises(ModelError, match=r'model m needs projection\.weights'):
        load_model(tmp_path / 'm.yaml', 'cpu')


def test_the_list_says_which_weights_are_missing(frames, tmp_path, monkeypatch):
    folder = tmp_path / 'prefix' / 'share' / 'seqnet_ros' / 'models'
    folder.mkdir(parents=True)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path / 'prefix'))

    def available() -> bool:
        return next(info for info in list_models() if info.name == 'mine').weights_available

    create_model(seqnet_run(36, 24, 3, 5), frames, folder / 'mine.yaml',
                 seqnet_run(36, 16, 1, 1))
    assert available()
    for name in ('mine.safetensors', 'mine-matching.safetensors'):
        (folder / name).rename(folder / 'aside')
        assert not available()
        (folder / 'aside').rename(folder / name)
    assert available()
    document = as_document(folder / 'mine.yaml')
    for section in ('sequence', 'projection'):
        for weights, expected in (({}, False), ({'random': True}, True)):
            changed_document = document | {section: {**document[section], 'weights': weights}}
            (folder / 'mine.yaml').write_text(yaml.safe_dump(changed_document))
            assert available() is expected


def test_a_map_never_makes_us_download(tmp_path, monkeypatch):
    """What only a map names is not fetched; what an installed model names, is."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    config = load_preset('cosplace-resnet18-32')[0].model
    source = tmp_path / 'w.safetensors'
    save_file(FrameNetwork(config.frame, config.image).state_dict(), source)
    weights = WeightsConfig(url=source.as_uri(), layout='cosplace',
                            sha256=hashlib.sha256(source.read_bytes()).hexdigest())
    preset = replace(load_preset('cosplace-resnet18-32')[0],
                     model=config.model_copy(update={'weights': weights}))
    with pytest.raises(ModelError, match='no installed model does: nothing was downloaded'):
        build_map_model(preset, 'cpu')
    assert not list(tmp_path.rglob('cache/**/*.safetensors'))

    folder = tmp_path / 'models'
    folder.mkdir()
    text = find_model_file('cosplace-resnet18-32').read_text()
    document = yaml.safe_load(text)
    document['weights'] = weights.model_dump(exclude_none=True)
    (folder / 'installed.yaml').write_text(yaml.safe_dump(document))
    monkeypatch.setenv('SEQNET_ROS_MODEL_PATH', str(folder))
    fetched = build_map_model(preset, 'cpu')
    monkeypatch.delenv('SEQNET_ROS_MODEL_PATH')
    source.unlink()
    assert build_map_model(preset, 'cpu').fingerprint == fetched.fingerprint
