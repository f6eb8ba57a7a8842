"""``seqnet_ros train jist``: a network for images and sequences of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options, train_options
from seqnet_ros.cli.console import working
from seqnet_ros.cli.train.image_runs import (
    CHANGEABLE,
    TRAIN,
    VALIDATE,
    CosPlaceRecord,
    image_search,
    locate_model,
    show_best,
    workplace,
)
from seqnet_ros.cli.train.runs import (
    AbsolutePath,
    collect_training_settings,
    missing_training_package,
    require_new,
    resumed_record,
)
from seqnet_ros.core.errors import InputError

if TYPE_CHECKING:
    from seqnet_ros.training.cosplace.steps import Best


class _JistRecord(CosPlaceRecord):
    sequences: AbsolutePath
    cities: tuple[str, ...] = ()


def jist(
    ctx: typer.Context,
    output: train_options.RunFolder,
    sequences: Annotated[Path | None, typer.Option(
        help='Folder that contains train and val, or the official MSLS folder, which contains '
             'train_val.',
        show_default=False)] = None,
    images: Annotated[Path | None, typer.Option(
        help='SF-XL folder that contains train, to train on single images as well.',
        show_default='sequences alone')] = None,
    frame_model: train_options.FrameModel = None,
    validation: Annotated[Path | None, train_options.validation_like('--sequences')] = None,
    city: Annotated[list[str] | None, typer.Option(
        help='Train on sequences of this city only. Repeatable.', show_default='all')] = None,
    recipe: train_options.Recipe = None,
    seq_length: train_options.SeqLength = None,
    epochs: train_options.Epochs = None,
    assignments: options.Assignments = None,
    resume: train_options.Resume = False,
    device: options.Device = 'auto',
    precision: train_options.Precision = '32',
    workers: train_options.Workers = None,
) -> None:
    """Train JIST: a network for images and sequences of them, on both together.

    The default settings are those of the paper. RUN/model.yaml is the best model so far, for
    `--model` of the other commands; its weights are beside it as safetensors, and as best_model.pth
    for the published code. TensorBoard reads RUN.
    """
    if resume:
        record = resumed_record(_JistRecord, ctx, output, epochs, CHANGEABLE)
    else:
        if sequences is None:
            raise InputError('--sequences is missing, expected a folder of sequences to train on')
        settings = collect_training_settings(
            recipe, assignments, {'length': seq_length, 'epochs': epochs})
        record = _JistRecord(
            frame_model=locate_model(frame_model), sequences=sequences, images=images,
            validation=validation, cities=tuple(city or ()), precision=precision, settings=settings)
        require_new(output)
    best = _train_jist(record, output, resume, device, workers)
    show_best(output, best)


def _train_jist(record: _JistRecord, output: Path, resume: bool, device: str,
                workers: int | None) -> 'Best':
    try:
        from seqnet_ros.training.jist.trainer import JistTraining, train_jist
    except ModuleNotFoundError as error:
        raise missing_training_package(error) from error
    from seqnet_ros.training.common.settings import parse_settings
    from seqnet_ros.training.cosplace.data import ImageClasses
    from seqnet_ros.training.cosplace.model import start_model
    from seqnet_ros.training.jist.config import JistTrainingConfig
    from seqnet_ros.training.jist.data import SequencePair

    config = parse_settings(JistTrainingConfig, record.settings, 'settings')
    model = start_model(record.frame_model, config.fc_dim, config.seed, {
        'length': config.length, 'aggregator': config.aggregator})
    with working('reading names'):
        training = SequencePair.of(record.sequences, TRAIN, config.length, record.cities)
        validation = SequencePair.of(record.validation or record.sequences, VALIDATE,
                                     config.length)
        images = None if record.images is None else ImageClasses.of(
            record.images / TRAIN, config)
        search = image_search(record.images, config.radius, required=False)
    job = JistTraining(model, training, validation, config, images, search,
                       workplace(record, device, workers))
    return train_jist(job, output, resume)
