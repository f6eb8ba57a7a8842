"""``seqnet_ros evaluate``: the methods of the SeqNet paper on data sets and arrays.

Its subcommands measure other things; without one it is a command of its own.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import working
from seqnet_ros.cli.drive_options import check_one_way
from seqnet_ros.cli.evaluate.seqnet_report import show_method, show_methods
from seqnet_ros.core.errors import InputError
from seqnet_ros.core.files import prepare_outputs
from seqnet_ros.evaluation.seqnet.evaluated_drives import USUAL_SPLIT, ArrayChoice, DatasetChoice
from seqnet_ros.evaluation.seqnet.method_names import ALL, first_stages, methods
from seqnet_ros.evaluation.seqnet.search_plans import TOP_K, MethodChoice

if TYPE_CHECKING:
    from seqnet_ros.evaluation.metrics.search_run import SearchRun
    from seqnet_ros.evaluation.seqnet.evaluation import SeqNetEvaluation, SeqNetRequest
    from seqnet_ros.evaluation.seqnet.search_plans import Plan, TrainedSeqNet


def evaluate(
    ctx: typer.Context,
    method: Annotated[str | None, typer.Option(
        help=f'One of {", ".join(methods(plugins=False))}, or {ALL} for a table of them.',
        show_default=False)] = None,
    dataset: options.Dataset = None,
    split: Annotated[str | None, typer.Option(
        help="Split of the data set or of --splits: 'train', 'val' or 'test'.",
        show_default=USUAL_SPLIT)] = None,
    folder: options.DatasetFolder = None,
    descriptors: options.DatasetDescriptors = None,
    city: options.DatasetCity = None,
    reference: options.ReferenceArray = None,
    query: options.QueryArray = None,
    struct: options.Struct = None,
    tolerance: Annotated[int | None, typer.Option(
        help='Instead of a struct: rows at most this many frames apart match.',
        show_default=False)] = None,
    ground_truth: Annotated[Path | None, typer.Option(
        help='Instead of a struct: true matches of the rows: an .npy or .npz file of bool, shape M '
             'by N, or of lists of reference rows, or a .csv file as for --pairs.',
        show_default=False)] = None,
    pairs: Annotated[Path | None, typer.Option(
        help='Instead of a struct: CSV file with the columns query and map, which hold rows or '
             'names of images; --tolerance then says how far from a listed row others match.',
        show_default=False)] = None,
    splits: options.Splits = None,
    seqbounds_reference: options.ReferenceBounds = None,
    seqbounds_query: options.QueryBounds = None,
    seq_length: Annotated[int | None, typer.Option(
        '--seq-length', '-L', help='Frames per sequence.',
        show_default="seqnet: the checkpoint's; single, s1: 1")] = None,
    checkpoint: Annotated[Path | None, typer.Option(
        help='Folder of a SeqNet training run, whose latest checkpoint is used, or a checkpoint.',
        show_default=False)] = None,
    stage_one: Annotated[str | None, typer.Option(
        help=f'hvpr: first stage, one of {", ".join(first_stages(plugins=False))}.',
        show_default='seqnet')] = None,
    candidates: Annotated[Path | None, typer.Option(
        help='hvpr: instead of a first stage its predictions: a file of --predictions or '
             '--original-npz, or a .npy file of rows, shape M by K.',
        show_default=False)] = None,
    match_checkpoint: Annotated[Path | None, typer.Option(
        help='hvpr: SeqNet run with kernel 1 that describes the frames of the second stage; all: '
             'also used for s1 and s1+seqmatch.',
        show_default='frame descriptors unchanged')] = None,
    match_length: Annotated[int | None, typer.Option(
        help='hvpr: frames per sequence of the second stage.',
        show_default="the first stage's")] = None,
    top_k: Annotated[int | None, typer.Option(
        help='hvpr: candidates of each query that are sorted.',
        show_default=str(TOP_K))] = None,
    speeds: Annotated[str | None, typer.Option(
        help='Sequence matching and hvpr: query speeds to try, relative to the reference, such as '
             '0.8,1,1.25.', show_default='1')] = None,
    full_windows: Annotated[int | None, typer.Option(
        help='Skip frames near the ends of a sequence, whose window of this length does not fit; 1 '
             'skips none.',
        show_default='the longest window used for msls val and test, as published; else 1')] = None,
    reverse: Annotated[bool, typer.Option(
        '--reverse', help='The query was driven in the opposite direction.',
        show_default=False)] = False,
    compat: Annotated[bool, typer.Option(
        '--compat', help='Let windows of sequences that are too short extend into the next one, as '
                         'in the published code.',
        show_default=False)] = False,
    predictions: Annotated[Path | None, typer.Option(
        help='Write predictions and distances to this .npz file.', show_default=False)] = None,
    original_npz: Annotated[Path | None, typer.Option(
        help="Write a results file in the format of SeqNet's published "
             'code.', show_default=False)] = None,
    json_path: Annotated[Path | None, typer.Option(
        '--json', help='Write the results as JSON to this file.', show_default=False)] = None,
) -> None:
    """Measure how often a method finds a true match of a query among its first N predictions.

    The drives are a split of a data set (--dataset), or two arrays (--reference and --query) with
    --struct, --tolerance, --ground-truth or --pairs, which define the true matches. The results
    equal those of SeqNet's published code. Queries without any true match are counted and excluded
    from every recall.

    single compares frames. s1 compares frames described by a SeqNet with kernel 1 and needs
    --checkpoint. smooth and delta compare sequences of untrained descriptors and need --seq-length;
    seqnet compares sequences and needs --checkpoint. single+seqmatch and s1+seqmatch compare
    sequences frame by frame and need --seq-length; the latter also needs --checkpoint.

    hvpr, the hierarchical method of the SeqNet paper, sorts the first candidates of one of the
    first five frame by frame. Its first stage is --stage-one with --checkpoint and --seq-length, or
    --candidates. all measures each method in turn on the same frames and skips those whose
    checkpoint is missing; --seq-length then applies to all but single and s1.

    Example: `seqnet_ros evaluate --dataset nordland-sf --folder seqnet_data --method seqnet
    --seq-length 5 --checkpoint runs/l10_w5`

    The subcommands measure other things, with options of their own.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    if method is None:
        raise InputError(f'found neither --method nor a subcommand, expected --method {ALL} or one '
                         f'of {", ".join(methods())}')
    check_one_way(dataset, {'--folder': folder, '--descriptors': descriptors, '--city': city}, {
        '--reference': reference, '--query': query, '--struct': struct, '--tolerance': tolerance,
        '--ground-truth': ground_truth, '--pairs': pairs,
        '--splits': splits, '--seqbounds-reference': seqbounds_reference,
        '--seqbounds-query': seqbounds_query}, split)
    outputs = {'--predictions': predictions, '--original-npz': original_npz, '--json': json_path}
    _refuse_several(outputs, method)
    from seqnet_ros.evaluation.result_document import is_result

    prepare_outputs(outputs.values(), is_result)
    tried = None if speeds is None else options.numbers('--speeds', speeds, '0.8,1,1.25')
    choice = MethodChoice(method, seq_length, checkpoint, stage_one, candidates, match_checkpoint,
                          match_length, top_k, tried)
    where: DatasetChoice | ArrayChoice
    if dataset is not None:
        where = DatasetChoice(dataset, split or USUAL_SPLIT, folder, descriptors, city)
    else:
        assert reference is not None
        assert query is not None
        where = ArrayChoice(reference, query, struct, tolerance,
                            (seqbounds_reference, seqbounds_query), splits, split or USUAL_SPLIT,
                            ground_truth, pairs)
    from seqnet_ros.evaluation.seqnet.evaluation import SeqNetRequest

    _measure(SeqNetRequest(choice, where, reverse, compat, full_windows), predictions,
             original_npz, json_path)


def _measure(request: 'SeqNetRequest', predictions: Path | None, original_npz: Path | None,
             json_path: Path | None) -> None:
    """Measure, print, and write the requested files."""
    from seqnet_ros.evaluation.metrics.search_metrics import SearchResults, SearchTable
    from seqnet_ros.evaluation.result_document import write_document
    from seqnet_ros.evaluation.seqnet.evaluation import prepare_evaluation
    from seqnet_ros.evaluation.seqnet.result_files import (
        document_drives,
        document_method,
        write_predictions,
        write_published,
    )

    found = prepare_evaluation(request, _load_run)
    about = document_drives(found.drives, found.full_windows)
    document: SearchResults | SearchTable
    if request.method.method == ALL:
        document = SearchTable(
            methods={plan.name: document_method(plan, _search(found, plan))
                     for plan in found.plans},
            left_out=found.left_out, **about.set_fields())
        show_methods(document)
    else:
        plan, = found.plans
        search = _search(found, plan)
        document = SearchResults(**document_method(plan, search).set_fields(), **about.set_fields())
        if predictions is not None:
            write_predictions(search, found.drives, predictions)
        if original_npz is not None:
            write_published(search, plan, found.drives, original_npz)
        show_method(document)
    if json_path is not None:
        write_document(json_path, document)


def _load_run(checkpoint: Path) -> 'TrainedSeqNet':
    from seqnet_ros.training.seqnet.run import load_run

    return load_run(checkpoint)


def _search(evaluation: 'SeqNetEvaluation', plan: 'Plan') -> 'SearchRun':
    with working(f'searching: {plan.name}'):
        return evaluation.search(plan)


def _refuse_options(ctx: typer.Context) -> None:
    """Reject options before the name of a subcommand, where they have no effect."""
    given = options.given(ctx)
    if given:
        raise InputError(f'{given[0]} was given before {ctx.invoked_subcommand!r}, expected '
                         'options of the subcommand after its name')


def _refuse_several(outputs: dict[str, Path | None], method: str) -> None:
    for option, path in outputs.items():
        if path is not None and method == ALL and option != '--json':
            raise InputError(f'{option} was given with --method {ALL}, expected one method')
