"""Base of CosPlace and JIST training with Lightning: a network that classifies images."""

# ruff: noqa: D102  (Lightning describes its hooks)

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from seqnet_ros.core.errors import InputError
from seqnet_ros.descriptors.pooling import GeM
from seqnet_ros.sequences.jist_aggregators import SeqGeM
from seqnet_ros.training.common.distributed import ProcessGroupSlice
from seqnet_ros.training.common.image_reading import (
    Descriptors,
    ImageSize,
    ReadAhead,
    describe_images,
)
from seqnet_ros.training.common.lightning_run import LightningRun, require_state, slice_of
from seqnet_ros.training.cosplace.augmentation import augment, draw_changes
from seqnet_ros.training.cosplace.classifiers import Classifiers
from seqnet_ros.training.cosplace.config import ImageTrainingConfig
from seqnet_ros.training.cosplace.cosface import CosFace
from seqnet_ros.training.cosplace.data import ImageBatch, ImageClasses, ImageSearch, ImageStream
from seqnet_ros.training.cosplace.model import TrainedModel, set_training_mode
from seqnet_ros.training.cosplace.steps import Best, PartLoss, RunOptions, Step, Steps

STATE = 'last_checkpoint.pth'

_CHANGES = 5
_CPU_BATCH, _GPU_BATCH = 8, 32
_logger = logging.getLogger(__name__)


def run_training(module: 'ImageModule', place: RunOptions, resume: bool) -> Best:
    """Train a module in the folder of its run.

    Raises:
        KeyboardInterrupt: Ctrl-C; a SIGTERM ends in `SystemExit`. Both can be resumed.
        InputError: there is nothing to resume, or the run cannot be written.
        ModelError: the device cannot be used, or the run is of another architecture.
    """
    if resume:
        require_state(module.run, STATE)
    LightningRun(
        module.run, STATE, module.config.epochs * module.rounds_per_epoch,
        module.rounds_per_epoch, place.device, place.precision, place.record,
        strategy=ManualGradientSyncStrategy(), sync_batch_norm=True).fit(module, resume)
    return module.best


class ManualGradientSyncStrategy(DDPStrategy):
    """Several processes whose gradients the module itself sums, once a step.

    A step has two backward passes, and the classifiers that are not in use are in CPU memory.
    """

    def configure_ddp(self) -> None:
        pass


class ImageModule(LightningModule):
    """A network that learns to tell classes of images apart. One epoch of Lightning is a round.

    Attributes:
        chosen_by: the best weights have the highest Recall@n of this n.
        best_key: what the published code calls that recall.
        image_weight: weight of the image loss.
    """

    chosen_by: int
    best_key: str
    image_weight = 1.0

    def __init__(self, model: TrainedModel, classes: ImageClasses | None,
                 config: ImageTrainingConfig, rounds_per_epoch: int, workers: int,
                 run: Path) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config, self.rounds_per_epoch, self.run = config, rounds_per_epoch, run
        self.best = Best(0, {})
        self.network, self.aggregator = model.network, model.aggregator
        self.network.to(memory_format=torch.channels_last)
        image = model.config.image
        self.frame_size = ImageSize(image.height, image.width)
        for name, values in (('_mean', image.mean), ('_std', image.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self._model, self._classes, self._workers = model, classes, workers
        self._classifiers = Classifiers(self.network.dim, config.seed)
        self._add_classifiers(min(self._groups, config.epochs))
        self._finished_rounds = self._steps = self._told = 0
        self._unreadable: set[str] = set()
        self._recalls: dict[str, dict[int, float]] = {}

    @abstractmethod
    def round_steps(self, number: int) -> Steps:
        """Return the steps of a round."""

    @abstractmethod
    def measure(self) -> dict[str, dict[int, float]]:
        """Return Recall@n under the names of what was searched; the first chooses the best."""

    @abstractmethod
    def describe_model(self) -> str:
        """Return a human-readable description of the training."""

    # Parts of a round.

    @property
    def shared(self) -> ProcessGroupSlice:
        """Slice of the work of this process."""
        return slice_of(self)

    def train_dataloader(self) -> ReadAhead[Step]:
        # Lightning that resumes asks for the finished round before it asks for the next.
        steps = self.round_steps(max(self.current_epoch, self._finished_rounds))
        self._steps = steps.number
        return ReadAhead(steps.number, steps.read, self._workers)

    def image_reader(self, number: int, first_step: int) -> Callable[[int], ImageBatch | None]:
        """Return a function that reads this process's images of each step of a round.

        Args:
            number: of the round.
            first_step: number of its first step within the epoch.
        """
        if self._classes is None:
            return lambda step: None
        epoch = number // self.rounds_per_epoch
        stream = ImageStream(self._classes, epoch % self._groups, epoch, self.config)
        rank, world = self.global_rank, self.trainer.world_size
        return lambda step: stream.read(first_step + step, rank, world)

    @property
    def _groups(self) -> int:
        return 0 if self._classes is None else self._classes.groups(self.config)

    # Descriptors.

    def describe(self, pixels: Tensor) -> Tensor:
        """Describe images uint8 ``[B, H, W, 3]``; only the trunk may run in half precision."""
        return self._describe_floats(_to_floats(pixels))

    def _describe_floats(self, images: Tensor) -> Tensor:
        maps = self.network.backbone((images - self.get_buffer('_mean')) / self.get_buffer('_std'))
        with torch.autocast(self.device.type, enabled=False):
            return self.network.aggregation(maps.float())

    def describe_all(self, path_of: Callable[[int], Path], rows: np.ndarray,
                     size: ImageSize) -> Descriptors:
        """Describe image files, each once, by the network as it is now; processes share them."""
        self.network.eval()
        batch = _GPU_BATCH if self.device.type == 'cuda' else _CPU_BATCH
        found = describe_images(self.describe, path_of, rows, size, self.network.dim, self.device,
                                batch, self._workers, self.shared)
        self._unreadable.update(found.complaints)
        return found

    # Learning.

    def configure_optimizers(self) -> torch.optim.Optimizer:
        weights = [*self.network.parameters(),
                   *(() if self.aggregator is None else self.aggregator.parameters())]
        groups = [{'params': weights, 'lr': self.config.lr}]
        # Adam treats every tensor separately: one optimizer with several groups equals several of
        # them.
        groups += [{'params': [self._classifiers[group].weight], 'lr': self.config.classifier_lr}
                   for group in range(len(self._classifiers))]
        return torch.optim.Adam(groups)

    def on_train_start(self) -> None:
        if self.global_step:
            return
        recalls = self._measured()
        if self.trainer.is_global_zero:
            for logger in self.loggers:
                logger.log_metrics(_as_metrics(recalls), step=0)
            _logger.info('start: %s', _shown(recalls))

    def on_train_epoch_start(self) -> None:
        set_training_mode(self._model, self.config.update_batch_norm)
        if self._classes is not None:
            optimizer = self.optimizers(use_pl_optimizer=False)
            assert not isinstance(optimizer, list)
            self._classifiers.bring(self._group, self.device, optimizer)

    def training_step(self, batch: Step, number: int) -> None:
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.zero_grad()
        for part in self.losses(batch, number):
            self._unreadable.update(part.complaints)
            if part.value.requires_grad:
                # At once: its memory is free before the next part is computed.
                self.manual_backward(part.value)
            self.log(f'Train/{part.name}', self.summed(part.value.detach()), prog_bar=True,
                     batch_size=1)
        if self._sum_gradients():
            optimizer.step()

    def losses(self, step: Step, number: int) -> Iterator[PartLoss]:
        """Compute the parts of the loss one after the other."""
        if step.images is not None:
            yield PartLoss('Image loss', self._image_loss(step.images, number),
                           step.images.complaints)

    def _image_loss(self, batch: ImageBatch, number: int) -> Tensor:
        config = self.config
        total = self.total(len(batch.labels))
        if not len(batch.labels):
            return torch.zeros((), device=self.device)
        generator = np.random.default_rng([config.seed, _CHANGES, self.current_epoch, number])
        changes = draw_changes(config.image_batch_size, config.image_size, config, generator)
        with torch.autocast(self.device.type, enabled=False):
            images = augment(_to_floats(batch.pixels), changes.take(batch.rows.cpu()))
        descriptors = self._describe_floats(images)
        with torch.autocast(self.device.type, enabled=False):
            loss = self._classifier.loss(descriptors, batch.labels)
        return loss * (self.image_weight / total)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 == self._steps:
            self._average_statistics()
            self._require_finite()

    def _require_finite(self) -> None:
        """Stop before usable weights are replaced by invalid ones."""
        if not all(bool(weight.isfinite().all()) for weight in self.parameters()):
            raise InputError(f'the weights are not finite after step {self.global_step}: use a '
                             'smaller learning rate')

    def on_train_epoch_end(self) -> None:
        for name, module in (('GeM', self.network.aggregation[1]), ('SeqGeM', self.aggregator)):
            if isinstance(module, (GeM, SeqGeM)):
                self.log(f'Train/{name} exponent', module.p.detach().clone(), sync_dist=True)
        self.log('Train/Images left out', self.total(len(self._unreadable)), sync_dist=True)
        if len(self._unreadable) > self._told:
            _logger.warning('skipped %d unreadable images so far, such as: %s',
                            len(self._unreadable), min(self._unreadable))
            self._told = len(self._unreadable)

    @property
    def _classifier(self) -> CosFace:
        return self._classifiers[self._group]

    @property
    def _group(self) -> int:
        return self.current_epoch // self.rounds_per_epoch % self._groups

    def _add_classifiers(self, count: int) -> None:
        for group in range(len(self._classifiers), count):
            assert self._classes is not None
            self._classifiers.add(len(self._classes.classes_of(group)))

    # Several processes.

    def summed(self, value: Tensor) -> Tensor:
        """Return the sum of a number over the processes."""
        return value if self.trainer.world_size == 1 else self._reduced(value, 'sum')

    def total(self, count: int) -> float:
        """Return the sum of a count over the processes."""
        if self.trainer.world_size == 1:
            return float(count)
        return float(self.summed(torch.tensor(float(count), device=self.device)))

    def _reduced(self, value: Tensor, how: str) -> Tensor:
        reduced = self.trainer.strategy.reduce(value.clone(), reduce_op=how)
        assert isinstance(reduced, Tensor)
        return reduced

    def _sum_gradients(self) -> bool:
        """Give all processes the sum of their gradients; return whether there are any."""
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        if self._classes is not None:
            weights.append(self._classifier.weight)
        if not self.total(sum(weight.grad is not None for weight in weights)):
            return False
        if self.trainer.world_size > 1:
            parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad
                     for weight in weights]
            flat = self._reduced(torch.cat([part.flatten() for part in parts]), 'sum')
            for weight, part in zip(weights, flat.split([part.numel() for part in parts]),
                                    strict=True):
                weight.grad = part.view_as(weight)
        return True

    def _average_statistics(self) -> None:
        """Give all processes one set of batch statistics, to choose, validate and save with."""
        if self.trainer.world_size == 1:
            return
        for module in self.network.modules():
            if isinstance(module, _BatchNorm):
                for values in (module.running_mean, module.running_var):
                    assert values is not None
                    values.copy_(self._reduced(values, 'mean'))

    # Validation.

    def val_dataloader(self) -> DataLoader:
        return DataLoader([0])  # type: ignore[arg-type]

    def validation_step(self, batch: Tensor, number: int) -> None:
        self._recalls = self._measured()
        for name, value in _as_metrics(self._recalls).items():
            self.log(name, value, batch_size=1, sync_dist=True,
                     prog_bar=name.endswith(f'Recall@{self.chosen_by}'))

    def _measured(self) -> dict[str, dict[int, float]]:
        with torch.autocast(self.device.type, enabled=False):
            return self.measure()

    def search_images(self, search: ImageSearch) -> dict[int, float]:
        """Return Recall@n of single images."""
        size = ImageSize(self.config.image_size, self.config.image_size)
        found = [self.describe_all(images.path, np.arange(len(images)), size)
                 for images in (search.database, search.queries)]
        database, queries = (side.values.cpu().numpy() for side in found)
        lost = [side.lost.cpu().numpy() for side in found]
        return self.on_one(lambda: search.recalls(database, queries, lost, self.config.radius))

    def on_one(self, compute: Callable[[], dict[int, float]]) -> dict[int, float]:
        """Compute recalls on the first process and send them to the others."""
        return self.trainer.strategy.broadcast(
            compute() if self.trainer.is_global_zero else {})

    def on_validation_end(self) -> None:
        recalls = next(iter(self._recalls.values()))
        epoch = (self.current_epoch + 1) // self.rounds_per_epoch
        better = recalls[self.chosen_by] > self.best.recalls.get(self.chosen_by, -1.0)
        if better:
            self.best = Best(epoch, recalls)
        if not self.trainer.is_global_zero:
            return
        if better:
            self._model.save(self.run, f'{self.describe_model()}, epoch {epoch}.')
        _logger.info('epoch %d of %d: %s%s', epoch, self.config.epochs, _shown(self._recalls),
                     ', the best so far' if better else '')

    # Checkpoints.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the state by the names of the published code, beside what Lightning needs."""
        rounds = self.current_epoch + 1
        optimizers = _by_group(checkpoint['optimizer_states'][0])
        del checkpoint['state_dict']
        checkpoint.update({
            'epoch_num': rounds // self.rounds_per_epoch,
            'model_state_dict': self._model.published_state(),
            'optimizer_state_dict': optimizers[0],
            'classifiers_state_dict': self._classifiers.state(),
            'optimizers_state_dict': optimizers[1:],
            self.best_key: 100 * self.best.recalls.get(self.chosen_by, 0.0),
            'best': self.best._asdict(),
            'finished_rounds': rounds})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        origin = f'of {self.run / STATE}'
        self._model.load_published(checkpoint['model_state_dict'], origin)
        checkpoint['state_dict'] = self.state_dict()
        self._load_classifiers(checkpoint, origin)
        self.best = Best(**checkpoint['best'])
        self._finished_rounds = checkpoint['finished_rounds']

    def _load_classifiers(self, checkpoint: dict[str, Any], origin: str) -> None:
        stored = checkpoint['classifiers_state_dict']
        self._add_classifiers(min(len(stored), self._groups))
        self._classifiers.load(stored, origin)
        # More epochs than at the start can take more groups.
        groups = checkpoint['optimizer_states'][0]['param_groups']
        for _ in range(len(groups), 1 + len(self._classifiers)):
            groups.append({**groups[-1], 'params': [groups[-1]['params'][-1] + 1]})


def _to_floats(pixels: Tensor) -> Tensor:
    """Return uint8 ``[B, H, W, 3]`` as float ``[B, 3, H, W]`` from 0 to 1."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def _by_group(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the state of an optimizer as one of an optimizer for each of its groups."""
    return [{'state': {place: state['state'][row] for place, row in enumerate(group['params'])
                       if row in state['state']},
             'param_groups': [{**group, 'params': list(range(len(group['params'])))}]}
            for group in state['param_groups']]


def _as_metrics(recalls: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    return {f'Val/{name} Recall@{n}': value
            for name, values in recalls.items() for n, value in values.items()}


def _shown(recalls: Mapping[str, Mapping[int, float]]) -> str:
    return '; '.join(
        f'{name} ' + ', '.join(f'R@{n}: {value:.3f}' for n, value in values.items())
        for name, values in recalls.items())
