"""``seqnet_ros train jist`` and ``train cosplace``: networks for images of places."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import print_fields, working
from seqnet_ros.cli.train.runs import (
    AbsolutePath,
    Precision,
    Recipe,
    Resume,
    RunFolder,
    TrainingRecord,
    collect_training_settings,
    is_first_process,
    missing_training_package,
    require_new,
    resumed_record,
)
from seqnet_ros.errors import InputError

if TYPE_CHECKING:
    from seqnet_ros.training.cosplace.data import ImageSearch
    from seqnet_ros.training.cosplace.steps import Best, Workplace

_TRAIN, _VALIDATE = 'train', 'val'
_MOST_WORKERS = 8
_CHANGEABLE = ('output', 'resume', 'epochs', 'device', 'workers')

_FrameModel = Annotated[str | None, typer.Option(
    help='Model whose network is trained, from its weights: a name from `seqnet_ros models list` '
         'or a YAML file.', show_default=False)]
_Workers = Annotated[int | None, typer.Option(
    min=0, help='Threads that read images.',
    show_default=f'one for each processor, at most {_MOST_WORKERS}')]
_Epochs = Annotated[int | None, typer.Option(
    help='Each trains one group of classes.', show_default="the recipe's")]


class _CosPlaceRecord(TrainingRecord):
    frame_model: str
    images: AbsolutePath | None = None
    validation: AbsolutePath | None = None


class _JistRecord(_CosPlaceRecord):
    sequences: AbsolutePath
    cities: tuple[str, ...] = ()


def jist(
    ctx: typer.Context,
    output: RunFolder,
    sequences: Annotated[Path | None, typer.Option(
        help='Folder of train and val, or the official folder of MSLS, which holds train_val.',
        show_default=False)] = None,
    images: Annotated[Path | None, typer.Option(
        help='Folder of SF-XL that holds train, to train on single images too.',
        show_default='sequences alone')] = None,
    frame_model: _FrameModel = None,
    validation: Annotated[Path | None, typer.Option(
        help='Folder like --sequences whose val split chooses the best weights.',
        show_default='that of --sequences')] = None,
    city: Annotated[list[str] | None, typer.Option(
        help='Train on sequences of this city only. Repeatable.', show_default='all')] = None,
    recipe: Recipe = None,
    seq_length: Annotated[int | None, typer.Option(
        '--seq-length', '-L', help='Frames per sequence.', show_default='5')] = None,
    epochs: _Epochs = None,
    assignments: options.Assignments = None,
    resume: Resume = False,
    device: options.Device = 'auto',
    precision: Precision = '32',
    workers: _Workers = None,
) -> None:
    """Train JIST: a network for images and sequences of them, on both together.

    Settings that are not given are those of the paper. RUN/model.yaml is the best model so far,
    for `--model` of the other commands; TensorBoard reads RUN.
    """
    if resume:
        record = resumed_record(_JistRecord, ctx, output, epochs, _CHANGEABLE)
    else:
        if sequences is None:
            raise InputError('--sequences is missing, expected a folder of sequences to train on')
        settings = collect_training_settings(
            recipe, assignments, {'length': seq_length, 'epochs': epochs})
        record = _JistRecord(
            frame_model=_located(frame_model), sequences=sequences, images=images,
            validation=validation, cities=tuple(city or ()), precision=precision, settings=settings)
        require_new(output)
    best = _train_jist(record, output, resume, device, workers)
    _show(output, best)


def cosplace(
    ctx: typer.Context,
    output: RunFolder,
    images: Annotated[Path | None, typer.Option(
        help='Folder of SF-XL that holds train and val.', show_default=False)] = None,
    frame_model: _FrameModel = None,
    validation: Annotated[Path | None, typer.Option(
        help='Folder like --images whose val part chooses the best weights.',
        show_default='that of --images')] = None,
    recipe: Recipe = None,
    epochs: _Epochs = None,
    assignments: options.Assignments = None,
    resume: Resume = False,
    device: options.Device = 'auto',
    precision: Precision = '32',
    workers: _Workers = None,
) -> None:
    """Train CosPlace: a network for single images, on classes of images by place.

    Settings that are not given are those of the paper. RUN/model.yaml is the best model so far,
    for `--model` of the other commands; TensorBoard reads RUN.
    """
    if resume:
        record = resumed_record(_CosPlaceRecord, ctx, output, epochs, _CHANGEABLE)
    else:
        if images is None:
            raise InputError('--images is missing, expected a folder of SF-XL to train on')
        settings = collect_training_settings(recipe, assignments, {'epochs': epochs})
        record = _CosPlaceRecord(
            frame_model=_located(frame_model), images=images, validation=validation,
            precision=precision, settings=settings)
        require_new(output)
    best = _train_cosplace(record, output, resume, device, workers)
    _show(output, best)


def _located(frame_model: str | None) -> str:
    """Return a model in a form that holds in every working directory."""
    if frame_model is None:
        raise InputError('--frame-model is missing, expected the model whose network is trained, '
                         'such as cosplace-resnet18-512')
    path = Path(frame_model).expanduser()
    return str(path.absolute()) if path.suffix in ('.yaml', '.yml') else frame_model


def _train_jist(record: _JistRecord, output: Path, resume: bool, device: str,
                workers: int | None) -> 'Best':
    try:
        from seqnet_ros.training.jist.trainer import JistTraining, train_jist
    except ModuleNotFoundError as error:
        raise missing_training_package(error) from error
    from seqnet_ros.training.cosplace.data import ImageClasses
    from seqnet_ros.training.cosplace.model import start_model
    from seqnet_ros.training.jist.config import JistTrainingConfig
    from seqnet_ros.training.jist.data import SequencePair
    from seqnet_ros.training.settings import parse_settings

    config = parse_settings(JistTrainingConfig, record.settings, 'settings')
    model = start_model(record.frame_model, config.fc_dim, config.seed, {
        'length': config.length, 'aggregator': config.aggregator})
    with working('reading names'):
        training = SequencePair.of(record.sequences, _TRAIN, config.length, record.cities)
        validation = SequencePair.of(record.validation or record.sequences, _VALIDATE,
                                     config.length)
        images = None if record.images is None else ImageClasses.of(
            record.images / _TRAIN, config)
        image_search = _image_search(record.images, config.radius, required=False)
    job = JistTraining(model, training, validation, config, images, image_search,
                       _workplace(record, device, workers))
    return train_jist(job, output, resume)


def _train_cosplace(record: _CosPlaceRecord, output: Path, resume: bool, device: str,
                    workers: int | None) -> 'Best':
    try:
        from seqnet_ros.training.cosplace.trainer import CosPlaceTraining, train_cosplace
    except ModuleNotFoundError as error:
        raise missing_training_package(error) from error
    from seqnet_ros.training.cosplace.config import CosPlaceTrainingConfig
    from seqnet_ros.training.cosplace.data import ImageClasses
    from seqnet_ros.training.cosplace.model import start_model
    from seqnet_ros.training.settings import parse_settings

    assert record.images is not None
    config = parse_settings(CosPlaceTrainingConfig, record.settings, 'settings')
    model = start_model(record.frame_model, config.fc_dim, config.seed)
    with working('reading names'):
        images = ImageClasses.of(record.images / _TRAIN, config)
        search = _image_search(record.validation or record.images, config.radius, required=True)
    assert search is not None
    job = CosPlaceTraining(model, images, search, config, _workplace(record, device, workers))
    return train_cosplace(job, output, resume)


def _image_search(folder: Path | None, radius: float, required: bool) -> 'ImageSearch | None':
    """Return the images of a folder to validate on; None where there are none to look for."""
    from seqnet_ros.training.cosplace.data import ImageSearch

    if folder is None or (not required and not (folder / _VALIDATE).exists()):
        return None
    return ImageSearch.of(folder / _VALIDATE, radius)


def _workplace(record: TrainingRecord, device: str, workers: int | None) -> 'Workplace':
    from seqnet_ros.training.cosplace.steps import Workplace
    from seqnet_ros.training.lightning_runs import process_counts

    _, local = process_counts()
    usual = min(_MOST_WORKERS, max(1, (os.cpu_count() or 1) // local))
    return Workplace(device, record.precision, usual if workers is None else workers,
                     record.model_dump(mode='json', exclude_none=True))


def _show(output: Path, best: 'Best') -> None:
    if not is_first_process():
        return
    from seqnet_ros.training.cosplace.model import BEST, MODEL

    print_fields({
        'run': output,
        'best': f'epoch {best.epoch}, ' + ', '.join(
            f'R@{n}: {value:.3f}' for n, value in best.recalls.items()),
        'model': output / MODEL, 'weights': output / BEST})
