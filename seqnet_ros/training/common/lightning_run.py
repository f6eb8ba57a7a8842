"""Common parts of trainings with Lightning: processes, devices, interruption, checkpoints.

One epoch of Lightning is a *round*: the part of a training after which its state is kept, and from
which it resumes as if it had not been interrupted.
"""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from seqnet_ros.core.errors import InputError
from seqnet_ros.descriptors.device import select_device
from seqnet_ros.training.common.checkpoints import WholeCheckpoints, find_checkpoint, has_state
from seqnet_ros.training.common.distributed import ProcessGroupSlice
from seqnet_ros.training.common.run_record import RECORD, write_record

PRECISIONS = {'32': '32-true', '16': '16-mixed', 'bf16': 'bf16-mixed'}

_LOG_STEPS = 10

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LightningRun:
    """Settings of a training run and its files.

    Attributes:
        folder: of the run.
        state: name of the file in it that resumes an interrupted training.
        rounds: number of rounds in all.
        validate_every: rounds between two validations.
        device: 'auto', 'cuda' or 'cpu'.
        precision: one of `PRECISIONS`; those of 16 bits are mixed with 32.
        record: options of the training, as JSON values.
        callbacks: in the order of their calls, before the state is kept.
        strategy: how several processes work together.
        sync_batch_norm: batch norms see the images of all processes, on a GPU.
    """

    folder: Path
    state: str
    rounds: int
    validate_every: int
    device: str = 'auto'
    precision: str = '32'
    record: Mapping[str, Any] = field(default_factory=dict)
    callbacks: Sequence[Callback] = ()
    strategy: str | Strategy = 'ddp'
    sync_batch_norm: bool = False

    def fit(self, module: LightningModule, resume: bool = False) -> None:
        """Train, started alone or by ``torchrun``.

        Raises:
            KeyboardInterrupt: Ctrl-C; a SIGTERM ends in `SystemExit`. Both can be resumed.
            InputError: the precision is unknown or needs a GPU, or the run cannot be written.
            ModelError: the device cannot be used.
        """
        with _quiet_lightning():
            trainer = self._trainer()
            path = self.folder / self.state
            checkpoint = find_checkpoint(path) if resume and has_state(path) else None
            if trainer.is_global_zero:
                # Before anything else: a run that is killed at once can be resumed.
                write_record(self.folder, self.record)
            try:
                trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
            except SIGTERMException:
                # By default it would end the process as if the training were complete.
                raise SystemExit(128 + signal.SIGTERM) from None
            except SystemExit:
                raise KeyboardInterrupt from None

    def _trainer(self) -> Trainer:
        if self.precision not in PRECISIONS:
            raise InputError(f'the precision is {self.precision!r}, expected one of '
                             f'{", ".join(PRECISIONS)}')
        chosen = select_device(self.device)
        if chosen.openvino:
            raise InputError("device 'openvino' cannot train, expected 'auto', 'cuda' or 'cpu'")
        device = chosen.device.type
        if device == 'cpu' and self.precision == '16':
            raise InputError("precision '16' needs a GPU, expected '32' or 'bf16' on the CPU")
        world, local = process_counts()
        return Trainer(
            accelerator='gpu' if device == 'cuda' else 'cpu', devices=local,
            num_nodes=world // local, strategy=self.strategy if world > 1 else 'auto',
            sync_batchnorm=self.sync_batch_norm and device == 'cuda',
            precision=PRECISIONS[self.precision],  # type: ignore[arg-type]
            logger=TensorBoardLogger(self.folder, name='', version=''),
            callbacks=[*self.callbacks, _state_keeper(self.folder / self.state)],
            plugins=[WholeCheckpoints()], max_epochs=self.rounds,
            check_val_every_n_epoch=self.validate_every,
            num_sanity_val_steps=0, log_every_n_steps=_LOG_STEPS, use_distributed_sampler=False,
            reload_dataloaders_every_n_epochs=1, enable_model_summary=False,
            enable_progress_bar=sys.stderr.isatty())


def process_counts() -> tuple[int, int]:
    """Return how many processes torchrun started in all and on this machine."""
    return int(os.environ.get('WORLD_SIZE', '1')), int(os.environ.get('LOCAL_WORLD_SIZE', '1'))


def slice_of(module: LightningModule) -> ProcessGroupSlice:
    """Return how the processes of a training share work."""
    world = module.trainer.world_size

    def gather(values: Tensor) -> Tensor:
        gathered = module.all_gather(values)
        assert isinstance(gathered, Tensor)
        return gathered

    return ProcessGroupSlice(module.global_rank, world,
                             gather) if world > 1 else ProcessGroupSlice()


def require_state(folder: Path, state: str) -> None:
    """Check that a run can be resumed: from a state, or from its beginning if it kept none yet.

    Raises:
        InputError: no run was started in the folder.
        ModelError: all states are damaged.
    """
    if has_state(folder / state) or not (folder / RECORD).is_file():
        find_checkpoint(folder / state)
    else:
        _logger.info('%s was interrupted before it kept a state: starting from the beginning',
                     folder)


def _state_keeper(path: Path) -> ModelCheckpoint:
    keeper = ModelCheckpoint(path.parent, path.stem, save_on_train_epoch_end=True,
                             enable_version_counter=False)
    keeper.FILE_EXTENSION = path.suffix
    return keeper


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Suppress Lightning's messages about itself."""
    logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Tuples are index lists in memory; workers would not be faster.
        warnings.filterwarnings('ignore', '.*does not have many workers.*')
        warnings.filterwarnings('ignore', '.*Checkpoint directory .* exists and is not empty.*')
        warnings.filterwarnings('ignore', '.*The number of training batches.*')
        warnings.filterwarnings('ignore', '.*all_gather is deprecated.*')
        # The mode of batch norms is set at the start of every round.
        warnings.filterwarnings('ignore', r'.*module\(s\) in eval mode.*')
        warnings.filterwarnings('ignore', '.*`isinstance.treespec, LeafSpec.` is deprecated.*')
        yield
