"""Training SeqNet: it learns, is repeatable, can be resumed and shared among processes."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import refusal, succeed
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.seqnet.db_struct import DbStruct
from seqnet_ros.evaluation.metrics.ground_truth import recall_at
from seqnet_ros.evaluation.seqnet.drives import Drive
from seqnet_ros.evaluation.seqnet.methods import DescriptorSearch, search
from seqnet_ros.training.common.distributed import ProcessGroupSlice
from seqnet_ros.training.seqnet.config import SeqNetTrainingConfig, parse_training_config
from seqnet_ros.training.seqnet.data import DrivePair, hold_out
from seqnet_ros.training.seqnet.mining import NONE
from seqnet_ros.training.seqnet.run import load_run
from seqnet_ros.training.seqnet.trainer import SeqNetTraining, train_seqnet
from seqnet_ros.training.seqnet.tuples import DriveWindows, TupleBatch, TupleMiner

QUICK = {'length': 5, 'kernel': 3, 'out_dim': 24, 'lr': 0.02, 'epochs': 3}


def route(count: int = 160, seed: int = 0) -> DrivePair:
    """Two drives along a line, one metre a frame; what they share hides under what they do not."""
    random = np.random.default_rng(seed)
    places = np.cumsum(random.normal(size=(count, 16)), axis=0) * 0.5 + random.normal(
        size=(count, 16))
    light = random.normal(size=(2, 1, 16)) * 6
    drives = []
    for side in range(2):
        frames = np.concatenate([places + random.normal(size=places.shape),
                                 light[side] + random.normal(size=places.shape) * 4], axis=1)
        frames /= np.linalg.norm(frames, axis=1, keepdims=True)
        drives.append(Drive.of(frames.astype(np.float32)))
    names = tuple(f'{i}.png' for i in range(count))
    line = np.arange(count, dtype=float)[:, None]
    return DrivePair.of(DbStruct('route', 'train', names, names, line, line, 8.0, 2.0), *drives)


def train(run: Path, pair: DrivePair, validation: DrivePair, **settings: object) -> None:
    config = SeqNetTrainingConfig(**{**QUICK, **settings})
    train_seqnet(SeqNetTraining(pair, validation, config, {}, device='cpu'), run)


def recall(run: Path, pair: DrivePair) -> float:
    found = load_run(run)
    predictions = search(DescriptorSearch(found.module, found.length), pair.reference, pair.query)
    return recall_at(predictions.indices, pair.truth()).values[1]


class TestLearning:
    def test_an_unseen_route_is_recognised_better_after_training(self, tmp_path):
        training, unseen = hold_out(route(400), 0.3)
        train(tmp_path / 'start', training, unseen, epochs=1, lr=1e-9)
        train(tmp_path / 'end', training, unseen, epochs=20)
        assert recall(tmp_path / 'end', unseen) > 2 * recall(tmp_path / 'start', unseen)

    def test_the_run_tells_how_it_went(self, tmp_path):
        training, validation = hold_out(route(), 0.3)
        train(tmp_path, training, validation, epochs=4)
        latest, best = load_run(tmp_path), load_run(tmp_path, 'best')
        assert latest.epoch == 4
        assert latest.flags['seqL'] == 5
        assert latest.flags['lr'] == 0.02
        assert best.best_score == best.recalls[5] == latest.best_score
        assert set(latest.recalls) == {1, 5, 10, 20, 100}
        momentum = latest.optimizer['state'][0]['momentum_buffer']
        assert momentum.shape == latest.module.conv.weight.shape
        events = EventAccumulator(str(tmp_path)).Reload()
        assert [event.value for event in events.Scalars('Val/Recall@5')][-1] == pytest.approx(
            latest.recalls[5])
        assert len(events.Scalars('Train/AvgLoss')) == 4
        assert events.Scalars('Train/Loss')
        assert events.Scalars('Train/nNeg')

    def test_the_rate_falls_by_epochs_however_many_rounds_an_epoch_has(self, tmp_path):
        training, validation = hold_out(route(), 0.3)
        train(tmp_path, training, validation, epochs=5, lr_step=2, lr_gamma=0.1, refresh_every=40)
        run = load_run(tmp_path)
        assert run.epoch == 5
        assert run.optimizer['param_groups'][0]['lr'] == pytest.approx(0.02 * 0.1 ** 2)

    def test_adam_keeps_its_rate(self, tmp_path):
        training, validation = hold_out(route(), 0.3)
        train(tmp_path, training, validation, optimizer='adam', lr=1e-3, lr_step=1)
        group = load_run(tmp_path).optimizer['param_groups'][0]
        assert (group['lr'], group['weight_decay']) == (1e-3, 0)
        assert load_run(tmp_path).flags['optim'] == 'ADAM'

    def test_patience_ends_it(self, tmp_path):
        training, validation = hold_out(route(), 0.3)
        train(tmp_path, training, validation, epochs=40, lr=1e-9, patience=3)
        assert load_run(tmp_path).epoch == 4

    def test_it_can_start_from_a_run(self, tmp_path):
        training, validation = hold_out(route(), 0.3)
        train(tmp_path / 'first', training, validation)
        first = load_run(tmp_path / 'first').module
        config = SeqNetTrainingConfig(**{**QUICK, 'epochs': 1, 'lr': 1e-9})
        before = first.conv.weight.detach().clone()
        train_seqnet(SeqNetTraining(training, validation, config, {}, first, 'cpu'),
                     tmp_path / 'second')
        after = load_run(tmp_path / 'second').module.conv.weight
        torch.testing.assert_close(after, before, atol=1e-6, rtol=0)

    def test_bfloat16_learns_as_well(self, tmp_path):
        training, validation = hold_out(route(), 0.3)
        config = SeqNetTrainingConfig(**{**QUICK, 'epochs': 20})
        train_seqnet(SeqNetTraining(training, validation, config, {}, None, 'cpu', 'bf16'),
                     tmp_path / 'half')
        train(tmp_path / 'whole', training, validation, epochs=20)
        assert load_run(tmp_path / 'half').module.conv.weight.dtype == torch.float32
        assert recall(tmp_path / 'half', validation) == pytest.approx(
            recall(tmp_path / 'whole', validation), abs=0.15)


class TestRounds:
    def test_every_query_comes_once_an_epoch_in_chunks(self):
        pair = route(100)
        config = SeqNetTrainingConfig(**{**QUICK, 'refresh_every': 30, 'batch_size': 7})
        miner = TupleMiner(pair, config)
        layer = torch.nn.Module()
        layer.forward = lambda frames: frames.mean(dim=1)
        sides = [DriveWindows(drive, 5) for drive in (pair.reference, pair.query)]
        assert miner.rounds_per_epoch == 4
        seen: list[int] = []
        for number in range(4):
            batches = miner.choose(layer, *sides, number, ProcessGroupSlice())
            rows = torch.cat([batch.queries for batch in batches])
            assert set(rows.tolist()) <= set(range(30 * number, min(30 * number + 30, 100)))
            assert all(len(batch.queries) <= 7 for batch in batches)
            seen += rows.tolist()
            for batch in batches:
                assert batch.triplets == int((batch.negatives != NONE).sum())
                line = pair.db_positions[:, 0]
                gaps = np.abs(line[batch.positives] - pair.q_positions[batch.queries, 0])
                assert gaps.max() <= 2
                far = np.abs(line[batch.negatives] - pair.q_positions[batch.queries])
                assert far[(batch.negatives != NONE).numpy()].min() > 8
        assert len(seen) == len(set(seen)) > 50

    def test_processes_choose_the_same_tuples_as_one(self):
        pair = route(60)
        config = SeqNetTrainingConfig(**{**QUICK, 'batch_size': 7})
        layer = torch.nn.Module()
        layer.forward = lambda frames: frames.mean(dim=1)
        sides = [DriveWindows(drive, 5) for drive in (pair.reference, pair.query)]
        whole = TupleMiner(pair, config).choose(layer, *sides, 0, ProcessGroupSlice())
        slots: list[torch.Tensor | None] = [None, None]
        meeting = threading.Barrier(2)

        def choose(rank: int) -> list[TupleBatch]:
            def gather(values: torch.Tensor) -> torch.Tensor:
                slots[rank] = values
                meeting.wait(60)
                both = torch.stack(slots)
                meeting.wait(60)
                return both
            return TupleMiner(pair, config).choose(
                layer, *sides, 0, ProcessGroupSlice(rank, 2, gather))

        with ThreadPoolExecutor(2) as threads:
            shares = list(threads.map(choose, range(2)))
        assert len(shares[0]) == len(shares[1]) == len(whole)
        for parts, batch in zip(zip(*shares, strict=True), whole, strict=True):
            assert {part.triplets for part in parts} == {batch.triplets}
            order = torch.cat([part.queries for part in parts]).argsort()
            expected = batch.queries.argsort()
            for name in ('queries', 'positives', 'negatives'):
                joined = torch.cat([getattr(part, name) for part in parts])
                assert torch.equal(joined[order], getattr(batch, name)[expected])


class TestHoldingOut:
    @given(share=st.floats(0.1, 0.5), seed=st.integers(0, 50), loops=st.integers(1, 3))
    def test_training_and_validation_share_no_place_and_no_frame(self, share, seed, loops):
        random = np.random.default_rng(seed)
        angle = np.linspace(0, 2 * np.pi * loops, 120)
        circle = 100 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        frames = random.normal(size=(120, 4)).astype(np.float32)
        drives = [Drive.of(frames), Drive.of(frames)]
        names = tuple(map(str, range(120)))
        struct = DbStruct('circle', 'train', names, names, circle, circle + 1, 12.0, 6.0)
        try:
            training, validation = hold_out(DrivePair.of(struct, *drives), share)
        except InputError:
            assert loops > 1  # the last lap is everywhere
            return
        gaps = np.linalg.norm(training.db_positions[:, None] - validation.q_positions, axis=2)
        assert gaps.min() > 12
        gaps = np.linalg.norm(training.q_positions[:, None] - validation.db_positions, axis=2)
        assert gaps.min() > 12
        for side in ('reference', 'query'):
            used = [set(np.unique(getattr(part, side).windows(5)))
                    for part in (training, validation)]
            assert not used[0] & used[1]
        assert (training.radius, validation.radius) == (12, 6)

    def test_a_share_that_leaves_nothing_is_refused(self):
        with pytest.raises(InputError, match='0 references and 0 queries for training'):
            hold_out(route(20), 0.9)
        with pytest.raises(InputError, match='the share held out is 1'):
            hold_out(route(20), 1)


class TestCommand:
    def test_what_was_trained_can_be_evaluated(self, arrays, tmp_path):
        said = succeed('train', 'seqnet', '--output', tmp_path / 'run', '--epochs', 2, *arrays)
        assert 'sequence     5 frames, kernel 3' in said.stdout
        succeed('evaluate', *arrays[:10], '--method', 'seqnet', '--checkpoint', tmp_path / 'run',
                '--json', tmp_path / 'result.json')
        assert json.loads((tmp_path / 'result.json').read_text())['recall']['100'] > 0.5

    def test_a_run_that_kept_no_state_begins_anew(self, arrays, tmp_path):
        whole, killed = tmp_path / 'whole', tmp_path / 'killed'
        succeed('train', 'seqnet', '--output', whole, '--epochs', 1, *arrays)
        killed.mkdir()
        (killed / 'training.json').write_bytes((whole / 'training.json').read_bytes())
        said = succeed('train', 'seqnet', '--output', killed, '--resume', '--device', 'cpu')
        assert 'before it kept a state: starting from the beginning' in said.stderr
        for (_, one), (_, other) in zip(
                load_run(whole).module.state_dict().items(),
                load_run(killed).module.state_dict().items(), strict=True):
            assert torch.equal(one, other)
        (killed / 'training.json').write_bytes(b'\xff')
        assert 'training.json is not text' in refusal(
            'train', 'seqnet', '--output', killed, '--resume')

    def test_bad_input_is_one_sentence(self, arrays, tmp_path):
        def refused(*options: object) -> str:
            return refusal('train', 'seqnet', '--output', tmp_path / 'run', *options)

        assert 'kernel of 7' in refused(*arrays, '--kernel', 7, '-L', 5)
        assert 'was given with --resume' in refused(*arrays, '--resume')
        assert 'training.json cannot be read' in refused('--resume')
        assert "precision '16' needs a GPU" in refused(*arrays, '--precision', '16')
        if find_spec('openvino'):
            assert 'cannot train' in refused(*arrays, '--device', 'openvino')
        assert "the precision is '8'" in refused(*arrays, '--precision', '8')
        assert 'windows of 500 frames do not fit' in refused(*arrays, '-L', 500)
        assert 'nowhere does not exist' in refused(*arrays, '--initial', 'nowhere')
        assert 'lrate' in refused(*arrays, '--set', 'lrate=1')
        assert not (tmp_path / 'run').exists()


def test_settings_out_of_range_are_named():
    with pytest.raises(InputError, match='batch_size'):
        parse_training_config({'batch_size': 0}, 'settings')
