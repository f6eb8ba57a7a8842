"""``seqnet_ros train cosplace``: a network for single images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options, train_options
from seqnet_ros.cli.console import working
from seqnet_ros.cli.train.image_runs import (
    CHANGEABLE,
    TRAIN,
    CosPlaceRecord,
    image_search,
    locate_model,
    show_best,
    workplace,
)
from seqnet_ros.cli.train.runs import (
    collect_training_settings,
    missing_training_package,
    require_new,
    resumed_record,
)
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from seqnet_ros.training.cosplace.steps import Best


def cosplace(
    ctx: typer.Context,
    output: train_options.RunFolder,
    images: Annotated[Path | None, typer.Option(
        help='SF-XL folder that contains train and val.', show_default=False)] = None,
    frame_model: train_options.FrameModel = None,
    validation: Annotated[Path | None, train_options.validation_like('--images')] = None,
    recipe: train_options.Recipe = None,
    epochs: train_options.Epochs = None,
    assignments: options.Assignments = None,
    resume: train_options.Resume = False,
    device: options.Device = 'auto',
    precision: train_options.Precision = '32',
    workers: train_options.Workers = None,
) -> None:
    """Train CosPlace: a network for single images, on classes of images by place and direction.

    The default settings are those of the paper. RUN/model.yaml is the best model so far, for
    `--model` of the other commands; its weights are beside it as safetensors, and as best_model.pth
    for the published code. TensorBoard reads RUN.
    """
    if resume:
        record = resumed_record(CosPlaceRecord, ctx, output, epochs, CHANGEABLE)
    else:
        if images is None:
            raise InputError('--images is missing, expected a folder of SF-XL to train on')
        settings = collect_training_settings(recipe, assignments, {'epochs': epochs})
        record = CosPlaceRecord(
            frame_model=locate_model(frame_model), images=images, validation=validation,
            precision=precision, settings=settings)
        require_new(output)
    best = _train_cosplace(record, output, resume, device, workers)
    show_best(output, best)


def _train_cosplace(record: CosPlaceRecord, output: Path, resume: bool, device: str,
                    workers: int | None) -> 'Best':
    try:
        from seqnet_ros.training.cosplace.trainer import CosPlaceTraining, train_cosplace
    except ModuleNotFoundError as error:
        raise missing_training_package(error) from error
    from seqnet_ros.training.common.settings import parse_settings
    from seqnet_ros.training.cosplace.config import CosPlaceTrainingConfig
    from seqnet_ros.training.cosplace.data import ImageClasses
    from seqnet_ros.training.cosplace.model import start_model

    assert record.images is not None
    config = parse_settings(CosPlaceTrainingConfig, record.settings, 'settings')
    model = start_model(record.frame_model, config.fc_dim, config.seed)
    with working('reading names'):
        images = ImageClasses.of(record.images / TRAIN, config)
        search = image_search(record.validation or record.images, config.radius, required=True)
    assert search is not None
    job = CosPlaceTraining(model, images, search, config, workplace(record, device, workers))
    return train_cosplace(job, output, resume)
