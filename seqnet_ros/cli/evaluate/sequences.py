"""``seqnet_ros evaluate sequences``: the test protocol of JIST, with any model."""

from pathlib import Path
from typing import Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import progress_bar, working
from seqnet_ros.cli.evaluate.sequences_report import show_results
from seqnet_ros.core.files import prepare_outputs


def evaluate_sequences(
    folder: Annotated[Path, typer.Argument(
        help='Folder that contains train, val and test, or one of these, or the official MSLS '
             'folder, which contains train_val.', show_default=False)],
    model: options.Model,
    split: Annotated[str, typer.Option(help="'train', 'val' or 'test'.")] = 'test',
    seq_length: Annotated[int, typer.Option(
        '--seq-length', '-L', help='Frames per sequence.')] = 5,
    city: Annotated[list[str] | None, typer.Option(
        help='Only sequences of this city. Repeatable.', show_default='all')] = None,
    subtask: Annotated[str | None, typer.Option(
        help='Only sequences whose center frame is of this subtask of MSLS: all, s2w, w2s, o2n, '
             'n2o, d2n or n2d.', show_default='every sequence')] = None,
    radius: Annotated[float, typer.Option(
        help='Sequences within this distance show the same place, m.')] = 25.0,
    rule: Annotated[str, typer.Option(
        help="Frames that must be within the radius: 'any' of one and any of the other, the "
             "'centre' frames or the 'last'.")] = 'any',
    radii: Annotated[str, typer.Option(
        help='Further radii at which recall is measured, m.')] = '5,10,25',
    reverse: Annotated[bool, typer.Option(
        '--reverse', help='Reverse the sequences of the database.', show_default=False)] = False,
    compat: Annotated[bool, typer.Option(
        '--compat', show_default=False,
        help='Treat even lengths and cities as the published code does.')] = False,
    pca: Annotated[int | None, typer.Option(
        help='Project sequence descriptors to this many principal components, fitted to at most '
             '16,384 sequences of the database.',
        show_default='none')] = None,
    weights: options.Weights = None,
    device: options.Device = 'auto',
    batch: Annotated[int, typer.Option(
        min=1, help='Images described at once; the same number is decoded ahead.')] = 32,
    skip_broken: Annotated[bool, typer.Option(
        '--skip-broken', hidden=True,
        help='Kept for old scripts: damaged images are always skipped.')] = False,
    cache: Annotated[Path | None, typer.Option(
        help='Folder that keeps the true matches for the next run; other data, lengths or radii '
             'have files of their own.',
        show_default='none')] = None,
    json_path: Annotated[Path | None, typer.Option(
        '--json', help='Write the results as JSON to this file.', show_default=False)] = None,
    predictions: Annotated[Path | None, typer.Option(
        help='Write predictions and distances to this .npz file.', show_default=False)] = None,
) -> None:
    """Measure how often a model finds a true match of a sequence: the test protocol of JIST.

    All sequences of the database are searched for each query sequence, by the L2 distance of their
    descriptors. Queries without any true match are counted and excluded from every recall. Each
    image is described once, however many sequences it is in. Sequences that use a damaged image are
    skipped. For a model with centering, the mean of all frames of a side is subtracted from each of
    them.

    The folder holds the splits, each with database and queries, and in these a folder for each
    sequence. Image names give position and number in the sequence:
    `@east@north@sequence@number@key@city@date@.jpg`, or `@north@east@lap@number@stamp@.jpg` for
    RobotCar. `dataset prepare` and `dataset render` make such folders.

    Single images directly in database and queries, named `@east@north@...@.jpg` as in Pitts30k,
    SF-XL and most benchmarks, are measured with -L 1, and with more where their names hold
    successive panorama numbers or times.

    The official folder of MSLS can be used as it is: every run of images with successive numbers is
    a sequence. `-L 1 --subtask all` is the validation on 740 queries that papers report.

    With --compat, sequences of even length are built one frame longer, matched, and shortened by
    the last frame; coordinates of different cities are compared; and --city matches any part of the
    path of the first image.
    """
    from seqnet_ros.evaluation.jist.sequence_run import (
        SequenceRequest,
        describe_windows,
        measure_windows,
    )
    from seqnet_ros.evaluation.result_document import is_result, write_document
    from seqnet_ros.models.place_model import load_model

    prepare_outputs((json_path, predictions), is_result)
    request = SequenceRequest(
        folder, split, seq_length, tuple(city or ()), radius, rule,
        options.numbers('--radii', radii, '5,10,25'), reverse, compat, pca, batch, cache, subtask)
    with working('reading names'):
        windows = request.read()
    with working('finding true matches'):
        truth = request.truth(*windows)
    place_model = load_model(model, device, weights)
    request.check_model(place_model, windows[0])
    described, seconds = describe_windows(place_model, windows, batch, progress_bar)
    with working('searching'):
        run = measure_windows(request, place_model, windows, truth, described, seconds)
    document = run.results()
    if predictions is not None:
        run.write_predictions(predictions)
    if json_path is not None:
        write_document(json_path, document)
    show_results(document)
