"""SeqNet training with Lightning: rounds of mined tuples, validation, runs that can be resumed."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor
from torch.utils.data import DataLoader

from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.metrics.ground_truth import recall_at
from seqnet_ros.evaluation.seqnet.methods import DescriptorSearch, search
from seqnet_ros.sequences.seqnet_aggregators import SeqNet
from seqnet_ros.training.common.lightning_run import LightningRun, require_state, slice_of
from seqnet_ros.training.seqnet.config import SeqNetTrainingConfig
from seqnet_ros.training.seqnet.data import DrivePair
from seqnet_ros.training.seqnet.loss import triplet_loss
from seqnet_ros.training.seqnet.mining import NONE
from seqnet_ros.training.seqnet.run import SeqNetRun, save_run
from seqnet_ros.training.seqnet.tuples import DriveWindows, TupleBatch, TupleMiner

STATE = 'last.ckpt'

_LOSS, _AVERAGE, _NEGATIVES = 'Train/Loss', 'Train/AvgLoss', 'Train/nNeg'
_RECALL = 'Val/Recall@{}'
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SeqNetTraining:
    """Everything that training needs.

    Attributes:
        training: the drives to train on.
        validation: the drives that select the best weights.
        config: network, tuples and schedule.
        flags: further options to store in the run, by the names of the published code.
        initial: weights to start from; None draws them.
        device: 'auto', 'cuda' or 'cpu'.
        precision: '32', '16' or 'bf16'; those of 16 bits are mixed with 32.
        record: options of the training, as JSON values.
    """

    training: DrivePair
    validation: DrivePair
    config: SeqNetTrainingConfig
    flags: Mapping[str, Any] = field(default_factory=dict)
    initial: SeqNet | None = None
    device: str = 'auto'
    precision: str = '32'
    record: Mapping[str, Any] = field(default_factory=dict)


def train_seqnet(job: SeqNetTraining, run: Path, resume: bool = False) -> None:
    """Train, and leave a run that `load_run` and the published code load.

    After every validation the run holds the latest and the best weights, after every round
    `STATE`, which resumes an interrupted training as if it had not been interrupted. Started by
    ``torchrun``, the processes share the work of every step and come to the same weights as one.

    Args:
        job: data and settings.
        run: folder of the run.
        resume: continue from `STATE` in this folder.

    Raises:
        KeyboardInterrupt: Ctrl-C; a SIGTERM ends in `SystemExit`. Both can be resumed.
        InputError: nothing can be trained on this data, or there is nothing to resume.
        ModelError: the device cannot be used.
    """
    if resume:
        require_state(run, STATE)
    module = _SeqNetModule(job)
    config, rounds = job.config, module.miner.rounds_per_epoch
    callbacks: list[Callback] = [_RunWriter(run, job, rounds)]
    if config.patience:
        callbacks.append(EarlyStopping(_RECALL.format(5), mode='max', patience=config.patience,
                                       check_on_train_epoch_end=False))
    LightningRun(run, STATE, config.epochs * rounds, config.validate_every * rounds, job.device,
                 job.precision, job.record, callbacks).fit(module, resume)


class _SeqNetModule(LightningModule):
    """The network with its tuples. One epoch of Lightning is a round of mining."""

    def __init__(self, job: SeqNetTraining) -> None:
        super().__init__()
        self._job, self._config = job, job.config
        self._reference = DriveWindows(job.training.reference, job.config.length)
        self._query = DriveWindows(job.training.query, job.config.length)
        self.layer = _initial_layer(job)
        self.miner = TupleMiner(job.training, job.config)
        self._finished_rounds = 0
        self._chosen: tuple[int, list[TupleBatch]] | None = None
        if not self.miner.trainable_queries:
            raise InputError(
                f'none of the {len(job.training.query.rows)} queries has a positive within '
                f'{job.training.positive_radius:g} and a place beyond {job.training.radius:g}, '
                'expected some to train on')

    def setup(self, stage: str) -> None:
        for drive in (self._reference, self._query):
            drive.move_to(self.trainer.strategy.root_device)

    def configure_optimizers(self) -> Any:
        config = self._config
        if config.optimizer == 'adam':
            return torch.optim.Adam(self.layer.parameters(), lr=config.lr)
        optimizer = torch.optim.SGD(self.layer.parameters(), lr=config.lr,
                                    momentum=config.momentum, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.StepLR(
            optimizer, config.lr_step * self.miner.rounds_per_epoch, config.lr_gamma)
        return {'optimizer': optimizer, 'lr_scheduler': schedule}

    def train_dataloader(self) -> DataLoader:
        # Lightning that resumes asks for the finished round before it asks for the next.
        number = max(self.current_epoch, self._finished_rounds)
        if self._chosen is None or self._chosen[0] != number:
            self._chosen = number, self.miner.choose(
                self.layer, self._reference, self._query, number, slice_of(self))
        batches = self._chosen[1]
        if not batches:
            _logger.warning('round %d: no sampled place comes near a positive, so nothing is '
                            'learned', number + 1)
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    def training_step(self, batch: TupleBatch, number: int) -> Tensor:
        loss = self._loss(batch)
        size = max(1, len(batch.queries))
        self.log(_LOSS, loss.detach(), batch_size=size)
        self.log(_NEGATIVES, float(batch.triplets), batch_size=size)
        self.log(_AVERAGE, loss.detach(), on_step=False, on_epoch=True, sync_dist=True,
                 batch_size=size, prog_bar=True)
        return loss

    def _loss(self, batch: TupleBatch) -> Tensor:
        """Return this process's part of the loss; the mean over processes is that of the batch."""
        owners, columns = (batch.negatives != NONE).nonzero(as_tuple=True)
        if not len(owners):
            # Every process has to have gradients for all weights.
            return 0 * torch.stack([weights.sum() for weights in self.layer.parameters()]).sum()
        queries = self.layer(self._query.frames(batch.queries)).float()
        # Neighboring queries share references; each is described once.
        asked = torch.cat([batch.positives, batch.negatives[owners, columns]])
        rows, position = asked.unique(return_inverse=True)
        references = self.layer(self._reference.frames(rows)).float()[position]
        positives, negatives = references.split([len(batch.positives), len(owners)])
        loss = triplet_loss(queries[owners], positives[owners], negatives, self._config.margin)
        return loss * (len(owners) * self.trainer.world_size / batch.triplets)

    def val_dataloader(self) -> DataLoader:
        return DataLoader([0])  # type: ignore[arg-type]

    def validation_step(self, batch: Tensor, number: int) -> None:
        validation, length = self._job.validation, self._config.length
        with torch.autocast(self.device.type, enabled=False):
            found = search(DescriptorSearch(self.layer, length), validation.reference,
                           validation.query)
        for n, value in recall_at(found.indices, validation.truth()).values.items():
            self.log(_RECALL.format(n), value, prog_bar=n == 5, batch_size=1, sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint['remembered'] = self.miner.remembered
        checkpoint['finished_rounds'] = self.current_epoch + 1

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        remembered = checkpoint['remembered']
        if remembered.shape != self.miner.remembered.shape:
            raise InputError(f'the run was trained on {len(remembered)} queries, found '
                             f'{len(self.miner.remembered)}')
        self.miner.remembered = remembered
        self._finished_rounds = checkpoint['finished_rounds']


class _RunWriter(Callback):
    """Keeps the latest and the best weights in the layout of the published code."""

    def __init__(self, run: Path, job: SeqNetTraining, rounds_per_epoch: int) -> None:
        self._run, self._job, self._rounds = run, job, rounds_per_epoch
        self._best = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {'best': self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best = float(state_dict['best'])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        recalls = {int(name.partition('@')[2]): float(value)
                   for name, value in trainer.callback_metrics.items()
                   if name.startswith(_RECALL.format(''))}
        epoch = (trainer.current_epoch + 1) // self._rounds
        best = recalls[5] > self._best
        self._best = max(self._best, recalls[5])
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, _SeqNetModule)
        state = SeqNetRun(
            pl_module.layer, epoch, recalls, self._best,
            {**self._job.flags, **self._job.config.flags()},
            trainer.optimizers[0].state_dict())
        save_run(state, self._run, ('latest', 'best') if best else ('latest',))
        shown = ', '.join(f'R@{n}: {value:.3f}' for n, value in recalls.items())
        _logger.info('epoch %d of %d: %s%s', epoch, self._job.config.epochs, shown,
                     ', the best so far' if best else '')


def _initial_layer(job: SeqNetTraining) -> SeqNet:
    config = job.config
    in_dim = job.training.reference.descriptors.shape[1]
    if job.initial is not None:
        return job.initial.train()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return SeqNet(in_dim, config.out_dim or in_dim, config.kernel)
