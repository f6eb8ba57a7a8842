"""Trainings run as a user runs them, in processes of their own."""

import os
import signal
import subprocess
import sys

ALONE = {**os.environ, 'OMP_NUM_THREADS': '1'}
"""Environment of trainings that have to give the same numbers to the bit."""


def command(*arguments: object) -> list[str]:
    """Return the command line of `seqnet_ros`."""
    return [sys.executable, '-m', 'seqnet_ros.cli.main', *map(str, arguments)]


def train_alone(*arguments: object) -> None:
    """Run a training to its end."""
    subprocess.run(command('train', *arguments), env=ALONE, check=True, capture_output=True,
                   timeout=200)


def train_in_two(*arguments: object) -> None:
    """Run a training in two processes to its end."""
    subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2',
         *command('train', *arguments)[1:]],
        env=ALONE, check=True, capture_output=True, timeout=250)


def train_until(said: str, number: signal.Signals, *arguments: object) -> tuple[int, str]:
    """Run a training and send it a signal when it starts a line like that.

    Returns:
        Its exit status and what else it wrote to standard error.
    """
    # A shell starts what runs in the background deaf to Ctrl-C, and children inherit that.
    with subprocess.Popen(
            command('train', *arguments), env=ALONE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(said):
                process.send_signal(number)
                break
        rest = process.stderr.read()
        return process.wait(timeout=60), rest
