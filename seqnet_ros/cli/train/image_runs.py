"""Common parts of ``train jist`` and ``train cosplace``: models, data and run settings."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from seqnet_ros.cli.console import print_fields
from seqnet_ros.cli.train.runs import AbsolutePath, TrainingRecord, is_first_process
from seqnet_ros.cli.train_options import MOST_WORKERS
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from seqnet_ros.training.cosplace.data import ImageSearch
    from seqnet_ros.training.cosplace.steps import Best, RunOptions

TRAIN, VALIDATE = 'train', 'val'
CHANGEABLE = ('output', 'resume', 'epochs', 'device', 'workers')


class CosPlaceRecord(TrainingRecord):
    """Options of a training on images."""

    frame_model: str
    images: AbsolutePath | None = None
    validation: AbsolutePath | None = None


def locate_model(frame_model: str | None) -> str:
    """Return the name or the absolute path of a model."""
    if frame_model is None:
        raise InputError('--frame-model is missing, expected the model whose network is trained, '
                         'such as cosplace-resnet18-512')
    path = Path(frame_model).expanduser()
    return str(path.absolute()) if path.suffix in ('.yaml', '.yml') else frame_model


def image_search(folder: Path | None, radius: float, required: bool) -> 'ImageSearch | None':
    """Return the validation images of a folder; None without a folder or optional images."""
    from seqnet_ros.training.cosplace.data import ImageSearch

    if folder is None or (not required and not (folder / VALIDATE).exists()):
        return None
    return ImageSearch.of(folder / VALIDATE, radius)


def workplace(record: TrainingRecord, device: str, workers: int | None) -> 'RunOptions':
    """Return the device and other execution options of a training."""
    from seqnet_ros.training.common.lightning_run import process_counts
    from seqnet_ros.training.cosplace.steps import RunOptions

    _, local = process_counts()
    usual = min(MOST_WORKERS, max(1, (os.cpu_count() or 1) // local))
    return RunOptions(device, record.precision, usual if workers is None else workers,
                      record.model_dump(mode='json', exclude_none=True))


def show_best(output: Path, best: 'Best') -> None:
    """Print the best weights of a run."""
    if not is_first_process():
        return
    from seqnet_ros.training.cosplace.model import BEST, MODEL

    print_fields({
        'run': output,
        'best': f'epoch {best.epoch}, ' + ', '.join(
            f'R@{n}: {value:.3f}' for n, value in best.recalls.items()),
        'model': output / MODEL, 'weights': output / BEST})
