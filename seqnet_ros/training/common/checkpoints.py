"""States of a training run on disk: the newest, the one before it, and their checksums.

``last.ckpt`` is written whole and synced; the state it replaces stays as ``last~1.ckpt``.
``last.ckpt.sha256`` lists the checksums of both, so that a flipped bit is found before a training
goes on with it.
"""

import logging
import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from seqnet_ros.core.errors import InputError, ModelError
from seqnet_ros.core.files import read_limited, sync_folder, whole_file
from seqnet_ros.descriptors.download import file_sha256
from seqnet_ros.descriptors.weights import read_torch

_CHECKSUMS = '.sha256'
_LISTED = 2
_MAX_CHECKSUM_BYTES = 4096

_logger = logging.getLogger(__name__)


def find_checkpoint(path: Path) -> Path:
    """Return the newest whole state of a run: that at a path, or the one before it.

    Raises:
        InputError: there is none at all.
        ModelError: all are damaged.
    """
    found = _states(path)
    if not found:
        raise InputError(f'run {path.parent} has no {path.name}, expected the run of an '
                         'interrupted training')
    problems: list[str] = []
    for checkpoint in found:
        problem = _problem_of(checkpoint, path)
        if problem is None:
            for other in problems:
                _logger.warning('%s: going on from %s, the state one round before', other,
                                checkpoint)
            return checkpoint
        problems.append(problem)
    raise ModelError(f'run {path.parent} has no whole state: {"; ".join(problems)}')


def has_state(path: Path) -> bool:
    """Return whether a run has kept a state, whole or damaged."""
    return bool(_states(path))


def _states(path: Path) -> list[Path]:
    return [one for one in (path, previous_of(path)) if one.is_file()]


def previous_of(path: Path) -> Path:
    """Return where the state before the newest one is kept."""
    return path.with_name(f'{path.stem}~1{path.suffix}')


class WholeCheckpoints(CheckpointIO):
    """Writes and reads the states of a run for Lightning."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | PathLike[str],
                        storage_options: Any = None) -> None:
        """Write a state, and keep the one before it.

        Raises:
            InputError: it cannot be written; the old state is untouched.
        """
        target = Path(path)
        try:
            with whole_file(target) as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
                # First the checksum: whenever the process ends, each state has its own listed.
                _list_checksums(target, file_sha256(Path(file.name)))
                if target.is_file():
                    target.replace(previous_of(target))
        except RuntimeError as error:  # torch raises this if the disk is full
            raise InputError(f'{target} cannot be written: {error}') from error

    def load_checkpoint(self, path: str | PathLike[str], map_location: Any = None,
                        weights_only: bool | None = None) -> dict[str, Any]:
        """Read a state, on the CPU, without running any code in it.

        Raises:
            ModelError: it is damaged or unsafe.
        """
        return dict(read_torch(Path(path)))

    def remove_checkpoint(self, path: str | PathLike[str]) -> None:
        """Remove a state."""
        Path(path).unlink(missing_ok=True)
        sync_folder(Path(path).parent)


def _problem_of(checkpoint: Path, newest: Path) -> str | None:
    """Return what is wrong with a state; None where it is whole."""
    listed = _read_checksums(newest)
    if listed:
        return None if file_sha256(checkpoint) in listed else (
            f'{checkpoint} does not match its checksum')
    try:
        read_torch(checkpoint)
    except ModelError as error:
        return str(error)
    return None


def _list_checksums(newest: Path, digest: str) -> None:
    kept = [*_read_checksums(newest)][:_LISTED]
    with whole_file(_checksum_file(newest)) as file:
        file.write(''.join(f'{one}\n' for one in dict.fromkeys([digest, *kept])).encode())


def _read_checksums(newest: Path) -> Iterable[str]:
    """Return the checksums, newest first; nothing for runs of earlier versions."""
    file = _checksum_file(newest)
    if not file.is_file():
        return []
    return read_limited(file, _MAX_CHECKSUM_BYTES).decode('ascii', 'replace').split()


def _checksum_file(newest: Path) -> Path:
    return newest.with_name(newest.name + _CHECKSUMS)
