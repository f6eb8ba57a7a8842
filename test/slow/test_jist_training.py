"""Training JIST in processes of their own: killed and resumed, and two at once."""

import signal

import pytest
import torch
from jist_training import options, states
from training_command import train_alone, train_in_two, train_until

from seqnet_ros.descriptors.weights import read_torch

pytestmark = pytest.mark.slow


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(streets, tmp_path):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    common = [*options(streets), '--epochs', 3]
    train_until('epoch 1 of 3', signal.SIGKILL, 'jist', '--output', broken, *common,
                '--workers', 2)
    assert read_torch(broken / 'last_checkpoint.pth')['epoch_num'] < 3
    for arguments in (('--output', whole, *common, '--workers', 0),
                      ('--output', broken, '--resume', '--workers', 1)):
        train_alone('jist', *arguments)
    found = states(whole, broken)
    for expected, resumed in (found[:2], found[2:]):
        assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    ends = [read_torch(run / 'last_checkpoint.pth') for run in (whole, broken)]
    assert ends[0]['best'] == ends[1]['best']
    assert ends[0]['epoch_num'] == ends[1]['epoch_num'] == 3


def test_two_processes_come_to_the_weights_of_one(streets, tmp_path):
    common = ['jist', *options(streets), '--epochs', 1, '--workers', 0,
              '--set', 'update_batch_norm=none', '--set', 'lr=1e-4', '--output']
    train_alone(*common, tmp_path / 'one')
    train_in_two(*common, tmp_path / 'two')
    one, two = states(tmp_path / 'one', tmp_path / 'two')[:2]
    for name, expected in one.items():
        torch.testing.assert_close(two[name], expected, atol=5e-5, rtol=0)
    first, second = (read_torch(tmp_path / run / 'last_checkpoint.pth')
                     for run in ('one', 'two'))
    assert first['best'] == second['best']
