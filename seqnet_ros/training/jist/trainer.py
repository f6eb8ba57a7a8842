"""JIST training: triplets of sequences, and classes of single images beside them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seqnet_ros.core.errors import InputError
from seqnet_ros.datasets.jist.sequence_folders import Sequences
from seqnet_ros.evaluation.jist.protocol import Described, evaluate
from seqnet_ros.evaluation.metrics.ground_truth import require_matches
from seqnet_ros.training.common.image_reading import Descriptors
from seqnet_ros.training.cosplace.data import ImageClasses, ImageSearch
from seqnet_ros.training.cosplace.lightning_module import ImageModule, run_training
from seqnet_ros.training.cosplace.model import TrainedModel, fix_layers
from seqnet_ros.training.cosplace.steps import Best, PartLoss, RunOptions, Step, Steps
from seqnet_ros.training.jist.config import JistTrainingConfig
from seqnet_ros.training.jist.data import SequenceBatch, SequencePair, TripletReader
from seqnet_ros.training.jist.loss import sequence_triplet_loss
from seqnet_ros.training.jist.mining import (
    TripletSource,
    WindowDescriptors,
    choose_triplets,
    frames_of,
    pool_windows,
)

RECALL_NS = (1, 5, 10)

# MobileNetV2, like a ResNet: all layers except those at a 32nd of the image's size.
_USUALLY_FIXED = {'resnet': 3, 'vgg16': 24, 'mobilenet_v2': 14, 'efficientnet': 5}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class JistTraining:
    """Everything that training on sequences needs.

    Attributes:
        model: the network as it starts, with its aggregator.
        sequences: training data.
        validation: sequences that select the best weights, by Recall@5.
        config: network, losses and schedule.
        images: single images to train on; None trains sequences alone.
        image_validation: single images to search, for the record; None where there are none.
        place: where and how to run.
    """

    model: TrainedModel
    sequences: SequencePair
    validation: SequencePair
    config: JistTrainingConfig
    images: ImageClasses | None = None
    image_validation: ImageSearch | None = None
    place: RunOptions = field(default_factory=RunOptions)


def train_jist(job: JistTraining, run: Path, resume: bool = False) -> Best:
    """Train on sequences and images, and leave a model that `load_model` loads.

    After every validation that is the best so far the run holds ``model.yaml``,
    ``model.safetensors`` and ``best_model.pth``, the last one for the published code;
    ``last_checkpoint.pth`` resumes an interrupted training as if it had not been interrupted.
    Started by ``torchrun``, the processes share the work of every step.

    Args:
        job: model, data and settings.
        run: folder of the run.
        resume: continue from the state in this folder.

    Returns:
        The best weights.

    Raises:
        KeyboardInterrupt: Ctrl-C; a SIGTERM ends in `SystemExit`. Both can be resumed.
        InputError: nothing can be trained or validated on this data, there is nothing to resume,
            or the run cannot be written.
        ModelError: the device cannot be used, the trunk has fewer layers than are to be frozen, or
            the run is of another architecture.
    """
    fix_layers(job.model, job.config.frozen_layers, _USUALLY_FIXED)
    return run_training(_JistModule(job, run), job.place, resume)


class _JistModule(ImageModule):
    """A round chooses its triplets by the network as it is then, and goes through them once."""

    chosen_by, best_key = 5, 'best_seq_val_recall5'

    def __init__(self, job: JistTraining, run: Path) -> None:
        super().__init__(job.model, job.images, job.config, job.config.sub_epochs,
                         job.place.workers, run)
        assert job.model.aggregator is not None
        self._job, self._pool = job, job.model.aggregator
        self._settings, self.image_weight = job.config, job.config.image_weight
        self._source = TripletSource(job.sequences, job.config)
        self._truth = job.validation.truth(job.config.radius)
        require_matches(self._truth)

    def round_steps(self, number: int) -> Steps:
        config, pair = self._settings, self._job.sequences
        draw = self._source.draw(number)
        with self.trainer.precision_plugin.forward_context():
            queries = self._describe_windows(pair.queries, draw.queries)
            places = self._describe_windows(pair.database, draw.places)
        triplets = choose_triplets(draw, queries, places, config.negatives)
        if not number and not len(triplets.queries):
            raise InputError('no triplet of sequences is readable: '
                             f'{min(self._unreadable, default="too few places were drawn")}')
        unused = len(draw.queries) - len(triplets.queries)
        if unused:
            _logger.warning('round %d: skipped %d of %d queries with no positive or fewer than %d '
                            'negatives among the sampled places', number + 1,
                            unused, len(draw.queries), config.negatives)
        frames = TripletReader(pair, triplets, config.batch_size, self.frame_size)
        in_epoch = number % self.rounds_per_epoch * -(-config.queries // config.batch_size)
        images = self.image_reader(number, in_epoch)
        rank, world = self.global_rank, self.trainer.world_size
        return Steps(len(frames),
                     lambda step: Step(images(step), frames.read(step, rank, world)))

    def _describe_windows(self, sequences: Sequences, rows: np.ndarray) -> WindowDescriptors:
        frames = self.describe_all(sequences.frames.path, frames_of(sequences, rows),
                                   self.frame_size)
        with torch.autocast(self.device.type, enabled=False):
            return pool_windows(sequences, rows, frames.values, frames.lost, self._pool)

    def losses(self, step: Step, number: int) -> Iterator[PartLoss]:
        """Compute the loss of the sequences, then that of the images."""
        yield PartLoss('Sequence loss', self._sequence_loss(step.sequences),
                       step.sequences.complaints)
        yield from super().losses(step, number)

    def _sequence_loss(self, batch: SequenceBatch) -> Tensor:
        config = self._settings
        total = self.total(batch.queries) * config.negatives
        if not batch.queries:
            return torch.zeros((), device=self.device)
        frames = self.describe(batch.pixels)
        with torch.autocast(self.device.type, enabled=False):
            windows = self._pool(frames.unflatten(0, (-1, config.length)))
            queries, positives, negatives = windows.unflatten(0, (batch.queries, -1)).split(
                [1, 1, config.negatives], dim=1)
            loss = sequence_triplet_loss(queries[:, 0], positives[:, 0], negatives, config.margin)
        return loss * (config.sequence_weight / total)

    def measure(self) -> dict[str, dict[int, float]]:
        pair = self._job.validation
        found = [self.describe_all(side.frames.path, np.arange(len(side.frames)), self.frame_size)
                 for side in (pair.database, pair.queries)]
        recalls = {'Sequence': self.on_one(lambda: self._search(*found))}
        if self._job.image_validation is not None:
            recalls['Image'] = self.search_images(self._job.image_validation)
        return recalls

    def _search(self, database: Descriptors, queries: Descriptors) -> dict[int, float]:
        """Return Recall@n of the sequences whose frames can be read."""
        pair = self._job.validation
        truth = self._truth
        if database.complaints or queries.complaints:
            pair = SequencePair(pair.database.without_frames(database.lost.cpu().numpy()),
                                pair.queries.without_frames(queries.lost.cpu().numpy()))
            truth = pair.truth(self._settings.radius)
        report = evaluate(Described(pair.database, database.values.cpu().numpy()),
                          Described(pair.queries, queries.values.cpu().numpy()),
                          self._pool, truth, RECALL_NS)
        return report.recalls.values

    def describe_model(self) -> str:
        config, start = self._settings, self._job.model.config.name
        return f'JIST of {config.length} frames ({config.aggregator}), trained from {start}'
