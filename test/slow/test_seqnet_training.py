"""Training SeqNet in processes of their own: killed and resumed, two at once, interrupted."""

import signal

import pytest
import torch
from training_command import train_alone, train_in_two, train_until

from seqnet_ros.training.seqnet.run import load_run

pytestmark = pytest.mark.slow


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(arrays, tmp_path):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    train_alone('seqnet', '--output', whole, '--epochs', 8, *arrays)
    train_until('epoch 3 of 8', signal.SIGKILL, 'seqnet', '--output', broken, '--epochs', 8,
                *arrays)
    killed_at = load_run(broken).epoch
    assert 3 <= killed_at < 8
    train_alone('seqnet', '--output', broken, '--resume')
    for which in ('latest', 'best'):
        expected, found = load_run(whole, which), load_run(broken, which)
        assert torch.equal(found.module.conv.weight, expected.module.conv.weight)
        assert torch.equal(found.module.conv.bias, expected.module.conv.bias)
        assert (found.epoch, found.recalls, found.best_score) == (
            expected.epoch, expected.recalls, expected.best_score)
    assert found.flags == expected.flags


def test_two_processes_come_to_the_weights_of_one(arrays, tmp_path):
    options = ['seqnet', '--epochs', 3, *arrays]
    train_alone(*options, '--output', tmp_path / 'one')
    train_in_two(*options, '--output', tmp_path / 'two')
    one, two = load_run(tmp_path / 'one'), load_run(tmp_path / 'two')
    torch.testing.assert_close(two.module.conv.weight, one.module.conv.weight,
                               atol=1e-6, rtol=0)
    assert (two.epoch, two.recalls) == (one.epoch, one.recalls)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_interrupted_says_so(arrays, tmp_path, number):
    status, said = train_until('epoch 2 of', number, 'seqnet', '--output', tmp_path / 'run',
                               '--epochs', 100_000, *arrays)
    assert status == 128 + number
    assert 'Traceback' not in said
    assert load_run(tmp_path / 'run').epoch >= 2
