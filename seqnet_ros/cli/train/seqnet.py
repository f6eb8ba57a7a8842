"""``seqnet_ros train seqnet``: a network for sequences, from descriptors of two drives."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seqnet_ros.cli import options, train_options
from seqnet_ros.cli.console import print_fields
from seqnet_ros.cli.drive_options import check_one_way
from seqnet_ros.cli.train.runs import (
    AbsolutePath,
    TrainingRecord,
    collect_training_settings,
    is_first_process,
    missing_training_package,
    require_new,
    resumed_record,
)
from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.seqnet.evaluated_drives import ArrayChoice

if TYPE_CHECKING:
    from seqnet_ros.training.seqnet.data import DrivePair

_TRAIN, _VALIDATE, _TEST = 'train', 'val', 'test'
_CHANGEABLE = ('output', 'resume', 'epochs', 'device')


class _Record(TrainingRecord):
    dataset: str | None = None
    folder: AbsolutePath | None = None
    descriptors: str | None = None
    city: str | None = None
    reference: AbsolutePath | None = None
    query: AbsolutePath | None = None
    struct: AbsolutePath | None = None
    seqbounds_reference: AbsolutePath | None = None
    seqbounds_query: AbsolutePath | None = None
    splits: AbsolutePath | None = None
    validation: str | None = None
    validation_share: float = 0.1
    initial: AbsolutePath | None = None


def seqnet(
    ctx: typer.Context,
    output: train_options.RunFolder,
    dataset: options.Dataset = None,
    folder: options.DatasetFolder = None,
    descriptors: options.DatasetDescriptors = None,
    city: options.DatasetCity = None,
    reference: options.ReferenceArray = None,
    query: options.QueryArray = None,
    struct: options.Struct = None,
    seqbounds_reference: options.ReferenceBounds = None,
    seqbounds_query: options.QueryBounds = None,
    splits: options.Splits = None,
    validation: Annotated[str | None, typer.Option(
        help='Data set whose val split selects the best weights.',
        show_default='--dataset if its val split is not its test split, else a part of the '
                     'training queries')] = None,
    validation_share: Annotated[float, typer.Option(
        help='Share of the queries held out for validation if there is no split for it.')] = 0.1,
    recipe: train_options.Recipe = None,
    seq_length: train_options.SeqLength = None,
    kernel: Annotated[int | None, typer.Option(
        help='Width of the temporal convolution, frames.', show_default='3')] = None,
    out_dim: Annotated[int | None, typer.Option(
        help='Length of the sequence descriptors.',
        show_default='length of the frame descriptors')] = None,
    epochs: Annotated[int | None, typer.Option(
        help='Number of passes over the queries.', show_default='200')] = None,
    assignments: options.Assignments = None,
    initial: Annotated[Path | None, typer.Option(
        help='Run or checkpoint to start from.', show_default='random weights')] = None,
    resume: train_options.Resume = False,
    device: options.Device = 'auto',
    precision: train_options.Precision = '32',
) -> None:
    """Train SeqNet on the frame descriptors of two drives, from a data set or two arrays.

    The default settings are those of the paper. `evaluate`, `models create`, SeqNet's
    published code and TensorBoard can read the run at any time. Needs `pip install
    'seqnet_ros[train]'`. Ctrl-C ends the training with status 130, SIGTERM with 143; both lose the
    current epoch, and --resume continues. Only --epochs and --device may be changed with --resume.

    Example: `seqnet_ros train seqnet --dataset streets/ --output runs/s5`
    """
    if resume:
        record = resumed_record(_Record, ctx, output, epochs, _CHANGEABLE)
    else:
        if dataset is None and struct is None:
            raise InputError('--struct is missing, expected --dataset, or --reference, --query and '
                             '--struct')
        check_one_way(dataset, {'--folder': folder, '--descriptors': descriptors, '--city': city}, {
            '--reference': reference, '--query': query, '--struct': struct, '--splits': splits,
            '--seqbounds-reference': seqbounds_reference, '--seqbounds-query': seqbounds_query,
            '--tolerance': None}, None)
        settings = collect_training_settings(recipe, assignments, {
            'length': seq_length, 'kernel': kernel, 'out_dim': out_dim, 'epochs': epochs})
        record = _Record(
            **_located(dataset, folder), descriptors=descriptors, city=city,
            reference=reference, query=query, struct=struct,
            seqbounds_reference=seqbounds_reference, seqbounds_query=seqbounds_query,
            splits=splits, validation=_located(validation, None)['dataset'],
            validation_share=validation_share, initial=initial, precision=precision,
            settings=settings)
        require_new(output)
    _train(record, output, resume, device)


def _located(dataset: str | None, folder: Path | None) -> dict[str, Any]:
    """Return the names or absolute paths of a data set and its folder."""
    from seqnet_ros.datasets.seqnet.splits import NAMES

    if dataset in NAMES:
        return {'dataset': dataset, 'folder': folder or Path.cwd()}
    return {'dataset': dataset and str(Path(dataset).absolute()), 'folder': folder}


def _train(record: _Record, output: Path, resume: bool, device: str) -> None:
    from seqnet_ros.training.seqnet.config import parse_training_config
    from seqnet_ros.training.seqnet.run import load_run

    config = parse_training_config(record.settings, 'settings')
    training, validation = _open_data(record)
    initial = None if record.initial is None else load_run(record.initial).module
    try:
        from seqnet_ros.training.seqnet.trainer import SeqNetTraining, train_seqnet
    except ModuleNotFoundError as error:
        raise missing_training_package(error) from error
    job = SeqNetTraining(
        training, validation, config, {'descType': record.descriptors or 'own'}, initial,
        device, record.precision, record.model_dump(mode='json', exclude_none=True))
    train_seqnet(job, output, resume)
    if is_first_process():
        _show(output)


def _open_data(record: _Record) -> tuple['DrivePair', 'DrivePair']:
    """Return the training data and the validation data."""
    from seqnet_ros.training.seqnet.data import hold_out

    pair = _open_training(record)
    if record.validation is not None:
        return pair, _open_dataset(record, record.validation, _VALIDATE)
    if record.dataset is not None and _has_own_validation(record):
        return pair, _open_dataset(record, record.dataset, _VALIDATE)
    return hold_out(pair, record.validation_share)


def _open_training(record: _Record) -> 'DrivePair':
    from seqnet_ros.datasets.seqnet.db_struct import read_struct
    from seqnet_ros.training.seqnet.data import DrivePair

    if record.dataset is not None:
        return _open_dataset(record, record.dataset, _TRAIN)
    assert record.reference is not None
    assert record.query is not None
    assert record.struct is not None
    drives = ArrayChoice(
        record.reference, record.query, record.struct, None,
        (record.seqbounds_reference, record.seqbounds_query), record.splits, _TRAIN).open(False)
    return DrivePair.of(read_struct(record.struct), drives.reference, drives.query)


def _open_dataset(record: _Record, dataset: str, split: str) -> 'DrivePair':
    from seqnet_ros.datasets.seqnet.splits import NAMES, open_split
    from seqnet_ros.evaluation.seqnet.drives import Drive
    from seqnet_ros.training.seqnet.data import DrivePair

    city = record.city if split == _TRAIN else None
    folder = record.folder if dataset in NAMES else None
    found = open_split(dataset, split, folder, record.descriptors, city)
    reference, query = (Drive.of(descriptors, bounds) for descriptors, bounds in zip(
        found.descriptors, found.bounds, strict=True))
    return DrivePair.of(found.struct, reference, query)


def _has_own_validation(record: _Record) -> bool:
    """Return whether the data set has a val split that differs from its test split."""
    from seqnet_ros.datasets.seqnet.splits import find_split

    assert record.dataset is not None
    structs: list[Path | None] = []
    for split in (_VALIDATE, _TEST):
        try:
            found = find_split(record.dataset, split, record.folder, record.descriptors)
        except InputError:
            structs.append(None)
        else:
            structs.append(found.struct)
    return structs[0] is not None and structs[0] != structs[1]


def _show(output: Path) -> None:
    from seqnet_ros.training.seqnet.run import load_run

    latest, best = load_run(output), load_run(output, 'best')
    print_fields({
        'run': output, 'epochs': latest.epoch,
        'best': f'epoch {best.epoch}, ' + ', '.join(
            f'R@{n}: {value:.3f}' for n, value in best.recalls.items()),
        'sequence': f'{latest.length} frames, kernel {latest.kernel}',
        'descriptors': f'{latest.in_dim} per frame, {latest.out_dim} per sequence'})
