"""SeqNet training runs: published ones load, written ones load everywhere, models made of them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from sequence_search import with_sequences
from typer.testing import CliRunner

from seqnet_ros.cli.main import app
from seqnet_ros.config.preset import parse_preset
from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.datasets.seqnet.published_options import DEFAULT_FLAGS
from seqnet_ros.descriptors.frame_network import FrameNetwork
from seqnet_ros.localization.localizer import Localizer
from seqnet_ros.maps.mapper import Mapper
from seqnet_ros.models.place_model import load_model
from seqnet_ros.sequences.aggregators import aggregate
from seqnet_ros.sequences.seqnet_aggregators import SeqNet
from seqnet_ros.sequences.windows import centred_windows
from seqnet_ros.training.seqnet.model import create_model
from seqnet_ros.training.seqnet.run import SeqNetRun, load_run, save_run

DIM = 36


@pytest.fixture
def runs(shared_golden: Path) -> Path:
    return shared_golden / 'seqnet' / 'runs'


def small_run(in_dim: int = DIM, out_dim: int = 8, kernel: int = 3, **flags) -> SeqNetRun:
    torch.manual_seed(3)
    return SeqNetRun(SeqNet(in_dim, out_dim, kernel).eval(), 4, {1: 0.5, 5: 0.75}, 0.8,
                     {'seqL': 5, 'lr': 0.004, **flags})


def checkpoint_of(path: Path, name: str = 'checkpoint.pth.tar') -> dict:
    return torch.load(path / 'checkpoints' / name, weights_only=True)


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


class TestPublishedRuns:
    @pytest.mark.parametrize('which', ['latest', 'best'])
    @pytest.mark.parametrize(('name', 'sizes', 'length', 'epoch', 'recall'), [
        ('seqnet_l5_w3', (3, 64, 48), 5, 2, 0.8208955223880597),
        ('s1_l1_w1', (1, 64, 64), 1, 3, 0.48880597014925375)])
    def test_they_load(self, runs, which, name, sizes, length, epoch, recall):
        run = load_run(runs / name, which)
        assert (run.kernel, run.in_dim, run.out_dim) == sizes
        assert (run.length, run.flags['dataset']) == (length, 'oxford-v1.0')
        assert run.flags == json.loads((runs / name / 'checkpoints' / 'flags.json').read_text())
        assert not run.module.training
        if which == 'latest':
            assert (run.epoch, run.recalls[1]) == (epoch, recall)
        assert all(type(value) is float for value in (*run.recalls.values(), run.best_score))

    def test_they_describe_as_published(self, runs, shared_golden):
        folder = shared_golden / 'seqnet'
        frames = np.load(folder / 'query.npy')
        bounds = np.tile([0, len(frames)], (len(frames), 1))
        for which, file in (('latest', 'oneseq/seqnet'), ('latest', 'oneseq/s1')):
            run = load_run(runs / ('s1_l1_w1' if 's1' in file else 'seqnet_l5_w3'), which)
            with np.load(folder / f'{file}.npz') as expected:
                found = aggregate(run.module, frames, centred_windows(bounds, run.length))
                np.testing.assert_allclose(found, expected['qDesc'], rtol=0, atol=2e-6)

    @pytest.mark.parametrize('name', ['s1_numpy1_names', 's1_legacy_format'])
    def test_older_files_hold_the_same(self, runs, shared_golden, name):
        expected = load_run(runs / 's1_l1_w1')
        found = load_run(shared_golden / 'seqnet' / 'compat' / f'{name}.pth.tar')
        assert torch.equal(found.module.conv.weight, expected.module.conv.weight)
        assert torch.equal(found.module.conv.bias, expected.module.conv.bias)
        assert (found.epoch, found.recalls, found.best_score) == (
            expected.epoch, expected.recalls, expected.best_score)
        assert found.flags == {}
        assert found.length == 1

    @pytest.mark.parametrize('name', ['seqnet_l5_w3', 's1_l1_w1'])
    def test_written_again_they_are_equal_and_plain(self, runs, tmp_path, name):
        run = load_run(runs / name)
        save_run(run, tmp_path / 'run')
        before = torch.load(runs / name / 'checkpoints' / 'checkpoint.pth.tar',
                            weights_only=False)
        after = checkpoint_of(tmp_path / 'run')
        assert list(after) == list(before)
        assert list(after['state_dict']) == list(before['state_dict'])
        for key, tensor in before['state_dict'].items():
            assert torch.equal(after['state_dict'][key], tensor)
        assert after['recalls'] == before['recalls']
        assert all(type(value) is float for value in after['recalls'].values())
        assert type(after['best_score']) is float
        assert after['optimizer']['param_groups'] == before['optimizer']['param_groups']
        for key, state in before['optimizer']['state'].items():
            assert torch.equal(after['optimizer']['state'][key]['momentum_buffer'],
                               state['momentum_buffer'])
        again = load_run(tmp_path / 'run')
        assert {**again.flags, 'savePath': None} == {**run.flags, 'savePath': None}
        assert again.flags['savePath'] == 'checkpoints'
        best = load_run(tmp_path / 'run', 'best')
        assert best.epoch == load_run(runs / name, 'best').epoch


class TestOwnRuns:
    def test_everything_the_published_code_asks_for_is_there(self, tmp_path, runs):
        save_run(small_run(), tmp_path / 'run')
        written = checkpoint_of(tmp_path / 'run')
        published = torch.load(runs / 's1_l1_w1' / 'checkpoints' / 'checkpoint.pth.tar',
                               weights_only=False)
        assert list(written) == list(published)
        assert written['optimizer']['param_groups'][0].keys() >= {
            'lr', 'momentum', 'weight_decay', 'initial_lr', 'params'}
        flags = json.loads((tmp_path / 'run' / 'checkpoints' / 'flags.json').read_text())
        assert list(flags) == list(json.loads(
            (runs / 's1_l1_w1' / 'checkpoints' / 'flags.json').read_text()))
        assert (flags['w'], flags['outDims'], flags['seqL'], flags['lr']) == (3, 8, 5, 0.004)
        assert flags['batchSize'] == DEFAULT_FLAGS['batchSize']

    def test_a_process_that_allows_nothing_reads_it(self, tmp_path):
        run = replace(small_run(), recalls={1: np.float64(0.25)}, best_score=np.float64(0.5))
        save_run(run, tmp_path / 'run')
        code = ('import sys, torch; c = torch.load(sys.argv[1], weights_only=True);'
                'print(c["recalls"], c["best_score"], list(c["state_dict"]))')
        done = subprocess.run(
            [sys.executable, '-c', code, tmp_path / 'run' / 'checkpoints' / 'checkpoint.pth.tar'],
            capture_output=True, text=True, check=True)
        assert done.stdout.split('\n')[0] == (
            "{1: 0.25} 0.5 ['pool.0.conv.weight', 'pool.0.conv.bias']")

    def test_the_optimiser_goes_on(self, tmp_path):
        save_run(small_run(), tmp_path / 'run')
        run = load_run(tmp_path / 'run')
        optimizer = torch.optim.SGD(run.module.parameters(), lr=1.0)
        optimizer.load_state_dict(run.optimizer)
        assert optimizer.param_groups[0]['lr'] == 0.004
        torch.optim.lr_scheduler.StepLR(optimizer, 50, 0.5, last_epoch=run.epoch)

    def test_saving_again_replaces_and_leaves_nothing(self, tmp_path):
        save_run(small_run(), tmp_path / 'run')
        save_run(replace(small_run(), epoch=9), tmp_path / 'run', ['latest'])
        assert load_run(tmp_path / 'run').epoch == 9
        assert load_run(tmp_path / 'run', 'best').epoch == 4
        assert names_in(tmp_path / 'run' / 'checkpoints') == [
            'checkpoint.pth.tar', 'flags.json', 'model_best.pth.tar']

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / 'run').write_text('')
        with pytest.raises(InputError, match=r'checkpoints.* cannot be written: Not'):
            save_run(small_run(), tmp_path / 'run')
        with pytest.raises(InputError, match='options of the run'):
            save_run(small_run(bad=object()), tmp_path / 'other')


class RunsCode:
    """Creates a folder when an unsafe reader rebuilds it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


class TestRefusals:
    """Never random weights: the published code goes on with them when a path is wrong."""

    def test_wrong_paths(self, tmp_path):
        with pytest.raises(InputError, match='does not exist'):
            load_run(tmp_path / 'none')
        with pytest.raises(InputError, match=r'has no checkpoints/model_best.pth.tar'):
            load_run(tmp_path, 'best')
        with pytest.raises(InputError, match="checkpoint 'newest' is unknown"):
            load_run(tmp_path, 'newest')

    @pytest.mark.parametrize(('state', 'message'), [
        (None, 'expected a state_dict'),
        ({'pool.0.weight': torch.zeros(5)}, 'holds pool.0.weight, expected the SeqNet weights'),
        ({'pool.0.conv.weight': torch.zeros(4, 3, 2)}, r'conv.bias \[4\] is missing'),
        ({'pool.0.conv.weight': torch.zeros(4, 3, 2), 'pool.0.conv.bias': torch.zeros(5)},
         r'conv.bias is \[5\], expected \[4\]'),
        ({'pool.0.conv.weight': torch.zeros(4, 3), 'pool.0.conv.bias': torch.zeros(4)},
         'expected the SeqNet weights'),
        ({'pool.0.conv.weight': torch.full((4, 3, 2), torch.nan),
          'pool.0.conv.bias': torch.zeros(4)}, 'not finite'),
        ({'pool.0.conv.weight': torch.zeros(4, 3, 2), 'pool.0.conv.bias': torch.zeros(4),
          'encoder.0.weight': torch.zeros(1)}, 'encoder.0.weight .* is not expected'),
    ])
    def test_other_weights(self, tmp_path, state, message):
        content = {'epoch': 1} if state is None else {'epoch': 1, 'state_dict': state}
        torch.save(content, tmp_path / 'c.pth.tar')
        with pytest.raises(ModelError, match=message):
            load_run(tmp_path / 'c.pth.tar')

    @pytest.mark.parametrize(('changes', 'message'), [
        ({'epoch': 'two'}, "epoch is 'two'"), ({'recalls': {1: 'x'}}, 'recalls are'),
        ({'recalls': 3}, 'recalls are'), ({'best_score': None}, 'best_score is None')])
    def test_other_numbers(self, tmp_path, changes, message):
        save_run(small_run(), tmp_path / 'run')
        path = tmp_path / 'run' / 'checkpoints' / 'checkpoint.pth.tar'
        torch.save({**checkpoint_of(tmp_path / 'run'), **changes}, path)
        with pytest.raises(ModelError, match=message):
            load_run(tmp_path / 'run')

    @pytest.mark.parametrize(('changes', 'message'), [
        ({'w': 5}, 'has w 3, but flags.json beside it says 5'),
        ({'outDims': 9}, 'has outDims 8, but'), ({'seqL': 2}, 'seqL 2, expected'),
        ({'seqL': 'x'}, 'seqL x, expected')])
    def test_options_that_contradict_the_weights(self, tmp_path, changes, message):
        save_run(small_run(), tmp_path / 'run')
        path = tmp_path / 'run' / 'checkpoints' / 'flags.json'
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        with pytest.raises(ModelError, match=message):
            load_run(tmp_path / 'run')

    @pytest.mark.parametrize(('text', 'message'), [
        (None, 'cannot be read'), ('{', 'is not JSON'), ('[]', 'holds a list')])
    def test_options_that_are_none(self, tmp_path, text, message):
        save_run(small_run(), tmp_path / 'run')
        path = tmp_path / 'run' / 'checkpoints' / 'flags.json'
        path.unlink() if text is None else path.write_text(text)
        with pytest.raises(InputError, match=message):
            load_run(tmp_path / 'run')

    def test_damaged_and_unsafe_files(self, tmp_path):
        save_run(small_run(), tmp_path / 'run')
        path = tmp_path / 'run' / 'checkpoints' / 'checkpoint.pth.tar'
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ModelError, match='not a whole torch file'):
            load_run(tmp_path / 'run')
        torch.save({'state_dict': RunsCode(tmp_path / 'trace')}, path)
        with pytest.raises(ModelError, match='rejected'):
            load_run(tmp_path / 'run')
        assert not (tmp_path / 'trace').exists()


def frame_model(path: Path, bins: int = 9) -> Path:
    """Write a model with frame descriptors of length 4 * bins."""
    path.write_text(yaml.safe_dump({
        'image': {'height': 64, 'width': 64},
        'frame': {'kind': 'hog', 'cell': 32, 'block': 64, 'bins': bins},
        'matching': {'top_k': 3}}))
    return path


def street(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(count)]


class TestModels:
    def test_a_model_of_a_run_localises(self, tmp_path):
        run = small_run()
        save_run(run, tmp_path / 'run')
        result = CliRunner().invoke(app, [
            'models', 'create', '--from', str(tmp_path / 'run'), '--frame-model',
            str(frame_model(tmp_path / 'frame.yaml')), '--output', str(tmp_path / 'mine.yaml')])
        assert result.exit_code == 0, result.stderr
        model = load_model(tmp_path / 'mine.yaml', 'cpu')
        config = model.config
        assert (config.name, config.centring, model.engine.matching.top_k) == ('mine', False, 3)
        assert (model.engine.sequence.length, config.sequence.aggregator, config.sequence.kernel,
                config.sequence.out_dim) == (5, 'seqnet', 3, 8)
        assert torch.equal(model.aggregator.conv.weight, run.module.conv.weight)

        images = street(30)
        mapper = Mapper(model)
        for index, image in enumerate(images):
            mapper.push(image, index * 10**8)
        place_map = mapper.finish()
        assert place_map.sequences.shape == (30, 8)
        frames = model.describer.describe(images[6:11])
        with torch.inference_mode():
            expected = run.module(torch.from_numpy(frames)[None])[0].numpy()
        np.testing.assert_allclose(place_map.sequences[10], expected, atol=1e-6)

        localizer = Localizer(model, place_map, with_sequences(model.engine))
        for index, image in enumerate(images[10:20]):
            match = localizer.push(image, index * 10**8)
        assert match.candidates[0].place_id == 19

    def test_it_may_be_moved_with_its_weights_but_not_without(self, tmp_path):
        create_model(small_run(), frame_model(tmp_path / 'frame.yaml'), tmp_path / 'a' / 'm.yaml')
        (tmp_path / 'a').rename(tmp_path / 'b')
        model = load_model(tmp_path / 'b' / 'm.yaml', 'cpu')
        assert model.fingerprint == load_model(tmp_path / 'b' / 'm.yaml', 'cpu').fingerprint
        (tmp_path / 'b' / 'm.safetensors').write_bytes(b'other')
        with pytest.raises(ModelError, match='sha256'):
            load_model(tmp_path / 'b' / 'm.yaml', 'cpu')
        (tmp_path / 'b' / 'm.safetensors').unlink()
        with pytest.raises(ModelError, match='no weights at'):
            load_model(tmp_path / 'b' / 'm.yaml', 'cpu')

    def test_other_weights_are_another_model(self, tmp_path):
        run = small_run()
        other = small_run()
        with torch.no_grad():
            other.module.conv.bias += 1
        frame = frame_model(tmp_path / 'frame.yaml')
        for name, each in (('a', run), ('b', other)):
            create_model(each, frame, tmp_path / f'{name}.yaml')
        assert load_model(tmp_path / 'a.yaml', 'cpu').fingerprint != load_model(
            tmp_path / 'b.yaml', 'cpu').fingerprint

    def test_relative_frame_weights_are_still_found(self, tmp_path):
        source = tmp_path / 'frames'
        source.mkdir()
        (source / 'net.yaml').write_text(yaml.safe_dump({
            'image': {'height': 64, 'width': 64},
            'frame': {'kind': 'network', 'backbone': 'resnet18', 'layer': 1},
            'weights': {'path': 'net.pth', 'layout': 'torchvision'}}))
        config = create_model(
            small_run(in_dim=64), source / 'net.yaml', tmp_path / 'm.yaml').model
        assert config.weights.path == str(source / 'net.pth')
        assert config.weights.layout == 'torchvision'

    def test_sequence_weights_in_the_file_of_the_frames_reach_the_aggregator(self, tmp_path):
        values = {'image': {'height': 64, 'width': 64},
                  'frame': {'kind': 'network', 'backbone': 'resnet18', 'layer': 1},
                  'sequence': {'aggregator': 'seqgem'}, 'weights': {'random': True}}
        (tmp_path / 'net.yaml').write_text(yaml.safe_dump(values))
        config = parse_preset({'name': 'net', **values}, 'net').model
        state = FrameNetwork(config.frame, config.image).state_dict()
        torch.save({**{f'model.{name}': tensor for name, tensor in state.items()},
                    'seq_gem.p': torch.tensor([3.5])}, tmp_path / 'net.pth')
        values['weights'] = {'path': 'net.pth', 'layout': 'jist'}
        (tmp_path / 'net.yaml').write_text(yaml.safe_dump(values))
        assert load_model(tmp_path / 'net.yaml', 'cpu').aggregator.p.item() == 3.5

    def test_a_published_run_on_frames_of_its_length(self, runs, tmp_path):
        frame = frame_model(tmp_path / 'frame.yaml', bins=16)
        create_model(load_run(runs / 'seqnet_l5_w3'), frame, tmp_path / 'm.yaml')
        model = load_model(tmp_path / 'm.yaml', 'cpu')
        with torch.inference_mode():
            assert model.aggregator(torch.rand(2, 5, 64)).shape == (2, 48)

    @pytest.mark.parametrize(('arguments', 'message'), [
        (('--frame-model', 'hog', '--output', 'm.yaml'),
         'length 1764, but the SeqNet takes 36'),
        (('--frame-model', 'none', '--output', 'm.yaml'), "no model 'none'"),
        (('--frame-model', 'frame.yaml', '--output', 'm.txt'), 'ending in .yaml'),
        (('--frame-model', 'frame.yaml', '--output', 'frame.yaml'), 'exists, expected a new'),
        (('--frame-model', 'frame.yaml', '--output', '-m.yaml'), 'name: '),
        (('--from', 'nowhere', '--frame-model', 'frame.yaml', '--output', 'm.yaml'),
         'does not exist, expected the folder of a run'),
    ])
    def test_refusals(self, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        save_run(small_run(), tmp_path / 'run')
        frame_model(tmp_path / 'frame.yaml')
        before = names_in(tmp_path)
        result = CliRunner().invoke(app, ['models', 'create', '--from', 'run', *arguments])
        assert result.exit_code == 2, result.stderr
        errors = [line for line in result.stderr.splitlines() if line.startswith('Error: ')]
        assert len(errors) == 1
        assert message in errors[0]
        assert names_in(tmp_path) == before
