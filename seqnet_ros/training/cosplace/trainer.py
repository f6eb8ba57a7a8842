"""CosPlace training: classes of single images."""

from dataclasses import dataclass, field
from pathlib import Path

from seqnet_ros.training.cosplace.config import CosPlaceTrainingConfig
from seqnet_ros.training.cosplace.data import ImageClasses, ImageSearch
from seqnet_ros.training.cosplace.lightning_module import ImageModule, run_training
from seqnet_ros.training.cosplace.model import TrainedModel, fix_layers
from seqnet_ros.training.cosplace.steps import Best, RunOptions, Step, Steps

ITERATIONS_KEPT = 1000
"""Steps between two checkpoints."""

# MobileNetV2, like a ResNet: the layers before a 16th of the image's size.
_USUALLY_FIXED = {'resnet': 2, 'vgg16': 24, 'mobilenet_v2': 7, 'efficientnet': 5}


@dataclass(frozen=True, eq=False)
class CosPlaceTraining:
    """Everything that training on single images needs.

    Attributes:
        model: the network as it starts.
        images: training data.
        validation: data that selects the best weights, by Recall@1.
        config: network, loss and schedule.
        place: where and how to run.
    """

    model: TrainedModel
    images: ImageClasses
    validation: ImageSearch
    config: CosPlaceTrainingConfig
    place: RunOptions = field(default_factory=RunOptions)


def train_cosplace(job: CosPlaceTraining, run: Path, resume: bool = False) -> Best:
    """Train on single images, and leave a model that `load_model` and the published code load.

    After every validation that is the best so far the run holds ``model.yaml``,
    ``model.safetensors`` and ``best_model.pth``; ``last_checkpoint.pth`` resumes an interrupted
    training as if it had not been interrupted. Started by ``torchrun``, the processes share the
    work of every step.

    Args:
        job: model, data and settings.
        run: folder of the run.
        resume: continue from the state in this folder.

    Returns:
        The best weights.

    Raises:
        KeyboardInterrupt: Ctrl-C; a SIGTERM ends in `SystemExit`. Both can be resumed.
        InputError: there is nothing to resume, or the run cannot be written.
        ModelError: the device cannot be used, the trunk has fewer layers than are to be frozen, or
            the run is of another architecture.
    """
    fix_layers(job.model, job.config.frozen_layers, _USUALLY_FIXED)
    return run_training(_CosPlaceModule(job, run), job.place, resume)


class _CosPlaceModule(ImageModule):
    """A round is a part of an epoch."""

    chosen_by, best_key = 1, 'best_val_recall1'

    def __init__(self, job: CosPlaceTraining, run: Path) -> None:
        rounds = -(-job.config.iterations // ITERATIONS_KEPT)
        super().__init__(job.model, job.images, job.config, rounds, job.place.workers, run)
        self._job = job

    def round_steps(self, number: int) -> Steps:
        first = number % self.rounds_per_epoch * ITERATIONS_KEPT
        read = self.image_reader(number, first)
        return Steps(min(ITERATIONS_KEPT, self._job.config.iterations - first),
                     lambda step: Step(read(step)))

    def measure(self) -> dict[str, dict[int, float]]:
        return {'Image': self.search_images(self._job.validation)}

    def describe_model(self) -> str:
        return f'CosPlace, trained from {self._job.model.config.name}'
