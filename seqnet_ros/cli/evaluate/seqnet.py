"""``seqnet_ros evaluate``: the methods of the SeqNet paper on data sets and arrays.

Its subcommands measure other things; without one it is a command of its own.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seqnet_ros.cli import options
from seqnet_ros.cli.console import working
from seqnet_ros.cli.drive_options import check_one_way
from seqnet_ros.cli.evaluate.seqnet_report import (
    document_drives,
    document_method,
    prepare_outputs,
    show_method,
    show_methods,
    write_predictions,
    write_published,
)
from seqnet_ros.core.errors import InputError
from seqnet_ros.evaluation.seqnet.evaluated_drives import USUAL_SPLIT, ArrayChoice, DatasetChoice
from seqnet_ros.evaluation.seqnet.method_names import ALL, first_stages, methods
from seqnet_ros.evaluation.seqnet.search_plans import TOP_K, MethodChoice

if TYPE_CHECKING:
    from seqnet_ros.evaluation.metrics.search_run import SearchRun
    from seqnet_ros.evaluation.seqnet.evaluation import SeqNetEvaluation
    from seqnet_ros.evaluation.seqnet.search_plans import Plan, TrainedSeqNet


def evaluate(
    ctx: typer.Context,
    method: Annotated[str | None, typer.Option(
        help=f'One of {", ".join(methods(plugins=False))}, or {ALL} for a table of them.',
        show_default=False)] = None,
    dataset: Annotated[str | None, typer.Option(
        help='nordland-sw, nordland-sf, oxford-v1.0, oxford-pnv, msls, or the folder of an own '
             'data set.', show_default=False)] = None,
    split: Annotated[str | None, typer.Option(
        help="Part of the data set or of --splits: 'train', 'val' or 'test'.",
        show_default=USUAL_SPLIT)] = None,
    folder: Annotated[Path | None, typer.Option(
        help='Where structFiles and data of the data set lie.',
        show_default='the working directory')] = None,
    descriptors: Annotated[str | None, typer.Option(
        help='Folder of the descriptors within data/descData.',
        show_default='netvlad-pytorch; of an own data set the only one')] = None,
    city: Annotated[str | None, typer.Option(
        help='msls: the city.', show_default='melbourne to train, else austin')] = None,
    reference: Annotated[Path | None, typer.Option(
        help='In place of a data set: frame descriptors of the drive that is searched, '
             '.npy [N, D].', show_default=False)] = None,
    query: Annotated[Path | None, typer.Option(
        help='Frame descriptors of the drive that asks, .npy [M, D].', show_default=False)] = None,
    struct: Annotated[Path | None, typer.Option(
        help='A .db struct: positions of both drives and the radius of a match.',
        show_default=False)] = None,
    tolerance: Annotated[int | None, typer.Option(
        help='In place of a struct: rows at most this many frames apart match.',
        show_default=False)] = None,
    splits: Annotated[Path | None, typer.Option(
        help='An .npz file with the rows of the arrays that belong to --split.',
        show_default='all rows')] = None,
    seqbounds_reference: Annotated[Path | None, typer.Option(
        help='First frame and one past the last of the sequence of every reference frame.',
        show_default='one sequence')] = None,
    seqbounds_query: Annotated[Path | None, typer.Option(
        help='The same for the query.', show_default='one sequence')] = None,
    seq_length: Annotated[int | None, typer.Option(
        '--seq-length', '-L', help='Frames per sequence.',
        show_default="seqnet: the checkpoint's; single, s1: 1")] = None,
    checkpoint: Annotated[Path | None, typer.Option(
        help='Folder of a SeqNet training run, or one of its checkpoints.',
        show_default=False)] = None,
    stage_one: Annotated[str | None, typer.Option(
        help=f'hvpr: first stage, one of {", ".join(first_stages(plugins=False))}.',
        show_default='seqnet')] = None,
    candidates: Annotated[Path | None, typer.Option(
        help='hvpr: predictions of a first stage, .npz or .npy, in place of one.',
        show_default=False)] = None,
    match_checkpoint: Annotated[Path | None, typer.Option(
        help='hvpr: SeqNet run with kernel 1 that describes the frames to match; all: also that '
             'of s1 and s1+seqmatch.', show_default='frames as they are')] = None,
    match_length: Annotated[int | None, typer.Option(
        help='hvpr: frames per sequence of the second stage.',
        show_default="the first stage's")] = None,
    top_k: Annotated[int | None, typer.Option(
        help='hvpr: candidates of each query that are matched.',
        show_default=str(TOP_K))] = None,
    speeds: Annotated[str | None, typer.Option(
        help='Sequence matching, hvpr: speeds of the query relative to the reference that are '
             'tried, such as 0.8,1,1.25.', show_default='1')] = None,
    full_windows: Annotated[int | None, typer.Option(
        help='Leave out frames whose window of this length does not fit their sequence.',
        show_default='msls but for its train split: the longest used; else 1')] = None,
    reverse: Annotated[bool, typer.Option(
        '--reverse', help='The query was driven in the opposite direction.',
        show_default=False)] = False,
    compat: Annotated[bool, typer.Option(
        '--compat', help='Windows of too short sequences spill over, as in the published code.',
        show_default=False)] = False,
    predictions: Annotated[Path | None, typer.Option(
        help='Write predictions and distances to this .npz file.', show_default=False)] = None,
    original_npz: Annotated[Path | None, typer.Option(
        help="Write a results file of SeqNet's published code.", show_default=False)] = None,
    json_path: Annotated[Path | None, typer.Option(
        '--json', help='Write the numbers to this file.', show_default=False)] = None,
) -> None:
    """Measure how often a method finds a true match of a query among its first N predictions.

    The drives are a data set, or two arrays with what says which of their rows match. Queries
    without any true match are left out. hvpr sorts the candidates of a first stage by matching
    sequences frame by frame, the hierarchical method of the SeqNet paper. Subcommands measure
    other things, with options of their own.
    """
    if ctx.invoked_subcommand is not None:
        _refuse_options(ctx)
        return
    if method is None:
        raise InputError(f'found neither --method nor a subcommand, expected --method {ALL} or one '
                         f'of {", ".join(methods())}')
    check_one_way(dataset, {'--folder': folder, '--descriptors': descriptors, '--city': city}, {
        '--reference': reference, '--query': query, '--struct': struct, '--tolerance': tolerance,
        '--splits': splits, '--seqbounds-reference': seqbounds_reference,
        '--seqbounds-query': seqbounds_query}, split)
    outputs = {'--predictions': predictions, '--original-npz': original_npz, '--json': json_path}
    _refuse_several(outputs, method)
    prepare_outputs(outputs.values())
    where: DatasetChoice | ArrayChoice
    if dataset is not None:
        where = DatasetChoice(dataset, split or USUAL_SPLIT, folder, descriptors, city)
    else:
        assert reference is not None
        assert query is not None
        where = ArrayChoice(reference, query, struct, tolerance,
                            (seqbounds_reference, seqbounds_query), splits, split or USUAL_SPLIT)
    from seqnet_ros.evaluation.metrics.search_metrics import SearchResults, SearchTable
    from seqnet_ros.evaluation.result_document import write_document
    from seqnet_ros.evaluation.seqnet.evaluation import SeqNetRequest, prepare_evaluation

    tried = None if speeds is None else options.numbers('--speeds', speeds, '0.8,1,1.25')
    choice = MethodChoice(method, seq_length, checkpoint, stage_one, candidates, match_checkpoint,
                          match_length, top_k, tried)
    found = prepare_evaluation(
        SeqNetRequest(choice, where, reverse, compat, full_windows), _load_run)
    about = document_drives(found.drives, found.full_windows)
    document: SearchResults | SearchTable
    if method == ALL:
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
    """Refuse options before the name of a subcommand, which would do nothing."""
    given = options.given(ctx)
    if given:
        raise InputError(f'{given[0]} was given before {ctx.invoked_subcommand!r}, expected the '
                         'options of the subcommand after its name')


def _refuse_several(outputs: dict[str, Path | None], method: str) -> None:
    for option, path in outputs.items():
        if path is not None and method == ALL and option != '--json':
            raise InputError(f'{option} was given with --method {ALL}, expected one method')
